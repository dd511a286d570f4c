"""Where the passages of one ingest go: to the writer, and before that to workers, where there are some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from hippomem.analyse import Text
from hippomem.ingest.pipeline import Reading, Stored
from hippomem.neocortex.centring import CentredEncoder
from hippomem.neocortex.encoder import Encoder
from hippomem.sample import sample_of
from hippomem.settings import Settings
from hippomem.storage import writes
from hippomem.storage.rows import NewPassage
from hippomem.workers.cluster import ray_pool
from hippomem.workers.pool import Pool
from hippomem.workers.process import process_pool
from hippomem.workers.reading import Models, Outcome
from hippomem.writing import Writer


@dataclass(slots=True)
class IngestSink:
    """The sink of the ingest by whose id the jobs of its passages are known. `stored` is called after each
    transaction.
    """

    writer: Writer
    ingest: str
    stored: Callable[[], None]
    pool: Pool | None = None
    _begun: dict[str, tuple[Future[Outcome], int]] = field(default_factory=dict)  # by content: where it will be
    _awaited: Counter[str] = field(default_factory=Counter)  # by content: the passages that are still to be stored

    @property
    def count(self) -> int:
        """How many workers analyse ahead."""
        return self.pool.count if self.pool else 0

    def known(self, sources: list[str]) -> dict[str, tuple[str, int]]:
        """As the writer's."""
        return self.writer.known(sources)

    def begin(self, passages: Sequence[NewPassage]) -> None:
        """Have workers analyse what is new of these, as one batch."""
        if self.pool is None:
            return
        number = self.writer.number
        with self.writer.store_.read() as connection:
            there = writes.existing(connection, number, [p.id for p in passages])
            new = {p.content: p for p in passages if p.id not in there and p.content not in self._begun}
            encoded = writes.analysed(connection, number, self.writer.encoder, new)
        self._awaited.update(p.content for p in passages)
        if new:
            task = self.pool.submit([Text(p.title, p.text, content in encoded) for content, p in new.items()])
            self._begun.update({content: (task, at) for at, content in enumerate(new)})

    def store(self, passages: list[NewPassage], readings: list[Reading]) -> Stored:
        """As the writer's, once workers are done with these. Raises ModelError where one of them is lost."""
        begun = {p.content: self._begun[p.content] for p in passages if p.content in self._begun}
        ahead = {content: task.result().understood[at] for content, (task, at) in begun.items()}
        for p in passages:
            self._awaited[p.content] -= 1
            if self._awaited[p.content] <= 0:  # else it comes again soon
                del self._awaited[p.content]
                self._begun.pop(p.content, None)
        written = self.writer.store(passages, readings, self.ingest, ahead)
        self.stored()
        return written


@contextmanager
def sink_of(writer: Writer, ingest: str, settings: Settings, stored: Callable[[], None]) -> Iterator[IngestSink]:
    """The sink of an ingest with these settings; its workers end with it."""
    with ExitStack() as stack:
        pool = None
        if settings.workers or settings.ray:
            encoder, sample = writer.analyser.encoder, sample_of(writer.store_, writer.encoder)
            models = Models(*settings.encoding, settings.pipeline, encoder.identity, sample, _means(encoder.encoder))
            packed = models.packed()
            if settings.ray:
                pool = stack.enter_context(ray_pool(settings.ray, settings.workers, packed, settings.batch))
            else:
                pool = stack.enter_context(process_pool(settings.workers or 1, packed, settings.batch))
        yield IngestSink(writer, ingest, stored, pool)
        for part, seconds in pool.seconds.items() if pool else ():
            writer.analyser.seconds[part] += seconds


def _means(encoder: Encoder) -> str | None:
    """What all workers centre by: in a new store they are measured here, or each would have its own, and the store
    none."""
    return encoder.means().text() if isinstance(encoder, CentredEncoder) else None
