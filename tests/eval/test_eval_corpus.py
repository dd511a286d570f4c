"""Which passage of the corpus a recalled or a gold passage is."""

from __future__ import annotations

from hippomem_eval.corpus import Corpus
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
