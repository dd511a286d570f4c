"""The made-up encyclopaedia: the same every time, streamed, and shaped like a real one."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from hippomem import Encoder, InvalidInputError
from hippomem_eval.synthetic import SyntheticCorpus
from hippomem_eval.synthetic_encoder import DIMENSION, SyntheticEncoder
from hippomem_eval.synthetic_names import FUNCTION_WORDS, entity_name, title_name, vocabulary

SIZE = 600


@pytest.fixture(scope="module")
def corpus() -> SyntheticCorpus:
    return SyntheticCorpus(SIZE)


def test_a_passage_follows_from_its_number_alone(corpus: SyntheticCorpus) -> None:
    forwards = list(corpus.records())
    other = SyntheticCorpus(SIZE)
    backwards = [other.passage(number) for number in reversed(range(SIZE))][::-1]
    assert forwards == [{"title": p.title, "text": p.text} for p in backwards]
    assert list(corpus.records(590, 595)) == forwards[590:595]
    assert next(SyntheticCorpus(SIZE, seed=1).records()) != forwards[0]


def test_it_is_a_stream() -> None:
    huge = SyntheticCorpus(10**7)
    assert len(list(itertools.islice(huge.records(), 70))) == 70
    assert huge.passage(10**7 - 1).title == title_name(10**7 - 1)
    assert [question.id for question in huge.questions(3)] == ["s1", "s2", "s3"]


def test_names_are_told_apart_by_their_numbers() -> None:
    titles = {title_name(number) for number in range(60_000)}
    entities = {entity_name(rank) for rank in range(60_000)}
    assert len(titles) == len(entities) == 60_000
    assert not titles & entities
    words = vocabulary()
    assert len({*words, *FUNCTION_WORDS}) == len(words) + len(FUNCTION_WORDS) > 50_000


def test_passages_are_as_long_as_real_ones(corpus: SyntheticCorpus) -> None:
    passages = [corpus.passage(number) for number in range(SIZE)]
    assert 80 < np.mean([len(passage.text.split()) for passage in passages]) < 110
    assert 4 < np.mean([len(passage.words) for passage in passages]) < 5
    assert len({passage.title for passage in passages}) == SIZE


def test_links_name_the_passages_they_lead_to(corpus: SyntheticCorpus) -> None:
    named = set()
    for number in range(SIZE):
        passage = corpus.passage(number)
        sentences = passage.text.split(". ")
        for target, sentence in passage.links:
            assert target != number
            assert corpus.passage(target).title in sentences[sentence]
            named.add(target)
    assert 0.2 < len(named) / SIZE < 0.4


def test_questions_name_one_passage_and_use_words_of_the_one_it_links_to(corpus: SyntheticCorpus) -> None:
    questions = list(corpus.questions(50))
    assert len({(question.start, question.target) for question in questions}) == 50
    for question in questions:
        start, target = corpus.passage(question.start), corpus.passage(question.target)
        assert question.target in {number for number, _ in start.links}
        assert start.title in question.text
        assert target.title not in question.text
        assert len({word for words in target.words for word in words} & set(question.text.split())) >= 4


def test_a_corpus_without_links_has_no_questions() -> None:
    assert list(SyntheticCorpus(1).questions(5)) == []


@pytest.mark.parametrize(("size", "seed"), [(0, 0), (-1, 0), (5, -1)])
def test_sizes_that_cannot_be(size: int, seed: int) -> None:
    with pytest.raises(InvalidInputError, match="size >= 1"):
        SyntheticCorpus(size, seed)


def test_the_encoder_keeps_the_protocol() -> None:
    encoder = SyntheticEncoder()
    assert isinstance(encoder, Encoder)
    texts = ["Dogu milo\nThe dogu bale.", "", "the of and", "北京 Москва \ud800"]
    for text, encoded in zip(texts, encoder.encode_passages(texts, [[(0, 4), (5, 9)], [], [(0, 3)], []]), strict=True):
        assert encoded.sentences.dtype == encoded.vector.dtype == np.float32
        assert encoded.vector.shape == encoder.encode_query(text).shape == (DIMENSION,)
        for vector in (encoded.vector, *encoded.sentences):
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert encoder.encode_passages(texts[:1], [[(0, 4), (5, 9)]])[0].sentences.shape == (2, DIMENSION)
    assert encoder.encode_passages([], []) == []


def test_vectors_are_the_same_alone_and_in_another_process() -> None:
    encoder = SyntheticEncoder()
    together = encoder.encode_passages(["Dogu milo bale.", "Zavi teko."], [[], []])
    assert np.allclose(encoder.encode_query("Zavi teko."), together[1].vector, atol=1e-6)
    code = "from hippomem_eval.synthetic_encoder import SyntheticEncoder as E; print(E().encode_query('Zavi teko.')[7])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(printed) == pytest.approx(float(together[1].vector[7]), abs=1e-6)


def test_cosines_are_spread_as_those_of_a_sentence_encoder(corpus: SyntheticCorpus) -> None:
    texts = [f"{record['title']}\n{record['text']}" for record in corpus.records()]
    vectors = np.stack([encoded.vector for encoded in SyntheticEncoder().encode_passages(texts, [()] * SIZE)])
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, np.nan)
    assert 0.02 < np.nanmean(cosines) < 0.11
    assert 0.07 < np.nanstd(cosines) < 0.12
    assert 0.3 < np.median(np.nanmax(cosines, axis=1)) < 0.7
