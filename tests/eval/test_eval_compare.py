"""Two folders of results beside each other: what is compared, what is refused, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hippomem import InvalidInputError, NotFoundError, SourceError
from hippomem_eval.cli import app
from hippomem_eval.compare import LISTED, compare, load_side, load_sides
from hippomem_eval.metrics import recall_at, reciprocal_rank

DATA = {"questions": {"path": "q.json", "sha256": "aa"}, "corpus": {"path": "c.json", "sha256": "bb"}}


def row(id_: str, *ranks: int | None, ms: float = 2.0) -> dict[str, Any]:
    measures = {f"recall@{k}": recall_at(ranks, k) for k in (1, 5)} | {"mrr": reciprocal_rank(ranks)}
    costs = {"ms": ms, "cpu_ms": ms, "encode_ms": 1.0}
    found = {"gold": ["G"] * len(ranks), "gold_ranks": list(ranks), "ranked": [{"id": "p", "title": "T", "score": 1.0}]}
    return {"id": id_, "question": f"Who is {id_}?", **found, **measures, **costs}


def folder(path: Path, data: object = DATA, **systems: list[dict[str, Any]]) -> Path:
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps({"data": data, "versions": {"hippomem": "0"}}))
    for name, rows in systems.items():
        (path / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, args)])


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A finds q1 and q2 where B does not, ranks q3 lower, and both have a question that the other lacks."""
    ours = [row("q1", 1), row("q2", 1, 9, ms=4), row("q3", 2), row("q4", 1), row("only a", 1)]
    theirs = [row("only b", 1), row("q1", None), row("q2", None, 9), row("q3", 1), row("q4", 1)]
    return folder(tmp_path / "new", hippomem=ours), folder(tmp_path / "old", hippomem=theirs, dense=theirs[:2])


def test_the_differences_by_hand(pair: tuple[Path, Path]) -> None:
    result = compare(*load_sides(*pair))
    assert (result["n_questions"], result["only_a"], result["only_b"]) == (4, 1, 1)
    assert (result["a"]["name"], result["b"]["name"]) == ("new/hippomem", "old/hippomem")
    means = {entry["measure"]: entry["mean"] for entry in result["differences"]}
    # recall@5 by question: +1, +.5, 0, 0; recall@1: +1, +.5, -1, 0; mrr: +1, 1 - 1/9, -.5, 0
    assert means == pytest.approx(
        {"recall@1": 0.125, "recall@5": 0.375, "mrr": (1.5 - 1 / 9) / 4, "ms": 0.5, "cpu_ms": 0.5, "encode_ms": 0}
    )
    for entry in result["differences"]:
        assert entry["low"] <= entry["mean"] <= entry["high"]
        assert (entry["a"], entry["b"]) == ("new/hippomem", "old/hippomem")
    assert result["means"]["new/hippomem"]["recall@5"] == pytest.approx(0.875)
    assert result["counts"] == {"won": 2, "lost": 1, "same": 1}
    assert [each["id"] for each in result["won"]] == ["q1", "q2"]
    assert result["lost"] == [
        {
            "id": "q3",
            "question": "Who is q3?",
            "difference": {"recall@5": 0.0, "mrr": -0.5},
            "gold_ranks": {"a": [2], "b": [1]},
        }
    ]


def test_questions_that_one_of_the_two_asked_in_other_words_are_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert "in other words" not in run(*pair).stdout
    slips = folder(tmp_path / "slips", hippomem=[row("q1", 1) | {"question": "Who is qq1?"}, row("q3", 1)])
    assert compare(*load_sides(pair[0], slips))["asked_otherwise"] == 1
    assert "1 of them were asked in other words by one of the two" in run(pair[0], slips).stdout


def test_a_run_does_not_differ_from_itself(pair: tuple[Path, Path]) -> None:
    result = compare(*load_sides(pair[0], pair[0]))
    assert all(entry["mean"] == entry["low"] == entry["high"] == 0 for entry in result["differences"])
    assert (result["won"], result["lost"], result["counts"]["same"]) == ([], [], 5)
    assert result["a"]["name"] != result["b"]["name"]


