"""The inner loop of push.py, compiled by numba on first use. Imported only from there, when it is needed.

The compiled code is kept beside this file, where that cannot be written to in the user's cache folder, and where
that cannot either it is compiled once a process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

GONE = 1e-6  # a sum of weights that is none: what subtracting leaves behind
TINY = 1e-200  # mass over an edge that is too near to 0 to tell from it
BLOCK = 64  # passages whose edges are fetched from memory at once
MASS, FLOW = 2, 3  # columns of Work.state
ONE, WORD = np.uint64(1), np.uint64(63)


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache
        return numba.njit(nogil=True)(function)


class Side(NamedTuple):
    """The edges as seen from the passages, or from the entities: those of the snapshot, then the log's.

    `starts` (nodes of the snapshot + 1), `others` and `weights` (edges,): compressed rows. `first` (nodes,), `link`,
    `log_others` and `log_weights` (edges of the log,): chains. `total` (nodes,): the sum of a node's weights, 0 where
    it is gone.
    """

    starts: NDArray[np.int64]
    others: NDArray[np.int32]
    weights: NDArray[np.float32]
    first: NDArray[np.int32]
    link: NDArray[np.int32]
    log_others: NDArray[np.int32]
    log_weights: NDArray[np.float32]
    total: NDArray[np.float64]


class Work(NamedTuple):
    """What a walk writes to for one kind of node: all 0 between walks, but for the lists, (nodes,) each.

    `state` (nodes, 4), so that all of a node comes from memory at once: in two columns the mass after this step and the
    next, by turns; in MASS the result; in FLOW what goes out of a node to the result of its neighbours over an edge of
    weight 1, summed over all steps. `flows` and `seen` (nodes / 64,): a bit for each node that has some flow, that was
    met; few enough to stay in the processor's cache.
    """

    state: NDArray[np.float64]
    flows: NDArray[np.uint64]
    seen: NDArray[np.uint64]
    now_list: NDArray[np.int32]
    then_list: NDArray[np.int32]
    seen_list: NDArray[np.int32]


@_compiled
def _push(
    side: Side,
    state: NDArray[np.float64],
    now: int,
    nodes: NDArray[np.int32],
    count: int,
    threshold: float,
    others: NDArray[np.float64],
    then: int,
    then_list: NDArray[np.int32],
) -> int:
    """Spread the mass of `nodes[:count]`, in the column `now` of their `state`, over their edges into the column `then`
    of `others`, but for nodes where little would go over an edge. Returns how many others it reached, listed in
    `then_list`.
    """
    reached = 0
    for i in range(count):
        node = nodes[i]
        if side.total[node] <= GONE:
            continue
        flow = state[node, now] / side.total[node]  # over an edge of weight 1
        if flow < threshold:
            continue
        if node < len(side.starts) - 1:
            for at in range(side.starts[node], side.starts[node + 1]):
                other = side.others[at]
                if others[other, then] == 0.0:
                    then_list[reached] = other
                    reached += 1
                others[other, then] += flow * side.weights[at]
        link = side.first[node]
        while link:
            other = side.log_others[link - 1]
            if others[other, then] == 0.0:
                then_list[reached] = other
                reached += 1
            others[other, then] += flow * side.log_weights[link - 1]
            link = side.link[link - 1]
    return reached


@_compiled
def _gather(side: Side, rows: NDArray[np.int32], count: int, others: Work, state: NDArray[np.float64]) -> int:
    """Add to the mass of `rows[:count]` the weighted sum of the flow over their edges.

    First one edge at each end of every row of a block is read: those loads do not wait for each other, as they would
    where each is followed by branches on what it brought. Returns their sum, which means nothing: what nobody could ask
    for would not be computed.
    """
    saved, read = len(side.starts) - 1, 0
    for first in range(0, count, BLOCK):
        block = rows[first : min(first + BLOCK, count)]
        for row in block:
            if row < saved and side.starts[row] < side.starts[row + 1]:
                read += side.others[side.starts[row]] + side.others[side.starts[row + 1] - 1]
        for row in block:
            if side.total[row] <= GONE:
                continue
            found = 0.0
            if row < saved:
                for at in range(side.starts[row], side.starts[row + 1]):
                    other = side.others[at]
                    if others.flows[other >> 6] >> (np.uint64(other) & WORD) & ONE:
                        found += side.weights[at] * others.state[other, FLOW]
            link = side.first[row]
            while link:
                found += side.log_weights[link - 1] * others.state[side.log_others[link - 1], FLOW]
                link = side.link[link - 1]
            state[row, MASS] += found
    return read


@_compiled
def _see(work: Work, nodes: NDArray[np.int32], count: int, seen: int) -> int:
    for i in range(count):
        node = nodes[i]
        bit = ONE << (np.uint64(node) & WORD)
        if not work.seen[node >> 6] & bit:
            work.seen[node >> 6] |= bit
            work.seen_list[seen] = node
            seen += 1
    return seen


@_compiled
def _start(work: Work, now: int, nodes: NDArray[np.int32], values: NDArray[np.float64]) -> int:
    count = 0
    for i in range(len(nodes)):
        if values[i] > 0.0:
            if work.state[nodes[i], now] == 0.0:
                work.now_list[count] = nodes[i]
                count += 1
            work.state[nodes[i], now] += values[i]
    return count


@_compiled
def walk(
    passages: Side,
    entities: Side,
    rows: Work,
    nodes: Work,
    row_seeds: NDArray[np.int32],
    row_values: NDArray[np.float64],
    node_seeds: NDArray[np.int32],
    node_values: NDArray[np.float64],
    damping: float,
    iterations: int,
    epsilon: float,
) -> tuple[int, int, int]:
    """See push.local_pagerank. Returns how many passages and entities were seen: the beginnings of both `seen_list`s,
    with their values in MASS; and what `_gather` does. The caller takes those and calls `reset`.
    """
    now, then = 0, 1
    on_rows, rows_list, rows_reached = rows.state, rows.now_list, rows.then_list
    on_nodes, nodes_list, nodes_reached = nodes.state, nodes.now_list, nodes.then_list
    rows_count = _start(rows, now, row_seeds, row_values)
    nodes_count = _start(nodes, now, node_seeds, node_values)
    rows_seen = _see(rows, row_seeds, len(row_seeds), 0)
    nodes_seen = _see(nodes, node_seeds, len(node_seeds), 0)
    power = 1.0
    for step in range(iterations + 1):
        share = power * (1.0 - damping if step < iterations else 1.0)
        if step == 0:  # what reaches passages later is gathered at the end
            for i in range(rows_count):
                on_rows[rows_list[i], MASS] = share * on_rows[rows_list[i], now]
        for i in range(nodes_count):
            on_nodes[nodes_list[i], MASS] += share * on_nodes[nodes_list[i], now]
        if step == iterations:
            break
        power *= damping
        onward = power * (1.0 - damping if step + 1 < iterations else 1.0)
        for i in range(nodes_count):
            node = nodes_list[i]
            if entities.total[node] > GONE:
                on_nodes[node, FLOW] += onward * on_nodes[node, now] / entities.total[node]
                nodes.flows[node >> 6] |= ONE << (np.uint64(node) & WORD)
        threshold = max(epsilon / power, TINY)
        rows_there = _push(entities, on_nodes, now, nodes_list, nodes_count, threshold, on_rows, then, rows_reached)
        nodes_there = _push(passages, on_rows, now, rows_list, rows_count, threshold, on_nodes, then, nodes_reached)
        rows_seen = _see(rows, rows_reached, rows_there, rows_seen)
        nodes_seen = _see(nodes, nodes_reached, nodes_there, nodes_seen)
        for i in range(rows_count):
            on_rows[rows_list[i], now] = 0.0
        for i in range(nodes_count):
            on_nodes[nodes_list[i], now] = 0.0
        now, then = then, now
        rows_list, rows_reached = rows_reached, rows_list
        nodes_list, nodes_reached = nodes_reached, nodes_list
        rows_count, nodes_count = rows_there, nodes_there
    read = _gather(passages, rows.seen_list, rows_seen, nodes, on_rows)
    return rows_seen, nodes_seen, read


@_compiled
def reset(work: Work, seen: int) -> None:
    """Leave everything as it was before the walk."""
    for i in range(seen):
        node = work.seen_list[i]
        for column in range(4):
            work.state[node, column] = 0.0
        work.flows[node >> 6] = 0
        work.seen[node >> 6] = 0
