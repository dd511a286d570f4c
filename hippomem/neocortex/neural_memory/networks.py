"""What the Titans rule updates: a linear map or a small perceptron, both beginning as the identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from hippomem.neocortex.neural_memory.titans import Gradients, Weights

Kind = Literal["linear", "mlp"]
State = dict[str, NDArray[np.float32]]


class Linear:
    """M(k) = k + W k. With the Titans rule this is the delta rule (Schlag et al., arXiv 2102.11174)."""

    def initial(self, dimension: int, seed: int) -> State:  # noqa: ARG002
        """W = 0."""
        return {"w": np.zeros((dimension, dimension), np.float32)}

    def apply(self, weights: Weights, keys: torch.Tensor) -> torch.Tensor:
        return keys + keys @ weights["w"].T

    def read(self, state: State, key: NDArray[np.float32]) -> NDArray[np.float32]:
        """M(k) - k without torch, for recall: (d,) or (n, d)."""
        return np.asarray(key @ state["w"].T, np.float32)

    def gradients(self, weights: Weights, keys: torch.Tensor, values: torch.Tensor) -> Gradients:
        error = self.apply(weights, keys) - values

        def combine(coefficients: torch.Tensor) -> Weights:
            return {"w": 2 * (error * coefficients[:, None]).T @ keys}

        return combine, (error**2).sum(1), (keys**2).sum(1)


class Perceptron:
    """M(k) = k + B tanh(A k), B = 0 at first. A step of the rule is divided by |h|² + |b|²|k|²/|e|² (h the hidden
    activations, b the gradient before them, e the gradient at the output): how far it moves the output along e.
    """

    def __init__(self, hidden: int) -> None:
        self.hidden = hidden

    def initial(self, dimension: int, seed: int) -> State:
        """A random from the seed, B = 0."""
        rng = np.random.default_rng(seed)  # keys have length 1, so that A k is of the size of 1
        a = rng.standard_normal((self.hidden, dimension)).astype(np.float32)
        return {"a": a, "b": np.zeros((dimension, self.hidden), np.float32)}

    def apply(self, weights: Weights, keys: torch.Tensor) -> torch.Tensor:
        return keys + (keys @ weights["a"].T).tanh() @ weights["b"].T

    def read(self, state: State, key: NDArray[np.float32]) -> NDArray[np.float32]:
        """M(k) - k without torch, for recall: (d,) or (n, d)."""
        return np.asarray(np.tanh(key @ state["a"].T) @ state["b"].T, np.float32)

    def gradients(self, weights: Weights, keys: torch.Tensor, values: torch.Tensor) -> Gradients:
        hidden = (keys @ weights["a"].T).tanh()
        error = keys + hidden @ weights["b"].T - values
        outer = 2 * error
        inner = (outer @ weights["b"]) * (1 - hidden**2)

        def combine(coefficients: torch.Tensor) -> Weights:
            column = coefficients[:, None]
            return {"a": (inner * column).T @ keys, "b": (outer * column).T @ hidden}

        lengths = (outer**2).sum(1).clamp_min(1e-12)
        curvature = (hidden**2).sum(1) + (inner**2).sum(1) * (keys**2).sum(1) / lengths
        return combine, (error**2).sum(1), curvature


def network_of(kind: Kind, dimension: int) -> Linear | Perceptron:
    """The network by its name; a perceptron has as many hidden units as dimensions."""
    return Linear() if kind == "linear" else Perceptron(dimension)
