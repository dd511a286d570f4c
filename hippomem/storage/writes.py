"""Everything that changes passages. Each function runs inside the caller's transaction and appends to the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, null, select, update

from hippomem.errors import EncoderMismatchError
from hippomem.storage.chunks import chunks, rows_among
from hippomem.storage.entities import entities_of, remove_orphans, subjects_of
from hippomem.storage.learning import drop_targets
from hippomem.storage.links import add_links
from hippomem.storage.places import take_place
from hippomem.storage.releases import release
from hippomem.storage.rows import FAILED, Links, NewPassage, packed
from hippomem.storage.schema import (
    BESIDE_PASSAGES,
    analyses,
    answers,
    changes,
    documents,
    facts,
    jobs,
    mentions,
    passages,
    store_info,
    versions,
)
from hippomem.storage.updates import chain_of
from hippomem.storage.validities import settle


@dataclass(frozen=True, slots=True)
class Written:
    """What one write added: the passages, id → number, and how many entities and facts."""

    numbers: dict[str, int]
    entities: int
    facts: int


@dataclass(frozen=True, slots=True)
class Removed:
    """What one removal took away."""

    ids: tuple[str, ...]
    entities: int
    facts: int


def is_source(column: ColumnElement[str], source: str) -> ColumnElement[bool]:
    """Whether a column names this source, or one below it where it ends with a slash."""
    if not source.endswith("/"):
        return column == source
    return (column >= source) & (column < source[:-1] + "0")  # the sign after the slash: an index serves this


def is_session(column: ColumnElement[str | None], session: str) -> ColumnElement[bool]:
    """Whether a column names this session, or none where it is empty."""
    return column == session if session else column.is_(None) | (column == "")


def existing(connection: Connection, namespace: int, ids: Iterable[str]) -> dict[str, int]:
    """Of these passage ids, the stored ones with their numbers."""
    query = select(passages.c.id, passages.c.number).where(passages.c.namespace == namespace)
    return {row.id: row.number for row in rows_among(connection, query, passages.c.id, ids)}


def analysed(connection: Connection, namespace: int, encoder: int, contents: Iterable[str]) -> set[str]:
    """Of these contents, those whose vectors the store has."""
    query = select(analyses.c.content).where(analyses.c.namespace == namespace, analyses.c.encoder == encoder)
    return {row.content for row in rows_among(connection, query, analyses.c.content, contents)}


def add_passages(
    connection: Connection,
    namespace: int,
    encoder: int,
    new: Sequence[NewPassage],
    at: datetime,
    replacing: tuple[int, str, str] | None = None,
) -> Written:
    """Write passages that are not there yet, with vectors, mentions and facts; known ids only move their place.

    `replacing` is (number, id, text) of the passage that a single new one is the update of.
    """
    check_encoder(connection, encoder)
    known = existing(connection, namespace, [p.id for p in new])
    for passage in new:
        if passage.id in known:
            _move(connection, namespace, known[passage.id], passage, at)
    _describe_anew(connection, {known[p.id]: dict(p.metadata) for p in new if p.id in known and p.source})
    fresh = list({p.id: p for p in new if p.id not in known}.values())
    if not fresh:
        return Written({}, 0, 0)
    add_analyses(connection, namespace, encoder, fresh)
    connection.execute(
        insert(passages),  # without RETURNING, with which each of them would be a statement of its own
        [
            {
                "namespace": namespace,
                "id": p.id,
                "source": p.source,
                "position": p.position,
                "title": p.title,
                "text": p.text,
                "start": p.start,
                "end": p.end,
                "session": p.session,
                "occurred_at": p.occurred_at,
                "recorded_at": p.recorded_at or at,
                "told_at": p.told_at,
                "metadata": dict(p.metadata),
                "content": p.content,
            }
            for p in fresh
        ],
    )
    number_of = existing(connection, namespace, [p.id for p in fresh])
    numbers = {p.id: number_of[p.id] for p in fresh}
    previous, previous_id, text = replacing or (None, None, None)
    if previous is not None:
        take_place(connection, namespace, previous, numbers[fresh[0].id])
    new_entities, new_facts = add_links(connection, namespace, [(numbers[p.id], p.links) for p in fresh])
    for p in fresh:
        if any(fact.has_validity for fact in p.links.facts):
            settle(connection, namespace, numbers[p.id])
    connection.execute(
        insert(changes),
        [
            {
                "namespace": namespace,
                "action": "update" if replacing else "add",
                "passage": numbers[p.id],
                "passage_id": p.id,
                "previous": previous,
                "previous_id": previous_id,
                "at": at,
                "text": text,
                "extractor": ", ".join(sorted({f.triple.extractor for f in p.links.facts})) or None,
            }
            for p in fresh
        ],
    )
    return Written(numbers, new_entities, new_facts)


def relink(connection: Connection, namespace: int, number: int, passage_id: str, links: Links, at: datetime) -> int:
    """Replace what ties a passage into the graph, and log it. Returns the number of its facts."""
    before = entities_of(connection, namespace, [number])
    for table in (facts, mentions):
        connection.execute(delete(table).where(table.c.namespace == namespace, table.c.passage == number))
    _, count = add_links(connection, namespace, [(number, links)])
    remove_orphans(connection, namespace, before)
    settle(connection, namespace, number)
    connection.execute(
        insert(changes).values(
            namespace=namespace,
            action="link",
            passage=number,
            passage_id=passage_id,
            at=at,
            extractor=", ".join(sorted({f.triple.extractor for f in links.facts})) or None,
        )
    )
    return count


def remove_passages(
    connection: Connection, namespace: int, numbers: Sequence[int], at: datetime, action: str | None
) -> Removed:
    """Take passages out, with every entity and vector that nothing else uses. `action` None leaves no log row:
    for the removal that is one half of an update."""
    query = select(passages.c.number, passages.c.id, passages.c.content).where(passages.c.namespace == namespace)
    ids = {row.number: (row.id, row.content) for row in rows_among(connection, query, passages.c.number, numbers)}
    drop_targets(connection, namespace, ids, at)
    touched = entities_of(connection, namespace, ids)
    subjects = sorted(subjects_of(connection, namespace, ids))
    fact_count = 0
    contents = {content for _, content in ids.values()} | _drop_versions(connection, namespace, ids, action is None)
    for some in chunks(ids):
        # Why a call failed may quote any of its passages.
        shared = select(jobs.c.token).where(jobs.c.namespace == namespace, jobs.c.passage.in_(some), jobs.c.token > 0)
        connection.execute(update(jobs).where(jobs.c.token.in_(shared), jobs.c.reason.is_not(None)).values(reason=None))
        for table, column in (
            (facts, facts.c.passage),
            (mentions, mentions.c.passage),
            (jobs, jobs.c.passage),
            *((beside, beside.c.passage) for beside in BESIDE_PASSAGES),
            (passages, passages.c.number),
        ):
            done = connection.execute(delete(table).where(table.c.namespace == namespace, column.in_(some)))
            fact_count += done.rowcount if table is facts else 0
    for some_contents in chunks(contents):
        for table, holders in ((analyses, (passages, versions)), (answers, (passages,))):
            unused = [
                ~exists().where(held.c.namespace == namespace, held.c.content == table.c.content) for held in holders
            ]
            connection.execute(
                delete(table).where(table.c.namespace == namespace, table.c.content.in_(some_contents), *unused)
            )
    release(connection, namespace, [id_ for id_, _ in ids.values()], subjects, at)
    gone = remove_orphans(connection, namespace, touched)
    if action is not None and ids:
        connection.execute(
            insert(changes),
            [
                {"namespace": namespace, "action": action, "passage": number, "passage_id": id_, "at": at}
                for number, (id_, _) in ids.items()
            ],
        )
    return Removed(tuple(id_ for id_, _ in ids.values()), gone, fact_count)


def _drop_versions(
    connection: Connection, namespace: int, ids: Mapping[int, tuple[str, str]], are_replaced: bool
) -> set[str]:
    """Take out what passages, by number → (id, content), were before, and where they are not just replaced, too, what
    others were before that goes by the same ids, theirs or from before. Returns the contents."""

    def dropped(which: ColumnElement[bool]) -> list[Any]:
        gone = delete(versions).where(versions.c.namespace == namespace, which)
        return list(connection.execute(gone.returning(versions.c.id, versions.c.content)))

    rows = [row for some in chunks(ids) for row in dropped(versions.c.passage.in_(some))]
    if not are_replaced:
        same = {id_ for id_, _ in ids.values()} | {row.id for row in rows}
        rows += [row for some in chunks(same) for row in dropped(versions.c.id.in_(some))]
    return {row.content for row in rows}


def forget_history(connection: Connection, namespace: int, ids: Iterable[str]) -> None:
    """Empty the earlier texts that updates kept of these passages, back along the whole chain."""
    chains = [select(chain_of(namespace, some, later=False).c.id) for some in chunks(ids)]
    for some in chunks({id_ for chain in chains for id_ in connection.execute(chain).scalars() if id_}):
        told = changes.c.text.is_not(None) | changes.c.detail.is_not(None)
        where = (changes.c.namespace == namespace, changes.c.passage_id.in_(some), told)
        connection.execute(update(changes).where(*where).values(text=None, detail=null()))
        # What another memory said before is this very text.
        same = (changes.c.namespace == namespace, changes.c.previous_id.in_(some), changes.c.text.is_not(None))
        connection.execute(update(changes).where(*same).values(text=None))


def set_document(
    connection: Connection, namespace: int, source: str, fingerprint: str, count: int, at: datetime
) -> None:
    """Remember that a source is in, as it was when its file, or the records of it that failed, had this fingerprint."""
    forget_document(connection, namespace, source)
    connection.execute(
        insert(documents).values(
            namespace=namespace, source=source, fingerprint=fingerprint, documents=count, recorded_at=at
        )
    )


def forget_document(connection: Connection, namespace: int, source: str) -> None:
    """Forget that a source was ever ingested."""
    connection.execute(delete(documents).where(documents.c.namespace == namespace, documents.c.source == source))


def forget_whole_document(connection: Connection, namespace: int, source: str) -> None:
    """Forget that a source is in as its file was. Which records had failed when it was last read whole stays known."""
    is_whole = documents.c.fingerprint.not_like(f"{FAILED}%")
    connection.execute(
        delete(documents).where(documents.c.namespace == namespace, documents.c.source == source, is_whole)
    )


def forget_documents(connection: Connection, namespace: int, source: str) -> None:
    """The same of a source, or of all below it where it ends with a slash."""
    connection.execute(
        delete(documents).where(documents.c.namespace == namespace, is_source(documents.c.source, source))
    )


_ENCODER_NUMBER = select(store_info.c.value).where(store_info.c.key == "encoder_number")


def check_encoder(connection: Connection, encoder: int) -> None:
    """Raise EncoderMismatchError where the store has another encoder by now."""
    current = connection.execute(_ENCODER_NUMBER).scalar()
    if current is not None and int(current) != encoder:
        raise EncoderMismatchError("the store was encoded anew with another encoder while it was open: open it again")


def _move(connection: Connection, namespace: int, number: int, passage: NewPassage, at: datetime) -> None:
    """Give a passage its place. Where that changed, it may have other neighbours, which views learn from the log."""
    place = {"position": passage.position, "start": passage.start, "end": passage.end}
    moved = connection.execute(
        update(passages)
        .where(
            passages.c.number == number,
            (passages.c.position != passage.position)
            | (passages.c.start != passage.start)
            | (passages.c.end != passage.end),
        )
        .values(place)
    )
    if moved.rowcount:
        logged = {"namespace": namespace, "action": "link", "passage": number, "passage_id": passage.id, "at": at}
        connection.execute(insert(changes).values(logged))


def log_update(
    connection: Connection, namespace: int, number: int, passage_id: str, was: NewPassage, at: datetime
) -> None:
    """Tell what a passage was before an update that was done elsewhere."""
    logged = {"namespace": namespace, "action": "update", "passage": number, "passage_id": passage_id}
    connection.execute(insert(changes).values(logged | {"previous_id": was.id, "text": was.text, "at": at}))


def describe(connection: Connection, number: int, metadata: dict[str, Any]) -> None:
    """Give a passage other metadata. No view holds them, so the log does not tell."""
    connection.execute(update(passages).where(passages.c.number == number).values(metadata=metadata))


def _describe_anew(connection: Connection, described: dict[int, dict[str, Any]]) -> None:
    """Give passages that are there the metadata that their source has for them now."""
    for some in chunks(described):
        rows = connection.execute(select(passages.c.number, passages.c.metadata).where(passages.c.number.in_(some)))
        for number in [row.number for row in rows if row.metadata != described[row.number]]:
            describe(connection, number, described[number])


def add_analyses(connection: Connection, namespace: int, encoder: int, new: Sequence[NewPassage]) -> None:
    """Write the vectors of these passages, where they bring some that are not there."""
    by_content = {p.content: p.analysis for p in new if p.analysis is not None}
    missing = by_content.keys() - analysed(connection, namespace, encoder, by_content)
    rows = [
        {
            "namespace": namespace,
            "content": content,
            "encoder": encoder,
            **packed(analysis),
        }
        for content, analysis in by_content.items()
        if content in missing and analysis is not None
    ]
    if rows:
        connection.execute(insert(analyses), rows)
