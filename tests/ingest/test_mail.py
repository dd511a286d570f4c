"""E-mail: one message or a mailbox of them, as mailers write it and as nobody should."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from ingest_documents import pdf, write_docx

from hippomem import Memory, Settings
from hippomem.errors import MissingDependencyError, ModelError, SourceError
from hippomem.ingest.convert import Converter
from hippomem.ingest.mailboxes import messages
from hippomem.ingest.quotes import own_text
from hippomem.ingest.readers import read
from hippomem.ingest.sources import EmptySourceError, Source
from hippomem.testing import HashEncoder, capitals
from hippomem.types import Document, Failure

LIMIT = 2**20


class NoConverter(Converter):
    """As without markitdown."""

    def convert(self, path: Path, **_: Any) -> tuple[str, str]:
        raise MissingDependencyError("markitdown", "documents")


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    pytest.importorskip("markitdown", reason="documents need markitdown")
    with Converter() as shared:
        yield shared


def mail(text: str = "The lens is cracked.", **fields: str) -> EmailMessage:
    message = EmailMessage()
    known = {"Subject": "The lens", "From": "Ada Thorne <ada@light.example>", "To": "Bea Lund <bea@light.example>"}
    sent = {"Date": "Tue, 05 Mar 2024 10:30:00 +0200", "Message-ID": "<1@light.example>"}
    for name, value in {**known, **sent, **{name.replace("_", "-"): value for name, value in fields.items()}}.items():
        if value:
            message[name] = value
    message.set_content(text)
    return message


def read_all(
    folder: Path, data: EmailMessage | bytes, name: str = "a.eml", converter: Converter | None = None
) -> list[Document | Failure]:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else bytes(data))
    source = Source(path.as_posix(), path, path.stat().st_size)
    return list(read(source, converter or NoConverter(), max_document_bytes=LIMIT))


def read_one(folder: Path, data: EmailMessage | bytes, converter: Converter | None = None) -> Document:
    (document,) = read_all(folder, data, converter=converter)
    assert isinstance(document, Document)
    return document


def mbox(*mails: EmailMessage) -> bytes:
    return b"".join(b"From ada@light.example Tue Mar  5 10:30:00 2024\n" + bytes(m) + b"\n" for m in mails)


def test_a_message(tmp_path: Path) -> None:
    sent = mail(To="Bea Lund <bea@light.example>, cid@light.example", Cc='"Møller, Dag" <dag@light.example>')
    assert read_one(tmp_path, sent) == Document(
        text="From: Ada Thorne\nTo: Bea Lund, cid@light.example\nCc: Møller, Dag\n\nThe lens is cracked.",
        title="The lens",
        source=(tmp_path / "a.eml").as_posix(),
        session="<1@light.example>",
        occurred_at=datetime(2024, 3, 5, 8, 30, tzinfo=UTC),
        metadata={
            "media_type": "message/rfc822",
            "from": "Ada Thorne <ada@light.example>",
            "to": ["Bea Lund <bea@light.example>", "cid@light.example"],
            "cc": ["Møller, Dag <dag@light.example>"],
            "message_id": "<1@light.example>",
        },
    )


def test_replies_are_of_the_session_and_the_title_of_what_they_answer(tmp_path: Path) -> None:
    second = mail(Subject="Re: AW: The lens", Message_ID="<2@x>", In_Reply_To="<1@light.example>")
    third = mail(
        Subject="回复：Re[2]: The lens", Message_ID="<3@x>", References="<1@light.example> <2@x>", In_Reply_To="<2@x>"
    )
    for reply in (second, third):
        document = read_one(tmp_path, bytes(reply))
        assert (document.title, document.session) == ("The lens", "<1@light.example>")
    assert document.metadata["in_reply_to"] == "<2@x>"


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("Tue, 5 Mar 2024 10:30:00 -0000", datetime(2024, 3, 5, 10, 30, tzinfo=UTC)),
        ("5 Mar 2024 10:30 EST", datetime(2024, 3, 5, 15, 30, tzinfo=UTC)),
        ("", None),
        ("yesterday", None),
        ("Tue, 45 Mar 2024 10:30:00 +0000", None),
        ("Thu, 1 Jan 1970 00:00:00 +0000", None),
        ("Tue, 5 Mar 9999 23:30:00 -2359", None),
        ("Tue, 5 Mar 2024 10:30:00 +99999999", None),
    ],
)
def test_dates(tmp_path: Path, date: str, moment: datetime | None) -> None:
    assert read_one(tmp_path, f"Date: {date}\nFrom: a@b\n\nHello.".encode()).occurred_at == moment


@pytest.mark.parametrize(
    ("field", "title"),
    [
        (b"=?utf-8?B?w5hs?= og =?iso-8859-1?Q?br=F8d?=", "Øl og brød"),
        (b"=?utf-8?B?4piV4piV4g==?= =?utf-8?B?mJU=?=", "☕☕☕"),  # cut within a character
        (b"=?gb2312?B?0rvM7A==?=", "一天"),
        (b"=?x-none?Q?caf=E9?=", "café"),
        (b"=?utf-8?Q?caf=E9?=", "café"),
        ("Øl og brød".encode(), "Øl og brød"),
        ("Øl og brød".encode("latin-1"), "Øl og brød"),
        (b"folded\r\n\tand long", "folded and long"),
        (b"=?utf-8?B?=====?=", "a"),  # nothing: the file's name
        (b"nul \0 here", "nul \ufffd here"),
    ],
)
def test_subjects(tmp_path: Path, field: bytes, title: str) -> None:
    assert read_one(tmp_path, b"Subject: " + field + b"\r\nFrom: a@b\r\n\r\nHello.").title == title


@pytest.mark.parametrize(
    ("fields", "body", "text"),
    [
        (
            b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable",
            b"caf=E9 =\nau lait",
            "café au lait",
        ),
        (b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64", b"Y2Fmw6k=", "café"),
        (b"Content-Transfer-Encoding: base64", b"Y2Fmw6k", "café"),
        (b"Content-Transfer-Encoding: nonsense", b"plain", "plain"),
        (b"Content-Type: text/plain; charset=iso-8859-1", "café".encode(), "café"),
        (b"Content-Type: text/plain; charset=utf-8", b"caf\xe9 au lait", "café au lait"),
        (b'Content-Type: text/plain; charset="a\0b"', b"caf\xe9 au lait", "café au lait"),
        (b"Content-Type: text/plain; charset=nonsense", "café".encode(), "café"),
        (b"Content-Type: text/plain; charset*=\xff''x", "café".encode(), "café"),
        (b"Content-Type: text/plain; charset=iso-2022-jp", "灯台のレンズ".encode("iso-2022-jp"), "灯台のレンズ"),
        (b"Content-Type: text/plain; charset=gb2312", "灯塔的镜片已经碎了".encode("gbk"), "灯塔的镜片已经碎了"),
        (b"Content-Type: nonsense", b"plain", "plain"),
        (b"Content-Type: multipart/mixed", b"no boundary", "no boundary"),
        (b"Content-Type: multipart/mixed; boundary=b", b"--b\n\nnever closed", "never closed"),
        (b"X: y", b"a stray \0NUL in a line of text", "a stray NUL in a line of text"),
        (b"not a field at all", b"and its text", "not a field at all\n\nand its text"),
    ],
)
def test_texts(tmp_path: Path, fields: bytes, body: bytes, text: str) -> None:
    assert read_one(tmp_path, fields + b"\n\n" + body).text == text


def test_plain_text_is_taken_before_html_and_html_without_it(tmp_path: Path, converter: Converter) -> None:
    both = mail("Plain.")
    both.add_alternative("<p>Rich.", subtype="html")
    assert read_one(tmp_path, both).text.endswith("\n\nPlain.")
    alone = mail("")
    alone.set_content(
        "<html><body><h1>Käse</h1><img src='x.png'><p>Brie.</body></html>", subtype="html", charset="cp1252"
    )
    alone.add_related(b"GIF", "image", "gif", filename="logo.gif", cid="<logo>")
    assert read_one(tmp_path, alone, converter).text.endswith("\n\n# Käse\n\nBrie.")
    (failure,) = read_all(tmp_path, alone)
    assert isinstance(failure, Failure)
    assert "hippomem[documents]" in failure.reason


def test_what_a_reply_in_html_quotes_is_left_out(tmp_path: Path, converter: Converter) -> None:
    sent = mail("", References="<1@x>")
    page = """<div dir="ltr">I order <b>one</b>.</div><br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">On
    Tue, Mar 5, 2024 at 10:30&nbsp;AM Ada &lt;<a href="mailto:ada@x">ada@x</a>&gt; wrote:<br></div>
    <blockquote class="gmail_quote"><div>It is cracked.<div><p>Badly.</div></blockquote></div>"""
    sent.set_content(page, subtype="html")
    assert read_one(tmp_path, sent, converter).text == "From: Ada Thorne\nTo: Bea Lund\n\nI order **one**."


def test_attachments_are_named_and_read_where_they_are_of_a_kind_that_is(tmp_path: Path, converter: Converter) -> None:
    sent = mail()
    docx = write_docx(tmp_path / "x", "Offer", "61,000 kroner.").read_bytes()
    sent.add_attachment(docx, "application", "octet-stream", filename="Pris på linser.docx")
    sent.add_attachment("Check the oil.", filename="../../to_do.txt")
    sent.add_attachment(b"\xff\xd8", "image", "jpeg", filename="lens.jpg")
    sent.add_attachment(b"%PDF-1.4 broken", "application", "pdf", filename="plan.pdf")
    letter, offer, list_, failure = read_all(tmp_path, sent, converter=converter)
    assert isinstance(letter, Document)
    assert letter.text.endswith("Attachments: Pris på linser.docx, to_do.txt, lens.jpg, plan.pdf")
    assert letter.metadata["attachments"] == ["Pris på linser.docx", "to_do.txt", "lens.jpg", "plan.pdf"]
    assert isinstance(offer, Document)
    assert (offer.text, offer.title, offer.session) == ("# Offer\n\n61,000 kroner.", "Offer", None)
    assert (offer.occurred_at, offer.source) == (letter.occurred_at, letter.source)
    assert offer.metadata["attachment"] == "Pris på linser.docx"
    assert offer.metadata["message_id"] == "<1@light.example>"
    assert isinstance(list_, Document)
    assert (list_.text.strip(), list_.title) == ("Check the oil.", "to do")
    assert isinstance(failure, Failure)
    assert "the attachment 'plan.pdf' is not read: " in failure.reason


def test_a_mail_that_is_passed_on_is_one_of_its_own(tmp_path: Path) -> None:
    outer = mail("See below.", Subject="Fwd: The lamp", Message_ID="<9@x>")
    outer.add_attachment(
        mail("The lamp is out.", Subject="The lamp", From="Cid <cid@light.example>", Message_ID="<8@x>")
    )
    _, inner = documents = read_all(tmp_path, outer)
    assert [(d.title, d.session) for d in documents if isinstance(d, Document)] == [("The lamp", "<9@x>")] * 2
    assert isinstance(inner, Document)
    assert inner.text == "From: Cid\nTo: Bea Lund\n\nThe lamp is out."


GMAIL = "On Tue, Mar 5, 2024 at 10:30 AM Ada Thorne <ada@light.example>\nwrote:"
OUTLOOK = "-----Original Message-----\nFrom: Ada\nSent: Tuesday\nTo: Bea\nSubject: The lens\n\nIt is cracked."


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (f"I order one.\n\n{GMAIL}\n\n> It is cracked.\n>\n>> Is it?\n", "I order one."),
        (f"I order one.\n\n-- \nBea Lund\nLight Ltd.\n\n{GMAIL}\n> It is cracked.", "I order one."),
        ("Ja.\n\nAm 05.03.24 um 10:30 schrieb Ada Thorne:\n> Bestellst du eine?", "Ja."),
        ("好。\n\nAda <ada@light.example> 于2024年3月5日写道：\n> 你订吗？", "好。"),
        (f"I order one.\n\n{OUTLOOK}", "I order one."),
        (
            "I order one.\n\n________________________________\nVon: Ada\nGesendet: Dienstag\nAn: Bea\n\nKaputt.",
            "I order one.",
        ),
        ("I order one.\n\n**From:** Ada\n**Sent:** Tuesday\n\nIt is cracked.", "I order one."),
        (
            f"{GMAIL}\n> How many?\n\nTwo.\n\n> When?\n\nIn May.\n\n-- \nBea",
            f"{GMAIL}\n> How many?\n\nTwo.\n\n> When?\n\nIn May.",
        ),
        (f"{GMAIL}\n" + "> A line.\n" * 11 + "\nTwo.", "Two."),
        (f"{GMAIL}\n> It is cracked.", f"{GMAIL}\n> It is cracked."),  # says nothing itself
        ("Look:\n\n---------- Forwarded message ---------\nFrom: Ada\nDate: Tuesday\n\n> Cracked.", None),
        ("Two things are open:\n\n- the lens\n- the lamp", None),
        ("The list:\n\n> 1 lens", "The list:"),
    ],
)
def test_what_a_reply_says_itself(text: str, own: str | None) -> None:
    assert own_text(text, is_reply=True) == (text if own is None else own)


def test_what_is_no_reply_keeps_what_it_quotes(tmp_path: Path) -> None:
    text = f"For your files.\n\n{GMAIL}\n> It is cracked."
    assert own_text(text, is_reply=False) == text
    assert read_one(tmp_path, mail(text, Subject="Fwd: The lens", References="<1@x>")).text.endswith(text)
    assert read_one(tmp_path, mail(text, References="<1@x>")).text.endswith("\n\nFor your files.")


def test_a_mailbox(tmp_path: Path) -> None:
    quoting = mail("The minutes.\n\nFrom there we sailed.\nNote: in fog.", Message_ID="<2@x>")
    data = mbox(mail(), quoting, mail("Third.", Message_ID="<3@x>")).replace(b"\nFrom there", b"\n>From there")
    found = read_all(tmp_path, data, "all.mbox")
    assert found == [
        replace_source(item, "all.mbox.gz", tmp_path) for item in read_all(tmp_path, gzip.compress(data), "all.mbox.gz")
    ]
    texts = [item.text.partition("\n\n")[2] for item in found if isinstance(item, Document)]
    assert texts == ["The lens is cracked.", "The minutes.\n\nFrom there we sailed.\nNote: in fog.", "Third."]


def replace_source(item: Document | Failure, name: str, folder: Path) -> Document:
    assert isinstance(item, Document)
    assert item.source == (folder / name).as_posix()
    return Document(
        **{field: getattr(item, field) for field in item.__slots__} | {"source": (folder / "all.mbox").as_posix()}
    )


@pytest.mark.parametrize(
    ("data", "starts"),
    [
        (b"From a\nX: 1\n\nFrom b we went\non.\n\nFrom c\nX: 2\n", [b"X: 1", b"X: 2"]),
        (b"From a\nX: 1\n\ntext\nFrom b Tue Mar  5 10:30:00 2024\nX: 2\n", [b"X: 1", b"X: 2"]),  # no empty line before
        (b"From - \r\nX: 1\r\n\r\ntext\r\n\r\nFrom \r\nX: 2\r\n", [b"X: 1", b"X: 2"]),
        (b"X: 1\n\nno mailbox at all", [b"X: 1"]),
        (b"From a\nX: 1\n\nends with\n\nFrom ", [b"X: 1"]),
        (b"", []),
    ],
)
def test_where_messages_begin(data: bytes, starts: list[bytes]) -> None:
    found = list(messages(io.BufferedReader(io.BytesIO(data)), LIMIT))  # type: ignore[arg-type]
    assert [message.data.splitlines()[0] for message in found] == starts


def test_mail_under_a_name_that_does_not_say_so(tmp_path: Path) -> None:
    assert len(read_all(tmp_path, mbox(mail(), mail("Second.", Message_ID="<2@x>")), "Inbox")) == 2
    (kept,) = read_all(tmp_path, b"Return-Path: <ada@light.example>\n" + bytes(mail()), "1709631000.M1P2.host:2,S")
    assert isinstance(kept, Document)
    assert kept.title == "The lens"
    (text,) = read_all(tmp_path, b"From: the beginning.\n\nMessage-ID: <1@x> is no field here.", "notes")
    assert isinstance(text, Document)
    assert text.metadata["media_type"] == "text/plain"


def test_what_thunderbird_only_marked_as_deleted_is_gone(tmp_path: Path) -> None:
    kept, gone = mail(X_Mozilla_Status="0001"), mail("Never.", X_Mozilla_Status="0009")
    (document,) = read_all(tmp_path, mbox(gone, kept), "Inbox.mbox")
    assert isinstance(document, Document)
    assert "cracked" in document.text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"Content-Type: text/plain\n\n" + bytes(range(256)) * 9, "looks like binary data|is not valid"),
        (b"X: y\n\n \n", "^holds no text$"),
        (
            b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2000)),
            "nested too deeply",
        ),
        (b"Content-Type: message/rfc822\n\n" * 3000, "nested too deeply"),
        (b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nhi\n" * 1100, "more than 1,000 parts"),
        (b"Subject: long\n\n" + b"word " * (LIMIT // 5 + 1), "limit 1 MiB: raise HIPPOMEM_MAX_DOCUMENT_BYTES"),
    ],
)
def test_what_cannot_be_read_is_told_and_spoils_no_other(tmp_path: Path, data: bytes, reason: str) -> None:
    (failure,) = read_all(tmp_path, data)
    assert isinstance(failure, Failure)
    box = b"From a\n" + data + b"\n\n" + mbox(mail())
    told, document = read_all(tmp_path, box, "a.mbox")
    assert isinstance(told, Failure)
    assert told.source == f"{(tmp_path / 'a.mbox').as_posix()}#0"
    assert isinstance(document, Document)
    for item in (failure, told):
        with pytest.raises(SourceError, match=reason):
            raise SourceError(item.reason)


def test_a_message_that_is_too_large_is_skipped(tmp_path: Path) -> None:
    told, document = read_all(tmp_path, mbox(mail("long line\n" * LIMIT), mail()), "a.mbox")
    assert isinstance(told, Failure)
    assert "limit of 2 MiB: raise HIPPOMEM_MAX_DOCUMENT_BYTES" in told.reason
    assert isinstance(document, Document)


def test_hostile_fields(tmp_path: Path) -> None:
    fields = [
        b"(" * 100_000,
        b"a <a@b>, " * 100_000,
        b'"<,' * 10_000,
        b"=?utf-8?q?a" * 10_000,
        b";a*0=1" * 10_000,
        b"\0\xff" * 9000,
    ]
    for value in fields:
        for name in (b"To", b"From", b"Subject", b"References", b"Date", b"Content-Type", b"Content-Disposition"):
            (document,) = read_all(tmp_path, name + b": " + value + b"\nX: y\n\nHello.")
            assert isinstance(document, Document)
            assert "Hello." in document.text
            assert len(document.text) + len(document.title) + len(str(document.metadata)) < 100_000


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals())


def test_a_mailbox_that_grows_and_loses_mail(memory: Memory, tmp_path: Path) -> None:
    box = tmp_path / "all.mbox"
    first, second = (
        mail(),
        mail("I order one.", Subject="Re: The lens", References="<1@light.example>", Message_ID="<2@x>"),
    )
    third = mail("It came.", Subject="Re: The lens", References="<1@light.example> <2@x>", Message_ID="<3@x>")
    box.write_bytes(mbox(first, second))
    assert memory.estimate(box).passages == 2
    assert memory.ingest(box).passages == 2
    assert memory.ingest(box).skipped == 2
    box.write_bytes(mbox(second, third))
    report = memory.ingest(box)
    assert (report.passages, report.removed, report.failed) == (1, 1, ())
    found = memory.recall("It came", k=1, session="<1@light.example>", context=1).passages[0]
    assert (found.text.splitlines()[-1], [p.metadata["message_id"] for p in found.before]) == ("It came.", ["<2@x>"])
    assert memory.doctor().ok


def test_a_mail_that_newly_fails_stays(memory: Memory, tmp_path: Path) -> None:
    box = tmp_path / "all.mbox"
    box.write_bytes(mbox(mail(), mail("Second.", Message_ID="<2@x>")))
    memory.ingest(box)
    box.write_bytes(mbox(mail("long line\n" * 2**23), mail("Second.", Message_ID="<2@x>")))
    report = memory.ingest(box)
    assert (len(report.failed), report.kept, report.removed) == (1, 1, 0)


def test_an_ingest_that_breaks_goes_on(tmp_path: Path) -> None:
    class Breaking(HashEncoder):
        def encode_passages(self, texts: Any, spans: Any) -> Any:
            if any("Mail 7." in text for text in texts):
                raise ModelError("is gone")
            return super().encode_passages(texts, spans)

    box = tmp_path / "all.mbox"
    box.write_bytes(mbox(*(mail(f"Mail {n}.", Message_ID=f"<{n}@x>") for n in range(10))))
    settings = Settings(db=str(tmp_path / "m.db"), pipeline=capitals(), batch=1)
    with Memory.open(encoder=Breaking(), settings=settings) as broken:
        with pytest.raises(ModelError):
            broken.ingest(box)
        assert 0 < broken.stats()["passages"] < 10
    with Memory.open(encoder=HashEncoder(), settings=settings) as memory:
        assert memory.ingest(box).documents == 10
        assert memory.stats()["passages"] == 10


def test_an_empty_mailbox_is_empty(tmp_path: Path) -> None:
    with pytest.raises(EmptySourceError):
        read_all(tmp_path, b"\n\n", "a.mbox")


def test_a_scan_is_told(tmp_path: Path, converter: Converter) -> None:
    sent = mail()
    sent.add_attachment(pdf(""), "application", "pdf", filename="scan.pdf")
    _, failure = read_all(tmp_path, sent, converter=converter)
    assert isinstance(failure, Failure)
    assert "OCR" in failure.reason
