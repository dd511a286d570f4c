"""Forgotten is gone: from every answer, and from every byte beside the database."""

from __future__ import annotations

import random
import shutil
import string
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from traces import plant, traces

from hippomem import Document, Memory, NotFoundError, StoreAccessError
from hippomem.hippocampus.view import View
from hippomem.neocortex.encoder import Encoded, Span, Vectors

Opened = Callable[..., Memory]


class NoiseEncoder:
    """Vectors without a zero, so that a few bytes of one occur nowhere else."""

    identity = "noise-64"

    def encode_query(self, text: str) -> Vectors:
        vector = np.random.default_rng(list(text.encode())).standard_normal(64).astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        return [
            Encoded(self.encode_query(text), np.array([self.encode_query(text[a:b]) for a, b in own], np.float32))
            for text, own in zip(texts, spans, strict=True)
        ]

    def bytes_of(self, text: str, title: str) -> Iterator[bytes]:
        """Pieces of all vectors that a passage of one sentence has in the store."""
        for whole in (
            self.encode_query(f"{title}\n{text}"),
            self.encode_query(text).astype(np.float16),
            self.encode_query(title).astype(np.float16),
        ):
            data = whole.tobytes()
            yield from (data[i : i + 16] for i in range(0, len(data) - 15, 16))


@pytest.fixture
def memory(fast: Opened) -> Memory:
    return fast(encoder=NoiseEncoder())


def word(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=9))


def notes(number: int) -> list[Document]:
    """Notes in which every name and most words occur once."""
    rng = random.Random(3)  # noqa: S311
    made = []
    for _ in range(number):
        one, two, title = (word(rng).title() for _ in range(3))
        text = f"{one} of {two} {word(rng)} the {word(rng)} and {word(rng)} " * rng.choice([1, 1, 4])
        made.append(Document(text=text.strip() + ".", title=title, source=f"/notes/{word(rng)}", session=word(rng)))
    return made


def needles(note: Document) -> list[bytes]:
    words = {w for w in note.text.strip(".").split() if len(w) == 9}
    found = [note.text, note.source, note.session or "", *words, *(w.lower() for w in words)]
    found += [note.title, note.title.lower()]
    return [text.encode() for text in found] + list(NoiseEncoder().bytes_of(note.text, note.title))


@pytest.mark.sqlite
def test_no_byte_of_what_is_forgotten_stays(memory: Memory, tmp_path: Path) -> None:
    """One after the other, out of a file in which rows have been moving about."""
    db = tmp_path / "m.db"
    held = notes(300)
    memory.ingest(held)
    assert list(tmp_path.rglob("manifest.json"))
    random.Random(4).shuffle(held)  # noqa: S311
    for note in held[:120]:  # gone without being forgotten: the rows around them move
        memory.ingest(Document(text="Nothing.", source=note.source))
    for note in held[120:140]:
        wanted = needles(note)
        assert len(traces(db, wanted)) >= len(wanted)
        gone = memory.forget(note.source)
        assert (gone.passages, gone.entities) == (1, 4)  # one is its session
        assert traces(db, wanted) == []
    assert memory.doctor().ok
    assert {p.source for p in memory.recall("nothing", 500).passages} == {
        note.source for note in held if note not in held[120:140]
    }
    memory.close()
    assert traces(db, [n for note in held[120:140] for n in needles(note)]) == []


@pytest.mark.sqlite
@pytest.mark.parametrize("has_snapshot", [True, False])
def test_a_process_that_only_forgets_makes_no_view_anew(
    fast: Opened, memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_snapshot: bool
) -> None:
    held = notes(100)
    memory.ingest(held)
    memory.close()
    if not has_snapshot:
        shutil.rmtree(tmp_path / "m.db.views")
    made: list[int] = []
    append = View.append
    monkeypatch.setattr(View, "append", lambda view, passages: made.append(len(passages)) or append(view, passages))
    other = fast(encoder=NoiseEncoder())
    assert other.forget(held[7].source).passages == 1
    assert made == []
    assert traces(tmp_path / "m.db", needles(held[7])) == []
    other.close()
    assert bool(list(tmp_path.rglob("manifest.json"))) == has_snapshot
    assert traces(tmp_path / "m.db", needles(held[7])) == []
    third = fast(encoder=NoiseEncoder())
    assert len(third.recall("nothing", 500).passages) == 99
    assert sum(made) == (0 if has_snapshot else 99)
    assert third.doctor().ok


