"""The baselines on corpora so small that their results are known by hand, and against networkx."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest

from hippomem import Memory, Triple
from hippomem.neocortex.encoder import Encoded
from hippomem.testing import HashEncoder, capitals
from hippomem_eval.bm25 import BM25System
from hippomem_eval.hipporag2 import HippoRAG2, processed, synonyms
from hippomem_eval.lexical import BM25
from hippomem_eval.linearrag import Configuration, LinearRAG
from hippomem_eval.material import Material, Mention, Source, min_max, ranked
from hippomem_eval.pagerank import PassageGraph
from hippomem_eval.ranking import System
from hippomem_eval.rrf import ReciprocalRankFusion, reciprocal_ranks
from hippomem_eval.vectors import vectors_of

TEXTS = ["Ada owns a Mill. It stands in Oslo.", "Oslo lies on a Fjord.", "Bela plays chess.", "Nothing at all."]
FACTS = [[("Ada", "owns", "a mill"), ("mill!", "in", "Oslo")], [("OSLO", "lies on", "fjord")], [], []]


class Counting(HashEncoder):
    """Notes what it encodes."""

    def __init__(self, dimension: int = 64) -> None:
        super().__init__(dimension)
        self.encoded: list[str] = []
        self.questions: list[str] = []

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]) -> list[Encoded]:
        self.encoded += texts
        return super().encode_passages(texts, spans)

    def encode_query(self, text: str) -> Any:
        self.questions.append(text)
        return super().encode_query(text)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Read from a memory, as in a run."""
    with Memory.open(tmp_path / "m.db", encoder=Counting(), pipeline=capitals()) as memory:
        memory.ingest([{"title": f"T{i}", "text": text} for i, text in enumerate(TEXTS)])
        return Material.of(memory, tmp_path)


def titles(system: System, question: str, k: int = 4) -> list[str]:
    return [passage.title for passage in system.recall(question, k).passages]


def test_the_material_is_what_the_memory_holds(material: Material, tmp_path: Path) -> None:
    assert [(source.title, source.text) for source in material.sources] == [(f"T{i}", t) for i, t in enumerate(TEXTS)]
    encoder = HashEncoder()
    for source, vector in zip(material.sources, material.vectors, strict=True):
        assert vector == pytest.approx(encoder.encode_query(source.whole))
    first = material.sources[0]
    assert first.lines == pytest.approx(
        np.array([encoder.encode_query(line) for line in ("T0", "Ada owns a Mill.", "It stands in Oslo.")]), abs=1e-3
    )
    lines = {mention.name: mention.lines for mention in first.mentions}
    assert (lines["T0"], lines["Ada"], lines["Oslo"]) == ((0,), (1,), (2,))
    assert [mention.name for mention in first.mentions if mention.titled] == ["T0"]
    assert not list(tmp_path.glob("material-*"))


def test_ranking_takes_the_first_of_equals(material: Material) -> None:
    scores = np.array([1.0, 3.0, 3.0, 0.0])
    for k, expected in ((1, "1"), (2, "12"), (3, "120"), (9, "1203")):
        assert "".join(found.title[1] for found in ranked(material.sources, scores, k)) == expected
    assert min_max(np.array([2.0, 2.0])).tolist() == [0.0, 0.0]
    assert min_max(np.array([1.0, 3.0, 2.0])).tolist() == [0.0, 1.0, 0.5]


def test_bm25_finds_words_and_encodes_nothing(material: Material) -> None:
    system = BM25System(material)
    assert titles(system, "Who played chess?", 1) == ["T2"]
    assert titles(system, "T3", 1) == ["T3"]  # titles count
    assert "encode" not in system.recall("chess", 1).timings


def test_bm25_brings_nothing_that_shares_no_word(material: Material) -> None:
    # It would come in the corpus's order, in which what belongs to a question often stands together.
    system = BM25System(material)
    assert titles(system, "Who played chess?") == ["T2"]
    assert titles(system, "the of and") == []


def test_bm25_reads_letters_with_their_marks_apart_as_it_reads_them_in_one() -> None:
    for text in ("In Z\u00fcrich it rains.", "In Zu\u0308rich it rains."):
        bm25 = BM25([text, "Snow."])
        for city in ("Z\u00fcrich", "Zu\u0308rich"):
            assert bm25.scores(city)[0] == pytest.approx(np.log(2) / 2.875)
        assert bm25.scores("rich").max() == 0


