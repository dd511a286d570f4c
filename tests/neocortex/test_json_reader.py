"""What a chat model writes where JSON was asked for, and what is read of it."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hippomem import MalformedAnswerError
from hippomem.neocortex.json_reader import MAX_DEPTH, read_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False, width=32), TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)
ANSWERS = st.lists(VALUES, max_size=5) | st.dictionaries(TEXTS, VALUES, max_size=5)
PROSE = st.text(st.characters(exclude_characters="[]{}<"), max_size=40)
GARBAGE = st.text(st.sampled_from(list("[]{}\"'\\,: \n1-eE.tfu0aé\ud83d/")), max_size=60)


def is_part(part: Any, whole: Any) -> bool:
    """Whether `part` is what is left of `whole` when its end is cut off."""
    if isinstance(whole, list) and isinstance(part, list):
        *before, last = part or [None]
        return len(part) <= len(whole) and (
            not part or (before == whole[: len(before)] and is_part(last, whole[len(before)]))
        )
    if isinstance(whole, dict) and isinstance(part, dict):
        keys = list(part)
        return keys == list(whole)[: len(keys)] and all(is_part(part[key], whole[key]) for key in keys)
    return type(part) is type(whole) and part == whole


@given(ANSWERS, st.booleans(), st.sampled_from([None, 2]))
@example([{"</think>": None}, []], True, None)
def test_json_is_read_as_json(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ascii_only, indent=indent)) == value


@given(ANSWERS, PROSE, PROSE, st.sampled_from(["", "```json\n", "```\n", "~~~ JSON\n"]))
def test_fences_and_prose_around_do_not_matter(value: Any, before: str, after: str, fence: str) -> None:
    close = "\n```" if fence else ""
    assert read_json(f"{before}\n{fence}{json.dumps(value)}{close}\n{after}") == value


@given(ANSWERS, st.integers(0, 400))
def test_of_what_is_cut_off_the_whole_part_is_kept(value: Any, cut: int) -> None:
    text = json.dumps(value)[:cut]
    assume("</think>" not in text)  # what comes before that is no part of an answer
    try:
        read = read_json(text)
    except MalformedAnswerError:
        return
    # The longest of the lists inside is read where the outer one holds nothing yet; never anything that was not there.
    assert is_part(read, value)


@given(st.text(max_size=80) | GARBAGE)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = read_json(text)
    except MalformedAnswerError:
        return
    assert isinstance(read, dict | list)
    json.dumps(read, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2,], }', {"a": [1, 2]}),
        ('[["Ada", "leads", "Labs"] ["Bea", "sails"]]', [["Ada", "leads", "Labs"], ["Bea", "sails"]]),
        ("{'a': 'it\\'s', \"b\": None, 'c': [True, False]}", {"a": "it's", "b": None, "c": [True, False]}),
        ('["line\nbreak", "tab\there"]', ["line\nbreak", "tab\there"]),
        (r'["\d+", "\u00e9", "\ud83d\ude00", "\ud83d", "\/"]', ["d+", "é", "😀", "\ufffd", "/"]),
        ('As [the notes] say [1]: {"a": 1} Bye.', {"a": 1}),
        ('<think>maybe {"a": "a much longer draft"}?</think>\n{"a": 2}', {"a": 2}),
        ('<think>maybe {"a": 1}, or', MalformedAnswerError),
        (' <think>maybe {"a": 1}</think>\nI do not know.', MalformedAnswerError),
        ('<think>well</think>So: {"a": "</think>"}', {"a": "</think>"}),
        ('[{"</think>": null}, []]', [{"</think>": None}, []]),
        ('["```json", "</think>[1]"]', ["```json", "</think>[1]"]),
        ('["whole", "cut of', ["whole"]),
        ('["whole", "also whole"', ["whole", "also whole"]),
        ('{"n": 12', MalformedAnswerError),
        ('{"m": 1, "n": 12', {"m": 1}),
        ('{"m": 1, "n": tru', {"m": 1}),
        ('{"m": 1, "n"', {"m": 1}),
        ('{"m": 1, "n": ', {"m": 1}),
        ('["kept", "she said "no" to it", "lost"]', ["kept"]),
        ('["a", undefined, "b"]', ["a"]),
        ('{"a": [1, // one\n 2], /* two\nlines */ "b": "//c" // three\n}', {"a": [1, 2], "b": "//c"}),
        ('["a", // the rest\n "cut of', ["a"]),
        ('See [https://a.b]: ["a"]', ["a"]),
        ('["a", NaN, 1e999]', ["a"]),
        ("[" + "9" * 5000 + "]", MalformedAnswerError),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("[]", []),
        ("{}", {}),
        ("I found none: []", []),
        ('["a"}', ["a"]),
        ("", MalformedAnswerError),
        ("I cannot help with that.", MalformedAnswerError),
        ("[the notes]", MalformedAnswerError),
        ("42", MalformedAnswerError),
        ('__import__("os").system("true")', MalformedAnswerError),
        ('[__import__("os").system("true")]', MalformedAnswerError),
    ],
)
def test_answers_as_models_write_them(text: str, value: Any) -> None:
    if value is MalformedAnswerError:
        with pytest.raises(MalformedAnswerError, match="no JSON"):
            read_json(text)
    else:
        assert read_json(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "[" * 3 * 10**4,
        "{" * 3 * 10**4,
        '{"a":' * 3 * 10**4,
        '["' * 3 * 10**4,
        "['\"" * 3 * 10**4,
        '["\\"' * 3 * 10**4,
        "[1," * 3 * 10**4,
        "[{" * 3 * 10**4,
        "<think>" * 10**4,
        '"' + "\\" * 3 * 10**4,
        "[" * 3 * 10**4 + "]" * 3 * 10**4,
        '["a' * 3 * 10**4 + '"]',
        "[ " + " " * 3 * 10**4,
        "[//" * 3 * 10**4,
        "[//\n" * 3 * 10**4,
        "[/*" * 3 * 10**4,
        "[/*[" * 3 * 10**4,
        "[1 /**/" * 3 * 10**4,
    ],
    ids=lambda text: text[:6],
)
@pytest.mark.timeout(30)
def test_hostile_answers_cost_no_more_than_their_length(text: str) -> None:
    """Anything quadratic takes minutes here, anything recursive breaks."""
    assert read_or_none(text) is None or isinstance(read_or_none(text), dict | list)


def test_what_is_nested_too_deep_is_left_out() -> None:
    deep = "[" * MAX_DEPTH + "[1]" + "]" * MAX_DEPTH
    assert read_json('{"a": 1, "b": ' + deep + "}")["a"] == 1
    assert json.dumps(read_json("[" * 30 + "]" * 30)).count("[") == 30


def test_real_answers_of_real_models(shared_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cache.sqlite"
    copy.write_bytes((shared_data / "recorded_llm" / "hipporag_sample_gpt-4o-mini_cache.sqlite").read_bytes())
    connection = sqlite3.connect(copy)
    answers = [row[0] for row in connection.execute("SELECT message FROM cache")]
    connection.close()
    read = [value for value in map(read_or_none, answers) if value is not None]
    assert (len(read), len(answers)) == (7, 8)  # the eighth is prose, as it was asked for
    assert sorted(key for value in read for key in value) == ["fact", *["named_entities"] * 3, *["triples"] * 3]
    assert all(len(triple) == 3 for value in read for triple in value.get("triples", value.get("fact", ())))
    with gzip.open(shared_data / "recorded_llm" / "nano_graphrag_mock_cache.json.gz", "rt", encoding="utf-8") as stream:
        answers = [str(entry["return"]) for entry in json.load(stream).values()]
    assert sum(read_or_none(text) is not None for text in answers) == sum("{" in text for text in answers) == 101


def read_or_none(text: str) -> Any:
    try:
        return read_json(text)
    except MalformedAnswerError:
        return None
