"""Who may do what at the server: tokens, namespaces, names of the host, sizes of bodies, sites of others."""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import TLS, opener, process, served
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from hippomem import InvalidInputError, NotFoundError
from hippomem_server import LOOPBACK, Options, Tokens, create_app, new_token, serve
from hippomem_server.tokens import Grant

WRITES = [("post", "memories"), ("put", "memories/x"), ("delete", "memories/x"), ("delete", "sources?source=x")]
WRITES += [("post", "feedback"), ("delete", "feedback/x"), ("post", "consolidate")]
WRITES += [("post", "ingest/files"), ("post", "ingest/records"), ("post", "what/comes/later"), ("patch", "memories")]
READS = [
    ("get", "memories"),
    ("get", "memories/x"),
    ("get", "memories/x/history"),
    ("get", "sources"),
    ("get", "stats"),
]
READS += [("post", "recall"), ("get", "doctor"), ("get", "export")]


class Server:
    """A server with three tokens, and what it is known by."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        self.url, self.tokens = url, tokens

    def ask(self, token: str | None, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask with the token of this name."""
        headers = {"authorization": f"Bearer {self.tokens[token]}"} if token else {}
        headers |= options.pop("headers", {})
        with httpx.Client(trust_env=False, verify=TLS, timeout=60) as client:
            return client.request(method, f"{self.url}/{path}", headers=headers, **options)


