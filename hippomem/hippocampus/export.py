"""The graph for networkx: for exploring, drawing and GraphML, not for recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import Connection

from hippomem.hippocampus.common import is_common
from hippomem.hippocampus.graph import LINES, edge_weight
from hippomem.hippocampus.keys import entity_key
from hippomem.hippocampus.view import View
from hippomem.storage import links, reads
from hippomem.types import Passage, Triple

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a view knows of the edges: for each passage, by number, its entities with the masks of the lines that name
    them; and the entities' keys. It is apart from the view, which goes on to change.
    """

    edges: Mapping[int, Sequence[tuple[int, int]]]
    keys: Mapping[int, str]


def drawn(view: View) -> Drawing:
    """The edges of a view as they are now."""
    rows = np.nonzero(view.graph.alive)[0]
    rows = rows[np.argsort(view.numbers[rows])]
    edges = view.graph.edges_of_rows(rows.tolist())
    entities = {entity for own in edges for entity, _ in own}
    keys = {entity: view.graph.keys.key(entity) for entity in entities}
    return Drawing(dict(zip(view.numbers[rows].tolist(), edges, strict=True)), keys)


def as_networkx(drawing: Drawing, connection: Connection, namespace: int) -> networkx.MultiDiGraph:
    """The graph of a drawing, in a transaction that equals the view that it is of.

    Nodes: passages by id (`kind`, `title`, `text`, `source`) and entities as "entity:key" (`kind`, `name`).

    Edges: passage → entity with `kind` "mentions", `weight` and `lines` (how many lines name it); entity → entity with
    `kind` "fact", `relation`, `passage`, `extractor`, and in ISO 8601, where that is known, `valid_from` and
    `invalid_at`.
    """
    import networkx

    graph = networkx.MultiDiGraph()
    numbers = list(drawing.edges)
    passages = reads.by_number(connection, namespace, numbers)
    names = links.names_in(connection, namespace, numbers)
    spelled: dict[str, dict[str, int]] = {}
    for own in names.values():
        for key, name in own.items():
            spelled.setdefault(key, {}).setdefault(name, 0)
            spelled[key][name] += 1
    # The commonest spelling, of equals the first in the alphabet: not the one that happened to come first.
    name_of = {key: min(forms, key=lambda name: (-forms[name], name)) for key, forms in spelled.items()}
    for number in numbers:
        p = passages[number]
        graph.add_node(p.id, kind="passage", title=p.title, text=p.text, source=p.source)
    for key in sorted(name_of):
        graph.add_node(f"entity:{key}", kind="entity", name=name_of[key])
    key_of = _keys(drawing)
    for number, edges in drawing.edges.items():
        for entity, mask in edges:
            if mask < 0 and is_common(drawing.keys[entity]):
                continue  # the title's name stands for it
            graph.add_edge(
                passages[number].id,
                f"entity:{key_of[entity]}",
                kind="mentions",
                weight=edge_weight(mask),
                lines=(mask & int(LINES)).bit_count(),
            )
    for number, facts in links.facts_of(connection, namespace, numbers).items():
        for fact in facts:
            graph.add_edge(
                f"entity:{entity_key(fact.subject)}",
                f"entity:{entity_key(fact.object)}",
                kind="fact",
                relation=fact.relation,
                passage=passages[number].id,
                extractor=fact.extractor,
                **_validity(fact, passages[number]),
            )
    return graph


def _keys(drawing: Drawing) -> dict[int, str]:
    """The key of each entity; of a common noun that of the name of a title which it could be."""
    titles: dict[int, list[str]] = {}
    for edges in drawing.edges.values():
        titled = [entity for entity, mask in edges if mask < 0]
        names = [drawing.keys[entity] for entity in titled if not is_common(drawing.keys[entity])]
        for entity in titled:
            if is_common(drawing.keys[entity]):
                titles.setdefault(entity, []).extend(names)
    clearest = {entity: min(names, key=lambda name: (len(name), name)) for entity, names in titles.items()}
    return {**drawing.keys, **clearest}


def _validity(fact: Triple, passage: Passage) -> dict[str, str]:
    """In words, and without what nobody said: GraphML has neither dates nor missing values."""
    is_said = fact.valid_from != passage.recorded_at
    times = {"valid_from": fact.valid_from if is_said else None, "invalid_at": fact.invalid_at}
    return {name: moment.isoformat() for name, moment in times.items() if moment is not None}
