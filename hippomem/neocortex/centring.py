"""Vectors without what all vectors of a model have in common.

Many models put every text into a narrow cone: with multilingual-e5-small unrelated ones have a cosine of .78 in the
mean, and what a text says is in the digits behind it. Here cosines are compared, added up and held against bounds, so
the mean of the model's vectors is subtracted, and the rest has length 1 again (Mu and Viswanath, "All-but-the-Top",
ICLR 2018, without their second step). It is measured once, on texts about anything, and questions have a mean of their
own, as models with prompts put them elsewhere. A model whose vectors point everywhere, as those of the packaged one
do, keeps them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from hippomem.errors import ModelError
from hippomem.neocortex.encoder import Encoded, Encoder, Span, Vectors

CENTRED = " centred"  # at the end of an identity
NARROW = 0.1  # mean cosine of unrelated texts from which on a model's vectors are centred

TEXTS = (
    "The river rose two metres overnight and flooded the lower fields.",
    "She plays the cello in a small orchestra on Thursday evenings.",
    "Interest rates were left unchanged by the central bank in March.",
    "Mix the flour with cold butter until it looks like breadcrumbs.",
    "The patch fixes a memory leak in the image decoder.",
    "His grandfather emigrated from Sicily in 1911 and opened a bakery.",
    "Penguins huddle together and take turns standing on the outside.",
    "The court ruled that the contract had never been valid.",
    "Turn left after the petrol station and follow the signs to the harbour.",
    "Our flight was delayed by four hours because of fog.",
    "The enzyme breaks down lactose in the small intestine.",
    "They won the final with a goal in the last minute of extra time.",
    "I would like a refund for the broken lamp I received yesterday.",
    "The cathedral was rebuilt in the Gothic style after the fire.",
    "Water the fern twice a week and keep it out of direct sunlight.",
    "Light from the nearest star takes more than four years to reach us.",
    "The meeting is moved to Monday at ten, please bring the budget.",
    "He reads detective novels and hates being disturbed on Sundays.",
    "The treaty divided the island between the two kingdoms.",
    "Tighten the bolts evenly before you fill the tank with oil.",
    "My daughter starts school in September and is afraid of dogs.",
    "The painting shows a fisherman mending his nets at dawn.",
    "Sales of electric cars doubled within a year.",
    "The battery lasts about nine hours when the screen is dimmed.",
    "Nobody had told the new tenant that the lift was out of order.",
    "The comet was first seen by an amateur in New Zealand.",
    "Add a teaspoon of salt once the water boils.",
    "The senator resigned after the vote on the pipeline.",
    "Each function returns a list, which is empty when nothing matches.",
    "The choir rehearses in the old gym behind the library.",
    "Most of the valley's vines were lost to hail that summer.",
    "Please sign both copies and send one back to our office.",
    "The knee should be rested for six weeks after the operation.",
    "A lighthouse keeper's diary was found under the floorboards.",
    "The bus to the university leaves from platform three.",
    "Honey bees tell each other where flowers are by dancing.",
    "The album sold poorly at first and became a classic later.",
    "Unemployment fell in the north and rose in the south.",
    "She prefers tea without sugar, and never before noon.",
    "The theorem holds for every finite group of odd order.",
    "Snow closed the pass, so the mail came a week late.",
    "The museum keeps the oldest known map of the coast.",
    "Our neighbour's cat sleeps on the roof of the shed.",
    "The company was bought by a competitor for two billion dollars.",
    "Rinse the rice until the water stays clear.",
    "In the second act the butler turns out to be her brother.",
    "The server answers with an error when the token has expired.",
    "Children under six travel free of charge on weekends.",
)
QUESTIONS = (
    "Who wrote the first novel about the island?",
    "Where does my sister work now?",
    "When was the bridge across the strait opened?",
    "What should I cook for somebody who eats no meat?",
    "How many people live in the capital of that country?",
    "Which team did he play for before the war?",
    "Why does the engine stop when it gets cold?",
    "What is the password of the guest network?",
    "Who is the mother of the director of the film?",
    "Is there a cheaper way to send the parcel?",
    "What did we agree on at the last meeting?",
    "How long does the medicine have to be taken?",
    "Which river flows through the town where she was born?",
    "What colour did they paint the kitchen?",
    "How do I reset the counter on the printer?",
    "When does the shop close on Saturdays?",
    "Whose idea was it to move the office?",
    "What is the melting point of tin?",
    "Who won the election after the scandal?",
    "Where can one see the painter's early work?",
    "Does the new version still run on older phones?",
    "What was the name of the dog in the story?",
    "Which of the two roads is shorter?",
    "How did the explorer die?",
)


@dataclass(frozen=True, slots=True)
class Means:
    """What to subtract from the vectors of passages and of questions, (d,) float32 each."""

    passages: Vectors
    questions: Vectors

    def text(self) -> str:
        """As a store keeps it."""
        return base64.b64encode(np.stack([self.passages, self.questions]).astype("<f4").tobytes()).decode()

    @classmethod
    def read(cls, text: str) -> Means:
        """What `text` wrote. Raises ValueError for anything else."""
        both = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32).reshape(2, -1)
        if not np.isfinite(both).all():
            raise ValueError("a mean of vectors is not finite")
        return cls(both[0], both[1])


Keep = Callable[[Callable[[], Means]], Means]  # gives the means that are kept somewhere, or measures and keeps them


class CentredEncoder:
    """Another encoder, whose vectors are centred. `keep` knows its means; else they are measured in each process."""

    def __init__(self, encoder: Encoder, keep: Keep = lambda measure: measure()) -> None:
        self.encoder = encoder
        self._keep = keep
        self._means: Means | None = None
        self._measuring = Lock()

    def kept(self, keep: Keep) -> CentredEncoder:
        """The same, with means from elsewhere."""
        return CentredEncoder(self.encoder, keep)

    @property
    def identity(self) -> str:
        return f"{self.encoder.identity}{CENTRED}"

    @property
    def runtime(self) -> str:
        """What computes the vectors, where the encoder says so."""
        return getattr(self.encoder, "runtime", "")

    def means(self) -> Means:
        """What its vectors are centred by, measured where nobody knows."""
        with self._measuring:
            if self._means is None:
                self._means = self._keep(self._measure)
            return self._means

    def encode_query(self, text: str) -> Vectors:
        return _less(self.encoder.encode_query(text), self.means().questions)

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        mean = self.means().passages
        found = self.encoder.encode_passages(texts, spans)
        return [Encoded(_less(e.vector, mean), _less(e.sentences, mean)) for e in found]

    def _measure(self) -> Means:
        found = self.encoder.encode_passages(TEXTS, [()] * len(TEXTS))
        try:
            passages = np.stack([e.vector for e in found]).astype(np.float32)
            questions = np.stack([self.encoder.encode_query(q) for q in QUESTIONS]).astype(np.float32)
            cosines = passages @ passages.T
            apart = (cosines.sum() - np.trace(cosines)) / (len(TEXTS) * (len(TEXTS) - 1))
            means = Means(passages.mean(axis=0), questions.mean(axis=0))
            if len(means.passages) != len(means.questions) or not np.isfinite(apart):
                raise ValueError("they are of several lengths, or not finite")
        except ValueError as error:
            raise ModelError(f"the encoder {self.encoder.identity!r} gives vectors of no use: {error}") from error
        none = np.zeros_like(means.passages)
        return means if apart >= NARROW else Means(none, none)


def _less(vectors: Vectors, mean: Vectors) -> Vectors:
    """Vectors (…, d) of length 1 without a mean (d,), of length 1 again; those of length 0 stay as they are."""
    if not mean.any() or vectors.shape[-1:] != mean.shape or not vectors.size:
        return vectors  # of another length: these are of another model, which whoever compares them finds
    rest = np.where(vectors.any(axis=-1, keepdims=True), vectors - mean, 0)
    length = np.linalg.norm(rest, axis=-1, keepdims=True)
    return np.asarray(rest / np.where(length > 0, length, 1), np.float32)
