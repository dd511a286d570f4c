"""How the question leads to each passage: over which names, through which passage, with which facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter

import numpy as np
from sqlalchemy import Connection

from hippomem.hippocampus.common import is_common, spelled
from hippomem.hippocampus.keys import entity_key, plain
from hippomem.hippocampus.leading import best
from hippomem.hippocampus.ranking import Ranking
from hippomem.hippocampus.view import View
from hippomem.storage import links, reads, versions
from hippomem.types import Passage, Path, RecalledPassage, Step, Triple

BRIDGES = 40  # leading passages that a path may pass through
FACTS = 2  # facts told on one step
TOLD = 0.05  # of a score, from which what was learned is told

_FIELDS = tuple(field.name for field in fields(Passage))
_values_of = attrgetter(*_FIELDS)


@dataclass(frozen=True, slots=True)
class _Trace:
    """(entity, row) hops from the question to a row; none where only likeness leads there. Where the question does not
    name the first entity, it is about what does.
    """

    row: int
    named: tuple[int, ...]
    hops: tuple[tuple[int, int], ...]


def explain(
    view: View, ranking: Ranking, connection: Connection, namespace: int, moment: datetime
) -> tuple[list[RecalledPassage], list[Path]]:
    """The best passages with their reasons, and the paths to them, over facts that held at `moment` where there are
    any. Passages forgotten meanwhile are left out."""
    traces = _traces(view, ranking)
    rows = {trace.row for trace in traces} | {row for trace in traces for _, row in trace.hops}
    number_of = {row: int(view.numbers[row]) for row in rows}
    stored = reads.by_number(connection, namespace, list(number_of.values()))
    hops = [hop for trace in traces for hop in trace.hops]
    keys = {entity: view.graph.keys.key(entity) for entity, _ in hops}
    told_of = list({number_of[row] for _, row in hops})
    facts = links.facts_of(connection, namespace, told_of, list(keys.values())) if hops else {}
    if earlier := [number for number in number_of.values() if number not in stored]:
        stored |= versions.by_number(connection, namespace, earlier)
        facts |= versions.facts_of(connection, namespace, earlier)
    asked = {entity: name.removesuffix(" s") for entity, name in ranking.named.items()}  # "Ada's" is "Ada s" in plain
    passages: list[RecalledPassage] = []
    paths: list[Path] = []
    for trace, (score, causes) in zip(traces, ranking.at(ranking.order), strict=True):
        passage = stored.get(number_of[trace.row])
        if passage is None or any(number_of[row] not in stored for _, row in trace.hops):
            continue
        steps: list[Step] = []
        for place, (entity, row) in enumerate(trace.hops):
            told = facts.get(number_of[row], [])
            onward = trace.hops[place + 1][0] if place + 1 < len(trace.hops) else None
            at = stored[number_of[row]]
            name = asked.get(entity) or _spelled(keys[entity], told, at)
            sought = [keys[e] for e in (entity, onward) if e is not None]
            steps.append(Step(name, at.id, at.title or _beginning(at.text), _told(told, sought, moment)))
        path = Path(passage.id, tuple(steps), _in_words(steps, bool(trace.named))) if steps else None
        if path:
            paths.append(path)
        names = tuple(asked[entity] for entity in trace.named)
        why = _why(path, causes, ranking.queries(trace.row))
        own = dict(zip(_FIELDS, _values_of(passage), strict=True))
        passages.append(RecalledPassage(**own, score=score, causes=causes, entities=names, why=why))
    return passages, paths


def _traces(view: View, ranking: Ranking) -> list[_Trace]:
    graph = view.graph
    places = best(ranking.score, view.ties[ranking.rows], max(BRIDGES, len(ranking.order)))
    leading = ranking.rows[places]
    at, entities, masks = graph.edges_at(leading)
    rarities = (np.where(masks < 0, 4.0, 1.0) / graph.frequency[entities]).tolist()
    ends = np.searchsorted(at, np.arange(len(leading) + 1)).tolist()
    run_of = {row: slice(*ends[place : place + 2]) for place, row in enumerate(leading.tolist())}
    every = entities.tolist()
    frequency = {entity: int(graph.frequency[entity]) for entity in ranking.named}
    direct_of = {
        row: sorted(filter(frequency.__contains__, every[run]), key=frequency.__getitem__)
        for row, run in run_of.items()
    }
    bridges: dict[int, tuple[int, int, int]] = {}  # by entity: the first passage that leads there, its place, the name
    for place, (row, direct) in reversed(list(enumerate(direct_of.items(), 1))):
        if direct:
            bridges.update(dict.fromkeys(every[run_of[row]], (place, row, direct[0])))
    traces = []
    for target in ranking.order.tolist():
        if direct := direct_of[target]:
            traces.append(_Trace(target, tuple(direct), ((direct[0], target),)))
            continue
        run = run_of[target]
        if about := ranking.about.intersection(every[run]):
            rarest = min(about, key=lambda entity: (int(graph.frequency[entity]), graph.keys.key(entity)))
            traces.append(_Trace(target, (), ((rarest, target),)))
            continue
        ways = [
            (rarity / bridges[entity][0] ** 0.5, entity)
            for entity, rarity in zip(every[run], rarities[run], strict=True)
            if entity in bridges
        ]
        if ways:
            most, _ = max(ways)
            # Of equals the key decides, so that the order in which memories came does not.
            entity = min((entity for way, entity in ways if way == most), key=graph.keys.key)
            _, row, named = bridges[entity]
            traces.append(_Trace(target, (named,), ((named, row), (entity, target))))
        else:
            traces.append(_Trace(target, (), ()))
    return traces


def _why(path: Path | None, causes: Mapping[str, float], queries: int) -> tuple[str, ...]:
    why = [path.text] if path else ["no name in the question leads here: found by likeness alone"]
    if causes.get("title hop", 0.0) > 0:
        why.append("a leading passage names this one's title")
    if causes.get("teller", 0.0) < 0:
        why.append("told by another than the one who is asked about")
    if causes.get("turn hop", 0.0) > 0:
        why.append("told next, after a leading passage")
    if causes.get("speaker", 0.0) < 0:
        why.append("stands aside: neither names who is asked about, nor was told where they speak")
    if causes.get("crowding", 0.0) < 0:
        why.append("stands back: passages that lead are about the same")
    if queries and abs(causes.get("learned", 0.0)) >= TOLD:
        way = "up" if causes["learned"] > 0 else "down"
        why.append(f"moved {way} by {queries} earlier {'query' if queries == 1 else 'queries'} like this one")
    return tuple(why)


def _told(facts: list[Triple], keys: list[str], moment: datetime) -> tuple[Triple, ...]:
    """The facts that name most of the step's entities, in the order of the text; what held at the moment first."""
    wanted = set(keys)
    named = [(len(wanted.intersection((entity_key(f.subject), entity_key(f.object)))), f) for f in facts]
    most = max((count for count, _ in named), default=0)
    told = [f for count, f in named if count == most and count > 0]
    return tuple(sorted(told, key=lambda f: not _holds(f, moment)))[:FACTS]


