"""BM25 over a growing index: the formula, the words of other scripts, removing, compacting."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from hippomem.hippocampus import arrays
from hippomem.hippocampus.lexical import K1, B, LexicalIndex, terms, word_count

TEXTS = ["Ada painted a lake.", "Bea paints the lakes and the sea", "Cid sails", "北京大学 在北京", "", "the of and"]


def index_of(texts: list[str]) -> LexicalIndex:
    index = LexicalIndex()
    for text in texts:
        index.append(text, word_count(text))
    return index


def everything(index: LexicalIndex) -> np.ndarray:
    return np.ones(len(index.lengths), np.bool_)


def test_words_are_stemmed_and_stop_words_left_out() -> None:
    assert terms("The lakes were painted") == terms("lake paint")
    assert terms("the of and") == []
    assert terms("naïve Café") == terms("NAIVE cafe")


def test_scripts_without_spaces_match_in_parts() -> None:
    assert set(terms("北京")) < set(terms("北京大学"))
    assert word_count("北京大学") == 2
    assert word_count("Ada went home.") == 3


def test_the_score_is_bm25() -> None:
    index = index_of(TEXTS)
    lengths = [len(terms(text)) for text in TEXTS]
    average = sum(lengths) / len(TEXTS)
    scores = index.scores(terms("painting"), everything(index))
    for row in (0, 1):
        idf = math.log(1 + (len(TEXTS) - 2 + 0.5) / (2 + 0.5))
        expected = idf / (1 + K1 * (1 - B + B * lengths[row] / average))
        assert scores[row] == pytest.approx(expected, rel=1e-5)
    assert not scores[2:].any()
    assert not index.scores(terms("nowhere"), everything(index)).any()


def test_what_is_removed_counts_for_nothing() -> None:
    index, alive = index_of(TEXTS), np.ones(len(TEXTS), np.bool_)
    index.remove(1)
    alive[1] = False
    left = index_of([text for row, text in enumerate(TEXTS) if row != 1])
    words = terms("paint lake sea sail")
    np.testing.assert_allclose(index.scores(words, alive)[alive], left.scores(words, everything(left)), rtol=1e-6)


def test_the_words_of_a_question_tell_as_much_as_they_are_rare() -> None:
    index = index_of(TEXTS)
    alive = everything(index)
    rare, twice = math.log(1 + (len(TEXTS) + 0.5) / 0.5), math.log(1 + (len(TEXTS) - 2 + 0.5) / 2.5)
    assert index.rarities(terms("painting nowhere painting"), alive) == pytest.approx(rare + twice)
    assert index.rarities([], alive) == 0


def compacted(index: LexicalIndex, kept: list[int], folder: Path) -> dict[str, np.ndarray]:
    rows, counts = folder / "rows.npy", folder / "counts.npy"
    return {**index.compact(np.array(kept), rows, counts), "rows": np.load(rows), "counts": np.load(counts)}


@pytest.mark.parametrize("block", [arrays.BLOCK, 3])
def test_compacting_gives_the_same_arrays_however_it_grew(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = compacted(index_of(TEXTS), [0, 1, 2, 3, 4, 5], tmp_path)
    monkeypatch.setattr(arrays, "BLOCK", block)
    part = index_of(TEXTS[:3])
    grown = LexicalIndex(**compacted(part, [0, 1, 2], tmp_path))
    for text in ["gone", *TEXTS[3:]]:
        grown.append(text, word_count(text))
    grown.remove(3)
    again = compacted(grown, [0, 1, 2, 4, 5, 6], tmp_path)
    assert at_once.keys() == again.keys()
    for name, values in at_once.items():
        np.testing.assert_array_equal(values, again[name])
        assert values.dtype == again[name].dtype
    alive = np.array([True, True, True, False, True, True, True])
    words = terms("paint 北京")
    np.testing.assert_allclose(
        grown.scores(words, alive)[alive], index_of(TEXTS).scores(words, np.ones(6, np.bool_)), rtol=1e-6
    )
