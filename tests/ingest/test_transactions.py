"""How much of an ingest is written at once, and that what is computed does not depend on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from hippomem import Document, Memory, Settings
from hippomem.ingest import pipeline
from hippomem.ingest.pipeline import Ingest, Reading, Stored
from hippomem.neocortex.encoder import Encoded, Span
from hippomem.storage.rows import NewPassage
from hippomem.testing import HashEncoder, capitals


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class _Sink:
    """Takes so many seconds for each passage."""

    def __init__(self, clock: _Clock, pace: list[float]) -> None:
        self.clock, self.pace = clock, pace
        self.sizes: list[int] = []

    def known(self, _sources: list[str]) -> dict[str, tuple[str, int]]:
        return {}

    def store(self, passages: list[NewPassage], _readings: list[Reading]) -> Stored:
        self.clock.now += len(passages) * self.pace[min(len(self.sizes), len(self.pace) - 1)]
        self.sizes.append(len(passages))
        return Stored(len(passages))


class _Silent:
    def start(self, total: int | None) -> None: ...

    def advance(self, size: int, passages: int) -> None: ...


@pytest.mark.parametrize(
    ("pace", "sizes"),
    [
        ([0.001], [10, 20, 40, 80, 80, 80, 80, 80, 30]),
        ([0.6], [10] * 50),  # 6 s for ten: twenty would take longer than ten seconds
        ([2.0], [10] * 50),
        ([0.2], [10, 20, 40, *[40] * 10, 30]),
        ([0.001, 0.001, 0.001, 0.5, 0.001], [10, 20, 40, 80, 40, 80, 80, 80, 70]),
    ],
)
def test_a_transaction_grows_while_it_takes_no_more_than_seconds(
    monkeypatch: pytest.MonkeyPatch, pace: list[float], sizes: list[int]
) -> None:
    clock = _Clock()
    monkeypatch.setattr(pipeline, "time", clock)
    sink = _Sink(clock, pace)
    report = Ingest(sink, "default", 10, 1000, 1000, _Silent()).run(Document(text=f"Note {n}.") for n in range(500))
    assert (report.passages, sum(sink.sizes)) == (500, 500)
    assert sink.sizes == sizes


def test_time_between_records_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes slowly is not held back for long."""
    clock = _Clock()
    monkeypatch.setattr(pipeline, "time", clock)
    sink = _Sink(clock, [0.0])

    def trickle() -> Iterator[Document]:
        for _ in range(50):
            clock.now += 1.0
            yield Document(text=f"Note at {clock.now}.")

    Ingest(sink, "default", 10, 1000, 1000, _Silent()).run(trickle())
    assert sink.sizes == [10] * 5


class _Ahead:
    count = 4

    def begin(self, passages: Sequence[NewPassage]) -> None: ...


@pytest.mark.parametrize("ahead", [None, _Ahead()])
def test_what_a_slow_stream_gave_is_stored_within_a_minute_or_two(
    monkeypatch: pytest.MonkeyPatch, ahead: _Ahead | None
) -> None:
    clock = _Clock()
    monkeypatch.setattr(pipeline, "time", clock)
    sink = _Sink(clock, [0.0])
    given = most = 0

    def trickle() -> Iterator[Document]:
        nonlocal given, most
        for pause in [0.0] * 200 + [20.0] * 30:  # what was there, and then what comes
            most = max(most, given - sum(sink.sizes)) if clock.now > 60 else most
            clock.now += pause
            given += 1
            yield Document(text=f"Note {given}.")

    Ingest(sink, "default", 10, 1000, 1000, _Silent(), ahead).run(trickle())
    assert sum(sink.sizes) == given == 230
    assert most <= 4


class _Recording(HashEncoder):
    def __init__(self) -> None:
        super().__init__(16)
        self.together: list[list[str]] = []

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        self.together.append(list(texts))
        return super().encode_passages(texts, spans)


def test_what_is_encoded_together_does_not_depend_on_what_is_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the last digits of the vectors would depend on how fast the machine was. Some texts come twice."""
    documents = [Document(text=f"Note {n % 67}.", source=f"source {n}") for n in range(100)]
    runs: list[list[list[str]]] = []
    states: list[list[str]] = []
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(pipeline, "SECONDS", seconds)
        encoder = _Recording()
        settings = Settings(db=":memory:", batch=8, encoder=encoder, pipeline=capitals())
        with Memory.open(settings=settings) as memory:
            memory.ingest(documents)
            states.append(sorted(p.text for p in memory.passages()))
        runs.append(encoder.together)
    assert runs[0] == runs[1]
    assert states[0] == states[1]
    assert sum(map(len, runs[0])) == 67 + 1  # one of them again, to see whether the same model made what is there
