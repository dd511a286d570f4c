"""The slow map: weights that learn, from replay, the way from queries to what was useful for them.

It begins as the identity. Reading takes numpy alone; torch is loaded when something is learned. All is
float32, and the same on every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hippomem.importing import import_whole
from hippomem.neocortex.device import check_device
from hippomem.neocortex.neural_memory.association import Floats
from hippomem.neocortex.neural_memory.networks import Kind, State, network_of
from hippomem.neocortex.neural_memory.titans import Gates
from hippomem.threads import one_torch_thread

if TYPE_CHECKING:
    import torch

CHUNK = 16
USUAL = 0.99  # inertia of the running mean of the loss


class Map(Protocol):
    """What the neural memory asks of a slow map or a chain of them."""

    def read(self, key: Floats) -> Floats:
        """M(k) - k: (d,) or (n, d)."""

    def update(self, keys: Floats, values: Floats, confidence: Floats) -> bool:
        """Learn pairs (n, d) in order, chunk by chunk. False, and nothing has changed, where a number is not finite."""

    def end_round(self) -> None:
        """A round of replay is over."""

    def dampen(self, forget: tuple[Floats, Floats], keep: tuple[Floats, Floats]) -> None:
        """Selective synaptic dampening for pairs to forget, (keys, values), against pairs to keep."""

    def arrays(self) -> State:
        """Everything it is, to be kept."""

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Be what `arrays` gave."""


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How a slow map is built and learns. `rule` is a name of RULES; `device` as torch takes it; with `periods` it is
    a chain of maps.
    """

    kind: Kind = "linear"
    gates: Gates = field(default_factory=Gates)
    rule: str = "none"
    chunk: int = CHUNK
    seed: int = 0
    device: str = "cpu"
    periods: tuple[int, ...] = ()


class SlowMap:
    """One network under the Titans rule and one plasticity rule."""

    def __init__(self, dimension: int, options: MapOptions | None = None) -> None:
        self.options = options or MapOptions()
        self.dimension = dimension
        self._network = network_of(self.options.kind, dimension)
        self._weights: State = self._network.initial(dimension, self.options.seed)
        self._momentum: State = {name: np.zeros_like(w) for name, w in self._weights.items()}
        self._rule: State = {}
        self._usual = 0.0
        self._reading: State = self._weights

    def read(self, key: Floats) -> Floats:
        """M(k) - k: (d,) or (n, d), in numpy."""
        return self._network.read(self._reading, key)

    def update(self, keys: Floats, values: Floats, confidence: Floats) -> bool:
        """Learn pairs (n, d) in order. Returns False, with everything as it was, where a number is not finite.

        Raises InvalidInputError where torch cannot compute on the device.
        """
        check_device(self.options.device, "neural_device")
        import torch

        from hippomem.neocortex.neural_memory.titans import chunkwise, is_finite

        with one_torch_thread(), torch.inference_mode():
            weights, momentum = self._tensors(self._weights), self._tensors(self._momentum)
            rule, usual = self._plasticity(), self._usual
            for first in range(0, len(keys), self.options.chunk):
                some = slice(first, first + self.options.chunk)
                k, v, c = (self._tensor(a[some]) for a in (keys, values, confidence))

                def propose(w: Any, k: Any = k, v: Any = v, c: Any = c, s: Any = momentum, u: float = usual) -> Any:
                    return chunkwise(self._network, w, s, k, v, c, self.options.gates, u)

                step = rule.step(weights, propose, k)
                state = (step.weights, step.momentum, rule.state, {"losses": step.losses})
                if not all(is_finite(part) for part in state):
                    return False
                weights, momentum = step.weights, step.momentum
                loss = float(step.losses.mean())
                usual = USUAL * usual + (1 - USUAL) * loss if usual else loss
            self._weights, self._momentum = self._numpy(weights), self._numpy(momentum)
            self._rule, self._usual = self._numpy(rule.state), usual
            self._reading = self._numpy(rule.reading(weights))
        return True

    def end_round(self) -> None:
        """A round of replay is over: the rule may consolidate."""
        if self.options.rule == "none":
            return
        import_whole("torch")
        import torch

        with one_torch_thread(), torch.inference_mode():
            rule, weights = self._plasticity(), self._tensors(self._weights)
            rule.end_round(weights)
            self._rule, self._reading = self._numpy(rule.state), self._numpy(rule.reading(weights))

    def dampen(self, forget: tuple[Floats, Floats], keep: tuple[Floats, Floats]) -> None:
        """Selective synaptic dampening: see dampening.py. Momentum and what the rule remembers begin anew."""
        import_whole("torch")
        import torch

        from hippomem.neocortex.neural_memory.dampening import dampened

        with one_torch_thread(), torch.inference_mode():
            pairs = [[self._tensor(a) for a in pair] for pair in (forget, keep)]
            weights = dampened(self._network, self._tensors(self._weights), pairs[0], pairs[1])
            self._weights = self._numpy(weights)
        self._momentum = {name: np.zeros_like(w) for name, w in self._weights.items()}
        self._rule, self._reading = {}, self._weights

    def arrays(self) -> State:
        """Weights, momentum, the rule's state, the running loss."""
        parts = {"weights": self._weights, "momentum": self._momentum, "rule": self._rule, "reading": self._reading}
        found = {f"{part}.{name}": array for part, own in parts.items() for name, array in own.items()}
        return found | {"usual": np.array(self._usual, np.float32)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Be what `arrays` gave. Raises KeyError or ValueError where they are of another map."""
        parts: dict[str, State] = {"weights": {}, "momentum": {}, "rule": {}, "reading": {}}
        for name, array in arrays.items():
            part, _, rest = name.partition(".")
            if rest:
                parts[part][rest] = np.array(array)
        shapes = {name: w.shape for name, w in self._weights.items()}
        for part in ("weights", "momentum", "reading"):
            if {name: w.shape for name, w in parts[part].items()} != shapes:
                raise ValueError("the weights are of another map")
        self._weights, self._momentum, self._rule = parts["weights"], parts["momentum"], parts["rule"]
        self._reading, self._usual = parts["reading"], float(arrays["usual"])

    def _plasticity(self) -> Any:
        from hippomem.neocortex.neural_memory import contexts  # noqa: F401 - adds its rules
        from hippomem.neocortex.neural_memory.plasticity import RULES

        rule = RULES[self.options.rule](self.options.seed)
        rule.state = self._tensors(self._rule)
        return rule

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        import torch

        return torch.tensor(np.ascontiguousarray(array), device=self.options.device)

    def _tensors(self, state: State) -> dict[str, torch.Tensor]:
        return {name: self._tensor(array) for name, array in state.items()}

    @staticmethod
    def _numpy(tensors: Mapping[str, torch.Tensor]) -> State:
        return {name: np.array(t.detach().cpu().numpy()) for name, t in tensors.items()}


class Chain:
    """Maps in a row at several timescales (continuum memory system of Nested Learning, arXiv 2512.24695).

    Each reads what the one before it made of the query; level l is updated every `periods[l]` examples.
    """

    def __init__(
        self, dimension: int, options: MapOptions | None = None, periods: Sequence[int] = (1, 16, 256)
    ) -> None:
        self.periods = tuple(periods)
        self._levels = [SlowMap(dimension, options) for _ in self.periods]
        self._waiting: list[list[tuple[Floats, Floats, float]]] = [[] for _ in self.periods]

    def read(self, key: Floats) -> Floats:
        """M(k) - k through all levels."""
        at = key
        for level in self._levels:
            at = at + level.read(at)
        return at - key

    def update(self, keys: Floats, values: Floats, confidence: Floats) -> bool:
        """Hand every pair to every level; a level that has its period full learns it. All levels or none change."""
        before = self.arrays()
        for pair in zip(keys, values, confidence.tolist(), strict=True):
            for waiting in self._waiting:
                waiting.append(pair)
            for place, (level, waiting) in enumerate(zip(self._levels, self._waiting, strict=True)):
                if len(waiting) < self.periods[place]:
                    continue
                inputs = np.stack([k for k, _, _ in waiting])
                for earlier in self._levels[:place]:
                    inputs = inputs + earlier.read(inputs)
                outputs, weights = np.stack([v for _, v, _ in waiting]), np.array([c for *_, c in waiting], np.float32)
                waiting.clear()
                if not level.update(inputs, outputs, weights):
                    self.restore(before)
                    return False
        return True

    def end_round(self) -> None:
        """A round of replay is over."""
        for level in self._levels:
            level.end_round()

    def dampen(self, forget: tuple[Floats, Floats], keep: tuple[Floats, Floats]) -> None:
        """Dampen each level for what reached it; what waits is dropped: it may hold what is to be forgotten."""
        inputs = forget[0], keep[0]
        for level, waiting in zip(self._levels, self._waiting, strict=True):
            waiting.clear()
            level.dampen((inputs[0], forget[1]), (inputs[1], keep[1]))
            inputs = inputs[0] + level.read(inputs[0]), inputs[1] + level.read(inputs[1])

    def arrays(self) -> State:
        """The arrays of all levels, and the pairs that wait."""
        found = {f"{n}/{name}": a for n, level in enumerate(self._levels) for name, a in level.arrays().items()}
        for n, waiting in enumerate(self._waiting):
            if waiting:
                rows = [np.concatenate([k, v, np.array([c], np.float32)]) for k, v, c in waiting]
                found[f"waiting/{n}"] = np.stack(rows).astype(np.float32)
        return found

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Be what `arrays` gave."""
        for n, level in enumerate(self._levels):
            level.restore({name.partition("/")[2]: a for name, a in arrays.items() if name.startswith(f"{n}/")})
            rows = arrays.get(f"waiting/{n}", np.empty((0, 0), np.float32))
            half = (rows.shape[1] - 1) // 2
            self._waiting[n] = [(row[:half].copy(), row[half:-1].copy(), float(row[-1])) for row in rows]


def map_of(dimension: int, options: MapOptions) -> Map:
    """The map, or the chain of maps, that the options ask for."""
    return Chain(dimension, options, options.periods) if options.periods else SlowMap(dimension, options)
