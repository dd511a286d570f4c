"""Triples that come with documents: they join the graph, follow their document, and bad ones are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hippomem import Document, Memory, Triple
from hippomem.ingest.triples import read_triples, share_out
from hippomem.neocortex.extraction import LocalExtractor

TEXT = "Ada runs the mill near the old bridge."
OWNS = ("Ada", "owns", "the mill")
LIVES = ("Ada", "lives in", "Oslo")


def brought(memory: Memory) -> set[tuple[str, str, str]]:
    """The user's facts in the graph."""
    graph = memory.graph()
    names = graph.nodes(data="name")
    return {
        (names[a], data["relation"], names[b])
        for a, b, data in graph.edges(data=True)
        if data["kind"] == "fact" and data["extractor"] == "user"
    }


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


@pytest.mark.parametrize(
    "source",
    [
        Document(text=TEXT, source="s", triples=[OWNS, Triple(*LIVES), OWNS]),
        Document(text=TEXT, triples=(triple for triple in (OWNS, LIVES))),  # type: ignore[arg-type]
        {"text": TEXT, "Triples": [list(OWNS), list(LIVES)]},
    ],
)
def test_triples_of_documents_and_records(fast: Callable[..., Memory], source: Any) -> None:
    memory = fast()
    report = memory.ingest([source])
    assert (report.failed, report.passages) == ((), 1)
    assert brought(memory) == {OWNS, LIVES}
    assert memory.recall("Who lives in Oslo?").passages[0].entities == ("Oslo",)
    assert "triples" not in {key.lower() for key in memory.recall("Oslo").passages[0].metadata}
    assert memory.doctor().ok


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ([["Ada", "owns"]], "three non-empty strings"),
        ([["Ada", "owns", "a mill", "there"]], "three non-empty strings"),
        ([["Ada", "owns", " "]], "three non-empty strings"),
        ([["Ada", "owns", 3]], "three non-empty strings"),
        (["Ada owns a mill"], "three non-empty strings"),
        ("Ada, owns, a mill", "must be a list of triples"),
        (7, "must be a list of triples"),
        ([["Ada", "owns", "a\0mill"]], "NULs"),
    ],
)
def test_a_record_with_a_bad_triple_fails_alone(
    fast: Callable[..., Memory], tmp_path: Path, triples: Any, message: str
) -> None:
    memory = fast()
    bad = {"text": TEXT, "triples": triples}
    path = write(tmp_path / "r.jsonl", {"text": "A good one.", "triples": [list(OWNS)]}, bad, {"text": "And another."})
    for given in (path, [{"text": "A good one.", "triples": [OWNS]}, bad, Document(**bad), {"text": "And another."}]):
        report = memory.ingest(given)
        assert report.documents == 2
        assert report.failed
        assert all(message in failure.reason for failure in report.failed)
    assert brought(memory) == {OWNS}


def test_a_changed_file_replaces_its_triples(fast: Callable[..., Memory], tmp_path: Path) -> None:
    memory = fast()
    record = {"title": "Ada", "text": TEXT}
    path = write(tmp_path / "r.jsonl", record | {"triples": [OWNS]}, {"text": "Something else."})
    assert memory.ingest(path).facts >= 1
    assert memory.ingest(path).skipped == 2
    write(path, record | {"triples": [LIVES]}, {"text": "Something else."})
    report = memory.ingest(path)
    assert (report.passages, report.removed, report.failed) == (0, 0, ())
    assert brought(memory) == {LIVES}
    assert memory.doctor().ok
    write(path, record, {"text": "Something new."})  # says nothing about triples
    memory.ingest(path)
    assert brought(memory) == {LIVES}
    write(path, record | {"triples": []}, {"text": "Something new."})
    memory.ingest(path)
    assert brought(memory) == set()
    assert memory.doctor().ok


def test_a_text_that_comes_twice_has_the_triples_of_both(fast: Callable[..., Memory], tmp_path: Path) -> None:
    memory = fast()
    first, second = {"text": TEXT, "triples": [OWNS]}, {"text": TEXT, "triples": [LIVES]}
    path = write(tmp_path / "r.jsonl", first, second, {"text": TEXT})
    memory.ingest(path)
    assert (memory.stats()["passages"], brought(memory)) == (1, {OWNS, LIVES})
    other = fast(tmp_path / "other.db")
    for record in (first, second):  # records of a stream do not replace each other
        other.ingest(record)
    assert (other.stats()["passages"], brought(other)) == (1, {OWNS, LIVES})


