"""The graph for networkx: for exploring, drawing and GraphML, not for recall."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection

from hippomem.hippocampus.common import is_common
from hippomem.hippocampus.graph import LINES, edge_weight
from hippomem.hippocampus.keys import entity_key
from hippomem.hippocampus.view import View
from hippomem.storage import links, reads
from hippomem.types import Passage, Triple

if TYPE_CHECKING:
    import networkx


def as_networkx(view: View, connection: Connection, namespace: int) -> networkx.MultiDiGraph:
    """Nodes: passages by id (`kind`, `title`, `text`, `source`) and entities as "entity:key" (`kind`, `name`).

    Edges: passage → entity with `kind` "mentions", `weight` and `lines` (how many lines name it); entity → entity with
    `kind` "fact", `relation`, `passage`, `extractor`, and in ISO 8601,
    where that is known, `valid_from` and `invalid_at`.
    """
    import networkx

    graph = networkx.MultiDiGraph()
    rows = sorted((int(view.numbers[row]), row) for row in range(view.graph.rows) if view.graph.alive[row])
    numbers = [number for number, _ in rows]
    passages = reads.by_number(connection, namespace, numbers)
    names = links.names_in(connection, namespace, numbers)
    spelled: dict[str, dict[str, int]] = {}
    for own in names.values():
        for key, name in own.items():
            spelled.setdefault(key, {}).setdefault(name, 0)
            spelled[key][name] += 1
    # The commonest spelling, of equals the first in the alphabet: not the one that happened to come first.
    name_of = {key: min(forms, key=lambda name: (-forms[name], name)) for key, forms in spelled.items()}
    for number, _ in rows:
        p = passages[number]
        graph.add_node(p.id, kind="passage", title=p.title, text=p.text, source=p.source)
    for key in sorted(name_of):
        graph.add_node(f"entity:{key}", kind="entity", name=name_of[key])
    key_of = _keys(view)
    for number, row in rows:
        for entity, mask in view.graph.edges_of(row):
            if mask < 0 and is_common(view.graph.keys.key(entity)):
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


def _keys(view: View) -> dict[int, str]:
    """The key of each entity; of a common noun that of the name of a title which it could be."""
    graph = view.graph
    found: dict[int, str] = {}
    titles: dict[int, list[str]] = {}
    for row in range(graph.rows):
        edges = graph.edges_of(row)
        own = {entity: graph.keys.key(entity) for entity, _ in edges}
        found |= own
        titled = [entity for entity, mask in edges if mask < 0]
        names = [own[entity] for entity in titled if not is_common(own[entity])]
        for entity in titled:
            if is_common(own[entity]):
                titles.setdefault(entity, []).extend(names)
    return found | {entity: min(names, key=lambda name: (len(name), name)) for entity, names in titles.items()}


def _validity(fact: Triple, passage: Passage) -> dict[str, str]:
    """In words, and without what nobody said: GraphML has neither dates nor missing values."""
    is_said = fact.valid_from != passage.recorded_at
    times = {"valid_from": fact.valid_from if is_said else None, "invalid_at": fact.invalid_at}
    return {name: moment.isoformat() for name, moment in times.items() if moment is not None}
