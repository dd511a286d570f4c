"""Words that a line's end divides."""

from __future__ import annotations

import pytest

from hippomem.ingest.division import undivided


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("The manip-\nulation of\nrecords", "The manipulation of\nrecords"),
        ("a Leucht\u00ad\nturm, a Leucht\u2010 \n  turm", "a Leuchtturm, a Leuchtturm"),
        ("SE-\nQUENCE", "SEQUENCE"),
        ("Rimsky-\nKorsakov, Jean-\nPaul", "Rimsky-Korsakov, Jean-Paul"),
        ("from 1990-\n1995, kfreebsd-\n64", "from 1990-1995, kfreebsd-64"),
        ("a well-known one, and a Well-\nknown one", "a well-known one, and a Well-known one"),
        ("a bug-\nridden bug, ridden by it", "a bug-ridden bug, ridden by it"),
        ("a light house is no light-\nhouse, a lighthouse", "a light house is no lighthouse, a lighthouse"),
        ("a list -\nof things\n- one-\n\n- two_-\nthree", "a list -\nof things\n- one-\n\n- two_-\nthree"),
        ("well\u00adknown", "well-known"),
        ("", ""),
    ],
)
def test_divided_words_are_whole_and_hyphens_of_words_stay(text: str, whole: str) -> None:
    assert undivided(text) == whole


def test_a_long_word_costs_no_more_than_its_length() -> None:
    long = "x" * 2_000_000
    assert undivided(long) == long
