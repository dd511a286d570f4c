"""An mbox file taken apart into its messages, one in memory at a time."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE_BYTES = 1 << 16  # a longer line comes in pieces
_KEPT_BYTES = 1 << 12  # of a message that is too large
_FIELD = re.compile(rb"[!-9;-~]+:|>?From ")
_CLOCK = re.compile(rb"\d\d:\d\d")
_ESCAPED = re.compile(rb">+From ")


class RawMessage(NamedTuple):
    """A message as it was sent; only its beginning where it `is_cut`."""

    data: bytes
    is_cut: bool = False


def messages(stream: io.BufferedReader, most: int) -> Iterator[RawMessage]:
    """The messages of an mbox stream, in order; those of more than `most` bytes are cut.

    One begins at a line "From …" behind an empty line, or with a time in it, where a field of a header follows: so a
    sentence that begins so ends no message. Its ">From " in the text is "From " again. What begins with no such line is
    one message.
    """
    taken, size, is_cut = bytearray(), 0, False
    postmark = b""
    is_start = is_blank = True  # of a line; whether the one before is empty
    while line := stream.readline(_LINE_BYTES):
        if postmark and _FIELD.match(line):
            if size:
                yield RawMessage(bytes(taken), is_cut)
            taken, size, is_cut = bytearray(), 0, False
            postmark = b""
        begins = is_start and line.startswith(b"From ") and (is_blank or _CLOCK.search(line) is not None)
        own = line[1:] if is_start and line.startswith(b">") and _ESCAPED.match(line) else line
        added, postmark = (postmark, line) if begins else (postmark + own, b"")
        size += len(added)
        if size > most and not is_cut:
            is_cut = True
            del taken[_KEPT_BYTES:]
        elif not is_cut:
            taken += added
        is_start = line.endswith(b"\n")
        is_blank = is_start and not line.strip()
    if size or postmark:
        yield RawMessage(bytes(taken + postmark), is_cut)
