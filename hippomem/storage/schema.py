"""The tables. The namespace is part of every key but the log's own sequence and what is known of the servers of models;
of a memory there is no row without one.

documents   what was ingested, by source, with the fingerprint of what was read
passages    the texts; `number` orders them, `id` is the hash of namespace, source, title and text
analyses    vectors by content and encoder: the same content is encoded once, whatever names it
entities    the names of the graph by key;  mentions: which lines of a passage name them
facts       triples of a passage, by extractor
learning_*  what feedback taught: queries with their vectors, and the passages that were useful for them
rehearsals  which learning events were replayed into the weights, in which order
changes     the log: one row a change to a passage or to what was learned, in the order of commits; views follow it
jobs        what a chat model is to do with a passage, and how far that is: claimed with a lease and a fencing token
outages     models whose server fails, with the pause until it is asked again
calls       the ledger: one row a call of a chat model, written when it begins; its number is the fencing token
answers     what it answered about a content, so that nothing is paid for twice
reviews     when each passage is due to be replayed, by channel; a row is claimed with a lease and a fencing token
review_log  what the replays found;  usages: how often a passage was of use
statuses    what became of a passage: archived, merged, flagged;  validities: what was found of when a fact holds
versions    what passages were before updates: earlier texts, with all that tied them into the graph
strengths   how far use has strengthened an edge
semantic_facts  facts that several events of several sources support
schedules   where the rounds of consolidation are
namespaces  their names;  store_info  which store this is, and which encoder made its vectors
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine


class UTCDateTime(TypeDecorator[datetime]):
    """Aware UTC in, aware UTC out, also where the database knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:
        return _utc if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


def _utc(written: str | None) -> datetime | None:
    """What SQLite keeps as text; five times as fast as to read it without a zone and to put that in."""
    return None if written is None else datetime.fromisoformat(written + "+00:00")


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts an INTEGER PRIMARY KEY only; elsewhere numbers are 64 bits wide.
Number = BigInteger().with_variant(Integer, "sqlite")


def _text(length: int | None = None) -> TypeEngine[str]:
    """Text of any length: how long it is at most is for people to read, as SQLite takes it. Ordered by code points."""
    return (String(length) if length else Text()).with_variant(Text(collation="C"), "postgresql")


def _namespace() -> Column[Any]:
    return Column("namespace", Integer, ForeignKey("namespaces.number"), nullable=False)


store_info = Table(
    "store_info",
    metadata,
    Column("key", _text(64), primary_key=True),
    Column("value", _text(), nullable=False),
)

namespaces = Table(
    "namespaces",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("name", _text(255), nullable=False, unique=True),
    sqlite_autoincrement=True,
)

documents = Table(
    "documents",
    metadata,
    Column("namespace", Integer, ForeignKey("namespaces.number"), primary_key=True),
    Column("source", _text(), primary_key=True),
    Column("fingerprint", _text(64), nullable=False),
    Column("documents", Integer, nullable=False),
    Column("recorded_at", UTCDateTime, nullable=False),
)

