"""The benchmark as a user runs it, over eight passages and the real models."""

from __future__ import annotations

import gzip
import html
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from eval_data import PASSAGES, corpus_records, hotpot_records, question_records, write, write_pair
from typer.testing import CliRunner, Result

from hippomem import Memory
from hippomem_eval import runner
from hippomem_eval.cli import app
from hippomem_eval.results import alone_in
from hippomem_eval.systems import ASKING, SYSTEMS, Bench, Ranking, System

IDS = ["q1", "q2", "q3", "q4"]


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["multihop", *map(str, args)])


def printed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def ids_in(file: Path) -> list[str]:
    return [json.loads(line)["id"] for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    """Somebody may edit the code while its tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hippomem_eval.environment.code_hash", lambda: "code")
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a first run, with the files it came from, and what it printed."""
    folder = tmp_path_factory.mktemp("first")
    questions, corpus = write_pair(folder)
    args = ("--questions", questions, "--corpus", corpus, "--out", folder / "out", "--system", "hippomem,dense")
    return folder, printed(run(*args, "--json"))


@pytest.fixture
def again(first: tuple[Path, Any], tmp_path: Path) -> Callable[..., Result]:
    """Runs in a copy of the first run's folder. The corpus keeps its place, where the index knows it."""
    folder, _ = first
    shutil.copytree(folder / "out", tmp_path / "out")
    pair = ("--questions", folder / "q.json", "--corpus", folder / "c.json")
    return lambda *args: run(*pair, "--out", tmp_path / "out", *args)


def counting(calls: list[str], stop_after: int = 10**6) -> Mapping[str, Callable[[Memory, Bench], System]]:
    """The systems, noting what they are asked; Ctrl-C after so many questions."""

    class Counting:
        def __init__(self, inner: System) -> None:
            self.inner = inner

        def recall(self, question: str, k: int) -> Ranking:
            calls.append(question)
            if len(calls) > stop_after:
                raise KeyboardInterrupt
            return self.inner.recall(question, k)

    return {name: lambda m, b, make=make: Counting(make(m, b)) for name, make in SYSTEMS.items()}  # type: ignore[misc]


def test_what_is_printed(first: tuple[Path, Any]) -> None:
    folder, measured = first
    assert set(measured) == {"n_questions", "systems", "index", "differences"}
    assert (measured["n_questions"], list(measured["systems"])) == (4, ["hippomem", "dense"])
    for values in measured["systems"].values():
        recalls = [values[f"recall@{k}"] for k in (1, 2, 5, 10, 20)]
        assert recalls == sorted(recalls)
        # Eight passages: all are recalled at 10.
        assert recalls[-1] == 1.0
        for cost in ("ms", "cpu_ms", "encode_ms"):
            assert 0 < values[cost]["p50"] <= values[cost]["p95"]
    assert measured["systems"]["hippomem"]["recall@5"] >= 0.75
    assert measured["index"]["passages"] == len(PASSAGES)
    assert measured["index"]["bytes"] > 0
    assert measured["index"]["seconds"]["total"] > 0
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert {name: summary[name] for name in measured} == measured
    assert {(v["a"], v["b"]) for v in measured["differences"]} == {("hippomem", "dense")}
    assert (folder / "out" / "summary.md").read_text().startswith("| q.json | recall@1 |")
    pictures = {"recall.png", "differences.png", "latency.png"}
    assert {"report.html"} | pictures <= {path.name for path in (folder / "out").iterdir()}
    assert "On which river is the city where Odile Varga was born?" in (folder / "out" / "report.html").read_text()


def test_the_lines_tell_what_came_for_each_question(first: tuple[Path, Any]) -> None:
    folder, _ = first
    lines = [json.loads(line) for line in (folder / "out" / "hippomem.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == IDS
    for line in lines:
        assert line["unmatched"] == 0
        assert len(line["ranked"]) == len(PASSAGES)
        titles = [passage["title"] for passage in line["ranked"]]
        assert [titles[rank - 1] for rank in line["gold_ranks"]] == line["gold"]


def test_run_json_tells_the_circumstances(first: tuple[Path, Any]) -> None:
    folder, _ = first
    told = json.loads((folder / "out" / "run.json").read_text())
    assert {"data", "index", "systems", "machine", "versions", "code", "settings", "seed", "limit"} <= set(told)
    assert told["machine"]["cpus"] >= 1
    assert told["versions"]["hippomem"]


def test_a_second_run_asks_nothing(
    first: tuple[Path, Any], again: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(runner, "SYSTEMS", counting(calls))
    result = again("--system", "hippomem,dense", "--json")
    assert printed(result) == first[1]
    assert calls == []
    assert "4 of 4 questions" in result.stderr


def test_the_table_is_printed_without_json(again: Callable[..., Result], tmp_path: Path) -> None:
    result = again("--limit", 2)
    assert result.stdout == (tmp_path / "out" / "summary.md").read_text()
    assert "2 questions over 8 passages" in result.stdout


def test_the_report_shows_what_the_summary_is_of(again: Callable[..., Result], tmp_path: Path) -> None:
    """Two of the first run's four questions, one of its two systems."""
    assert again("--limit", 2).exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    asked = [question["question"] in html.unescape(page) for question in question_records()]
    assert asked == [True, True, False, False]
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"recall.png", "latency.png"}


def test_an_interrupted_run_goes_on_where_it_was(
    again: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "out" / "hippomem.jsonl"
    monkeypatch.setattr(runner, "SYSTEMS", counting([], stop_after=2 + 2 * 2))  # warm-up, two questions
    result = again("--k", 7, "--json")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "starting over" in result.stderr
    assert "the same command goes on" in result.stderr
    assert ids_in(rows) == IDS[:2]
    before = rows.read_text()
    with rows.open("a") as stream:
        stream.write('{"id": "q3", "cut of')

    calls: list[str] = []
    monkeypatch.setattr(runner, "SYSTEMS", counting(calls))
    measured = printed(again("--k", 7, "--json"))
    assert len(calls) == 2 + 2 * 2
    assert ids_in(rows) == IDS
    assert rows.read_text().startswith(before)
    assert measured["n_questions"] == 4
    assert "recall@10" not in measured["systems"]["hippomem"]


def test_results_of_other_code_do_not_count(again: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(runner, "SYSTEMS", counting(calls))
    monkeypatch.setattr("hippomem_eval.environment.code_hash", lambda: "edited")
    result = again("--limit", 1)
    assert len(calls) == 2 + 2
    assert "built with other code or settings" in result.stderr
    assert "The index was built with other code or settings" in result.stdout


def test_an_interrupted_ingest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, corpus = write_pair(tmp_path)
    args = ("--questions", questions, "--corpus", corpus, "--out", tmp_path / "out", "--limit", 1)
    with monkeypatch.context() as patch:

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Memory, "ingest", interrupted)
        assert run(*args).exit_code == 130
    moved = write(tmp_path / "moved.json", corpus_records())
    result = run("--questions", questions, "--corpus", moved, "--out", tmp_path / "out")
    assert (result.exit_code, "index of another corpus" in result.stderr) == (1, True)
    result = run(*args)
    assert result.exit_code == 0
    assert "(since an interruption)" in result.stdout


def test_an_index_that_two_codes_built_is_of_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, corpus = write_pair(tmp_path)
    args = ("--questions", questions, "--corpus", corpus, "--out", tmp_path / "out", "--limit", 1)
    ingest = Memory.ingest
    with monkeypatch.context() as patch:

        def interrupted(memory: Memory, sources: Any, **_: object) -> None:
            ingest(memory, list(sources)[:3])
            raise KeyboardInterrupt

        patch.setattr(Memory, "ingest", interrupted)
        assert run(*args).exit_code == 130
    with monkeypatch.context() as patch:
        patch.setattr("hippomem_eval.environment.code_hash", lambda: "edited")
        assert "The index was built with other code or settings" in run(*args).stdout
    assert "The index was built with other code or settings" in run(*args).stdout


def test_a_second_run_in_a_folder_is_refused(again: Callable[..., Result], tmp_path: Path) -> None:
    with alone_in(tmp_path / "out"):
        result = again()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "another run writes to" in result.stderr
    assert again("--limit", 1).exit_code == 0


def test_a_file_that_brings_its_context(tmp_path: Path) -> None:
    questions = write(tmp_path / "hotpot.jsonl.gz", hotpot_records())
    measured = printed(run("--questions", questions, "--out", tmp_path / "out", "--system", "dense", "--json"))
    assert measured["index"]["passages"] == len(PASSAGES)
    assert measured["systems"]["dense"]["recall@10"] == 1.0
    kept = (tmp_path / "out" / "corpus.json").read_bytes()
    fewer = [record | {"context": record["context"][1:]} for record in hotpot_records()[1:]]
    result = run("--questions", write(tmp_path / "other.json", fewer), "--out", tmp_path / "out")
    assert (result.exit_code, "index of another corpus" in result.stderr) == (1, True)
    assert (tmp_path / "out" / "corpus.json").read_bytes() == kept
    assert not list((tmp_path / "out").glob("*.part"))
    theirs = write(tmp_path / "corpus.json", [{"title": "Theirs", "text": "Nothing of a run."}])
    kept = theirs.read_bytes()
    result = run("--questions", questions, "--out", tmp_path)
    assert (result.exit_code, "holds other passages" in result.stderr) == (1, True)
    assert theirs.read_bytes() == kept


@pytest.mark.parametrize("name", ["corpus.txt", "blob", "zipped.json"])
def test_a_corpus_is_told_by_its_content_not_by_its_name(tmp_path: Path, name: str) -> None:
    """Under another ending, without one behind a link as in Hugging Face's cache, and compressed without .gz."""
    questions, corpus = write_pair(tmp_path)
    named = tmp_path / name
    named.write_bytes(gzip.compress(corpus.read_bytes()) if name == "zipped.json" else corpus.read_bytes())
    if name == "blob":
        named = tmp_path / "linked.json"
        named.symlink_to(tmp_path / name)
    args = ("--questions", questions, "--corpus", named, "--out", tmp_path / "out", "--system", "dense", "--limit", 1)
    measured = printed(run(*args, "--json"))
    assert measured["index"]["passages"] == len(PASSAGES)
    assert measured["systems"]["dense"]["recall@10"] == 1.0


def test_an_index_without_gold_is_no_zero(
    first: tuple[Path, Any], again: Callable[..., Result], tmp_path: Path
) -> None:
    folder, _ = first
    with Memory.open(tmp_path / "out" / "index.db") as memory:
        memory.forget((folder / "c.json").resolve().as_posix())
        memory.add("Something else.")
    result = again("--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: none of the 7 gold passages is in" in result.stderr


def test_an_index_of_something_else_is_no_zero(again: Callable[..., Result], tmp_path: Path) -> None:
    with Memory.open(tmp_path / "out" / "index.db") as memory:
        memory.forget([passage.id for passage in memory.passages()[1:]])
        memory.ingest([{"text": f"Note {number} on where the city and the river are."} for number in range(20)])
    result = again("--k", 19, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "passages that hippomem recalled are not in the corpus" in result.stderr


@pytest.fixture
def openie(tmp_path: Path) -> Path:
    """Two triples for the first passage, one of them malformed, and one for the second."""
    triples = [[["Odile Varga", "born in", "Szeged"], ["Szeged", "Tisza"]], [["Szeged", "lies on", "Tisza"]]]
    docs = [
        {"passage": f"{title}\n{text}", "extracted_triples": own}
        for (title, text), own in zip(PASSAGES, triples, strict=False)
    ]
    return write(tmp_path / "openie.json.gz", {"docs": docs})


def test_all_systems_in_one_run(again: Callable[..., Result], tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = [name for name in SYSTEMS if name not in ASKING]
    measured = printed(again("--system", ",".join(names), "--json"))
    assert list(measured["systems"]) == names
    for name, values in measured["systems"].items():
        assert values["recall@10"] == values["recall@20"] == 1.0  # eight passages
        assert values["recall@5"] > 0.6
        assert (values["encode_ms"]["p50"] > 0) == (name != "bm25")
        lines = [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]
        came = [len(line["ranked"]) for line in lines]
        assert came == ([2, 3, 4, 5] if name == "bm25" else [len(PASSAGES)] * 4)  # those with a word of the question
        assert sum(line["unmatched"] for line in lines) == 0
    assert {(v["a"], v["b"]) for v in measured["differences"]} == {("hippomem", b) for b in names[1:]}
    local = [v for v in measured["differences"] if v["b"] == "hippomem-local"]
    assert all(v["mean"] == v["low"] == v["high"] == 0 for v in local)
    assert len(list(out.glob("vectors-*.npz"))) == 3  # facts, phrases, names
    assert not (out / "index-openie.db").exists()


@pytest.mark.slow
def test_triples_of_an_llm(again: Callable[..., Result], tmp_path: Path, openie: Path) -> None:
    out = tmp_path / "out"
    systems = ("--system", "hippomem,hippomem-local,hipporag2")
    plain = printed(again(*systems, "--json"))
    result = again(*systems, "--openie", openie, "--json")
    measured = printed(result)
    assert "4 of 4 questions are in" in result.stderr  # of hippomem-local, which they do not concern
    assert measured["systems"]["hippomem-local"] == plain["systems"]["hippomem-local"]
    assert measured["index"]["passages"] == plain["index"]["passages"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["openie"] == {"path": str(openie), "triples": 2, "dropped": 1, "elsewhere": 0, "missing": 6}
    assert "1 malformed triples of the LLM dropped." in (out / "summary.md").read_text()
    for name, facts in (("index", 0), ("index-openie", 2)):
        with Memory.open(out / f"{name}.db") as memory:
            edges = memory.graph().edges(data=True)
            assert sum("Recorded" in data.get("extractor", "") for *_, data in edges) == facts
            assert memory.stats()["passages"] == len(PASSAGES)
    again_the_same = again(*systems, "--openie", openie, "--json")
    assert printed(again_the_same) == measured
    assert again_the_same.stderr.count("4 of 4 questions") == 3
    write(openie, {"docs": [{"passage": "\n".join(PASSAGES[0]), "extracted_triples": []}]})
    other = again(*systems, "--openie", openie)
    assert (other.exit_code, "index of another corpus" in other.stderr) == (1, True)


def test_another_corpus_needs_another_folder(again: Callable[..., Result], tmp_path: Path) -> None:
    other = write(tmp_path / "other.json", [*corpus_records(), {"title": "New", "text": "A new passage."}])
    result = again("--corpus", other)
    assert result.exit_code == 1
    assert "is the index of another corpus" in result.stderr


def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    questions, corpus = write_pair(tmp_path)
    (tmp_path / "index.db").write_bytes(b"mine")
    result = run("--questions", questions, "--corpus", corpus, "--out", tmp_path)
    assert (result.exit_code, "was not made by this command" in result.stderr) == (1, True)
    assert (tmp_path / "index.db").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--questions", "none.json", "--out", "out"), 1, "error: there is no file none.json"),
        (("--questions", "none.json"), 2, "--out"),
        (("--questions", "none.json", "--out", "out", "--system", "hippomem,magic"), 2, "magic"),
        (("--questions", "none.json", "--out", "out", "--limit", "0"), 2, "--limit"),
        (("--questions", "none.json", "--out", "out", "--k", "0"), 2, "--k"),
        (("--questions", "none.json", "--out", "out", "--openie", "no.json"), 1, "there is no file none.json"),
    ],
)
def test_wrong_use(args: tuple[str, ...], code: int, message: str) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
