"""Ingest over HTTP: progress and report, names that mean harm, clients that go away, a server that is killed."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import httpx
import pytest
from serving import client_of, events_of, opener, process, served
from starlette.exceptions import HTTPException

from hippomem import Settings
from hippomem_server import Options, Tokens
from hippomem_server.aside import PREFIX, Folder, clear_left
from hippomem_server.guard import Guard
from hippomem_server.ingesting import _name_on_disk

JSON_LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a server with nothing in it, whose transactions are small."""
    tokens, secret = Tokens.for_one_run()
    opened = opener(tmp_path / "m.db", settings=Settings(batch=10))
    with served(opened, tokens, Options(upload_bytes=1 << 20)) as url, client_of(url, secret) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names")


@pytest.fixture(scope="module")
def unchanged(folder: Path) -> Iterator[httpx.Client]:
    """A client of a server with nothing in it, for what leaves it so."""
    tokens, secret = Tokens.for_one_run()
    with served(opener(folder / "m.db"), tokens) as url, client_of(url, secret) as client:
        yield client
        assert client.get("/stats").json()["passages"] == 0


def records(count: int) -> bytes:
    return b"".join(
        json.dumps({"text": f"Anna Falk saw {n} whales off Tromsø.", "n": n}).encode() + b"\n" for n in range(count)
    )


def ingested(client: httpx.Client, path: str, **options: Any) -> list[tuple[str, Any]]:
    with client.stream("POST", path, **options) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(events_of(answer))


def test_records_with_progress_and_a_report_and_again(client: httpx.Client) -> None:
    body = records(100) + b'\n{"text": "\n"Bea keeps bees."\n\xff\n[1]\n' + b"[" * 10_000 + b'\n{"title": "no text"}\n'
    events = ingested(client, "/ingest/records", content=body, headers=JSON_LINES)
    told = [data for name, data in events if name == "progress"]
    assert [name for name, _ in events] == ["progress"] * len(told) + ["report"]
    assert len(told) > 3
    assert told[-1] == {"read": len(body), "total": len(body), "passages": 102}
    assert [one["read"] for one in told] == sorted(one["read"] for one in told)
    report = events[-1][1]
    assert (report["documents"], report["passages"]) == (102, 102)
    failed = {one["source"]: one["reason"] for one in report["failed"]}
    assert set(failed) == {"records#100", "records#102", "records#103", "records#104"}
    assert failed["records#100"].startswith("is not JSON")
    again = ingested(client, "/ingest/records", content=body, headers=JSON_LINES)[-1][1]
    assert again["passages"] == 0
    assert client.get("/stats").json()["passages"] == 102


@pytest.mark.parametrize("line", [b"colour,town", b"1", b'  "text": "Ada",'])
def test_what_is_no_json_lines_is_told_once_and_not_of_each_line(unchanged: httpx.Client, line: bytes) -> None:
    events = ingested(unchanged, "/ingest/records", content=(line + b"\n") * 1001, headers=JSON_LINES)
    assert [(name, told["status"]) for name, told in events if name != "progress"] == [("problem", 422)]
    assert events[-1][1]["detail"] == "the first 1,000 lines hold no record: send a JSON object on each line"
    late = ingested(unchanged, "/ingest/records", content=(line + b"\n") * 999, headers=JSON_LINES)
    assert len(late[-1][1]["failed"]) == 999


def test_files_are_skipped_or_replaced_by_their_names(client: httpx.Client) -> None:
    files = [("files", ("bees.md", b"# Bees\n\nBea Lind keeps bees.")), ("files", ("data.jsonl", records(3)))]
    report = ingested(client, "/ingest/files", files=files, params={"below": "docs/"})[-1][1]
    assert (report["documents"], report["passages"], report["failed"]) == (4, 4, [])
    assert client.get("/sources").json()["items"] == ["docs/bees.md", "docs/data.jsonl"]
    assert ingested(client, "/ingest/files", files=files, params={"below": "docs/"})[-1][1]["skipped"] == 4
    files[0] = ("files", ("bees.md", b"# Bees\n\nBea Lind sold her bees."))
    assert ingested(client, "/ingest/files", files=files, params={"below": "docs/"})[-1][1]["removed"] == 1
    bad = ingested(client, "/ingest/files", files=[("files", ("a.json", b"{")), ("files", ("b.zip", b"PK\3\4"))])[-1][1]
    assert {one["source"] for one in bad["failed"]} == {"a.json", "b.zip"}


