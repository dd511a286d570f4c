"""What FAISS computes for one question is done by one thread: others would wait in loops, one on each processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np
import pytest
from child_tasks import records

from hippomem import Memory
from hippomem.hippocampus.lists import InvertedLists
from hippomem.threads import one_thread


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    yield
    faiss.omp_set_num_threads(before)


def test_it_is_the_calling_threads_own_again() -> None:
    with one_thread():
        assert faiss.omp_get_max_threads() == 1
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert faiss.omp_get_max_threads() == 3


def test_what_a_recall_asks_of_faiss(fast: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            seen.append(faiss.omp_get_max_threads())
            return function(*args, **kwargs)

        return called

    monkeypatch.setattr(faiss, "fvec_inner_products_by_idx", noting(faiss.fvec_inner_products_by_idx))
    memory = fast()
    memory.ingest(records(60))
    memory.recall("Whom did Ada Thorne meet?", 1, session="none")
    with memory._held() as (view, _):
        view.likeness_of(np.arange(3), view.vectors.take(np.arange(1))[0])  # type: ignore[union-attr]
    assert seen
    assert set(seen) == {1}
    seen.clear()

    vectors = np.eye(64, dtype=np.float32)
    lists = InvertedLists.build(lambda rows: vectors[rows], np.arange(64), 64)
    monkeypatch.setattr(type(lists._index), "search", noting(type(lists._index).search))
    assert len(lists.search(vectors[0], 3, np.ones(64, np.bool_)))
    assert seen == [1]
    assert faiss.omp_get_max_threads() == 3
