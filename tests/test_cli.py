"""The commands: what they print, what they exit with, and that documents cannot control the terminal."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import typer.main
from typer.testing import CliRunner, Result

from hippomem import Memory, Triple
from hippomem.cli import app, main
from hippomem.cli_output import visible
from hippomem.errors import StoreFullError
from hippomem.types import Check, Diagnosis

HOSTILE = (
    "Ada \x1b[31mred\x1b[0m \x9b2J \x1b]0;owned\x07 [bold red]loud[/] [link=file:///etc]x[/link] "
    "\u202egnp.exe\u2066 lives in Oslo."
)
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
Cli = Callable[..., Result]


@cache
def encoder_of(*settings: str) -> Any:
    from hippomem.neocortex.encoder_choice import resolve_encoder

    return resolve_encoder(*settings)  # type: ignore[arg-type]


@cache
def extractor_of(name: str) -> Any:
    from hippomem.neocortex.extraction import LocalExtractor

    return LocalExtractor(name)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command in an empty folder. The models are loaded once for all tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HIPPOMEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("hippomem.memory.resolve_encoder", encoder_of)
    monkeypatch.setattr("hippomem.memory.LocalExtractor", extractor_of)
    return lambda *args, **options: CliRunner().invoke(app, [str(arg) for arg in args], **options)


def json_of(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def error_of(result: Result, code: int = 1) -> str:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    line = result.stderr
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    return line


def commands() -> Iterator[tuple[str, Any]]:
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        if name == "eval":  # tested where it is made
            continue
        below = getattr(command, "commands", None)
        yield from ((f"{name} {inner}", c) for inner, c in below.items()) if below else [(name, command)]


# -- every command ---------------------------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_design() -> None:
    expected = "demo add ingest recall ask feedback get update history forget stats doctor export import".split()
    expected += "reencode sources passages consolidate undo worker mcp serve".split()
    assert {name for name, _ in commands()} == {*expected, "graph export", "jobs retry"}


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_takes_the_store_and_json_and_has_help(name: str, command: Any) -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--db", "--namespace", "--json"} <= options
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert len(result.stdout) > 200


def test_every_command_is_in_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    assert [name for name, _ in commands() if f"hippomem {name}" not in readme] == []


# -- feedback ---------------------------------------------------------------------------------------------------------


def test_feedback_is_learned_and_unlearned(cli: Cli) -> None:
    cli("add", "Ada ordered a lamp for the birthday.")
    wanted = cli("add", "The saddle was for the birthday of Bea.").stdout.strip()
    question = "what did she order for the birthday?"
    event = json_of(cli("feedback", question, "--useful", wanted, "--json"))
    assert (event["query"], event["useful"], event["confidence"]) == (question, [wanted], 1.0)
    found = json_of(cli("recall", question, "--json"))["passages"][0]
    assert found["id"] == wanted
    assert "moved up by 1 earlier query like this one" in found["why"]
    assert "learned" not in json_of(cli("recall", question, "--no-learned", "--json"))["passages"][0]["causes"]
    assert event["id"] in cli("history", event["id"], "--json").stdout
    assert "1 learning event" in cli("forget", event["id"]).stdout
    assert json_of(cli("stats", "--json"))["learned"] == 0


def test_feedback_that_cannot_be_is_one_line(cli: Cli) -> None:
    id_ = cli("add", "Ada ordered a lamp.").stdout.strip()
    for arguments, code in (
        (["question", "--useful", "nothing"], 1),
        (["question", "--useful", id_, "--confidence", "0"], 1),
        (["", "--useful", id_], 1),
        (["question", "--useful", id_, "--confidence", "2"], 2),
        (["question"], 2),
    ):
        result = cli("feedback", *arguments)
        assert result.exit_code == code, arguments
        assert code == 2 or len(result.stderr.splitlines()) == 1


# -- add, get, update, history, forget -------------------------------------------------------------------------------


def test_add_prints_the_id_and_adding_twice_is_adding_once(cli: Cli) -> None:
    first = cli("add", "Ada moved to Oslo in 2021.")
    assert first.exit_code == 0
    assert re.fullmatch(r"[0-9a-f]+\n", first.stdout)
    again = cli("add", "Ada moved to Oslo in 2021.")
    assert again.stdout == first.stdout
    assert "already" in again.stderr
    assert json_of(cli("add", "Ada moved to Oslo in 2021.", "--json"))["created"] is False


def test_add_takes_all_that_is_known_about_a_text(cli: Cli) -> None:
    options = ["--title", "Ada", "--source", "letters", "--session", "s1", "--metadata", '{"page": 3}']
    options += ["--occurred-at", "2021-05-01T12:00+02:00", "--triple", "Ada | moved to | Oslo", "--triple", "A|b|C"]
    event = json_of(cli("add", "Ada moved to Oslo.", *options, "--json"))
    assert event["created"]
    passage = json_of(cli("get", event["id"], "--json"))
    assert passage["occurred_at"] == "2021-05-01T10:00:00+00:00"
    assert {name: passage[name] for name in ("title", "source", "session", "metadata")} == {
        "title": "Ada",
        "source": "letters",
        "session": "s1",
        "metadata": {"page": 3},
    }
    shown = cli("get", event["id"])
    assert "Ada moved to Oslo." in shown.stdout
    assert "letters" in shown.stdout


def test_add_reads_standard_input(cli: Cli) -> None:
    piped = cli("add", "-", input="Ada moved to Oslo.\n")
    assert piped.stdout == cli("add", "Ada moved to Oslo.").stdout
    assert "not UTF-8" in error_of(cli("add", "-", input=b"caf\xe9"))


@pytest.mark.parametrize(
    "options",
    [
        ["--occurred-at", "yesterday"],
        ["--occurred-at", "2021-05-01"],
        ["--metadata", "{"],
        ["--metadata", "[1]"],
        ["--triple", "Ada|Oslo"],
        ["--triple", "Ada||Oslo"],
        ["--no-such-option"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_changes_nothing(cli: Cli, options: list[str]) -> None:
    result = cli("add", "Ada moved to Oslo.", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr
    assert not list(Path.cwd().iterdir())


def test_update_history_and_forget(cli: Cli) -> None:
    old = cli("add", "Ada lives in Bergen.").stdout.strip()
    event = json_of(cli("update", old, "Ada lives in Oslo.", "--json"))
    assert json_of(cli("get", old, "--json"))["text"] == "Ada lives in Oslo."
    changes = json_of(cli("history", event["id"], "--json"))
    assert [change["text"] for change in changes if change["text"]] == ["Ada lives in Bergen."]
    assert "was: Ada lives in Bergen." in cli("history", event["id"]).stdout
    gone = json_of(cli("forget", event["id"], "--json"))
    assert gone["passages"] == 1
    assert gone["ids"] == [event["id"]]
    assert {"entities", "facts"} <= gone.keys()
    assert event["id"] in error_of(cli("get", event["id"]))
    cli("add", "Bruno bakes.", "--source", "bakery")
    carla = cli("add", "Carla climbs.").stdout.strip()
    assert "nothing" in error_of(cli("forget", "bakery", "nothing"))
    assert "2 passages" in cli("forget", "bakery", carla).stdout


# -- ingest ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "ada.md").write_text("# Ada\n\nAda Thorne built the Lantern Foundry.\n", "utf-8")
    (folder / "foundry.md").write_text("# Lantern Foundry\n\nThe Lantern Foundry stands in Dunholt.\n", "utf-8")
    (folder / "picture[red].bin").write_bytes(b"\x00\x01\x02")
    return folder


def test_ingest_json_is_the_contract(cli: Cli, notes: Path) -> None:
    report = json_of(cli("ingest", notes, "--json"))
    counts = "documents passages entities facts skipped removed kept duplicates dropped".split()
    assert report.keys() == {*counts, "failed", "id", "seconds"}
    assert (report["documents"], report["passages"]) == (2, 2)
    assert [failure.keys() for failure in report["failed"]] == [{"source", "reason"}]
    assert report["seconds"]["total"] > 0
    assert json_of(cli("ingest", notes, "--json"))["skipped"] == 2


def test_ingest_reports_what_failed_and_goes_on(cli: Cli, notes: Path) -> None:
    result = cli("ingest", notes)
    assert result.exit_code == 0, result.output
    assert "2 documents" in result.stdout
    assert "picture[red].bin" in result.stdout.replace("\n", "")
    assert "1 could not be read" in result.stdout


def test_ingest_fails_where_nothing_could_be_read(cli: Cli, notes: Path, tmp_path: Path) -> None:
    result = cli("ingest", notes / "picture[red].bin", "--json")
    assert result.exit_code == 1
    assert result.stderr == "error: nothing could be read\n"
    assert len(json.loads(result.stdout)["failed"]) == 1
    (tmp_path / "empty").mkdir()
    assert cli("ingest", tmp_path / "empty").exit_code == 1


def test_a_path_that_does_not_exist_stops_before_anything_starts(cli: Cli, notes: Path) -> None:
    assert "nowhere" in error_of(cli("ingest", notes, "nowhere", "--json"))
    assert "hippomem add - " in error_of(cli("ingest", "-", "--json"))
    assert not Path("hippomem.db").exists()
    for options in ((), ("--dry-run",)):
        assert "a path is empty: '.' stands for this folder" in error_of(cli("ingest", notes, "", *options))
    assert not Path("hippomem.db").exists()


# -- recall ----------------------------------------------------------------------------------------------------------


def test_recall_json_is_the_contract(cli: Cli, notes: Path) -> None:
    cli("ingest", notes)
    found = json_of(cli("recall", "Where does the foundry stand that Ada Thorne built?", "-k", 2, "--json"))
    assert found.keys() == {"query", "passages", "paths", "timings_ms"}
    assert len(found["passages"]) == 2
    for passage in found["passages"]:
        assert {"id", "title", "text", "score", "source", "why"} <= passage.keys()
        assert isinstance(passage["score"], float)
        assert all(isinstance(reason, str) for reason in passage["why"])
    for path in found["paths"]:
        assert {"passage_id", "text", "steps"} <= path.keys()
        assert path["steps"]
    assert found["paths"]
    assert found["timings_ms"].keys() >= {"encode", "total"}


def test_recall_for_people(cli: Cli, notes: Path) -> None:
    cli("ingest", notes)
    question = "Where does the foundry stand that Ada Thorne built?"
    shown = cli("recall", question).stdout
    assert "1. " in shown
    assert "The Lantern Foundry stands in Dunholt." in shown
    assert "why: " in shown
    assert re.search(r"2 passages in \d+ ms", shown)
    assert "milliseconds by stage" not in shown
    explained = cli("recall", question, "--explain").stdout
    assert "step: Ada Thorne → " in explained
    assert "milliseconds by stage: " in explained
    dense = cli("recall", question, "--method", "dense", "--json")
    assert len(json_of(dense)["passages"]) == 2


def test_a_follow_up_is_about_what_was_recalled(cli: Cli, notes: Path) -> None:
    cli("ingest", notes)
    first = json_of(cli("recall", "What did Ada Thorne build?", "-k", 1, "--json"))["passages"][0]
    led = json_of(cli("recall", "Where does it stand?", "--about", first["id"], "--json"))
    assert led["passages"][0]["title"] == "Lantern Foundry"
    assert "no memory has the id 'nowhere'" in error_of(cli("recall", "Where?", "--about", "nowhere"))


def test_recall_of_a_part_of_the_memory(cli: Cli) -> None:
    cli("add", "Ada likes tea.", "--session", "s1", "--source", "notes/a", "--occurred-at", "2020-01-01T00:00Z")
    cli("add", "Ada likes coffee.", "--session", "s2", "--source", "b", "--occurred-at", "2022-01-01T00:00Z")
    with Memory.open("hippomem.db") as memory:
        over = Triple("Ada", "likes", "milk", invalid_at=datetime(2022, 1, 1, tzinfo=UTC))
        memory.add("Ada likes milk.", source="b", triples=[over])

    def texts(*options: str) -> list[str]:
        found = json_of(cli("recall", "What does Ada like?", *options, "--json"))
        return [passage["text"] for passage in found["passages"]]

    assert texts("--session", "s2") == ["Ada likes coffee."]
    assert texts("--as-of", "2021-01-01T00:00Z") == ["Ada likes tea."]
    assert texts("--source", "b") == ["Ada likes coffee."]
    assert texts("--source", "notes/") == ["Ada likes tea."]
    assert set(texts("--source", "b", "--deep")) == {"Ada likes coffee.", "Ada likes milk."}
    nothing = cli("recall", "Ada?", "--session", "s3")
    assert "Nothing is remembered" in nothing.stdout
    assert nothing.stderr == "no memory belongs to the session 's3'\n"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "args", [["recall", "q"], ["get", "i"], ["forget", "i"], ["stats"], ["doctor"], ["graph", "export", "g.json"]]
)
def test_what_only_reads_makes_no_database(cli: Cli, args: list[str]) -> None:
    assert "missing.db" in error_of(cli(*args, "--db", "missing.db", "--json"))
    assert not list(Path.cwd().iterdir())


def test_namespaces_and_settings_from_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("add", "Ada likes tea.", "--db", "own.db", "--namespace", "ada")
    assert json_of(cli("stats", "--db", "own.db", "--json"))["passages"] == 0
    monkeypatch.setenv("HIPPOMEM_DB", "own.db")
    monkeypatch.setenv("HIPPOMEM_NAMESPACE", "ada")
    assert json_of(cli("stats", "--json"))["passages"] == 1
    monkeypatch.setenv("HIPPOMEM_BATCH", "many")
    assert "batch" in error_of(cli("stats"))


# -- hostile documents -----------------------------------------------------------------------------------------------


def test_documents_cannot_control_the_terminal(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "a\x1b[31m\x9b2J.bin").write_bytes(b"\x00\x01")
    (folder / "b.md").write_text(f"# {HOSTILE}\n\n{HOSTILE}\n", "utf-8")
    outputs = [cli("ingest", folder)]
    added = cli("add", HOSTILE, "--title", HOSTILE, "--source", HOSTILE, "--triple", f"{HOSTILE}|is|{HOSTILE}")
    assert added.exit_code == 0, added.output
    id_ = added.stdout.strip()
    outputs += [cli("recall", HOSTILE, "--explain"), cli("get", id_), cli("update", id_, HOSTILE + "!")]
    outputs += [cli("history", id_), cli("get", HOSTILE), cli("forget", HOSTILE + "?"), cli("stats", "--db", HOSTILE)]
    for name in ("recall", "get", "history", "ingest"):
        what = {"recall": HOSTILE, "ingest": folder}.get(name, id_)
        output = cli(name, what, "--json")
        json.loads(output.stdout)
        outputs.append(output)
    for output in outputs:
        assert not CONTROL.search(output.output), output.output
    assert "[bold red]loud[/] [link=file:///etc]x[/link]" in outputs[1].stdout
    assert HOSTILE in json.loads(outputs[-3].stdout)["text"]


def test_visible_takes_whole_sequences_out() -> None:
    assert visible("a\x1b[1;31mb\x1b]8;;http://x\x1b\\c\td\n e") == "abc d e"
    assert visible("\x9b31m\udcff") == "\ufffd31m\ufffd"


# -- the store as a whole --------------------------------------------------------------------------------------------


def test_stats_and_doctor(cli: Cli, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("ingest", notes)
    counts = json_of(cli("stats", "--json"))
    assert {"passages", "entities", "facts", "edges", "documents", "bytes", "views"} <= counts.keys()
    assert "passages: 2" in cli("stats").stdout
    found = json_of(cli("doctor", "--json"))
    assert found["ok"] is True
    assert all(check.keys() == {"name", "ok", "detail"} for check in found["checks"])
    assert cli("doctor").exit_code == 0
    ill = Diagnosis((Check("database", True, "sound"), Check("views", False, "3 rows differ")))
    monkeypatch.setattr(Memory, "doctor", lambda *_, **__: ill)
    assert json_of(cli("doctor", "--json"), code=1)["ok"] is False
    result = cli("doctor")
    assert result.exit_code == 1
    assert "FAILED  views: 3 rows differ" in result.stdout


@pytest.mark.sqlite
def test_no_export_replaces_the_database(cli: Cli) -> None:
    for db, command in (("hippomem.db", ["export"]), ("own.json", ["graph", "export"])):
        cli("add", "Ada likes tea.", "--db", db)
        assert f"{db} is a database" in error_of(cli(*command, db, "--db", db))
        assert json_of(cli("stats", "--db", db, "--json"))["passages"] == 1


def test_an_export_is_a_file(cli: Cli) -> None:
    cli("add", "Ada likes tea.")
    assert "give a name" in error_of(cli("export", "-"))
    assert not Path("-").exists()


def test_graph_export(cli: Cli, notes: Path) -> None:
    cli("ingest", notes)
    cli("add", "Ada \x01 rang\x0b the bell \ufffe.", "--metadata", '{"list": [1, null], "none": null}')
    counts = json_of(cli("graph", "export", "graph.graphml", "--json"))
    graph = nx.read_graphml("graph.graphml")
    assert counts == {"file": "graph.graphml", "nodes": graph.number_of_nodes(), "edges": graph.number_of_edges()}
    assert graph.number_of_edges() > 3
    assert cli("graph", "export", "graph.json").exit_code == 0
    linked = nx.node_link_graph(json.loads(Path("graph.json").read_text("utf-8")), edges="edges")
    assert linked.number_of_edges() == graph.number_of_edges()
    assert ".graphml" in error_of(cli("graph", "export", "graph.txt"))
    assert "cannot be written" in error_of(cli("graph", "export", "nowhere/graph.json"))
    assert sorted(path.suffix for path in Path.cwd().glob("*graph*")) == [".graphml", ".json"]


def test_export_import_and_reencode(cli: Cli, notes: Path) -> None:
    cli("ingest", notes)
    assert json_of(cli("export", "dump.jsonl", "--json")) == {"file": "dump.jsonl", "passages": 2}
    assert json_of(cli("import", "dump.jsonl", "--db", "copy.db", "--json")) == {"file": "dump.jsonl", "passages": 2}
    assert json_of(cli("stats", "--db", "copy.db", "--json"))["passages"] == 2
    assert json_of(cli("reencode", "--db", "copy.db", "--json")) == {"texts": 0}
    assert cli("reencode", "--db", "copy.db").stderr == "nothing to encode: every text has vectors of this encoder\n"
    whole = Path("dump.jsonl").read_bytes()
    Path("cut.jsonl").write_bytes(whole[: len(whole) // 2])
    Path("others.jsonl").write_bytes(whole.replace(b"all-MiniLM", b"some-other", 1))
    for bad in (notes / "ada.md", "cut.jsonl", "others.jsonl"):
        assert str(bad) in error_of(cli("import", bad, "--db", "other.db"))
    assert list(Path.cwd().glob("other.db*")) == []
    error_of(cli("export", "nowhere/dump.jsonl"))


# -- errors and ends -------------------------------------------------------------------------------------------------


def test_what_the_library_raises_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("add", "Ada likes tea.")

    def full(_self: Memory) -> None:
        raise StoreFullError("disk full:\nfree \x1b[31msome space")

    monkeypatch.setattr(Memory, "stats", full)
    assert error_of(cli("stats", "--json")) == "error: disk full: free some space\n"


@pytest.mark.parametrize("args", [["--version"], ["stats"]])
def test_output_onto_a_full_disk_is_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    def full(*_args: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    assert cli("add", "Ada lives in Oslo.").exit_code == 0
    monkeypatch.setattr("hippomem.cli.typer.echo", full)
    monkeypatch.setattr("hippomem.cli_output.print_pairs", full)
    monkeypatch.setattr("sys.argv", ["hippomem", *args])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert re.fullmatch("error: .* No space left on device; .*\n", capsys.readouterr().err)


def test_what_nobody_expected_is_not_hidden(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("add", "Ada likes tea.")
    monkeypatch.setattr(Memory, "stats", lambda _: 1 / 0)
    assert isinstance(cli("stats").exception, ZeroDivisionError)
    assert app.pretty_exceptions_enable is False  # those print local variables


def test_the_demo(cli: Cli) -> None:
    shown = json_of(cli("demo", "--json"))
    assert shown.keys() == {"documents", "passages", "entities", "facts", "seconds", "questions"}
    assert not list(Path.cwd().iterdir())
    result = cli("demo", "--db", "kept.db")
    assert result.exit_code == 0, result.output
    assert "He fell from a balloon" in result.stdout
    assert json_of(cli("stats", "--db", "kept.db", "--json"))["documents"] == shown["documents"]
