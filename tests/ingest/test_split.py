"""Passages: exact places, bounded sizes, sensible cuts, and no text that brings the splitter down."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hippomem.ingest.split import Chunk, split
from hippomem.types import Document

PIECES = st.sampled_from(
    ["word", "Ein Satz. ", "\n", "\n\n", "# Kopf\n", "\n## Kopf\n\n", " ", "\t", "x" * 90, "猫。", "!", "é", "_"]
)
TEXTS = st.lists(PIECES, max_size=120).map("".join) | st.text(max_size=400)


def check(document: Document, chunks: list[Chunk], max_chars: int) -> None:
    """What holds for every text: exact places in order, bounded sizes, and nothing readable left out."""
    ends = [0]
    for position, chunk in enumerate(chunks):
        assert chunk.text == document.text[chunk.start : chunk.end]
        assert chunk.text == chunk.text.strip()
        assert 0 < len(chunk.text) <= max_chars
        assert chunk.title == document.title
        assert chunk.position == position
        assert chunk.start >= ends[-1]
        ends.append(chunk.end)
    starts = [chunk.start for chunk in chunks] + [len(document.text)]
    left_out = "".join(document.text[end:start] for end, start in zip(ends, starts, strict=True))
    assert not any(map(str.isalnum, left_out))


@given(TEXTS, st.integers(1, 120))
@example("word " * 30, 7)
@example("# A\n# B\n\n# C\n", 4)
@settings(max_examples=300, deadline=None)
def test_places_are_exact_and_nothing_is_lost(text: str, max_chars: int) -> None:
    document = Document(text=text, title="T")
    check(document, list(split(document, max_chars=max_chars)), max_chars)


@given(TEXTS, st.integers(1, 400))
def test_a_whole_document_is_one_chunk_while_it_is_short(text: str, whole_chars: int) -> None:
    document = Document(text=text, title="T", whole=True)
    chunks = list(split(document, max_chars=50, whole_chars=whole_chars))
    if len(text) <= whole_chars:
        assert [chunk.text for chunk in chunks] == [text.strip()] * any(map(str.isalnum, text))
    else:
        check(document, chunks, 50)


@pytest.mark.parametrize(
    "unit",
    ["a", "a b ", "\n", "a\n", "a. ", "# a\n", "#", " ", "a" + " " * 300, "\n   ", '."', "猫", "\u2028", "a\n\n"],
)
def test_monotonous_texts_over_several_windows(unit: str) -> None:
    document = Document(text=unit * (350_000 // len(unit)))
    check(document, list(split(document)), 1000)


def test_paragraphs_then_sentences_then_words() -> None:
    first, second = "One here. Two here.", "Three here. Four here! Five here?"
    assert texts(f"{first}\n\n{second}", 40) == [first, second]
    assert texts(f"{first}\n\n{second}", 25) == [first, "Three here. Four here!", "Five here?"]
    assert texts("alpha beta gamma delta", 12) == ["alpha beta", "gamma delta"]
    assert texts("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert texts("名前はまだ無い。猫である。", 9) == ["名前はまだ無い。", "猫である。"]
    assert texts("यह एक घर है। घर बड़ा है।", 20) == ["यह एक घर है।", "घर बड़ा है।"]
    assert texts("هل مات في البحر؟ مات في البحر.", 25) == ["هل مات في البحر؟", "مات في البحر."]


def test_a_heading_stays_with_what_it_heads() -> None:
    markdown = "# Title\n\n" + "A sentence is here. " * 8 + "\n\n## Second\n\n\n" + "Other words follow. " * 8
    chunks = texts(markdown, 100)
    assert [chunk for chunk in chunks if chunk.startswith("#")] == [
        "# Title\n\nA sentence is here. A sentence is here. A sentence is here. A sentence is here.",
        "## Second\n\n\nOther words follow. Other words follow. Other words follow. Other words follow.",
    ]
    assert all("#" not in chunk[1:].lstrip("#") for chunk in chunks)


def test_headings_without_text_are_still_cut() -> None:
    assert texts("# One\n# Two\n# Three\n# Four", 14) == ["# One\n# Two", "# Three\n# Four"]


def test_a_long_gap_does_not_cut_the_word_behind_it() -> None:
    gap = " " * 998 + "\n"
    assert texts(f"before\n{gap}behind {'word ' * 300}", 1000)[:2] == [
        "before",
        ("behind " + "word " * 300)[:997].strip(),
    ]


def test_chunks_without_letters_or_digits_are_left_out() -> None:
    chunks = list(split(Document(text="Alpha.\n\n* * *\n\nBeta."), max_chars=8))
    assert [(chunk.text, chunk.position) for chunk in chunks] == [("Alpha.", 0), ("Beta.", 1)]
    assert list(split(Document(text=" \n*** \n", whole=True))) == []


def test_real_texts(shared_data: Path) -> None:
    paths = [*shared_data.glob("docs/wikipedia/*.md"), shared_data / "docs/gutenberg/a_christmas_carol.txt"]
    for path in paths:
        document = Document(text=path.read_text("utf-8"), title=path.stem)
        chunks = list(split(document))
        check(document, chunks, 1000)
        # Sentences end where chunks end, but for the few that are longer than a chunk or end in a heading or quote.
        cut = [
            b for a, b in pairwise(chunks) if document.text[a.end : b.start].count("\n") == 0 and a.text[-1].isalnum()
        ]
        assert len(cut) <= len(chunks) // 20


def test_the_splitter_comes_without_the_heavy_packages() -> None:
    code = """
import sys
from hippomem.ingest.split import split
from hippomem.types import Document
assert "langchain_text_splitters" not in sys.modules
list(split(Document(text="word " * 1000)))
assert "langchain_text_splitters" in sys.modules
print(sorted({"torch", "transformers", "nltk", "spacy", "sentence_transformers"} & sys.modules.keys()))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def texts(text: str, max_chars: int) -> list[str]:
    return [chunk.text for chunk in split(Document(text=text), max_chars=max_chars)]