def test_nothing_is_read_again_where_the_triples_are_known(
    fast: Callable[..., Memory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fast()
    unusable = ("Ada", "is", "the")  # no entity is called "the": never a fact
    path = write(tmp_path / "r.jsonl", {"text": TEXT, "triples": [OWNS, unusable]}, {"text": "Something else."})
    memory.ingest(path)
    write(path, {"text": TEXT, "triples": [OWNS, unusable]}, {"text": "Something new."})
    read: list[str] = []
    extract = LocalExtractor.extract
    monkeypatch.setattr(
        LocalExtractor, "extract", lambda self, texts, titles: (read.extend(texts), extract(self, texts, titles))[1]
    )
    memory.ingest(path)
    assert read == ["Something new."]
    assert memory.add(TEXT, source=path.resolve().as_posix(), triples=[OWNS]).created is False
    assert read == ["Something new."]


def test_an_interrupted_ingest_goes_on(
    fast: Callable[..., Memory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hippomem.storage import writes

    records = [{"text": f"Text number {i}.", "triples": [["Ada", "wrote", f"Poem {i}"]]} for i in range(6)]
    path = write(tmp_path / "r.jsonl", *records)
    memory = fast(settings=None, pipeline=None)
    memory.close()
    add, calls = writes.add_passages, []

    def broken(*args: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return add(*args, **named)

    monkeypatch.setenv("HIPPOMEM_BATCH", "3")
    memory = fast()
    monkeypatch.setattr(writes, "add_passages", broken)
    with pytest.raises(KeyboardInterrupt):
        memory.ingest(path)
    monkeypatch.undo()
    assert len(brought(memory)) == 3
    assert memory.ingest(path).passages == 3
    assert brought(memory) == {("Ada", "wrote", f"Poem {i}") for i in range(6)}
    assert memory.doctor().ok


def test_a_split_document_shares_its_triples_out(fast: Callable[..., Memory]) -> None:
    parts = ["Ada lives in Oslo. " * 20, "Bela lives in Pecs. " * 20, "Nobody is named here. " * 20]
    memory = fast()
    triples = [LIVES, ("Bela", "lives in", "Pecs"), ("Nobody", "knows", "Ada"), ("Zoe", "met", "Yan")]
    memory.ingest(Document(text="\n\n".join(parts), triples=triples))
    assert memory.stats()["passages"] > 1
    graph = memory.graph()
    for a, b, data in graph.edges(data=True):
        if data["kind"] == "fact" and data["relation"] == "lives in":
            text = graph.nodes[data["passage"]]["text"]
            assert graph.nodes[a]["name"] in text
            assert graph.nodes[b]["name"] in text
    assert ("Zoe", "met", "Yan") in brought(memory)


def test_sharing_out_by_hand() -> None:
    a, b, c, d = (Triple(*parts) for parts in (LIVES, ("Ada", "met", "Bela"), ("X", "is", "Y"), ("Bela", "of", "Z")))
    texts = ["ADA, from OSLO.", "Ada and Bela.", "Bela."]
    assert share_out([a, b, c, d], texts) == [[a, c], [b, d], [d]]
    assert share_out([a], ["no name"]) == [[a]]
    assert share_out([], ["one", "two"]) == [[], []]
    assert read_triples([OWNS, list(OWNS)]) == (Triple(*OWNS),)


@pytest.mark.timeout(30)
def test_a_book_with_a_triple_for_every_page_is_not_read_for_each_of_them() -> None:
    """Each name looked for in all texts takes minutes here."""
    texts = [f"Keeper {i:05} has lamp {i:05}." for i in range(20_000)]
    triples = [Triple(f"keeper {i:05}", "has", f"LAMP {i:05}") for i in range(20_000)]
    assert share_out(triples, texts) == [[triple] for triple in triples]
    assert share_out([Triple("No", "is", "KE"), Triple("7.", "is", "00")], texts[7:9]) == [
        [Triple("No", "is", "KE"), Triple("7.", "is", "00")],
        [Triple("No", "is", "KE")],
    ]  # names too short to have three characters in a row


def test_thousands_of_triples_brought_again_are_not_compared_one_by_one(
    fast: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fast()
    many = [("Ada", "wrote", f"Poem {i}") for i in range(1_000)]
    memory.add(TEXT, triples=many)
    compared = 0
    equal = Triple.__eq__

    def counted(self: Triple, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(self, other)

    monkeypatch.setattr(Triple, "__eq__", counted)
    assert memory.add(TEXT, triples=[*many, OWNS]).created is False
    assert compared < 20 * len(many)
    assert brought(memory) == {*many, OWNS}


def test_triples_that_are_not_between_two_names_are_told(fast: Callable[..., Memory]) -> None:
    memory = fast()
    none = [("X", "is", "5"), ("Ada", "is", "it"), ("Ada", "is", "the Ada")]
    event = memory.add(TEXT, triples=[OWNS, *none])
    assert [(t.subject, t.relation, t.object) for t in event.dropped] == none
    assert memory.add("Ada is here.", triples=[LIVES]).dropped == ()
    long = " ".join(f"Ada met X at Pier {number}." for number in range(300))
    report = memory.ingest([Document(text=long, source="s", triples=[LIVES, *none]), {"text": TEXT, "triples": none}])
    assert (report.dropped, report.failed) == (6, ())
    assert brought(memory) == {OWNS, LIVES}