def test_reciprocal_rank_fusion_by_hand(material: Material) -> None:
    assert reciprocal_ranks(np.array([0.1, 0.9, 0.1])) == pytest.approx([1 / 62, 1 / 61, 1 / 63])
    system = ReciprocalRankFusion(material)
    question = "chess in Oslo"
    cosines = material.vectors @ HashEncoder().encode_query(question)
    order = np.argsort(-cosines, kind="stable")
    expected = {f"T{i}": 1 / (61 + rank) for rank, i in enumerate(order)}
    lexical = BM25System(material).recall(question, 4).passages
    assert {found.title for found in lexical} == {"T0", "T1", "T2"}
    for rank, found in enumerate(lexical):
        expected[found.title] += 1 / (61 + rank)
    assert {p.title: p.score for p in system.recall(question, 4).passages} == pytest.approx(expected)


def test_pagerank_is_that_of_networkx() -> None:
    edges = [(0, 3), (0, 4), (1, 4), (3, 4), (4, 3), (2, 5), (3, 5), (5, 5)]
    weights = [1.0, 2.0, 1.0, 0.8, 0.9, 1.0, 3.0, 7.0]
    seeds = np.array([0.05, 0.0, 0.01, 0.5, 0.0, 0.25])
    graph = networkx.Graph()
    graph.add_nodes_from(range(6))
    for (a, b), weight in zip(edges, weights, strict=True):
        if a != b:
            graph.add_edge(a, b, weight=weight + graph.get_edge_data(a, b, {"weight": 0.0})["weight"])
    for damping in (0.5, 0.8):
        expected = networkx.pagerank(graph, alpha=damping, personalization=dict(enumerate(seeds)), tol=1e-12)
        ours = PassageGraph(6, 3, edges, weights, damping)
        assert ours.edges == graph.number_of_edges()
        assert ours.ranks(seeds) == pytest.approx([expected[node] for node in range(3)], abs=1e-9)


def test_phrases_are_processed_as_the_authors_do() -> None:
    assert processed(" St. Mary's (Church) ") == "st  mary s  church"
    assert processed("Zürich-West") == "z rich west"
    assert processed("北京大学") == ""


def test_synonyms_by_hand() -> None:
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], np.float32)
    found = {(a, b): cosine for a, b, cosine in synonyms(["oslo", "oslo city", "ada", "", "us"], vectors)}
    # The empty phrase is nobody's synonym; "us" is too short to have one, but may be one.
    assert found == pytest.approx({(0, 1): 0.8, (1, 0): 0.8, (0, 4): 1.0, (1, 4): 0.8})
    crowd = np.tile(np.array([[1.0, 0.0]], np.float32), (600, 1))
    by_phrase = np.bincount([a for a, _, _ in synonyms([f"phrase {i}" for i in range(600)], crowd)])
    assert set(by_phrase) <= {101, 102}
    assert len(by_phrase) == 600


def test_hipporag2_by_hand(material: Material) -> None:
    system = HippoRAG2(material, FACTS)
    question = HashEncoder().encode_query("Ada owns a mill")
    seeds = system.phrase_seeds(question)
    facts = [("ada", "owns", "a mill"), ("mill", "in", "oslo"), ("oslo", "lies on", "fjord")]
    scores = dict(
        zip(facts, min_max(np.array([HashEncoder().encode_query(str(f)) @ question for f in facts])), strict=True)
    )
    assert scores[facts[0]] == 1.0
    # Oslo is in two passages and in two facts: half of each score, averaged. Five phrases, so all stay.
    oslo = (scores[facts[1]] / 2 + scores[facts[2]] / 2) / 2
    expected = {"ada": 1.0, "a mill": 1.0, "mill": scores[facts[1]], "oslo": oslo, "fjord": scores[facts[2]]}
    places = {phrase: 4 + i for i, phrase in enumerate(sorted(expected))}
    assert seeds == pytest.approx([0.0] * 4 + [expected[phrase] for phrase in sorted(expected)])

    graph = networkx.Graph()
    graph.add_nodes_from(range(9))
    for subject, _, object_ in facts:
        graph.add_edge(places[subject], places[object_], weight=2.0)
    for passage, phrases in enumerate((("ada", "a mill", "mill", "oslo"), ("oslo", "fjord"))):
        graph.add_edges_from((passage, places[phrase], {"weight": 1.0}) for phrase in phrases)
    names = sorted(expected)
    for a, b, cosine in synonyms(names, np.array([HashEncoder().encode_query(name) for name in names])):
        # In place of the count of triples, each way; "a mill" and "mill" share a word but are not alike enough.
        graph.add_edge(4 + a, 4 + b, weight=2 * cosine)
    seeds[:4] = 0.05 * min_max(material.vectors @ question)
    ranks = networkx.pagerank(graph, alpha=0.5, personalization=dict(enumerate(seeds)), tol=1e-12)
    recalled = system.recall("Ada owns a mill", 4)
    assert {p.title: p.score for p in recalled.passages} == pytest.approx(
        {f"T{i}": ranks[i] for i in range(4)}, abs=1e-7
    )
    assert recalled.passages[0].title == "T0"
    assert set(recalled.timings) == {"encode", "total"}


