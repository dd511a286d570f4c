"""Words that a page divides at the end of a line, made whole again."""

from __future__ import annotations

import re

_HYPHENS = str.maketrans("\u00ad\u2010", "--")  # soft ones, too: in PDF, hyphens are often called so
_DIVIDED = re.compile(r"(?<![^\W_])([^\W_]++)-[ \t]*\n[ \t]*([^\W_]++)")
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


def undivided(text: str) -> str:
    """The text with divided words whole ("manip-", "ulation"), and with one kind of hyphen.

    A hyphen stays that is the word's own ("Rimsky-", "Korsakov"): before a capital that follows a small letter, beside
    a digit, or where the rest of the text has the word with it. Where it has neither the word with nor without, but
    both parts as words, it stays too.
    """
    text = text.translate(_HYPHENS)
    known = {word.lower() for word in _WORD.findall(_DIVIDED.sub(" ", text))}

    def whole(found: re.Match[str]) -> str:
        left, right = found[1], found[2]
        return f"{left}-{right}" if _is_own(left, right, known) else left + right

    return _DIVIDED.sub(whole, text)


def _is_own(left: str, right: str, known: set[str]) -> bool:
    if left[-1].isdigit() or right[0].isdigit() or (left[-1].islower() and right[0].isupper()):
        return True
    low, lower = left.lower(), right.lower()
    if low + lower in known:
        return False
    return f"{low}-{lower}" in known or (low in known and lower in known)
