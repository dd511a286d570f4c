"""The Titans rule: weights that learn at test time, by the gradient of their error (arXiv 2501.00663, section 3).

    l = |M(k) - v|^2      S_t = η_t S_(t-1) - θ_t ∇l(M_(t-1); k_t, v_t)      M_t = (1 - α_t) M_(t-1) + S_t

The gradient is the surprise, η the momentum of earlier surprise, θ the step, α what is forgotten. `chunkwise` takes all
gradients of a chunk where it begins, so that they are one product of matrices, and the recurrence, linear then, is
solved in closed form (section 3.2). A chunk of one is the recurrence itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Weights = dict[str, torch.Tensor]
    Gradients = tuple[Callable[[torch.Tensor], Weights], torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Gates:
    """Constants of the rule. Each can follow surprise: at s times the usual loss, the gate is s^`by_surprise` as wide.

    `step` is relative: 0.1 takes 2 x 0.1 of the error off where nothing interferes. `momentum` and `forgetting` lie in
    [0, 1); measured, both are best at 0, where what was once learned matters as much as what comes.
    """

    step: float = 0.1
    momentum: float = 0.0
    forgetting: float = 0.0
    by_surprise: float = 0.0


class Network(Protocol):
    """A memory M(k) with its weights, and the gradient of |M(k) - v|^2 by hand: autograd is its oracle in the tests."""

    def apply(self, weights: Weights, keys: torch.Tensor) -> torch.Tensor:
        """M(k) for keys (n, d): (n, d)."""

    def gradients(self, weights: Weights, keys: torch.Tensor, values: torch.Tensor) -> Gradients:
        """A function from coefficients (n,) to Σ c_i ∇l_i; the losses (n,); the curvature (n,): by how much of itself,
        to first order, a unit step reduces the residual of its own example.
        """


@dataclass(frozen=True, slots=True)
class Step:
    """Where a chunk leads: new weights and momentum, the losses (n,) before it, the mean gradient."""

    weights: Weights
    momentum: Weights
    losses: torch.Tensor
    gradient: Weights


def chunkwise(
    network: Network,
    weights: Weights,
    momentum: Weights,
    keys: torch.Tensor,
    values: torch.Tensor,
    confidence: torch.Tensor,
    gates: Gates,
    usual: float = 0.0,
) -> Step:
    """One chunk (n, d) in closed form. The last chunk of a sequence may be shorter; it counts all the same.

    `usual` is the running mean of the loss, for gates that follow surprise. The steps θ_i are normalised by the
    curvature and, where keys of a chunk are alike, by how much they add up: their sum never overshoots.
    """
    import torch

    combine, losses, curvature = network.gradients(weights, keys, values)
    theta, eta, alpha = gate_values(losses, curvature, confidence, keys, gates, usual)
    count = len(keys)
    # γ_j = Π_(l>j) (1 - α_l): what is left at the end of what was added at j;  u_i = γ_i + η_(i+1) u_(i+1).
    left = torch.ones(count + 1, device=keys.device)
    carried = torch.ones(count + 1, device=keys.device)
    effect = torch.zeros(count + 1, device=keys.device)
    for i in range(count - 1, -1, -1):
        later = i + 1 < count
        effect[i] = left[i + 1] + (eta[i + 1] * effect[i + 1] if later else 0.0)
        left[i] = left[i + 1] * (1 - alpha[i])
        carried[i] = eta[i + 1] * carried[i + 1] if later else 1.0
    change = combine(theta * effect[:count])
    speed = combine(theta * carried[:count])
    first = eta[0] * effect[0]  # of the momentum that the chunk began with
    kept = eta[0] * carried[0]
    return Step(
        {name: left[0] * w + first * momentum[name] - change[name] for name, w in weights.items()},
        {name: kept * momentum[name] - speed[name] for name in weights},
        losses,
        combine(torch.full((count,), 1.0 / count, device=keys.device)),
    )


def gate_values(
    losses: torch.Tensor,
    curvature: torch.Tensor,
    confidence: torch.Tensor,
    keys: torch.Tensor,
    gates: Gates,
    usual: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """θ, η and α of each example, (n,) each."""
    import torch

    wide = torch.ones_like(losses)
    if gates.by_surprise and usual > 0:
        wide = (losses / usual).clamp(1 / 16, 16) ** gates.by_surprise
    norms = keys.norm(dim=1).clamp_min(1e-12)
    alike = (keys @ keys.T).abs() / (norms[:, None] * norms[None, :])
    theta = gates.step * confidence * wide / curvature.clamp_min(1e-12)
    together = alike @ (theta * curvature)
    theta = theta / (2 * together).clamp_min(1.0)
    return theta, (gates.momentum * wide).clamp(0, 0.99), (gates.forgetting * wide).clamp(0, 0.99)


def is_finite(weights: Weights) -> bool:
    """Whether all numbers are."""
    import torch

    return all(bool(torch.isfinite(w).all()) for w in weights.values())
