"""Plasticity rules that spare a part of the weights: by context, or by how prone to forgetting it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hippomem.neocortex.neural_memory.plasticity import RULES, Plasticity, with_weights

if TYPE_CHECKING:
    import torch

    from hippomem.neocortex.neural_memory.plasticity import Propose
    from hippomem.neocortex.neural_memory.titans import Step, Weights

__all__ = ["RULES", "ContextGates", "ForgettingProne"]  # RULES with these two in it


class ContextGates(Plasticity):
    """Context gates that freeze what a context does not use, after GateON (Barry, Gerstner and Bellec, 2025).

    A context is a region of the queries: the nearest of a few running prototypes of keys, found without labels. The
    relevance of an output unit to a context accumulates as |change x gradient|; a unit's plasticity in a context is
    its own relevance there over the largest that it has in any other, so that what other contexts use is frozen in
    this one. Units that are frozen in all contexts are opened again by the decay of relevance.
    """

    name = "gates"
    contexts, near, inertia, decay = 8, 0.6, 0.95, 0.999

    def step(self, weights: Weights, propose: Propose, keys: torch.Tensor) -> Step:
        import torch

        made, new = propose(weights), {}
        here = self._context(keys.mean(0))
        for name, w in weights.items():
            change = made.weights[name] - w
            relevance = self.state.get(f"relevance.{name}", w.new_zeros(self.contexts, len(w)))
            others = relevance.clone()
            others[here] = 0
            most = others.max(0).values
            free = torch.where(most > 0, (relevance[here] / most.clamp_min(1e-20)).clamp(0.05, 1.0), 1.0)
            new[name] = w + free[:, None] * change
            relevance = relevance * self.decay
            relevance[here] += (change * made.gradient[name]).abs().sum(1)
            self.state[f"relevance.{name}"] = relevance
        return with_weights(made, new)

    def _context(self, key: torch.Tensor) -> int:
        import torch

        unit = key / key.norm().clamp_min(1e-12)
        found = self.state.get("prototypes", key.new_zeros(self.contexts, len(key)))
        there = found.norm(dim=1) > 0
        likeness = torch.where(there, found @ unit / found.norm(dim=1).clamp_min(1e-12), -2.0)
        place = int(likeness.argmax())
        if likeness[place] < self.near and not bool(there.all()):
            place = int((~there).float().argmax())
            found[place] = unit
        else:
            found[place] = self.inertia * found[place] + (1 - self.inertia) * unit
        self.state["prototypes"] = found
        return place


class ForgettingProne(Plasticity):
    """k-FPF (Zhao et al., Does continual learning equally forget all parameters?, arXiv 2304.04158): most steps change
    everything; every `period` chunks the part that is most prone to forgetting is tuned once more, alone, on the chunk.
    Prone are the output units whose weights fluctuate most against how far they get.
    """

    name = "k-fpf"
    period, part = 4, 0.25

    def step(self, weights: Weights, propose: Propose, keys: torch.Tensor) -> Step:
        import torch

        made = propose(weights)
        steps = self.state.get("steps", torch.zeros((), device=keys.device)) + 1
        for name, w in made.weights.items():
            change = w - weights[name]
            self.state[f"path.{name}"] = self.state.get(f"path.{name}", w.new_zeros(len(w))) + change.norm(dim=1)
            self.state[f"way.{name}"] = self.state.get(f"way.{name}", torch.zeros_like(w)) + change
        self.state["steps"] = steps
        if int(steps) % self.period:
            return made
        again, new = propose(made.weights), {}
        for name, w in made.weights.items():
            prone = self.state[f"path.{name}"] - self.state[f"way.{name}"].norm(dim=1)
            tuned = torch.zeros_like(prone, dtype=torch.bool)
            tuned[prone.topk(max(1, int(self.part * len(w)))).indices] = True
            new[name] = torch.where(tuned[:, None], again.weights[name], w)
        return with_weights(made, new)


RULES |= {rule.name: rule for rule in (ContextGates, ForgettingProne)}
