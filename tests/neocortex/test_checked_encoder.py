"""Encoders that give wrong vectors, and models of one name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hippomem import EncoderMismatchError, Memory, ModelError, Settings
from hippomem.analyse import Text
from hippomem.neocortex.checked_encoder import Sample
from hippomem.neocortex.encoder import Encoded, Span, Vectors
from hippomem.testing import HashEncoder, capitals
from hippomem.workers.reading import Models, Reader

TEXT = "Ada met Bea in Oslo. Bea left."


class Renamed(HashEncoder):
    """Another model of the same name: what a folder of that name may hold elsewhere, or later."""

    identity = "hash-64"  # type: ignore[assignment]

    def _vector(self, text: str) -> Vectors:
        return np.roll(super()._vector(text), 1)


class Meddling(HashEncoder):
    """Spoils what it gives for the second text of a batch."""

    def __init__(self, spoil: Callable[[Encoded], Any]) -> None:
        super().__init__()
        self._spoil = spoil

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        first, *others = super().encode_passages(texts, spans)
        return [first, *(spoilt for encoded in others if (spoilt := self._spoil(encoded)))]


def opened(db: Path | str, encoder: HashEncoder) -> Memory:
    return Memory.open(str(db), encoder=encoder, pipeline=capitals())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: None,
        lambda e: replace(e, vector=e.vector * np.float32(np.nan)),
        lambda e: replace(e, vector=np.full_like(e.vector, np.inf)),
        lambda e: replace(e, vector=e.vector * 2),
        lambda e: replace(e, vector=e.vector[:32] / np.linalg.norm(e.vector[:32])),
        lambda e: replace(e, vector=e.vector[:0]),
        lambda e: replace(e, vector=e.vector[None]),
        lambda e: replace(e, vector=e.vector.astype(np.float64)),
        lambda e: replace(e, vector=e.vector.tolist()),
        lambda e: replace(e, sentences=e.sentences[1:]),
        lambda e: replace(e, sentences=e.sentences[0]),
        lambda e: replace(e, sentences=e.sentences * np.float32(np.nan)),
        lambda e: replace(e, sentences=np.repeat(e.sentences, 2, axis=1) / np.float32(2**0.5)),
    ],
    ids="missing nan infinite long short empty nested double list few flat nan_sentence long_sentence".split(),
)
def test_wrong_vectors_are_an_error_and_nothing_is_stored(spoil: Callable[[Encoded], Any]) -> None:
    with opened(":memory:", Meddling(spoil)) as memory:
        with pytest.raises(ModelError, match=r"the encoder 'hash-64' gave"):
            memory.ingest([{"text": "Cid sails."}, {"text": TEXT}])
        assert memory.stats()["passages"] == 0
        assert memory.add("Cid sails.").id


def test_a_wrong_vector_of_a_question_is_an_error() -> None:
    class Silent(HashEncoder):
        def encode_query(self, text: str) -> Vectors:
            return super().encode_query(text) * np.float32(np.nan)

    with opened(":memory:", Silent()) as memory:
        memory.add(TEXT)
        with pytest.raises(ModelError, match="finite"):
            memory.recall("Ada")


def test_what_was_wrong_once_is_no_measure(tmp_path: Path) -> None:
    class Recovering(HashEncoder):
        calls = 0

        def _vector(self, text: str) -> Vectors:
            self.calls += 1
            return np.full(32, np.nan, np.float32) if self.calls == 1 else super()._vector(text)

    with opened(tmp_path / "m.db", Recovering()) as memory:
        with pytest.raises(ModelError, match="finite"):
            memory.add(TEXT)
        assert memory.add(TEXT).id


def test_a_vector_of_zeros_is_one(tmp_path: Path) -> None:
    class Mute(HashEncoder):
        def _vector(self, text: str) -> Vectors:
            return np.zeros(64, np.float32)

    for _ in range(2):
        with opened(tmp_path / "m.db", Mute()) as memory:
            memory.add(TEXT)
            assert memory.recall("Ada met Bea").passages


def test_another_model_of_the_same_name_reads_and_writes_nothing(tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with opened(db, HashEncoder()) as memory:
        memory.add("x" * 3000)
        memory.add(TEXT, title="Meeting")
    with opened(db, Renamed()) as other:
        for use in (
            lambda: other.recall("Ada"),
            lambda: other.add("Cid sails."),
            lambda: other.ingest([{"text": "Cid sails."}]),
        ):
            with pytest.raises(EncoderMismatchError, match=r"has the same name.*hippomem reencode"):
                use()
        (failed,) = (check for check in other.doctor().checks if not check.ok)
        assert failed.name == "encoder"
        assert "has the same name" in failed.detail
        assert other.stats()["passages"] == 2
    with opened(db, HashEncoder()) as memory:
        assert memory.recall("Ada").passages[0].text == TEXT
        assert memory.doctor().ok


def test_what_was_updated_all_the_time_tells_another_model_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly all vectors are of what it was before."""
    monkeypatch.setattr("hippomem.sample.AMONG", 2)
    with opened(tmp_path / "m.db", HashEncoder()) as memory:
        memory.add("Ada is at home.")
        for place in ("school", "work", "sea", "lunch", "rest", "peace"):
            memory.update(memory.passages()[0].id, f"Ada is at {place}.")
    with opened(tmp_path / "m.db", Renamed()) as memory:
        with pytest.raises(EncoderMismatchError):
            memory.add(TEXT)
        assert len(memory.passages()) == 1


