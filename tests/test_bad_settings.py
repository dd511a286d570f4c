"""Settings that cannot be, names of namespaces that are odd, an encoder that is not the store's."""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unchanged import state

from hippomem import EncoderMismatchError, InvalidInputError, Memory, NotFoundError, Settings
from hippomem.settings import load_settings
from hippomem.testing import HashEncoder

Opened = Callable[..., Memory]
ODD_NAMES = [
    "a/b", "../x", "..", "/", "日本語", "a b", " a", "%", "_", "'", '"', "'; DROP TABLE namespaces; --", "*", "NUL",
    "\\", "A", "e\u0301", "é", "\U0001f469" * 255, "x" * 255, "x" * 254 + "y", "user:1@example.com?x=1#y", "-", ".",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATCH", "many"), ("BATCH", "0"), ("BATCH", "1.5"), ("BATCH", "-1"), ("BATCH", "10001"), ("BATCH", ""),
        ("PASSAGE_CHARS", "99"), ("PASSAGE_CHARS", "1e9"), ("MAX_TEXT_CHARS", "0"), ("MAX_QUERY_CHARS", "none"),
        ("MAX_DOCUMENT_BYTES", "32 MB"), ("NAMESPACE", ""), ("NAMESPACE", "a\tb"), ("DB", ""), ("ENCODER", " "),
        ("PIPELINE", ""), ("LLM_TIMEOUT", "0"), ("LLM_TIMEOUT", "soon"), ("LLM_RETRIES", "-1"),
        ("LLM_PRICES", '{"m": [-1, 2]}'), ("LLM_PRICES", '{"m": [1, NaN]}'),
    ],
)  # fmt: skip
def test_environment(name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"HIPPOMEM_{name}", value)
    with pytest.raises(InvalidInputError, match=name.lower().split("_")[0]):
        Memory.open()
    assert [file for file in tmp_path.iterdir() if file.suffix not in (".db-wal", ".db-shm", ".db")] == []


@pytest.mark.parametrize(
    ("name", "value"), [("LLM_PRICES", "0.15"), ("LLM_PRICES", ""), ("CONSOLIDATION_STEPS", "flag")]
)
def test_a_variable_that_should_be_json_is_not_told_as_a_file(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"HIPPOMEM_{name}", value)
    with pytest.raises(InvalidInputError, match=f"{name.lower()}.*must be JSON|{name.lower()}.*valid dict") as told:
        load_settings()
    assert "toml" not in str(told.value)


def test_an_argument_and_other_variables_do_no_harm(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPOMEM_NAMESPACE", "from the environment")
    monkeypatch.setenv("HIPPOMEM_SOMETHING_ELSE", "1")
    assert fast(namespace="given").settings.namespace == "given"
    assert fast().settings.namespace == "from the environment"


def test_a_slip_in_the_name_of_a_variable_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("HIPPOMEM_WORKER", "HIPPOMEM_LLM_APIKEY", "HIPPOMEM_DATA", "HIPPOMEM_PORT", "HIPPOMEM_MCP_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("hippomem_batch", "3")  # a name in small letters is ours, too
    for _ in range(2):
        assert load_settings().batch == 3
    told = [record.getMessage() for record in caplog.records]
    assert sorted(told) == [
        "the environment variable HIPPOMEM_LLM_APIKEY is no setting: is HIPPOMEM_LLM_API_KEY meant?",
        "the environment variable HIPPOMEM_WORKER is no setting: is HIPPOMEM_WORKERS meant?",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"batch = ",
        b"batch = 'many'",
        b"unknown = 1",
        b"[batch]\nx = 1",
        b"db = 5",
        b"\xff\xfe\x00",
        b"{}",
        b"batch = 0",
    ],
)
def test_files(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hippomem.toml").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"settings|hippomem\.toml"):
        Memory.open()
    assert [file.name for file in tmp_path.iterdir()] == ["hippomem.toml"]


def test_a_misspelt_setting_does_not_show_its_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hippomem.toml").write_text('llm_apikey = "sk-very-secret"', encoding="utf-8")
    with pytest.raises(InvalidInputError) as raised:
        Memory.open()
    assert str(raised.value) == "settings: hippomem.toml: there is no setting 'llm_apikey': is 'llm_api_key' meant?"
    assert "sk-very-secret" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:s3cret@host:5432/memories", "postgresql://ada:***@host:5432/memories"),
        ("postgresql://ada:s3c@/ret@host/memories", "postgresql://ada:***@host/memories"),
        ("postgresql://:s3cret@host/memories", "postgresql://:***@host/memories"),
        ("postgresql://ada@host/m?password=s3cret&port=1", "postgresql://ada@host/m?password=***&port=1"),
        ("postgresql://ada:s3cret@host/m?sslpassword=s3cret", "postgresql://ada:***@host/m?sslpassword=***"),
        ("postgresql://host:5432/m?password=s3c@s3cret", "postgresql://host:5432/m?password=***"),
        ("postgresql://host:5432/memories", "postgresql://host:5432/memories"),
        ("/home/ada/agent.db", "/home/ada/agent.db"),
    ],
)
def test_settings_are_shown_without_passwords(url: str, shown: str) -> None:
    settings = Settings(db=url, llm_base_url=url)
    for text in (repr(settings), str(settings), f"{[settings]}"):
        assert f"db='{shown}'" in text
        assert f"llm_base_url='{shown}'" in text
        assert "s3c" not in text
    assert settings.db == url


