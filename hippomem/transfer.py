"""Export and load: a namespace as JSON Lines, one passage a line with its vectors, between a header and an end line."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from hippomem.analyse import titled
from hippomem.errors import (
    EncoderMismatchError,
    ForeignStoreError,
    HippomemError,
    NotFoundError,
    SourceError,
    StoreAccessError,
    StoreError,
)
from hippomem.hippocampus.keys import entity_key
from hippomem.ingest.progress import StepCallback
from hippomem.neocortex.centring import CENTRED, Means
from hippomem.neocortex.checked_encoder import CheckedEncoder, Sample
from hippomem.sample import AMONG, keep_means, sample_of
from hippomem.storage import links, places, reads, versions, writes
from hippomem.storage.chunks import chunks
from hippomem.storage.files import is_held, written_whole
from hippomem.storage.rows import Analysis, FactRow, Links, MentionRow, NewPassage, content_id, passage_id
from hippomem.storage.store import MEANS, Store
from hippomem.transfer_fields import count_of, fact_line, floats_of, moment_of, text_of, triple_of, written
from hippomem.transfer_learning import TAUGHT, Lesson, Replay, Taught, taught_lines, taught_of
from hippomem.transfer_standing import STANDING, Standing, standing_lines, standing_of
from hippomem.transfer_versions import VERSION, EarlierVersion, version_of
from hippomem.types import Passage, Triple
from hippomem.writing import Writer

FORMAT = 1
BATCH = 500
LONGEST = 10_000_000  # characters of the first line, which has two vectors


def export(connection: Connection, namespace: int, name: str, encoder: int, path: Path, tell: StepCallback) -> int:
    """Write a namespace as it is in this transaction. Returns the number of passages, which `tell` gets on the way;
    raises StoreAccessError, ForeignStoreError where a row is damaged, and InvalidInputError where the file is a
    database, a device or a pipe."""
    identity, means = (Store.info(connection, key) for key in ("encoder", f"{MEANS}{encoder}"))
    count, digest = 0, hashlib.sha256()
    try:
        with written_whole(path) as file:
            for number, item in enumerate(_read_out(_lines(connection, namespace, name, encoder, identity, means))):
                line = _as_line(item).encode()
                file.write(line)
                digest.update(line)
                count += item["type"] == "passage"
                if number % BATCH == 0:
                    tell("passages", count)
            file.write(_as_line({"type": "end", "passages": count, "sha256": digest.hexdigest()}).encode())
    except HippomemError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no name, or one with a NUL
        raise StoreAccessError(f"cannot write the export {path}: {getattr(error, 'strerror', error)}") from error
    return count


def _as_line(item: dict[str, Any]) -> str:
    return json.dumps(item, ensure_ascii=False) + "\n"


def header(path: Path) -> dict[str, Any]:
    """The first line of an export. Raises SourceError where the file is none, or of a newer version."""
    try:
        if is_held(os.path.realpath(path)):
            raise ValueError("it is a database that is open")
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline(LONGEST))
        if not isinstance(first, dict) or first.get("type") != "hippomem" or not isinstance(first["namespace"], str):
            raise ValueError("no header")
        if first.get("means") is not None:
            Means.read(text_of(first["means"]))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise SourceError(f"the export {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, RecursionError) as error:
        raise SourceError(f"{path} is not an export of hippomem: {error}") from error
    if first.get("format") != FORMAT:
        raise SourceError(f"{path} is an export in format {first.get('format')}, this version reads {FORMAT}")
    return first


def check(path: Path, namespace: str, identity: str, tell: StepCallback) -> None:
    """Read a whole export, to go to this namespace; `tell` gets the lines that were read. Raises SourceError where it
    is none, and EncoderMismatchError where another encoder made its vectors."""
    head = header(path)
    made_by = head.get("encoder")
    if identity == f"{made_by}{CENTRED}":
        raise EncoderMismatchError(
            f"the vectors in {path} were made by {made_by!r} before vectors were centred, as they are now: load it "
            "with the version of hippomem that wrote it, run hippomem reencode with this one, and load its export"
        )
    if made_by not in (None, identity):
        raise EncoderMismatchError(
            f"the vectors in {path} were made by {made_by!r}, and the configured encoder is {identity!r}: "
            "load it with HIPPOMEM_ENCODER, and HIPPOMEM_ENCODER_PRECISION where it is int8, set to the one that made "
            "them, then run hippomem reencode"
        )
    length = len(Means.read(head["means"]).passages) if head.get("means") else None
    for done, item in enumerate(_read(path, namespace)):
        vector = item.analysis.vector if isinstance(item, NewPassage) and item.analysis else None
        if length is not None and vector is not None and len(vector) != length:
            raise SourceError(f"{path}: its vectors are not as long as the means that they were centred by")
        if done % BATCH == 0:
            tell("reading it through", done)


def load(path: Path, writer: Writer, tell: StepCallback) -> None:
    """Write an export that was checked into the writer's namespace; `tell` gets the lines that are stored. Raises
    EncoderMismatchError where the store has vectors of another model, whatever that is called.
    """
    if means := header(path).get("means"):
        keep_means(writer.store_, writer.encoder, means)
    _check_model(path, writer)
    items = _read(path, writer.namespace)
    taught = Taught()
    sources: Counter[str] = Counter()
    done = 0
    while batch := list(islice(items, BATCH)):
        with writer.writing() as connection:
            now = writer.clock.now()
            brought = [item for item in batch if isinstance(item, NewPassage)]
            there = writes.existing(connection, writer.number, [passage.id for passage in brought])
            new = [passage for passage in brought if passage.id not in there]
            sources.update(passage.source for passage in brought)
            writes.add_passages(connection, writer.number, writer.encoder, new, now)
            for item in batch:
                if isinstance(item, dict):
                    _note(connection, writer.number, item, sources[item["source"]], now)
                elif isinstance(item, Standing):
                    item.write(connection, writer.number, now)
                elif isinstance(item, EarlierVersion):
                    item.write(connection, writer.number, writer.encoder)
                elif isinstance(item, Lesson | Replay):
                    taught.write(connection, writer.number, writer.encoder, item, now)
        done += len(batch)
        tell("storing", done)


def _note(connection: Connection, namespace: int, document: dict[str, Any], brought: int, now: datetime) -> None:
    """What an export, which brought so many passages of it, says of an ingested source. Where the store has another
    version of it, or more than that, it is in as neither was: the next ingest reads it, and takes out what is not its
    own."""
    source, fingerprint = document["source"], document["fingerprint"]
    before, _ = reads.fingerprints(connection, namespace, [source]).get(source, (None, 0))
    is_whole = before is None and len(reads.numbers_of_source(connection, namespace, source)) == brought
    if is_whole or before == fingerprint:
        writes.set_document(connection, namespace, source, fingerprint, document["documents"], now)
    else:
        writes.forget_document(connection, namespace, source)


def _check_model(path: Path, writer: Writer) -> None:
    """Whether the vectors of the store, where it has some, and those of the export are the configured encoder's: they
    are to be compared, and a name proves nothing."""
    encoder = writer.analyser.encoder
    if sample_of(writer.store_, writer.encoder) is None:
        return  # whoever encodes something next will see
    encoder.prove()
    some = (item for item in _read(path, writer.namespace) if isinstance(item, NewPassage))
    shortest = min(islice(some, AMONG), key=lambda p: len(p.text), default=None)
    if shortest is None or shortest.analysis is None:
        return
    sample = Sample(titled(shortest.title, shortest.text), shortest.analysis.vector)
    try:
        CheckedEncoder(encoder.encoder, lambda: sample).prove()
    except EncoderMismatchError as error:
        raise EncoderMismatchError(
            f"the configured encoder {encoder.identity!r}, which made the vectors in this store, did not make those in "
            f"{path}, although the one that did has the same name: load it into a new store, run hippomem reencode "
            "there, and load what that exports"
        ) from error


def _read_out(lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    try:
        yield from lines
    except (LookupError, ValueError, TypeError) as error:  # whatever comes of rows that are not what was written
        reason = f"{type(error).__name__}: {error}"
        raise ForeignStoreError(f"a memory is damaged ({reason}): hippomem doctor tells more") from error


def _lines(
    connection: Connection, namespace: int, name: str, encoder: int, identity: str | None, means: str | None
) -> Iterator[dict[str, Any]]:
    yield {"type": "hippomem", "format": FORMAT, "namespace": name, "encoder": identity, "means": means}
    numbers = places.in_order(connection, namespace)
    for some in chunks(numbers):
        passages = reads.by_number(connection, namespace, some)
        contents = {number: content_id(p.title, p.text) for number, p in passages.items()}
        analyses = reads.analysis_of(connection, namespace, encoder, set(contents.values()))
        mentions = links.mention_rows(connection, namespace, some)
        facts = links.stated_in(connection, namespace, some)
        first = places.told_first(connection, namespace, some)
        for number in some:
            line = _line(passages[number], analyses[contents[number]], mentions.get(number, []), facts.get(number, []))
            yield line | {"told_at": written(first[number])} if number in first else line
    for row in versions.all_versions(connection, namespace):
        passage = versions.by_number(connection, namespace, [row.number])[row.number]
        (analysis,) = reads.analysis_of(connection, namespace, encoder, [row.content]).values()
        mentions_ = [{"name": name, "lines": lines, "titled": titled} for _, name, lines, titled in row.mentions]
        facts_ = versions.facts_of(connection, namespace, [row.number])[row.number]
        yield _line(passage, analysis, mentions_, facts_) | {
            "type": VERSION,
            "of": row.of,
            "valid_from": written(row.valid_from),
            "hidden_from": written(row.hidden_from),
            "superseded_at": written(row.superseded_at),
        }
    for document in reads.all_documents(connection, namespace):
        yield {"type": "document", **document}
    yield from taught_lines(connection, namespace, encoder)
    for some in chunks(numbers):
        ids = {number: p.id for number, p in reads.by_number(connection, namespace, some).items()}
        yield from standing_lines(connection, namespace, ids)


def _line(passage: Passage, analysis: Analysis, mentions: list[dict[str, Any]], facts: list[Triple]) -> dict[str, Any]:
    return {
        "type": "passage",
        "id": passage.id,
        "text": passage.text,
        "title": passage.title,
        "source": passage.source,
        "position": passage.position,
        "start": passage.start,
        "end": passage.end,
        "session": passage.session,
        "occurred_at": written(passage.occurred_at),
        "recorded_at": written(passage.recorded_at),
        "metadata": dict(passage.metadata),
        "vector": base64.b64encode(analysis.vector.tobytes()).decode(),
        "sentence_vectors": base64.b64encode(analysis.sentence_vectors.tobytes()).decode(),
        "sentences": analysis.sentences.tolist(),
        "mentions": [[m["name"], m["lines"], m["titled"]] for m in mentions],
        "facts": [fact_line(f) for f in facts],
    }


def _read(
    path: Path, namespace: str
) -> Iterator[NewPassage | Lesson | Replay | Standing | EarlierVersion | dict[str, Any]]:
    """The passages and documents of an export. Raises SourceError at the first line that is wrong or missing."""
    ended = False
    count = 0
    number = 1
    width = 0
    ids: dict[str, str] = {}
    digest = hashlib.sha256()
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            digest.update(file.readline().encode())
            for number, line in enumerate(file, 2):  # noqa: B007 - told in the error
                item = json.loads(line)
                if ended:
                    raise ValueError("there is something after the end")
                if item["type"] == "passage":
                    count += 1
                    width = width or len(item["vector"])
                    if len(item["vector"]) != width:
                        raise ValueError("its vector is not as long as those before")
                    passage = _passage(item, namespace)
                    ids[text_of(item["id"])] = passage.id  # another where the namespace is
                    yield passage
                elif item["type"] == "document":
                    yield {
                        "source": text_of(item["source"]),
                        "fingerprint": text_of(item["fingerprint"]),
                        "documents": count_of(item["documents"]),
                    }
                elif item["type"] == VERSION:
                    yield version_of(item, _passage(item, namespace), ids)
                elif item["type"] == STANDING:
                    yield standing_of(item, ids)
                elif item["type"] in TAUGHT:
                    yield taught_of(item, ids, width)
                elif item["type"] == "end":
                    ended = True
                    if item["passages"] != count:
                        raise ValueError(f"it should hold {item['passages']} passages and holds {count}")
                    if item["sha256"] != digest.hexdigest():
                        raise ValueError("the file was changed after it was exported (its checksum differs)")
                else:
                    raise ValueError(f"a line of type {item['type']!r}")
                digest.update(line.encode())
        if not ended:
            raise ValueError("it breaks off before its end")
    except (StoreError, SourceError):
        raise
    except OSError as error:
        raise SourceError(f"the export {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, HippomemError) as error:
        raise SourceError(f"{path}, line {number}: {error}") from error


def _passage(item: dict[str, Any], namespace: str) -> NewPassage:
    text, title, source = text_of(item["text"]), text_of(item["title"]), text_of(item["source"])
    session = None if item["session"] is None else text_of(item["session"])
    occurred = moment_of(item["occurred_at"])
    vector = floats_of(item["vector"], np.float32)
    vectors = floats_of(item["sentence_vectors"], np.float16).reshape(-1, len(vector))
    sentences = np.array(item["sentences"], np.int32).reshape(-1, 2)
    if not len(vector) or len(vectors) != len(sentences) + bool(title):
        raise ValueError("its vectors do not fit its sentences")
    if not isinstance(item["metadata"], dict):
        raise ValueError("metadata is not an object")
    found = {}
    for name, lines, is_title in item["mentions"]:
        key = entity_key(text_of(name))
        if key:
            found[key] = MentionRow(key, name, int(lines) & ((1 << 63) - 1), bool(is_title))
    facts = []
    for line in item["facts"]:
        triple = triple_of(line)
        keys = entity_key(triple.subject), entity_key(triple.object)
        if keys[0] in found and keys[1] in found:
            facts.append(FactRow(*keys, triple))
    return NewPassage(
        id=passage_id(namespace, source, title, text, session, occurred),
        text=text,
        title=title,
        source=source,
        content=content_id(title, text),
        position=count_of(item["position"]),
        start=count_of(item["start"]),
        end=count_of(item["end"]),
        session=session,
        occurred_at=occurred,
        recorded_at=moment_of(item["recorded_at"]),
        told_at=moment_of(item.get("told_at")),
        metadata=item["metadata"],
        links=Links(tuple(found[key] for key in sorted(found)), tuple(facts)),
        analysis=Analysis(vector, vectors, sentences),
    )
