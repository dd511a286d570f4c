"""The MCP server: in this process, over stdio and over HTTP, with clients that err."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from mcp import Client, MCPError, StdioServerParameters

from hippomem import Memory
from hippomem.errors import InvalidInputError
from hippomem.testing import ScriptedChatModel
from hippomem_mcp import client_configuration, create_server, http, serve_http
from hippomem_mcp.folders import inside

pytestmark = pytest.mark.anyio

SERVER = str(Path(__file__).with_name("mcp_process.py"))


async def said(client: Client, tool: str, **arguments: Any) -> str:
    """What the model reads; it must be no error."""
    result = await client.call_tool(tool, arguments)
    text = "".join(block.text for block in result.content)
    assert not result.is_error, text
    return text


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """What the model reads where it could not be done."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return "".join(block.text for block in result.content)


async def test_the_tools_are_there_with_schemas_and_hints(memory: Memory) -> None:
    async with Client(create_server(memory)) as client:
        assert "long-term memory" in (client.instructions or "")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert {"remember", "recall", "forget", "stats"} <= set(tools)
    assert "ingest" not in tools  # no folder was allowed
    assert "ask" not in tools  # no chat model is set
    assert tools["recall"].input_schema["required"] == ["query"]
    assert tools["recall"].input_schema["properties"]["query"]["description"]
    assert tools["recall"].annotations.read_only_hint
    assert tools["forget"].annotations.destructive_hint
    assert "handle" in tools["recall"].description


async def test_what_learns_does_not_claim_to_read_only(
    fast: Callable[..., Memory], small: Path, tmp_path: Path
) -> None:
    chat = ScriptedChatModel(answers=["Bea Lind keeps bees [1]."])
    memory = fast(shutil.copy(small, tmp_path / "m.db"), llm=chat)
    calls = {"recall": {"query": "Who keeps bees?"}, "stats": {}, "ask": {"question": "Who keeps bees?"}}
    async with Client(create_server(memory)) as client:
        hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
        assert [name for name, hint in hints.items() if hint.read_only_hint] == ["recall", "stats"]
        for name, arguments in calls.items():
            before = memory.stats()["learned"]
            await said(client, name, **arguments)
            assert (memory.stats()["learned"] == before) is hints[name].read_only_hint
    assert (hints["ask"].destructive_hint, hints["ask"].open_world_hint) == (False, True)


async def test_remember_recall_forget(memory: Memory) -> None:
    async with Client(create_server(memory)) as client:
        told = await said(client, "remember", text="Oskar Holm pays on Fridays.", title="Oskar Holm")
        name = told[-10:-2]
        assert f"[{name}] (Oskar Holm, noted " in await said(client, "recall", query="Oskar Holm?")
        result = await client.call_tool("recall", {"query": "Oskar Holm?", "k": 1})
        assert result.structured_content["passages"][0]["text"] == "Oskar Holm pays on Fridays."
        assert await said(client, "feedback", useful=[name]) == "Noted: 1 useful."
        assert await said(client, "forget", target=name) == "Forgotten: 1."
        assert (await said(client, "stats")).startswith("4 passages")
        told = await said(client, "remember", text="Oskar Holm pays on Mondays.")
        assert await said(client, "forget", target=told.split()[-1].rstrip(".")) == "Forgotten: 1."


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("recall", {}, "query"),
        ("recall", {"query": ""}, "query is empty"),
        ("recall", {"query": "Ada", "k": 0}, "greater than or equal to 1"),
        ("recall", {"query": ["Ada"]}, "valid string"),
        ("remember", {"text": "a\0b"}, "NUL"),
        ("remember", {"text": "Ada", "occurred_at": "yesterday"}, "ISO 8601"),
        ("remember", {"text": "Ada", "date": "2026-05-01T12:00Z"}, "Extra inputs are not permitted"),
        ("stats", {"of": "Ada"}, "Extra inputs are not permitted"),
        ("forget", {"target": "nothing"}, "no memory and no source is called 'nothing'"),
        ("dream", {}, "dream"),
    ],
)
async def test_a_malformed_call_is_an_error_that_a_model_can_act_on(
    memory: Memory, tool: str, arguments: dict[str, Any], told: str
) -> None:
    async with Client(create_server(memory)) as client:
        try:
            assert told in await refused(client, tool, **arguments)
        except MCPError as error:
            assert told in str(error)  # noqa: PT017
        assert (await said(client, "stats")).startswith("4 passages")


