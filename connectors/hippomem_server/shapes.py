"""What goes in and out as JSON. What comes out is what the command line prints with --json: the library's own types,
field by field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hippomem import Check, Citation, Passage, Path, Recall, RecalledPassage, SubQuestion, Triple, Usage

MOST = 1000  # passages of one answer


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelt option would go unnoticed


class Fact(_Given):
    """A fact of your own. It may say from when to when it holds."""

    subject: str = Field(min_length=1)
    relation: str = Field(min_length=1)
    object: str = Field(min_length=1)
    valid_from: AwareDatetime | None = None
    invalid_at: AwareDatetime | None = None

    def triple(self) -> Triple:
        """The same as the library has it."""
        return Triple(self.subject, self.relation, self.object, valid_from=self.valid_from, invalid_at=self.invalid_at)


class NewMemory(_Given):
    """A text to remember."""

    text: str = Field(description="what to remember, in full sentences that say who and what is meant")
    title: str = Field("", description="what or whom it is about")
    source: str = Field("", description="where it came from")
    session: str | None = Field(None, description="the session that it belongs to")
    metadata: dict[str, Any] = Field(default_factory=dict, description="anything else")
    occurred_at: AwareDatetime | None = Field(None, description="when it happened, with a time zone")
    triples: list[Fact] | None = Field(None, description="facts of your own about it")


class NewText(_Given):
    """The text that takes the place of a memory's."""

    text: str


class _Limits(_Given):
    k: int = Field(5, ge=1, le=MOST, description="how many passages")
    session: str | None = Field(None, description="only what belongs to this session; '': to none")
    source: str | None = Field(None, description="only what came from there, from all below it if it ends in /")
    as_of: AwareDatetime | None = Field(None, description="as the memory was then")
    deep: bool = Field(False, description="also what is archived or superseded")
    decompose: bool = Field(False, description="also its parts, as the chat model splits it")
    iterative: bool = Field(False, description="split, look up, read, look up again, by the chat model")
    max_steps: int = Field(4, ge=1, le=20, description="retrievals of `iterative`")


class RecallQuestion(_Limits):
    """A question, and what may be brought back."""

    query: str = Field(description="the question, in full, with the names that matter")
    method: Literal["graph", "dense"] = Field("graph", description="dense: the sentence encoder alone")
    about: list[str] = Field([], max_length=MOST, description="ids of passages that a follow-up question is about")
    context: int = Field(0, ge=0, le=100, description="neighbours of each passage, on either side")
    learned: bool = Field(True, description="with what feedback taught")
    recognise: bool = Field(False, description="raise what the chat model finds to bear on it")
    explain: bool = Field(False, description="also say in words why each passage is there")


class AskQuestion(_Limits):
    """A question to answer from what is remembered."""

    question: str = Field(description="the question, in full, with the names that matter")
    style: Literal["sentence", "phrase"] = Field("sentence", description="phrase: the answer alone")


class Useful(_Given):
    """Which passages helped to answer a question."""

    query: str = Field(description="the question")
    useful: list[str] = Field(min_length=1, max_length=MOST, description="ids of the passages that helped")
    confidence: float = Field(1.0, ge=-1, le=1, description="how sure; below 0: these passages were of no use")


class Round(_Given):
    """What a round of consolidation may spend, null where it does not matter."""

    units: int | None = Field(None, ge=0, description="passages to read, replays")
    seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    tokens: int | None = Field(None, ge=0, description="of the chat model")
    dry_run: bool = Field(False, description="do nothing, and say what would be done")


class Recalled(BaseModel):
    """What a question brought back, best first. `explanations` are in the order of the passages."""

    query: str
    passages: list[RecalledPassage]
    paths: list[Path]
    timings_ms: dict[str, float]
    steps: list[SubQuestion]
    usage: Usage
    warnings: list[str]
    explanations: list[str] | None = None

    @classmethod
    def of(cls, found: Recall, *, explain: bool = False) -> Recalled:
        """The same as the library has it."""
        return cls(
            query=found.query,
            passages=list(found.passages),
            paths=list(found.paths),
            timings_ms=dict(found.timings),
            steps=list(found.steps),
            usage=found.usage,
            warnings=list(found.warnings),
            explanations=[str(one) for one in found.explain()] if explain else None,
        )


class Answered(BaseModel):
    """An answer from the passages of `recall`: [1] in the text stands for the first of them."""

    text: str
    is_in_memory: bool
    citations: list[Citation]
    flags: list[str]
    usage: Usage
    recall: Recalled


class PassagePage(BaseModel):
    """Some of what is remembered, oldest first. The next page begins at `next_offset`, null where this is the last."""

    items: list[Passage]
    next_offset: int | None


class SourcePage(BaseModel):
    """Some of the names of sources, sorted."""

    items: list[str]
    next_offset: int | None


class Counts(BaseModel):
    """What is remembered, counted; of this namespace alone."""

    model_config = ConfigDict(extra="allow")

    namespace: str
    passages: int
    entities: int
    facts: int
    sources: int


class Diagnosed(BaseModel):
    """All findings of a check; `ok` is true where each is."""

    ok: bool
    checks: list[Check]


class Entry(BaseModel):
    """One entry of a memory's history. `text` is the earlier text where an update replaced it."""

    action: str
    id: str
    at: AwareDatetime
    previous_id: str | None
    text: str | None
    extractor: str | None
    triples: list[Triple]
    detail: dict[str, Any] | None


class Health(BaseModel):
    """That the server is there."""

    status: Literal["ok"]


class Bearer(BaseModel):
    """What the token of the request is for. A namespace of "*" stands for all."""

    name: str
    namespaces: list[str]
    access: Literal["read", "write"]
    can_ask: bool = Field(description="whether a chat model is there, for `ask` and what else needs one")


Limit = Annotated[int, Field(ge=1, le=MOST, description="how many at most")]
Offset = Annotated[int, Field(ge=0, le=10**12, description="from which one on")]
