"""Which passage of the corpus a recalled or a gold passage is; and the corpus as an ingest takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eval_data import corpus_records, write

from hippomem import Memory
from hippomem.testing import HashEncoder, capitals
from hippomem_eval.corpus import Corpus
from hippomem_eval.datasets import load_corpus
from hippomem_eval.formats import Gold, Record

LONG = "First part of it. " + "word " * 2000 + "Last part of it."
CORPUS = Corpus(
    (
        Record("Ada", " Ada is a language.\n"),
        Record("Ada", "Ada Lovelace wrote about engines."),
        Record("Ada", LONG),
        Record("Cafe\u0301", "It  serves\ncoffee."),
        Record("", "A note without a title."),
        Record("Note", "A note without a title."),
        Record("Twice", "The same."),
        Record("Twice", "The same."),
    )
)


def test_texts_are_compared_without_whitespace() -> None:
    assert CORPUS.places_of("Ada", "Ada is a language.") == {0}
    assert CORPUS.places_of(" Ada ", "Ada Lovelace wrote about  engines.") == {1}


def test_titles_and_texts_are_compared_in_one_normal_form() -> None:
    assert CORPUS.places_of("Caf\u00e9", "It serves coffee.") == {3}


def test_the_title_tells_equal_texts_apart() -> None:
    assert CORPUS.places_of("", "A note without a title.") == {4}
    assert CORPUS.places_of("Note", "A note without a title.") == {5}
    assert CORPUS.places_of("Other", "A note without a title.") == frozenset()


def test_a_part_of_a_long_passage_is_that_passage() -> None:
    assert CORPUS.places_of("Ada", "First part of it.") == {2}
    assert CORPUS.places_of("Ada", "Last part of it.") == {2}
    assert CORPUS.places_of("Ada", "") == frozenset()


def test_no_lookup_reads_the_corpus_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr("hippomem_eval.corpus.squeezed", lambda text: read.append(text) or text)
    untitled = Corpus(tuple(Record("", f"Note {n}. And its second part.") for n in range(5)))
    assert untitled.places_of("", "Note 3. And its second part.") == {3}
    read.clear()
    assert untitled.places_of("", "Note 3.") == {3}
    assert untitled.places_of("", "second part.") == {0, 1, 2, 3, 4}
    assert len(read) == 4


def test_a_whole_passage_is_not_taken_for_a_part_of_another_one() -> None:
    corpus = Corpus((Record("T", "Short."), Record("T", "Short. And more.")))
    assert corpus.places_of("T", "Short.") == {0}


def test_gold_by_title_is_any_passage_of_that_title() -> None:
    assert CORPUS.gold_places(Gold("Ada")) == {0, 1, 2}
    assert CORPUS.gold_places(Gold("Nobody")) == frozenset()


def test_gold_by_text_is_exact() -> None:
    assert CORPUS.gold_places(Gold("Ada", "Ada is a language.")) == {0}
    assert CORPUS.gold_places(Gold("Ada", "Ada is")) == frozenset()


def test_passages_that_are_there_twice_are_one_for_gold() -> None:
    assert CORPUS.gold_places(Gold("Twice", "The same.")) == {6, 7} == CORPUS.places_of("Twice", "The same.")


def remembered(sources: Any) -> list[dict[str, Any]]:
    """What a memory makes of them, but for the time of writing."""
    with Memory.open(":memory:", encoder=HashEncoder(16), pipeline=capitals()) as memory:
        assert not memory.ingest(sources).failed
        return [{name: getattr(p, name) for name in SHOWN} for p in memory.passages()]


SHOWN = ("id", "text", "title", "source", "start", "end", "position", "session", "occurred_at", "metadata")
SAID = {"session": "s", "occurred_at": "2026-01-31T12:00:00+00:00", "triples": [["Tisza", "crosses", "Szeged"]]}


@pytest.mark.parametrize(
    "data",
    [
        corpus_records(),
        {"docs": [{"idx": 3, "passage": " A text.\n", "extracted_triples": []}, "A plain string."]},
        {"Szeged": ["A city.", " It is on the Tisza."], "Paprika": "It is a spice of dried red peppers."},
        [{"title": " Szeged ", "text": "A city on the Tisza.", "page": 7, **SAID}, {"title": 7, "text": LONG}],
    ],
)
def test_an_ingest_takes_it_as_it_takes_the_file(tmp_path: Path, data: Any) -> None:
    path = write(tmp_path / "c.json", data).resolve()
    assert remembered(load_corpus(path).documents(path.as_posix())) == remembered(path)


def test_triples_of_a_record_are_ingested(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", [{"title": "Szeged", "text": "A city on the Tisza.", **SAID}])
    with Memory.open(":memory:", encoder=HashEncoder(16), pipeline=capitals()) as memory:
        assert memory.ingest(load_corpus(path).documents("c.json")).facts == 1


def test_what_is_read_here_is_what_is_ingested(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", [{"Title": "Other", "Text": "Read by an ingest.", "content": "Read by eval."}])
    corpus = load_corpus(path)
    (passage,) = remembered(corpus.documents("c.json"))
    assert corpus.places_of(passage["title"], passage["text"]) == {0}


def test_a_record_that_cannot_be_stored_is_refused_by_the_ingest(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", [{"text": "A text.", "occurred_at": "noon"}, {"text": "Another text."}])
    with Memory.open(":memory:", encoder=HashEncoder(16), pipeline=capitals()) as memory:
        report = memory.ingest(load_corpus(path).documents("c.json"))
    assert (report.documents, len(report.failed)) == (1, 1)
