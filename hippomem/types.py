"""The data that goes in and comes out. All of it is immutable."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text to ingest, whole. `source` is where it came from; ingesting the same source again replaces it.

    `whole=True` keeps the text as one passage where it is of moderate size (a record of a corpus that is already
    cut into passages); otherwise it is split. `triples` are facts of your own about it, as `Memory.add` takes them;
    ingested again, they replace those that were given before, and None leaves them as they are.
    """

    text: str
    title: str = ""
    source: str = ""
    session: str | None = None
    occurred_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False
    triples: Sequence[Triple | tuple[str, str, str]] | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file to ingest that goes by a `source` of your own instead of by its path: an upload, or a file that moves.

    The name of `path` tells its format and, where nothing in it does, its title.
    """

    path: str | os.PathLike[str]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stored piece of text. `start` and `end` are character offsets in its document's text; a part of a document
    that was updated keeps those of the text that it replaced.

    `valid_from` is from when it holds: as its own triples say, else when it happened, else when it was recorded.
    `invalid_at` is from when all that it states has ended, as its triples say or later memories contradict it; None
    while something holds.
    """

    id: str
    text: str
    title: str = ""
    source: str = ""
    position: int = 0
    start: int = 0
    end: int = 0
    session: str | None = None
    occurred_at: datetime | None = None
    recorded_at: datetime | None = None
    valid_from: datetime | None = None
    invalid_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Passage):
    """A passage as `Memory.add` or `Memory.update` left it. `created` is False where it was there already;
    `dropped` are those of the triples given to `add` that are not kept, as they are not between two names.
    """

    created: bool = True
    dropped: tuple[Triple, ...] = ()


