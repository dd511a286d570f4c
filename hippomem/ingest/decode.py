"""Bytes to text. What is not text is refused with a reason instead of being stored as noise."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from hippomem.errors import SourceError

# UTF-32 before UTF-16: the mark of the one begins with the mark of the other.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
BYTE_ORDER_MARKS = tuple(mark for mark, _ in _MARKS)
# Tab, line feed, vertical tab, form feed, return and escape (terminal colours in logs) do occur in text.
_CONTROLS = "".join(map(chr, (*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20), *range(0x7F, 0xA0))))
_CONTROL_SHARE = 0.05
_STRAY = re.compile("[\udc80-\udcff]+")  # bytes that are not UTF-8, as "surrogateescape" passes them on
# Pages of DOS and the Mac, which no file of today is in unless the detector is far more sure of them.
_DATED = re.compile(r"mac_|cp[4-8]\d\d$|cp1006$|cp1125$|hp_")
# What pages mean by what they declare, as browsers have it (encoding.spec.whatwg.org). One whose declaration is read
# as ASCII is not in UTF-16.
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    **dict.fromkeys(("utf-16", "utf-16-le", "utf-16-be"), ""),
}
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # not a backslash that is escaped itself
_DEPTH = 32  # what is nested to the limit of the stack where it is written is past it where it is read


def decode(data: bytes, name: str, *, declared: str = "") -> str:
    """The text of a file's bytes, its line ends as `\\n`.

    In this order: a byte order mark, UTF-16 that shows by its NULs, ISO-2022-JP that does by its escapes, UTF-8, the
    encoding the file `declared` itself (HTML does), UTF-8 with stray bytes, which are read as Windows-1252, a guess by
    charset_normalizer. `name` is the file's. Raises SourceError for what is not text.
    """
    return decode_mixed(data, name, declared=declared)[0]


def decode_mixed(data: bytes, name: str, *, declared: str = "") -> tuple[str, str]:
    """What `decode` returns, and "" or what to tell of stray bytes."""
    encoding = encoding_of(data, name, declared=declared)
    try:
        text = data.decode(encoding, "surrogateescape" if encoding.startswith("utf-8") else "strict")
    except (UnicodeError, LookupError) as error:
        raise SourceError(f"{PurePath(name).name} is not valid {encoding}: {error}") from None
    stray = _STRAY.search(text)
    line = text.count("\n", 0, stray.start()) + 1 if stray else 0
    text = mend(text)
    if not is_plausible(text):
        raise _binary(name)
    return text.replace("\r\n", "\n").replace("\r", "\n"), f"line {line} {NOT_UTF8}" if stray else ""


def is_mixed(text: str) -> bool:
    """Whether a text that was decoded with "surrogateescape" has stray bytes."""
    return not text.isascii() and _STRAY.search(text) is not None


def mend(text: str) -> str:
    """A text that was decoded with "surrogateescape", with its stray bytes read as Windows-1252."""
    return _STRAY.sub(lambda stray: stray[0].encode("utf-8", "surrogateescape").decode("cp1252", "replace"), text)


def encoding_of(data: bytes, name: str, *, declared: str = "") -> str:
    """The encoding `decode` reads `data` with: UTF-8 also where, beyond ASCII, no more of it is wrong than right.

    Raises SourceError where there is none.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if b"\0" in data:
        return _unmarked_utf16(data, name)
    if b"\x1b$" in data and _declared(data, "iso2022_jp"):  # Japanese mail, which is ASCII to the eye
        return "iso2022_jp"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        wrong = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
        right = characters_beyond_ascii(text) - text.count("\ufffd")
        return _declared(data, declared) or ("utf-8" if right >= wrong else _guess(data, name))
    return "utf-8"


def characters_beyond_ascii(text: str) -> int:
    """How many characters are not ASCII."""
    return len(text) - len(text.encode("ascii", "ignore"))


NOT_UTF8 = "is not valid UTF-8: its stray bytes are read as Windows-1252"


def is_plausible(text: str) -> bool:
    """False for what looks like decoded binary data: a NUL, or more than one character in twenty a control."""
    return "\0" not in text and sum(map(text.count, _CONTROLS)) <= _CONTROL_SHARE * len(text)


def is_storable(text: str) -> bool:
    """False for a text that no store can hold: with NULs or lone surrogates."""
    return _UNSTORABLE.search(text) is None


def is_storable_json(text: str) -> bool:
    """The same for the strings in a JSON text, where a NUL is always an escape sequence."""
    return is_storable(text) and _ESCAPED_NUL.search(text) is None


def as_stored(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A copy as a store gives it back. Raises TypeError, ValueError or RecursionError where JSON cannot hold it."""
    copy: dict[str, Any] = json.loads(json.dumps(dict(metadata), allow_nan=False))
    _check_nested(dict(metadata), _DEPTH)
    return copy


def _check_nested(value: object, depth: int) -> None:
    if depth < 0:
        raise ValueError(f"it is nested more than {_DEPTH} deep")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):  # as strings two keys may be one
                raise TypeError(f"the key {key!r} is no str")
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _check_nested(item, depth - 1)


def clean(text: str) -> str:
    """`text` as a store can hold it: NULs and lone surrogates as U+FFFD; form feeds and `\\r` as line ends."""
    return storable(text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n"))


def storable(text: str) -> str:
    """`text` with NULs and lone surrogates as U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def _unmarked_utf16(data: bytes, name: str) -> str:
    # Western text in UTF-16 has a NUL in nearly every second byte, and none in the others.
    even, odd = data[:8192:2], data[1:8192:2]
    shares = even.count(0) / len(even), odd.count(0) / max(1, len(odd))
    if max(shares) > 0.7 and min(shares) < 0.02:
        return "utf-16-be" if shares[0] > shares[1] else "utf-16-le"
    raise _binary(name)


def _declared(data: bytes, declared: str) -> str:
    try:
        meant = _MEANT.get(codecs.lookup(declared).name, declared) if declared else ""
        return meant if meant and is_plausible(data.decode(meant)) else ""
    except (ValueError, LookupError):  # ValueError: also a NUL in the name
        return ""


def _guess(data: bytes, name: str) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        if _declared(data, "cp1252"):
            return "cp1252"
        raise _binary(name) from None
    matches = from_bytes(data, cp_exclusion=["utf_7"])
    best = matches.best()
    if best is None:
        raise _binary(name)
    is_dated = _DATED.match(best.encoding) is not None
    for match in matches:
        # Many code pages fit a short text equally well; of these the detector takes the first by alphabet.
        is_as_good = (match.chaos, -match.coherence) <= (best.chaos, -best.coherence) or (
            is_dated and match.chaos <= best.chaos + 0.1 and match.coherence >= best.coherence - 0.15
        )
        if is_as_good and "cp1252" in match.could_be_from_charset:
            return "cp1252"
    return best.encoding


def _binary(name: str) -> SourceError:
    return SourceError(f"{PurePath(name).name} looks like binary data, not text")