async def test_resources(memory: Memory) -> None:
    async with Client(create_server(memory)) as client:

        async def read(uri: str) -> Any:
            (content,) = (await client.read_resource(uri)).contents
            assert content.mime_type == "application/json"
            return json.loads(content.text)

        assert {str(r.uri) for r in (await client.list_resources()).resources} == {
            "memory://default/stats",
            "memory://default/sources",
        }
        assert len((await client.list_resource_templates()).resource_templates) == 2
        assert (await read("memory://default/stats"))["passages"] == 4
        assert await read("memory://default/sources") == ["docs/bea.md", "docs/bergen.md"]
        (bea,) = await read("memory://default/sources/docs/bea.md")
        assert bea["metadata"] == {"kind": "bees"}
        assert len(await read("memory://default/sources/docs/")) == 2
        passage = await read(f"memory://default/passages/{bea['id']}")
        assert passage["text"] == bea["text"]
        assert [change["action"] for change in passage["history"]] == ["add"]
        for uri in ("memory://other/passages/1", "memory://default/passages/1", "memory://default/sources/none"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)


async def test_the_source_of_a_file_is_read_from_the_memory_alone(memory: Memory, tmp_path: Path) -> None:
    notes = (tmp_path / "my notes").resolve()
    notes.mkdir()
    for name in ("plain.md", "50% æ#1?.md"):
        (notes / name).write_text(f"Oskar Holm wrote {name}.")
    (notes / "later.md").write_text("Oskar Holm wrote this later.")
    async with Client(create_server(memory, folders=[notes])) as client:

        async def read(uri: str) -> Any:
            (content,) = (await client.read_resource(uri)).contents
            return json.loads(content.text)

        await client.call_tool("ingest", {"paths": ["plain.md", "50% æ#1?.md"]})
        files = [name for name in await read("memory://default/sources") if name.startswith("/")]
        assert sorted(files) == sorted([f"{notes}/plain.md", f"{notes}/50% æ#1?.md"])
        for file in files:
            (passage,) = await read(f"memory://default/sources/{quote(file)}")
            assert (passage["source"], passage["text"]) == (file, Path(file).read_text())
        assert len(await read(f"memory://default/sources/{quote(str(notes))}/")) == 2
        assert await read(f"memory://default/sources/{quote(files[0], safe='')}")
        (notes / "plain.md").unlink()
        assert await read(f"memory://default/sources/{quote(str(notes))}/plain.md")
        up = f"{notes}/../{notes.name}/plain.md"  # leads to the file, and is no name that the memory has
        for name in (f"{notes}/later.md", "/etc/passwd", "../../etc/passwd", up, f"{notes}/plain.md\0"):
            with pytest.raises(MCPError):
                await client.read_resource(f"memory://default/sources/{quote(name)}")


async def test_prompts(memory: Memory) -> None:
    async with Client(create_server(memory)) as client:
        assert {p.name for p in (await client.list_prompts()).prompts} == {
            "answer_from_memory",
            "remember_conversation",
        }
        prompt = await client.get_prompt("answer_from_memory", {"question": "Who keeps bees?"})
        assert prompt.messages[0].content.text.startswith("Who keeps bees?")
        assert "remember" in (await client.get_prompt("remember_conversation", {})).messages[0].content.text