def test_the_seed_decides_the_intervals(pair: tuple[Path, Path]) -> None:
    sides = load_sides(*pair)
    assert compare(*sides, seed=1) == compare(*sides, seed=1)


def test_only_so_many_questions_are_listed(tmp_path: Path) -> None:
    ids = [f"q{number}" for number in range(LISTED + 5)]
    a, b = folder(tmp_path / "a", x=[row(i, 1) for i in ids]), folder(tmp_path / "b", x=[row(i, 2) for i in ids])
    result = compare(*load_sides(a, b))
    assert (len(result["won"]), result["counts"]["won"]) == (LISTED, LISTED + 5)


def test_conversations_keep_their_data_and_ranks_otherwise(tmp_path: Path) -> None:
    def turn(id_: str, rank: int | None) -> dict[str, Any]:
        told = row(id_, rank)
        told["evidence"], told["ranks"] = told.pop("gold"), told.pop("gold_ranks")
        return told | {"ranked": [{"id": "D1:3", "score": 1.0}], "context_tokens@5": 120.0}

    data = {"path": "locomo.json", "sha256": "cc"}
    a = folder(tmp_path / "a", data, hippomem=[turn("q1", 1)])
    b = folder(tmp_path / "b", data, hippomem=[turn("q1", None)])
    result = compare(*load_sides(a, b))
    assert result["won"][0]["gold_ranks"] == {"a": [1], "b": [None]}
    assert "context_tokens@5" in result["means"]["a/hippomem"]
    assert run(a, b, "--out", tmp_path / "out").exit_code == 0
    assert "D1:3" in (tmp_path / "out" / "compare.html").read_text()


@pytest.mark.parametrize(
    ("systems", "expected"),
    [
        ("", ("hippomem", "hippomem")),
        ("B=dense", ("hippomem", "dense")),
        ("A=hippomem, B=dense", ("hippomem", "dense")),
    ],
)
def test_whose_results(pair: tuple[Path, Path], systems: str, expected: tuple[str, str]) -> None:
    assert tuple(side.system for side in load_sides(*pair, systems)) == expected


def test_the_only_system_needs_no_name(tmp_path: Path) -> None:
    assert load_side(folder(tmp_path / "a", bm25=[row("q", 1)]), None).system == "bm25"


@pytest.mark.parametrize("systems", ["A=", "C=dense", "A=dense,A=dense", "dense,hippomem", "="])
def test_systems_that_cannot_be(pair: tuple[Path, Path], systems: str) -> None:
    with pytest.raises(InvalidInputError, match="A=NAME,B=NAME"):
        load_sides(*pair, systems)


@pytest.mark.parametrize("what", ["questions", "corpus"])
def test_different_data_is_refused(pair: tuple[Path, Path], tmp_path: Path, what: str) -> None:
    other = folder(tmp_path / "x", {**DATA, what: {"path": "x", "sha256": "other"}}, hippomem=[row("q1", 1)])
    result = run(pair[0], other)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"are of different data sets ({what})" in result.stderr
    conversations = folder(tmp_path / "y", {"path": "x", "sha256": "aa"}, hippomem=[row("q1", 1)])
    assert "are of different data sets (data)" in run(pair[0], conversations).stderr


def test_no_question_in_common_is_told(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", x=[row("q1", 1)]), folder(tmp_path / "b", x=[row("q2", 1)])
    assert "no question in common" in run(a, b).stderr


def test_what_is_missing_is_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no folder"):
        load_side(tmp_path / "none", None)
    with pytest.raises(NotFoundError, match="only of: hippomem"):
        load_side(pair[0], "magic")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match=r"holds no run\.json"):
        load_side(tmp_path / "empty", None)


@pytest.mark.parametrize("content", ["", "[1]\n", '{"id": "q"\n', '{"no": "id"}\n'])
def test_damaged_rows_are_told(pair: tuple[Path, Path], content: str) -> None:
    (pair[0] / "hippomem.jsonl").write_text(content)
    with pytest.raises(SourceError, match=r"hippomem\.jsonl"):
        load_side(pair[0], None)


