"""One life under one way of replaying. Every replay is one gradient step on one remembered experience."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from hippomem.consolidation.curves import Curve, curve_called
from hippomem.consolidation.selection import select
from hippomem.consolidation.states import Grade, ReviewState
from hippomem_eval.retention_life import DUPLICATE, POISON, UPDATE, Experience, Floats, Life, Plan, live
from hippomem_eval.retention_memory import Perceptron, ranks

START = datetime(2026, 1, 1, tzinfo=UTC)
SHOWN = 5  # passages that a reader sees: found among them is found
NIGHT = 23.0  # the hour of the replay
SAME_CUE = 0.9  # cosine of two keys that ask for the same
CONFLICT = 0.5  # cosine of the keys times (1 - cosine of the values): more is a contradiction


@dataclass(frozen=True, slots=True)
class Arm:
    """A way of replaying: a forgetting curve, the share of the budget for the longest waiting, whether there is a gate.

    `curve` None replays nothing; "round robin" replays whatever has waited longest.
    """

    name: str
    curve: str | None
    floor: float = 0.0
    gate: bool = True


ARMS = {
    arm.name: arm
    for arm in (
        Arm("none", None),
        Arm("uniform", "uniform"),
        Arm("round robin", "expanding", 1.0),
        Arm("ebbinghaus", "ebbinghaus"),
        Arm("leitner", "leitner"),
        Arm("expanding", "expanding"),
        Arm("fsrs", "fsrs"),
        Arm("fsrs+floor", "fsrs", 0.25),
        Arm("fsrs+floor, no gate", "fsrs", 0.25, gate=False),
    )
}


@dataclass
class Outcome:
    """What was measured. `found[day, item]` is True where the item's own cue brought its true value first at the end of
    that day; `shown` the same for "among those shown". `probes` are (predicted, measured) pairs in order.
    """

    arm: str
    budget: float
    seed: int
    found: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    known: NDArray[np.bool_]
    first_day: NDArray[np.int64]
    asked: NDArray[np.int64]  # how often, by the end: (items,)
    replays: int = 0
    refused: int = 0
    probes: list[tuple[float, float]] = field(default_factory=list)
    contradictions: dict[str, int] = field(default_factory=dict)
    poison: dict[str, int] = field(default_factory=dict)


@dataclass
class _Mind:
    """What is remembered beside the weights: experiences with their review states."""

    curve: Curve | None
    keys: Floats  # (experiences of the whole life, d), filled as they come
    experiences: list[Experience] = field(default_factory=list)
    states: list[ReviewState] = field(default_factory=list)
    uses: list[int] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)


def simulate(arm: Arm, budget: float, seed: int, plan: Plan | None = None) -> Outcome:
    """Live one life. `budget` is replays per item experienced, spent evenly over the nights."""
    plan = plan or Plan()
    life = live(plan, seed)
    memory = Perceptron(plan.dimension, seed + 10_000)
    rng = np.random.default_rng(seed + 20_000)
    curve = curve_called(arm.curve) if arm.curve else None
    mind = _Mind(curve, np.zeros((len(life.experiences), plan.dimension), np.float32))
    out = _empty(arm, budget, seed, life)
    nightly = round(budget * plan.items / plan.days)
    by_day: dict[int, list[Experience]] = {}
    for experience in life.experiences:
        by_day.setdefault(experience.day, []).append(experience)
    for day in range(life.days):
        for experience in by_day.get(day, ()):
            _take_in(mind, memory, life, experience, arm.gate, out)
        _use(mind, life.queries[day])
        if curve is not None:
            _replay(mind, memory, life, START + timedelta(days=day, hours=NIGHT), nightly, arm, rng, out)
        _measure(memory, life, day, out)
    _count_planted(life, out)
    out.refused = memory.refused
    return out


def _take_in(mind: _Mind, memory: Perceptron, life: Life, new: Experience, gate: bool, out: Outcome) -> None:
    """The quality gate, then one step of learning."""
    moment = START + timedelta(days=new.day, hours=new.hour)
    twin, conflict = _nearest(mind, life, new)
    planted = new.kind in (UPDATE, POISON)
    if gate and conflict is not None:
        out.contradictions["found"] += 1
        out.contradictions["right"] += planted and mind.experiences[conflict].item == new.item
        # Of two that cannot both hold the newer does, unless it is the less trusted.
        is_worse = new.trust < mind.experiences[conflict].trust - 0.2
        out.contradictions["decided right"] += planted and is_worse == (new.kind == POISON)
        if is_worse:
            out.poison["kept out"] += new.kind == POISON
            return
        mind.valid[conflict] = False
    elif gate and twin is not None:
        mind.uses[twin] += 1  # said again: a use of what is known, nothing to learn
        out.contradictions["duplicates kept out"] += new.kind == DUPLICATE
        return
    memory.learn(new.key, life.values[new.value])
    mind.keys[len(mind.experiences)] = new.key
    mind.experiences.append(new)
    mind.states.append((mind.curve or curve_called("uniform")).first(moment))
    mind.uses.append(0)
    mind.valid.append(True)


def _nearest(mind: _Mind, life: Life, new: Experience) -> tuple[int | None, int | None]:
    """The known experience with the same cue and the same value, and the one with the same cue and another value."""
    if not mind.experiences:
        return None, None
    likeness = np.where(mind.valid, mind.keys[: len(mind.experiences)] @ new.key, -1)
    place = int(likeness.argmax())
    cosine = float(likeness[place])
    if cosine < SAME_CUE:
        return None, None
    agreement = float(life.values[mind.experiences[place].value] @ life.values[new.value])
    return (None, place) if cosine * (1 - agreement) > CONFLICT else (place, None)


def _use(mind: _Mind, asked: NDArray[np.int64]) -> None:
    wanted = set(asked.tolist())
    for place, experience in enumerate(mind.experiences):
        mind.uses[place] += experience.item in wanted


def _replay(
    mind: _Mind,
    memory: Perceptron,
    life: Life,
    now: datetime,
    budget: int,
    arm: Arm,
    rng: np.random.Generator,
    out: Outcome,
) -> None:
    curve = mind.curve
    there = [place for place, valid in enumerate(mind.valid) if valid]
    if curve is None or not there:
        return
    while budget > 0:  # a small memory is replayed more than once a night: the budget is the same for all
        chosen = select([mind.states[place] for place in there], curve, now, budget, arm.floor, rng)
        budget -= len(chosen)
        for pick in chosen:
            place = there[pick.place]
            experience, state = mind.experiences[place], mind.states[place]
            grade = _probe(memory, life, experience, mind.uses[place])
            out.probes.append((curve.retrievability(state, now), float(grade >= Grade.HARD)))
            memory.learn(experience.key, life.values[experience.value])
            mind.states[place] = curve.review(state, grade, now)
            mind.uses[place] = 0
            out.replays += 1


def _probe(memory: Perceptron, life: Life, experience: Experience, uses: int) -> Grade:
    place = int(ranks(memory.read(experience.key[None]), life.values, np.array([experience.value]))[0])
    if place >= SHOWN:
        return Grade.AGAIN
    if place > 0:
        return Grade.HARD
    return Grade.EASY if uses >= 2 else Grade.GOOD


def _measure(memory: Perceptron, life: Life, day: int, out: Outcome) -> None:
    known = np.nonzero(life.truth[day] >= 0)[0]
    place = ranks(memory.read(life.keys[known]), life.values, life.truth[day, known])
    out.known[day, known] = True
    out.found[day, known] = place == 0
    out.shown[day, known] = place < SHOWN


def _count_planted(life: Life, out: Outcome) -> None:
    """Of what poison was aimed at, how much still gives its true value at the end."""
    aimed = np.array([e.item for e in life.experiences if e.kind == POISON], np.int64)
    out.poison["planted"] = len(aimed)
    out.poison["survived"] = int(out.found[-1, aimed].sum())
    out.contradictions["planted"] = sum(e.kind in (UPDATE, POISON) for e in life.experiences)
    out.contradictions["others"] = len(life.experiences) - out.contradictions["planted"]
    out.contradictions["duplicates"] = sum(e.kind == DUPLICATE for e in life.experiences)


def _empty(arm: Arm, budget: float, seed: int, life: Life) -> Outcome:
    shape = life.truth.shape
    asked = np.bincount(np.concatenate(life.queries), minlength=shape[1])
    return Outcome(
        arm.name,
        budget,
        seed,
        found=np.zeros(shape, np.bool_),
        shown=np.zeros(shape, np.bool_),
        known=np.zeros(shape, np.bool_),
        first_day=life.first_day,
        asked=asked,
        contradictions=dict.fromkeys(("found", "right", "decided right", "duplicates kept out"), 0),
        poison={"kept out": 0},
    )