passages = Table(
    "passages",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    _namespace(),
    Column("id", _text(32), nullable=False),
    Column("source", _text(), nullable=False),
    Column("position", Integer, nullable=False),
    Column("title", _text(), nullable=False),
    Column("text", _text(), nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("session", _text()),
    Column("occurred_at", UTCDateTime),
    Column("recorded_at", UTCDateTime, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("content", _text(32), nullable=False),
    Column("told", Number),  # its place among others, where that is another passage's number: see places.py
    Column("told_at", UTCDateTime),  # when it was recorded first, where it was updated since
    UniqueConstraint("namespace", "id"),
    UniqueConstraint("namespace", "number"),
    Index(None, "namespace", "source"),
    Index(None, "namespace", "session"),
    Index(None, "namespace", "content"),
    sqlite_autoincrement=True,  # a number is never given twice: views tell passages apart by it
)

analyses = Table(
    "analyses",
    metadata,
    Column("namespace", Integer, ForeignKey("namespaces.number"), primary_key=True),
    Column("content", _text(32), primary_key=True),
    Column("encoder", Integer, primary_key=True),  # which of the encoders it has had: the first is 1, others draw
    Column("vector", LargeBinary, nullable=False),  # (d,) float32, L2-normalised
    Column("sentence_vectors", LargeBinary, nullable=False),  # (s, d) float16, L2-normalised
    Column("sentences", LargeBinary, nullable=False),  # (s, 2) int32: spans in the text
    Column("checksum", BigInteger),  # of these three: see rows.packed; of rows from before there were any, none
)

entities = Table(
    "entities",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    _namespace(),
    Column("key", _text(), nullable=False),
    UniqueConstraint("namespace", "key"),
    UniqueConstraint("namespace", "number"),
    sqlite_autoincrement=True,
)

mentions = Table(
    "mentions",
    metadata,
    Column("namespace", Integer, primary_key=True),
    Column("passage", Number, primary_key=True),
    Column("entity", Number, primary_key=True),
    Column("name", _text(), nullable=False),  # as this passage writes it
    Column("lines", BigInteger, nullable=False),  # which lines name it, as bits: 0 the title, then the sentences
    Column("titled", Boolean, nullable=False),  # whether the entity names the passage's title
    ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
    ForeignKeyConstraint(["namespace", "entity"], ["entities.namespace", "entities.number"]),
    Index(None, "namespace", "entity"),
    sqlite_with_rowid=False,
)

facts = Table(
    "facts",
    metadata,
    Column("namespace", Integer, primary_key=True),
    Column("passage", Number, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("subject", Number, nullable=False),
    Column("object", Number, nullable=False),
    Column("subject_name", _text(), nullable=False),
    Column("relation", _text(), nullable=False),
    Column("object_name", _text(), nullable=False),
    Column("extractor", _text(128), nullable=False),
    Column("valid_from", UTCDateTime),  # as the user who brought it said, as the next
    Column("invalid_at", UTCDateTime),
    ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
    ForeignKeyConstraint(["namespace", "subject"], ["entities.namespace", "entities.number"]),
    ForeignKeyConstraint(["namespace", "object"], ["entities.namespace", "entities.number"]),
    Index(None, "namespace", "subject"),
    Index(None, "namespace", "object"),
    sqlite_with_rowid=False,
)

learning_events = Table(
    "learning_events",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    _namespace(),
    Column("id", _text(32), nullable=False),
    Column("query", _text(), nullable=False),
    Column("confidence", Float, nullable=False),
    Column("evidence", LargeBinary),  # see learning.Evidence
    Column("recorded_at", UTCDateTime, nullable=False),
    UniqueConstraint("namespace", "id"),
    UniqueConstraint("namespace", "number"),
    sqlite_autoincrement=True,
)

learning_vectors = Table(
    "learning_vectors",
    metadata,
    Column("namespace", Integer, primary_key=True),
    Column("event", Number, primary_key=True),
    Column("encoder", Integer, primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # (d,) float32, L2-normalised
    ForeignKeyConstraint(["namespace", "event"], ["learning_events.namespace", "learning_events.number"]),
)

learning_targets = Table(
    "learning_targets",
    metadata,
    Column("namespace", Integer, primary_key=True),
    Column("event", Number, primary_key=True),
    Column("passage", Number, primary_key=True),
    ForeignKeyConstraint(["namespace", "event"], ["learning_events.namespace", "learning_events.number"]),
    ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
    Index(None, "namespace", "passage"),
    sqlite_with_rowid=False,
)

rehearsals = Table(
    "rehearsals",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    _namespace(),
    Column("id", _text(32), nullable=False),
    Column("events", JSON, nullable=False),  # numbers of learning events, in the order of the replay
    Column("absorbed", JSON, nullable=False),  # those that the weights held afterwards
    Column("recorded_at", UTCDateTime, nullable=False),
    Index(None, "namespace", "number"),
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("sequence", Number, primary_key=True, autoincrement=True),
    _namespace(),
    Column("action", _text(16), nullable=False),  # see below, PASSAGE_ACTIONS and on
    Column("passage", Number, nullable=False),  # or the learning event, or the rehearsal
    Column("passage_id", _text(32), nullable=False),
    Column("previous", Number),
    Column("previous_id", _text(32)),
    Column("at", UTCDateTime, nullable=False),
    Column("text", _text()),  # what an update replaced; emptied when the memory is forgotten
    Column("extractor", _text(128)),
    Column("detail", JSON),  # of what consolidation did: why, and what it takes to undo it; emptied likewise
    Index(None, "namespace", "sequence"),
    Index(None, "namespace", "passage_id"),
    Index(None, "namespace", "previous_id"),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    _namespace(),
    Column("passage", Number, nullable=False),
    Column("kind", _text(16), nullable=False),
    Column("prompt", _text(32), nullable=False),  # its name with its version: extract/1
    Column("model", _text(255), nullable=False),
    Column("content", _text(32), nullable=False),
    Column("ingest", _text(32)),  # which ingest brought the passage
    Column("state", _text(8), nullable=False),  # waiting, running, done, dead
    Column("attempts", Integer, nullable=False),
    Column("due_at", UTCDateTime, nullable=False),  # may be claimed from then on; of a running one: its lease ends
    Column("token", Number, nullable=False),  # the call that holds it; who has another one lost it
    Column("reason", _text()),  # why the last attempt failed
    Column("faults", Integer, nullable=False, server_default="0"),  # failures of the server, which are no attempts
    ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
    UniqueConstraint("namespace", "passage", "kind", "prompt", "model", name="uq_jobs_namespace_passage"),
    Index("ix_jobs_namespace_state", "namespace", "state", "due_at"),
    Index(None, "token"),
    sqlite_autoincrement=True,
)

outages = Table(
    "outages",
    metadata,
    Column("model", _text(255), primary_key=True),
    Column("since", UTCDateTime, nullable=False),  # the first failure
    Column("until", UTCDateTime, nullable=False),  # nobody asks before; of a probe under way: its lease ends
    Column("failures", Integer, nullable=False),  # the first one, and those of probes
    Column("token", Number, nullable=False),  # the newest call that was begun before the last one
    Column("reason", _text(), nullable=False),  # quotes no passage: it is told in all namespaces
    sqlite_with_rowid=False,
)

calls = Table(
    "calls",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    _namespace(),
    Column("purpose", _text(32), nullable=False),  # the prompt's name
    Column("model", _text(255), nullable=False),
    Column("ingest", _text(32)),
    Column("outcome", _text(8), nullable=False),  # open, answered, failed, cached, lost
    Column("began_at", UTCDateTime, nullable=False),
    Column("expected_tokens", Number, nullable=False),
    Column("input_tokens", Number, nullable=False),
    Column("output_tokens", Number, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("cost", Float),  # dollars; unknown where the model has no price
    Index(None, "namespace", "model"),
    Index(None, "began_at"),
    sqlite_autoincrement=True,
)

answers = Table(
    "answers",
    metadata,
    Column("namespace", Integer, ForeignKey("namespaces.number"), primary_key=True),
    Column("content", _text(32), primary_key=True),
    Column("prompt", _text(32), primary_key=True),
    Column("model", _text(255), primary_key=True),
    Column("text", _text(), nullable=False),  # what was usable of it, as JSON
    Index(None, "content"),
)

PASSAGE_ACTIONS = ("add", "update", "link", "forget", "replace")
LEARNING_ACTIONS = ("learn", "unlearn", "rehearse")
# Of what consolidation logs this changes edges, so that views read the passage anew. The others (archive, restore,
# merge, invalidate, revalidate, promote, demote, flag) change nothing that a view holds.
RELINKING = ("strengthen",)


def _of_passage(*columns: Any) -> list[Any]:
    """What lies beside passages, and goes with them."""
    return [
        Column("namespace", Integer, primary_key=True),
        Column("passage", Number, primary_key=True),
        *columns,
        ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
    ]


reviews = Table(
    "reviews",
    metadata,
    *_of_passage(
        Column("channel", _text(8), primary_key=True),  # graph, neural
        Column("last_review", UTCDateTime, nullable=False),
        Column("due", UTCDateTime, nullable=False),
        Column("stability", Float, nullable=False),  # days
        Column("difficulty", Float, nullable=False),
        Column("step", Integer, nullable=False),
        Column("reviews", Integer, nullable=False),
        Column("lapses", Integer, nullable=False),
        Column("failures", Integer, nullable=False),  # in a row, up to now
        Column("uses", Integer, nullable=False),  # that had been counted at the last review
        Column("state", _text(8), nullable=False),  # live, dead
        Column("attempts", Integer, nullable=False),  # since the last review that was carried through
        Column("token", Number, nullable=False),  # of the newest claim; an older one may write nothing
        Column("lease_until", UTCDateTime),
    ),
    Index(None, "namespace", "channel", "state", "due"),
    Index(None, "namespace", "channel", "state", "last_review"),
    sqlite_with_rowid=False,
)

review_log = Table(
    "review_log",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("namespace", Integer, nullable=False),
    Column("passage", Number, nullable=False),
    Column("channel", _text(8), nullable=False),
    Column("token", Number, nullable=False),
    Column("at", UTCDateTime, nullable=False),
    Column("grade", Integer, nullable=False),
    Column("predicted", Float, nullable=False),  # retrievability, by the curve
    Column("reason", _text(8), nullable=False),  # floor, due, slack
    Column("rehearsed", Boolean, nullable=False),
    ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
    # Nothing is replayed twice under one claim.
    UniqueConstraint("namespace", "passage", "channel", "token", name="uq_review_log_namespace_passage"),
    Index(None, "namespace", "at"),
    sqlite_autoincrement=True,
)

usages = Table(
    "usages",
    metadata,
    *_of_passage(
        Column("uses", Integer, nullable=False),
        Column("last_used_at", UTCDateTime, nullable=False),
    ),
    sqlite_with_rowid=False,
)

statuses = Table(
    "statuses",
    metadata,
    *_of_passage(
        Column("archived_at", UTCDateTime),
        Column("merged_into", _text(32)),
        Column("invalid_at", UTCDateTime),  # from when nothing of what it says holds any more
        Column("flag", _text(32)),  # why it is kept out of the neural memory; "" where it is not to be
        Column("valid_from", UTCDateTime),  # from when the first of its facts holds, where a user said so
    ),
    Index(None, "namespace", "merged_into"),
    sqlite_with_rowid=False,
)

validities = Table(
    "validities",
    metadata,
    *_of_passage(
        Column("fact", _text(32), primary_key=True),  # the hash of its triple
        Column("valid_from", UTCDateTime),
        Column("invalid_at", UTCDateTime),
        Column("by_passage", _text(32)),  # what contradicts it
    ),
    Index(None, "namespace", "by_passage"),
    sqlite_with_rowid=False,
)

strengths = Table(
    "strengths",
    metadata,
    *_of_passage(
        Column("entity", Number, primary_key=True),
        Column("strength", Float, nullable=False),  # a factor of the edge's weight, from 1
        Column("pending", Integer, nullable=False),  # uses that have not strengthened it yet
        Column("at", UTCDateTime, nullable=False),
    ),
    sqlite_with_rowid=False,
)

semantic_facts = Table(
    "semantic_facts",
    metadata,
    Column("namespace", Integer, primary_key=True),
    Column("subject", Number, primary_key=True),
    Column("relation", _text(255), primary_key=True),
    Column("object", Number, primary_key=True),
    Column("events", Integer, nullable=False),
    Column("sources", Integer, nullable=False),
    Column("promoted_at", UTCDateTime, nullable=False),
    Column("decision", _text(8)),  # refused, kept: by an undo, which counting support does not change
    sqlite_with_rowid=False,
)

schedules = Table(
    "schedules",
    metadata,
    Column("namespace", Integer, ForeignKey("namespaces.number"), primary_key=True),
    Column("wall", UTCDateTime, nullable=False),  # the clock at the last round
    Column("moment", UTCDateTime, nullable=False),  # and what it counted as
    Column("overloaded_since", UTCDateTime),
    Column("tidied", Number, nullable=False),  # the change up to which contradictions and duplicates were looked for
)

versions = Table(
    "versions",
    metadata,
    Column("namespace", Integer, primary_key=True),
    Column("number", Number, primary_key=True, autoincrement=False),  # that the passage had
    Column("passage", Number, nullable=False),  # what it has become by now
    Column("id", _text(32), nullable=False),
    Column("source", _text(), nullable=False),
    Column("position", Integer, nullable=False),
    Column("title", _text(), nullable=False),
    Column("text", _text(), nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("session", _text()),
    Column("occurred_at", UTCDateTime),
    Column("recorded_at", UTCDateTime, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("content", _text(32), nullable=False),
    Column("valid_from", UTCDateTime, nullable=False),
    Column("hidden_from", UTCDateTime),  # when it was archived or contradicted, before it was replaced
    Column("superseded_at", UTCDateTime, nullable=False),
    Column("mentions", JSON, nullable=False),  # key, name, lines, titled
    Column("facts", JSON, nullable=False),  # subject, relation, object, extractor, valid_from, invalid_at
    ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
    Index(None, "namespace", "passage"),
    Index(None, "namespace", "superseded_at"),
    Index(None, "namespace", "content"),
    Index(None, "namespace", "id"),
)

BESIDE_PASSAGES = (reviews, review_log, usages, statuses, validities, strengths, versions)

HEAD = "0011"  # the newest migration; a test holds it to the migration scripts
