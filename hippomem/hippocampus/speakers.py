"""Who talks in conversations, and what a question says but for their names.

Those who talk say "I" and "you". The name of one that a question asks about stands in what the others say to them, so
turns and notes are compared with the question without it: who tells a turn is for the graph to say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

import numpy as np

from hippomem.hippocampus.graph import KnowledgeGraph
from hippomem.hippocampus.keys import is_unspaced, plain
from hippomem.hippocampus.names import linked_names
from hippomem.hippocampus.recipe import Recipe
from hippomem.hippocampus.view import View


def speakers(graph: KnowledgeGraph, named: Iterable[int], recipe: Recipe) -> list[int]:
    """Those of some entities that so many passages have for a title that these are turns."""
    return [entity for entity in named if len(graph.titled(entity, recipe.hop_titles + 1)) > recipe.hop_titles]


def unnamed(view: View, question: str, recipe: Recipe) -> str | None:
    """The question without the names of those who talk; None where it names none, or asks nothing else."""
    if not (recipe.unnamed and recipe.names and view.chains.any):
        return None
    named = linked_names(question, view.graph.find)
    talking = [one for one in speakers(view.graph, named, recipe) if _speaks(view, one, recipe)]
    talking = talking or _addressed(view, named, recipe)
    rest = without_names(question, [named[entity] for entity in talking]) if talking else ""
    return rest if any(char.isalnum() for char in rest) else None


def without_names(question: str, names: Iterable[str]) -> str:
    """A question without these names, which are as `linked_names` gives them, nor the "'s" behind one."""
    text = unicodedata.normalize("NFC", question)
    # As long as the text, so that places are the same: what is plain of each character, else a space.
    level = "".join(as_plain if len(as_plain := plain(char)) == 1 else " " for char in text)
    for name in sorted(names, key=len, reverse=True):
        for found in reversed(list(_written(name).finditer(level))):
            text = f"{text[: found.start()]} {text[found.end() :]}"
            level = f"{level[: found.start()]} {level[found.end() :]}"
    return " ".join(text.split())


def _written(name: str) -> re.Pattern[str]:
    """A name as whole words, but in scripts without spaces."""
    begins, ends = "" if is_unspaced(name[0]) else r"(?<!\S)", "" if is_unspaced(name[-1]) else r"(?!\S)"
    return re.compile(f"{begins}{' +'.join(map(re.escape, name.split()))}{ends}(?: s(?!\\S))?")


def _speaks(view: View, entity: int, recipe: Recipe) -> bool:
    """Whether it is the title of turns, and not only of the parts of a document."""
    titled = view.graph.titled(entity, recipe.hop_titles + 1)
    return bool(view.chains.say_who(np.array(titled, np.int64)).any())


def _addressed(view: View, named: Mapping[int, str], recipe: Recipe) -> list[int]:
    """Those that so many passages name that they are talked to: where no turn says who speaks, nothing else tells."""
    least = max(recipe.hop_titles + 1, recipe.addressed * view.size)
    return [entity for entity in named if view.graph.frequency[entity] >= least]