@dataclass(frozen=True, slots=True)
class Entity:
    """A node of the knowledge graph. Names that share a `key` are the same entity."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Triple:
    """A fact: subject, relation, object, and who extracted it (`user`, `rules`, or a model's name).

    One of your own may say from when it holds (`valid_from`) and from when it does not any more (`invalid_at`), both
    aware datetimes; consolidation never changes that. As it is read from the store it also says when it happened (as
    its passage does), holds from then where nobody said otherwise, and ends where you said or a later one contradicts
    it. None of these says anything about whether two triples are the same.
    """

    subject: str
    relation: str
    object: str
    extractor: str = "user"
    occurred_at: datetime | None = field(default=None, compare=False)
    valid_from: datetime | None = field(default=None, compare=False)
    invalid_at: datetime | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.subject} – {self.relation} – {self.object}"


@dataclass(frozen=True, slots=True)
class Step:
    """One hop of a path: from an entity, through a passage that names it, to where the passage leads."""

    entity: str
    passage_id: str
    passage_title: str
    facts: tuple[Triple, ...] = ()


@dataclass(frozen=True, slots=True)
class Path:
    """How the question leads to a passage: one step for a direct hit, two through a passage in between."""

    passage_id: str
    steps: tuple[Step, ...]
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledPassage(Passage):
    """A passage with its score: the sum of `causes`, each the logarithm or multiple that retrieval gave it.

    `entities` are the names in the question that led here, `why` says the same in words. `before` and `after` are its
    neighbours, in their order, where `recall` was asked for a `context`.
    """

    score: float
    causes: Mapping[str, float]
    entities: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    before: tuple[Passage, ...] = ()
    after: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one passage was recalled: the question's entities, the path in words, the score by cause."""

    passage: RecalledPassage
    entities: tuple[str, ...]
    path: Path | None
    causes: Mapping[str, float]

    def __str__(self) -> str:
        lines = [f"{self.passage.title or self.passage.text[:60]!s}  (score {self.passage.score:.2f})"]
        lines += [f"  {reason}" for reason in self.passage.why]
        lines.append("  " + ", ".join(f"{cause} {value:+.2f}" for cause, value in self.causes.items()))
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a chat model was asked: calls that it answered, and the tokens it counted (0 where it does not tell)."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    def __str__(self) -> str:
        calls = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        return f"{calls}, {self.input_tokens:,} tokens in, {self.output_tokens:,} out"


@dataclass(frozen=True, slots=True)
class SubQuestion:
    """One step of a recall with `decompose` or `iterative`.

    `planned` is as the chat model wrote it ("Who leads #1?"), `query` what was looked up: with the answers in
    `filled` ({"#1": "Northlight Labs"}) in place of the references, and without those that have none; or what the model
    asked to look up instead. `passages` are the ids it brought first. `answer` is what the model read in them, None
    where it read nothing or was not asked; `usage` is what that cost.
    """

    planned: str
    query: str
    filled: Mapping[str, str] = field(default_factory=dict)
    passages: tuple[str, ...] = ()
    answer: str | None = None
    usage: Usage = Usage()

    def __str__(self) -> str:
        return self.query + (f" → {self.answer}" if self.answer else "")


@dataclass(frozen=True, slots=True)
class Recall:
    """What a question brought back: passages best first, the paths to them, milliseconds by stage.

    With `decompose` or `iterative` also the `steps` to it, what the chat model was asked in all (`usage`), and
    `warnings`: what went wrong with the model, where the recall went on without it.
    """

    query: str
    passages: tuple[RecalledPassage, ...]
    paths: tuple[Path, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[SubQuestion, ...] = ()
    usage: Usage = Usage()
    warnings: tuple[str, ...] = ()

    def explain(self) -> tuple[Explanation, ...]:
        """For each passage, why it is there. `print(*recall.explain(), sep="\\n")` reads well."""
        paths = {path.passage_id: path for path in self.paths}
        return tuple(Explanation(p, p.entities, paths.get(p.id), p.causes) for p in self.passages)


@dataclass(frozen=True, slots=True)
class Failure:
    """A source or record that could not be ingested, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did. `documents` are those that were read, also where all of one was there already; `skipped`
    counts those of unchanged files, which are not read. `passages`, `entities` and `facts` are what this run added. By
    its `id` the ledger of the chat model tells what its passages cost (`Memory.stats`).

    `removed` counts passages that their source no longer holds, `kept` those that stay since they may be what records
    of it that failed stand for: repair these, or forget the source, and ingest it again. `duplicates` counts documents
    and records that repeat an earlier one of the same source in this run, in text, title, session and `occurred_at`:
    they are one memory, with the metadata of the first. `dropped` counts triples that came along and are not kept, as
    they are not between two names (`Memory.add`). `seconds` says how long it took in all (`total`),
    and of that the extractor (`extract`) and the encoder (`encode`), by the clock and of CPU time (`cpu_…`); of workers
    these two are added up, and `cpu_total` is without them.
    """

    documents: int = 0
    passages: int = 0
    entities: int = 0
    facts: int = 0
    skipped: int = 0
    removed: int = 0
    failed: tuple[Failure, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    id: str = ""
    kept: int = 0
    duplicates: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an ingest would bring, and what a chat model would be asked about it; nothing was changed or asked.

    `passages` are those that are new, `skipped` counts documents of unchanged files. Tokens are estimated by length.
    `cost` is in dollars, None where no model is set or its price is not known (`llm_prices`).
    """

    documents: int = 0
    passages: int = 0
    characters: int = 0
    skipped: int = 0
    failed: tuple[Failure, ...] = ()
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    model: str | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `Memory.forget` removed; it raises instead where a trace was left.

    `learned` counts the learning events that went or changed with it: the neural memory's fast store is without them at
    once. `dampened` counts those of them that its slow map had rehearsed: it is dampened for them at once, and rebuilt
    from the log at the next consolidation.
    """

    passages: int
    entities: int
    facts: int
    ids: tuple[str, ...]
    learned: int = 0
    dampened: int = 0


@dataclass(frozen=True, slots=True)
class LearningEvent:
    """What `Memory.feedback` learned: for `query` the passages `useful` (ids) were useful, or of no use where
    `confidence`, in [-1, 1], is below 0. `Memory.forget(id)` unlearns it.
    """

    id: str
    query: str
    useful: tuple[str, ...]
    confidence: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a memory's history. `text` is the earlier text where an update replaced it. `extractor` names all
    that the facts came from; the facts themselves, each with its extractor, are in `triples` of the entry that left
    them as they are now, or as they were until an update. `detail` says of what consolidation did why, and what it
    takes to undo it (`Memory.undo`).
    """

    sequence: int
    action: str
    id: str
    at: datetime
    previous_id: str | None = None
    text: str | None = None
    extractor: str | None = None
    triples: tuple[Triple, ...] = ()
    detail: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What a round of consolidation may spend at most, None where it does not matter: `units` (passages to extract
    from, replays), `seconds`, `tokens` of the chat model. Nothing is begun once one of them is used up.
    """

    units: int | None = None
    seconds: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step of a round did: `counts` by name, what it asked of a chat model, `notes` on single things, and
    `error` where it could not go on. `is_done` is False where something that is due was left for a later round.
    `again_at` is when that can be, where the error is that a server fails, which may pass.
    """

    name: str
    counts: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = Usage()
    notes: tuple[str, ...] = ()
    error: str | None = None
    is_done: bool = True
    seconds: float = 0.0
    again_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a round of consolidation did, step by step."""

    steps: tuple[StepReport, ...] = ()
    seconds: float = 0.0

    def __getitem__(self, name: str) -> StepReport:
        """The part of the step with this name. Raises KeyError."""
        for part in self.steps:
            if part.name == name:
                return part
        raise KeyError(name)

    @property
    def usage(self) -> Usage:
        """What was asked of a chat model in all."""
        return sum((part.usage for part in self.steps), Usage())

    @property
    def is_done(self) -> bool:
        """Whether nothing that is due was left."""
        return all(part.is_done for part in self.steps)


@dataclass(frozen=True, slots=True)
class Job:
    """What a chat model is to do with one passage. `state` is waiting, running, done or dead; `prompt` is its name with
    its version; `reason` why the last attempt failed; a job that waits or runs is claimed from `due_at` on at the
    earliest; `ingest` the id of the `IngestReport` that the passage came with; `faults` how often the model's server
    failed, which is no attempt of the job.
    """

    passage_id: str
    title: str
    kind: str
    prompt: str
    model: str
    state: str
    attempts: int
    due_at: datetime
    reason: str | None = None
    ingest: str | None = None
    faults: int = 0


@dataclass(frozen=True, slots=True)
class Citation:
    """A number in an answer's text ("[1]"), and the passage that it stands for."""

    number: int
    passage_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What `Memory.ask` read in the passages of `recall`.

    `citations` are the passages that the text cites, each once. `is_in_memory` is False where the passages do not tell,
    as the text then says. `flags` say what makes it doubtful: that it cites nothing, or what was not shown, or is
    not whole.
    """

    text: str
    citations: tuple[Citation, ...]
    recall: Recall
    is_in_memory: bool = True
    flags: tuple[str, ...] = ()
    usage: Usage = Usage()

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of `Memory.doctor`."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings of `Memory.doctor`; `ok` is True where every check passed."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)