def test_a_synonym_takes_the_place_of_the_count_of_triples(material: Material) -> None:
    facts = [[("oslo city", "is", "city oslo"), ("oslo city", "was", "city oslo")], [], [], []]
    system = HippoRAG2(material, facts)  # the same words: cosine 1
    graph = networkx.Graph([(0, 4, {"weight": 1.0}), (0, 5, {"weight": 1.0}), (4, 5, {"weight": 2.0})])
    graph.add_nodes_from(range(6))
    question = HashEncoder().encode_query("oslo city was")
    seeds = system.phrase_seeds(question)
    seeds[:4] = 0.05 * min_max(material.vectors @ question)
    ranks = networkx.pagerank(graph, alpha=0.5, personalization=dict(enumerate(seeds)), tol=1e-12)
    scores = {p.title: p.score for p in system.recall("oslo city was", 4).passages}
    assert scores == pytest.approx({f"T{i}": ranks[i] for i in range(4)}, abs=1e-7)


def test_only_five_phrases_are_seeded(material: Material) -> None:
    facts = [[(f"s{i}", f"r{i}", f"o{i}") for i in range(8)], [], [], []]
    seeds = HippoRAG2(material, facts).phrase_seeds(HashEncoder().encode_query("s1 r1 o1 s2 r2 s3 s4"))
    assert np.count_nonzero(seeds) == 5


@pytest.mark.parametrize("facts", [[[], [], [], []], [[("a", "b", "a")], [], [], []]])
def test_hipporag2_without_facts_worth_a_walk(material: Material, facts: Any) -> None:
    assert titles(HippoRAG2(material, facts), "Bela plays chess", 1) == ["T2"]


def test_vectors_are_encoded_once_and_kept(tmp_path: Path) -> None:
    encoder = Counting()
    texts = ["three words here", "one", "two words", "one"]
    vectors = vectors_of(texts, encoder, tmp_path, "texts")
    assert encoder.encoded == ["one", "two words", "three words here"]
    assert vectors == pytest.approx(np.array([HashEncoder().encode_query(text) for text in texts]))
    assert vectors_of(texts[::-1], encoder, tmp_path, "texts") == pytest.approx(vectors[::-1])
    assert len(encoder.encoded) == 3
    other = Counting(32)
    assert vectors_of(texts, other, tmp_path, "texts").shape == (4, 32)
    (kept, _) = sorted(tmp_path.glob("*.npz"))
    for damaged in (b"", kept.read_bytes()[:100]):
        for path in tmp_path.glob("*.npz"):
            path.write_bytes(damaged)
        assert vectors_of(texts, encoder, tmp_path, "texts") == pytest.approx(vectors)
    assert vectors_of([], encoder, tmp_path, "texts").shape == (0, 0)


def hand_made(tmp_path: Path) -> Material:
    """Two passages that only a name joins, a third one: sentences along three axes."""
    axes = np.eye(4, dtype=np.float32)
    lines = np.array([axes[0] * 0.9 + axes[3] * 0.435, axes[1]]), np.array([axes[0] * 0.6 + axes[3] * 0.8]), axes[2:3]
    mentions = (Mention("Ada", (1,), False), Mention("The Mill", (1, 2), False)), (Mention("mill", (1,), False),), ()
    mentions = (mentions[0], (Mention("The mill", (1,), False), Mention("Oslo", (1,), False)), ())
    texts = "Ada owns The Mill. The Mill is old.", "The mill is in Oslo.", "Nothing."
    sources = tuple(
        Source(f"id{i}", "", text, line, mention, (Triple("a", "b", "c"),))
        for i, (text, line, mention) in enumerate(zip(texts, lines, mentions, strict=True))
    )
    return Material(sources, axes[[1, 2, 3]], HashEncoder(4), capitals(), tmp_path)


