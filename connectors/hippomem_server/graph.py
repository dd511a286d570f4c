"""A part of the knowledge graph, to draw: what lies around one passage or one name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from hippomem import NotFoundError
from hippomem_server.routes import Opened, router

LABEL_CHARS = 80
MOST_NODES = 500
_ENTITY = "entity:"  # before the key of one
routes = router("graph")


class Node(BaseModel):
    """A passage, by its id, or a name, as `entity:` and its key. `distance` is in edges from where it began."""

    id: str
    kind: Literal["passage", "entity"]
    label: str
    distance: int


class Edge(BaseModel):
    """A passage names an entity, or a fact joins two; `passage` is the one that states it."""

    start: str
    end: str
    kind: Literal["mentions", "fact"]
    relation: str | None = None
    passage: str | None = None


class Neighbourhood(BaseModel):
    """Nodes, nearest first, and all edges between them. `is_cut` where there was more within the distance."""

    nodes: list[Node]
    edges: list[Edge]
    is_cut: bool


@routes.get("/graph", operation_id="graph", summary="What lies around a passage or a name")
def graph(
    memory: Opened,
    around: Annotated[str, Query(min_length=1, description="the id of a passage, or a name as it is written in one")],
    distance: Annotated[int, Query(ge=1, le=4, description="how many edges away")] = 2,
    limit: Annotated[int, Field(ge=1, le=MOST_NODES, description="how many nodes at most")] = 60,
) -> Neighbourhood:
    """The part of the knowledge graph around a passage or a name, nearest nodes first, no larger than `limit`."""
    whole = memory.graph()
    start = _start(whole, around)
    found = {start: 0}
    is_cut = False
    for node in _outwards(whole, start, found, distance):
        if len(found) >= limit:
            is_cut = True
            break
        found[node[0]] = node[1]
    nodes = [_node(id_, whole.nodes[id_], far) for id_, far in found.items()]
    part = whole.subgraph(found)
    edges = [_edge(one, other, data) for one, other, data in part.edges(data=True)]
    return Neighbourhood(nodes=nodes, edges=edges[: 10 * MOST_NODES], is_cut=is_cut or len(edges) > 10 * MOST_NODES)


def _start(whole: Any, around: str) -> str:
    if around in whole:
        return around
    name = around.casefold()
    for id_, data in whole.nodes(data=True):
        if data["kind"] == "entity" and name in (data["name"].casefold(), id_.removeprefix(_ENTITY).casefold()):
            return str(id_)
    raise NotFoundError(f"no passage has the id {around!r}, and none names it")


def _outwards(whole: Any, start: str, found: dict[str, int], distance: int) -> Iterator[tuple[str, int]]:
    """The nodes that are not yet found, ring by ring, with how far they are."""
    ring = [start]
    for far in range(1, distance + 1):
        wider: dict[str, None] = {}
        for node in ring:
            for near in (*whole.successors(node), *whole.predecessors(node)):
                if near not in found and near not in wider:
                    wider[near] = None
                    yield near, far
        ring = list(wider)


def _node(id_: str, data: dict[str, Any], far: int) -> Node:
    label = data["name"] if data["kind"] == "entity" else data["title"] or data["text"]
    cut = label if len(label) <= LABEL_CHARS else label[:LABEL_CHARS] + " …"
    return Node(id=id_, kind=data["kind"], label=cut, distance=far)


def _edge(start: str, end: str, data: dict[str, Any]) -> Edge:
    return Edge(start=start, end=end, kind=data["kind"], relation=data.get("relation"), passage=data.get("passage"))
