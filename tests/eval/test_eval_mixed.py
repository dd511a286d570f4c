"""What was indexed apart in one index, and transcripts as long documents, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conversation_data import locomo_records
from eval_data import write
from typer.testing import CliRunner

from hippomem_eval.cli import app
from hippomem_eval.conversations import haystacks_of, load_conversations
from hippomem_eval.documents import transcripts_of

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


def test_mixed_takes_folders_of_runs_only(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["mixed", str(tmp_path), "--out", str(tmp_path / "out")])
    assert (result.exit_code, "holds no run of hippomem" in result.stderr) == (1, True)
    assert not (tmp_path / "out").exists()
