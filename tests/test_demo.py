"""The demo: the graph finds what dense search misses, and the difference is shown."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from hippomem import NotFoundError
from hippomem.demo import QUESTIONS, Demo, demo_folder, demo_json, print_demo, run_demo


@pytest.fixture(scope="module")
def shown() -> Demo:
    return run_demo()


def test_all_notes_are_ingested_and_all_questions_asked(shown: Demo) -> None:
    assert shown.report.documents == len(list((demo_folder() / "notes").glob("*.md")))
    assert not shown.report.failed
    assert tuple(asked.question for asked in shown.asked) == QUESTIONS


def test_the_graph_finds_what_dense_search_misses(shown: Demo) -> None:
    for asked in demo_json(shown)["questions"]:
        by_graph, by_dense = ({p["note"] for p in asked[way]["passages"] if p["gold"]} for way in ("graph", "dense"))
        assert by_graph == set(asked["gold"])
        assert by_dense < set(asked["gold"])
        assert asked["graph"]["paths"]
        assert asked["graph"]["timings_ms"]["total"] > 0


def test_both_rankings_the_path_and_the_time_are_printed(shown: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    print_demo(shown)
    printed = capsys.readouterr().out
    for part in ("● 2. Philippa Roake", "dense search alone", "He fell from a balloon", *QUESTIONS):
        assert part in printed
    for label in ("path", "note", "answer", "time"):
        assert sum(line.startswith(f"{label} ") for line in printed.splitlines()) == len(QUESTIONS)


def test_a_demo_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr("hippomem.demo.__file__", str(tmp_path / "site-packages" / "hippomem" / "demo.py"))
    with pytest.raises(NotFoundError, match="not installed"):
        demo_folder()
