"""Any file to Documents: picks the way to read it by the ending of its name, or else by its first bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hippomem.errors import HippomemError, SourceError
from hippomem.ingest.convert import Converter
from hippomem.ingest.decode import decode, decode_mixed
from hippomem.ingest.fields import bad_record
from hippomem.ingest.mail import MAIL_ENDINGS, Attachment, read_mail
from hippomem.ingest.mailboxes import RawMessage, messages
from hippomem.ingest.records import RECORD_ENDINGS, read_records, record_ending
from hippomem.ingest.sources import EmptySourceError, Source
from hippomem.ingest.split import is_passage
from hippomem.ingest.streams import LIMIT_NAME, in_units, open_capped
from hippomem.types import Document, Failure

CONVERTED_ENDINGS = frozenset({".html", ".htm", ".xhtml", ".pdf", ".docx", ".pptx", ".xlsx", ".epub"})
MARKDOWN_ENDINGS = frozenset({".md", ".markdown"})
TEXT_ENDINGS = frozenset({".txt", ".text", ".rst", ".log"}) | MARKDOWN_ENDINGS
_KNOWN_ENDINGS = RECORD_ENDINGS | CONVERTED_ENDINGS | TEXT_ENDINGS | MAIL_ENDINGS
_MEDIA_TYPES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".rst": "text/x-rst",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".epub": "application/epub+zip",
    ".pdf": "application/pdf",
    ".json": "application/json",
    ".xhtml": "text/html",
    ".htm": "text/html",
    ".html": "text/html",
}
_SNIFFED_BYTES = 1 << 16
_ZIP_CONTENTS = {b"word/": ".docx", b"ppt/": ".pptx", b"xl/": ".xlsx", b"application/epub+zip": ".epub"}
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(?:#[ \t]+(\S.*)|(\S.*)\n=+[ \t]*)$", re.MULTILINE)
# Metadata above the text, in YAML or TOML, as blogs and note-takers have it.
_FRONT = re.compile(
    r"\A(---|\+\+\+)[ \t]*\n((?:[ \t]*\n|#[^\n]*\n)*+[\w-]++[ \t]*[:=].*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL
)
_FRONT_TITLE = re.compile(r"^title[ \t]*[:=](.*)$", re.MULTILINE)
_MARKUP = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|(?<!\w)[*_`]{1,3}(?=\w)|(?<=\w)[*_`]{1,3}(?!\w)|[ \t]+#+[ \t]*$")
_MAX_TITLE_CHARS = 200
_TEXT_TYPES = frozenset({"text/plain", "text/markdown", "text/x-patch", "text/x-diff"})  # of attachments
MAX_MAILBOX_BYTES = 64 * 2**30
# A mailbox, or a message that a server keeps as a file, under a name that does not say so.
_MAILBOX = re.compile(rb"From [^\n]*\n[!-9;-~]+:[ \t]")
_MESSAGE = re.compile(rb"(?:Return-Path|Received|Delivered-To|X-[\w-]+|Message-ID|MIME-Version|From|Date): ", re.I)
_SENT = re.compile(rb"^Message-ID:[ \t\r\n]*<", re.I | re.M)


def read(source: Source, converter: Converter, *, max_document_bytes: int) -> Iterator[Document | Failure]:
    """The Documents of a file: one for each record of a corpus, one for each mail and what it brings along, otherwise
    one, titled and with its `media_type`. And a Failure for each record that is unusable, or where bytes of a text had
    to be guessed.

    Text and source code are decoded, documents (HTML, PDF, Word, …) converted, `.gz` files expanded first. A Document
    that is not a record may have at most `max_document_bytes` bytes of text. Raises SourceError for what cannot be
    read, a document that yields no text, and what is over the limit; EmptySourceError for a file with nothing in it;
    MissingDependencyError for a document without markitdown.
    """
    if source.size == 0:
        raise EmptySourceError("is empty")
    kind = record_ending(source.path)
    if kind not in _KNOWN_ENDINGS and record_ending(Path(source.name)) in _KNOWN_ENDINGS:
        # A link that is called "latest" or so.
        source = replace(source, path=Path(source.name))
        kind = record_ending(source.path)
    if kind in RECORD_ENDINGS:
        for item in read_records(source):
            if isinstance(item, Document) and not item.whole:  # JSON that holds no records
                item = _finished(item, "", kind, source, max_document_bytes)
            yield item
        return
    if kind not in CONVERTED_ENDINGS | TEXT_ENDINGS | MAIL_ENDINGS:
        kind = _sniffed(source) or kind
    if kind in MAIL_ENDINGS:
        yield from _mails(source, kind, converter, max_document_bytes)
        return
    title = stray = ""
    if kind in CONVERTED_ENDINGS:
        text, title = converter.convert(source.path, kind=kind, max_unpacked_bytes=max_document_bytes)
    else:
        with open_capped(source.path, max_document_bytes, setting=LIMIT_NAME) as stream:
            text, stray = decode_mixed(stream.read(), source.name)
    yield _finished(Document(text=text, source=source.name), title, kind, source, max_document_bytes)
    if stray:
        yield Failure(source.name, stray)


def _mails(source: Source, kind: str, converter: Converter, max_document_bytes: int) -> Iterator[Document | Failure]:
    """The messages of a mailbox, or the one that an `.eml` file is, and what was attached to them."""

    def html(page: bytes) -> str:
        return converter.convert(source.path, kind=".html", data=page)[0]

    most = 2 * max_document_bytes  # attached, a document takes a third more
    is_box = kind == ".mbox"
    with open_capped(source.path, MAX_MAILBOX_BYTES if is_box else most, setting=LIMIT_NAME) as stream:
        found = messages(stream, most) if is_box else iter([RawMessage(stream.read())])
        index = -1
        for index, (data, is_cut) in enumerate(message for message in found if message.data.strip()):
            name = f"{source.name}#{index}" if is_box else source.name
            if is_cut:
                reason = f"holds more than the limit of {in_units(most)}: raise {LIMIT_NAME}"
                yield bad_record(name, reason, data)
                continue
            for item in read_mail(data, name, source.name, html):
                if isinstance(item, Attachment):
                    yield from _attached(item, name, source, converter, max_document_bytes)
                elif isinstance(item, Failure):
                    yield item
                elif reason := _excess(item.text, max_document_bytes):
                    yield bad_record(name, reason, data)
                else:
                    title = "" if is_box else title_of("", source.path.name, is_markdown=False)
                    yield item if item.title else replace(item, title=title)
        if index < 0:
            raise EmptySourceError("holds no text")


def _attached(
    attachment: Attachment, name: str, source: Source, converter: Converter, max_document_bytes: int
) -> Iterator[Document | Failure]:
    """The Document of what was attached, where it is of a kind that is read; of others the mail has the name."""
    file = replace(source, path=Path(attachment.name))
    kind = ".html" if attachment.media_type == "text/html" else file.path.suffix.lower()
    is_text = kind in TEXT_ENDINGS | RECORD_ENDINGS or attachment.media_type in _TEXT_TYPES
    if kind not in CONVERTED_ENDINGS and not is_text:
        return
    try:
        title = ""
        if kind not in CONVERTED_ENDINGS:
            text = decode(attachment.data, attachment.name)
        else:
            text, title = converter.convert(file.path, kind=kind, data=attachment.data)
        document = _finished(Document(text=text, source=source.name), title, kind, file, max_document_bytes)
    except HippomemError as error:
        reason = f"the attachment {attachment.name!r} is not read: {error}"
        yield bad_record(name, reason, [attachment.name, attachment.metadata])
        return
    metadata = {**document.metadata, **attachment.metadata, "attachment": attachment.name}
    yield replace(document, occurred_at=attachment.occurred_at, metadata=metadata)


def title_of(text: str, name: str, *, is_markdown: bool) -> str:
    """The title in the front matter of a Markdown text, or its first heading of level 1; otherwise the file's name
    without endings, its underscores spaces.
    """
    title = _markdown_title(text[:100_000]) if is_markdown else ""  # past the beginning, a first heading is one of many
    stem = Path(name.removesuffix(".gz")).stem
    return (title or " ".join(stem.replace("_", " ").split()) or stem)[:_MAX_TITLE_CHARS]


def _markdown_title(text: str) -> str:
    front = _FRONT.match(text)
    named = _FRONT_TITLE.search(front[2]) if front else None
    title = named[1].strip() if named else ""
    if title and title[0] not in ">|":  # where it stands on the lines below
        return title[1:-1].strip() if title[0] in "'\"" and title[0] == title[-1] else title
    match = _HEADING.search(_FENCE.sub("", text[front.end() :] if front else text))
    return _MARKUP.sub(r"\1", match[1] or match[2]).strip() if match else ""


def _finished(document: Document, title: str, kind: str, source: Source, max_document_bytes: int) -> Document:
    text = document.text
    if not is_passage(text):
        if kind in CONVERTED_ENDINGS:  # there may be some that its reader does not see
            raise SourceError(
                "holds no text" + (" (are its pages pictures? Then they need OCR first)" if kind == ".pdf" else "")
            )
        raise EmptySourceError("holds no text")
    if reason := _excess(text, max_document_bytes):
        raise SourceError(reason)
    is_markdown = kind in MARKDOWN_ENDINGS | CONVERTED_ENDINGS - {".pdf"}
    title = title[:_MAX_TITLE_CHARS] or title_of(text, source.path.name, is_markdown=is_markdown)
    return replace(document, title=title, metadata={"media_type": _MEDIA_TYPES.get(kind, "text/plain")})


def _excess(text: str, max_document_bytes: int) -> str:
    """Why a text is too large; "" where it is not."""
    if len(text) * 4 > max_document_bytes and (size := len(text.encode())) > max_document_bytes:
        return f"holds {in_units(size)} of text, limit {in_units(max_document_bytes)}: raise {LIMIT_NAME}"
    return ""


def _sniffed(source: Source) -> str:
    """The ending that the first bytes of a file speak for; "" for text and anything unknown."""
    try:
        with source.path.open("rb") as stream:
            head = stream.read(_SNIFFED_BYTES)
            stream.seek(max(0, source.size - _SNIFFED_BYTES))
            tail = stream.read(_SNIFFED_BYTES)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}") from error
    if head.startswith(b"%PDF-"):
        return ".pdf"
    if head.startswith(b"PK\x03\x04"):
        # The names of the files inside are at both ends of a zip file.
        inside = (ending for name, ending in _ZIP_CONTENTS.items() if name in head or name in tail)
        kind = next(inside, "")
        if not kind:
            raise SourceError("is a zip archive: unpack it first")
        return kind
    if _MAILBOX.match(head):
        return ".mbox"
    if _MESSAGE.match(head) and _SENT.search(head.replace(b"\r\n", b"\n").partition(b"\n\n")[0]):
        return ".eml"
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_html = start.startswith((b"<!doctype html", b"<html")) or (start.startswith(b"<?xml") and b"<html" in start)
    return ".html" if is_html else ""
