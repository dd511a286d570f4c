"""How far a memory is trusted, from its provenance: from 0, not at all, to 1."""

from __future__ import annotations

from collections.abc import Mapping

from hippomem.types import Passage

TRUSTED = 0.5  # less than that is not learned again while there is too much to do


def trust_of(passage: Passage, by_source: Mapping[str, float]) -> float:
    """What its own metadata say (`trust`), else what is set for its source, or for the longest name that ends with a
    slash and that it lies below; 1 where nothing is said."""
    own = passage.metadata.get("trust")
    if isinstance(own, int | float) and not isinstance(own, bool) and 0 <= own <= 1:
        return float(own)
    names = [n for n in by_source if n == passage.source or (n.endswith("/") and passage.source.startswith(n))]
    return by_source[max(names, key=len)] if names else 1.0