@pytest.mark.sqlite
def test_a_memory_that_stays_open_has_a_snapshot_again_some_time_after_forgetting(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = notes(100)
    memory.ingest(held)
    for note in held[:5]:
        memory.forget(note.source)
        memory.recall("nothing")
    assert not list(tmp_path.rglob("manifest.json"))
    monkeypatch.setattr("hippomem.viewing.BARE_SECONDS", 0.0)
    memory.recall("nothing")
    assert memory._saver is not None
    memory._saver.join()
    (first,) = tmp_path.rglob("manifest.json")
    memory.recall("nothing")
    assert list(tmp_path.rglob("manifest.json")) == [first]
    assert traces(tmp_path / "m.db", [needle for note in held[:5] for needle in needles(note)]) == []


@pytest.mark.sqlite
def test_what_is_not_there_to_be_forgotten_costs_no_snapshot(fast: Opened, memory: Memory, tmp_path: Path) -> None:
    memory.ingest(notes(100))
    memory.close()
    for opened in (fast(encoder=NoiseEncoder()), fast(encoder=NoiseEncoder())):
        opened.recall("nothing")
        with pytest.raises(NotFoundError):
            opened.forget("nowhere.md")
        opened.close()
        assert list(tmp_path.rglob("manifest.json"))


@pytest.mark.sqlite
def test_what_the_database_left_in_unused_pages_goes_too(fast: Opened, memory: Memory, tmp_path: Path) -> None:
    event = memory.add("Ada hid the key.", title="Lantern Foundry")
    memory.close()
    plant(tmp_path / "m.db", b"Ada hid the key.")
    fast(encoder=NoiseEncoder()).forget(event.id)
    assert traces(tmp_path / "m.db", [b"Ada hid the key."]) == []


def test_a_source_is_forgotten_whole_by_its_path(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "docs" / "secret.md"
    file.parent.mkdir()
    file.write_text("# Ebba Lind\n\n" + "\n\n".join(f"Ebba Lind kept the ledger of Vessel{i}. " * 20 for i in range(9)))
    memory.ingest(file.parent)
    count = memory.stats()["passages"]
    assert count > 5
    memory.add("Ebba Lind lives in Oslo.")
    monkeypatch.chdir(tmp_path)
    file.rename(tmp_path / "moved.md")  # it need not be there any more
    assert memory.forget("docs/secret.md").passages == count
    assert memory.stats()["sources"] == 0
    names = [f"{v}essel{i}".encode() for v in "Vv" for i in range(9)]
    (tmp_path / "moved.md").rename(tmp_path.parent / f"{tmp_path.name}.md")
    assert traces(tmp_path / "m.db", [*names, b"ledger", b"secret.md"]) == []
    assert memory.recall("Where does Ebba Lind live?", 9).passages[0].entities == ("Ebba Lind",)
    with pytest.raises(NotFoundError):
        memory.forget("docs/secret.md")


def test_what_an_updated_memory_said_before_goes_with_it(memory: Memory, tmp_path: Path) -> None:
    versions = [f"The code of Ada is {code}." for code in ("Heron-4711", "Curlew-0815", "Plover-1234")]
    first = memory.add(versions[0])
    second = memory.update(first.id, versions[1])
    third = memory.update(second.id, versions[2])
    assert [c.text for c in memory.history(first.id)] == [None, versions[0], versions[1]]
    wanted = [v.encode() for v in versions] + [b"Heron-4711", b"Curlew-0815", b"Plover-1234", b"curlew", b"plover"]
    assert traces(tmp_path / "m.db", wanted)
    assert memory.forget(first.id).ids == (third.id,)  # by the id that it had first
    assert [(c.action, c.text) for c in memory.history(third.id)] == [
        ("add", None), ("update", None), ("update", None), ("forget", None),
    ]  # fmt: skip
    assert traces(tmp_path / "m.db", wanted) == []


def test_what_a_memory_said_before_goes_also_where_another_one_said_it_before(memory: Memory, tmp_path: Path) -> None:
    secret, now = "The code of Ada is Heron-4711.", ("Ada has another code.", "Ada has no code.")
    one, two = (memory.update(memory.add(secret).id, text) for text in now)
    memory.forget(one.id)
    assert [change.text for change in memory.history(two.id) if change.text] == []
    assert traces(tmp_path / "m.db", [secret.encode(), b"Heron-4711"]) == []
    assert [p.text for p in memory.passages()] == [now[1]]
    assert memory.doctor().ok


def test_the_users_triples_go_with_their_memory(memory: Memory, tmp_path: Path) -> None:
    event = memory.add("she said so", triples=[("Ebba Lind", "is betrothed to", "Falk Moen")])
    assert memory.forget(event).facts == 1
    assert traces(tmp_path / "m.db", [b"Ebba Lind", b"ebba lind", b"betrothed", b"Falk Moen", b"falk moen"]) == []


def test_what_others_hold_stays(memory: Memory) -> None:
    one = memory.add("Ada met Bea in Oslo.", source="one")
    two = memory.add("Ada met Bea in Oslo.", source="two")  # the same vectors
    three = memory.add("Bea went to Bergen.")
    assert memory.forget(one.id).entities == 0
    found = memory.recall("Where is Bea?", 9).passages
    assert {p.id for p in found} == {two.id, three.id}
    assert all(p.entities == ("Bea",) for p in found)
    assert memory.forget(two.id).entities == 2  # Ada and Oslo
    assert {n for n, kind in memory.graph().nodes(data="kind") if kind == "entity"} == {"entity:bea", "entity:bergen"}
    assert memory.doctor().ok


def test_what_was_forgotten_can_be_told_again(memory: Memory, tmp_path: Path) -> None:
    file = tmp_path / "ada.txt"
    file.write_text("Ada met Bea in Oslo.")
    for _ in range(3):
        event = memory.add("Ada met Bea in Oslo.")
        assert event.created
        assert memory.ingest(file).passages == 1
        assert len(memory.recall("Ada", 9).passages) == 2
        memory.forget(event.id)
        memory.forget(file.as_posix())
        assert memory.recall("Ada", 9).passages == ()
    assert [c.action for c in memory.history(event.id)] == ["add", "forget"] * 3
    assert memory.doctor().ok


def test_nothing_is_forgotten_where_the_views_cannot_be_removed(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.ingest(notes(80))
    before = memory.stats()
    target = memory.recall("something", 1).passages[0]
    monkeypatch.setattr("hippomem.hippocampus.snapshot.shutil.rmtree", lambda *_args, **_kwargs: None)
    with pytest.raises(StoreAccessError, match="cannot be removed"):
        memory.forget(target)
    assert memory.stats() == before
    monkeypatch.undo()
    assert memory.forget(target).passages == 1
