"""What an ingest would cost before it is made: everything is read and cut, nothing is stored and nobody is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hippomem.extraction_calls import packed, tokens_each_way
from hippomem.ingest.inputs import Input
from hippomem.ingest.pipeline import Ingest, Reading, Stored
from hippomem.ingest.progress import ProgressBar
from hippomem.neocortex.chat import Chat
from hippomem.neocortex.prices import cost_of, price_of
from hippomem.settings import Settings
from hippomem.storage import writes
from hippomem.storage.jobs import Work
from hippomem.storage.rows import NewPassage
from hippomem.types import Estimate, Usage
from hippomem.writing import Writer


@dataclass(slots=True)
class _Count:
    """A sink that only counts. Passages of a batch share calls as they would when they are extracted."""

    writer: Writer
    group_chars: int
    passages: int = 0
    characters: int = 0
    usage: Usage = field(default_factory=Usage)
    _seen: set[str] = field(default_factory=set)
    _contents: set[str] = field(default_factory=set)

    def known(self, sources: list[str]) -> dict[str, tuple[str, int]]:
        """As the writer's."""
        return self.writer.known(sources)

    def store(self, passages: list[NewPassage], readings: list[Reading]) -> Stored:  # noqa: ARG002
        """Count what is new of a batch."""
        with self.writer.store_.read() as connection:
            self._seen |= writes.existing(connection, self.writer.number, [p.id for p in passages]).keys()
        fresh = []
        for p in passages:
            if p.id in self._seen:
                continue
            self._seen.add(p.id)
            self.passages += 1
            self.characters += len(p.text)
            if p.content not in self._contents:
                self._contents.add(p.content)
                fresh.append(Work(0, 0, p.id, p.content, p.title, p.text, None, 0, 0))
        for group in packed(fresh, self.group_chars):
            self.usage += Usage(1, *tokens_each_way(group))
        return Stored()


def estimate(
    writer: Writer, settings: Settings, chat: Chat | None, sources: Input | Iterable[Input], *, progress: bool
) -> Estimate:
    """The estimate of an ingest with these settings. Raises NotFoundError for a path that does not exist."""
    count = _Count(writer, settings.llm_group_chars)
    limits = settings.batch, settings.passage_chars, settings.max_document_bytes
    with ProgressBar(progress, "estimating") as bar:
        report = Ingest(count, settings.namespace, *limits, progress=bar).run(sources)
    price = price_of(chat.identity, settings.llm_prices, chat.is_own_server) if chat else None
    return Estimate(
        report.documents,
        count.passages,
        count.characters,
        report.skipped,
        report.failed,
        count.usage.calls,
        count.usage.input_tokens,
        count.usage.output_tokens,
        chat.identity if chat else None,
        cost_of(count.usage, price),
    )