async def test_no_link_leads_an_ingest_out_of_its_folder(memory: Memory, tmp_path: Path) -> None:
    notes, outside = tmp_path / "notes", tmp_path / "outside"
    for name in ("notes/a.txt", "notes/deep/b.txt", "notes/.hidden/c.txt", "notes/side/d.txt", "outside/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"What stands in {name} is told here.")
    links = {"key.txt": outside / "e.txt", "deep/out": outside, "open": notes / ".hidden", "dead": tmp_path / "nowhere"}
    for link, target in links.items():
        (notes / link).symlink_to(target)
    (notes / ".hidden" / "out").symlink_to(outside)
    (notes / "side" / "deep").symlink_to(notes / "deep")  # which leads on
    (notes / "copy.txt").symlink_to(notes / "a.txt")
    async with Client(create_server(memory, folders=[notes])) as client:
        for paths in (["."], ["deep", "a.txt"], ["side", "."]):
            told = await said(client, "ingest", paths=paths)
            assert "deep/out: is a link that leads out" in told
        assert told.count("is a link") >= len(links)
    assert {source for source in memory.sources() if source.startswith(str(tmp_path))} == {
        str(notes / name) for name in ("a.txt", "deep/b.txt", "side/d.txt")
    }


@pytest.mark.parametrize("name", ["\\\\stranger\\share", "//stranger/share"])
def test_a_path_has_windows_log_in_to_no_other_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        patch.setattr(os.path, "realpath", pytest.fail)  # it looks whether there are links
        with pytest.raises(InvalidInputError, match="is outside of"):
            inside(name, [tmp_path])


async def test_ingest_tells_how_far_it_is_and_stays_inside_its_folders(memory: Memory, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for i in range(600):
        (notes / f"{i}.txt").write_text(f"Note {i} says that Oskar counted {i * 3} ships.")
    (tmp_path / "secret.txt").write_text("The key is under the mat.")
    (notes / "link.txt").symlink_to(tmp_path / "secret.txt")
    heard: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total))

    async with Client(create_server(memory, folders=[notes])) as client:
        result = await client.call_tool("ingest", {"paths": ["7.txt"]})
        assert result.structured_content["passages"] == 1
        result = await client.call_tool("ingest", {"paths": [str(notes)]}, progress_callback=hear)
        assert result.structured_content["documents"] == 599
        assert "Note 599" in await said(client, "recall", query="What does Note 599 say?", k=3)
        for path in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt", "/etc/passwd", "a\0b"):
            assert "outside of" in await refused(client, "ingest", paths=[path]) or path == "a\0b"
        assert "no file" in await refused(client, "ingest", paths=["none.txt"])
        assert "paths" in await refused(client, "ingest", paths=[])
        assert "path is empty" in await refused(client, "ingest", paths=["7.txt", " "])
    assert len(heard) >= 2
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert all(total and done <= total for done, total in heard)


