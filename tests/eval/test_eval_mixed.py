"""What was indexed apart in one index, and transcripts as long documents, as a user runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conversation_data import locomo_records
from eval_data import write
from typer.testing import CliRunner

from hippomem.testing import HashEncoder
from hippomem_eval.cli import app
from hippomem_eval.conversations import haystacks_of, load_conversations
from hippomem_eval.documents import transcripts_of
from hippomem_eval.mixed import load_run
from hippomem_eval.ranking import Ranking
from hippomem_eval.systems import MemorySystem

PASSAGES = [{"title": f"Clerk{n}", "text": f"Clerk{n} lives in Village{n}."} for n in range(4)]
QUESTIONS = [
    {
        "_id": f"q{n}",
        "question": f"Where does Clerk{n} live?",
        "answer": f"Village{n}",
        "supporting_titles": [f"Clerk{n}"],
    }
    for n in range(3)
]


def run(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def misspelt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files and the run of questions with slips over them, in `run`."""
    folder = tmp_path_factory.mktemp("misspelt")
    questions, corpus = write(folder / "q.json", QUESTIONS), write(folder / "p.json", PASSAGES)
    run("multihop", "--questions", questions, "--corpus", corpus, "--out", folder / "run", "--misspell")
    return folder


def test_the_run_s_own_questions_are_asked(misspelt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Noting(MemorySystem):
        def recall(self, question: str, k: int) -> Ranking:
            asked.append(question)
            return MemorySystem.recall(self, question, k)

    monkeypatch.setattr("hippomem_eval.mixed.MemorySystem", Noting)
    run("mixed", misspelt / "run", "--out", tmp_path / "mixed")
    rows = [json.loads(line) for line in (misspelt / "run" / "hippomem.jsonl").read_text().splitlines()]
    assert asked == [row["question"] for row in rows]
    assert not {*asked} & {question["question"] for question in QUESTIONS}


def test_a_run_is_only_read(misspelt: Path) -> None:
    rows = misspelt / "run" / "hippomem.jsonl"
    kept = rows.read_bytes()
    rows.write_bytes(kept + b'{"id": "q9"')  # as another process writes it
    try:
        assert list(load_run(misspelt / "run").apart) == ["q0", "q1", "q2"]
        assert rows.read_bytes() == kept + b'{"id": "q9"'
    finally:
        rows.write_bytes(kept)


def test_a_run_with_other_code_is_told(misspelt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ["mixed", str(misspelt / "run"), "--out", str(tmp_path / "mixed")]
    assert "other code" not in CliRunner().invoke(app, args).stderr
    monkeypatch.setattr("hippomem_eval.mixed.code_hash", lambda: "edited")
    assert "run was asked with other code or settings" in CliRunner().invoke(app, args).stderr


def test_runs_that_asked_for_more_and_for_fewer_passages(misspelt: Path, tmp_path: Path) -> None:
    files = ("--questions", misspelt / "q.json", "--corpus", misspelt / "p.json")
    run("multihop", *files, "--out", tmp_path / "few", "--k", 2)
    mixed = run("mixed", tmp_path / "few", misspelt / "run", "--out", tmp_path / "mixed")
    few, many = mixed["sets"].values()
    assert list(few["differences"]) == ["recall@1", "recall@2"]  # a reciprocal rank among two is another measure
    assert list(many["differences"])[-1] == "mrr"
    head, *_, last = (line.split(" | ") for line in (tmp_path / "mixed" / "summary.md").read_text().splitlines())
    assert len(head) == len(last) == 1 + len(many["differences"])


@pytest.mark.parametrize("name", ["q.json", "p.json"])
def test_other_data_than_the_run_s_are_refused(misspelt: Path, tmp_path: Path, name: str) -> None:
    kept = (misspelt / name).read_bytes()
    (misspelt / name).write_bytes(kept + b"\n")
    result = CliRunner().invoke(app, ["mixed", str(misspelt / "run"), "--out", str(tmp_path / "mixed")])
    (misspelt / name).write_bytes(kept)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{name} is not what" in result.stderr
    assert not (tmp_path / "mixed").exists()


def test_an_index_of_other_runs_is_not_used(misspelt: Path, tmp_path: Path) -> None:
    one, two, out = misspelt / "run", tmp_path / "copy", tmp_path / "mixed"
    shutil.copytree(one, two)
    first = run("mixed", one, "--out", out)
    assert run("mixed", one, "--out", out) == first
    result = CliRunner().invoke(app, ["mixed", str(one), str(two), "--out", str(out)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "was not merged of these runs" in result.stderr
    assert json.loads((out / "summary.json").read_text()) == first


def test_an_index_that_nobody_merged_is_left_alone(misspelt: Path, tmp_path: Path) -> None:
    shutil.copytree(misspelt / "run", tmp_path / "copy")
    result = CliRunner().invoke(app, ["mixed", str(misspelt / "run"), "--out", str(tmp_path / "copy")])
    assert (result.exit_code, "was not merged of these runs" in result.stderr) == (1, True)


def test_a_run_with_an_llm_s_triples_is_refused(misspelt: Path, tmp_path: Path) -> None:
    shutil.copytree(misspelt / "run", tmp_path / "copy")
    ran = json.loads((tmp_path / "copy" / "run.json").read_text())
    ran["systems"]["hippomem"]["openie"] = "its hash"
    (tmp_path / "copy" / "run.json").write_text(json.dumps(ran))
    result = CliRunner().invoke(app, ["mixed", str(tmp_path / "copy"), "--out", str(tmp_path / "mixed")])
    assert (result.exit_code, "was asked with --openie" in result.stderr) == (1, True)


def test_transcripts_say_where_each_turn_stands(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json", locomo_records())
    turns = haystacks_of(load_conversations(data))[0].turns
    transcripts = transcripts_of(turns)
    texts = {document.source: document.text for document in transcripts.documents}
    assert len(texts) == len(transcripts.documents) == 2
    for turn in turns:
        source, start, end = transcripts.spans[turn.id]
        assert texts[source][start:end] == " ".join(turn.line.split())


@pytest.mark.slow
def test_one_index_of_two_runs(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json", locomo_records())
    talks, facts = tmp_path / "talks", tmp_path / "facts"
    run("conversation", "--data", data, "--out", talks)
    questions, corpus = write(tmp_path / "q.json", QUESTIONS), write(tmp_path / "p.json", PASSAGES)
    run("multihop", "--questions", questions, "--corpus", corpus, "--out", facts)
    mixed = run("mixed", talks, facts, "--out", tmp_path / "mixed")
    assert mixed["passages"] == 8 + len(PASSAGES)  # two turns are the same
    sets = mixed["sets"]
    assert [sets[str(folder)]["n_questions"] for folder in (talks, facts)] == [6, 3]
    assert sets[str(facts)]["mixed"]["recall@20"]["mean"] == 1.0
    assert sets[str(talks)]["mixed"]["recall@20"]["mean"] > 0.8
    assert (tmp_path / "mixed" / "summary.md").read_text().startswith("| 12 passages in one index |")


@pytest.mark.slow
def test_transcripts_as_documents(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json", locomo_records())
    measured = run("documents", "--data", data, "--out", tmp_path / "out", "--passage-chars", 100)
    assert measured["n_questions"] == 6
    assert measured["systems"]["hippomem"]["recall@10"]["mean"] == 1.0


def test_transcripts_of_other_data_need_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem.memory.resolve_encoder", lambda *_: HashEncoder())
    monkeypatch.setattr("hippomem_eval.documents.configured_encoder", HashEncoder)
    data = write(tmp_path / "c.json", locomo_records())
    args = ("--out", tmp_path / "out", "--k", 3)
    assert set(run("documents", "--data", data, *args)["differences"]) == {"recall@1", "recall@2", "mrr"}
    data = write(tmp_path / "d.json", locomo_records()[:1])
    result = CliRunner().invoke(app, ["documents", "--data", str(data), *map(str, args)])
    assert (result.exit_code, "is the index of another corpus" in result.stderr) == (1, True)


def test_mixed_takes_folders_of_runs_only(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["mixed", str(tmp_path), "--out", str(tmp_path / "out")])
    assert (result.exit_code, "holds no run of hippomem" in result.stderr) == (1, True)
    assert not (tmp_path / "out").exists()
