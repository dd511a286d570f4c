"""How much each expert of the ranking is worth here, learned online from which candidates were useful.

The ranking is a product of experts with one weight each, chosen on other corpora. After feedback the multipliers m of
these weights (1 at first) follow the gradient of the log-likelihood that a softmax over the candidates' scores gives to
the useful ones (ListNet with one list a query: Cao et al., ICML 2007), with AdaGrad steps (Duchi et al., JMLR 2011).
A few numbers, so a few hundred events teach them, and wrong ones can do little. What the experts said is taken from the
ranking without anything learned: no event leaves a trace in what another one teaches, so one can be unlearned exactly.
What is taught once more of the same question is no step of its own (memory.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hippomem.neocortex.neural_memory.association import Association

RATE = 0.1
BEGIN = 0.01  # what AdaGrad's sums of squares begin with
LEAST, MOST = 0.0, 4.0
CERTAIN = 0.9  # of the mass on what was of no use: more counts as this much


@dataclass(slots=True)
class ExpertWeights:
    """The multipliers (terms,) float64, all 1 at first, and AdaGrad's sums of squared gradients."""

    multipliers: NDArray[np.float64]
    squares: NDArray[np.float64]
    last: int = 0  # the number of the last event learned from: they come in order

    @classmethod
    def new(cls, terms: int) -> ExpertWeights:
        """Weights that have learned nothing."""
        return cls(np.ones(terms), np.full(terms, BEGIN))

    @property
    def learned(self) -> bool:
        """Whether any event has changed them."""
        return bool(self.last)

    def learn(self, event: Association) -> None:
        """One step on one event. A step that is not finite is not made."""
        if event.evidence is None or event.useful is None or not event.useful.any() or event.useful.all():
            return
        evidence = event.evidence.astype(np.float64)
        if evidence.shape[1] != len(self.multipliers):
            return  # of a version that knew other experts
        gradient = event.confidence * self._gradient(evidence, event.useful, event.confidence > 0)
        squares = self.squares + gradient**2
        multipliers = np.clip(self.multipliers + RATE * gradient / np.sqrt(squares), LEAST, MOST)
        if np.isfinite(multipliers).all() and np.isfinite(squares).all():
            self.multipliers, self.squares, self.last = multipliers, squares, event.number

    def _gradient(self, evidence: NDArray[np.float64], marked: NDArray[np.bool_], good: bool) -> NDArray[np.float64]:
        """Of ln P(marked), or where these were of no use of -ln(1 - P(marked)): the confidence brings the sign."""
        mass = _softmax(evidence @ self.multipliers)
        share = float(mass[marked].sum())
        within = np.where(marked, mass, 0) / max(share, 1e-12)
        toward = np.asarray((within - mass) @ evidence, np.float64)
        return toward if good else toward * min(share, CERTAIN) / (1 - min(share, CERTAIN))


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())
