"""Databases that cannot be opened, read or written: a clear error, and the file is as it was."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import random
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import child_tasks
import pytest
from child_tasks import opened, records, said
from sqlalchemy import Connection, event
from unchanged import state

from hippomem import (
    ForeignStoreError,
    InvalidInputError,
    Memory,
    NewerStoreError,
    NotFoundError,
    SourceError,
    StoreAccessError,
    StoreBusyError,
    StoreError,
    StoreFullError,
)
from hippomem.storage import engine

Opened = Callable[..., Memory]
NOISE = random.Random(5)  # noqa: S311


@pytest.fixture
def database(tmp_path: Path) -> bytes:
    """The bytes of a hippomem database."""
    with opened(tmp_path / "original.db") as memory:
        memory.ingest(records(60))
    return (tmp_path / "original.db").read_bytes()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that others than its owner can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("db", "error", "message"),
    [
        ("", InvalidInputError, "empty"),
        (" ", InvalidInputError, "empty"),
        ("a\x00b", InvalidInputError, "NUL"),
        ("nothing://here", InvalidInputError, "SQLite"),
        ("~nobody-of-this-name/m.db", InvalidInputError, "leads nowhere"),
        ("loop.db", InvalidInputError, "leads nowhere"),
        (".", StoreAccessError, "is a folder"),
        ("missing/m.db", StoreAccessError, "does not exist"),
        ("text.db/m.db", StoreAccessError, "does not exist"),
        ("x" * 300, StoreAccessError, "too long"),
        ("/proc/m.db", StoreAccessError, "unable to open"),
        ("/sys/m.db", StoreAccessError, "unable to open"),
        ("/dev/null", StoreAccessError, "not a regular file"),
        ("pipe.db", StoreAccessError, "not a regular file"),
        ("text.db", ForeignStoreError, "not a database"),
        ("noise.db", ForeignStoreError, "not a database"),
        ("header.db", ForeignStoreError, "not a database"),
    ],
)
def test_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: Opened, db: str, error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.db").symlink_to("loop.db")
    (tmp_path / "text.db").write_text("These are notes, and no database.")
    (tmp_path / "noise.db").write_bytes(NOISE.randbytes(9000))
    (tmp_path / "header.db").write_bytes(b"SQLite format 3\x00" + NOISE.randbytes(9000))
    os.mkfifo(tmp_path / "pipe.db")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    with pytest.raises(error, match=message):
        fast(db)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "statement", ["CREATE TABLE notes (text)", "PRAGMA application_id = 99", "PRAGMA user_version = 3"]
)
def test_a_database_of_another_program(tmp_path: Path, fast: Opened, statement: str) -> None:
    file = tmp_path / "m.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE alembic_version (version_num)")  # many have this one
    connection.execute(statement)
    connection.commit()
    connection.close()
    before = file.read_bytes()
    with pytest.raises(ForeignStoreError, match="another"):
        fast()
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.db"]


@pytest.mark.sqlite
def test_a_database_of_a_newer_hippomem(tmp_path: Path, database: bytes, fast: Opened) -> None:
    file = tmp_path / "m.db"
    file.write_bytes(database)
    connection = sqlite3.connect(file)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = file.read_bytes()
    with pytest.raises(NewerStoreError, match=r"9999.*pip install -U hippomem"):
        fast()
    assert file.read_bytes() == before


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    for size in (50, 100, 1000, 4096, 5000, len(data) // 2, len(data) - 5000, len(data) - 100):
        yield f"cut after {size}", data[:size]
    for page in range(0, len(data) // 4096, 7):
        yield f"page {page} is noise", data[: 4096 * page] + NOISE.randbytes(4096) + data[4096 * (page + 1) :]
    yield "zeros behind the first page", data[:4096] + bytes(len(data) - 4096)


@pytest.mark.sqlite
def test_damaged_databases_give_errors_or_are_found_out(tmp_path: Path, database: bytes, fast: Opened) -> None:
    refused = 0
    for number, (what, data) in enumerate(damaged(database)):
        file = tmp_path / f"{number}.db"
        file.write_bytes(data)
        try:
            memory = fast(file)
            memory.recall("Whom did Ada Thorne meet?", 50)
            memory.add("Bea met Cid in Bergen.")
            assert not memory.doctor().ok, what
            memory.close()
        except StoreError:
            refused += 1
    assert refused > 10


OF_ONE = "WHERE content = (SELECT content FROM passages WHERE number = 3)"
OF_VERSION = "WHERE content = (SELECT content FROM versions)"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("statement", "check", "told", "is_forgotten"),
    [
        ("UPDATE passages SET text = 'Ada never met Bea.' WHERE number = 3", "contents", "its text is not", True),
        ("UPDATE passages SET metadata = '{' WHERE number = 3", "contents", "cannot be read", False),
        ("UPDATE passages SET recorded_at = 'soon' WHERE number = 3", "contents", "cannot be read", False),
        ("UPDATE analyses SET vector = x'0000803f' OF_ONE", "contents", "its vector is of 1 numbers", True),
        ("UPDATE analyses SET vector = zeroblob(16) || vector OF_ONE", "contents", "cannot be read", True),
        ("UPDATE analyses SET sentences = x'00' OF_ONE", "contents", "cannot be read", True),
        ("UPDATE analyses SET sentences = x'' OF_ONE", "contents", "vectors of its sentences", True),
        (
            # a bit of an exponent fell over
            "UPDATE analyses SET sentence_vectors = CAST(x'0078' || substr(sentence_vectors, 3) AS BLOB) OF_ONE",
            "contents",
            "vectors of its sentences",
            True,
        ),
        (
            # the last bit of a number
            "UPDATE analyses SET sentence_vectors = CAST(substr(sentence_vectors, 1, length(sentence_vectors) - 2) || "
            "CASE WHEN substr(sentence_vectors, -2, 1) = x'00' THEN x'01' ELSE x'00' END || "
            "substr(sentence_vectors, -1) AS BLOB) OF_ONE",
            "contents",
            "its vectors are not those that were written",
            True,
        ),
        ("UPDATE analyses SET checksum = checksum + 1 OF_VERSION", "contents", "not those that were written", True),
        ("UPDATE versions SET facts = '{'", "contents", "cannot be read", True),
        ("DELETE FROM analyses OF_ONE", "rows", "1 passages without vectors", False),
        ("DELETE FROM analyses OF_VERSION", "rows", "1 earlier versions without vectors", False),
        ("UPDATE analyses SET content = 'x' OF_ONE", "rows", "1 unused vectors, 1 passages without", False),
        (
            "DELETE FROM mentions WHERE entity = (SELECT number FROM entities WHERE key = 'bea')",
            "rows",
            "1 entities",
            False,
        ),
        ("DELETE FROM changes WHERE passage = 3", "rows", "1 passages that the log does not know", True),
        ("DELETE FROM learning_targets", "rows", "1 questions of feedback without passages", False),
        ("DELETE FROM learning_vectors", "rows", "1 questions of feedback without vectors", False),
        ("UPDATE learning_events SET evidence = x'0102'", "neural memory", "what feedback has taught", False),
        ("UPDATE learning_vectors SET vector = x'0102'", "neural memory", "what feedback has taught", False),
    ],
)
def test_damaged_rows_are_found_and_told(
    tmp_path: Path, fast: Opened, statement: str, check: str, told: str, is_forgotten: bool
) -> None:
    memory = fast()
    first, *_, updated, third = (memory.add(f"{name} met Cid in Bergen.") for name in ("Ada", "Eve", "Bea"))
    memory.feedback("Whom did Ada meet?", [first.id])
    memory.update(updated.id, "Eve met Cid in Oslo.")
    assert memory.doctor().ok
    memory.close()
    connection = sqlite3.connect(tmp_path / "m.db")
    statement = statement.replace("OF_ONE", OF_ONE).replace("OF_VERSION", OF_VERSION)
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()
    memory = fast()
    (found,) = (c for c in memory.doctor().checks if c.name == check)
    assert not found.ok
    assert told in found.detail
    try:
        memory.recall("Whom did Ada meet?")
    except StoreError as error:
        # Some of it does not matter to a recall, and a text may be the one by which the encoder is known.
        assert "damaged" in str(error) or "its text is not" in told  # noqa: PT017
    try:
        memory.export(tmp_path / "dump")
    except ForeignStoreError as error:  # and not that it could not be written, nor a KeyError
        assert "damaged" in str(error)  # noqa: PT017
        assert not (tmp_path / "dump").exists()
    if is_forgotten:
        assert check == "rows" or third.id in found.detail or "versions" in statement
        for passage in memory.passages():
            memory.forget(passage.id)
        assert memory.doctor().ok


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM passages",
        "DELETE FROM analyses",
        "UPDATE analyses SET vector = 1",
        "UPDATE passages SET occurred_at = 1",
        "UPDATE facts SET subject_name = x'ff', valid_from = 1",
        "UPDATE mentions SET lines = 'x'",
        "UPDATE versions SET text = x'ff'",
        "UPDATE learning_events SET evidence = 1",
    ],
)
def test_whatever_comes_of_damaged_rows_is_told_as_damage(tmp_path: Path, fast: Opened, statement: str) -> None:
    one = fast()
    first = one.add("Ada met Cid in Bergen.", triples=[("Ada", "met", "Cid")])
    one.update(one.add("Eve met Cid in Oslo.").id, "Eve met Cid in Rome.")
    one.feedback("Whom did Ada meet?", [first.id])
    one.recall("Whom did Ada meet?")
    with contextlib.closing(sqlite3.connect(tmp_path / "m.db")) as connection:
        assert connection.execute(statement).rowcount
        connection.commit()
    told = []
    for memory in (one, fast()):  # one has a view from before
        calls: list[Callable[[], object]] = [
            memory.graph,
            memory.passages,
            lambda memory=memory: memory.recall("Whom did Ada meet?", 9).explain(),
            lambda memory=memory: memory.recall("Whom did Ada meet?", as_of=datetime(2020, 1, 1, tzinfo=UTC)),
            lambda memory=memory: memory.feedback("Whom did Eve meet?", [first.id]),
            lambda memory=memory: memory.export(tmp_path / "dump"),
            memory.consolidate,
        ]
        for call in calls:
            try:
                call()
            except StoreError as error:  # and no KeyError or the like
                told.append(str(error))
            except NotFoundError:
                assert "passages" in statement
        assert not memory.doctor().ok
    assert any("damaged" in what and "doctor" in what for what in told)


@pytest.mark.sqlite
def test_no_export_hands_a_damaged_vector_on(tmp_path: Path, fast: Opened) -> None:
    with fast() as memory:
        memory.add("Ada met Cid in Bergen.")
    with contextlib.closing(sqlite3.connect(tmp_path / "m.db")) as connection:
        ((vector,),) = connection.execute("SELECT vector FROM analyses").fetchall()
        connection.execute("UPDATE analyses SET vector = ?", [bytes([vector[0] ^ 1]) + vector[1:]])
        connection.commit()
    memory = fast()
    assert memory.recall("Whom did Ada meet?").passages
    with pytest.raises(ForeignStoreError, match="not those that were written"):
        memory.export(tmp_path / "dump")


@pytest.mark.sqlite
def test_without_rights(children: ForkServerContext, public: Path, database: bytes) -> None:
    def outcome(file: int | None, folder: int, views: int | None = None, inside: int = 0o755) -> list[str]:
        case = public / f"{file}-{folder}-{views}-{inside}"
        case.mkdir()
        if file is not None:
            (case / "m.db").write_bytes(database)
            (case / "m.db").chmod(file)
        if views is not None:
            shutil.copytree(public / "m.db.views", case / "m.db.views")
            for namespace in (case / "m.db.views").iterdir():
                namespace.chmod(inside)
            (case / "m.db.views").chmod(views)
        case.chmod(folder)
        log = case.with_suffix(".log")
        log.touch()
        log.chmod(0o666)
        child = children.Process(target=child_tasks.as_nobody, args=(case / "m.db", log))
        child.start()
        child.join()
        case.chmod(0o755)
        assert child.exitcode == 0
        told = said(log)
        assert all("that you may" in line for line in told if "Error" in line)  # it says what to do
        assert not any("does not exist" in line for line in told)
        return [line.split(":")[0] for line in told]

    with opened(public / "m.db") as memory:
        memory.ingest(records(100))
    database = (public / "m.db").read_bytes()
    assert outcome(0o666, 0o777) == ["opened", "added", "recalled", "forgot"]
    assert outcome(None, 0o555) == ["StoreAccessError"]
    assert outcome(0o444, 0o555)[-1] == "StoreAccessError"
    assert outcome(0o444, 0o777)[-1] == "StoreAccessError"
    assert outcome(0o000, 0o777) == ["StoreAccessError"]
    assert outcome(0o666, 0o000) == ["StoreAccessError"]
    # Views are of no need, but what is in them cannot be forgotten.
    assert outcome(0o666, 0o777, 0o555) == ["opened", "added", "recalled", "StoreAccessError"]
    assert outcome(0o666, 0o777, 0o000) == ["opened", "added", "recalled", "StoreAccessError"]
    assert outcome(0o666, 0o777, 0o755, 0o444) == ["opened", "added", "recalled", "StoreAccessError"]


@pytest.mark.sqlite
def test_without_threads(children: ForkServerContext, public: Path) -> None:
    log = public / "log"
    log.touch()
    log.chmod(0o666)
    public.chmod(0o777)
    child = children.Process(target=child_tasks.without_threads, args=(public, log))
    child.start()
    child.join()
    assert child.exitcode == 0
    told = "no further thread can be started: end other processes"
    assert [line.split(",")[0] for line in said(log)] == [
        f"a round: {told}",
        f"a call: {told}",
        "waiting 0",
        "done 1",
        f"workers: {told}",
        f"background: {told}",
        f"AsyncMemory: {told}",
        f"a recall: {told}",
    ]


def fill(memory: Memory) -> None:
    for i in range(300):
        memory.add(f"Visitor{i} came to Oslo. " * 20)


@pytest.mark.sqlite
def test_a_full_database_loses_nothing(tmp_path: Path, fast: Opened) -> None:
    memory = fast()
    memory.ingest(records(60))
    before = state(memory)
    pages = (tmp_path / "m.db").stat().st_size // 4096 + 12

    def limited(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    memory._store._database.engine.dispose()
    event.listen(memory._store._database.engine, "connect", limited)
    with pytest.raises(StoreFullError, match="free some space"):
        memory.ingest(records(300, 60))
    assert state(memory) == before
    assert memory.recall("Whom did Ada Thorne meet?", 99).passages
    with pytest.raises(StoreFullError):
        fill(memory)
    assert memory.doctor().ok
    event.remove(memory._store._database.engine, "connect", limited)
    memory._store._database.engine.dispose()
    assert memory.ingest(records(300, 60)).passages == 300
    assert memory.doctor().ok


def on_a_small_disk(children: ForkServerContext, tmp_path: Path, task: Callable[..., None], *args: object) -> list[str]:
    """What a task says that makes a disk of its own."""
    folder, log = tmp_path / "disk", tmp_path / "log"
    folder.mkdir()
    child = children.Process(target=task, args=(folder, log, *args))
    child.start()
    child.join()
    assert child.exitcode == 0
    if said(log) == ["cannot"]:
        pytest.skip("no right to mount a small disk")
    return said(log)


@pytest.mark.sqlite
@pytest.mark.parametrize("real", [True, False], ids=["a disk", "a limit on files"])
def test_a_full_disk_loses_nothing(children: ForkServerContext, tmp_path: Path, real: bool) -> None:
    assert on_a_small_disk(children, tmp_path, child_tasks.fill, real) == ["full", "full", "went on"]


@pytest.mark.sqlite
def test_each_call_on_a_full_disk(children: ForkServerContext, tmp_path: Path) -> None:
    assert on_a_small_disk(children, tmp_path, child_tasks.use_full_disk) == ["went on"]


@pytest.mark.sqlite
@pytest.mark.parametrize("deed", ["deleted", "replaced"])
def test_a_file_that_is_gone_takes_no_more_writes(tmp_path: Path, deed: str) -> None:
    db = tmp_path / "m.db"
    with opened(db) as memory:
        memory.add("One.")
    shutil.copy(db, tmp_path / "backup.db")
    memory = opened(db)
    memory.add("Two.")
    if deed == "deleted":
        db.unlink()
    else:
        (tmp_path / "backup.db").replace(db)
    with pytest.raises(StoreAccessError, match="while it was open"):
        memory.add("Three.")
    with pytest.raises(StoreAccessError, match="while it was open"):
        memory.recall("One")
    memory.close()


@pytest.mark.sqlite
def test_a_damaged_text_is_told_as_damage(tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with opened(db) as memory:
        memory.add("Ada moved to Oslo.", title="Ada")
    with contextlib.closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE passages SET title = CAST(x'DEADBEEF' AS TEXT)")
        connection.commit()
    with opened(db) as memory, pytest.raises(ForeignStoreError, match="damaged"):
        memory.passages()
    data = db.read_bytes()
    at = data.index(b"CREATE TABLE passages")
    db.write_bytes(data[:at] + b"\xde\xad\xbe\xef" * 16 + data[at + 64 :])
    with pytest.raises(ForeignStoreError, match="damaged"):
        opened(db)


@contextlib.contextmanager
def no_handle_left() -> Iterator[None]:
    """No further file can be opened by this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.sqlite
