"""The doubles that are shipped to users keep what the real ones promise."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from hippomem import Encoder, InvalidInputError
from hippomem.testing import HashEncoder, capitals

TEXTS = ["Ada met Bea in Oslo.", "", "?!", "ADA", "ada", "日本語 Москва", "a b c " * 1000, "\ud800"]


def test_it_is_an_encoder() -> None:
    assert isinstance(HashEncoder(), Encoder)
    assert HashEncoder().identity == "hash-64"
    assert HashEncoder(7).identity == "hash-7"


@pytest.mark.parametrize("dimension", [1, 2, 64, 1000])
def test_vectors_are_normalised_and_of_the_right_shape(dimension: int) -> None:
    encoder = HashEncoder(dimension)
    for text, encoded in zip(TEXTS, encoder.encode_passages(TEXTS, [[(0, 3), (4, 99)]] * len(TEXTS)), strict=True):
        assert encoded.vector.dtype == encoded.sentences.dtype == np.float32
        assert encoded.sentences.shape == (2, dimension)
        for vector in (encoded.vector, *encoded.sentences, encoder.encode_query(text)):
            assert vector.shape == (dimension,)
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert encoder.encode_passages(["Ada"], [[]])[0].sentences.shape == (0, dimension)


def test_vectors_depend_on_the_words_alone() -> None:
    encoder = HashEncoder()
    alone = [encoder.encode_passages([text], [[(0, 7)]])[0] for text in TEXTS]
    for one, other in zip(alone, encoder.encode_passages(TEXTS, [[(0, 7)]] * len(TEXTS)), strict=True):
        assert np.array_equal(one.vector, other.vector)
        assert np.array_equal(one.sentences, other.sentences)
    assert np.array_equal(encoder.encode_query("ADA met"), encoder.encode_query("met, ada!"))
    assert np.array_equal(alone[0].sentences[0], encoder.encode_query("Ada met"))
    assert encoder.encode_query("Ada") @ encoder.encode_query("Ada and Bea") > 0.5


def test_vectors_are_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from hippomem.testing import HashEncoder;"
        "print(hashlib.sha256(HashEncoder().encode_query('Ada met Bea in Oslo.').tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = HashEncoder().encode_query("Ada met Bea in Oslo.").tobytes()
    assert done.stdout.strip() == hashlib.sha256(ours).hexdigest()


@pytest.mark.parametrize("dimension", [0, -1, True, 1.5, "64", None])
def test_a_dimension_is_a_whole_number(dimension: Any) -> None:
    with pytest.raises(InvalidInputError, match="dimension"):
        HashEncoder(dimension)


def test_capitals_find_names_and_sentences() -> None:
    doc = capitals()("Yesterday Ada Thorne met Bea. They went to the Grey Heron.")
    assert [ent.text for ent in doc.ents] == ["Yesterday Ada Thorne", "Bea", "They", "Grey Heron"]
    assert len(list(doc.sents)) == 2
