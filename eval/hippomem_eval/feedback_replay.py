"""What replay adds to learning from feedback, and which events, maps and rules it is best done with.

The prequential protocol of `feedback`, with a fixed number of replays after each question: all arms see the same
questions and the same feedback, wrong feedback included, and differ in which stored events they replay, or in the map
and the plasticity rule that learn from it. At the end of a conversation each question is asked again, with about a
third of its words left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from hippomem import InvalidInputError, Memory, Recall, Settings
from hippomem.neocortex.neural_memory.contexts import RULES
from hippomem.settings import load_settings
from hippomem_eval.configured import configured_encoder
from hippomem_eval.feedback_protocol import (
    CUTOFF,
    Asked,
    Giver,
    copied,
    feedback_of,
    prepare,
    recall_of,
    removed,
)
from hippomem_eval.feedback_report import gain, points
from hippomem_eval.feedback_runner import ConversationOptions, remembered
from hippomem_eval.progress import progress_bar
from hippomem_eval.remembering import Remembering
from hippomem_eval.results import Row, write_json

MAPS = ("linear", "mlp", "chain")
ORDERS = ("none", "uniform", "prioritised", "expanding")


@dataclass(frozen=True, slots=True)
class Arm:
    """`order`, one of ORDERS, says what is replayed; `map` and `rule` what learns from it."""

    name: str
    order: str
    map: str = "linear"
    rule: str = "none"

    @classmethod
    def called(cls, name: str) -> Arm:
        """From "uniform" or "prioritised:ewc". Raises InvalidInputError."""
        order, _, variant = name.partition(":")
        if order not in ORDERS or (variant and variant not in (*MAPS, *RULES)):
            raise InvalidInputError(
                f"{name!r} is no arm: one of {', '.join(ORDERS)}, where wanted with a map or rule behind a colon, "
                f"one of {', '.join((*MAPS, *RULES))}"
            )
        return cls(name, order, variant if variant in MAPS else "linear", variant if variant in RULES else "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions(ConversationOptions):
    """What to measure. `replays` follow each question; `buffer` bounds the fast store, 0 as by default."""

    arms: Sequence[str]
    noise: Sequence[float] = (0.0,)
    replays: int = 4
    buffer: int = 0


class Rehearsing(Memory):
    """A memory whose replays are said from outside, as the scheduler says them."""

    def replayable(self) -> list[int]:
        """The numbers of the events in the fast store that the map can learn, ascending."""
        with self._held() as (view, connection):
            memory = self._learning.memory(connection, view)
            return memory.replayable() if memory else []

    def by_surprise(self, budget: int, seed: int) -> list[int]:
        """Events drawn by how far off the map is."""
        return self._learning.draw(budget, seed)

    def replay(self, numbers: Sequence[int]) -> None:
        """Rehearse these events, each once."""
        self._learning.rehearse(numbers)

    def found_by_map(self, numbers: Sequence[int]) -> dict[int, bool]:
        """Whether the map alone, asked an event's question, comes nearest to what was useful for it."""
        return {probe.number: probe.found for probe in self._learning.probe(numbers)}


@dataclass(slots=True)
class Expanding:
    """Each event is due 1, 2, 4, 8, … questions after its last replay; what is due longest comes first."""

    at: int = 0
    due: dict[int, tuple[int, int]] = field(default_factory=dict)  # when next, how often it was

    def choose(self, there: Sequence[int], budget: int) -> list[int]:
        """The events to replay after this question."""
        self.at += 1
        for number in there:
            self.due.setdefault(number, (self.at, 0))
        chosen = sorted(there, key=lambda number: (self.due[number], number))[:budget]
        for number in chosen:
            times = self.due[number][1] + 1
            self.due[number] = (self.at + 2**times, times)
        return chosen