def test_a_process_that_has_too_many_files_open_is_told_so(tmp_path: Path, fast: Opened) -> None:
    memory = fast()
    memory.add("Ada met Bea in Oslo.")
    memory.export(tmp_path / "dump")
    with no_handle_left():
        with pytest.raises(StoreAccessError, match=r"too many are open: .* \(ulimit -n\)"):
            fast(tmp_path / "new.db")
        with pytest.raises(SourceError, match="cannot be read: Too many open files"):
            Memory.load(tmp_path / "dump", tmp_path / "new.db")
        assert memory.add("Bea met Cid in Oslo.").created
    assert fast(tmp_path / "new.db").doctor().ok


@pytest.mark.sqlite
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs to know the handles of a file")
def test_a_disk_that_cannot_be_read_is_not_told_as_a_full_one(tmp_path: Path, fast: Opened) -> None:
    memory, other = fast(), fast()
    memory.add("Ada met Bea in Oslo.")
    memory.recall("Ada")
    added = other.add("Bea met Cid in Oslo.")  # which the first one is yet to read
    log = tmp_path / "m.db-wal"
    found = [int(link.name) for link in Path("/proc/self/fd").iterdir() if link.resolve() == log]
    kept = {number: os.dup(number) for number in found}
    unreadable = os.open(log, os.O_WRONLY)
    for number in kept:
        os.dup2(unreadable, number)
    with pytest.raises(StoreAccessError, match="as it was read"):
        memory.passages()
    for number, copy in kept.items():
        os.dup2(copy, number)
        os.close(copy)
    os.close(unreadable)
    assert memory.get(added.id).text == "Bea met Cid in Oslo."
    assert memory.doctor().ok


