"""Triples of an LLM from a file: what is used of them, what is dropped and counted, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_data import PASSAGES, write

from hippomem import InvalidInputError, Memory, NotFoundError, SourceError
from hippomem_eval.corpus import Corpus
from hippomem_eval.formats import Record
from hippomem_eval.openie import load_openie
from hippomem_eval.recorded_openie import recorded_extraction

CORPUS = Corpus(tuple(Record(title, text) for title, text in PASSAGES[:3]))
BORN = ["Odile Varga", "born in", "Szeged"]
ON = ["Szeged", "lies on", "Tisza"]


def doc(place: int, *triples: object) -> dict[str, Any]:
    title, text = PASSAGES[place]
    return {"idx": place, "passage": f"{title}\n{text}", "extracted_entities": [], "extracted_triples": [*triples]}


def test_malformed_triples_are_dropped_and_counted(tmp_path: Path) -> None:
    malformed = [[], ["a"], ["a", "b"], ["a", "b", "c", "d"], "a b c", None, ["a", " ", "c"], ["a", None, "c"]]
    malformed += [["a", ["b"], "c"], ["a", True, "c"], ["a", "\0", "c"], {"s": 1}]
    number = ["Lantos Quartet", "founded in", 1961]
    docs = [doc(0, BORN, *malformed, BORN), doc(1, ON, number), doc(7, ON)]
    found = load_openie(write(tmp_path / "o.json.gz", {"docs": docs, "avg_ent_chars": 1}), CORPUS)
    number[2] = "1961"
    assert found.facts == ((tuple(BORN),), (tuple(ON), tuple(number)), ())
    assert (found.count, found.dropped, found.elsewhere, found.missing) == (3, len(malformed), 1, 1)


def test_passages_are_known_with_title_and_text_apart(tmp_path: Path) -> None:
    title, text = PASSAGES[1]
    docs = [{"title": title, "text": text.replace(" ", "  "), "extracted_triples": [ON]}]
    assert load_openie(write(tmp_path / "o.json", {"docs": docs}), CORPUS).facts[1] == (tuple(ON),)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ([1], SourceError, "is not an OpenIE file"),
        ({"docs": {}}, SourceError, "is not an OpenIE file"),
        ({"docs": ["text"]}, SourceError, "document 0 has no list of extracted_triples"),
        ({"docs": [{"passage": "A"}]}, SourceError, "document 0 has no list of extracted_triples"),
        ({"docs": [{"extracted_triples": []}]}, SourceError, "document 0 has no passage"),
        ({"docs": [doc(7, ON)]}, InvalidInputError, "none of the 1 passages"),
        ({"docs": []}, InvalidInputError, "none of the 0 passages"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_openie(write(tmp_path / "o.json", content), CORPUS)
    with pytest.raises(NotFoundError):
        load_openie(tmp_path / "none.json", CORPUS)


def test_recorded_answers_take_the_way_of_any_models(fast: Callable[..., Memory], tmp_path: Path) -> None:
    path = write(tmp_path / "o.json", {"docs": [doc(0, BORN, ["Szeged", "Tisza"]), doc(1, ON)]})
    memory = fast(llm=recorded_extraction(path))
    memory.ingest([{"title": title, "text": text} for title, text in PASSAGES[:3]])
    report = memory.consolidate()["extract"]
    assert (report.counts["passages"], report.counts["triples"], report.counts["dropped"]) == (2, 2, 1)
    assert [job.title for job in memory.jobs("dead")] == [PASSAGES[2][0]]  # nothing is recorded about it
    facts = [data for *_, data in memory.graph().edges(data=True) if data["kind"] == "fact"]
    assert {data["relation"] for data in facts if data["extractor"] == "RecordedExtraction:o"} == {"born in", "lies on"}


def test_the_real_file(shared_data: Path) -> None:
    from hippomem_eval.datasets import load_corpus

    folder = shared_data / "musique_train"
    corpus = load_corpus(folder / "musique_train_corpus.json.gz")
    found = load_openie(folder / "openie_musique_train_results_ner_gpt-3.5-turbo-1106_1890.json.gz", corpus)
    # 17,234 are well formed; 30 of them repeat another of their passage.
    assert (found.count, found.dropped, found.elsewhere, found.missing) == (17204, 185, 0, 0)