def test_a_worker_that_has_another_model_of_the_name_reads_nothing() -> None:
    def reader(text: str) -> Reader:
        sample = Sample(TEXT, HashEncoder().encode_query(text))
        return Reader(Models(HashEncoder(), "auto", "fp32", "auto", capitals(), "hash-64", sample).packed(), 4)

    assert reader(TEXT).read([Text("", "Cid sails.")]).error is None
    assert isinstance(reader("Dora sings.").read([Text("", "Cid sails.")]).error, EncoderMismatchError)


def test_two_models_of_one_name_in_a_new_store(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", HashEncoder()) as one, opened(tmp_path / "m.db", Renamed()) as other:
        assert not other.recall("Ada").passages  # there is nothing yet to know the model by
        one.add(TEXT)
        with pytest.raises(EncoderMismatchError):
            other.add("Cid sails.")


def test_a_store_is_encoded_anew_with_a_model_of_the_same_name(tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with opened(db, HashEncoder()) as memory:
        memory.add(TEXT, title="Meeting")
        memory.add("Cid sails.")
    assert Memory.reencode(db, encoder=HashEncoder()) == 0
    assert Memory.reencode(db, encoder=Renamed()) == 2
    assert Memory.reencode(db, encoder=Renamed()) == 0
    with opened(db, Renamed()) as other:
        assert other.recall("Ada").passages[0].text == TEXT
        assert other.doctor().ok
    with opened(db, HashEncoder()) as memory, pytest.raises(EncoderMismatchError):
        memory.recall("Ada")


def test_an_attempt_that_another_model_of_the_name_began_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippomem.reencode.BATCH", 1)
    db = tmp_path / "m.db"
    with opened(db, HashEncoder(32)) as memory:
        for text in (TEXT, "Cid sails.", "Dora sings."):
            memory.add(text)

    class Stopped(Renamed):
        calls = 0

        def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
            self.calls += 1
            if self.calls > 3:  # one of them to see that it made what is there
                raise KeyboardInterrupt
            return super().encode_passages(texts, spans)

    with pytest.raises(KeyboardInterrupt):
        Memory.reencode(db, encoder=Stopped())
    assert Memory.reencode(db, encoder=HashEncoder()) == 3
    with opened(db, HashEncoder()) as memory:
        assert memory.recall("Ada").passages[0].text == TEXT
        assert memory.doctor().ok


def test_an_export_of_another_model_of_the_same_name_is_not_mixed_in(tmp_path: Path) -> None:
    dump, db = tmp_path / "dump.jsonl", tmp_path / "m.db"
    with opened(tmp_path / "other.db", Renamed()) as other:
        other.add("x" * 3000)
        other.add("Cid sails.", title="Sea")
        other.export(dump)
    with opened(db, HashEncoder()) as memory:
        memory.add(TEXT)

    def load(where: str, encoder: HashEncoder) -> int:
        settings = Settings(encoder=encoder, pipeline=capitals())
        with Memory.load(dump, tmp_path / where, settings=settings) as loaded:
            return int(loaded.stats()["passages"])

    with pytest.raises(EncoderMismatchError, match=r"dump\.jsonl, although .* the same name"):
        load("m.db", HashEncoder())
    with pytest.raises(EncoderMismatchError, match="in this store"):
        load("m.db", Renamed())
    with opened(db, HashEncoder()) as memory:
        assert memory.stats()["passages"] == 1
    assert load("new.db", HashEncoder()) == 2  # nothing to compare with
    assert load("other.db", Renamed()) == 2
    with opened(tmp_path / "new.db", HashEncoder()) as memory, pytest.raises(EncoderMismatchError):
        memory.recall("Who sails?")


def test_the_sample_is_encoded_once(tmp_path: Path) -> None:
    class Counting(HashEncoder):
        calls = 0

        def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
            self.calls += 1
            return super().encode_passages(texts, spans)

    encoder = Counting()
    with opened(tmp_path / "m.db", encoder) as memory:
        memory.add(TEXT)
    for _ in range(2):
        encoder.calls = 0
        with opened(tmp_path / "m.db", encoder) as memory:
            assert encoder.calls == 0  # no model is loaded to open one
            memory.recall("Ada")
            memory.recall("Bea")
            assert encoder.calls == 1