@pytest.mark.sqlite
def test_where_files_cannot_be_locked_that_is_told(
    tmp_path: Path, fast: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network drives. SQLite says of "No locks available" that somebody else has locked it."""
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    memory = fast()
    memory.add("Ada met Bea in Oslo.")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with contextlib.closing(sqlite3.connect(tmp_path / "m.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match="another process has been writing"):
            memory.add("Bea met Cid in Oslo.")
        monkeypatch.setattr(fcntl, "lockf", no_locks)
        with pytest.raises(StoreAccessError, match=r"cannot be locked there.*keep it"):
            memory.add("Bea met Cid in Oslo.")
    memory.add("Bea met Cid in Oslo.")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.db", "m.db-shm", "m.db-wal"]


@pytest.mark.sqlite
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs to know the handles of a file")
def test_a_lock_that_fails_is_not_told_as_a_full_disk(tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with opened(db) as memory:
        memory.add("Ada met Bea in Oslo.")
    connect = sqlite3.connect

    def connected(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        unreadable = os.open(db, os.O_WRONLY)  # what cannot be read cannot be locked by those who read
        for number in [int(link.name) for link in Path("/proc/self/fd").iterdir() if link.resolve() == db]:
            if number != unreadable:
                os.dup2(unreadable, number)
        os.close(unreadable)
        return connection

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sqlite3, "connect", connected)
        patched.setattr(sqlite3.dbapi2, "connect", connected)
        with pytest.raises(StoreAccessError, match="cannot be locked there"):
            opened(db)
    with opened(db) as memory:
        assert memory.doctor().ok


@pytest.mark.sqlite
@pytest.mark.parametrize("db", [":memory:", "m.db"])
def test_an_interrupt_at_any_statement_of_a_write_loses_nothing_and_holds_no_lock(
    tmp_path: Path, fast: Opened, monkeypatch: pytest.MonkeyPatch, db: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hippomem.storage.engine.BUSY_SECONDS", 0.2)  # that a write would wait for a lock
    memory = fast(db)
    ids = [memory.add("Ada met Bea in Oslo.", source="a").id]
    dialect = memory._store._database.engine.dialect
    kept = []  # the tracebacks, as a notebook keeps them, which know of the statements
    for number in itertools.count(1):
        steps = itertools.count(1)
        with monkeypatch.context() as patched:
            for name in ("do_execute", "do_executemany", "do_commit"):
                patched.setattr(dialect, name, _interrupted(getattr(dialect, name), steps, number))
            try:
                memory.update(ids[-1], f"Ada met Bea in Oslo, {number}.")
                break
            except KeyboardInterrupt as error:
                kept.append(error)
        ids += [memory.update(ids[-1], f"Ada met Cid in Oslo, {number}.").id]
    assert number > 20
    assert [passage.text for passage in memory.passages()] == [f"Ada met Bea in Oslo, {number}."]
    assert memory.doctor().ok


@pytest.mark.sqlite
@pytest.mark.parametrize("method", ["passages", "stats", "recall"])
def test_an_interrupt_before_the_rows_are_read_leaves_no_reader_of_an_earlier_moment(
    tmp_path: Path, fast: Opened, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    memory, other = fast(), fast()
    kept = []
    for number in itertools.count(1):
        expected = {other.add(f"Ada met Bea{number} in Oslo.").id, memory.add(f"Bea met Cid{number} in Oslo.").id}
        with monkeypatch.context() as patched:
            patched.setattr(Connection, "execute", _interrupted(Connection.execute, itertools.count(1), number))
            try:
                getattr(memory, method)(*["Whom did Ada meet?"][: method == "recall"])
                break
            except KeyboardInterrupt as error:
                kept.append(error)
        expected.add(other.add(f"Eve met Ada{number} in Oslo.").id)
        assert expected <= {passage.id for passage in memory.passages()}
    assert number > 1
    assert memory.doctor().ok


def _interrupted(call: Callable[..., Any], steps: Iterator[int], last: int) -> Callable[..., Any]:
    def called(*args: Any) -> Any:
        returned = call(*args)
        if next(steps) == last:
            raise KeyboardInterrupt
        return returned

    return called
