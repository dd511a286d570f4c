"""Ablations: the systems' names, and an encoder that remembers; windows around turns."""

from __future__ import annotations

import numpy as np

from hippomem import Recipe
from hippomem.testing import HashEncoder
from hippomem_eval.ablation import WITHOUT, expanded
from hippomem_eval.conversation_formats import Turn
from hippomem_eval.conversation_systems import CONVERSATION_SYSTEMS
from hippomem_eval.neighbourhood import neighbourhoods, widened
from hippomem_eval.remembering import Remembering
from hippomem_eval.systems import SYSTEMS


def test_ablation_stands_for_all_of_them() -> None:
    assert expanded(["dense", "ablation", "hippomem"]) == ["dense", "hippomem", *WITHOUT]
    assert WITHOUT.keys() <= SYSTEMS.keys()
    assert WITHOUT.keys() <= set(CONVERSATION_SYSTEMS)


def test_each_leaves_something_out() -> None:
    assert Recipe() not in WITHOUT.values()
    assert len(set(WITHOUT.values())) == len(WITHOUT)


def test_a_question_is_encoded_once() -> None:
    class Counting(HashEncoder):
        asked = 0

        def encode_query(self, text: str) -> np.ndarray:  # type: ignore[type-arg]
            self.asked += 1
            return super().encode_query(text)

    counting = Counting()
    remembering = Remembering(counting)
    first, second = remembering.encode_query("Who?"), remembering.encode_query("Who?")
    np.testing.assert_array_equal(first, second)
    assert (counting.asked, remembering.identity) == (1, counting.identity)


def test_windows_end_with_the_session() -> None:
    turns = [Turn(f"c/{s}{n}", "text", "c", session=s) for s in ("a", "b") for n in range(3)]
    around = neighbourhoods(turns, 1)
    assert around["c/a0"] == ("c/a0", "c/a1")
    assert around["c/a2"] == ("c/a1", "c/a2")
    assert around["c/b1"] == ("c/b0", "c/b1", "c/b2")
    assert widened(["c/b2", "c/b1", "other"], around) == ["c/b1", "c/b2", "c/b0", "other"]
