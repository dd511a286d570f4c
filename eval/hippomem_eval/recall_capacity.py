"""How much a neural memory holds, what it costs, and that it stays stable: on made-up associations.

Keys and values are random unit vectors, so that nothing helps but memory. A cue is its key with noise, at a cosine of
.8; it is recalled where its own value is the nearest of all. Held is the largest number of associations of which more
than 90 % are recalled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.neocortex.neural_memory import Association, MapOptions, NeuralMemory, SlowMap
from hippomem.neocortex.neural_memory.contexts import RULES
from hippomem.neocortex.neural_memory.fast_store import FastStore

Floats = NDArray[np.float32]
HELD = 0.9
CUE = 0.8  # cosine of a cue with its key
PASSES = 8  # of replay, for what learns by replay


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityOptions:
    """Dimensions to try, the most associations to try, how many random events the stability test takes."""

    dimensions: tuple[int, ...] = (64, 128, 384)
    most: int = 4096
    events: int = 50_000
    seed: int = 0


def measure_capacity(options: CapacityOptions, tell: Callable[[str], None]) -> dict[str, Any]:
    """Capacity by kind and dimension, times, stability, and what each plasticity rule keeps."""
    capacity = []
    for dimension in options.dimensions:
        for kind, hold in (("store", _store), ("linear map", _map("linear")), ("perceptron", _map("mlp"))):
            held, floats = _largest(hold, dimension, options)
            capacity.append({"kind": kind, "dimension": dimension, "held": held, "floats": floats})
            tell(f"{kind}, {dimension} dimensions: {held:,} held")
    return {
        "capacity": capacity,
        "times_ms": _times(max(options.dimensions), options.seed),
        "stability": _stability(max(options.dimensions), options.events, options.seed),
        "rules": _rules(min(options.dimensions), options.seed),
        "held_at": HELD,
        "cue": CUE,
        "passes": PASSES,
        "seed": options.seed,
    }


def as_markdown(measured: dict[str, Any]) -> str:
    """Tables."""
    lines = ["| memory | dimensions | associations held | numbers | numbers for each |", "|---|---|---|---|---|"]
    for row in measured["capacity"]:
        each = f"{row['floats'] / row['held']:,.0f}" if row["held"] else "–"
        lines.append(f"| {row['kind']} | {row['dimension']} | {row['held']:,} | {row['floats']:,} | {each} |")
    lines += ["", "| ms | |", "|---|---|", *(f"| {k} | {v:.3f} |" for k, v in measured["times_ms"].items())]
    lines += ["", "| rule | recall of the first lot after the second | of the second |", "|---|---|---|"]
    for name, kept in measured["rules"].items():
        lines.append(f"| {name} | {100 * kept['first']:.1f} | {100 * kept['second']:.1f} |")
    stable = measured["stability"]
    lines += [
        "",
        f"{stable['events']:,} random events: {'all finite' if stable['finite'] else 'NOT FINITE'}, the largest weight "
        f"{stable['largest_weight']:.2f}, {stable['aborted']} updates aborted.",
    ]
    return "\n".join(lines) + "\n"


def _unit(rng: np.random.Generator, count: int, dimension: int) -> Floats:
    rows = rng.standard_normal((count, dimension)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _cues(rng: np.random.Generator, keys: Floats) -> Floats:
    noise = _unit(rng, len(keys), keys.shape[1])
    noise -= (noise * keys).sum(axis=1, keepdims=True) * keys
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(CUE * keys + np.sqrt(1 - CUE**2) * noise, np.float32)


def _recall(made: Floats, values: Floats) -> float:
    found = [int(np.argmax(values @ row)) for row in made]
    return float(np.mean(np.array(found) == np.arange(len(values))))


def _store(keys: Floats, values: Floats, cues: Floats) -> tuple[float, int]:
    store = FastStore()
    store.write(Association(n, key, value, (n,)) for n, (key, value) in enumerate(zip(keys, values, strict=True)))
    made = np.stack([cue + store.shift(store.attend(cue)) for cue in cues])
    return _recall(made, values), 2 * keys.size


def _map(kind: Any) -> Callable[[Floats, Floats, Floats], tuple[float, int]]:
    def hold(keys: Floats, values: Floats, cues: Floats) -> tuple[float, int]:
        slow = SlowMap(keys.shape[1], MapOptions(kind=kind))
        for _ in range(PASSES):
            slow.update(keys, values, np.ones(len(keys), np.float32))
        floats = sum(array.size for name, array in slow.arrays().items() if name.startswith("weights."))
        return _recall(cues + slow.read(cues), values), floats

    return hold


def _largest(hold: Callable[..., tuple[float, int]], dimension: int, options: CapacityOptions) -> tuple[int, int]:
    """By doubling, then halving the step: the largest number held, and the floats that it takes."""
    rng = np.random.default_rng(options.seed)
    keys, values = _unit(rng, options.most, dimension), _unit(rng, options.most, dimension)
    cues = _cues(rng, keys)
    held, floats, step = 0, 0, 8
    growing = True
    while step >= 4:
        count = min(options.most, held + step)
        recall, size = hold(keys[:count], values[:count], cues[:count])
        if recall > HELD:
            held, floats = count, size
            if count == options.most:
                break
        else:
            growing = False
        step = step * 2 if growing else step // 2
    return held, floats


def _times(dimension: int, seed: int) -> dict[str, float]:
    """Milliseconds of CPU time for each event or read."""
    rng = np.random.default_rng(seed)
    keys, values = _unit(rng, 10_000, dimension), _unit(rng, 10_000, dimension)
    held = [Association(n, keys[n], values[n], (n,)) for n in range(10_000)]
    ones = np.ones(256, np.float32)
    times: dict[str, float] = {}
    for chunk in (1, 16):
        slow = SlowMap(dimension, MapOptions(chunk=chunk))
        slow.update(keys[:16], values[:16], ones[:16])
        update = _clocked(partial(slow.update, keys[:256], values[:256], ones), 3)
        times[f"update of the map, an event, chunks of {chunk}"] = update / 256
    memory = NeuralMemory(dimension, 6)
    for count in (100, 1_000, 10_000):
        memory.learn(held[len(memory.store) : count])
        memory.read(keys[0])
        times[f"read, {count:,} stored"] = _clocked(lambda: [memory.read(key) for key in keys[:100]], 3) / 100
    memory.rehearse(range(64))
    memory.learn([Association(10_000, values[0], keys[0], (10_000,))])  # one has to leave: now the map is read, too
    times["read with the map, 10,000 stored"] = _clocked(lambda: [memory.read(key) for key in keys[:100]], 3) / 100
    return times


def _clocked(run: Callable[[], object], times: int) -> float:
    """Milliseconds of CPU time, the median of some runs."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        run()
        taken.append(1e3 * (time.process_time() - began))
    return float(np.median(taken))


