"""Exact match and F1 as SQuAD's, answers of a chat model, and what a model costs an add."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eval_data import QUESTIONS, corpus_records, question_records, write, write_pair
from langchain_core.messages import BaseMessage
from typer.testing import CliRunner

from hippomem import HippomemError, InvalidInputError
from hippomem.testing import HashEncoder, ScriptedChatModel
from hippomem_eval import adds
from hippomem_eval.cli import app
from hippomem_eval.qa import QaOptions, as_text, exact_match, f1, normalised, run_qa


@pytest.mark.parametrize(
    ("answer", "accepted", "em", "score"),
    [
        ("The Tisza.", ["Tisza"], 1.0, 1.0),
        ("tisza river", ["Tisza"], 0.0, 2 / 3),
        ("Danube", ["Tisza", "the  Danube!"], 1.0, 1.0),
        ("a river in Hungary", ["river Tisza in Hungary"], 0.0, 6 / 7),
        ("", ["Tisza"], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),
        ("", ["A"], 0.0, 0.0),
        ("Tisza", [], 0.0, 0.0),
        ("no no", ["no"], 0.0, 2 / 3),
    ],
)
def test_measures(answer: str, accepted: list[str], em: float, score: float) -> None:
    assert exact_match(answer, accepted) == em
    assert f1(answer, accepted) == pytest.approx(score)


def test_normalisation() -> None:
    assert normalised("  The U.S.A. -- an   Answer ") == "usa answer"


@pytest.fixture(autouse=True)
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem.memory.resolve_encoder", lambda *_: HashEncoder())
    monkeypatch.delenv("HIPPOMEM_LLM", raising=False)


def test_answers_are_scored_and_kept(tmp_path: Path) -> None:
    said = {
        "q1": "The Tisza [1]",
        "q2": "Not in memory.",
        "q3": "architect Klara Nemeth [1][2]",
        "q4": ValueError("no"),
    }
    by_question = {text: said[id_] for id_, text, *_ in QUESTIONS}

    def answer(messages: list[BaseMessage]) -> str | Exception:
        return by_question[json.loads(messages[-1].text)["question"]]

    questions, corpus = write_pair(tmp_path)
    model = ScriptedChatModel(answers=answer)
    options = QaOptions(questions=questions, corpus=corpus, out=tmp_path / "out", llm=model)
    summary = run_qa(options, print)
    assert (summary["n_questions"], summary["failed"], summary["usage"]["calls"]) == (4, 1, 3)
    assert summary["em"]["mean"] == 0.25
    assert summary["f1"]["mean"] == pytest.approx((1 + 0 + 0.8 + 0) / 4)
    assert summary["in_memory"]["mean"] == summary["cited"]["mean"] == 0.5
    assert run_qa(options, print) == summary
    assert len(model.calls) == 5  # what was answered is not asked twice
    rows = [json.loads(line) for line in (tmp_path / "out" / "qa.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == ["The Tisza", "", "architect Klara Nemeth", ""]
    assert "exact match     25.0" in as_text(summary)
    by_question[QUESTIONS[3][1]] = "The Tisza [1]"  # whose call failed
    assert run_qa(options, print)["failed"] == 0
    assert len(model.calls) == 6
    rows = [json.loads(line) for line in (tmp_path / "out" / "qa.jsonl").read_text().splitlines()]
    assert [(row["id"], row["answer"]) for row in rows][3] == ("q4", "The Tisza")
    assert len(rows) == 4
    with pytest.raises(InvalidInputError, match="HIPPOMEM_LLM"):
        run_qa(QaOptions(questions=questions, corpus=corpus, out=tmp_path / "out"), print)


@pytest.mark.parametrize("name", ["qa.json", "qa.jsonl"])
def test_questions_are_never_written_over(tmp_path: Path, name: str) -> None:
    questions = write(tmp_path / name, question_records())
    kept = questions.read_bytes()
    with pytest.raises(HippomemError, match="choose another folder"):
        run_qa(QaOptions(questions=questions, corpus=None, out=tmp_path, llm=ScriptedChatModel(answers=["x"])), print)
    assert questions.read_bytes() == kept


def test_questions_that_do_not_say_what_is_right_are_left_out(tmp_path: Path) -> None:
    records = question_records()
    records[0]["answer"], records[1]["answer"], records[2]["answer"] = 1934, None, ""
    questions, corpus = write(tmp_path / "q.json", records[:3]), write(tmp_path / "c.json", corpus_records())
    model = ScriptedChatModel(answers=lambda _: "1934 [1]")
    options = QaOptions(questions=questions, corpus=corpus, out=tmp_path / "out", llm=model)
    summary = run_qa(options, print)
    assert (summary["n_questions"], summary["without_answer"], summary["em"]["mean"]) == (1, 2, 1.0)
    assert "2 questions left out: without an answer" in as_text(summary)
    write(questions, records[1:3])
    with pytest.raises(InvalidInputError, match="what the right answers are"):
        run_qa(options, print)


def test_adds_of_too_few_passages_are_refused(tmp_path: Path) -> None:
    corpus = write(tmp_path / "p.json", [{"title": f"Town {n}", "text": "It is old."} for n in range(adds.WARM_UP)])
    result = CliRunner().invoke(app, ["adds", "--corpus", str(corpus), "--out", str(tmp_path / "o")])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "holds 10 passages, and the first 10 adds are not measured" in result.stderr
    assert not (tmp_path / "o").exists()


def test_adds_are_measured_in_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adds, "WARM_UP", 1)
    _, corpus = write_pair(tmp_path)
    result = CliRunner().invoke(
        app, ["adds", "--corpus", str(corpus), "--out", str(tmp_path / "o"), "--adds", "7", "--json"]
    )
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert (measured["adds"], measured["jobs"], measured["calls"]) == (7, 8, 0)
    assert measured["ratio"]["ms"]["low"] <= measured["ratio"]["ms"]["mean"] <= measured["ratio"]["ms"]["high"]
    assert "with a chat model" in adds.as_text(measured)
