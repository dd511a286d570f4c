"""What FAISS computes for one question, and torch for one replay, is done by one thread: others would wait in loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np
import pytest
from child_tasks import records

from hippomem import Memory
from hippomem.hippocampus.lists import InvertedLists
from hippomem.hippocampus.sought import Sought
from hippomem.neocortex.neural_memory.slow_map import SlowMap
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
        view.likeness_of(np.arange(3), Sought(view.vectors.take(np.arange(1))[0]))  # type: ignore[union-attr]
    assert seen
    assert set(seen) == {1}
    seen.clear()

    vectors = np.eye(64, dtype=np.float32)
    lists = InvertedLists.build(lambda rows: vectors[rows], np.arange(64), 64)
    monkeypatch.setattr(type(lists._index), "search", noting(type(lists._index).search))
    assert len(lists.search(vectors[0], 3, np.ones(64, np.bool_)))
    assert seen == [1]
    assert faiss.omp_get_max_threads() == 3


def test_what_replay_and_forgetting_ask_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from hippomem.neocortex.neural_memory import dampening, titans

    seen: list[int] = []
    for module, name in ((titans, "chunkwise"), (dampening, "dampened")):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, of=function: (seen.append(torch.get_num_threads()), of(*a))[1])
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        learned = SlowMap(4)
        keys, values = np.eye(4, dtype=np.float32)[:2], np.eye(4, dtype=np.float32)[2:]
        assert learned.update(keys, values, np.ones(2, np.float32))
        learned.dampen((keys[:1], values[:1]), (keys[1:], values[1:]))
        assert seen == [1, 1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
