"""A memory's graph as a file that other programs read: GraphML (Gephi, yEd, Cytoscape) and node-link JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hippomem.cli_output import plain
from hippomem.errors import InvalidInputError, StoreAccessError

if TYPE_CHECKING:
    import networkx

ENDINGS = (".graphml", ".json")
# XML 1.0 can hold neither of these, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_ending(path: Path) -> None:
    """Raises InvalidInputError where the name does not tell the format."""
    if path.suffix.lower() not in ENDINGS:
        raise InvalidInputError(f"{path.name}: the file's ending tells the format; one of {', '.join(ENDINGS)}")


def write_graph(graph: networkx.MultiDiGraph, path: Path) -> None:
    """Write the graph, at once or not at all; the ending of `path` tells the format.

    GraphML has no lists, dates or missing values: lists and mappings become JSON, dates ISO 8601, what is missing is
    left out, and characters that XML forbids become U+FFFD. Raises InvalidInputError for another ending,
    or in the place of a database, a device or a pipe, StoreAccessError where the file cannot be written.
    """
    from hippomem.storage.files import written_whole

    check_ending(path)
    as_bytes = _graphml if path.suffix.lower() == ".graphml" else _node_link
    try:
        with written_whole(path) as file:
            file.write(as_bytes(graph))
    except OSError as error:
        raise StoreAccessError(f"{path} cannot be written: {error.strerror or error}") from error


def _graphml(graph: networkx.MultiDiGraph) -> bytes:
    import networkx as nx

    clean = nx.MultiDiGraph()
    clean.graph.update(_attributes(graph.graph))
    clean.add_nodes_from((_xml(str(node)), _attributes(data)) for node, data in graph.nodes(data=True))
    # Numbered anew: the keys of parallel edges become ids, which must be unique in the whole file.
    clean.add_edges_from(
        (_xml(str(start)), _xml(str(end)), f"e{number}", _attributes(data))
        for number, (start, end, data) in enumerate(graph.edges(data=True))
    )
    lines = nx.generate_graphml(clean)
    return ('<?xml version="1.0" encoding="utf-8"?>\n' + "\n".join(lines) + "\n").encode()


def _node_link(graph: networkx.MultiDiGraph) -> bytes:
    import networkx as nx

    # In ASCII, so that a lone surrogate in a name cannot make it impossible to write.
    return json.dumps(plain(nx.node_link_data(graph, edges="edges")), indent=1).encode()


def _attributes(data: dict[Any, Any]) -> dict[str, Any]:
    return {_xml(str(name)): _value(value) for name, value in data.items() if value is not None}


def _value(value: Any) -> str | bool | int | float:
    value = plain(value)
    if isinstance(value, (list, dict)):
        value = json.dumps(value, ensure_ascii=False)
    return _xml(value) if isinstance(value, str) else value


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
