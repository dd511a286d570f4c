"""Recorded decompositions: a chat model made of them, and the systems that ask it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eval_data import corpus_records, question_records, write, write_pair
from openai_server import openai_server
from typer.testing import CliRunner, Result

from hippomem import InvalidInputError, Memory, NotFoundError, SourceError
from hippomem.testing import HashEncoder, capitals
from hippomem_eval.cli import app
from hippomem_eval.recorded import Part, RecordedChatModel, load_decompositions

PARTS = {
    "q1": [("Odile Varga >> born in", "Szeged"), ("On which river is #1?", "Tisza")],
    "q2": [("Who taught Odile Varga?", "Tamas Biro"), ("When was the quartet founded by #1 founded?", "1961")],
    "q3": [("What was the first home of the Lantos Quartet?", "Feher Hall"), ("Who designed #1?", "Klara Nemeth")],
    "q4": [
        ("Who is the architect of Feher Hall?", "Klara Nemeth"),
        ("Which bridge did #1 design?", "Mill Bridge"),
        ("Which river does #2 cross?", "Drava"),
    ],
}


def records() -> list[dict[str, Any]]:
    return [
        record | {"question_decomposition": [{"question": q, "answer": a} for q, a in PARTS[record["id"]]]}
        for record in question_records()
    ]


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["multihop", *map(str, args)])


@pytest.fixture(autouse=True)
def _code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem_eval.environment.code_hash", lambda: "code")  # somebody may edit it meanwhile
    monkeypatch.delenv("HIPPOMEM_LLM", raising=False)


def test_it_answers_the_memorys_own_prompts(tmp_path: Path) -> None:
    model = RecordedChatModel(recorded=load_decompositions(write(tmp_path / "q.jsonl.gz", records())))
    with Memory.open(":memory:", encoder=HashEncoder(), pipeline=capitals(), llm=model) as memory:
        memory.ingest(corpus_records())
        question = question_records()[3]["question"]
        unfilled, filled = memory.recall(question, decompose=True), memory.recall(question, iterative=True)
        assert [step.query for step in unfilled.steps] == [
            "Who is the architect of Feher Hall?",
            "Which bridge did design?",
            "Which river does cross?",
        ]
        assert [(step.query, step.answer) for step in filled.steps] == [
            ("Who is the architect of Feher Hall?", "Klara Nemeth"),
            ("Which bridge did Klara Nemeth design?", "Mill Bridge"),
            ("Which river does Mill Bridge cross?", "Drava"),
        ]
        unknown = memory.recall("Who is not recorded?", iterative=True)
        assert ([step.query for step in unknown.steps], unknown.warnings) == (["Who is not recorded?"], ())
        assert {p.id for p in unknown.passages} == {p.id for p in memory.recall("Who is not recorded?").passages}


def test_the_systems_as_a_user_runs_them(tmp_path: Path) -> None:
    questions, corpus = write(tmp_path / "q.json", records()), write(tmp_path / "c.json", corpus_records())
    args = ("--questions", questions, "--corpus", corpus, "--out", tmp_path / "out", "--k", 5)
    systems = ("--system", "hippomem,hippomem+decompose,hippomem+iterative")
    missing = run(*args, *systems)
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "HIPPOMEM_LLM" in missing.stderr
    assert "--decompositions" in missing.stderr
    result = run(*args, *systems, "--decompositions", "musique")
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["systems"]["hippomem+iterative"]["all_gold@5"] == 1.0
    assert summary["model"].keys() == {"hippomem+decompose", "hippomem+iterative"}
    assert summary["model"]["hippomem+decompose"]["calls"] == 4
    # Plan, then read after each retrieval: 3 + 3 + 3 + 4.
    assert summary["model"]["hippomem+iterative"]["calls"] == 13
    assert "upper bound" in result.stdout
    rows = [json.loads(line) for line in (tmp_path / "out" / "hippomem.jsonl").read_text().splitlines()]
    assert all("model" not in row for row in rows)
    again = run(*args, *systems, "--decompositions", questions)  # the same bytes: nothing is asked again
    assert again.stderr.count("4 of 4 questions") == 3
    other = write(tmp_path / "other.json", records()[:1])
    changed = run(*args, *systems, "--decompositions", other)
    assert changed.stderr.count("starting over") == 2
    assert changed.stderr.count("4 of 4 questions") == 1


@pytest.mark.slow
def test_recognition_by_who_knows_what_is_gold(tmp_path: Path) -> None:
    questions, corpus = write(tmp_path / "q.json", records()), write(tmp_path / "c.json", corpus_records())
    args = ("--questions", questions, "--corpus", corpus, "--out", tmp_path / "out", "--k", 5)
    systems = ("--system", "hippomem,hippomem+recognise")
    missing = run(*args, *systems)
    assert missing.exit_code == 1
    assert "--recognition" in missing.stderr
    found = {}
    for who in ("oracle", "noisy:0", "noisy:1"):
        result = run(*args, *systems, "--recognition", who)
        assert result.exit_code == 0, result.output
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        found[who] = summary["systems"]["hippomem+recognise"]["recall@2"]
        assert summary["model"]["hippomem+recognise"] == {**summary["model"]["hippomem+recognise"], "calls": 4}
        assert summary["model"]["hippomem+recognise"]["questions_with_warnings"] == 0
    assert found["oracle"] == found["noisy:0"] > found["noisy:1"]
    assert "knows what is gold" in result.stdout
    for who in ("me", "noisy", "noisy:2", "noisy:x", "oracle:1"):
        assert run(*args, *systems, "--recognition", who).exit_code == 1


def test_the_configured_model_is_asked_once_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, corpus = write_pair(tmp_path)
    monkeypatch.setenv("HIPPOMEM_LLM", "openai:test-model")
    monkeypatch.setenv("HIPPOMEM_LLM_API_KEY", "none")
    args = ("--questions", questions, "--corpus", corpus, "--out", tmp_path / "out", "--system", "hippomem+decompose")
    with openai_server('{"sub_questions": ["Where was Odile Varga born?"]}', "I cannot.") as server:
        monkeypatch.setenv("HIPPOMEM_LLM_BASE_URL", server.url)
        assert run(*args).exit_code == 0
        assert len(server.asked) == 4
        assert run(*args).exit_code == 0
        assert len(server.asked) == 4
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    expected = {"calls": 4, "input_tokens": 44, "output_tokens": 28, "questions_with_warnings": 3}
    assert summary["model"] == {"hippomem+decompose": expected}
    assert "went wrong with it for 3 questions" in (tmp_path / "out" / "summary.md").read_text()


def test_who_was_out_of_reach_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, corpus = write_pair(tmp_path)
    monkeypatch.setenv("HIPPOMEM_LLM", "openai:test-model")
    monkeypatch.setenv("HIPPOMEM_LLM_API_KEY", "none")
    args = ("--questions", questions, "--corpus", corpus, "--out", tmp_path / "out", "--system", "hippomem+decompose")
    plan, failure = '{"sub_questions": ["Where was Odile Varga born?"]}', (404, "no such model")
    with openai_server(plan, failure, failure, failure, "I cannot.") as server:
        monkeypatch.setenv("HIPPOMEM_LLM_BASE_URL", server.url)
        assert run(*args).exit_code == 0
        assert "1 of 4 questions" in run(*args).stderr
        assert len(server.asked) == 7
        assert "4 of 4 questions" in run(*args).stderr  # an answer that is of no use is an answer
        assert len(server.asked) == 7


def test_files_of_decompositions(tmp_path: Path) -> None:
    found = load_decompositions(write(tmp_path / "a.json", [*records()[:1], {"question": "Other?"}]))
    assert found == {question_records()[0]["question"]: tuple(Part(q, a) for q, a in PARTS["q1"])}
    with pytest.raises(NotFoundError):
        load_decompositions(tmp_path / "none.json")
    with pytest.raises(InvalidInputError, match="MuSiQue"):
        load_decompositions(write(tmp_path / "b.json", question_records()))
    for broken in (
        {"question_decomposition": [{"question": "A?"}]},
        {"question": 5},
        {"question_decomposition": {"a": 1}},
    ):
        with pytest.raises(SourceError, match="record 0"):
            load_decompositions(write(tmp_path / "c.json", [records()[0] | broken]))


def test_real_decompositions(shared_data: Path) -> None:
    found = load_decompositions(shared_data / "musique" / "musique_dev_gold.json.gz")
    assert len(found) == 189
    assert found["Who did the creator of Derech Mitzvosecha follow?"] == (
        Part("Who created Derech Mitzvosecha?", "Menachem Mendel Schneersohn"),
        Part("#1 >> follows", "Dovber Schneuri"),
    )
