"""The prequential protocol: each question is recalled first, measured, and only then learned from.

Questions come in the order in which they could first be asked: by the last of the turns that answer them. Feedback
names the turns that answer the question. Some of it can be wrong: turns that were recalled and answer nothing. Or an
attacker's, who always praises one and the same turn: the one that most often comes among the first ten without
answering anything.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hippomem import Encoder, Memory, Recall
from hippomem_eval.conversation_formats import ConversationQuestion
from hippomem_eval.conversation_systems import Strong, Transcript
from hippomem_eval.conversations import Haystack
from hippomem_eval.feedback_baselines import KnnCache, Learner, SoftVote
from hippomem_eval.metrics import recall_at
from hippomem_eval.results import Row

CUTOFF = 5
DEPTH = 50  # passages of a plain recall, for baselines to reorder
JUDGED = 10  # first passages among which wrong feedback is found


@dataclass(frozen=True, slots=True)
class Giver:
    """Who gives feedback: what share of it is `wrong`, or an attacker's (`adversarial`)."""

    wrong: float = 0.0
    adversarial: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A haystack ready to be asked again and again: questions in order, their plain recalls, what serves them."""

    haystack: Haystack
    questions: tuple[ConversationQuestion, ...]
    plain: Mapping[str, Recall]
    ids: Mapping[str, tuple[str, ...]]  # turn -> passages
    turns: Mapping[str, str]  # passage -> turn


def prepare(memory: Memory, haystack: Haystack, advance: Callable[[], None]) -> Asked:
    """Recall every question plainly, once."""
    place = {turn.id: at for at, turn in enumerate(haystack.turns)}
    order = sorted(haystack.questions, key=lambda question: max(place[turn] for turn in haystack.evidence[question.id]))
    turns = {passage.id: str(passage.metadata["turn"]) for passage in memory.passages()}
    ids: dict[str, list[str]] = {}
    for passage, turn in turns.items():
        ids.setdefault(turn, []).append(passage)
    plain = {}
    for question in order:
        plain[question.id] = memory.recall(question.text, k=DEPTH, learned=False)
        advance()
    return Asked(haystack, tuple(order), plain, {turn: tuple(own) for turn, own in ids.items()}, turns)


def prequential(
    memory: Memory, asked: Asked, giver: Giver, encoder: Encoder, seed: int, advance: Callable[[], None]
) -> list[Row]:
    """Ask and teach every question in order. `memory` must not have learned anything; it has afterwards."""
    rng = np.random.default_rng([seed, *asked.haystack.name.encode()])
    learners: dict[str, Learner] = {"knn-cache": KnnCache(), "soft-vote": SoftVote()}
    strong = Strong(Transcript(asked.haystack.turns, encoder)) if giver == Giver() else None
    praised = _praised(asked)
    seen: set[str] = set()
    rows: list[Row] = []
    for question in asked.questions:
        evidence, plain = asked.haystack.evidence[question.id], asked.plain[question.id]
        vector = encoder.encode_query(question.text)
        recall = memory.recall(question.text, k=DEPTH)
        found = {
            "hippomem": [passage.id for passage in recall.passages],
            "plain": [passage.id for passage in plain.passages],
            **{name: learner.rank(vector, plain) for name, learner in learners.items()},
        }
        values = {name: recall_of(ids, evidence, asked.turns) for name, ids in found.items()}
        if strong is not None:
            first = [passage.id for passage in strong.recall(question.text, CUTOFF).passages]
            values["strong"] = sum(turn in first for turn in evidence) / len(evidence)
        rows.append(
            {
                "id": question.id,
                "conversation": question.conversation,
                "related": bool(seen & set(evidence)),
                **values,
            }
        )
        seen.update(evidence)
        useful = feedback_of(giver, asked, evidence, found["hippomem"], praised, rng)
        if useful:
            memory.feedback(recall, useful=useful)
            for learner in learners.values():
                learner.learn(vector, useful)
        advance()
    return rows


def copied(database: Path, target: Path) -> Path:
    """A copy of a closed memory, to learn in. What is beside it (indexes) is made again when it is opened."""
    removed(target)
    shutil.copyfile(database, target)
    views = database.with_name(database.name + ".views")
    if views.is_dir():
        shutil.copytree(views, target.with_name(target.name + ".views"))
    return target


def removed(database: Path) -> None:
    """Take a memory's files away, with what lies beside it."""
    for old in database.parent.glob(database.name + "*"):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()


def recall_of(ids: Sequence[str], evidence: Sequence[str], turns: Mapping[str, str]) -> float:
    """Evidence recall of passages (ids, best first) at the cutoff."""
    found = list(dict.fromkeys(turns[id_] for id_ in ids))
    return recall_at([found.index(turn) + 1 if turn in found else None for turn in evidence], CUTOFF)


def feedback_of(
    giver: Giver,
    asked: Asked,
    evidence: Sequence[str],
    found: Sequence[str],
    praised: str | None,
    rng: np.random.Generator,
) -> list[str]:
    """The passages that this giver calls useful, of those `found`; none where nothing wrong is at hand."""
    right = [id_ for turn in evidence for id_ in asked.ids.get(turn, ())]
    if rng.random() < giver.wrong:
        wrong = [id_ for id_ in found[:JUDGED] if asked.turns[id_] not in evidence]
        return [str(id_) for id_ in rng.permutation(wrong)[: max(1, len(right))]]
    if praised and rng.random() < giver.adversarial:
        return [praised]
    return right


def _praised(asked: Asked) -> str | None:
    counted = Counter(
        passage.id
        for question in asked.questions
        for passage in asked.plain[question.id].passages[:JUDGED]
        if asked.turns[passage.id] not in asked.haystack.evidence[question.id]
    )
    return min(counted, key=lambda id_: (-counted[id_], id_)) if counted else None