def _holds(fact: Triple, moment: datetime) -> bool:
    has_begun = fact.valid_from is None or fact.valid_from <= moment
    return has_begun and (fact.invalid_at is None or fact.invalid_at > moment)


def _spelled(key: str, facts: list[Triple], passage: Passage) -> str:
    """The entity as the passage writes it, in a fact or in the text; its key where it does not."""
    if is_common(key):
        return spelled(key, passage.title, passage.text)
    for fact in facts:
        for name in (fact.subject, fact.object):
            if entity_key(name) == key:
                return name
    for bound in (r"\b", ""):  # rather by itself than as a part of another word
        sought = re.compile(bound + re.escape(key) + bound, re.IGNORECASE)
        for text in (passage.title, passage.text):
            # Or with other accents or signs between the words.
            if found := sought.search(text) or sought.search(plain(text)):
                return found[0]
    return key


def _beginning(text: str) -> str:
    """What stands for the title of a passage that has none."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59].rstrip() + "…"


def _with_end(fact: Triple) -> str:
    return str(fact) + (f" until {fact.invalid_at:%Y-%m-%d}" if fact.invalid_at else "")


def _in_words(steps: list[Step], is_named: bool) -> str:
    told = []
    for place, step in enumerate(steps):
        first = "the question names" if is_named else "what the question is about names"
        begin = f"{first} {step.entity}" if place == 0 else f"which names {step.entity}"
        facts = "; ".join(map(_with_end, step.facts))
        told.append(f"{begin} → “{step.passage_title}”" + (f" ({facts})" if facts else ""))
    return ", ".join(told)
