"""Selective synaptic dampening (Foster et al., arXiv 2308.07707; as corrective unlearning: 2402.14015).

Weights that matter far more for what is to be forgotten than for what is to be kept are shrunk: where I_f > α I_D,
θ <- θ min(λ I_D / I_f, 1), I the mean squared gradient. A quick patch: the proof is a rebuild without the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from hippomem.neocortex.neural_memory.titans import Network, Weights

ALPHA = 1.0  # how many times more a weight must matter to be dampened
LAMBDA = 1.0


def dampened(
    network: Network, weights: Weights, forget: Sequence[torch.Tensor], keep: Sequence[torch.Tensor]
) -> Weights:
    """The weights after dampening for the pairs to `forget`, (keys, values) (n, d) each, against those to `keep`."""
    import torch

    of_forgotten, of_kept = importance(network, weights, *forget), importance(network, weights, *keep)
    new = {}
    for name, w in weights.items():
        ours, theirs = of_forgotten[name], of_kept[name]
        shrunk = w * (LAMBDA * theirs / ours.clamp_min(1e-30)).clamp(max=1.0)
        new[name] = torch.where(ours > ALPHA * theirs, shrunk, w)
    return new


def importance(network: Network, weights: Weights, keys: torch.Tensor, values: torch.Tensor) -> Weights:
    """The mean squared gradient of each weight over pairs: the diagonal of the empirical Fisher information."""
    import torch

    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    combine, _, _ = network.gradients(weights, keys, values)
    for i in range(len(keys)):
        one = torch.zeros(len(keys), device=keys.device)
        one[i] = 1.0 / len(keys) ** 0.5
        for name, g in combine(one).items():
            total[name] += g**2
    return total
