"""Encoders: the packaged model against sentence-transformers itself, late chunking, windows, other encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from hippomem import InvalidInputError, Memory, ModelError
from hippomem.neocortex import model_folder, shared
from hippomem.neocortex.encoder_choice import choose_encoder
from hippomem.neocortex.langchain_encoder import LangChainEncoder
from hippomem.neocortex.late_chunking import marks_of, windows_of
from hippomem.neocortex.onnx_encoder import OnnxEncoder
from hippomem.neocortex.torch_encoder import SentenceTransformerEncoder
from hippomem.testing import capitals

TEXTS = [
    "Oslo\nOslo is the capital of Norway. Its harbour freezes rarely.",
    "A short one.",
    "Ada Thorne moved to Tromsø in 2021 to study the northern lights, and stayed for the winter fishing.",
]


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder()


def test_passage_vectors_are_those_of_sentence_transformers(minilm: SentenceTransformerEncoder) -> None:
    expected = minilm._model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    ours = np.stack([e.vector for e in minilm.encode_passages(TEXTS, [()] * len(TEXTS))])
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    np.testing.assert_allclose(minilm.encode_query(TEXTS[1]), expected[1], atol=1e-6)


def test_a_sentence_is_the_mean_of_its_tokens_in_context(minilm: SentenceTransformerEncoder) -> None:
    text = TEXTS[0]
    start = text.index("Its")
    (encoded,) = minilm.encode_passages([text], [[(0, 4), (start, len(text))]])
    tokens = minilm._model.encode([text], output_value="token_embeddings", show_progress_bar=False)[0].cpu().numpy()
    offsets = minilm._model.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    inside = [i for i, (a, b) in enumerate(offsets) if b > a and a >= start]
    mean = tokens[inside].mean(axis=0)
    np.testing.assert_allclose(encoded.sentences[1], mean / np.linalg.norm(mean), atol=1e-5)
    assert encoded.sentences.shape == (2, 384)


def test_what_lies_beyond_the_window_counts(minilm: SentenceTransformerEncoder) -> None:
    head = "The harbour froze over that winter. " * 60
    tail = "Penguins juggle oranges."
    plain, longer = minilm.encode_passages([head, head + tail], [(), [(len(head), len(head) + len(tail))]])
    assert not np.allclose(plain.vector, longer.vector, atol=1e-4)
    assert float(longer.sentences[0] @ minilm.encode_query(tail)) > 0.5
    assert np.linalg.norm(longer.vector) == pytest.approx(1.0, abs=1e-5)


def test_windows_hold_every_token_between_the_marks() -> None:
    ids, offsets = np.arange(100, 112), np.stack([np.arange(12), np.arange(1, 13)], axis=1)
    found = windows_of([1, *ids, 2, 3], np.array([(0, 0), *offsets, (0, 0), (0, 0)]), (1, 2), 8)
    assert found.windows == [[1, *range(100, 105), 2, 3], [1, *range(105, 110), 2, 3], [1, 110, 111, 2, 3]]
    assert [len(each) for each in found.offsets] == [8, 8, 5]
    inside = np.concatenate(found.offsets)
    np.testing.assert_array_equal(inside[inside[:, 1] > 0], offsets)
    assert windows_of([1, 2], np.zeros((2, 2), int), (1, 1), 8).windows == [[1, 2]]  # an empty text
    assert windows_of([7, 8, 9], np.zeros((3, 2), int), (0, 0), 2).windows == [[7, 8], [9]]


def test_marks_are_what_a_tokenizer_adds() -> None:
    assert marks_of([1, 0, 0, 1]) == (1, 1)
    assert marks_of([0, 0, 1, 1]) == (0, 2)
    assert marks_of([0]) == (0, 0)
    assert marks_of([]) == (0, 0)


@pytest.mark.parametrize("kind", [SentenceTransformerEncoder, OnnxEncoder])
def test_all_of_a_long_text_is_in_its_windows(kind: type[SentenceTransformerEncoder | OnnxEncoder]) -> None:
    text = " ".join(f"word{i}" for i in range(500))
    (tokens,) = kind()._tokenize([text])
    assert {len(window) for window in tokens.windows[:-1]} == {256}
    assert {(window[0], window[-1]) for window in tokens.windows} == {(101, 102)}
    offsets = np.concatenate(tokens.offsets)
    real = offsets[offsets[:, 1] > 0]
    assert "".join(text[start:end] for start, end in real) == text.replace(" ", "")


def test_the_batch_does_not_change_the_vectors(minilm: SentenceTransformerEncoder) -> None:
    together = minilm.encode_passages(TEXTS * 3, [()] * 9)
    for i, text in enumerate(TEXTS):
        (alone,) = minilm.encode_passages([text], [()])
        np.testing.assert_allclose(together[i].vector, alone.vector, atol=1e-5)


def test_a_packaged_file_that_is_not_the_published_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_LOADED", {})
    monkeypatch.setitem(model_folder.PACKAGED_FILES, "tokenizer.json", "0" * 64)
    with pytest.raises(ModelError, match="not the published file"):
        SentenceTransformerEncoder().encode_query("x")


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot load the encoder"):
        SentenceTransformerEncoder(str(tmp_path)).encode_query("x")


def test_a_langchain_embeddings_serves_as_encoder() -> None:
    embeddings = DeterministicFakeEmbedding(size=32)
    encoder = choose_encoder(embeddings)
    assert isinstance(encoder, LangChainEncoder)
    (encoded,) = encoder.encode_passages(["one. two."], [[(0, 4), (5, 9)]])
    assert encoded.vector.shape == (32,)
    assert encoded.sentences.shape == (2, 32)
    with Memory.open(":memory:", encoder=embeddings, pipeline=capitals()) as memory:
        event = memory.add("Ada met Bea.")
        assert memory.recall("Ada met Bea.").passages[0].id == event.id


def test_an_embeddings_that_holds_its_model_has_one_name(tmp_path: Path) -> None:
    class Holding(DeterministicFakeEmbedding):
        model: Any = None

    for _ in range(2):  # as two processes
        with Memory.open(tmp_path / "m.db", encoder=Holding(size=8, model=object()), pipeline=capitals()) as memory:
            memory.add("Ada met Bea.")
    assert choose_encoder(Holding(size=8, model="small")).identity.endswith("Holding:small")


def test_each_string_is_sent_to_an_embeddings_once() -> None:
    sent: list[str] = []

    class Counting(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            sent.extend(texts)
            return super().embed_documents(texts)

    choose_encoder(Counting(size=8)).encode_passages(["one. two.", "one. two."], [[(0, 4)], [(0, 4), (5, 9)]])
    assert sorted(sent) == ["one.", "one. two.", "two."]


@pytest.mark.parametrize("wrong", ["no vector", [], None, [[0.5]], [1.0, None], {"embedding": [1.0]}, "by length"])
def test_an_embeddings_that_gives_no_vectors_is_told(wrong: Any) -> None:
    class Wrong(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return [1.0] * (1 + len(text) % 5) if wrong == "by length" else wrong

    with Memory.open(":memory:", encoder=Wrong(size=8), pipeline=capitals()) as memory:
        with pytest.raises(ModelError, match="encoder"):
            memory.add("Ada met Bea.")
        assert not memory.passages()
        assert not memory.doctor().ok


def test_an_embeddings_that_fails_is_told() -> None:
    class Failing(DeterministicFakeEmbedding):
        is_there: bool = True

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            if not self.is_there:
                raise ConnectionError("the server is gone")
            return super().embed_query(text)

    embeddings = Failing(size=8)
    with Memory.open(":memory:", encoder=embeddings, pipeline=capitals()) as memory:
        memory.add("Ada met Bea.")
        embeddings.is_there = False
        for fails in (memory.add, memory.recall):
            with pytest.raises(ModelError, match="the server is gone"):
                fails("Bea met Cleo.")
        assert not memory.doctor().ok
        embeddings.is_there = True
        memory.add("Bea met Cleo.")


@pytest.mark.parametrize("wrong", ["", "  ", 7, object()])
def test_what_is_no_encoder_is_an_error(wrong: object) -> None:
    with pytest.raises(InvalidInputError, match="encoder"):
        choose_encoder(wrong)  # type: ignore[arg-type]


def test_nothing_is_encoded_twice(tmp_path: Path) -> None:
    """Not the same text from another source, not on a second ingest, not after an unrelated forget."""
    from hippomem import Document
    from hippomem.testing import HashEncoder

    encoded: list[str] = []

    class Counting(HashEncoder):
        def encode_passages(self, texts, spans):  # type: ignore[no-untyped-def]
            encoded.extend(texts)
            return super().encode_passages(texts, spans)

    with Memory.open(tmp_path / "m.db", encoder=Counting(), pipeline=capitals()) as memory:
        notes = [Document(text=f"Note {n} of Ada.", source=f"file{n % 2}") for n in range(10)]
        memory.ingest(notes)
        memory.ingest(notes)
        memory.ingest([Document(text=d.text, source="elsewhere") for d in notes])
        memory.forget("file0")
        memory.ingest([Document(text=d.text, source="again") for d in notes])
        assert sorted(encoded) == sorted(d.text for d in notes)
