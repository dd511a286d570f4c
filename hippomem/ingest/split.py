"""A document's text cut into passages, each with its exact place in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hippomem.types import Document

# The splitter holds a window in pieces; a window's size bounds what it can cost, whatever the text.
_WINDOW_CHARS = 100_000
_WINDOW_CUTS = ("\n\n", "\n", " ")
# From the best place for a cut to the worst. The pieces keep their separators, so that together they are the text.
_SEPARATORS = (
    r"\n(?=#{1,6} )",
    r"\n\s*\n",
    r"\n",
    r"(?<=[.!?…؟۔।॥։።፧။។])[\"'”’»)\]]*\s|(?<=[。！？])",
    r"\s",
)
_LONG_GAP = re.compile(r"\s{100,}")
_HEADING_END = re.compile(r"^#{1,6} [^\n]*\n\s*(?!#{1,6} )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage to be: `document.text[start:end] == text`. `position` counts a document's chunks from 0."""

    text: str
    title: str
    position: int
    start: int
    end: int


def is_passage(text: str) -> bool:
    """Whether there is anything to remember: a letter or a digit."""
    return any(map(str.isalnum, text))


def split(document: Document, *, max_chars: int = 1000, whole_chars: int = 8000) -> Iterator[Chunk]:
    """The passages of a document, in order and without overlap, none longer than `max_chars` characters.

    A document that is `whole` and no longer than `whole_chars` is one passage. Cuts are made before Markdown
    headings, between paragraphs, lines, sentences or words, whichever comes first in this order; a heading stays with
    what it heads. Chunks begin and end with no whitespace, and one without any letter or digit is left out.
    """
    position = 0
    for start, end in _spans(document, max_chars, whole_chars):
        text = document.text[start:end]
        stripped = text.strip()
        if is_passage(stripped):
            start += len(text) - len(text.lstrip())
            yield Chunk(stripped, document.title, position, start, start + len(stripped))
            position += 1


def _spans(document: Document, max_chars: int, whole_chars: int) -> Iterator[tuple[int, int]]:
    text = document.text
    if len(text) <= (whole_chars if document.whole else max_chars):
        yield 0, len(text)
        return
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        list(_SEPARATORS),
        keep_separator="end",
        is_separator_regex=True,
        chunk_size=max_chars,
        chunk_overlap=0,
        strip_whitespace=False,
    )
    start = 0
    for window in _windows(text):
        for piece in splitter.split_text(_masked(window)):
            # A piece the splitter found no place to cut in: a word without end.
            for cut in range(start, start + len(piece), max_chars):
                yield cut, min(cut + max_chars, start + len(piece))
            start += len(piece)


def _windows(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = start + _WINDOW_CHARS
        if end < len(text):
            cuts = (text.rfind(cut, start + _WINDOW_CHARS // 2, end) + len(cut) for cut in _WINDOW_CUTS)
            end = next((cut for cut in cuts if cut > start + len(_WINDOW_CUTS[0])), end)
        yield text[start:end]
        start = end


def _masked(window: str) -> str:
    """`window` at the same length, with whitespace hidden where a cut would do no good.

    That is behind a heading, which belongs to what follows it, and within a long gap: the splitter would look at
    every single blank of it.
    """
    window = _HEADING_END.sub(lambda heading: heading[0].rstrip().ljust(len(heading[0]), "_"), window)
    return _LONG_GAP.sub(lambda gap: gap[0][:2].ljust(len(gap[0]) - 1, "_") + gap[0][-1], window)
