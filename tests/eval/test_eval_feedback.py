"""The feedback benchmarks as a user runs them, over nine turns and without a model for vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conversation_data import locomo_records
from eval_data import write
from typer.testing import CliRunner, Result

from hippomem.testing import HashEncoder
from hippomem_eval.cli import app
from hippomem_eval.corpus import Corpus
from hippomem_eval.feedback_composed import lessons_of
from hippomem_eval.feedback_replay import Expanding, shortened
from hippomem_eval.feedback_report import gain, gains_in_time
from hippomem_eval.formats import Record
from hippomem_eval.results import alone_in


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("hippomem_eval.feedback_runner.configured_encoder", lambda *_: HashEncoder(256))
    monkeypatch.setattr("hippomem_eval.feedback_replay.configured_encoder", lambda *_: HashEncoder(256))
    monkeypatch.setattr("hippomem_eval.environment.code_hash", lambda: "code")
    return


def run(*args: object) -> Result:
    return CliRunner().invoke(app, list(map(str, args)))


def test_each_question_is_asked_before_it_is_learned(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json.gz", locomo_records())
    out = tmp_path / "out"
    result = run("feedback", "--data", data, "--out", out, "--noise", "0.5", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    for name in ("gain@5", "related@5", "unseen@5"):
        assert {"mean", "low", "high"} <= summary[name].keys()
    assert set(summary["noise"]) == {"0.5"}
    assert set(summary["adversarial"]) == {"0.1"}
    assert set(summary["baselines"]) == {"plain", "strong", "knn-cache", "soft-vote"}
    assert summary["questions"] == 6
    rows = json.loads((out / "feedback-right.json").read_text())
    assert [row["id"] for row in rows[:2]] == ["conv-1/q1", "conv-1/q5"]  # by the last turn that answers
    first = [row for row in rows if row["id"] in ("conv-1/q1", "conv-2/q2")]
    assert all(row["hippomem"] == row["plain"] and not row["related"] for row in first)
    assert [row["related"] for row in rows if row["id"] == "conv-2/q3"] == [True]
    assert (out / "feedback.png").read_bytes().startswith(b"\x89PNG")
    assert "gain over plain recall" in (out / "feedback.md").read_text()
    assert not list(out.glob("taught*"))
    again = run("feedback", "--data", data, "--out", out, "--noise", "0.5", "--json")
    assert json.loads(again.stdout) == summary


@pytest.mark.parametrize("command", ["feedback", "replay", "documents"])
def test_a_second_run_in_a_folder_is_refused(command: str, tmp_path: Path) -> None:
    data = write(tmp_path / "c.json.gz", locomo_records())
    with alone_in(tmp_path / "out"):
        result = run(command, "--data", data, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "another run writes to" in result.stderr


def test_replay_of_several_kinds_is_compared_at_equal_budget(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json.gz", locomo_records())
    out = tmp_path / "out"
    arguments = ("replay", "--data", data, "--out", out, "--replays", 2, "--json")
    result = run(*arguments, "--replay", "prioritised,uniform,expanding:ewc", "--noise", "0.5")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    arms = summary["noise"]["0.5"]
    assert list(arms) == ["prioritised", "uniform", "expanding:ewc"]
    assert "first_minus_it@5" not in arms["prioritised"]
    for name in ("first_minus_it@5", "gain@5", "again@5", "first_minus_it_again@5", "first_minus_it_map"):
        assert arms["uniform"][name].keys() == {"mean", "low", "high"}
    assert all(0 <= arm["map"][part] <= 1 for arm in arms.values() for part in ("all", "oldest"))
    assert "| expanding:ewc |" in (out / "replay.md").read_text()
    assert not list(out.glob("taught*"))
    bounded = json.loads(run(*arguments, "--replay", "none", "--buffer", 1).stdout)
    assert "map" not in bounded["noise"]["0"]["none"]
    assert run("replay", "--data", data, "--out", out, "--replay", "sometimes").exit_code == 1
    assert run("replay", "--data", data, "--out", out, "--noise", "3").exit_code == 2


def test_expanding_intervals_double() -> None:
    spaced = Expanding()
    assert [spaced.choose([1], 1) for _ in range(3)] == [[1]] * 3  # the budget is used up in any case
    assert spaced.choose([1, 2], 1) == [2]  # what is new is due at once
    assert spaced.due[1] == (3 + 8, 3)


def test_a_shortened_question_is_the_same_every_time() -> None:
    text = "What did Ada order for the birthday of her oldest friend in Oslo?"
    words = shortened(text).split()
    assert 3 <= len(words) < len(text.split())
    assert words == shortened(text).split()
    assert [word for word in text.split() if word in words] == words
    assert [shortened(few) for few in ("", "Who?", "Who is it?")] == ["", "Who?", "Who is it?"]


@pytest.mark.parametrize("noise", ["much", "2", "-1"])
def test_noise_that_cannot_be_is_refused(noise: str, tmp_path: Path) -> None:
    result = run("feedback", "--data", tmp_path / "none.json", "--out", tmp_path / "out", "--noise", noise)
    assert result.exit_code == 2
    missing = run("feedback", "--data", tmp_path / "none.json", "--out", tmp_path / "out")
    assert missing.exit_code == 1


def test_gains_are_clustered_and_in_time() -> None:
    rows = [
        {"conversation": name, "hippomem": value, "plain": 0.5}
        for name, values in (("a", [0.5, 1.0]), ("b", [1.0, 1.0, 1.0]))
        for value in values
    ]
    found = gain(rows, "hippomem", "plain", 0)
    assert found["mean"] == pytest.approx(0.4)
    assert found["low"] == pytest.approx(0.25)
    assert found["high"] == pytest.approx(0.5)
    assert gain([], "hippomem", "plain", 0)["mean"] == 0
    assert gains_in_time({"right": rows}) == {"right": [[0.0, 0.5], [0.5, 0.5, 0.5]]}


def test_sub_questions_come_with_the_answers_filled_in() -> None:
    corpus = Corpus((Record("One", "Ada wrote it."), Record("Two", "Ada was born in Oslo.")))
    record: dict[str, Any] = {
        "question": "Where was the author born?",
        "paragraphs": [
            {"idx": 0, "title": "Two", "paragraph_text": "Ada was born in Oslo."},
            {"idx": 1, "title": "One", "paragraph_text": "Ada wrote it."},
        ],
        "question_decomposition": [
            {"question": "Who wrote it?", "answer": "Ada", "paragraph_support_idx": 1},
            {"question": "Where was #1 born?", "answer": "Oslo", "paragraph_support_idx": 0},
            {"question": "What of #9?", "answer": "x", "paragraph_support_idx": 7},
        ],
    }
    (lessons,) = lessons_of([record, {"question": "plain"}, 7], corpus).values()
    assert [(lesson.question, sorted(lesson.useful)) for lesson in lessons] == [
        ("Who wrote it?", [0]),
        ("Where was Ada born?", [1]),
    ]


def test_capacity_is_measured(tmp_path: Path) -> None:
    arguments = ("--dimensions", "16", "--most", "32", "--events", "500", "--out", tmp_path, "--json")
    result = run("recall-capacity", *arguments)
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    held = {row["kind"]: row["held"] for row in measured["capacity"]}
    assert held["store"] == 32
    assert held["linear map"] < 32
    assert measured["stability"] == {**measured["stability"], "finite": True, "aborted": 0, "events": 500}
    assert set(measured["rules"]) >= {"none", "ewc", "classp", "gates", "k-fpf"}
    assert json.loads((tmp_path / "recall_capacity.json").read_text()) == measured
    assert run("recall-capacity", "--dimensions", "many").exit_code == 2
