"""Recall by way of sub-questions: a chat model splits the question, each part is recalled, the results are fused.

Unfilled (`decompose`): one call, and all sub-questions are looked up. One that refers to the answer of another is about
what the first passage for that one names (about.py). Iterative (IRCoT's idea, Trivedi et
al., arXiv 2212.10509, on planned sub-questions): after each retrieval the model reads, and its answer is filled into
the sub-questions that refer to it. The memory is only ever asked through its own `recall`, so that session, time and
namespace hold for every part, and no lock is held while the model thinks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hippomem.errors import ModelError, NotFoundError
from hippomem.hippocampus.fusion import Fused, reciprocal_rank_fusion
from hippomem.neocortex.chat import Chat, none_set
from hippomem.neocortex.questions import READ_PASSAGES, Reading, decompose, filled, read
from hippomem.types import Passage, Path, Recall, RecalledPassage, SubQuestion, Usage

DEPTH = 50  # passages of each recall that are fused


@dataclass(frozen=True, slots=True)
class Fusion:
    """How recalls are fused: the k of reciprocal rank fusion, and the weight of the question's own recall."""

    k: float
    question: float


# Chosen on musique_train. What refers to an answer that is not known is vague, and its first places prove less than
# those of a complete sub-question, which finds its passage at once.
UNFILLED = Fusion(k=3.0, question=1.0)
FILLED = Fusion(k=1.0, question=0.5)


@dataclass(frozen=True, slots=True)
class Guide:
    """What a recall by sub-questions works with: the memory's `recall` of a text to a depth, about the passages with
    some ids; its `get`, the model.
    """

    recall: Callable[[str, int, Sequence[str]], Recall]
    get: Callable[[str], Passage]
    chat: Chat | None
    max_query_chars: int


def recall_by_parts(guide: Guide, query: str, k: int, max_steps: int | None, about: Sequence[str] = ()) -> Recall:
    """The k best passages for a question and its sub-questions; iterative with at most `max_steps` retrievals beside
    that of the question itself, or unfilled where `max_steps` is None. All are asked `about` the passages with these
    ids.

    Where the model fails, the recall goes on with what there is, at the least as a plain one, and `warnings` say so.
    Raises ModelError and MissingDependencyError where the model cannot be set up, and what `guide.recall` raises.
    """
    if guide.chat is None:
        raise none_set("decompose and iterative ask")
    guide.chat.load()
    run = _Run(guide, guide.chat, query, max(k, DEPTH), about)
    own = run.retrieve(query)
    plan = run.planned() if own and own.passages else ()  # nothing to find: nothing to ask
    if not plan:
        return run.plain(k)
    if max_steps is None:
        for number, sub_question in enumerate(plan, 1):
            run.look_up(number, sub_question, *filled(sub_question, number, {}))
        return run.fused(k, UNFILLED)
    run.iterate(plan, max_steps)
    return run.fused(k, FILLED if run.is_whole else UNFILLED)


