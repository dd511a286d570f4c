"""E-mail to Documents: what a message says, who wrote it to whom and when, in which thread, and what came with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.policy import Compat32
from email.utils import collapse_rfc2231_value, getaddresses, parsedate_to_datetime
from pathlib import PurePath
from typing import Any

from hippomem.errors import HippomemError, SourceError
from hippomem.ingest.decode import clean, decode, mend
from hippomem.ingest.fields import bad_record
from hippomem.ingest.quotes import is_forward, own_text
from hippomem.ingest.split import is_passage
from hippomem.types import Document, Failure

MAIL_ENDINGS = frozenset({".eml", ".mbox"})
_HEADER_CHARS = 20_000  # of a field that are looked at
_ID_CHARS = 200
_TITLE_CHARS = 200
_MOST_NAMED = 20  # people in a line of the text, and attachments
_MOST_PEOPLE = 100
_MOST_PARTS = 1000
_MOST_STEPS = 20_000_000  # lines times parts: what is nested is looked at for the end of each part it lies in
_FIRST_YEAR, _LAST_YEAR = 1971, 2100  # of mail; what has no date is often of the first second of 1970
_PREFIX = re.compile(
    r"(?:\s*(?:re|aw|sv|vs|antw|odp|ynt|res?|fwd?|wg|tr|rv|回复|答复|回覆|转发|轉寄|返信|転送)(?:\[\d+\])?\s*[:：])+\s*",
    re.IGNORECASE,
)
_ID = re.compile(r"<[^<>\s]+>")
_SIGNED = re.compile(r"application/(?:pgp|(?:x-)?pkcs7)-signature")


class _Policy(Compat32):
    """Fields with stray bytes are text, and no longer than what is looked at. The parsers of `email.policy.default`
    raise on some malformed fields, and on long ones take minutes."""

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002
        value = "".join(value[:_HEADER_CHARS].splitlines())
        if not value.isascii():
            value = mend(value.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"))
        return value


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a mail, and what is known of it."""

    name: str
    media_type: str
    data: bytes
    occurred_at: datetime | None
    metadata: dict[str, Any]


@dataclass(slots=True)
class _Content:
    """What the parts of one message hold."""

    texts: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of attachments
    attachments: list[tuple[str, Message]] = field(default_factory=list)
    forwarded: list[Message] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    parts: int = 0


def read_mail(
    data: bytes, name: str, source: str, html: Callable[[bytes], str]
) -> Iterator[Document | Failure | Attachment]:
    """The Document of a message, what was attached, and the Documents of messages that it passes on.

    The title is the subject without "Re:", the text begins with lines that say who wrote it to whom, `session` is the
    thread (the Message-ID of its first mail), and metadata holds `from`, `to`, `cc`, `message_id`, `in_reply_to` and
    `attachments`, as far as there are such. Plain text is taken before HTML, which `html` reads. A part that cannot be
    read is a Failure of `name`, as is a message without anything in it.
    """
    try:
        steps = data.count(b"\n") * (1 + len(re.findall(rb"multipart/|message/", data, re.IGNORECASE)))
        if steps > _MOST_STEPS:
            raise SourceError("is nested too deeply, or has too many lines")
        message: Message = message_from_bytes(data, policy=_Policy())
        yield from _read(message, name, source, html, None)
    except RecursionError:
        yield bad_record(name, "is nested too deeply", data[:4096])
    except SourceError as error:
        yield bad_record(name, str(error), data[:4096])
    except Exception as error:  # the library raises this and that on what strangers write
        yield bad_record(name, f"is not a readable message ({type(error).__name__}: {error})", data[:4096])


def _read(
    message: Message, name: str, source: str, html: Callable[[bytes], str], thread: str | None
) -> Iterator[Document | Failure | Attachment]:
    if _is_deleted(message):
        return
    content = _Content()
    _collect(message, content, html)
    subject = _words(message, "Subject")
    sender, to, cc = (_people(message, which) for which in ("From", "To", "Cc"))
    id_, parent = _first_id(message, "Message-ID"), _first_id(message, "In-Reply-To")
    answered = _first_id(message, "References") or parent
    thread = thread or answered or id_ or None
    occurred_at = _date(message)
    about = {
        "media_type": "message/rfc822",
        "from": ", ".join(sender),
        "to": to,
        "cc": cc,
        "message_id": id_,
        "in_reply_to": parent,
        "attachments": content.names[:_MOST_NAMED],
    }
    metadata = {key: value for key, value in about.items() if value}
    own = own_text("\n\n".join(content.texts), is_reply=bool(answered) and not is_forward(subject))
    lines = [("From", sender), ("To", to), ("Cc", cc)]
    head = "\n".join(f"{which}: {_named(people)}" for which, people in lines if people)
    files = f"Attachments: {_listed(content.names)}" if content.names else ""
    text = "\n\n".join(part for part in (head, own, files) if part)
    failures = [bad_record(name, reason, [id_, reason]) for reason in content.failures]
    if own or files or (is_passage(subject) and not failures):
        yield Document(
            text=text if is_passage(text) else subject,
            title=_PREFIX.sub("", subject, count=1)[:_TITLE_CHARS].strip(),
            source=source,
            session=thread,
            occurred_at=occurred_at,
            metadata=metadata,
        )
    elif not failures and not content.forwarded:
        yield Failure(name, "holds no text")
    yield from failures
    beside = {key: value for key, value in metadata.items() if key in ("from", "message_id")}
    for file_name, part in content.attachments:
        yield Attachment(file_name, part.get_content_type(), _bytes(part), occurred_at, beside)
    for forwarded in content.forwarded:
        yield from _read(forwarded, name, source, html, thread)