def run_replay(options: ReplayOptions, tell: Callable[[str], None]) -> dict[str, Any]:
    """The summary. Raises InvalidInputError for an arm that there is not, and what loader and memory do."""
    arms = [Arm.called(name) for name in dict.fromkeys(options.arms)]
    if not arms:
        raise InvalidInputError("name at least one arm")
    encoder = Remembering(configured_encoder())
    haystacks, index = remembered(options, encoder, tell)
    rows: dict[float, dict[str, list[Row]]] = {}
    total = sum(len(haystack.questions) for haystack in haystacks)
    with progress_bar("questions", total * (1 + len(arms) * len(options.noise))) as advance:
        asked = []
        for haystack in haystacks:
            with index.open(haystack.name, encoder=encoder) as memory:
                one = prepare(memory, haystack, advance)
                again = {q.id: memory.recall(shortened(q.text), CUTOFF, learned=False) for q in one.questions}
                asked.append((one, again))
        for share in options.noise:
            rows[share] = {}
            for arm in arms:
                taught = copied(index.database, options.out / "taught.db")
                rows[share][arm.name] = own = []
                settings = _settings(arm, options.buffer)
                for one, again in asked:
                    with Rehearsing.open(
                        taught, namespace=one.haystack.name, settings=settings, encoder=encoder
                    ) as memory:
                        own += lived(cast("Rehearsing", memory), one, again, arm, Giver(wrong=share), options, advance)
        removed(options.out / "taught.db")
    summary = summarise(rows, options)
    write_json(options.out / "replay.json", summary)
    write_json(options.out / "replay-questions.json", {f"{share:g}": own for share, own in rows.items()})
    return summary


def _settings(arm: Arm, buffer: int) -> Settings:
    chosen: dict[str, Any] = {"neural_map": arm.map, "neural_rule": arm.rule}
    bound: dict[str, Any] = {"neural_capacity": buffer} if buffer else {}
    return load_settings(**chosen, **bound)