def test_a_run_without_hashes_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="which data"):
        load_side(folder(tmp_path / "a", None, x=[row("q1", 1)]), None)


def test_what_is_printed_and_written(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(*pair, "--out", out, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert (out / "compare.md").read_text() == result.stdout
    assert "| recall@5 | 87.5 | 50.0 | +37.5 [" in result.stdout
    assert "4 questions that both have." in result.stdout
    assert "1 questions only in new/hippomem, left out." in result.stdout
    assert "- ranks 1 against ranks -: Who is q1? (q1)" in result.stdout
    assert json.loads((out / "compare.json").read_text())["seed"] == 3
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "Who is q3?" in (out / "compare.html").read_text()
    assert json.loads(run(*pair, "--seed", 3, "--json").stdout) == json.loads((out / "compare.json").read_text())


def test_a_terminal_is_not_commanded(tmp_path: Path) -> None:
    hostile = row("q\x1b[2J", 1) | {"question": "Who?\x1b]0;title\x07\n| a | b |"}
    a = folder(tmp_path / "a", x=[hostile])
    b = folder(tmp_path / "b", x=[row("q\x1b[2J", None)])
    assert "\x1b" not in run(a, b).stdout


def told(path: Path, **systems: dict[str, Any]) -> None:
    """As a run keeps it: what each system was asked. `data` is what the last one read."""
    ran = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(ran | {"systems": systems}))


def test_data_are_those_that_the_system_was_asked(pair: tuple[Path, Path]) -> None:
    new, old = pair
    told(old, hippomem={"questions": "edited", "corpus": "bb"}, dense={"questions": "aa", "corpus": "bb"})
    told(new, hippomem={"questions": "aa", "corpus": "bb"})
    with pytest.raises(InvalidInputError, match=r"different data sets \(questions\)"):
        compare(*load_sides(new, old))
    assert compare(*load_sides(new, old, "B=dense"))["n_questions"] == 1


def test_plain_turns_are_of_the_same_data(tmp_path: Path) -> None:
    data = {"path": "locomo.json", "sha256": "cc"}
    folders = [folder(tmp_path / name, data, hippomem=[row("q1", 1)]) for name in "ab"]
    for path, asked in zip(folders, ("cc", "cc plain"), strict=True):
        told(path, hippomem={"data": asked})
    assert compare(*load_sides(*folders))["n_questions"] == 1


def test_reciprocal_ranks_among_more_passages_are_another_measure(pair: tuple[Path, Path]) -> None:
    for path, k in zip(pair, (5, 20), strict=True):
        told(path, hippomem={"questions": "aa", "corpus": "bb", "k": k})
    measures = {entry["measure"] for entry in compare(*load_sides(*pair))["differences"]}
    assert measures == {"recall@1", "recall@5", "ms", "cpu_ms", "encode_ms"}


def test_answers_are_compared(tmp_path: Path) -> None:
    def answered(id_: str, answer: str, right: float) -> dict[str, Any]:
        scores = {"em": right, "f1": right, "in_memory": 1.0, "cited": 1.0, "cited_gold": right}
        return {"id": id_, "question": f"Who is {id_}?", "accepted": ["Ada"], "answer": answer, **scores}

    a = folder(tmp_path / "a", {}, qa=[answered("q1", "Ada", 1.0), answered("q2", "Ada", 1.0)])
    b = folder(tmp_path / "b", {}, qa=[answered("q1", "Bo", 0.0), answered("q2", "Ada", 1.0)])
    for path in (a, b):
        told(path, qa={"questions": "aa", "corpus": "bb"})
    result = run(a, b, "--out", tmp_path / "out")
    assert "| em | 100.0 | 50.0 | +50.0 [" in result.stdout
    assert '- "Ada" against "Bo": Who is q1? (q1)' in result.stdout
    assert "Gold: Ada" in (tmp_path / "out" / "compare.html").read_text()
