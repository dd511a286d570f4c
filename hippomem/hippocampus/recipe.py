"""The constants of the ranking (ranking.py), which one may change to see what a term or a mechanism is worth."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from hippomem.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Recipe:
    """The constants, chosen on hotpotqa_train and musique_train, the title hop's also on 200 questions of 2wiki,
    `crowding` and `everything` with popqa in view as well; `known`, `steepness`, `matched`, `brevity`, `asking`,
    `alone`, `raised`, `unknown` and `compared` with everyday notes, LoCoMo and all sets of documents in view, `terse`,
    `unmet`, `met`, `walk_of_turns`, `turn_hop`, `unasked`, `teller` and `addressed` with other chats as well. All
    but the cosine's are flat around these.

    `Memory.recall(…, recipe=Recipe(words=0))` leaves a term out, to see what it is worth; a weight, `sentences`,
    `known` or `passage_share` of 0 switches off what it stands for, as False does for the mechanisms at the end.
    """

    passage_share: float = 0.5  # of the seeds' mass; the rest is halved between named and suggested entities
    sentences: int = 5  # most like the question, from the best `candidates` passages
    candidates: int = 100
    suggested: int = 5  # entities of those sentences
    walk: float = 0.7
    walk_of_turns: float = 0.5  # of that which counts for turns of a conversation: it ends at what all talk about
    named_walk: float = 0.7
    known: float = 4.7  # weight of edges at which the graph's word counts half: that of a title
    steepness: float = 8.0  # of how far it counts below and above that
    words: float = 3.0
    matched: float = 4.5  # BM25 score of the best passage from which words count in full
    matched_words: float = 1.2  # or so many times the rarity of a word that stands in one passage, where that is less
    brevity: float = 1.0
    brief: int = 40  # words below which a passage is seldom an answer
    terse: float = 1.0  # of that which is spared by a turn whose speaker is brief beside the other
    asking: float = 0.5  # lost by a turn that ends with a question and answers none
    addressed: float = 0.05  # of the passages name one who is talked to, where none says who speaks
    teller: float = 1.0  # lost by a turn that another tells than the one speaker whom the question names
    cosine: float = 6.0
    alone: float = 8.0  # more for cosines above those of the leading passages, where there is no more to go by
    unmet: float = 0.1  # share of the rarity of the question's words up to which no passage is said to hold them
    met: float = 0.16  # and from which on one does
    raised: float = 2.0  # of such a passage's logarithm of mass above theirs, at most
    unknown: float = 6.0  # that logarithm, below 0, from which on it is not known at all
    compared: int = 5  # leading passages whose mean stands for what is not known of another
    floor: float = 1e-8  # added to a mass before its logarithm
    title_hop: float = 2.5
    hop_from: int = 10  # leading passages, of either hop
    hop_frequency: int = 100  # entities in more passages than this lead nowhere
    hop_titles: int = 5  # titles of more passages than this name a speaker or a source, not a subject
    turn_hop: float = 1.25
    unasked: float = 0.6  # of that for what does not answer a question
    speaker: float = 3.0  # lost where a passage neither names the speaker asked about nor is told where they speak
    crowding: float = 3.0
    crowd: int = 2  # passages about one thing that do not crowd
    everything: int = 6_000  # passages up to which all are scored
    nearest: int = 1_000  # above: passages that are seeds by their likeness
    postings: int = 1_500  # above: passages that the rarest words of the question may bring
    epsilon: float = 3e-5  # above: mass over an edge of weight 1 below which a local walk stops
    walked: int = 400  # above: passages that each walk may bring
    spelling: bool = True  # words that stand nowhere are read as such that do, a slip away
    names: bool = True  # the question's names are looked up in the graph
    unnamed: bool = True  # turns and notes are compared with the question without the names of those who talk
    words_once: bool = True  # BM25 reads only what names nothing; False: all words of the question
    near_likeness: bool = True  # cosines are smoothed over what was said before and after
    near_words: bool = True  # and BM25 likewise

    def __post_init__(self) -> None:
        """Raises InvalidInputError for what cannot be computed."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or not isfinite(value) or value < 0:
                raise InvalidInputError(f"a recipe's {field.name} must be a number of at least 0, not {value!r}")
            if field.type == "int" and not isinstance(value, int):
                raise InvalidInputError(f"a recipe's {field.name} must be a whole number, not {value!r}")
        for name in ("candidates", "brief", "floor", "nearest", "compared"):
            if getattr(self, name) <= 0:
                raise InvalidInputError(f"a recipe's {name} must be above 0")
        if self.passage_share > 1:
            raise InvalidInputError("a recipe's passage_share must be at most 1")
        if self.met <= self.unmet:
            raise InvalidInputError("a recipe's met must be above its unmet")


U = Recipe()