def test_bridging_by_hand(tmp_path: Path) -> None:
    system = LinearRAG(hand_made(tmp_path), Configuration(sentences=1, threshold=0.2, steps=3))
    ada, mill, oslo = (system._name[name] for name in ("ada", "the mill", "oslo"))
    question = np.array([1, 0, 0, 0], np.float32)
    received, active = system._bridged(question, {ada: 1.0})
    # Ada's only sentence (0.9) reaches herself and the mill; the mill's best unused one (0.6) itself and Oslo.
    assert received == pytest.approx({ada: 1.9, mill: 0.9 + 0.54, oslo: 0.54})
    assert {name: (state.score, state.step) for name, state in active.items()} == {
        ada: (pytest.approx(0.9), 2),
        mill: (pytest.approx(0.54), 3),
        oslo: (pytest.approx(0.54), 3),
    }
    two_steps = LinearRAG(hand_made(tmp_path), Configuration(steps=2))._bridged(question, {ada: 1.0})[0]
    assert two_steps == pytest.approx({ada: 1.9, mill: 0.9})
    strict = LinearRAG(hand_made(tmp_path), Configuration(threshold=0.95))._bridged(question, {ada: 1.0})[0]
    assert strict == {ada: 1.0}


def test_linearrag_against_networkx(tmp_path: Path) -> None:
    material = hand_made(tmp_path)
    ours = Configuration(sentences=1, threshold=0.2, steps=3, ratio=2.0, passage_weight=0.1, damping=0.5)
    system = LinearRAG(material, ours)
    question = np.array([1, 0, 0, 0.5], np.float32)
    linked = {system._name["ada"]: 1.0}
    received, active = system._bridged(question, linked)
    graph = networkx.Graph()
    graph.add_nodes_from(range(6))
    counts = {0: {"ada": 1, "the mill": 2}, 1: {"the mill": 1, "oslo": 1}}
    bonus = np.zeros(3)
    for passage, own in counts.items():
        for name, count in own.items():
            node = system._name[name]
            graph.add_edge(passage, 3 + node, weight=count / sum(own.values()))
            bonus[passage] += active[node].score * np.log(1 + count) / active[node].step
    seeds = np.zeros(6)
    seeds[:3] = 0.1 * (2.0 * min_max(material.vectors @ question) + np.log(1 + bonus))
    for node, score in received.items():
        seeds[3 + node] = score
    ranks = networkx.pagerank(graph, alpha=0.5, personalization=dict(enumerate(seeds)), tol=1e-12)
    assert system._scores(question, linked) == pytest.approx([ranks[i] for i in range(3)], abs=1e-7)


def test_linearrag_from_a_memory(material: Material) -> None:
    system = LinearRAG(material)
    assert sorted(titles(system, "Where is what Ada owns?", 2)) == ["T0", "T1"]
    assert titles(system, "who plays chess?", 1) == ["T2"]  # no name: the cosine
    encoder = material.encoder
    assert isinstance(encoder, Counting)
    encoder.encoded.clear()
    encoder.questions.clear()
    for _ in range(2):
        ranking = system.recall("Adas Mills near Oslo?", 3)
    # The question once; of its names only that which the index does not know.
    assert (encoder.questions, encoder.encoded) == (["Adas Mills near Oslo?"], ["adas mills"])
    assert ranking.timings["total"] >= ranking.timings["encode"]


def test_titles_are_names_where_wanted(material: Material) -> None:
    assert "t0" in LinearRAG(material)._name
    assert "t0" not in LinearRAG(material, Configuration(titles=False))._name


def test_linearrag_without_any_name(tmp_path: Path) -> None:
    with Memory.open(":memory:", encoder=HashEncoder(), pipeline=capitals()) as memory:
        memory.ingest([{"text": "nothing here"}, {"text": "just words"}])
        material = Material.of(memory, tmp_path)
    system = LinearRAG(material)
    assert [p.text for p in system.recall("Ada has just words", 1).passages] == ["just words"]
    assert [p.text for p in HippoRAG2(material, [[], []]).recall("just words", 1).passages] == ["just words"]
