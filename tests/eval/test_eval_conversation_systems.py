"""Each baseline against results worked out by hand, over four turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from conversation_data import TableEncoder

from hippomem import Memory
from hippomem.testing import HashEncoder
from hippomem_eval.conversation_formats import Turn
from hippomem_eval.conversation_systems import BASELINES, Dense, Fusion, Grep, Lexical, Strong, Transcript, TurnMemory
from hippomem_eval.systems import Ranking

MAY, JUNE = datetime(2023, 5, 8, tzinfo=UTC), datetime(2023, 6, 9, tzinfo=UTC)
TURNS = (
    Turn("a", "The greyhound sleeps.", "c", "Runa", "session 1", MAY),
    Turn("b", "A greyhound bit the postman.", "c", "Pavel", "session 1", MAY),
    Turn("c", "Bicycles everywhere.", "c", "Runa", "session 2", JUNE),
    Turn("d", "Greyhounds chase the postman on bicycles.", "c", "Pavel", "session 2", JUNE),
)
QUESTION = "Which greyhound bit the postman?"
VECTORS = [(1.0, 0.0), (0.8, 0.6), (0.0, 1.0), (0.6, 0.8)]
ASKED = (0.96, 0.28)


def transcript(turns: Sequence[Turn] = TURNS, **more: Sequence[float]) -> Transcript:
    table = {turn.line: vector for turn, vector in zip(TURNS, VECTORS, strict=True)}
    return Transcript(turns, TableEncoder({**table, QUESTION: ASKED, **more}))


def ids(ranking: Ranking) -> str:
    return "".join(passage.id for passage in ranking.passages)


def scores(ranking: Ranking) -> dict[str, float]:
    return {passage.id: passage.score for passage in ranking.passages}


def test_dense_is_the_cosine() -> None:
    found = Dense(transcript()).recall(QUESTION, 3)
    # .96 · .8 + .28 · .6 = .936, and so on: .96, .936, .8, .28
    assert scores(found) == pytest.approx({"a": 0.96, "b": 0.936, "d": 0.8})
    assert ids(found) == "abd"


def test_bm25_is_what_shares_words_with_the_question() -> None:
    found = Lexical(transcript()).recall(QUESTION, 4)
    # b holds three words of the question, d "greyhounds" and "postman" (stemmed), a one, c none.
    assert ids(found) == "bda"


def test_bm25_by_its_formula() -> None:
    found = scores(Lexical(transcript()).recall("bit", 4))
    # "Pavel: A greyhound bit the postman." has 4 words that count; all have 3, 4, 3 and 5 (Lucene's BM25, k1 1.5).
    length = 1 - 0.75 + 0.75 * 4 / ((3 + 4 + 3 + 5) / 4)
    assert found == pytest.approx({"b": math.log(1 + 3.5 / 1.5) / (1 + 1.5 * length)}, rel=1e-5)


def test_turns_without_a_word_are_found_by_none() -> None:
    turns = (Turn("a", "!!"), Turn("b", "I &"))
    assert ids(Lexical(Transcript(turns, TableEncoder({}))).recall(QUESTION, 4)) == ""


def test_a_turn_that_is_several_passages_comes_once(tmp_path: Path) -> None:
    long = "A greyhound bit the postman. " * 400
    with Memory.open(tmp_path / "m.db", encoder=HashEncoder()) as memory:
        memory.ingest([{"text": long, "turn": "a"}, {"text": "Bicycles everywhere.", "turn": "b"}])
        assert memory.stats()["passages"] > 2
        assert ids(TurnMemory(memory).recall(QUESTION, 20)) == "ab"


def test_fusion_adds_reciprocal_ranks() -> None:
    found = scores(Fusion(transcript()).recall(QUESTION, 4))
    # By cosine a b d c, by BM25 b d a, where c has no rank.
    expected = {"a": 1 / 61 + 1 / 63, "b": 1 / 62 + 1 / 61, "d": 1 / 63 + 1 / 62, "c": 1 / 64}
    assert found == pytest.approx(expected, rel=1e-5)


def test_strong_is_the_sum_of_its_three_terms() -> None:
    found = scores(Strong(transcript()).recall(QUESTION, 4))
    mean = np.mean(VECTORS, axis=0)
    centred = [np.array(vector) - mean for vector in (*VECTORS, ASKED)]
    centred = [vector / np.linalg.norm(vector) for vector in centred]
    cosine = np.array([vector @ centred[4] for vector in centred[:4]])
    lengths = np.log([1 + len(turn.text) for turn in TURNS])
    lengths = (lengths - lengths.mean()) / lengths.std()
    lexical = transcript().dated_lexical.scores(QUESTION)
    expected = cosine + 0.5 * lexical / lexical.max() + 0.1 * lengths
    assert found == pytest.approx(dict(zip("abcd", map(float, expected), strict=True)), abs=1e-5)


def test_strong_reads_the_date() -> None:
    june = transcript(**{"What happened in June?": ASKED})
    without = transcript(**{"What happened?": ASKED})
    gained = np.array(
        [
            scores(Strong(june).recall("What happened in June?", 4))[turn]
            - scores(Strong(without).recall("What happened?", 4))[turn]
            for turn in "abcd"
        ]
    )
    assert gained[:2] == pytest.approx([0, 0], abs=1e-6)
    assert gained[2] == pytest.approx(0.5, abs=1e-6)  # the shorter of the two of June
    assert 0.3 < gained[3] < 0.5


def test_grep_counts_words_and_prefers_the_latest() -> None:
    # "which" and "the" are stop words; "greyhound" is in a, b and d, "bit" in b, "postman" in b and d.
    assert ids(Grep(transcript()).recall(QUESTION, 4)) == "bda"
    # One word each: the latest first. Case does not count, endings do.
    assert ids(Grep(transcript()).recall("GREYHOUND", 4)) == "dba"
    assert ids(Grep(transcript()).recall("greyhounds", 4)) == "d"
    assert ids(Grep(transcript()).recall("Runa?", 4)) == "ca"
    assert ids(Grep(transcript()).recall("Who is that?", 4)) == ""


def test_full_context_is_everything_in_order() -> None:
    assert ids(BASELINES["full-context"](transcript()).recall(QUESTION, 1)) == "abcd"


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_one_turn_is_enough(name: str) -> None:
    assert ids(BASELINES[name](transcript(TURNS[1:2])).recall(QUESTION, 20)) == "b"


@pytest.mark.parametrize("name", ["dense", "rrf", "strong"])
def test_a_question_is_encoded_once(name: str) -> None:
    material = transcript()
    system = BASELINES[name](material)
    first, second = system.recall(QUESTION, 4), system.recall(QUESTION, 4)
    assert isinstance(material.encoder, TableEncoder)
    assert material.encoder.questions == 1
    assert first.passages == second.passages
    assert "encode" in first.timings