def _stability(dimension: int, events: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    slow = SlowMap(dimension)
    aborted = 0
    for first in range(0, events, 1_000):
        count = min(1_000, events - first)
        keys, values = _unit(rng, count, dimension), _unit(rng, count, dimension)
        aborted += not slow.update(keys, values, rng.uniform(0.1, 1, count).astype(np.float32))
    arrays = slow.arrays()
    return {
        "events": events,
        "finite": all(bool(np.isfinite(array).all()) for array in arrays.values()),
        "largest_weight": float(np.abs(arrays["weights.w"]).max()),
        "aborted": int(aborted),
    }


def _rules(dimension: int, seed: int) -> dict[str, dict[str, float]]:
    """Recall of a first lot of associations after a second was learned, without replay of the first."""
    rng = np.random.default_rng(seed)
    count = dimension
    keys, values = _unit(rng, 2 * count, dimension), _unit(rng, 2 * count, dimension)
    kept = {}
    for rule in RULES:
        slow = SlowMap(dimension, MapOptions(rule=rule))
        for lot in (slice(0, count), slice(count, 2 * count)):
            for _ in range(PASSES):
                slow.update(keys[lot], values[lot], np.ones(count, np.float32))
            slow.end_round()
        made = keys + slow.read(keys)
        right = np.array([int(np.argmax(values @ row)) for row in made]) == np.arange(2 * count)
        kept[rule] = {"first": float(right[:count].mean()), "second": float(right[count:].mean())}
    return kept
