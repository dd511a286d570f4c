"""Checks that prove, not claim: the database's own integrity, views against their rebuild, forgotten means gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from hippomem.errors import ForeignStoreError, HippomemError, StoreError
from hippomem.feedback import Learning
from hippomem.hippocampus.catchup import catch_up, differences, numbers_in, rebuilt, rebuilt_in_steps
from hippomem.hippocampus.view import View
from hippomem.ingest.progress import StepCallback
from hippomem.neocortex.chat import Chat
from hippomem.neocortex.checked_encoder import CheckedEncoder
from hippomem.neocortex.extraction import LocalExtractor
from hippomem.neocortex.prompts import HELLO
from hippomem.storage import writes
from hippomem.storage.chunks import chunks
from hippomem.storage.damage import damaged
from hippomem.storage.schema import (
    analyses,
    answers,
    changes,
    entities,
    learning_events,
    learning_targets,
    learning_vectors,
    mentions,
    passages,
    versions,
)
from hippomem.storage.store import Store
from hippomem.types import Check, Diagnosis
from hippomem.viewing import Synced

STEP = 100  # passages compared at once, in some tens of milliseconds
PAUSE = 0.001
SHOWN = 5  # differences


def examine(
    store: Store,
    held: Synced,
    number: Callable[[], int],
    encoder: CheckedEncoder,
    encoder_number: int,
    pipeline: Any,
    learning: Learning,
    harmed: Callable[[], Sequence[Path]],
    tell: StepCallback,
) -> Diagnosis:
    """All checks of one namespace; each runs whatever the others find, but that a view with `harmed` files is not used.
    `held` gives it and a transaction that equals it, under the lock of the memory, `number` the namespace's number,
    which is known once it was asked to; `tell` gets what is being done.
    """
    tell("the database", 0)
    wrong = [str(file) for file in harmed()]
    unused = f"{wrong[0]} does not hold what was written there{_advice(store)}" if wrong else ""
    dimension = None
    if not unused:
        with suppress(ForeignStoreError), held() as (view, _):
            dimension = view.vectors.dimension if view.vectors else None
    found = store.integrity()
    checks = [Check("database", not found, "; ".join(found) or "integrity and foreign keys hold")]
    with store.read() as connection:
        checks.append(_leftovers(connection, number(), encoder_number))
    tell("what is stored of each memory", 0)
    checks.append(_if_readable("contents", lambda: _contents(store, number(), encoder_number)))
    compared = _if_readable("views", lambda: _views(store, held, number, encoder_number, tell)) if not unused else None
    checks.append(compared or Check("views", False, unused))
    tell("models and what was learned", 0)
    checks.append(_encoder(encoder, dimension))
    checks.append(_pipeline(pipeline))
    learned = _if_readable("neural memory", lambda: _learning(learning, held)) if not unused else None
    checks.append(learned or Check("neural memory", False, "not compared, as it goes by the views"))
    return Diagnosis(tuple(checks))


def _if_readable(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except ForeignStoreError as error:
        return Check(name, False, str(error))


def _contents(store: Store, number: int, encoder: int) -> Check:
    """Whether what is stored of each passage can be read, and can be what was written."""
    found = list(islice(damaged(store.read, number, encoder), SHOWN))
    advice = "; put a backup back, or forget these and add them again"
    told = "each text is the one that was added, with vectors of its own"
    return Check("contents", not found, "; ".join(found) + advice if found else told)


def with_chat(found: Diagnosis, chat: Chat | None) -> Diagnosis:
    """The same, and whether the chat model answers: it is asked one small thing."""
    return found if chat is None else Diagnosis((*found.checks, _chat(chat)))


def _learning(learning: Learning, held: Synced) -> Check:
    """Whether the neural memory equals its rebuild from the log, which is made while others go on."""
    other = learning.anew()
    with held() as (view, connection):
        wrong = learning.differences(connection, view, other)
        memory = learning.memory(connection, view)
    if wrong:
        return Check("neural memory", False, "; ".join(wrong))
    if memory is None:
        return Check("neural memory", True, "nothing learned")
    told = f"equals its rebuild ({len(memory.store)} learning events, {sum(memory.replayed.values())} replays)"
    waiting = f"; the slow map is dampened for {memory.stale} unlearned events until its next rebuild"
    return Check("neural memory", True, told + (waiting if memory.stale else ""))


def _views(store: Store, held: Synced, number: Callable[[], int], encoder: int, tell: StepCallback) -> Check:
    """Whether the view equals its rebuild: that is made while others go on, and follows the log as the view does, so
    that a few passages at a time can be compared, those that are new last.
    """
    other = rebuilt_in_steps(store.read, number(), encoder, lambda built, _: tell("views, building them anew", built))
    unlike: list[str] = []
    left: list[int] = []
    last = size = compared = 0
    while len(unlike) < SHOWN:
        with held() as (view, connection):
            if not catch_up(other, connection, number(), encoder):  # the database was put back to an earlier state
                other = rebuilt(connection, number(), encoder)
            left = left or [n for n in numbers_in(view, other) if n > last]
            some, left, size = left[:STEP], left[STEP:], view.size
            unlike += differences(view, other, some)
        if not some:
            break
        last = some[-1]
        compared += len(some)
        tell("views, comparing", compared)
        time.sleep(PAUSE)  # or this thread has the lock again before one that waits for it is awake
    told = f"equal to their rebuild ({size} passages)"
    return Check("views", not unlike, "; ".join(unlike[:SHOWN]) + _advice(store) if unlike else told)


def _advice(store: Store) -> str:
    return f"; close this memory and remove {store.views}: it is made anew" if store.views else ""


def prove_gone(connection: Connection, namespace: int, view: View | None, ids: Iterable[str]) -> None:
    """Raise StoreError where a forgotten passage can still be found in the store, or in the view if there is one."""
    known = writes.existing(connection, namespace, ids)
    # What has been added again since then has another number.
    gone = select(changes.c.passage).where(changes.c.namespace == namespace, changes.c.action == "forget")
    left = [
        number
        for some in chunks(known.items())
        for number in connection.execute(
            gone.where(changes.c.passage_id.in_([id_ for id_, _ in some]), changes.c.passage.in_([n for _, n in some]))
        ).scalars()
    ]
    stored = connection.execute(select(func.count()).where(passages.c.namespace == namespace)).scalar_one()
    is_apart = view is not None and not view.size == len(numbers_in(view)) == stored
    if left or is_apart:
        raise StoreError(f"forgetting left something behind ({len(left)} passages): run hippomem doctor")


def _leftovers(connection: Connection, namespace: int, encoder: int) -> Check:
    """Vectors and entities that no passage has, and passages without vectors."""
    a, p, v, e = analyses.c, passages.c, versions.c, learning_events.c
    lacking = partial(_lacking, connection, namespace)
    wrong = {
        "unused vectors": lacking(analyses, (p.number, p.content == a.content), (v.number, v.content == a.content)),
        "unused answers": lacking(answers, (p.number, p.content == answers.c.content)),
        "entities without a passage": lacking(entities, (mentions.c.entity, mentions.c.entity == entities.c.number)),
        "passages without vectors": lacking(passages, (a.content, a.content == p.content, a.encoder == encoder)),
        "earlier versions without vectors": lacking(
            versions, (a.content, a.content == v.content, a.encoder == encoder)
        ),
        "passages that the log does not know": lacking(passages, (changes.c.sequence, changes.c.passage_id == p.id)),
        "questions of feedback without vectors": lacking(
            learning_events,
            (learning_vectors.c.event, learning_vectors.c.event == e.number, learning_vectors.c.encoder == encoder),
        ),
        "questions of feedback without passages": lacking(
            learning_events, (learning_targets.c.event, learning_targets.c.event == e.number)
        ),
    }
    told = ", ".join(f"{count} {what}" for what, count in wrong.items() if count)
    return Check("rows", not told, told or "no leftovers")


def _lacking(connection: Connection, namespace: int, held: Any, *partners: tuple[Any, ...]) -> int:
    """How many rows of a table have none of their partners: a column of the other's table, and what ties them."""
    query = select(func.count()).select_from(held).where(held.c.namespace == namespace)
    for column, *ties in partners:
        query = query.where(~select(column).where(column.table.c.namespace == namespace, *ties).exists())
    return int(connection.execute(query).scalar_one())