@pytest.mark.parametrize("llm", [5, object(), ["openai:test-model"]])
def test_what_is_no_chat_model(fast: Opened, llm: Any) -> None:
    with pytest.raises(InvalidInputError, match="llm"):
        fast(llm=llm)


def test_a_file_that_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hippomem.toml").write_text('namespace = "日本語"\nbatch = 7\n', encoding="utf-8")
    settings = load_settings(batch=8)
    assert (settings.namespace, settings.batch, settings.db) == ("日本語", 8, "hippomem.db")


@pytest.mark.slow
def test_odd_namespaces_are_namespaces_of_their_own(tmp_path: Path, fast: Opened) -> None:
    memories = [fast(namespace=name) for name in ODD_NAMES]
    for number, memory in enumerate(memories):
        memory.ingest([{"text": f"Visitor{i} came to Oslo in week {number}."} for i in range(70)])  # makes a snapshot
        memory.add("Ada is here.", source="same")
    for number, memory in enumerate(memories):
        found = memory.recall("Who came to Oslo?", 99).passages
        assert {p.text for p in found} == {
            "Ada is here.", *(f"Visitor{i} came to Oslo in week {number}." for i in range(70))
        }  # fmt: skip
        memory.close()
    folders = list((tmp_path / "m.db.views").iterdir())
    assert len(folders) == len(ODD_NAMES) == len(list((tmp_path / "m.db.views").rglob("manifest.json")))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.db", "m.db.views"]
    ids = set()
    for name in ODD_NAMES:
        memory = fast(namespace=name)
        ids |= set(memory.forget("same").ids)
        with pytest.raises(NotFoundError):
            memory.forget("same")
        assert memory.stats()["passages"] == 70
        assert memory.doctor().ok
    assert len(ids) == len(ODD_NAMES)


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["", " ", "x" * 256, "a\nb", "a\x00b", "\x7f", "\u200b", "\ud800", 5, ["x"]])
def test_what_is_no_namespace(tmp_path: Path, fast: Opened, name: Any) -> None:
    with pytest.raises(InvalidInputError, match="namespace"):
        fast(namespace=name)
    fast().add("Ada is here.")
    connection = sqlite3.connect(tmp_path / "m.db")
    assert connection.execute("SELECT name FROM namespaces").fetchall() == [("default",)]
    connection.close()


@pytest.mark.parametrize("encoder", [5, object(), ["all-MiniLM-L6-v2"]])
def test_what_is_no_encoder(fast: Opened, encoder: Any) -> None:
    with pytest.raises(InvalidInputError, match="encoder"):
        fast(encoder=encoder)


@pytest.mark.parametrize("pipeline", [5, object(), ["en_core_web_sm"], len])
def test_what_is_no_pipeline(fast: Opened, pipeline: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"pipeline must be .* not {type(pipeline).__name__}"):
        fast(pipeline=pipeline)


@pytest.mark.sqlite
def test_another_encoder_than_the_stores(tmp_path: Path, fast: Opened) -> None:
    memory = fast()
    other = fast(namespace="other")
    memory.add("Ada met Bea in Oslo.", title="Meeting")
    other.add("Cid met Dora in Bergen.")
    before = state(memory)
    with pytest.raises(EncoderMismatchError, match=r"'hash-64'.*'hash-32'.*hippomem reencode --db .*m\.db"):
        fast(encoder=HashEncoder(32))
    assert state(memory) == before
    assert Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(32)) == 2  # all namespaces
    for namespace, name in (("default", "Ada"), ("other", "Cid")):
        again = fast(encoder=HashEncoder(32), namespace=namespace)
        assert again.recall(f"Whom did {name} meet?", 1).passages[0].text.startswith(name)
        assert again.doctor().ok
        assert again.add("Ebba met Falk.").created
    assert Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(32)) == 0
    with pytest.raises(EncoderMismatchError, match="'hash-32'"):
        fast()
