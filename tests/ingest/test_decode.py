"""Bytes to text, and what is refused as binary."""

from __future__ import annotations

import builtins
import codecs
import hashlib
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippomem.errors import SourceError
from hippomem.ingest.decode import clean, decode, decode_mixed, is_storable

FRENCH = "Le café est fermé à Noël. Où êtes-vous allé l'été dernier, François ? Ça va très bien, merci."
NOISE = hashlib.shake_128(b"seed").digest(5000)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


@given(TEXT)
def test_utf8_comes_back(text: str) -> None:
    assert decode(text.encode(), "a.txt") == text.removeprefix("\ufeff")


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
@given(text=TEXT)
def test_marked_encodings_come_back(mark: bytes, encoding: str, text: str) -> None:
    assert decode(mark + text.encode(encoding), "a.txt") == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [FRENCH, "ab", "A line.\nAnother — with “quotes”.\n" * 500])
def test_utf16_without_a_mark(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding), "a.txt") == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "latin-1"),
        ("Café déjà vu", "latin-1"),
        ("It’s a “quoted” word – with dashes — and an ellipsis… and nothing else.", "cp1252"),
        ("El niño comió una piña en la montaña; mañana será otro día, señor.", "latin-1"),
        ("Zażółć gęślą jaźń. Wczoraj poszedłem do sklepu, żeby kupić chleb i świeże bułki.", "cp1250"),
        ("Вчера я пошёл в магазин и купил хлеб. Сегодня будет дождь, а завтра снег.", "cp1251"),
        ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", "shift_jis"),
        ("Málaga está en España. Señor Muñoz vive en Córdoba.", "latin-1"),
        ("Äiti osti kaupasta leipää ja maitoa, isä jäi kotiin.", "cp1252"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy.", "cp852"),
        ("İstanbul Türkiye'nin en kalabalık şehridir ve boğazın iki yakasında kuruludur.", "cp1254"),
        ("Ľudia majú radi dobré jedlo, a preto chodia často do reštaurácie.", "cp1250"),
        ("Plain English for a long while, and then one word. " * 100 + "Café", "latin-1"),
    ],
)
def test_older_encodings(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "a.txt") == text


def test_stray_bytes_in_utf8_are_told_and_spoil_nothing_else() -> None:
    data = "Málaga está en España. Она 猫.\n".encode() + "Señor — ".encode("cp1252") + "Muñoz\n".encode() + b"\x81"
    assert decode_mixed(data, "a.txt") == (
        "Málaga está en España. Она 猫.\nSeñor — Muñoz\n\ufffd",
        "line 2 is not valid UTF-8: its stray bytes are read as Windows-1252",
    )
    assert decode_mixed("Málaga \ufffd".encode(), "a.txt") == ("Málaga \ufffd", "")
    told = "line 1 is not valid UTF-8: its stray bytes are read as Windows-1252"
    assert decode_mixed("é ".encode() + b"\xe8", "a.txt") == ("é è", told)  # as many are right
    assert decode_mixed(codecs.BOM_UTF8 + b"caf\xe9", "a.txt") == ("café", told)  # whatever is, says the mark
    assert decode(("Un été. " * 9).encode() + "猫".encode()[:2], "cut.txt").startswith("Un été. Un été.")


def test_what_a_file_declares_is_believed_where_it_is_not_utf8() -> None:
    text = "Ελλάδα"
    assert decode(text.encode("iso8859-7"), "a.html", declared="iso8859-7") == text
    assert decode(text.encode(), "a.html", declared="iso8859-7") == text
    assert "caf" in decode(b"caf\xe9 au lait", "a.html", declared="no such encoding")


@pytest.mark.parametrize(
    ("text", "declared", "encoding"),
    [
        ("The lamp keeper’s café by the harbour – “quoted”, for 5 € – opens at nine.", "latin1", "cp1252"),
        ("The lamp keeper’s café", "us-ascii", "cp1252"),
        ("Ayşe – “İzmir”", "iso-8859-9", "cp1254"),
        ("朱镕基 和 喆", "gb2312", "gbk"),
        ("①髙橋", "shift_jis", "cp932"),
        ("똠방각하", "euc-kr", "cp949"),
        ("Café au lait for five and a half, please", "utf-16", "cp1252"),
    ],
)
def test_declared_encodings_are_those_that_browsers_take_them_for(text: str, declared: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "a.html", declared=declared) == text


def test_japanese_mail_is_not_ascii() -> None:
    text = "From: Tanaka\n\n田中さんは東京に住んでいます。\n"
    assert decode(text.encode("iso2022_jp"), "a.eml") == text
    assert decode(b"\x1b[31mred\x1b[0m costs \x1b$5", "a.log") == "\x1b[31mred\x1b[0m costs \x1b$5"


def test_without_a_detector_western_text_still_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def no_detector(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "charset_normalizer":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_detector)
    assert decode(FRENCH.encode("cp1252"), "a.txt") == FRENCH
    with pytest.raises(SourceError, match="binary"):
        decode(b"\x81\x8d\x8f", "a.txt")


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"text with one \0 in it",
        b"\0" * 100,
        bytes(range(1, 32)) * 10,
        zlib.compress(NOISE),
        NOISE.replace(b"\0", b""),
        "t\0ext".encode("utf-16"),
    ],
    ids=["png", "one nul", "nuls", "controls", "compressed", "random", "nul in utf-16"],
)
def test_binary_data_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"^photo\.png looks like binary data, not text$"):
        decode(data, "/some/where/photo.png")


def test_a_mark_that_lies() -> None:
    with pytest.raises(SourceError, match="is not valid utf-16"):
        decode(codecs.BOM_UTF16_LE + b"abc", "a.txt")


def test_coloured_logs_are_text() -> None:
    log = "\x1b[32mok\x1b[0m\n" * 50
    assert decode(log.encode(), "a.log") == log


def test_line_ends_become_one() -> None:
    assert decode(b"a\r\nb\rc\n\r\n", "a.txt") == "a\nb\nc\n\n"


def test_clean_makes_any_text_storable() -> None:
    assert clean("a\0b\ud800c\fd\r\ne") == "a\ufffdb\ufffdc\nd\ne"


@given(st.text(st.characters(exclude_categories=[]) | st.sampled_from("\0\f\r\ud83d\ude00")))
def test_what_is_clean_can_be_encoded_and_stays(text: str) -> None:
    cleaned = clean(text)
    assert is_storable(cleaned)
    assert cleaned.encode().decode() == cleaned == clean(cleaned)
