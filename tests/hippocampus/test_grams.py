"""The index of runs of words equals a plain dictionary, however often it was sorted, merged and saved."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hippomem.hippocampus import arrays, grams
from hippomem.hippocampus.grams import GramIndex
from hippomem.hippocampus.names import key_hashes

KEYS = [f"key {number}" for number in range(60)]


def written(index: GramIndex, new_row: NDArray[np.int32]) -> list[NDArray[Any]]:
    """The arrays of a snapshot."""
    columns = [np.concatenate(column) for column in zip(*index.blocks(new_row), strict=True)]
    assert [len(column) for column in columns] == [index.size(new_row)] * 3
    return columns


@pytest.mark.parametrize("size", [1, 2, 5, 40, 10**6])
def test_it_equals_a_dictionary(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grams, "SORTED_FROM", size)
    monkeypatch.setattr(arrays, "BLOCK", 3 * size)
    rng = random.Random(size)  # noqa: S311
    index, expected = GramIndex(), {key: [] for key in KEYS}
    for row in range(200):
        found = {key: rng.choice((1, 6, (1 << 63) - 1)) for key in rng.sample(KEYS, rng.randrange(8))}
        index.add(row, key_hashes(found), found.values())
        for key, lines in found.items():
            expected[key].append((row, lines))
        if row in (70, 140):  # as after a snapshot, in which every third passage is gone
            new_row = np.where(np.arange(row + 1) % 3 == 0, -1, np.arange(row + 1)).astype(np.int32)
            index = GramIndex(*written(index, new_row))
            expected = {key: [hit for hit in hits if hit[0] % 3] for key, hits in expected.items()}
    for key in [*KEYS, "never seen"]:
        assert sorted(index.find(key)) == expected.get(key, [])
        assert all(type(value) is int for hit in index.find(key) for value in hit)


def test_there_are_few_runs_and_what_is_saved_is_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grams, "SORTED_FROM", 10)
    index = GramIndex()
    for row in range(1000):
        index.add(row, key_hashes([f"key {row % 77}", f"key {row % 13}"]), [1, 2])
    assert len(index._runs) <= 9
    hashes, rows, lines = written(index, np.arange(1000, dtype=np.int32))
    entries = list(zip(hashes.tolist(), rows.tolist(), strict=True))
    assert entries == sorted(entries)
    assert (hashes.dtype, rows.dtype, lines.dtype) == (np.uint64, np.int32, np.int64)
