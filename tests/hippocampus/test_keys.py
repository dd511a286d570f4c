"""Entity keys and the names in a question, in any script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippomem.hippocampus.grams import grams
from hippomem.hippocampus.keys import STOP_WORDS, entity_key, plain, title_names, words
from hippomem.hippocampus.names import KeyTable, linked_names


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("The Grey Heron", "grey heron"),
        ("Lothair II's", "lothair ii"),
        ("Søren Åkerblom", "søren akerblom"),
        ("São Paulo", "sao paulo"),
        ("İstanbul", "istanbul"),
        ("北京大学", "北京大学"),
        ("Москва", "москва"),
        ("مُحَمَّد", "محمد"),
        ("हिन्दी", "हिन्दी"),
        ("서울", "서울"),
        ("R&B", "r b"),
        ("京", "京"),
        ("the", ""),
        ("A", ""),
        ("…", ""),
        ("x" * 300, ""),
    ],
)
def test_a_name_has_the_key_of_its_letters(name: str, key: str) -> None:
    assert entity_key(name) == key


@given(st.text(max_size=60))
def test_a_key_is_its_own_key_and_no_stop_word(name: str) -> None:
    key = entity_key(name)
    assert key not in STOP_WORDS
    # Not always idempotent ("the the x"), but always a key again or nothing.
    assert entity_key(key) == key or key.startswith(("the ", "a ", "an ")) or key.endswith(" s") or len(key) < 2


@given(st.text(max_size=80))
def test_words_lie_in_order_inside_the_plain_text(text: str) -> None:
    flat = plain(text)
    end = 0
    for word in words(flat):
        assert end <= word.start < word.end <= len(flat)
        assert not flat[word.start : word.end].isspace()
        end = word.end


def test_a_title_gives_its_name_without_what_is_in_parentheses() -> None:
    assert title_names("Alien (film)") == ("Alien (film)", "Alien")
    assert title_names("(film)") == ("(film)",)


def _table(*keys: str) -> KeyTable:
    table = KeyTable()
    for key in keys:
        table.add(key)
    return table


def test_the_longest_name_from_the_left_is_linked() -> None:
    table = _table("ada thorne", "ada", "thorne labs", "oslo", "2021")
    found = linked_names("Did ada Thorne of Thorne Labs leave Oslo in 2021?", table.find)
    assert set(found.values()) == {"ada Thorne", "Thorne Labs", "Oslo", "2021"}


def test_single_letters_are_a_name_in_capitals_only() -> None:
    known = ["t i", "d artagnan", "王"]
    linked = [
        linked_names(question, lambda key: known.index(key) if key in known else None)
        for question in ("What can't I eat?", "What does T.I. sing?", "Who is d'Artagnan?", "王是谁？")
    ]
    assert linked == [{}, {0: "T I"}, {1: "d Artagnan"}, {2: "王"}]


def test_a_name_in_small_letters_is_not_linked() -> None:
    assert linked_names("where is oslo", _table("oslo").find) == {}


@pytest.mark.parametrize(
    "written",
    [
        "6 October 2022", "October 6, 2022", "October 6th 2022", "the 6th of October, 2022", "Oct. 6, 2022",
        "2022-10-06", "2022/10/06", "06 OCTOBER 2022",
    ],
)  # fmt: skip
def test_a_day_is_found_however_it_is_written(written: str) -> None:
    table = _table("6 october 2022", "october 6 2022", "october", "2022", "october 2022")
    linked = linked_names(f"What did Nate watch on {written}?", table.find)
    assert {table.key(node) for node in linked} == {"6 october 2022", "october 6 2022"}
    assert set(linked_names(f"Was it {written}?", _table("october 6 2022").find).values()) == set(linked.values())


@pytest.mark.parametrize("written", ["30 February 2022", "October 2022", "2022-13-01", "0 May 2022", "Chapter 6 2022"])
def test_what_is_no_day_is_linked_as_before(written: str) -> None:
    table = _table("6 october 2022", "2022", "october", "may")
    linked = {table.key(node) for node in linked_names(f"Was it {written}?", table.find)}
    assert "2022" in linked
    assert "6 october 2022" not in linked


def test_a_name_without_spaces_around_it_is_linked() -> None:
    assert list(linked_names("北京大学在哪里?", _table("北京大学").find).values()) == ["北京大学"]


def test_keys_are_found_in_the_snapshot_and_beside_it() -> None:
    table = _table("one", "two", "三")
    table = KeyTable(**table.arrays([2, 0, 1]))  # type: ignore[arg-type]
    assert [table.key(n) for n in range(3)] == ["三", "one", "two"]
    assert table.find("two") == 2
    assert table.find("four") is None
    assert table.add("four") == 3
    assert table.find("four") == 3


def test_grams_are_the_runs_that_could_be_names_with_the_lines_they_stand_in() -> None:
    found = grams(["", "Ada met Bea of Oslo.", "Later Bea left."])
    assert found["ada"] == 0b10
    assert found["bea"] == 0b110
    assert found["bea of oslo"] == 0b10
    assert "met bea" not in found


def test_every_linked_name_is_a_gram_of_the_same_text() -> None:
    text = "Ada Thorne of Thorne Labs left Oslo for 北京大学 in 2021"
    table = _table("ada thorne", "thorne labs", "oslo", "2021", "北京大学")
    linked = {table.key(node) for node in linked_names(text, table.find)}
    assert linked == set(grams([text])) & {"ada thorne", "thorne labs", "oslo", "2021", "北京大学"}
