"""hippomem with one term or mechanism of its recipe left out, to see what each is worth.

`--system ablation` stands for `hippomem` and all of these; the differences are then `hippomem` minus each. A question
is encoded once for all of these, and each recalls it once: their costs are no measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hippomem import Recipe

HIPPOMEM = "hippomem"
ALL = "ablation"

WITHOUT: Mapping[str, Recipe] = {
    f"{HIPPOMEM}-without-{what}": recipe
    for what, recipe in {
        "walk": Recipe(walk=0),
        "named-walk": Recipe(named_walk=0),
        "walks": Recipe(walk=0, named_walk=0, title_hop=0),
        "names": Recipe(names=False),
        "spelling": Recipe(spelling=False),
        "unnamed": Recipe(unnamed=False),
        "sentence-seeds": Recipe(sentences=0),
        "passage-seeds": Recipe(passage_share=0),
        "reliance": Recipe(known=0),
        "cosine": Recipe(cosine=0, alone=0),
        "alone": Recipe(alone=0),
        "unmet": Recipe(unmet=0, met=1e-6),
        "words": Recipe(words=0),
        "words-once": Recipe(words_once=False),
        "brevity": Recipe(brevity=0),
        "terse": Recipe(terse=0),
        "title-hop": Recipe(title_hop=0),
        "turn-hop": Recipe(turn_hop=0),
        "teller": Recipe(teller=0),
        "asking": Recipe(asking=0),
        "speaker": Recipe(speaker=0),
        "crowding": Recipe(crowding=0),
        "near-likeness": Recipe(near_likeness=False),
        "near-words": Recipe(near_words=False),
        "neighbours": Recipe(near_likeness=False, near_words=False),
        "short-cuts": Recipe(everything=10**9),
    }.items()
}


def expanded(names: Iterable[str]) -> list[str]:
    """The systems' names, each once, with `ablation` taken apart."""
    found: list[str] = []
    for name in names:
        found += [HIPPOMEM, *WITHOUT] if name == ALL else [name]
    return list(dict.fromkeys(found))
