"""What a mail says itself: its text without the earlier mails that it repeats, and without a signature.

In a mailbox of threads all that is quoted is there already, in the mail that said it. With it the right mail is
further behind others that quote it, or that come with the same signature (eval/README.md).
"""

from __future__ import annotations

import re

_KEPT_QUOTE = 10  # lines of a quote before its answer
_SIGNATURE = 12  # lines of a signature
_FORWARDED = re.compile(
    r"^[ \t>*]*(?:-{2,} ?(?:Forwarded|Weitergeleitete|Message transféré|Mensaje reenviado)|Begin forw)", re.MULTILINE
)
_FORWARD_PREFIX = re.compile(r"\s*(?:fwd?|wg|tr|rv|i|转发|轉寄|転送)\s*[:：]", re.IGNORECASE)
# The line above the mail that is answered, as Outlook has it in some languages, or the head of that mail.
_ORIGINAL = re.compile(
    r"^[ \t*_]*(?:-{3,} ?(?:Original|Ursprüngliche|Message d|Mensaje orig|Messaggio orig|Oorspronk|Opprinn|原始|元の)"
    r"[^\n]{0,60}|(?:From|Von|De|Da|Van|Fra|Från|发件人|寄件者|差出人)[* ]*[:：][^\n]*\n(?:[^\n]+\n){0,1}[ \t*]*"
    r"(?:Sent|Date|Gesendet|Datum|Envoyé|Enviado|Fecha|Inviato|Data|Verzonden|Sendt|Dato|Skickat|发送时间|寄件日期|日期|送信日時)"
    r"[* ]*[:：])",
    re.MULTILINE,
)
# "On Monday, … wrote:" in any language: it ends with a colon, and names a day or an address.
_ATTRIBUTION_END = re.compile(r"(?:[:：]|wrote|schrieb|a écrit)[ \t]*$")
_WHEN_OR_WHO = re.compile(r"\d{2}|@")
_ATTRIBUTION_START = re.compile(
    r"\s*(?:on|am|le|el|il|em|op|den|på|w dniu|dne|pe|ons?dag|\d)\b|.*\d{4}年", re.IGNORECASE
)


def own_text(text: str, *, is_reply: bool) -> str:
    """The text of a mail without its signature and, of a reply, without what it quotes below, or above at length.

    A short quote before its answer stays, as that would say nothing alone. A mail that says nothing itself stays whole.
    """
    own = _unquoted(text) if is_reply and not _FORWARDED.search(text) else text
    own = _unsigned(own.strip())
    return own if any(map(str.isalnum, own)) else text.strip()


def is_forward(subject: str) -> bool:
    """Whether a subject says that a mail passes another one on."""
    return _FORWARD_PREFIX.match(subject) is not None


def _unquoted(text: str) -> str:
    original = _ORIGINAL.search(text)
    lines = (text[: original.start()].rstrip("_ \n\t") if original else text.rstrip()).split("\n")
    kept: list[str] = []
    quote: list[str] = []
    for line in lines:
        if line.startswith(">") or (quote and not line.strip()):
            quote.append(line)
            continue
        _answer(kept, quote)
        quote = []
        kept.append(line)
    if quote:
        _drop_attribution(kept)
    return "\n".join(kept)


def _answer(kept: list[str], quote: list[str]) -> None:
    """Add a quote that is followed by its answer: of what was said last no more than a few lines."""
    if not quote:
        return
    said = [line[1:].removeprefix(" ") for line in quote if line.startswith(">") and not line.startswith((">>", "> >"))]
    if 0 < sum(map(bool, map(str.strip, said))) <= _KEPT_QUOTE:
        kept += [f"> {line}" if line.strip() else "" for line in said] + [""]
    else:
        _drop_attribution(kept)


def _drop_attribution(kept: list[str]) -> None:
    while kept and not kept[-1].strip():
        kept.pop()
    if not kept or not _ATTRIBUTION_END.search(kept[-1]):
        return
    for many in (1, 2, 3):
        some = kept[-many:]
        if len(some) < many or not some[0].strip():
            break
        if _ATTRIBUTION_START.match(some[0]) and _WHEN_OR_WHO.search(" ".join(some)):
            del kept[-many:]
            return
    if "@" in kept[-1]:
        del kept[-1]


def _unsigned(text: str) -> str:
    lines = text.split("\n")
    for at in range(len(lines) - 1, max(len(lines) - _SIGNATURE - 2, 0), -1):
        if lines[at].rstrip() in ("--", "\\--"):
            return "\n".join(lines[:at]).rstrip()
    return text
