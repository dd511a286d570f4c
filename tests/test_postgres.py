"""A memory in Postgres: the same as in a file, shared by processes, and as safe."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import child_tasks
import pytest
from child_tasks import opened, records, said
from sqlalchemy import create_engine, text
from test_concurrency import together
from typer.testing import CliRunner
from unchanged import unchanged

from hippomem import (
    Document,
    EncoderMismatchError,
    ForeignStoreError,
    InvalidInputError,
    InvalidTextError,
    Memory,
    Settings,
    StoreAccessError,
    StoreBusyError,
    StoreError,
)
from hippomem.cli import app
from hippomem.storage import engine
from hippomem.storage.postgres import Postgres
from hippomem.testing import HashEncoder, capitals

QUESTIONS = ("Whom did Ada Thorne meet at Gannet Point?", "Who left for Oslo?", "entry 17")
Schema = Callable[[object], str]


@pytest.fixture
def db(postgres: Schema, tmp_path: Path) -> str:
    """The URL of an empty schema."""
    return postgres(tmp_path)


def sql(db: str, statement: str, **values: Any) -> list[Any]:
    """What the server answers to a statement, past the library."""
    made = create_engine(db.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with made.connect() as connection:
        found = connection.execute(text(statement), values)
        rows = list(found) if found.returns_rows else []
    made.dispose()
    return rows


def live(memory: Memory) -> None:
    """A life with some of everything."""
    memory.ingest(records(60))
    note = memory.add("Ada Thorne keeps the Grey Heron.", title="Grey Heron", session="s", metadata={"a": [1, "ü"]})
    for place in ("Oslo", "Bergen", "Vardø"):
        note = memory.update(note.id, f"Ada Thorne keeps the Grey Heron in {place}.")
    memory.forget(memory.passages()[7].id)
    recall = memory.recall("Where is the Grey Heron?")
    memory.feedback(recall, useful=[note.id])
    memory.consolidate()


def described(memory: Memory, file: Path) -> dict[str, Any]:
    """All that there is to know about a memory."""
    assert [check for check in memory.doctor().checks if not check.ok] == []
    memory.export(file)
    recalls = [memory.recall(question, 9) for question in QUESTIONS]
    return {
        "export": file.read_text(),
        "edges": sorted((a, b, tuple(sorted(data.items()))) for a, b, data in memory.graph().edges(data=True)),
        "recalled": [[(p.id, round(p.score, 3)) for p in recall.passages] for recall in recalls],
        "why": [[str(explanation) for explanation in recall.explain()] for recall in recalls],
        "counts": {name: count for name, count in memory.stats().items() if isinstance(count, int)},
        "history": [(c.action, c.id, c.text) for p in memory.passages()[-3:] for c in memory.history(p.id)],
    }


def test_it_holds_and_recalls_what_a_file_does(db: str, tmp_path: Path) -> None:
    found = []
    for place in (db, tmp_path / "m.db"):
        with opened(place) as memory:
            live(memory)
            found.append(described(memory, tmp_path / "export"))
        with opened(place) as memory:  # views come from what was kept of them
            assert described(memory, tmp_path / "export") == found[-1]
    assert found[0] == found[1]


def test_an_export_goes_from_one_kind_to_the_other_and_back(db: str, postgres: Schema, tmp_path: Path) -> None:
    settings = Settings(encoder=HashEncoder(), pipeline=capitals())
    with opened(tmp_path / "m.db") as memory:
        live(memory)
        memory.export(tmp_path / "first")
    for i, place in enumerate((db, tmp_path / "again.db", postgres(tmp_path / "again"))):
        with Memory.load(tmp_path / "first", place, settings=settings) as memory:
            memory.export(tmp_path / f"{i}")
        assert (tmp_path / f"{i}").read_text() == (tmp_path / "first").read_text()


def test_it_is_encoded_anew(db: str) -> None:
    with opened(db) as memory:
        memory.ingest(records(30))
    Memory.reencode(db, encoder=HashEncoder(96))
    with pytest.raises(EncoderMismatchError, match=r"reencode --db postgresql://postgres@"):
        opened(db)
    with opened(db, dimension=96) as memory:
        assert memory.doctor().ok
        assert memory.recall(QUESTIONS[0]).passages


def test_processes_write_the_same_and_different_things(db: str, children: ForkServerContext, tmp_path: Path) -> None:
    logs, barrier = [tmp_path / "log0", tmp_path / "log1"], children.Barrier(2, timeout=60)
    parts = [[(20, 0), (20, 20), (40, 40)], [(20, 100), (40, 40), (20, 140)]]
    together(
        children, *((child_tasks.write, db, "default", own, barrier, log) for own, log in zip(parts, logs, strict=True))
    )
    with opened(db) as memory:
        assert memory.doctor().ok
        assert all(memory.get(line) for log in logs for line in said(log)[:-1])
        texts = {passage.text for passage in memory.passages()}
        assert {record["text"] for start, n in ((0, 80), (100, 20), (140, 20)) for record in records(n, start)} <= texts
        assert {p.text for p in memory.recall("entry", 500).passages} == texts


@pytest.mark.parametrize("seconds", [0.6, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.3, 1.0, 1.5, 2.0))])
def test_killed_at_any_instant(
    db: str, postgres: Schema, children: ForkServerContext, tmp_path: Path, seconds: float
) -> None:
    (folder := tmp_path / "documents").mkdir()
    (folder / "a.md").write_text("# Chapter\n\n" + "\n\n".join(record["text"] for record in records(20, 1000)))
    log = tmp_path / "log"
    child = children.Process(target=child_tasks.live, args=(db, folder, log))
    child.start()
    child.join(seconds)
    child.kill()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    acknowledged = {id_ for line in said(log) for id_ in line.split()}
    with opened(db) as memory:
        assert memory.doctor().ok
        assert acknowledged <= {passage.id for passage in memory.passages()}
    for place in (db, postgres(tmp_path / "whole")):
        child_tasks.live(place, folder, tmp_path / "again")
    with opened(db) as memory, opened(postgres(tmp_path / "whole")) as other:
        assert {p.id for p in memory.passages()} == {p.id for p in other.passages()}
        assert memory.doctor().ok


def test_no_byte_of_what_is_forgotten_stays(db: str, tmp_path: Path) -> None:
    needle = "Quixadá Wolverine Lighthouse"
    with opened(db) as memory:
        memory.ingest(records(80))
        note = memory.add(f"Ada Thorne hid the {needle} key.", title=needle, metadata={"where": needle})
        note = memory.update(note.id, f"Ada Thorne lost the {needle} key.")
        memory.feedback(memory.recall(f"Where is the {needle}?"), useful=[note.id])
        assert _files_with(db, needle)
        sql(db, "ANALYZE")  # samples of columns are kept beside them
        memory.forget(note.id)
        assert memory.doctor().ok
    assert _files_with(db, needle) == []


@pytest.mark.parametrize("seen", ["SELECT 1", "SELECT 1 FROM passages"])
def test_forgetting_waits_for_those_who_still_see_it_and_is_made_up_for(
    db: str, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    memory = opened(db)
    note = memory.add("Ada Thorne hid the Quixada Wolverine key.")
    other = create_engine(db.replace("postgresql:", "postgresql+psycopg:"), isolation_level="REPEATABLE READ")
    with other.connect() as reader:
        reader.execute(text(seen)).all()
        monkeypatch.setattr(engine, "BUSY_SECONDS", 0.3)
        with pytest.raises(StoreBusyError, match="it is forgotten, but its traces"):
            memory.forget(note.id)
        memory.close()
        assert _files_with(db, "Quixada Wolverine")
    other.dispose()
    monkeypatch.undo()
    opened(db).close()
    assert _files_with(db, "Quixada Wolverine") == []


def test_forgetting_where_only_the_owner_could_clear_it_away_is_owed_to_the_owner(db: str) -> None:
    with opened(db) as memory:
        note = memory.add("Ada Thorne hid the Quixada Wolverine key.")
    ((schema,),) = sql(db, "SELECT quote_ident(current_schema())")
    sql(db, "DROP ROLE IF EXISTS writer")
    for statement in (
        "CREATE ROLE writer LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO writer",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO writer",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO writer",
    ):
        sql(db, statement)
    with opened(db.replace("//postgres@", "//writer@")) as memory:
        assert memory.recall("Who hid the key?").passages
        with pytest.raises(StoreAccessError, match=r"it is forgotten.*permission denied"):
            memory.forget(note.id)
    opened(db).close()
    assert _files_with(db, "Quixada Wolverine") == []
    sql(db, "DROP OWNED BY writer")


def test_a_read_sees_one_moment_and_writes_nothing(db: str) -> None:
    with opened(db) as memory, opened(db) as other:
        memory.add("Ada Thorne keeps the Grey Heron.")
        with memory._store.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM passages")).scalar() == 1
            other.add("Bruno Vale keeps the Red Kite.")
            assert connection.execute(text("SELECT count(*) FROM passages")).scalar() == 1
        with pytest.raises(StoreAccessError, match="read-only"), memory._store.read() as connection:
            connection.execute(text("DELETE FROM changes"))
        assert memory.stats()["passages"] == 2


def test_the_doctor_hears_what_the_server_knows_to_be_wrong(db: str) -> None:
    with opened(db) as memory:
        memory.add("Ada Thorne keeps the Grey Heron.")
        statement = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST(:index AS regclass)"
        sql(db, statement, index="ix_passages_namespace_source")
        (wrong,) = [check for check in memory.doctor().checks if not check.ok]
        assert (wrong.name, wrong.detail) == ("database", "index ix_passages_namespace_source is not valid")


def test_writers_take_turns_and_one_that_waits_too_long_says_so(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.3)
    with opened(db) as memory, opened(db) as other:
        with memory._store.write(), pytest.raises(StoreBusyError, match="too long"):
            other.add("Ada Thorne keeps the Grey Heron.")
        with memory._store.write():
            waiting = threading.Thread(target=other.add, args=("Ada Thorne keeps the Grey Heron.",))
            waiting.start()
            time.sleep(0.05)
        waiting.join()
        assert memory.stats()["passages"] == 1


def test_how_the_server_writes_dates_and_the_client_texts_does_not_matter(db: str) -> None:
    moment = datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
    odd = db + "%20-cDateStyle%3DSQL%2CDMY%20-cTimeZone%3DAsia/Kathmandu&client_encoding=latin1"
    with opened(odd) as memory:
        note = memory.add("Žofie keeps the Grey Heron.", occurred_at=moment)
    with opened(db) as memory:
        assert (memory.get(note.id).text, memory.get(note.id).occurred_at) == (note.text, moment)


def test_what_was_open_writes_nothing_into_another_memory_of_the_same_name(db: str) -> None:
    with opened(db) as memory:
        memory.add("Ada Thorne keeps the Grey Heron.")
        tables = [
            f'"{name}"' for (name,) in sql(db, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        ]
        sql(db, f"DROP TABLE {', '.join(tables)}")
        with opened(db, dimension=96) as other:
            other.add("Carl Moe keeps the Black Kite.")
            for deed in (lambda: memory.add("Bruno Vale keeps the Red Kite."), lambda: memory.recall("Who?")):
                with pytest.raises(StoreAccessError, match="replaced by another memory"):
                    deed()
            assert other.doctor().ok


def test_connections_that_are_lost_are_made_again(db: str) -> None:
    db += "&application_name=lost"
    with opened(db) as memory:
        memory.add("Ada Thorne keeps the Grey Heron.")
        _end_connections(db)
        assert memory.recall("Who keeps the Grey Heron?").passages  # those that lay idle
        with unchanged(memory), pytest.raises(StoreError, match=r"connection was lost.*Repeat"):
            _write_and_lose_the_connection(memory, db)
        assert memory.add("Bruno Vale keeps the Red Kite.").id
        assert memory.doctor().ok


def test_a_connection_that_is_lost_while_traces_are_cleared_away_is_told_and_they_are_owed(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, clear = opened(db + "&application_name=lost"), Postgres._is_written_anew
    note = memory.add("Ada Thorne hid the Quixada Wolverine key.")

    def lost(*args: Any) -> bool:
        _end_connections(db + "&application_name=lost")
        return clear(*args)

    monkeypatch.setattr(Postgres, "_is_written_anew", lost)
    with pytest.raises(StoreError, match="it is forgotten, but its traces"):
        memory.forget(note.id)
    memory.close()
    opened(db + "&application_name=lost").close()  # where it is lost again
    assert _files_with(db, "Quixada Wolverine")
    monkeypatch.undo()
    opened(db).close()
    assert _files_with(db, "Quixada Wolverine") == []


def test_memories_of_one_process_share_their_connections(db: str) -> None:
    def count() -> int:
        ((number,),) = sql(db, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shared'")
        return int(number)

    url = db + "&application_name=shared"
    memories = [opened(url, namespace=f"agent {number}") for number in range(8)]
    for number, memory in enumerate(memories):
        memory.add(f"Agent {number} keeps the Grey Heron.")
        assert len(memory.recall("Who keeps the Grey Heron?", 10).passages) == 1
    assert 1 <= count() <= 3  # of a read within a write, and so on
    *others, last = memories
    for memory in (*others, *others):
        memory.close()
    assert last.add("Bruno Vale keeps the Red Kite.").id
    assert count() >= 1
    last.close()
    last.close()
    assert count() == 0


LONG = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_000))  # noqa: S311


def test_what_no_index_takes_is_refused_and_nothing_is_kept_of_it(db: str) -> None:
    with opened(db) as memory:
        memory.add("Ada Thorne keeps the Grey Heron.")
        with unchanged(memory), pytest.raises(InvalidTextError, match="too long for an index"):
            memory.add("Bruno Vale keeps the Red Kite.", source=LONG)
        memory.add("Bruno Vale keeps the Red Kite.", title="T" * 2_000, session="s" * 2_000)
        assert memory.doctor().ok


def test_in_an_ingest_only_that_fails_which_no_index_takes(db: str, tmp_path: Path) -> None:
    names = "Ada Thorne", LONG[:2_700], "Bruno Vale"
    told = [*({"text": f"{name[:9]} keeps a kite.", "session": name} for name in names), {"text": 1}]
    (tmp_path / "kites.jsonl").write_text("".join(json.dumps(record) + "\n" for record in told))
    with opened(db) as memory:
        for given in (told, tmp_path / "kites.jsonl"):
            report = memory.ingest(given)
            assert (report.passages, [one.source[-2:] for one in report.failed]) == (2, ["#1", "#3"])
            assert "session has more than 2,600 bytes" in report.failed[0].reason
        report = memory.ingest(Document(text="Ada Thorne.", source=source) for source in (LONG, "ü" * 999))
        assert (report.passages, len(report.failed)) == (1, 1)
        assert memory.doctor().ok


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("postgresql://me:secret@127.0.0.1:1/none", StoreAccessError, "refused"),
        ("postgresql://me:secret@127.0.0.1:port/none", InvalidInputError, "URL"),
        ("postgresql+asyncpg://me:secret@127.0.0.1/none", InvalidInputError, "psycopg"),
        ("postgresql+psycopg2://me:secret@127.0.0.1/none", InvalidInputError, "psycopg"),
        ("mysql://me:secret@127.0.0.1/none", InvalidInputError, "SQLite or Postgres"),
        ("PostgreSQL://me:secret@127.0.0.1:1/none", StoreAccessError, "refused"),
        ("postgresql://me:first@secret@127.0.0.1:1/none", InvalidInputError, "%40"),
        ("postgresql://me@127.0.0.1:1/none?passwd=secret", StoreAccessError, 'option "passwd"'),
    ],
)
def test_urls_that_lead_nowhere(url: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as told:
        opened(url)
    assert "secret" not in str(told.value)


def test_databases_that_are_not_for_us(db: str, postgres: Schema, tmp_path: Path) -> None:
    with pytest.raises(StoreAccessError, match="CREATE SCHEMA"):
        opened(db.split("&options=")[0] + "&options=-csearch_path%3Dnowhere")
    ((name,),) = sql(db, "SELECT current_database()")
    with pytest.raises(StoreAccessError, match="does not exist"):
        opened(db.replace(f"@/{name}?", "@/nothing?"))
    sql(db, "CREATE TABLE orders (id int)")
    with pytest.raises(ForeignStoreError, match=r"another program.*orders"):
        opened(db)
    sql(db, "DROP DATABASE IF EXISTS latin")
    sql(db, "CREATE DATABASE latin TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    with pytest.raises(StoreAccessError, match="UTF8"):
        opened(db.split("&options=")[0].replace(f"@/{name}?", "@/latin?"))
    sql(db, "DROP ROLE IF EXISTS reader")
    sql(db, "CREATE ROLE reader LOGIN")
    with pytest.raises(StoreAccessError, match="may be used"):
        opened(postgres("of somebody else").replace("//postgres@", "//reader@"))
    sql(db, "ALTER ROLE reader CONNECTION LIMIT 0")
    with pytest.raises(StoreBusyError, match="too many connections"):
        opened(db.replace("//postgres@", "//reader@"))


def test_the_command_line_takes_a_url_and_tells_no_password(db: str, tmp_path: Path) -> None:
    url = db.replace("//postgres@", "//postgres:secret@")
    ran = CliRunner().invoke(app, ["stats", "--db", url])
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert re.match(r"error: there is no database postgresql://postgres:\*\*\*@.*make one\n$", ran.stderr)
    assert not sql(db, "SELECT FROM pg_tables WHERE schemaname = current_schema()")
    ran = CliRunner().invoke(app, ["stats", "--db", db.replace("postgres@", "") + "&user=postgres&password=secret"])
    assert "user=postgres" in ran.stderr
    assert "secret" not in ran.stderr
    for command in (["add", "Ada Thorne keeps the Grey Heron."], ["recall", "Who keeps the Grey Heron?"], ["stats"]):
        ran = CliRunner().invoke(app, [*command, "--db", url, "--json"])
        assert ran.exit_code == 0, ran.output
        assert "secret" not in ran.output
    assert json.loads(ran.output)["db"].startswith("postgresql://postgres:***@/")


def _files_with(db: str, needle: str) -> list[Path]:
    """The files of the database's tables and indexes, of whatever schema, and of views, in which a text stands."""
    sql(db, "CHECKPOINT")
    ((oid,),) = sql(db, "SELECT oid FROM pg_database WHERE datname = current_database()")
    (host,) = parse_qs(urlsplit(db).query)["host"]
    folders = [Path(host) / "base" / str(oid), Path(os.environ["XDG_CACHE_HOME"])]
    assert all(folder.is_dir() for folder in folders)
    found = []
    for file in (file for folder in folders for file in folder.rglob("*") if file.is_file()):
        with suppress(FileNotFoundError):  # the server removes files, too
            data = file.read_bytes()
            found += [file for form in (needle, needle.lower()) if form.encode() in data]
    return found


def _write_and_lose_the_connection(memory: Memory, db: str) -> None:
    with memory._store.write() as connection:
        connection.execute(text("DELETE FROM changes"))
        _end_connections(db)
        connection.execute(text("DELETE FROM changes"))


def _end_connections(db: str) -> None:
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lost'"
    assert sql(db.replace("=lost", "="), ended)
