"""Every published shape of questions and corpora, what is wrong with files, and the real ones."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_data import PASSAGES, corpus_records, hotpot_records, question_records, write, write_pair

from hippomem import InvalidInputError, NotFoundError, SourceError
from hippomem_eval.datasets import Gold, Record, load_corpus, load_dataset, write_corpus

TITLES = [title for title, _ in PASSAGES]


def popqa_records() -> list[dict[str, Any]]:
    return [
        {
            "id": 7,
            "question": "What is Odile Varga's instrument?",
            "possible_answers": '["cello", "violoncello"]',
            "paragraphs": [{"title": t, "text": x + "\n", "is_supporting": True} for t, x in PASSAGES[:2]],
        }
    ]


@pytest.mark.parametrize("name", ["q.json", "q.json.gz", "q.jsonl", "q.jsonl.gz", "lines.json"])
def test_musique_in_any_wrapping(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name.replace("lines.json", "q.jsonl"), question_records())
    path = path.rename(tmp_path / name)
    dataset = load_dataset(path, write(tmp_path / "c.json", corpus_records()))
    assert [question.id for question in dataset.questions] == ["q1", "q2", "q3", "q4"]
    assert dataset.questions[0].gold == {Gold(*PASSAGES[0]), Gold(*PASSAGES[1])}
    assert dataset.questions[0].answers == ("Tisza",)
    assert (len(dataset.corpus), dataset.unanswerable, dataset.missing_gold) == (8, 0, 0)


def test_musique_without_a_corpus_is_the_union_of_its_paragraphs(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path / "q.jsonl", question_records()))
    assert dataset.corpus.records == tuple(Record(title, text) for title, text in PASSAGES)


def test_hotpotqa_names_its_gold_by_title(tmp_path: Path) -> None:
    corpus = {title: [text] for title, text in PASSAGES}
    dataset = load_dataset(write(tmp_path / "q.json", hotpot_records()), write(tmp_path / "c.json", corpus))
    assert dataset.questions[3].gold == {Gold(TITLES[place]) for place in (4, 5, 6)}
    assert [record.title for record in dataset.corpus.records] == TITLES


def test_hotpotqa_without_a_corpus_joins_its_sentences(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path / "q.json", hotpot_records()))
    assert dataset.corpus.records == tuple(Record(title, text) for title, text in PASSAGES)


def test_sentences_without_their_spaces_are_joined_with_one(tmp_path: Path) -> None:
    corpus = load_corpus(write(tmp_path / "c.json", {"A": ["One two three.", "Four.", "", " Five."]}))
    assert corpus.records == (Record("A", "One two three. Four. Five."),)


def test_2wiki_with_titles_alone(tmp_path: Path) -> None:
    records = [{"_id": "w", "question": "Who?", "answer": "X", "supporting_titles": TITLES[:2]}]
    dataset = load_dataset(write(tmp_path / "q.json", records), write(tmp_path / "c.json", corpus_records()))
    assert dataset.questions[0].gold == {Gold(TITLES[0]), Gold(TITLES[1])}


def test_popqa_keeps_its_answers_in_a_string(tmp_path: Path) -> None:
    questions = write(tmp_path / "q.json", popqa_records())
    dataset = load_dataset(questions, write(tmp_path / "c.json", corpus_records()))
    (question,) = dataset.questions
    assert (question.id, question.answers, len(question.gold)) == ("7", ("cello", "violoncello"), 2)


def test_natural_questions_as_in_hipporag(tmp_path: Path) -> None:
    contexts = [{"title": t, "text": x, "is_supporting": t == TITLES[1]} for t, x in PASSAGES[:3]]
    record = {"id": "n", "question": "Which river?", "reference": ["Tisza", "the Tisza"], "contexts": contexts}
    path = write(tmp_path / "q.json", [record])
    for dataset in (load_dataset(path), load_dataset(path, write(tmp_path / "c.json", corpus_records()))):
        (question,) = dataset.questions
        assert (question.gold, question.answers) == ({Gold(*PASSAGES[1])}, ("Tisza", "the Tisza"))
    assert len(load_dataset(path).corpus) == 3


def test_natural_questions_as_in_dpr(tmp_path: Path) -> None:
    contexts = [{"title": t, "text": x, "passage_id": str(i)} for i, (t, x) in enumerate(PASSAGES)]
    lists = {"positive_ctxs": contexts[:2], "negative_ctxs": contexts[2:5], "hard_negative_ctxs": contexts[5:]}
    unanswered = {"question": "Why?", "answers": [], "positive_ctxs": [], "negative_ctxs": contexts[:1]}
    records = [{"question": "Which river?", "answers": ["Tisza"], **lists}, unanswered]
    dataset = load_dataset(write(tmp_path / "q.json", records))
    (question,) = dataset.questions
    assert question.gold == {Gold(*PASSAGES[0]), Gold(*PASSAGES[1])}
    assert (question.answers, len(dataset.corpus), dataset.unanswerable) == (("Tisza",), 8, 1)


def test_natural_questions_as_in_kilt(tmp_path: Path) -> None:
    provenance = [{"wikipedia_id": "7", "title": TITLES[1], "start_paragraph_id": 1}]
    output = [{"answer": "Tisza"}, {"answer": "the Tisza", "provenance": provenance}, {"provenance": None}]
    lines = [{"id": "k", "input": "Which river?", "output": output}] * 2
    dataset = load_dataset(write(tmp_path / "q.jsonl", lines), write(tmp_path / "c.json", corpus_records()))
    assert dataset.questions[0].gold == {Gold(TITLES[1])}
    assert (dataset.questions[0].text, dataset.questions[0].answers) == ("Which river?", ("Tisza", "the Tisza"))


def test_hipporag_takes_all_paragraphs_where_none_is_marked(tmp_path: Path) -> None:
    record = {"id": "s", "question": "Who?", "answer": ["A", "B"], "paragraphs": corpus_records()[:3]}
    (question,) = load_dataset(write(tmp_path / "q.json", [record])).questions
    assert (len(question.gold), question.answers) == (3, ("A", "B"))


def test_openie_files_are_corpora(tmp_path: Path) -> None:
    corpus = load_corpus(write(tmp_path / "c.json", {"docs": [{"idx": 0, "passage": "A text."}]}))
    assert corpus.records == (Record("", "A text."),)


def test_the_limit_takes_the_first_and_leaves_the_corpus_whole(tmp_path: Path) -> None:
    dataset = load_dataset(*write_pair(tmp_path), limit=2)
    assert ([question.id for question in dataset.questions], len(dataset.corpus)) == (["q1", "q2"], 8)
    with pytest.raises(InvalidInputError, match="limit must be at least 1"):
        load_dataset(*write_pair(tmp_path), limit=0)


def test_with_a_limit_only_what_it_took_is_counted(tmp_path: Path) -> None:
    questions = write(tmp_path / "q.json", question_records())
    corpus = write(tmp_path / "c.json", corpus_records()[:2])  # q1 has all of its gold there, q2 a half, the rest none
    limited, whole = load_dataset(questions, corpus, limit=1), load_dataset(questions, corpus)
    assert (len(limited.questions), limited.unanswerable, limited.missing_gold) == (1, 0, 0)
    assert (len(whole.questions), whole.unanswerable, whole.missing_gold) == (2, 2, 1)


def test_questions_lose_the_gold_that_is_not_in_the_corpus(tmp_path: Path) -> None:
    questions, _ = write_pair(tmp_path)
    dataset = load_dataset(questions, write(tmp_path / "c.json", corpus_records()[2:]))
    # Both passages of q1 are gone, one of q2.
    assert [question.id for question in dataset.questions] == ["q2", "q3", "q4"]
    assert (dataset.unanswerable, dataset.missing_gold) == (1, 1)
    assert dataset.questions[0].gold == {Gold(*PASSAGES[2])}


def test_what_is_marked_unanswerable_is_left_out(tmp_path: Path) -> None:
    records = question_records()
    records[0]["answerable"] = False
    dataset = load_dataset(write(tmp_path / "q.json", records))
    assert (len(dataset.questions), dataset.unanswerable) == (3, 1)


def test_what_no_memory_can_keep_is_read_the_same_everywhere(tmp_path: Path) -> None:
    records, corpus = question_records(), corpus_records()
    records[0]["question"] += "\ud83d"
    for record in (records[0]["paragraphs"][1], corpus[1]):
        record["title"] += " \0"
    dataset = load_dataset(write(tmp_path / "q.json", records), write(tmp_path / "c.json", corpus))
    assert dataset.missing_gold == 0
    assert dataset.questions[0].text.endswith("\ufffd")
    write_corpus(dataset.corpus, tmp_path / "written.json")
    assert load_corpus(tmp_path / "written.json").records == dataset.corpus.records


def test_ids_that_come_twice_get_a_number(tmp_path: Path) -> None:
    records = question_records()
    records[1]["id"] = "q1"
    dataset = load_dataset(write(tmp_path / "q.json", records))
    assert [question.id for question in dataset.questions] == ["q1", "q1#2", "q3", "q4"]


def test_a_number_never_makes_an_id_that_is_there(tmp_path: Path) -> None:
    records = [record | {"id": id_} for record, id_ in zip(question_records(), ("a", "a", "a#2", "a"), strict=True)]
    dataset = load_dataset(write(tmp_path / "q.json", records))
    assert [question.id for question in dataset.questions] == ["a", "a#3", "a#2", "a#4"]


def test_a_written_corpus_reads_the_same(tmp_path: Path) -> None:
    corpus = load_dataset(write(tmp_path / "q.json", question_records())).corpus
    write_corpus(corpus, tmp_path / "corpus.json")
    assert load_corpus(tmp_path / "corpus.json") == corpus


def without(key: str) -> Callable[[list[dict[str, Any]]], object]:
    return lambda records: [{name: value for name, value in record.items() if name != key} for record in records]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (without("question"), "record 0 has no question"),
        (without("paragraphs"), "record 0 names no gold passages"),
        (lambda _: [], "holds no questions"),
        (lambda _: 5, "is not a list of questions"),
        (lambda _: ["Who?"], "record 0 is not an object"),
        (lambda _: corpus_records(), "is this the corpus?"),
        (lambda records: [records[0], {**records[1], "paragraphs": [3]}], "record 1: paragraphs is not a list of obj"),
        (lambda records: [{**records[0], "paragraphs": [{"title": "T"}]}], "passage without a text"),
        (lambda _: [{"question": "Who?", "supporting_facts": "Ada"}], "supporting_facts is not a list"),
        (lambda _: [{"question": "Who?", "supporting_facts": [["Ada"]]}], "was expected"),
        (lambda _: [{"question": "Who?", "supporting_titles": [1]}], "not a list of titles"),
        (
            lambda _: [{"question": "Who?", "supporting_facts": [["A", 0]], "context": [["A", 5]]}],
            "neither a text nor a list of sentences",
        ),
    ],
)
def test_malformed_questions(tmp_path: Path, broken: Callable[[list[dict[str, Any]]], object], message: str) -> None:
    path = write(tmp_path / "q.json", broken(question_records()))
    with pytest.raises(SourceError, match=message) as caught:
        load_dataset(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "holds no passages"),
        ([{"title": "T", "text": "  "}], "holds no passages"),
        ([{"title": "T"}], "without a text"),
        ([7], "without a text"),
        (7, "neither a list of passages nor"),
        ({"T": 7}, "the passage 'T' is neither a text nor a list of sentences"),
        (question_records(), "are the two files swapped"),
    ],
)
def test_malformed_corpora(tmp_path: Path, data: object, message: str) -> None:
    questions, _ = write_pair(tmp_path)
    with pytest.raises(SourceError, match=message) as caught:
        load_dataset(questions, write(tmp_path / "bad.json", data))
    assert "bad.json" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[{", "is not valid JSON"),
        (b'{"a": 1}\n{"b"', "line 2"),
        (b'{"a": 1}\n' + b"[" * 200_000, "line 2"),
        (b"\xff\xfe\xff", "is not UTF-8"),
        (b"\x1f\x8b\x08damaged", "is damaged"),
        (gzip.compress(b"[1, 2, 3]" * 100, mtime=0)[:-12], "is damaged"),
        (b"[" * 200_000, "is not usable JSON"),
        (b"[" + b"1" * 5000 + b"]", "is not usable JSON"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "q.json"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        load_dataset(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        load_dataset(tmp_path / "nothing.json")
    with pytest.raises(SourceError, match="cannot be read"):
        load_dataset(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes with a name")
def test_a_pipe_is_refused_for_its_hash_would_be_that_of_nothing() -> None:
    reading, writing = os.pipe()
    os.write(writing, json.dumps(question_records()).encode())
    os.close(writing)
    with os.fdopen(reading), pytest.raises(SourceError, match="is a pipe"):
        load_dataset(Path(f"/dev/fd/{reading}"))


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    questions, _ = write_pair(tmp_path)
    other = write(tmp_path / "other.json", [{"title": "Elsewhere", "text": "Another data set."}])
    with pytest.raises(InvalidInputError, match="do not belong together"):
        load_dataset(questions, other)


def test_titles_without_any_context_need_a_corpus(tmp_path: Path) -> None:
    path = write(tmp_path / "q.json", [{"question": "Who?", "supporting_titles": ["Ada"]}])
    with pytest.raises(InvalidInputError, match="give the corpus file too"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("questions", "corpus", "counts"),
    [
        ("hotpotqa_train/hotpotqa_train", "hotpotqa_train/hotpotqa_train_corpus", (100, 994, 200)),
        ("hotpotqa_train/hotpotqa_train", None, (100, 994, 200)),
        ("musique_train/musique_train", "musique_train/musique_train_corpus", (100, 1890, 237)),
        ("musique_train/musique_train", None, (100, 1890, 237)),
        ("musique/musique_dev_gold", "musique/musique_corpus_pool", (189, 7706, 487)),
        ("2wikimultihopqa/2wikimultihopqa", "2wikimultihopqa/2wikimultihopqa_corpus", (1000, 6119, 2470)),
        ("popqa/popqa", "popqa/popqa_corpus_pool", (1000, 5215, 2000)),
        ("case_study/case_study_movies", "case_study/case_study_movies_corpus", (1, 101, 2)),
    ],
)
def test_the_real_files(shared_data: Path, questions: str, corpus: str | None, counts: tuple[int, int, int]) -> None:
    dataset = load_dataset(shared_data / f"{questions}.json.gz", shared_data / f"{corpus}.json.gz" if corpus else None)
    gold = sum(len(question.gold) for question in dataset.questions)
    assert (len(dataset.questions), len(dataset.corpus), gold) == counts
    assert (dataset.unanswerable, dataset.missing_gold) == (0, 0)
    assert all(question.answers for question in dataset.questions)


def test_the_real_questions_without_gold_are_refused(shared_data: Path) -> None:
    path = shared_data / "musique/musique_hipporag1000_questions_0-499.json.gz"
    with pytest.raises(SourceError, match="names no gold passages"):
        load_dataset(path, shared_data / "musique/musique_corpus_pool.json.gz")


def test_the_union_of_contexts_is_the_published_corpus(shared_data: Path) -> None:
    folder = shared_data / "hotpotqa_train"
    union = load_dataset(folder / "hotpotqa_train.json.gz").corpus
    published = load_corpus(folder / "hotpotqa_train_corpus.json.gz")
    assert set(union.records) == set(published.records)
