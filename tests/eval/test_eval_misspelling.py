"""Slips in the names of questions: seeded by the text, one a name, nothing else touched."""

from __future__ import annotations

from hippomem_eval.misspelling import misspelt


def test_each_name_has_one_slip_and_nothing_else() -> None:
    question = "Where was the singer of Yesterday born, in Liverpool or in New York?"
    written, slipped = question.split(), misspelt(question).split()
    changed = [old for old, new in zip(written, slipped, strict=True) if old != new]
    assert changed == ["Yesterday", "Liverpool", "York?"]
    assert all(old[0] == new[0] and abs(len(old) - len(new)) <= 1 for old, new in zip(written, slipped, strict=True))


def test_it_is_always_the_same() -> None:
    question = "Who governs Vladivostok and Saint Petersburg?"
    assert misspelt(question) == misspelt(question) != question


def test_what_names_nothing_stays() -> None:
    for question in ("Who wrote it?", "Who is Al?", "", "北京大学在哪里"):
        assert misspelt(question) == question
