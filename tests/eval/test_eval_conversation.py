"""The conversation benchmark as a user runs it, over nine turns and the real models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conversation_data import locomo_records, longmemeval_records
from eval_data import write
from typer.testing import CliRunner, Result

from hippomem import Memory
from hippomem_eval import conversation_runner
from hippomem_eval.ablation import HIPPOMEM
from hippomem_eval.cli import app
from hippomem_eval.conversation_formats import ConversationQuestion
from hippomem_eval.conversation_runner import row_of
from hippomem_eval.conversation_systems import BASELINES
from hippomem_eval.systems import Found, Ranking, System

SYSTEMS = (HIPPOMEM, *BASELINES)
ALL = ",".join(SYSTEMS)
IDS = ["conv-1/q1", "conv-1/q2", "conv-1/q5", "conv-2/q1", "conv-2/q2", "conv-2/q3"]


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["conversation", *map(str, args)])


def printed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def rows_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    """Somebody may edit the code while its tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hippomem_eval.environment.code_hash", lambda: "code")
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a first run of all systems, with the file it came from, and what it printed."""
    folder = tmp_path_factory.mktemp("first")
    data = write(folder / "c.json.gz", locomo_records())
    return folder, printed(run("--data", data, "--out", folder / "out", "--system", ALL, "--json"))


@pytest.fixture
def again(first: tuple[Path, Any], tmp_path: Path) -> Callable[..., Result]:
    """Runs in a copy of the first run's folder."""
    folder, _ = first
    shutil.copytree(folder / "out", tmp_path / "out")
    return lambda *args: run("--data", folder / "c.json.gz", "--out", tmp_path / "out", *args)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that bm25 is asked, warm-up and second recalls included. Empty it: Ctrl-C at the 5th."""
    calls: list[str] = []

    class Counting:
        def __init__(self, inner: System) -> None:
            self.inner = inner

        def recall(self, question: str, k: int) -> Ranking:
            calls.append(question)
            if calls[0] == "stop" and len(calls) > 1 + 2 + 2 * 2:
                raise KeyboardInterrupt
            return self.inner.recall(question, k)

    counting = {**BASELINES, "bm25": lambda transcript: Counting(BASELINES["bm25"](transcript))}
    monkeypatch.setattr(conversation_runner, "BASELINES", counting)
    return calls


def test_what_is_printed(first: tuple[Path, Any]) -> None:
    folder, measured = first
    assert set(measured) == {"n_questions", "systems", "index", "differences", "categories"}
    assert (measured["n_questions"], list(measured["systems"])) == (6, list(SYSTEMS))
    for values in measured["systems"].values():
        recalls = [values[f"recall@{k}"] for k in (1, 2, 5, 10, 20)]
        assert recalls == sorted(recalls)
        assert {"all_gold@5", "mrr", "context_tokens@5", "ms", "cpu_ms", "encode_ms"} <= set(values)
    # Five and three turns: all of them come.
    assert [measured["systems"][name]["recall@20"] for name in ("hippomem", "strong", "dense", "rrf")] == [1.0] * 4
    assert measured["systems"]["full-context"]["recall@1"] == 1.0
    assert measured["systems"]["hippomem"]["recall@2"] >= 0.5
    index = measured["index"]
    assert (index["conversations"], index["turns"], index["passages"]) == (2, 8, 8)
    assert index["seconds"]["total"] > 0
    assert index["bytes"] > 0
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert {name: summary[name] for name in measured} == measured
    assert (summary["malformed_evidence"], summary["without_evidence"], summary["adversarial_left_out"]) == (2, 1, 1)


def test_what_is_left_out_is_counted_once_and_as_far_as_the_limit(tmp_path: Path) -> None:
    records = locomo_records()
    records[0]["qa"][3]["evidence"] = []  # adversarial, and without evidence
    data = write(tmp_path / "c.json", records)
    left: list[tuple[int, int, int]] = []
    for options in ((), ("--limit", 2), ("--limit", 3), ("--adversarial",)):
        printed(run("--data", data, "--out", tmp_path / "out", "--system", "bm25", "--json", *options))
        told = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
        left.append((told["n_questions"], told["without_evidence"], told["adversarial_left_out"]))
    assert left == [(6, 1, 1), (2, 0, 0), (3, 1, 1), (6, 2, 0)]


def test_differences_are_a_list_with_both_intervals(first: tuple[Path, Any]) -> None:
    _, measured = first
    pairs = {(entry["a"], entry["b"]) for entry in measured["differences"]}
    assert pairs == {("hippomem", name) for name in BASELINES}
    for entry in measured["differences"]:
        ours, theirs = (measured["systems"][entry[which]][entry["measure"]] for which in "ab")
        assert entry["mean"] == pytest.approx(ours - theirs)
        assert entry["low"] <= entry["mean"] <= entry["high"]
        assert entry["clustered"]["low"] <= entry["clustered"]["high"]


def test_categories_add_up(first: tuple[Path, Any]) -> None:
    _, measured = first
    for system, categories in measured["categories"].items():
        assert {name: values["n"] for name, values in categories.items()} == {
            "multi-hop": 1,
            "single-hop": 3,
            "temporal": 2,
        }
        for measure in ("recall@1", "recall@5", "mrr"):
            total = sum(values["n"] * values[measure] for values in categories.values())
            assert total / 6 == pytest.approx(measured["systems"][system][measure])


def test_the_lines_tell_what_came_for_each_question(first: tuple[Path, Any]) -> None:
    folder, _ = first
    for name in SYSTEMS:
        rows = rows_in(folder / "out" / f"{name}.jsonl")
        assert [row["id"] for row in rows] == IDS
        for row in rows:
            found = [turn["id"] for turn in row["ranked"]]
            if name != "full-context":
                assert row["ranks"] == [found.index(t) + 1 if t in found else None for t in row["evidence"]]
    assert rows[2]["evidence"] == ["conv-1/D10:1"]  # equal to D10:2, which the question names
    assert (rows[1]["conversation"], rows[1]["category"]) == ("conv-1", "multi-hop")


def test_each_conversation_is_a_namespace_of_one_database(first: tuple[Path, Any]) -> None:
    folder, _ = first
    with Memory.open(folder / "out" / "index.db", namespace="conv-2") as memory:
        assert memory.stats()["passages"] == 3
        passage = memory.recall("Where does Omar live?", k=1).passages[0]
    assert (passage.title, passage.session, passage.source) == ("Omar", "session 1", "conv-2")
    assert passage.occurred_at is not None
    assert passage.occurred_at.isoformat() == "2022-01-02T09:00:00+00:00"


def test_a_second_run_asks_nothing(first: tuple[Path, Any], again: Callable[..., Result], asked: list[str]) -> None:
    result = again("--system", ALL, "--json")
    assert printed(result) == first[1]
    assert asked == []
    assert "42 of 42 answers" in result.stderr


def test_an_interrupted_run_goes_on_where_it_was(
    again: Callable[..., Result], asked: list[str], tmp_path: Path
) -> None:
    rows = tmp_path / "out" / "bm25.jsonl"
    asked.append("stop")
    result = again("--system", "bm25", "--k", 3, "--json")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "starting over" in result.stderr
    assert [row["id"] for row in rows_in(rows)] == IDS[:2]
    asked.clear()
    measured = printed(again("--system", "bm25", "--k", 3, "--json"))
    assert len(asked) == (2 + 2) + (2 + 3 * 2)  # each haystack is warmed up
    assert [row["id"] for row in rows_in(rows)] == IDS
    assert not {"recall@5", "all_gold@5", "context_tokens@5"} & set(measured["systems"]["bm25"])


def test_the_tables_are_printed_without_json(again: Callable[..., Result], tmp_path: Path) -> None:
    result = again("--system", "hippomem,bm25")
    assert result.stdout == (tmp_path / "out" / "summary.md").read_text()
    assert "6 questions over 2 conversations, each on its own; 8 turns." in result.stdout
    assert "| recall@5 | multi-hop (1) | single-hop (3) | temporal (2) |" in result.stdout
    assert "2 references to evidence" in result.stdout
    tables = [block.splitlines() for block in result.stdout.split("\n\n")]
    for table in tables[:3]:
        assert len({line.count("|") for line in table}) == 1


def test_only_what_is_asked_is_remembered(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json", locomo_records())
    args = ("--data", data, "--out", tmp_path / "out", "--json")
    measured = printed(run(*args, "--limit", 1))
    assert (measured["n_questions"], measured["index"]["passages"]) == (1, 5)
    assert "clustered" not in str(measured["differences"])
    measured = printed(run(*args, "--conversations", "conv-2"))
    assert (measured["n_questions"], measured["index"]["passages"]) == (3, 3)
    assert len(rows_in(tmp_path / "out" / "hippomem.jsonl")) == 4


def test_one_index_of_plain_texts(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json", locomo_records())
    args = ("--data", data, "--out", tmp_path / "out", "--one-index")
    measured = printed(run(*args, "--plain", "--json", "--adversarial"))
    assert (measured["n_questions"], measured["index"]["conversations"], measured["index"]["passages"]) == (7, 2, 8)
    assert measured["categories"]["hippomem"]["adversarial"]["n"] == 1
    with Memory.open(tmp_path / "out" / "index.db") as memory:
        passage = memory.recall("Where does Omar live?", k=1).passages[0]
    assert (passage.title, passage.session, passage.source, passage.occurred_at) == ("", None, "", None)
    result = run(*args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "or was made with other options" in result.stderr


def test_baselines_alone_need_no_index(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json", longmemeval_records())
    measured = printed(run("--data", data, "--out", tmp_path / "out", "--system", "bm25,grep", "--json"))
    assert measured["index"] == {"conversations": 1, "turns": 4}
    assert measured["systems"]["bm25"]["recall@1"] == 1.0
    assert not (tmp_path / "out" / "index.db").exists()


def test_longmemeval_with_hippomem(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json", longmemeval_records())
    measured = printed(run("--data", data, "--out", tmp_path / "out", "--json", "--adversarial"))
    assert (measured["n_questions"], measured["index"]["passages"]) == (2, 5)
    assert set(measured["categories"]["hippomem"]) == {"single-session-user", "abstention"}


def test_an_interrupted_ingest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "c.json", locomo_records())
    args = ("--data", data, "--out", tmp_path / "out", "--conversations", "1")
    with monkeypatch.context() as patch:

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Memory, "ingest", interrupted)
        assert run(*args).exit_code == 130
    result = run(*args)
    assert result.exit_code == 0
    assert "(since an interruption)" in result.stdout


def test_results_of_other_code_do_not_count(again: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem_eval.environment.code_hash", lambda: "edited")
    result = again("--limit", 1)
    assert "starting over" in result.stderr
    assert "The index was built with other code or settings" in result.stdout


def test_an_index_that_two_codes_built_is_of_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "c.json", locomo_records())
    args = ("--data", data, "--out", tmp_path / "out", "--conversations")
    assert run(*args, "0").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr("hippomem_eval.environment.code_hash", lambda: "edited")
        assert run(*args, "1").exit_code == 0
    assert "The index was built with other code or settings" in run(*args, "0,1").stdout


def test_other_conversations_need_another_folder(again: Callable[..., Result], tmp_path: Path) -> None:
    other = write(tmp_path / "other.json", locomo_records()[:1])
    result = again("--data", other)
    assert (result.exit_code, "holds other conversations" in result.stderr) == (1, True)


def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    data = write(tmp_path / "c.json", locomo_records())
    (tmp_path / "index.db").write_bytes(b"mine")
    result = run("--data", data, "--out", tmp_path)
    assert (result.exit_code, "was not made by this command" in result.stderr) == (1, True)
    assert (tmp_path / "index.db").read_bytes() == b"mine"


def test_a_row_by_hand() -> None:
    question = ConversationQuestion("q", "c", "Who?", "temporal", ("a", "z"))
    lines = {"a": "x" * 40, "b": "x" * 20, "z": "x" * 100}
    ranking = Ranking((Found("b", "", "", 2.0), Found("a", "", "", 1.0)))
    row = row_of(question, ("a", "z"), ranking, {"ms": 1.0}, lines, 20)
    assert (row["ranks"], row["recall@1"], row["recall@2"], row["all_gold@5"], row["mrr"]) == (
        [2, None],
        0,
        0.5,
        0,
        0.5,
    )
    assert (row["context_tokens@5"], row["ms"]) == (60 / 4, 1.0)
    around = {1: {"b": ("z", "b"), "a": ("a",)}}
    wide = row_of(question, ("a", "z"), ranking, {}, lines, 20, around=around)
    assert (wide["window1@5"], wide["context_tokens@5_window1"]) == (1.0, 160 / 4)
    whole = row_of(question, ("a", "z"), ranking, {}, lines, 20, is_whole=True)
    assert (whole["ranks"], whole["recall@1"], whole["ranked"]) == ([1, 1], 1.0, [])


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--data", "none.json", "--out", "out"), 1, "error: there is no file none.json"),
        (("--data", "none.json"), 2, "--out"),
        (("--data", "none.json", "--out", "out", "--system", "hippomem,magic"), 2, "magic"),
        (("--data", "none.json", "--out", "out", "--limit", "0"), 2, "--limit"),
        (("--data", "none.json", "--out", "out", "--k", "0"), 2, "--k"),
    ],
)
def test_wrong_use(args: tuple[str, ...], code: int, message: str) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
