"""The server: memories over HTTP, asked by a client over a real connection."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from serving import TLS, client_of, opener, served

from hippomem import Check, Diagnosis, Memory, StoreBusyError, StoreFullError
from hippomem.cli_output import plain, recall_json
from hippomem.errors import EncoderMismatchError
from hippomem.testing import HashEncoder, ScriptedChatModel
from hippomem_server import Options, Tokens
from hippomem_tools.addresses import listening


@pytest.fixture
def client(small: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a server with four notes."""
    tokens, secret = Tokens.for_one_run()
    with (
        served(opener(Path(shutil.copy(small, tmp_path / "m.db"))), tokens) as url,
        client_of(url, secret) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def unchanged(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The same, for requests that change nothing."""
    db = Path(shutil.copy(small, tmp_path_factory.mktemp("unchanged") / "m.db"))
    tokens, secret = Tokens.for_one_run()
    with served(opener(db), tokens) as url, client_of(url, secret) as client:
        yield client
        assert client.get("/stats").json()["passages"] == 4


def same(value: Any) -> Any:
    """JSON with moments as moments, and without what time it took."""
    if isinstance(value, dict):
        return {key: same(one) for key, one in value.items() if key not in ("timings_ms", "seconds")}
    if isinstance(value, list):
        return [same(one) for one in value]
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) and len(value) > 10 else value
    except ValueError:
        return value


def test_add_get_update_history_forget(client: httpx.Client) -> None:
    new = {"text": "Oskar Holm pays on Fridays.", "title": "Oskar", "session": "s", "metadata": {"sure": [1, None]}}
    added = client.post("/memories", json=new)
    assert added.status_code == 201
    event = added.json()
    assert event["created"]
    again = client.post("/memories", json=new)
    assert (again.status_code, again.json()["created"], again.json()["id"]) == (200, False, event["id"])
    got = client.get(f"/memories/{event['id']}").json()
    assert (got["text"], got["metadata"]) == (new["text"], new["metadata"])
    updated = client.put(f"/memories/{event['id']}", json={"text": "Oskar Holm pays on Mondays."}).json()
    assert client.get(f"/memories/{event['id']}").json()["id"] == updated["id"]
    entries = client.get(f"/memories/{event['id']}/history").json()
    assert [entry["action"] for entry in entries] == ["add", "update"]
    assert entries[1]["text"] == "Oskar Holm pays on Fridays."
    assert client.delete(f"/memories/{event['id']}").json()["passages"] == 1
    assert client.get(f"/memories/{updated['id']}").status_code == 404
    assert client.delete(f"/memories/{event['id']}").status_code == 404


def test_triples_and_dates_of_your_own(client: httpx.Client) -> None:
    fact = {"subject": "Ada Thorne", "relation": "leads", "object": "Club", "valid_from": "2020-01-01T00:00:00Z"}
    new = {"text": "Minutes of the club.", "occurred_at": "2024-05-01T12:00:00+02:00", "triples": [fact]}
    event = client.post("/memories", json=new).json()
    assert datetime.fromisoformat(event["occurred_at"]).isoformat() == "2024-05-01T10:00:00+00:00"
    told = client.get(f"/memories/{event['id']}/history").json()[0]["triples"]
    assert [one["relation"] for one in told if one["extractor"] == "user"] == ["leads"]


def test_what_comes_out_is_what_the_command_line_prints(client: httpx.Client, tmp_path: Path) -> None:
    asked = {"query": "In which house is the archive of Ada Thorne?", "k": 3, "context": 1}
    over_http = client.post("/recall", json=asked).json()
    with opener(tmp_path / "m.db")("default") as memory:
        recall = memory.recall(**asked)
        printed = json.loads(json.dumps(recall_json(recall)))
        assert same({key: over_http[key] for key in printed}) == same(printed)
        id_ = recall.passages[0].id
        assert same(client.get(f"/memories/{id_}").json()) == same(plain(memory.get(id_)))
        listed = client.get("/memories").json()["items"]
        assert same(listed) == same(plain(memory.passages()))
        assert client.get("/sources").json()["items"] == list(memory.sources())
        counts = plain(memory.stats())
    over_http = client.get("/stats").json()
    assert over_http == {name: counts[name] for name in over_http}
    assert set(counts) - set(over_http) == {"bytes", "db", "views", "outages"}


def test_recall_takes_its_options(client: httpx.Client) -> None:
    def texts(**asked: Any) -> list[str]:
        found = client.post("/recall", json={"query": "Who keeps bees in Bergen?"} | asked)
        assert found.status_code == 200, found.text
        return [passage["text"] for passage in found.json()["passages"]]

    assert len(texts(k=2)) == 2
    assert texts(source="docs/bea.md") == ["Bea Lind keeps bees in Bergen."]
    assert set(texts(source="docs/")) == {"Bea Lind keeps bees in Bergen.", "The harbour of Bergen froze in 1904."}
    assert texts(session="monday") == ["Ada Thorne runs Northlight Labs."]
    assert texts(as_of="2001-01-01T00:00:00Z") == []
    assert texts(method="dense", k=1, deep=True, learned=False) == ["Bea Lind keeps bees in Bergen."]
    explained = client.post("/recall", json={"query": "Who is Ada Thorne?", "k": 1, "explain": True}).json()
    assert "score" in explained["explanations"][0]
    follow = {"query": "Where is it?", "about": [explained["passages"][0]["id"]]}
    assert client.post("/recall", json=follow).status_code == 200


def test_feedback_is_learned_and_unlearned(client: httpx.Client) -> None:
    (bea,) = client.get("/memories", params={"source": "docs/bea.md"}).json()["items"]
    told = client.post("/feedback", json={"query": "who likes honey?", "useful": [bea["id"]]})
    assert (told.status_code, told.json()["useful"]) == (201, [bea["id"]])
    assert client.get("/stats").json()["learned"] == 1
    assert client.delete(f"/feedback/{bea['id']}").status_code == 404  # which is a memory's
    assert client.delete(f"/feedback/{told.json()['id']}").json()["learned"] == 1
    assert client.get("/stats").json()["learned"] == 0
    assert client.post("/feedback", json={"query": "who?", "useful": ["none"]}).status_code == 404


def test_pages(client: httpx.Client) -> None:
    first = client.get("/memories", params={"limit": 3}).json()
    rest = client.get("/memories", params={"limit": 3, "offset": first["next_offset"]}).json()
    assert (len(first["items"]), len(rest["items"]), rest["next_offset"]) == (3, 1, None)
    page = client.get("/sources", params={"below": "docs/", "limit": 1}).json()
    assert page == {"items": ["docs/bea.md"], "next_offset": 1}
    assert client.get("/sources", params={"below": "docs"}).status_code == 422


def test_a_source_is_forgotten_and_no_id_is_taken_for_one(client: httpx.Client) -> None:
    (bea,) = client.get("/memories", params={"source": "docs/bea.md"}).json()["items"]
    assert client.delete("/sources", params={"source": bea["id"]}).status_code == 404
    assert client.delete("/memories/docs").status_code == 404
    assert client.delete("/sources", params={"source": "docs/"}).json()["passages"] == 2
    assert client.get("/sources").json()["items"] == []


def test_upkeep(client: httpx.Client, tmp_path: Path) -> None:
    found = client.get("/doctor").json()
    assert found["ok"]
    assert all(check["ok"] for check in found["checks"])
    dry = client.post("/consolidate", json={"units": 5, "dry_run": True})
    assert dry.status_code == 200
    assert {step["name"] for step in dry.json()["steps"]}
    exported = client.get("/export")
    assert exported.headers["content-type"] == "application/x-ndjson"
    (tmp_path / "dump.jsonl").write_bytes(exported.content)
    assert json.loads(exported.text.splitlines()[-1])["passages"] == 4
    from hippomem import Settings

    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "new.db", settings=Settings(encoder=HashEncoder())) as memory:
        assert memory.stats()["passages"] == 4


def test_what_is_wrong_with_the_database_is_not_told(unchanged: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Diagnosis((Check("database", ok=False, detail="secret of another"), Check("rows", ok=True, detail="fine")))
    monkeypatch.setattr(Memory, "doctor", lambda _: wrong)
    answer = unchanged.get("/doctor")
    assert not answer.json()["ok"]
    assert "secret" not in answer.text
    assert [(check["name"], check["ok"]) for check in answer.json()["checks"]] == [("database", False), ("rows", True)]


def test_an_answer_where_there_is_a_chat_model(small: Path, tmp_path: Path, client: httpx.Client) -> None:
    assert client.post("/ask", json={"question": "Who keeps bees?"}).status_code == 404  # this one has none
    assert client.post("/recall", json={"query": "Who?", "decompose": True}).status_code == 422
    tokens, secret = Tokens.for_one_run()
    chat = ScriptedChatModel(answers=["Bea Lind keeps bees [1]."])
    opened = opener(Path(shutil.copy(small, tmp_path / "asked.db")), llm=chat)
    with served(opened, tokens) as url, client_of(url, secret) as asking:
        answer = asking.post("/ask", json={"question": "Who keeps bees?", "k": 2}).json()
        assert answer["text"] == "Bea Lind keeps bees [1]."
        assert answer["citations"][0]["passage_id"] == answer["recall"]["passages"][0]["id"]
        assert asking.post("/ask", json={"question": "And who else?"}).status_code == 503  # it has no more to say


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "/memories", {"text": ""}, 422),
        ("post", "/memories", {"text": "a\0b"}, 422),
        ("post", "/memories", {"text": "x" * 20_001}, 413),
        ("post", "/memories", {"text": "x", "titel": "y"}, 422),
        ("post", "/memories", {"text": "x", "occurred_at": "2024-05-01T12:00"}, 422),
        ("post", "/memories", {"text": "x", "triples": [{"subject": "a"}]}, 422),
        ("post", "/recall", {"query": "x", "k": 0}, 422),
        ("post", "/recall", {"query": "x", "k": 10**30}, 422),
        ("post", "/recall", {"query": "x", "about": ["none"]}, 404),
        ("post", "/consolidate", {"seconds": -1}, 422),
        ("put", "/memories/none", {"text": "x"}, 404),
        ("get", "/memories/none/history", None, 404),
        ("get", "/memories?limit=0", None, 422),
        ("get", "/memories?offset=-1", None, 422),
        ("get", "/memories?session=%00", None, 422),
        ("delete", "/sources?source=none", None, 404),
        ("patch", "/memories", {}, 405),
        ("get", "/nothing", None, 404),
    ],
)
def test_what_cannot_be_is_a_problem(
    unchanged: httpx.Client, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    answer = unchanged.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("get", "/memories?sesion=monday", "'sesion': this takes source, session, limit, offset"),
        ("get", "/stats?k=3&deep=1", "'deep', 'k': this takes none"),
        ("post", "/ingest/files?belwo=docs/", "'belwo': this takes below"),
    ],
)
def test_a_misspelt_parameter_is_told(unchanged: httpx.Client, method: str, path: str, told: str) -> None:
    answer = unchanged.request(method, path, files={"files": ("a.md", "Oskar")} if method == "post" else None)
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"there is no query parameter {told}"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/default/memories", {"GET", "POST"}),
        ("/v1/default/memories/none", {"GET", "PUT", "DELETE"}),
        ("/healthz", {"GET"}),
        ("/openapi.json", {"GET", "HEAD"}),
    ],
)
def test_a_place_that_cannot_be_asked_so_says_how_it_can(unchanged: httpx.Client, path: str, methods: set[str]) -> None:
    answer = unchanged.patch(unchanged.base_url.copy_with(path=path))
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == methods


@pytest.mark.parametrize("name", ["team/ada", "/", "100%", "a%2Fb", "%", "v1/v1", "café/☕", "a b/c?d#e"])
def test_a_namespace_may_have_any_name(client: httpx.Client, name: str) -> None:
    def at(path: str) -> httpx.URL:
        return client.base_url.copy_with(raw_path=f"/v1/{quote(name, safe='')}/{path}".encode())

    id_ = client.post(at("memories"), json={"text": "Oskar Holm pays on Fridays."}).json()["id"]
    stats = client.get(at("stats")).json()
    assert (stats["namespace"], stats["passages"]) == (name, 1)
    assert client.get(at(f"memories/{id_}")).json()["text"] == "Oskar Holm pays on Fridays."
    assert client.get(at("memories?session=none")).json()["items"] == []
    lines = b'{"text": "Bea sings.", "source": "b"}\n'
    assert client.post(at("ingest/records"), content=lines).status_code == 200
    assert client.get(at("stats")).json()["passages"] == 2
    assert client.get("/stats").json()["passages"] == 4


def test_a_path_that_leads_nowhere_is_told_as_that(unchanged: httpx.Client) -> None:
    answer = unchanged.get(unchanged.base_url.copy_with(path="/v1/team/ada/stats"))
    assert answer.status_code == 404
    assert "a slash in the name of a namespace is sent as %2F" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"text": "\\ud800"}',
        b'{"text": "x", "metadata": {"a": NaN}}',
        b'{"text": "x", "metadata": {"\\ud800": 1}}',
        b'{"text": "x", "\\ud800": 1}',
        b'{"text": "x", "metadata": ' + b'{"a":' * 60 + b"1" + b"}" * 61,
        b'{"text": ' + b"9" * 5000 + b"}",
        b"null",
        b'"text"',
    ],
)
def test_a_hostile_body_is_no_error_of_the_server(unchanged: httpx.Client, body: bytes) -> None:
    answer = unchanged.post("/memories", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_json_that_is_not_said_to_be_json(unchanged: httpx.Client, kind: str | None) -> None:
    answer = unchanged.post("/memories", content=b'{"text": "x"}', headers={"content-type": kind} if kind else {})
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["", "/v1/default/stats", "/v1/default/memories/none", "/healthz", "/v1/default/export"]
)
def test_a_head_is_a_get_without_its_body(client: httpx.Client, path: str) -> None:
    url = client.base_url.copy_with(path=path or "/")
    asked, got = client.head(url), client.get(url)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert client.head("/recall").status_code == 405


@pytest.mark.parametrize(
    ("error", "status"),
    [(StoreFullError, 507), (StoreBusyError, 503), (EncoderMismatchError, 409), (ZeroDivisionError, 500)],
)
def test_what_the_database_says_is_not_told(
    unchanged: httpx.Client, monkeypatch: pytest.MonkeyPatch, error: type[Exception], status: int
) -> None:
    def fails(self: Memory, *args: object, **options: object) -> None:
        raise error("secret of /srv/other.db")

    monkeypatch.setattr(Memory, "add", fails)
    answer = unchanged.post("/memories", json={"text": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "secret" not in answer.text
    assert (answer.headers.get("retry-after") is not None) is (status == 503)


def test_two_clients_at_once(client: httpx.Client) -> None:
    failed: list[object] = []

    def use(who: str) -> None:
        with httpx.Client(
            base_url=client.base_url, headers=client.headers, timeout=60, trust_env=False, verify=TLS
        ) as own:
            for number in range(8):
                text = f"{who} Falk saw {number} whales off Tromsø."
                own.post("/memories", json={"text": text, "title": f"{who} Falk"})
                found = own.post("/recall", json={"query": f"How many whales did {who} Falk see?", "k": 20}).json()
                if text not in [passage["text"] for passage in found["passages"]]:
                    failed.append((who, number))

    threads = [threading.Thread(target=use, args=(who,)) for who in ("Anna", "Bent", "Cleo")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert client.get("/stats").json()["passages"] == 28


def test_a_request_under_way_ends_before_the_memories_close(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, recall = threading.Event(), Memory.recall

    def slow(self: Memory, *args: Any, **options: Any) -> Any:
        begun.set()
        time.sleep(0.5)
        return recall(self, *args, **options)

    monkeypatch.setattr(Memory, "recall", slow)
    tokens, secret = Tokens.for_one_run()
    opened = opener(Path(shutil.copy(small, tmp_path / "m.db")))
    asked = {"json": {"query": "Who keeps bees?"}, "headers": {"authorization": f"Bearer {secret}"}}
    with ThreadPoolExecutor(1) as pool:
        with served(opened, tokens) as url:
            answer = pool.submit(httpx.post, f"{url}/v1/default/recall", **asked, timeout=60, trust_env=False)
            assert begun.wait(30)
        assert answer.result(10).json()["passages"]  # the server has been asked to end, and has


def test_no_answer_waits_until_its_beginning_is_acknowledged() -> None:
    with listening("127.0.0.1", 0) as bound, socket.create_connection(bound.getsockname()):
        accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_few_memories_stay_open(small: Path, tmp_path: Path) -> None:
    opened: dict[str, list[Memory]] = {}
    make = opener(Path(shutil.copy(small, tmp_path / "m.db")))

    def opening(name: str) -> Memory:
        opened.setdefault(name, []).append(make(name))
        return opened[name][-1]

    tokens, secret = Tokens.for_one_run()
    with served(opening, tokens, Options(most_open=2)) as url, httpx.Client(trust_env=False, verify=TLS) as client:
        for name in ("a", "b", "a", "c", "a", "b"):
            found = client.get(f"{url}/v1/{name}/stats", headers={"authorization": f"Bearer {secret}"})
            assert found.json()["passages"] == 0
        assert {name: len(several) for name, several in opened.items()} == {"default": 1, "a": 1, "b": 2, "c": 1}
    for memory in (one for several in opened.values() for one in several):
        with pytest.raises(Exception, match="closed"):
            memory.get("x")


def test_a_source_that_is_called_as_a_memory_is_forgotten_and_not_that_memory(client: httpx.Client) -> None:
    first = client.post("/memories", json={"text": "Zora Quill counts the herons of Vardø."}).json()
    drawn = client.post("/memories", json={"text": "Zora Quill is a birdwatcher.", "source": first["id"]}).json()
    assert client.delete("/sources", params={"source": first["id"]}).json()["ids"] == [drawn["id"]]
    assert client.get(f"/memories/{first['id']}").status_code == 200
    assert client.delete(f"/memories/{first['id']}").status_code == 200