def _encoder(encoder: CheckedEncoder, dimension: int | None) -> Check:
    try:
        vector = encoder.encode_query("hippomem")
    except HippomemError as error:
        return Check("encoder", False, str(error))
    stored = len(vector) if dimension is None else dimension
    fits = len(vector) == stored
    detail = f"{encoder.identity}, {len(vector)} dimensions{encoder.runtime and f', on {encoder.runtime}'}"
    return Check("encoder", fits, detail if fits else f"{detail}, but the store has {stored}: hippomem reencode")


def _pipeline(pipeline: Any) -> Check:
    extractor = LocalExtractor(pipeline)
    try:
        read = next(extractor.extract(["Ada Lovelace was born in London."], [""]))
    except HippomemError as error:
        return Check("pipeline", False, str(error))
    return Check("pipeline", bool(read.sentences), f"{extractor.identity}, {len(read.mentions)} names in a test text")


def _chat(chat: Chat) -> Check:
    began = time.monotonic()
    try:
        reply = chat.ask(HELLO, {})
    except HippomemError as error:
        return Check("chat model", False, str(error))
    said = " ".join(reply.text.split())[:80]
    model = f" as {reply.model!r}" if reply.model else ""
    told = f"{chat.identity} answered{model} in {time.monotonic() - began:.1f} s: {said!r}; {reply.usage}"
    return Check("chat model", bool(said), told if said else f"{told}: nothing, which is no answer")