def lived(
    memory: Rehearsing,
    asked: Asked,
    again: Mapping[str, Recall],
    arm: Arm,
    giver: Giver,
    options: ReplayOptions,
    advance: Callable[[], None],
) -> list[Row]:
    """Ask, teach, replay, question by question. At the end each question is asked `again`, which gives plain recalls
    of shortened questions, and each event is sought by its question in the map alone.
    """
    rng = np.random.default_rng([options.seed, *asked.haystack.name.encode()])
    draw = np.random.default_rng([options.seed + 1, *asked.haystack.name.encode()])
    spaced = Expanding()
    rows: list[Row] = []
    taught: list[int] = []  # rows that an event came of, in order
    for question in asked.questions:
        evidence, plain = asked.haystack.evidence[question.id], asked.plain[question.id]
        recall = memory.recall(question.text, k=CUTOFF)
        plainly = [passage.id for passage in plain.passages]
        values = {
            "hippomem": recall_of([passage.id for passage in recall.passages], evidence, asked.turns),
            "plain": recall_of(plainly, evidence, asked.turns),
        }
        useful = feedback_of(giver, asked, evidence, plainly, None, rng)
        if useful:
            memory.feedback(recall, useful=useful)
            taught.append(len(rows))
        rows.append({"id": question.id, "conversation": question.conversation, **values})
        seed = int(draw.integers(2**31))
        there = memory.replayable() if arm.order in ("uniform", "expanding") else []
        budget = min(options.replays, len(there))
        if arm.order == "uniform":
            there = [int(n) for n in draw.choice(there, budget, replace=False)] if budget else []
        elif arm.order == "expanding":
            there = spaced.choose(there, budget)
        elif arm.order == "prioritised":
            there = memory.by_surprise(options.replays, seed)
        if there:
            memory.replay(there)
        advance()
    for place, question in enumerate(asked.questions):
        evidence = asked.haystack.evidence[question.id]
        recalls = {"again": memory.recall(shortened(question.text), CUTOFF), "again plain": again[question.id]}
        ids = {name: [passage.id for passage in recall.passages] for name, recall in recalls.items()}
        rows[place] = {**rows[place], **{n: recall_of(own, evidence, asked.turns) for n, own in ids.items()}}
    events = memory.replayable()
    if len(events) == len(taught):
        found = memory.found_by_map(events)
        for place, (row, number) in enumerate(zip(taught, events, strict=True)):
            rows[row] = {**rows[row], "map": float(found[number]), "is_old": place < len(taught) // 4}
    return rows


def shortened(text: str) -> str:
    """A question without about a third of its words, always the same; three are left where there are three."""
    words = text.split()
    lots = [zlib.crc32(f"{place} {word} {text}".encode()) / 2**32 for place, word in enumerate(words)]
    least = sorted(lots)[-min(3, len(lots)) :]
    return " ".join(word for word, lot in zip(words, lots, strict=True) if lot > 1 / 3 or lot in least)


def summarise(rows: Mapping[float, Mapping[str, Sequence[Row]]], options: ReplayOptions) -> dict[str, Any]:
    """Recall and gains as fractions, with 95 % intervals over whole conversations; the first arm minus each other."""
    told: dict[str, Any] = {}
    for share, arms in rows.items():
        first = next(iter(arms))
        told[f"{share:g}"] = own = {}
        for name, those in arms.items():
            entry: dict[str, Any] = {
                f"gain@{CUTOFF}": gain(those, "hippomem", "plain", options.seed),
                f"again@{CUTOFF}": gain(those, "again", "again plain", options.seed),
            }
            mapped = [row for row in those if "map" in row]
            if mapped:
                entry["map"] = {
                    "all": float(np.mean([row["map"] for row in mapped])),
                    "oldest": float(np.mean([row["map"] for row in mapped if row["is_old"]] or [0.0])),
                }
            if name != first:
                entry[f"first_minus_it@{CUTOFF}"] = _difference(arms[first], those, "hippomem", options.seed)
                entry[f"first_minus_it_again@{CUTOFF}"] = _difference(arms[first], those, "again", options.seed)
                if mapped:
                    entry["first_minus_it_map"] = _difference(arms[first], those, "map", options.seed)
            own[name] = entry
    count = len(next(iter(next(iter(rows.values())).values())))
    return {
        "noise": told,
        "questions": count,
        "replays": options.replays,
        "buffer": options.buffer,
        "seed": options.seed,
        "data": str(options.data),
    }


def _difference(ours: Sequence[Row], theirs: Sequence[Row], name: str, seed: int) -> dict[str, float]:
    pairs = [
        {"conversation": a["conversation"], "a": a[name], "b": b[name]}
        for a, b in zip(ours, theirs, strict=True)
        if name in a and name in b
    ]
    return gain(pairs, "a", "b", seed)


def as_markdown(summary: Mapping[str, Any]) -> str:
    """A table for each share of wrong feedback, in points."""
    lines: list[str] = []
    for share, arms in summary["noise"].items():
        first = next(iter(arms))
        lines += [
            f"{100 * float(share):.0f} % wrong feedback:" if float(share) else "Right feedback:",
            "",
            f"| replay | gain@{CUTOFF} over plain recall [95 % over conversations] | {first} minus it | asked again in "
            f"fewer words: gain | {first} minus it | map alone: all, oldest quarter | {first} minus it |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, own in arms.items():
            mapped = f"{100 * own['map']['all']:.1f}, {100 * own['map']['oldest']:.1f}" if "map" in own else ""
            keys = (f"gain@{CUTOFF}", f"first_minus_it@{CUTOFF}", f"again@{CUTOFF}", f"first_minus_it_again@{CUTOFF}")
            cells = [points(own[key]) if key in own else "" for key in keys]
            cells += [mapped, points(own["first_minus_it_map"]) if "first_minus_it_map" in own else ""]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    bound = f", the fast store bounded to {summary['buffer']}" if summary["buffer"] else ""
    return "\n".join([*lines, f"{summary['questions']:,} questions, {summary['replays']} replays after each{bound}.\n"])
