"""How a passage was found, in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hippomem import Memory


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Panama and Guyana welcomed Ana.", "Ana"),  # not the end of another word
        ("PANAMA WELCOMED ANA.", "ANA"),
        ("İzmir, İzmit, İnegöl: so far went Ana.", "Ana"),  # of which each is longer in small letters
        ("İzmir heard Ána.", "Ána"),
    ],
)
def test_a_name_is_told_as_the_passage_writes_it(fast: Callable[..., Memory], text: str, written: str) -> None:
    memory = fast()
    memory.add("Zoe Park met Ana.", title="Zoe Park")
    memory.add(text, title="Ports", triples=[])
    (path,) = (path for path in memory.recall("Whom did Zoe Park meet?").paths if len(path.steps) == 2)
    assert path.steps[1].entity == written


@pytest.mark.parametrize("size", [59, 60, 61, 200])
def test_what_has_no_title_is_told_by_how_it_begins(fast: Callable[..., Memory], size: int) -> None:
    memory = fast()
    text = f"Ada Thorne{'  '}sleeps".ljust(size + 1, "x")  # white space counts once
    memory.add(text)
    (path,) = memory.recall("Ada Thorne?").paths
    told = path.steps[0].passage_title
    assert len(told) == min(size, 60)
    assert " ".join(text.split()).startswith(told.removesuffix("…"))
    assert told.endswith("…") is (size > 60)