@dataclass
class _Run:
    """One recall in the making. `found` are the recalls to fuse, the question's first, with the step of each; `first`
    is the first passage for each sub-question.
    """

    guide: Guide
    chat: Chat
    query: str
    depth: int
    about: Sequence[str]
    began: float = field(default_factory=time.perf_counter)
    found: list[tuple[int, Recall]] = field(default_factory=list)
    steps: list[SubQuestion] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    warnings: list[str] = field(default_factory=list)
    first: dict[int, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    is_whole: bool = True
    is_silent: bool = False  # the model failed: it is not asked again

    def planned(self) -> tuple[str, ...]:
        """The sub-questions; none where the model gives none."""
        began = time.perf_counter()
        try:
            plan = decompose(self.chat, self.query)
        except ModelError as error:
            self.warnings.append(f"plain recall: {error}")
            return ()
        finally:
            self._took("decompose", began)
        self.usage += plan.usage
        if plan.problem:
            self.warnings.append(f"plain recall: {plan.problem}")
        return plan.sub_questions

    def retrieve(self, text: str, about: Sequence[str] = ()) -> Recall | None:
        """Recall one text, once; None where nothing is left of it, or it was asked already."""
        text = text[: self.guide.max_query_chars].strip()
        if not any(map(str.isalnum, text)) or any(_same(text, recall.query) for _, recall in self.found):
            return None
        try:
            recall = self.guide.recall(text, self.depth, [*self.about, *about])
        except NotFoundError:
            if not self.found:
                raise
            recall = self.guide.recall(text, self.depth, ())  # what it is about was forgotten meanwhile
        self.found.append((len(self.steps), recall))
        for stage, taken in recall.timings.items():
            if stage != "total":
                self.timings[stage] = self.timings.get(stage, 0.0) + taken
        return recall

    def look_up(
        self, number: int, sub_question: str, text: str, answers: Mapping[str, str], missing: Sequence[int]
    ) -> Sequence[Passage]:
        """Recall a sub-question as a step; its passages, the question's own where both are the same. Where answers are
        `missing`, it is about the first passages for the sub-questions that they were to come from.
        """
        if not sub_question:  # the model left it out
            return ()
        self.is_whole &= not missing
        self.steps.append(SubQuestion(sub_question, text, answers))
        about = [self.first[one] for one in missing if one in self.first]
        recall = self.retrieve(text, about) or next((r for _, r in self.found if _same(text, r.query)), None)
        passages = recall.passages if recall else ()
        if passages:
            self.first[number] = passages[0].id
        self.steps[-1] = replace(self.steps[-1], passages=tuple(p.id for p in passages[:READ_PASSAGES]))
        return passages

    def iterate(self, plan: Sequence[str], max_steps: int) -> None:
        """Look up one sub-question after the other, each with the answers to those before it."""
        answers: dict[int, str] = {}
        known: list[tuple[str, str]] = []
        for number, sub_question in enumerate(plan[:max_steps], 1):
            text, used, missing = filled(sub_question, number, answers)
            passages = self.look_up(number, sub_question, text, used, missing)
            reading = self.read(known, text, passages, max_steps)
            instead = reading.look_up if reading else None
            # It takes the place of no sub-question that is still to come; and the same again would be read as before.
            if instead and not _same(instead, text) and len(self.steps) + len(plan) - number < max_steps:
                passages = self.look_up(number, sub_question, instead, {}, ())
                reading = self.read(known, text, passages, max_steps)
            if reading and reading.answer:
                answers[number] = reading.answer
                known.append((text, reading.answer))

    def read(
        self, known: Sequence[tuple[str, str]], text: str, passages: Sequence[Passage], max_steps: int
    ) -> Reading | None:
        """What the model reads in the passages of the last step; None where it is not asked: where there is nothing to
        read, or nothing could be looked up after it.
        """
        if self.is_silent or not passages or len(self.steps) >= max_steps:
            return None
        began = time.perf_counter()
        try:
            reading = read(self.chat, self.query, known, text, passages)
        except ModelError as error:
            self.warnings.append(f"went on without reading: {error}")
            self.is_silent = True
            return None
        finally:
            self._took("read", began)
        self.usage += reading.usage
        self.steps[-1] = replace(self.steps[-1], answer=reading.answer, usage=reading.usage)
        if reading.problem:
            self.warnings.append(f"nothing read for {text!r}: {reading.problem}")
        return reading

    def plain(self, k: int) -> Recall:
        """The recall of the question alone."""
        recall = self.guide.recall(self.query, k, self.about)
        timings = {**recall.timings, **self.timings, "total": 1e3 * (time.perf_counter() - self.began)}
        return replace(recall, timings=timings, usage=self.usage, warnings=tuple(self.warnings))

    def fused(self, k: int, fusion: Fusion) -> Recall:
        """The k best of all recalls. What was forgotten or changed while the model thought is left out."""
        began = time.perf_counter()
        recalls = [recall for _, recall in self.found]
        weights = [fusion.question] + [1.0] * (len(recalls) - 1)
        best = reciprocal_rank_fusion([[p.id for p in r.passages] for r in recalls], k=fusion.k, weights=weights)
        passages: list[RecalledPassage] = []
        paths: list[Path] = []
        for one in best:
            if len(passages) == k:
                break
            if self._is_there(one.id):
                passages.append(self._told(one))
                paths += [p for p in recalls[_leading(one)].paths if p.passage_id == one.id]
        self._took("fuse", began)
        timings = {**self.timings, "total": 1e3 * (time.perf_counter() - self.began)}
        return Recall(
            self.query,
            tuple(passages),
            tuple(paths),
            timings,
            tuple(self.steps),
            self.usage,
            tuple(self.warnings),
        )

    def _told(self, one: Fused[str]) -> RecalledPassage:
        """The passage as the recall with the largest share gave it, with the shares as the causes of its score."""
        names = ["question" if step == 0 else f"sub-question {step}" for step, _ in self.found]
        step, recall = self.found[_leading(one)]
        rank, passage = next((n, p) for n, p in enumerate(recall.passages, 1) if p.id == one.id)
        by = f"sub-question {step}, “{recall.query}”" if step else "the question itself"
        return replace(
            passage,
            score=one.score,
            causes={names[number]: share for number, share in one.shares.items()},
            why=(f"number {rank} for {by}", *passage.why),
        )

    def _is_there(self, id_: str) -> bool:
        try:
            return self.guide.get(id_).id == id_
        except NotFoundError:
            return False

    def _took(self, stage: str, began: float) -> None:
        self.timings[stage] = self.timings.get(stage, 0.0) + 1e3 * (time.perf_counter() - began)


def _leading(one: Fused[str]) -> int:
    return max(one.shares, key=lambda number: (one.shares[number], -number))


def _same(one: str, other: str) -> bool:
    return one.casefold().split() == other.casefold().split()
