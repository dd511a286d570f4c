"""Local extraction with the packaged pipeline."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import spacy
from spacy.tokens import Doc

from hippomem import ModelError
from hippomem.analyse import links_of
from hippomem.neocortex.extraction import LocalExtractor
from hippomem.types import Triple

TITLE = "Lothair II"
TEXT = (
    "Lothair II was the king of Lotharingia. He was married to Teutberga, daughter of Boso the Elder. He had 3 ships."
)


@pytest.fixture(scope="module")
def extractor() -> LocalExtractor:
    return LocalExtractor()


def test_sentences_lie_in_the_text_and_names_in_the_sentences(extractor: LocalExtractor) -> None:
    (read,) = extractor.extract([TEXT], [TITLE])
    sentences = [TEXT[a:b] for a, b in read.sentences]
    assert sentences == [s.strip() + "." for s in TEXT.split(".")[:-1]]
    for mention in read.mentions:
        assert mention.name in ([TITLE, *sentences][mention.line])
    assert {"Lotharingia", "Teutberga"} <= {m.name for m in read.mentions}
    assert "3" not in {m.name for m in read.mentions}


def test_facts_are_told_from_the_text(extractor: LocalExtractor) -> None:
    (read,) = extractor.extract([TEXT], [TITLE])
    told = {str(t) for t in read.triples}
    assert "Lothair II – was married to – Teutberga" in told
    assert all(t.extractor == "rules" for t in read.triples)


def test_a_title_does_not_run_into_its_text(extractor: LocalExtractor) -> None:
    (read,) = extractor.extract(["Lamprocles was the eldest son of Socrates."], ["Lamprocles"])
    assert all("\n" not in m.name for m in read.mentions)


def test_batches_do_not_change_what_is_read(extractor: LocalExtractor) -> None:
    texts = [TEXT, "Oslo is in Norway.", "", "   ", "日本語のテキスト。"] * 3
    together = list(extractor.extract(texts, [TITLE] * len(texts)))
    assert together == [next(extractor.extract([t], [TITLE])) for t in texts]


def test_titles_and_user_triples_become_entities(extractor: LocalExtractor) -> None:
    (read,) = extractor.extract(["It sank in 1912."], ["Titanic (ship)"])
    links = links_of("Titanic (ship)", "It sank in 1912.", read, [Triple("Titanic", "built by", "Harland & Wolff")])
    titled = {m.key for m in links.mentions if m.titled}
    assert titled == {"titanic ship", "titanic"}
    assert "harland wolff" in {m.key for m in links.mentions}
    assert ("titanic", "harland wolff") in {(f.subject_key, f.object_key) for f in links.facts}


def test_all_share_one_packaged_pipeline(extractor: LocalExtractor) -> None:
    others = [LocalExtractor() for _ in range(4)]
    assert {id(other._nlp) for other in others} == {id(extractor._nlp)}
    texts = [f"{TEXT} Keeper {number} of Varrow Island wrote to Boso the Elder." for number in range(30)]
    alone = list(extractor.extract(texts, [TITLE] * 30))
    with ThreadPoolExecutor(4) as pool:
        for beside in pool.map(lambda other: list(other.extract(texts, [TITLE] * 30, batch_size=7)), others):
            assert beside == alone


def test_a_pipeline_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModelError, match="no_such_pipeline"):
        list(LocalExtractor("no_such_pipeline").extract(["x"], [""]))


def test_what_no_space_divides_is_read_in_pieces() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    longest: list[int] = []
    whole = nlp.tokenizer

    def tokenizer(text: str) -> Doc:
        longest.append(max(map(len, text.split())))
        return whole(text)

    nlp.tokenizer = tokenizer
    text = f"Ada lives here. He {'(' * 9_000} b{'=' * 3_000} {'x' * 2_000}\n{'a.b/' * 700}. Bea too."
    (read,) = LocalExtractor(nlp).extract([text], [""])
    start, end = read.sentences[0]
    assert text[start:end] == "Ada lives here."
    assert text[read.sentences[-1][0] :] == "Bea too."
    assert max(longest) <= 256  # or the cost is that of the square


def test_the_names_of_a_sentence_are_those_that_lie_within_it() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "NAME", "pattern": name} for name in ("Ada", "Bea", "Oslo. Cid", "Falk")])  # type: ignore[attr-defined]
    (read,) = LocalExtractor(nlp).extract(["Ada met Bea in Oslo. Cid saw Falk. Ada left."], [""])
    assert [(m.name, m.line) for m in read.mentions] == [("Ada", 1), ("Bea", 1), ("Falk", 2), ("Ada", 3)]