@pytest.mark.parametrize(
    "name",
    [
        "../../../../tmp/evil.txt",
        "/etc/cron.d/evil",
        "..",
        ".",
        "a/..",
        "C:\\Windows\\evil.txt",
        "x" * 3000 + ".txt",
        "ä" * 300 + ".md",
        "-rf *",
        "$(reboot).txt",
        "m.db",
        "a;b'c.txt",
    ],
)
def test_a_hostile_name_is_a_name(unchanged: httpx.Client, folder: Path, name: str) -> None:
    client = unchanged
    report = ingested(client, "/ingest/files", files=[("files", (name, b"Bea Lind keeps bees."))])[-1][1]
    assert report["passages"] == 1, report
    (source,) = client.get("/sources").json()["items"]
    assert source == (name if "\\" not in name else "evil.txt")  # browsers of old sent whole paths
    assert not Path("/tmp/evil.txt").exists()  # noqa: S108
    assert set(folder.iterdir()) <= {folder / f"m.db{end}" for end in ("", "-wal", "-shm", ".views")}
    assert client.delete("/sources", params={"source": source}).json()["passages"] == 1


@pytest.mark.parametrize(
    ("name", "on_disk"),
    [
        ("C:notes.md", "C_notes.md"),
        ("d:\\a\\C:notes.md", "C_notes.md"),
        ("NUL.md", "_NUL.md"),
        ("com1", "_com1"),
        ("nullable.md", "nullable.md"),
        ("why?.md", "why_.md"),
        ("a.md. ", "a.md"),
        ("...", "file"),
    ],
)
def test_a_name_that_leads_elsewhere_on_windows(monkeypatch: pytest.MonkeyPatch, name: str, on_disk: str) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert _name_on_disk(name) == on_disk
    assert (PureWindowsPath("D:/put/aside") / on_disk).parent == PureWindowsPath("D:/put/aside")


def test_what_is_no_name_or_comes_twice_is_refused_before_anything_is_read(unchanged: httpx.Client) -> None:
    client = unchanged
    for names in (["a\u202eb.txt"], [" "], ["a.md", "a.md"]):
        answer = client.post("/ingest/files", files=[("files", (name, b"x y z")) for name in names])
        assert answer.status_code == 422, answer.text
    assert client.post("/ingest/files").status_code == 422
    assert client.post("/ingest/files", data={"files": "no file"}).status_code == 422
    assert (
        client.post("/ingest/files", content=b"x", headers={"content-type": "multipart/form-data"}).status_code == 400
    )