async def test_an_ingest_that_is_cancelled_ends_and_goes_on_another_time(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text(
        "".join(json.dumps({"text": f"Note {n} is here."}) + "\n" for n in range(1000))
    )
    known, told = memory.stats()["passages"], asyncio.Event()

    async def heard(*_: Any) -> None:
        told.set()

    server = create_server(memory, folders=[tmp_path])
    async with Client(server, mode="legacy") as client:  # with messages, as over stdio
        call = asyncio.create_task(client.call_tool("ingest", {"paths": ["."]}, progress_callback=heard))
        await told.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert 0 < memory.stats()["passages"] - known < 1000
    async with Client(server) as client:
        await said(client, "ingest", paths=["."])
    assert memory.stats()["passages"] - known == 1000


@pytest.fixture
def database(small: Path, tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return Path(shutil.copy(small, tmp_path / "shared.db"))


@contextmanager
def serving(database: Path, **environment: str) -> Iterator[str]:
    """A server over HTTP in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, SERVER, str(database), "http", str(port)]
    process = subprocess.Popen(command, env=os.environ | environment)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(30)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """A client, once the server is there."""
    async with httpx.AsyncClient() as probe:
        for _ in range(600):
            try:
                await probe.get(url)
                break
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    async with Client(url) as client:
        yield client


@pytest.mark.slow
async def test_two_clients_at_once_over_http_and_one_over_stdio_on_one_database(database: Path) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=[SERVER, str(database), "stdio"])
    with serving(database) as url:
        async with connected(url) as one, connected(url) as two, Client(parameters) as three:

            async def use(client: Client, who: str) -> None:
                for i in range(5):
                    await said(client, "remember", text=f"{who} Falk saw {i} whales off Tromsø.", title=f"{who} Falk")
                    assert f"{who} Falk saw {i} whales" in await said(client, "recall", query=f"{who} Falk?", k=9)

            await asyncio.gather(use(one, "Anna"), use(two, "Bent"), use(three, "Cleo"))
            assert "query is empty" in await refused(three, "recall", query="")
            for client in (one, two, three):
                assert (await said(client, "stats")).startswith("19 passages")


async def test_each_session_over_http_has_what_it_was_told_for_itself(memory: Memory) -> None:
    app = create_server(memory).streamable_http_app(host="127.0.0.1")
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        base = {"accept": "application/json, text/event-stream"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=base) as http:

            async def session() -> dict[str, str]:
                about = {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {},
                    "clientInfo": {"name": "t", "version": "1"},
                }
                opened = await http.post("/mcp", json=request("initialize", about))
                return {"mcp-session-id": opened.headers["mcp-session-id"]}

            def request(method: str, params: dict[str, Any]) -> dict[str, Any]:
                return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}

            async def call(whose: dict[str, str], tool: str, **arguments: Any) -> str:
                asked = request("tools/call", {"name": tool, "arguments": arguments})
                return (await http.post("/mcp", json=asked, headers=whose)).text

            one, two = await session(), await session()
            (passage,) = memory.recall("Who keeps bees?", 1).passages
            assert passage.id[:8] in await call(one, "recall", query="Who keeps bees?", k=1)
            assert "was not recalled here" in await call(two, "feedback", useful=[passage.id[:8]])
            assert "Noted: 1 useful" in await call(one, "feedback", useful=[passage.id[:8]])


async def test_a_client_that_goes_away_amid_a_request_is_no_error_of_ours(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    app = http._application(create_server(memory), "127.0.0.1", None)
    about = {
        "host": "127.0.0.1:8000",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
    }
    headers = [(name.encode(), value.encode()) for name, value in about.items()]
    comes = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(comes)

    async def send(_: Any) -> None:
        """Nobody is there."""

    async with app.router.lifespan_context(app):
        scope = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": headers}
        await app(scope, receive, send)
    assert list(comes) == []
    assert caplog.records == []


@pytest.mark.slow
async def test_over_http_a_token_can_be_asked_for(database: Path) -> None:
    with serving(database, HIPPOMEM_MCP_TOKEN="open sesame") as url:  # noqa: S106
        async with httpx.AsyncClient() as client:
            for _ in range(600):
                try:
                    answer = await client.post(url, json={}, headers={"Authorization": "Bearer guess"})
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
            assert answer.status_code == 401
            known = {"Authorization": "Bearer open sesame", "Accept": "application/json, text/event-stream"}
            assert (await client.post(url, json={}, headers=known)).status_code != 401


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "::1", "0:0:0:0:0:0:0:1"])
async def test_a_stranger_s_name_for_this_machine_is_refused(memory: Memory, host: str) -> None:
    app = http._application(create_server(memory), host, None)
    own = f"http://[{host}]:8000" if ":" in host else f"http://{host}:8000"
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=own)
    async with app.router.lifespan_context(app), client:

        async def asked(**headers: str) -> int:
            return (await client.post("/mcp", json={}, headers=headers)).status_code

        assert await asked() not in (403, 421)
        assert await asked(origin=own) not in (403, 421)
        assert await asked(host="evil.example:8000") == 421
        assert await asked(origin="http://evil.example:8000") == 403


def test_nobody_else_is_served_without_a_token(memory: Memory) -> None:
    with pytest.raises(InvalidInputError, match="HIPPOMEM_MCP_TOKEN"):
        serve_http(create_server(memory), host="0.0.0.0")  # noqa: S104


def test_a_port_that_is_taken_is_told(memory: Memory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"port {port}, cannot be listened on"):
            serve_http(create_server(memory), port=port)


@pytest.mark.slow
async def test_the_command_serves_by_the_configuration_that_it_prints(tmp_path: Path) -> None:
    hippomem = str(Path(sys.executable).with_name("hippomem"))
    command = [hippomem, "mcp", "--print-config", "--db", "agent.db", "--namespace", "ada"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert printed.count("\n") == 1
    known = json.loads(printed)["mcpServers"]["hippomem"]
    assert str(tmp_path / "agent.db") in known["args"]
    assert not (tmp_path / "agent.db").exists()
    async with Client(StdioServerParameters(command=known["command"], args=known["args"])) as client:
        assert "Nothing in the memory" in await said(client, "recall", query="Who keeps bees?")
    assert (tmp_path / "agent.db").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_one_interrupt_ends_a_server_whose_client_says_nothing(tmp_path: Path) -> None:
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-m", "hippomem", "mcp", "--db", str(tmp_path / "agent.db")]
    with subprocess.Popen(command, **pipes, text=True, bufsize=1) as server:
        assert server.stdin
        assert server.stdout
        assert server.stderr
        server.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        assert '"id":1' in server.stdout.readline()
        server.send_signal(signal.SIGINT)
        try:
            assert server.wait(30) == 130
        finally:
            server.kill()
        assert server.stderr.read() == "interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_server_over_http_tells_where_it_is_and_ends_at_an_interrupt(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    over_http = ["--transport", "streamable-http", "--port", str(port)]
    command = [sys.executable, "-m", "hippomem", "mcp", "--db", str(tmp_path / "agent.db"), *over_http]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        assert server.stderr.readline() == f"hippomem serves by MCP: http://127.0.0.1:{port}/mcp\n"
        server.send_signal(signal.SIGINT)
        try:
            assert server.wait(30) == 130
        finally:
            server.kill()


def test_the_configuration_of_a_server_that_runs() -> None:
    url = "http://127.0.0.1:8000/mcp"
    assert client_configuration("m.db", "a", url=url) == {"mcpServers": {"hippomem": {"type": "http", "url": url}}}
