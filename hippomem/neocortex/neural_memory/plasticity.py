"""Plasticity rules: how a proposed change of the slow map becomes the one that is made. Each with its source.

A rule sees the weights and a function that proposes a step from any weights, and returns the new weights. What it
remembers beside the weights is in `state`, plain tensors, so that it is saved, rolled back and rebuilt with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch

    from hippomem.neocortex.neural_memory.titans import Step, Weights

    Propose = Callable[[Weights], Step]


class Plasticity:
    """No rule: every proposed step is made as it is. The base of the others."""

    name: ClassVar[str] = "none"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.state: Weights = {}

    def step(self, weights: Weights, propose: Propose, keys: torch.Tensor) -> Step:  # noqa: ARG002
        """The step to make on a chunk whose keys are (n, d)."""
        return propose(weights)

    def end_round(self, weights: Weights) -> None:
        """A round of replay is over: the moment to consolidate."""

    def reading(self, weights: Weights) -> Weights:
        """The weights that recall reads with."""
        return weights


def with_weights(step: Step, weights: Weights) -> Step:
    """The step, leading to these weights instead."""
    return replace(step, weights=weights)


class EWC(Plasticity):
    """Rank-1 elastic weight consolidation (arXiv 2509.23593): λ/2 c* (μᵀ(θ - θ*))² with μ = E[g] over the last round
    and c* = E[(μᵀg)²] / ‖μ‖⁴. As μ is known only when its round is over, the expectation is along that of the round
    before (in the first round c* is 1). To be used with replay. The pull never overshoots θ*.
    """

    name = "ewc"
    strength = 1.0

    def step(self, weights: Weights, propose: Propose, keys: torch.Tensor) -> Step:
        import torch

        made = propose(weights)
        count = self.state.get("count", torch.zeros((), device=keys.device))
        for name, g in made.gradient.items():
            self.state[f"sum.{name}"] = self.state.get(f"sum.{name}", torch.zeros_like(g)) + g
            if f"mu.{name}" in self.state:  # against the direction that the round before fixed
                along = (self.state[f"mu.{name}"] * g).sum() ** 2
                self.state[f"square.{name}"] = self.state.get(f"square.{name}", torch.zeros_like(along)) + along
        self.state["count"] = count + 1
        new = {}
        for name, w in made.weights.items():
            mu, anchor = self.state.get(f"mu.{name}"), self.state.get(f"anchor.{name}")
            if mu is None or anchor is None:
                new[name] = w
                continue
            length = (mu**2).sum().clamp_min(1e-20)
            pull = (self.strength * self.state[f"fisher.{name}"] * length).clamp(max=1.0)
            new[name] = w - pull * ((mu * (w - anchor)).sum() / length) * mu
        return with_weights(made, new)

    def end_round(self, weights: Weights) -> None:
        count = float(self.state.pop("count", 0.0))
        for name, w in weights.items():
            total = self.state.pop(f"sum.{name}", None)
            square = self.state.pop(f"square.{name}", None)
            if total is None or not count:
                continue
            mu = total / count
            length = (mu**2).sum().clamp_min(1e-20)
            along = square / count if square is not None else length**2
            self.state |= {f"mu.{name}": mu, f"anchor.{name}": w.clone(), f"fisher.{name}": along / length**2}


class CLASSP(Plasticity):
    """CLASSP (arXiv 2405.09637): w -= α g / (ε + Σ|g_past|^p)^(1/p), element-wise, only where g² > threshold. Here the
    Titans step takes the place of α g, and ε that of the first scale, so that unused weights move as without a rule.
    """

    name = "classp"
    power, epsilon, threshold = 1.0, 1.0, 1e-10

    def step(self, weights: Weights, propose: Propose, keys: torch.Tensor) -> Step:  # noqa: ARG002
        import torch

        made, new = propose(weights), {}
        for name, w in made.weights.items():
            g = made.gradient[name]
            past = self.state.get(f"past.{name}", torch.zeros_like(g))
            stiff = (1 + past / self.epsilon) ** (1 / self.power)
            new[name] = weights[name] + torch.where(g**2 > self.threshold, (w - weights[name]) / stiff, 0.0)
            self.state[f"past.{name}"] = past + g.abs() ** self.power
        return with_weights(made, new)


class Metaplasticity(Plasticity):
    """Synapses of different stiffness (arXiv 2407.07133): each has a fixed f ~ U(0, 1), and its plasticity is
    1 - tanh²(s ((f - 1)/f)(w - w_init)): what has moved far, and has a small f, moves on less.
    """

    name = "metaplasticity"
    slope = 10.0

    def step(self, weights: Weights, propose: Propose, keys: torch.Tensor) -> Step:  # noqa: ARG002
        import torch

        made, new = propose(weights), {}
        source = torch.Generator().manual_seed(self.seed)
        for name, w in weights.items():
            f = self.state.get(f"f.{name}")
            if f is None:
                f = torch.rand(w.shape, generator=source, device=source.device).clamp_min(1e-3).to(w.device)
                self.state |= {f"f.{name}": f, f"first.{name}": w.clone()}
            free = 1 - torch.tanh(self.slope * ((f - 1) / f) * (w - self.state[f"first.{name}"])) ** 2
            new[name] = w + free * (made.weights[name] - w)
        return with_weights(made, new)


class DualMemory(Plasticity):
    """Two learners (I-LoRA, arXiv 2402.18865): θ_slow <- λ θ_slow + (1 - λ) θ_fast after each step; recall reads the
    slow one, new examples change the fast one.
    """

    name = "dual"
    keep = 0.9

    def step(self, weights: Weights, propose: Propose, keys: torch.Tensor) -> Step:  # noqa: ARG002
        made = propose(weights)
        for name, w in made.weights.items():
            slow = self.state.get(f"slow.{name}", weights[name])
            self.state[f"slow.{name}"] = self.keep * slow + (1 - self.keep) * w
        return made

    def reading(self, weights: Weights) -> Weights:
        return {name: self.state.get(f"slow.{name}", w) for name, w in weights.items()}


class Refresh(Plasticity):
    """Refresh learning (arXiv 2403.13249): first unlearn what the chunk holds, by a small step up its loss where the
    Fisher information is small, with noise; then learn it again from there.
    """

    name = "refresh"
    unlearn, noise, decay = 0.05, 1e-4, 0.95

    def step(self, weights: Weights, propose: Propose, keys: torch.Tensor) -> Step:
        import torch

        steps = self.state.get("steps", torch.zeros((), device=keys.device))
        source = torch.Generator().manual_seed(self.seed * 1_000_003 + int(steps))
        before, shaken = propose(weights), {}
        for name, w in weights.items():
            g = before.gradient[name]
            fisher = self.decay * self.state.get(f"fisher.{name}", g**2) + (1 - self.decay) * g**2
            self.state[f"fisher.{name}"] = fisher
            free = 1 / (1 + fisher / fisher.mean().clamp_min(1e-20))
            back = w - before.weights[name]
            jolt = self.noise * torch.randn(w.shape, generator=source, device=source.device).to(w.device)
            shaken[name] = w + free * (self.unlearn * back + jolt)
        self.state["steps"] = steps + 1
        return propose(shaken)


RULES: dict[str, type[Plasticity]] = {
    rule.name: rule for rule in (Plasticity, EWC, CLASSP, Metaplasticity, DualMemory, Refresh)
}