def test_a_client_that_goes_away_loses_nothing(client: httpx.Client) -> None:
    with client.stream("POST", "/ingest/records", content=records(600), headers=JSON_LINES) as answer:
        name, _ = next(events_of(answer))
        assert name == "progress"
    deadline = time.monotonic() + 60
    while client.get("/stats").json()["passages"] < 600:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_server_that_is_killed_amid_an_ingest_goes_on_where_it_was(tmp_path: Path) -> None:
    db, body = tmp_path / "m.db", records(2500)
    with process(db) as (running, url, token), client_of(url, token) as client:
        acknowledged = 0
        try:
            with client.stream("POST", "/ingest/records", content=body, headers=JSON_LINES) as answer:
                for _, told in events_of(answer):
                    acknowledged = told["passages"]
                    running.send_signal(signal.SIGKILL)
        except httpx.TransportError:
            pass
        assert running.wait(30) == -signal.SIGKILL
    assert 0 < acknowledged < 2500
    with process(db) as (running, url, token), client_of(url, token) as client:
        kept = client.get("/stats").json()["passages"]
        assert kept >= acknowledged
        report = ingested(client, "/ingest/records", content=body, headers=JSON_LINES)[-1][1]
        assert report["passages"] == 2500 - kept
        assert client.get("/stats").json()["passages"] == 2500
        assert all(check["ok"] for check in client.get("/doctor").json()["checks"])
        running.terminate()
        assert running.wait(30) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_a_server_that_stops_lets_requests_end_and_ingests_at_their_transaction(tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with process(db) as (running, url, token), client_of(url, token) as client:
        with client.stream("POST", "/ingest/records", content=records(6_000), headers=JSON_LINES) as answer:
            events = events_of(answer)
            _, first = next(events)
            os.kill(running.pid, signal.SIGTERM)
            rest = list(events)
        assert rest[-1][0] == "problem"
        assert rest[-1][1]["status"] == 503
        acknowledged = max([first, *(data for name, data in rest if name == "progress")], key=lambda d: d["passages"])
        assert running.wait(60) in (0, -signal.SIGTERM)
    with opener(db)("default") as memory:
        assert acknowledged["passages"] <= memory.stats()["passages"] < 6_000
        assert memory.doctor().ok


@pytest.mark.slow
def test_where_nothing_can_be_put_aside(
    unchanged: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    sent = unchanged.post("/ingest/records", content=records(1), headers=JSON_LINES)
    files = unchanged.post("/ingest/files", files={"files": ("a.md", b"Ada.")})
    for answer, what in ((sent, "what was sent"), (files, "what was sent"), (unchanged.get("/export"), "an export")):
        assert answer.status_code == 503
        assert answer.json()["detail"] == f"the server cannot keep {what}: its disk is full or not to write"


def test_a_full_disk_under_an_export_is_not_told_as_the_database_s(
    unchanged: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        answer = unchanged.get("/export")
    assert answer.status_code == 507
    assert answer.json()["detail"] == "the server cannot keep an export: its disk is full or not to write"
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_stops_does_not_wait_for_a_client_that_reads_no_more(tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with opener(db)("default") as memory:
        memory.ingest({"text": f"Note {number}.", "more": "x" * 40_000} for number in range(400))
    with process(db) as (running, url, token), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        asked = f"GET /v1/default/export HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        client.sendall(asked.encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(30) in (0, -signal.SIGTERM)


def test_what_breaks_off_while_it_is_sent_is_taken_for_nothing(unchanged: httpx.Client) -> None:
    host, port = unchanged.base_url.host, unchanged.base_url.port
    head = f"POST {unchanged.base_url.path}ingest/records HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 9000\r\n"
    head += f"Authorization: {unchanged.headers['authorization']}\r\n\r\n"
    with socket.create_connection((host, port or 80)) as connection:
        connection.sendall(head.encode() + records(10))
    assert unchanged.get("/stats").json()["passages"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked there")
def test_what_a_killed_server_put_aside_goes_when_one_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "from hippomem_server.aside import Folder; folder = Folder(); print(folder.name, flush=True); input()"
    with (
        Folder() as ours,
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        ) as other,
    ):
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        (tmp_path / f"{PREFIX}elsewhere").symlink_to(left)
        clear_left()
        assert left.parent == tmp_path
        assert left.is_dir()
        (left / "file").write_text("Ada")
        other.kill()
        other.wait(30)
        with served(opener(tmp_path / "m.db"), Tokens.for_one_run()[0]):
            assert not left.exists()
            assert Path(ours).is_dir()
    assert not Path(ours).exists()


def test_a_full_disk_under_a_form_is_told_as_one(unchanged: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.datastructures.UploadFile.write", full)
    assert unchanged.post("/ingest/files", files={"files": ("a.md", b"Ada.")}).status_code == 507


def test_a_server_that_stops_does_not_wait_for_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem_server.guard.STALLED_SECONDS", 0.01)
    stopping = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"Ada"
        stopping.set()
        await receive()

    pieces = [{"type": "http.request", "body": b"Ada", "more_body": True}]

    async def receive() -> Any:
        return pieces.pop() if pieces else await asyncio.Event().wait()

    tokens, _ = Tokens.for_one_run()
    guard = Guard(app, tokens, None, 100, 100, stopping.is_set)
    with pytest.raises(HTTPException, match="stopping"):
        asyncio.run(guard({"type": "http", "method": "POST", "path": "/x", "headers": []}, receive, receive))
