"""Models that put every text into a narrow cone: their vectors are centred, by means that the store keeps."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from sqlalchemy import text

from hippomem import EncoderMismatchError, Memory, Settings, SourceError
from hippomem.neocortex.centring import TEXTS, CentredEncoder, Means
from hippomem.neocortex.encoder_choice import resolve_encoder
from hippomem.testing import HashEncoder, capitals

NOTES = ("The grey machine wakes up when a tray is opened.", "Tickets are booked by Ms. Okafor.", "Bea likes tea.")


class Narrow(Embeddings):
    """Any two texts have a cosine of .75 and more, the less of them is their own (`apart`)."""

    def __init__(self, apart: float = 0.45, size: int = 64) -> None:
        self.apart, self.size = apart, size
        self.asked: list[str] = []

    def _vector(self, text: str, place: int) -> list[float]:
        common = np.zeros(self.size)
        common[[place, 7]] = 0.3, 1.0
        own = HashEncoder(self.size).encode_query(text)
        found = self.apart * own + (1 - self.apart**2) ** 0.5 * common / np.linalg.norm(common)
        return list(map(float, found / np.linalg.norm(found)))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [self._vector(text, 3) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(text)
        return self._vector(text, 5)


def opened(db: Path | str, embeddings: Embeddings) -> Memory:
    return Memory.open(db, encoder=embeddings, pipeline=capitals())


def cosines(encoder: object, texts: tuple[str, ...]) -> np.ndarray:
    vectors = np.stack([e.vector for e in encoder.encode_passages(texts, [()] * len(texts))])  # type: ignore[attr-defined]
    return np.asarray(vectors @ vectors.T)


def test_vectors_of_a_narrow_model_are_as_far_apart_as_those_of_another() -> None:
    encoder = resolve_encoder(Narrow())
    assert isinstance(encoder, CentredEncoder)
    assert cosines(encoder.encoder, NOTES)[~np.eye(3, dtype=bool)].min() > 0.75
    assert abs(cosines(encoder, NOTES)[~np.eye(3, dtype=bool)]).max() < 0.3
    (encoded,) = encoder.encode_passages(["Ada met Bea. Bea left."], [[(0, 12), (13, 22)]])
    assert np.linalg.norm(encoded.sentences, axis=1) == pytest.approx([1, 1], abs=1e-5)
    question = encoder.encode_query("Ada met Bea. Bea left.")
    assert question.dtype == encoded.vector.dtype == encoded.sentences.dtype == np.float32
    assert float(question @ encoded.vector) > 0.95


def test_vectors_that_point_everywhere_are_kept() -> None:
    encoder = resolve_encoder(DeterministicFakeEmbedding(size=64))
    assert isinstance(encoder, CentredEncoder)
    np.testing.assert_array_equal(cosines(encoder, NOTES), cosines(encoder.encoder, NOTES))
    assert not isinstance(resolve_encoder("all-MiniLM-L6-v2"), CentredEncoder)
    own = HashEncoder()
    assert resolve_encoder(own) is own


def test_the_store_keeps_what_was_measured_once(tmp_path: Path) -> None:
    first, later, elsewhere = Narrow(), Narrow(), Narrow()
    with opened(tmp_path / "m.db", first) as memory:
        for note in NOTES:
            memory.add(note)
        memory.export(tmp_path / "dump.jsonl")
        found = memory.recall("Who likes tea?", 3)
    assert first.asked.count(TEXTS[0]) == 1
    with opened(tmp_path / "m.db", later) as memory:
        again = memory.recall("Who likes tea?", 3)
        assert memory.doctor().ok
    settings = Settings(encoder=elsewhere, pipeline=capitals())
    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "copy.db", settings=settings) as memory:
        moved = memory.recall("Who likes tea?", 3)
        memory.add("Ada keeps herons.")
    for recall in (again, moved):
        assert [(p.text, p.score) for p in recall.passages] == [(p.text, p.score) for p in found.passages]
    assert TEXTS[0] not in later.asked + elsewhere.asked


def test_what_one_question_taught_stays_with_it(tmp_path: Path) -> None:
    """Where all questions are alike, each would take what any other one taught."""
    with opened(tmp_path / "m.db", Narrow()) as memory:
        events = [memory.add(note) for note in NOTES]
        memory.feedback(memory.recall("nothing comes out when I print"), useful=[events[0].id])
        (near,) = memory.recall("nothing comes out when you print", 1).passages
        assert near.id == events[0].id
        far = memory.recall("Who likes tea?", 3).passages
        assert far[0].id == events[2].id
        assert all(p.causes.get("learned", 0) == pytest.approx(0, abs=0.05) for p in far)


def test_another_model_has_means_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", Narrow()) as memory:
        memory.add(NOTES[0])
    wider = type("Wider", (Narrow,), {})(apart=0.3, size=32)
    assert Memory.reencode(tmp_path / "m.db", encoder=wider) == 1
    assert wider.asked.count(TEXTS[0]) == 1
    with opened(tmp_path / "m.db", wider) as memory:
        assert memory.recall("What wakes up?").passages[0].text == NOTES[0]
        assert memory.doctor().ok
        with memory._store.read() as connection:
            query = "SELECT count(*) FROM store_info WHERE key LIKE 'encoder_means_%'"
            assert connection.execute(text(query)).scalar() == 1
    assert wider.asked.count(TEXTS[0]) == 1


def far_apart(memory: Memory) -> bool:
    """Whether the vectors in the store are, as they are where the right mean was subtracted."""
    with memory._store.read() as connection:
        found = connection.execute(text("SELECT vector FROM analyses")).scalars()
        vectors = np.stack([np.frombuffer(vector, np.float32) for vector in found])
    return bool((vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)].max() < 0.5)


class Twin(Narrow):
    """Two models of one name, whose cones are opposite."""

    def __init__(self, sign: int = 1, size: int = 64) -> None:
        super().__init__(size=size)
        self.sign = sign

    def _vector(self, text: str, place: int) -> list[float]:
        return [self.sign * x for x in super()._vector(text, place)]


@pytest.mark.parametrize("size", [64, 32])
def test_means_without_vectors_are_those_of_nobody(tmp_path: Path, size: int) -> None:
    """They may be of another model of that name, whose only memory was forgotten, or whose encoding broke off."""
    with opened(tmp_path / "source.db", Twin(-1, size)) as memory:
        for note in NOTES:
            memory.add(note)
        memory.export(tmp_path / "dump.jsonl")
    for name in ("added.db", "loaded.db"):
        with opened(tmp_path / name, Twin()) as memory:
            memory.forget(memory.add(NOTES[0]).id)
    with opened(tmp_path / "added.db", Twin(-1, size)) as memory:
        for note in NOTES:
            memory.add(note)
        assert far_apart(memory)
    settings = Settings(encoder=Twin(-1, size), pipeline=capitals())
    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "loaded.db", settings=settings) as memory:
        assert far_apart(memory)
        assert memory.recall("Who likes tea?").passages[0].text == NOTES[2]
        assert memory.doctor().ok


def test_an_encoding_anew_that_broke_off_leaves_no_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "m.db", Narrow(apart=0.3, size=16)) as memory:
        for note in NOTES:
            memory.add(note)
    with monkeypatch.context() as patch:
        patch.setattr("hippomem.reencode.insert", Mock(side_effect=RuntimeError))
        with pytest.raises(RuntimeError):
            Memory.reencode(tmp_path / "m.db", encoder=Twin())
    Memory.reencode(tmp_path / "m.db", encoder=Twin(-1))
    with opened(tmp_path / "m.db", Twin(-1)) as memory:
        assert far_apart(memory)


def test_means_that_are_damaged_are_told(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", Narrow()) as memory:
        for note in NOTES:
            memory.add(note)
        with memory._store.write() as connection:
            connection.execute(text("UPDATE store_info SET value = 'AAA' WHERE key LIKE 'encoder_means_%'"))
    with opened(tmp_path / "m.db", Narrow()) as memory:
        with pytest.raises(EncoderMismatchError, match="damaged"):
            memory.recall("Who likes tea?")
        assert "damaged" in {check.name: check for check in memory.doctor().checks}["encoder"].detail
    assert Memory.reencode(tmp_path / "m.db", encoder=Narrow()) == 3
    with opened(tmp_path / "m.db", Narrow()) as memory:
        assert memory.doctor().ok


def test_an_export_with_vectors_of_many_dimensions_is_loaded(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", Narrow(size=16384)) as memory:
        memory.add(NOTES[0])
        memory.export(tmp_path / "dump.jsonl")
    settings = Settings(encoder=Narrow(size=16384), pipeline=capitals())
    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "copy.db", settings=settings) as memory:
        assert [p.text for p in memory.passages()] == [NOTES[0]]


def test_what_was_not_centred_is_told(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", Narrow()) as memory:
        memory.add(NOTES[0])
        memory.export(tmp_path / "dump.jsonl")
        with memory._store.write() as connection:  # as before
            connection.execute(text("UPDATE store_info SET value = replace(value, ' centred', '')"))
            connection.execute(text("DELETE FROM store_info WHERE key LIKE 'encoder_means_%'"))
        memory.export(tmp_path / "before.jsonl")
    with pytest.raises(EncoderMismatchError, match=r"before vectors were centred.*Memory\.reencode"):
        opened(tmp_path / "m.db", Narrow())
    with pytest.raises(EncoderMismatchError, match="before vectors were centred"):
        Memory.load(tmp_path / "before.jsonl", tmp_path / "copy.db", settings=Settings(encoder=Narrow()))
    assert Memory.reencode(tmp_path / "m.db", encoder=Narrow()) == 1
    with opened(tmp_path / "m.db", Narrow()) as memory:
        assert memory.doctor().ok


@pytest.mark.parametrize("is_new", [True, False])
def test_workers_centre_by_what_the_store_keeps(tmp_path: Path, is_new: bool) -> None:
    with opened(tmp_path / "m.db", Narrow()) as memory:
        if not is_new:
            memory.add(NOTES[0])
        notes = [{"text": f"Note {n} is about heron {n * n}."} for n in range(6)]
        settings = memory.settings.model_copy(update={"batch": 2})
    with Memory.open(tmp_path / "m.db", settings=settings) as memory:
        assert memory.ingest(notes, workers=1).passages == 6
        memory.export(tmp_path / "dump.jsonl")
        assert json.loads((tmp_path / "dump.jsonl").read_text().splitlines()[0])["means"]
        assert memory.doctor().ok
        (found,) = memory.recall("heron 25", 1, method="dense").passages
        assert found.text == "Note 5 is about heron 25."


@pytest.mark.parametrize("means", ["no base64", "AAAA", 5, Means(np.ones(3, np.float32), np.ones(3, np.float32)).text(),
                                   base64.b64encode(np.full((2, 64), np.nan, "<f4").tobytes()).decode()])  # fmt: skip
def test_means_that_cannot_be_are_refused(tmp_path: Path, means: object) -> None:
    with opened(tmp_path / "m.db", Narrow()) as memory:
        memory.add(NOTES[0])
        memory.export(tmp_path / "dump.jsonl")
    head, *lines = (tmp_path / "dump.jsonl").read_text().splitlines()
    wrong = json.loads(head) | {"means": means}
    (tmp_path / "wrong.jsonl").write_text("\n".join([json.dumps(wrong), *lines]) + "\n")
    with pytest.raises(SourceError):
        Memory.load(tmp_path / "wrong.jsonl", tmp_path / "copy.db", settings=Settings(encoder=Narrow()))
    assert not (tmp_path / "copy.db").exists()
