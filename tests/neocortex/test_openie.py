"""What is usable of an answer about a passage, whatever the model wrote."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippomem.neocortex.openie import Extracted, grounded, read_extraction, read_extractions

NAMES = st.text(st.sampled_from("AbcÅö日 12-'"), min_size=1, max_size=8).map(lambda name: " ".join(name.split()) or "x")
TRIPLES = st.lists(st.lists(NAMES, min_size=1, max_size=6), max_size=6)


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """An answer with prose around it, cut off, with characters taken out, put in or doubled."""
    value: Any = {"entities": draw(st.lists(NAMES, max_size=4)), "triples": draw(TRIPLES)}
    if draw(st.booleans()):
        value = {"passages": [{"number": 1, **value}]}
    text = draw(st.sampled_from(["", "Sure:\n```json\n", "<think>[[</think>"])) + json.dumps(value, ensure_ascii=False)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 3))
        text = (
            text[:at]
            + draw(st.sampled_from(["", "[", "]", "{", "}", '"', ",", ":", "'", "null", "1"]))
            + text[at + cut :]
        )
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@given(mangled() | st.text(max_size=60))
def test_never_an_exception_and_never_what_was_not_there(text: str) -> None:
    for found in (read_extraction(text), *read_extractions(text, 2)):
        for part in (part for triple in found.triples for part in triple):
            assert part in text
        assert all(name in text for name in found.entities)
        assert found.problem or (found.malformed >= 0 and len(set(found.triples)) == len(found.triples))


@pytest.mark.parametrize(
    ("text", "triples", "malformed", "repeated"),
    [
        ('{"triples": [["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"], [1, "b", 2.5]]}', 2, 2, 0),
        ('{"triples": [["a", "b", "c"], ["a", "b", "c"], ["a", "b", null], ["a", ["b"], "c"], "abc", 7]}', 1, 4, 1),
        ('{"Triples": [{"subject": "a", "predicate": "b", "object": "c"}, {"head": "a", "tail": "c"}]}', 1, 1, 0),
        ('[["a", "b", "c"]]', 1, 0, 0),
        ('{"entities": ["a"]}', 0, 0, 0),
        ('{"triples": [["a", "b", "c"], ["a", "b", "' + "x" * 501 + '"], ["a", " ", "c"], [true, "b", "c"]]}', 1, 3, 0),
        ('[{"entities": ["a"], "triples": [["a", "b", "c"]]}]', 1, 0, 0),
        ('{"result": {"triples": [["a", "b", "c"]]}}', 1, 0, 0),
        ('{"passages": [{"number": 1, "triples": [["a", "b", "c"]]}]}', 1, 0, 0),
        ('{"triples": [["a", "b\\u0000", "c"]]}', 1, 0, 0),
        ('```json\n{"triples": [["a", "b", "c"], ["d", "e", "f', 1, 1, 0),
    ],
)  # fmt: skip
def test_what_is_no_triple_is_counted(text: str, triples: int, malformed: int, repeated: int) -> None:
    found = read_extraction(text)
    assert (len(found.triples), found.malformed, found.repeated, found.problem) == (triples, malformed, repeated, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No.",
        "42",
        '"text"',
        "{}",
        '{"answer": 1}',
        '{"triples": "none"}',
        '{"triples": [["Ada", "said "no" to", "Bea"], ["a", "b", "c"]], "entities": ["Ada"]}',
    ],
)
def test_an_answer_to_something_else_says_so(text: str) -> None:
    assert read_extraction(text).problem
    assert all(found.problem for found in read_extractions(text, 2))


def test_each_passage_has_its_own_part() -> None:
    one, two = {"number": 1, "triples": [["a", "b", "c"]]}, {"number": "2", "triples": [["d", "e", "f"]]}
    first, second, third = read_extractions(json.dumps({"passages": [two, one, {"number": 9, "triples": []}, 5]}), 3)
    assert (first.triples, second.triples) == ((("a", "b", "c"),), (("d", "e", "f"),))
    assert "leaves this passage out" in third.problem
    (twice,) = read_extractions(json.dumps({"passages": [one, one]}), 1)
    assert (twice.triples, bool(twice.problem)) == ((), True)


def test_what_is_kept_is_read_again() -> None:
    found = Extracted(("Ada", "東京"), (("Ada", 'said "no"', "Bea"),))
    assert read_extraction(found.as_json()) == found


def test_names_that_the_passage_does_not_write_are_not_kept() -> None:
    found = Extracted(
        ("Ada Thorne", "Bea", "東京"),
        (("Ada Thorne", "lives in", "東京"), ("Ada Thorne", "password is", "hunter2"), ("root", "owns", "Ada")),
    )
    kept = grounded(found, "Ada", "Thorne lives in 東京都.")
    assert kept.entities == ("Ada Thorne", "東京")
    assert kept.triples == (("Ada Thorne", "lives in", "東京"),)
    assert (kept.elsewhere, kept.dropped) == (3, 3)


def test_recorded_answers_of_gpt_35(shared_data: Path) -> None:
    file = shared_data / "musique_train" / "openie_musique_train_results_ner_gpt-3.5-turbo-1106_1890.json.gz"
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        docs = json.load(stream)["docs"]
    kept = dropped = total = elsewhere = 0
    for doc in docs:
        answer = json.dumps({"entities": doc["extracted_entities"], "triples": doc["extracted_triples"]})
        found = read_extraction(answer)
        assert not found.problem
        kept += len(found.triples) + found.repeated
        dropped += found.malformed
        total += len(doc["extracted_triples"])
        elsewhere += len(found.triples) - len(grounded(found, doc["title"], doc["text"]).triples)
    assert (len(docs), kept, dropped, total) == (1890, 17_234, 185, 17_419)
    assert elsewhere < 0.01 * kept  # what real models say about names that the passage does not write


def test_recorded_answers_of_gpt_4o_mini(shared_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cache.sqlite"
    copy.write_bytes((shared_data / "recorded_llm" / "hipporag_sample_gpt-4o-mini_cache.sqlite").read_bytes())
    connection = sqlite3.connect(copy)
    found = [read_extraction(row[0]) for row in connection.execute("SELECT message FROM cache")]
    connection.close()
    assert [bool(one.problem) for one in found].count(True) == 1  # prose, as it was asked for
    assert sum(bool(one.entities) for one in found) == 3
    assert sum(len(one.triples) for one in found) > 10
    assert sum(one.malformed for one in found) == 0
    with gzip.open(shared_data / "openie_small" / "sample_openie_results_ner_gpt-4o-mini.json.gz", "rt") as stream:
        docs = json.load(stream)["docs"]
    for doc in docs:
        one = read_extraction(json.dumps({"entities": doc["extracted_entities"], "triples": doc["extracted_triples"]}))
        assert (len(one.triples) + one.repeated, one.malformed) == (len(doc["extracted_triples"]), 0)