@pytest.fixture(scope="module")
def server(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ada writes in hers, Bea reads in hers and in the common one, one token is for everything."""
    folder = tmp_path_factory.mktemp("access")
    made = {
        "ada": new_token("ada", ["ada"]),
        "bea": new_token("bea", ["bea", "default"], may_write=False),
        "all": new_token('all \x7f "quoted"', ["*"]),
    }
    file = folder / "tokens.toml"
    file.write_text("\n".join(entry for _, entry in made.values()), encoding="utf-8")
    file.chmod(0o600)
    options = Options(body_bytes=50_000, upload_bytes=100_000, origins=["https://Notes.example/"])
    opened = opener(Path(shutil.copy(small, folder / "m.db")))
    with served(opened, Tokens.read(file), options) as url:
        yield Server(url, {name: token for name, (token, _) in made.items()})


def test_without_a_token_nothing_is_told(server: Server) -> None:
    assert server.ask(None, "get", "healthz").json() == {"status": "ok"}
    answers = [
        server.ask(None, method, f"v1/{name}/{path}") for method, path in WRITES + READS for name in ("ada", "no")
    ]
    answers += [server.ask(None, "get", "v1"), server.ask(None, "post", "v1/ada/memories", content=b"{")]
    answers += [
        server.ask(None, "get", "v1/ada/stats", headers={"authorization": given})
        for given in (
            "Bearer",
            "Basic " + server.tokens["ada"],
            "Bearer x",
            b"Bearer \xe4",
            server.tokens["ada"],
        )
    ]
    assert {(answer.status_code, answer.headers["www-authenticate"]) for answer in answers} == {
        (401, 'Bearer realm="hippomem"')
    }
    assert len({answer.text for answer in answers}) == 1


def test_a_token_is_for_its_namespaces_alone_and_tells_nothing_of_others(server: Server) -> None:
    server.ask("all", "post", "v1/bea/memories", json={"text": "Bea has a secret."})
    for method, path in WRITES + READS:
        there = server.ask("ada", method, f"v1/bea/{path}")
        nowhere = server.ask("ada", method, f"v1/nowhere/{path}")
        assert (there.status_code, nowhere.status_code) == (403, 403)
        assert there.text == nowhere.text
        assert there.headers.keys() == nowhere.headers.keys()
    assert server.ask("ada", "get", "v1").json() == {
        "name": "ada",
        "namespaces": ["ada"],
        "access": "write",
        "can_ask": False,
    }
    before = server.ask("ada", "get", "v1/ada/stats").text
    (bea,) = server.ask("all", "get", "v1/bea/memories").json()["items"]
    assert server.ask("ada", "get", f"v1/ada/memories/{bea['id']}").status_code == 404
    own = server.ask("ada", "post", "v1/ada/recall", json={"query": "Who has a secret?"}).json()
    assert own["passages"] == []
    server.ask("all", "post", "v1/bea/memories", json={"text": "Bea has another secret."})
    assert server.ask("ada", "get", "v1/ada/stats").text == before


@pytest.mark.parametrize(
    "path",
    [
        "v1/ada/../bea/stats",
        "v1/ada/%2e%2e/bea/stats",
        "v1//bea/stats",
        "v1/bea/stats/",
        "/v1/bea/stats",
        "v1/ada%2Fbea/stats",
        "V1/bea/stats",
        "v1/ada/stats/../../bea/stats",
        "v1/*/stats",
        "v1/%2A/stats",
    ],
)
def test_no_spelling_of_a_path_leads_into_another_namespace(server: Server, path: str) -> None:
    token = server.tokens["ada"]
    host, _, port = server.url.removeprefix("http://").partition(":")
    import http.client

    connection = http.client.HTTPConnection(host, int(port), timeout=30)  # which sends a path as it is
    connection.request("GET", f"/{path}", headers={"authorization": f"Bearer {token}"})
    assert connection.getresponse().status in (400, 403, 404)
    connection.close()


@pytest.mark.parametrize("way", ["mounted", "root_path", "both"])
def test_below_a_path_it_asks_for_tokens_too(small: Path, tmp_path: Path, way: str) -> None:
    token, entry = new_token("bea", ["bea", "v1", "of/bea"], may_write=False)
    (tmp_path / "tokens.toml").write_text(entry)
    opened = opener(Path(shutil.copy(small, tmp_path / "m.db")))
    app: Any = create_app(opened, Tokens.read(tmp_path / "tokens.toml"), Options(body_bytes=10_000))
    if way != "root_path":
        app = Starlette(routes=[Mount("/v1/memory" if way == "mounted" else "/memory", app)])
    root = "" if way == "mounted" else "/v1"
    below = "/v1/memory" if way != "root_path" else "/v1"
    with TestClient(app, base_url="http://localhost", root_path=root) as client:

        def asked(method: str, path: str, **options: Any) -> int:
            return client.request(method, f"{below}/{path}", **options).status_code

        known = {"authorization": f"Bearer {token}"}
        for method, path in WRITES + READS:
            assert asked(method, f"v1/bea/{path}") == 401, path
            assert asked(method, f"v1/default/{path}", headers=known) == 403, path
        assert asked("get", "v1") == 401
        assert asked("post", "v1/bea/memories", json={"text": "x"}, headers=known) == 403
        assert asked("post", "v1/bea/recall", content=b" " * 10_001, headers=known) == 413
        assert asked("get", "v1/bea/stats", headers=known) == asked("get", "v1/of%2Fbea/stats", headers=known) == 200
        for path in ("v1/of%2Fada/stats", "v1/of/stats", "v1/bea%2F/stats", "v1/of%252Fbea/stats"):
            assert asked("get", path, headers=known) == 403, path
        assert asked("get", "healthz") == asked("get", "") == 200


def test_to_read_is_not_to_write(server: Server) -> None:
    for method, path in WRITES:
        assert server.ask("bea", method, f"v1/default/{path}").status_code == 403
    for method, path in READS:
        json = {"query": "Who?"} if method == "post" else None
        assert server.ask("bea", method, f"v1/default/{path}", json=json).status_code in (200, 404)
    assert server.ask("bea", "get", "v1/default/stats").json()["passages"] == 4


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::2]:80"]
)
def test_a_stranger_s_name_for_this_machine_is_refused(server: Server, name: str) -> None:
    assert server.ask("all", "get", "v1/default/stats", headers={"host": name}).status_code == 421
    assert server.ask(None, "get", "", headers={"host": name}).status_code == 421


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080"])
def test_its_own_names_are_known(server: Server, name: str) -> None:
    assert server.ask("all", "get", "v1/default/stats", headers={"host": name}).status_code == 200


def test_a_name_that_is_allowed_is_known(small: Path, tmp_path: Path) -> None:
    tokens, _ = Tokens.for_one_run()
    opened = opener(Path(shutil.copy(small, tmp_path / "m.db")))
    with served(opened, tokens, Options(hosts=[*LOOPBACK, "Memory.example", "notes.example:8443", "fd00::1"])) as url:
        server = Server(url, {})
        for name in ("memory.example:443", "localhost", "notes.example", "notes.example:8443", "[fd00::1]:80"):
            assert server.ask(None, "get", "healthz", headers={"host": name}).status_code == 200, name
        for name in ("other.example", "", ":8443", "[fd00::2]"):
            assert server.ask(None, "get", "healthz", headers={"host": name}).status_code == 421, name


@pytest.mark.parametrize("name", ["", ":80", "*", "*.example", "https://memory.example", "memory.example/"])
def test_what_is_no_name_of_a_host_is_refused_before_a_database_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="is no name of a host"):
        create_app(tmp_path / "m.db", Tokens.for_one_run()[0], Options(hosts=[name]))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_beyond_this_machine_it_goes_by_any_name(tmp_path: Path) -> None:
    token, entry = new_token("a", ["a"])
    (tmp_path / "tokens.toml").write_text(entry)
    with process(tmp_path / "m.db", str(tmp_path / "tokens.toml"), "0.0.0.0") as (_, url, told):  # noqa: S104
        assert told == "None"
        server = Server(url, {"a": token})
        assert server.ask("a", "get", "v1/a/stats", headers={"host": "memory.example"}).status_code == 200
        assert server.ask(None, "get", "v1/a/stats", headers={"host": "memory.example"}).status_code == 401


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="others have one address for themselves")
def test_it_answers_by_the_address_that_it_tells(tmp_path: Path) -> None:
    token, entry = new_token("a", ["a"])
    (tmp_path / "tokens.toml").write_text(entry)
    with process(tmp_path / "m.db", str(tmp_path / "tokens.toml"), "127.0.0.2") as (_, url, _):
        server = Server(url, {"a": token})
        assert server.ask("a", "get", "v1/a/stats").status_code == 200
        assert server.ask("a", "get", "v1/a/stats", headers={"host": "memory.example"}).status_code == 421


def test_bodies_have_limits_also_where_they_do_not_say_how_large_they_are(server: Server) -> None:
    large = b'{"text": "' + b"x" * 60_000 + b'"}'
    kind = {"content-type": "application/json"}

    def pieces() -> Iterator[bytes]:
        yield from (large[start : start + 1000] for start in range(0, len(large), 1000))

    for body in (large, pieces()):
        answer = server.ask("all", "post", "v1/ada/memories", content=body, headers=kind)
        assert (answer.status_code, answer.json()["title"]) == (413, "Content Too Large") or answer.status_code == 413
    assert server.ask("all", "post", "v1/ada/ingest/records", content=b" " * 100_001).status_code == 413
    assert server.ask("all", "post", "v1/ada/ingest/files", files={"files": b"x" * 100_001}).status_code == 413
    assert server.ask("all", "post", "v1/ada/ingest/records", content=b" " * 60_000).status_code == 200


def test_only_sites_that_are_named_may_ask_from_a_browser(server: Server) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for origin, allowed in (("https://notes.example", "https://notes.example"), ("https://evil.example", None)):
        answer = server.ask(None, "options", "v1/ada/recall", headers={"origin": origin} | asked)
        assert answer.headers.get("access-control-allow-origin") == allowed
        answer = server.ask("ada", "get", "v1/ada/stats", headers={"origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize("name", ["", "notes.example", "https://", "https://notes.example/app", "https://*.example"])
def test_what_is_no_origin_is_refused_before_a_database_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="is no site"):
        create_app(tmp_path / "m.db", Tokens([]), Options(origins=[name]))
    assert list(tmp_path.iterdir()) == []


def test_every_answer_has_the_headers_that_keep_a_browser_safe(server: Server) -> None:
    for path in ("", "v1/ada/stats", "healthz", "nothing", "console.js"):
        headers = server.ask("ada", "get", path).headers
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"


def test_a_token_s_entry_is_read_back_and_the_token_stands_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token, entry = new_token('na\x7fme "x" \\ é', ["a b", "é/\n"], may_write=False)
    assert token not in entry
    file = tmp_path / "tokens.toml"
    file.write_text(entry + new_token("other", ["*"])[1], encoding="utf-8")
    file.chmod(0o600)
    grant = Tokens.read(file).grant(token)
    assert grant is not None
    assert (grant.name, grant.namespaces, grant.may_write) == ('na\x7fme "x" \\ é', {"a b", "é/\n"}, False)
    assert Tokens.read(file).grant("x") is None
    assert caplog.text == ""
    file.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IROTH)
    Tokens.read(file)
    assert f"chmod 600 {file}" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "token = 1",
        "x = 1",
        "[[token]]\nname = 'a'",
        "\0",
        "[[token]]\nname='a'\nsha256='A'\nnamespaces=['a']\naccess='write'",
    ]
    + [
        new_token("a", ["a"])[1].replace(old, new)
        for old, new in (("write", "admin"), ('["a"]', "[]"), ('["a"]', '"a"'))
    ]
    + [new_token("a", ["a"])[1] + "extra = 1", new_token("a", ["a"])[1] + "[other]"],
    ids=lambda text: text[:16],  # not the tokens, which are others in each process that runs tests
)
def test_a_file_of_tokens_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=r"t\.toml"):
        Tokens.read(tmp_path / "t.toml")
    with pytest.raises(NotFoundError, match="--new-token"):
        Tokens.read(tmp_path / "none.toml")


def test_two_tokens_are_told_apart() -> None:
    one, two = Tokens.for_one_run(), Tokens.for_one_run()
    assert one[0].grant(two[1]) is None
    grant = one[0].grant(one[1])
    assert isinstance(grant, Grant)
    assert grant.covers("anything")


def test_beyond_this_machine_there_must_be_tokens(small: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):  # noqa: S104
        with pytest.raises(InvalidInputError, match="--tokens"):
            serve(small, host=host, port=0, told=print)


def test_an_address_that_is_taken_is_told(server: Server, tmp_path: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(InvalidInputError, match="cannot be listened on"):
        serve(opener(tmp_path / "new.db"), port=port, told=print)
    assert list(tmp_path.iterdir()) == []


def test_the_schema_says_what_needs_a_token(server: Server) -> None:
    schema = server.ask(None, "get", "openapi.json").json()
    assert schema["paths"]["/healthz"]["get"]["security"] == []
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert operation["operationId"]
            assert operation["summary"]
            if path.startswith("/v1"):
                assert operation["security"] == [{"token": []}]
                assert {"401", "403"} <= set(operation["responses"])
                problem = operation["responses"]["403"]["content"]["application/problem+json"]["schema"]
                assert problem == {"$ref": "#/components/schemas/Problem"}
    assert "HTTPValidationError" not in str(schema["paths"])