def _collect(part: Message, content: _Content, html: Callable[[bytes], str]) -> None:
    """Put what a part holds, and the parts in it, where it belongs."""
    kind = part.get_content_type()
    inside = part.get_payload() if part.is_multipart() else []
    parts = [child for child in inside if isinstance(child, Message)]
    if kind == "message/rfc822":
        content.forwarded += parts[:1]
    elif part.is_multipart():
        content.parts += len(parts)
        if content.parts > _MOST_PARTS:
            raise SourceError(f"has more than {_MOST_PARTS:,} parts")
        if kind == "multipart/alternative":
            parts = [min(parts, key=_rank)] if parts else []
        elif kind == "multipart/related":  # to the first belong pictures and styles
            parts = parts[:1]
        elif part.get_content_maintype() == "message":  # reports on delivery
            parts = []
        for child in parts:
            _collect(child, content, html)
    else:
        is_broken = part.get_content_maintype() == "multipart"  # without a boundary
        _leaf(part, "text/plain" if is_broken else kind, content, html)


def _rank(part: Message) -> int:
    """The smaller, the plainer is what an alternative holds."""
    kinds = {inner.get_content_type() for inner in part.walk()}
    return 0 if "text/plain" in kinds else 1 if "text/html" in kinds else 2


def _leaf(part: Message, kind: str, content: _Content, html: Callable[[bytes], str]) -> None:
    file_name = _file_name(part)
    if _SIGNED.fullmatch(kind):
        return
    if file_name or kind not in ("text/plain", "text/html"):
        if file_name:
            content.names.append(file_name)
            content.attachments.append((file_name, part))
        return
    try:
        charset = str(collapse_rfc2231_value(part.get_param("charset", ""))).strip("\"' ")
        data = _bytes(part)
        if not charset.lower().startswith("utf-16") and data.count(0) * 20 <= len(data):  # a stray NUL spoils no mail
            data = data.replace(b"\0", b"")
        text = decode(data, "a part", declared=charset)
        text = html(text.encode("utf-8", "replace")) if kind == "text/html" else text
    except HippomemError as error:  # also where documents cannot be read: what is plain is read without
        content.failures.append(f"a part of kind {kind} cannot be read: {error}")
        return
    if text := clean(text).strip():
        content.texts.append(text)


def _bytes(part: Message) -> bytes:
    try:
        data = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):  # an encoding of no kind
        data = b""
    return data if isinstance(data, bytes) else b""


def _file_name(part: Message) -> str:
    try:
        name = part.get_filename("")
    except (ValueError, LookupError, TypeError, UnicodeError):
        return ""
    return PurePath(_decoded(str(name)).replace("\\", "/")).name[:_TITLE_CHARS].strip()


def _words(message: Message, which: str) -> str:
    return _decoded(str(message.get(which, "")))


def _decoded(value: str) -> str:
    """A field's value with its encoded words (RFC 2047) read, on one line. Those side by side are read as one: many
    mailers cut them within a character."""
    try:
        parts = decode_header(value)
    except (MessageError, ValueError, LookupError):
        parts = [(value, None)]
    words = []
    for word, charset in parts:
        if isinstance(word, bytes):
            try:  # beside encoded words, others are escaped
                word = decode(word, "a field", declared=charset) if charset else word.decode("raw-unicode-escape")
            except (SourceError, ValueError):
                word = word.decode("cp1252", "replace")
        words.append(word)
    return " ".join(clean("".join(words)).split())


def _people(message: Message, which: str) -> list[str]:
    """ "Ada Thorne <ada@example.org>" for each."""
    found = []
    try:
        pairs = getaddresses([str(message.get(which, ""))])
    except RecursionError:  # comments in comments
        pairs = []
    for name, address in pairs:
        name = _decoded(name).strip("'\" ")
        address = "" if name == address else clean(address)
        found.append(f"{name} <{address}>" if name and address else name or address)
    return [person for person in found if person][:_MOST_PEOPLE] or list(
        filter(None, [_words(message, which)[:_TITLE_CHARS]])
    )


def _named(people: list[str]) -> str:
    """Names alone, where there are some."""
    return _listed([person.partition(" <")[0] for person in people])


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _first_id(message: Message, which: str) -> str:
    found = _ID.search(str(message.get(which, "")))
    return clean(found[0])[:_ID_CHARS] if found else ""


def _is_deleted(message: Message) -> bool:
    """Whether Thunderbird has deleted it: until a folder is compacted, it only marks what is."""
    status = str(message.get("X-Mozilla-Status", "")).strip()
    return re.fullmatch("[0-9A-Fa-f]{4}", status) is not None and bool(int(status, 16) & 8)


def _date(message: Message) -> datetime | None:
    try:
        moment = parsedate_to_datetime(str(message.get("Date", "")))
        if moment.tzinfo is None:  # as "-0000", which is UTC
            moment = moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.year < _LAST_YEAR else None
