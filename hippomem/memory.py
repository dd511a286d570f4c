"""Memory: the one noun. Opens a store, wires the parts together; the only place that knows all of them."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path as FilePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from hippomem.analyse import Analyser
from hippomem.catalogue import Catalogue
from hippomem.checks import (
    checked_filter,
    checked_label,
    checked_labels,
    checked_moment,
    checked_name,
    checked_path,
    checked_recall,
    checked_text,
    checked_triples,
)
from hippomem.clock import Clock, SystemClock
from hippomem.consolidation.quality import Echoes
from hippomem.consolidation.round import Step
from hippomem.consolidation.worker import Worker
from hippomem.doctor import examine, prove_gone, with_chat
from hippomem.errors import EncoderMismatchError, InvalidInputError, NotFoundError
from hippomem.feedback import Learning
from hippomem.hippocampus.explain import explain
from hippomem.hippocampus.export import as_networkx, drawn
from hippomem.hippocampus.limits import Hidden
from hippomem.hippocampus.past import Past
from hippomem.hippocampus.ranking import dense, rank
from hippomem.hippocampus.recipe import Recipe, U
from hippomem.hippocampus.snapshot import Snapshots
from hippomem.hippocampus.sought import Sought
from hippomem.hippocampus.speakers import unnamed
from hippomem.hippocampus.view import View
from hippomem.hippocampus.windows import in_context
from hippomem.ingest.inputs import Input
from hippomem.ingest.pipeline import Ingest
from hippomem.ingest.progress import ProgressBar, ProgressCallback, StepBar, StepCallback
from hippomem.ingest_sink import sink_of
from hippomem.iterate import Guide, recall_by_parts
from hippomem.neocortex.encoder_choice import resolve_encoder
from hippomem.neocortex.extraction import LocalExtractor
from hippomem.question_vectors import QuestionVectors
from hippomem.recognise import recognised
from hippomem.replaying import Replaying
from hippomem.sample import claimed, encoder_of
from hippomem.settings import Settings, load_settings
from hippomem.stats import stats
from hippomem.storage import versions
from hippomem.storage.engine import database
from hippomem.storage.store import Store, check_namespace
from hippomem.teaching import Teaching
from hippomem.thinking import Thinking, chat_of, extraction_kind, steps_with_chat
from hippomem.types import (
    Diagnosis,
    Event,
    Forgotten,
    IngestReport,
    Passage,
    Recall,
    Triple,
)
from hippomem.viewing import SAVING_SECONDS
from hippomem.writing import Writer, dropped, new_passage

if TYPE_CHECKING:
    import networkx


class Memory(Catalogue, Thinking, Teaching, Replaying):
    """A long-term memory in one database and one namespace. Open it with `Memory.open`; use it from any thread. Fork
    only while no other thread uses it: what that one held, the child would wait for.

    All methods raise the StoreError family where the database fails, and ClosedError after `close()`.
    """

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self._store = store
        self._clock = clock
        check_namespace(settings.namespace)
        encoder = resolve_encoder(*settings.encoding)
        self._chat = chat_of(settings)
        self._encoder_number = claimed(store, encoder)
        self._encoder = encoder_of(store, encoder, self._encoder_number)
        analyser = Analyser(self._encoder, LocalExtractor(settings.pipeline), settings.batch)
        kind = extraction_kind(self._chat) if self._chat else None
        self._writer = Writer(store, analyser, settings.namespace, self._encoder_number, clock, kind)
        self._snapshots = (
            Snapshots(store.views, settings.namespace, store.id, self._encoder_number) if store.views else None
        )
        self._view: View | None = None
        self._past = Past()
        self._hidden = Hidden()
        self._questions = QuestionVectors(self._encoder)
        self._lock = threading.RLock()
        self._echoes = Echoes()
        self._worker: Worker | None = None
        learner = self._held, self._asked, self._writer.current
        self._learning = Learning(store, settings, self._encoder_number, clock, *learner, self._snapshots)
        self._steps: list[Step] = steps_with_chat(self._chat, self._writer, settings) if self._chat else []
        self._steps += self._replay_steps()  # of what has been read by then

    @classmethod
    def open(
        cls,
        db: str | os.PathLike[str] | None = None,
        *,
        namespace: str | None = None,
        settings: Settings | None = None,
        encoder: Any = None,
        pipeline: Any = None,
        llm: Any = None,
        clock: Clock | None = None,
        background: bool = False,
    ) -> Memory:
        """Open a memory, created when new. What is not given comes from `settings`, else from the environment.

        `db` is a path, ":memory:", or the URL of a Postgres database ("postgresql://…"); `encoder` the name or folder
        of a sentence-transformers model, a LangChain `Embeddings`, or an `Encoder`; `pipeline` the name of a spaCy
        pipeline; `llm` a LangChain chat model or "provider:model", asked only by what says so. Models are loaded when
        first needed. `background` consolidates on a thread, until the memory is closed or nobody holds it any more.
        Raises EncoderMismatchError where the store's vectors were made by another encoder, InvalidInputError for a
        setting that cannot be, MissingDependencyError where Postgres's driver is not installed, and the StoreError
        family.
        """
        path = None if db is None else checked_path(db, "db")
        ready = load_settings(settings, db=path, namespace=namespace, encoder=encoder, pipeline=pipeline, llm=llm)
        store = Store(ready.db)
        try:
            memory = cls(store, ready, clock or SystemClock())
        except BaseException:
            store.close()
            raise
        if background:
            memory._worker = memory._new_worker()
            try:
                memory._worker.start()
            except BaseException:
                memory.close()
                raise
        return memory

    # -- writing ------------------------------------------------------------------------------------------------

    def add(
        self,
        text: str,
        *,
        title: str = "",
        source: str = "",
        session: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        occurred_at: datetime | None = None,
        triples: Iterable[Triple | tuple[str, str, str]] | None = None,
    ) -> Event:
        """Remember one text as one passage, at once and without an LLM; it is durable when this returns.

        The same text (with the same title, source, session and time) is remembered once: its event comes back with
        `created=False`, with new `triples` added and the metadata that it had (`annotate` changes those), and where
        consolidation had archived it or found it contradicted, it holds again; what it says without a date counts as
        said now, unless it was recalled just now. So it is with the event of a passage recalled just now that this text
        repeats word for word, with no title, source, time, metadata or triples of its own and no other session than the
        passage's, where that has one: it counts as used (`quality_gate`). `triples` are facts of your own about it,
        beside those found in the text; one is not kept where both of its names are the same, or one is none: a single
        letter or digit, a word like "it", or more than 200 characters. The event's `dropped` has these. A `Triple` may
        say from when to when it holds, and a passage of which nothing holds any more is passed over by `recall`.
        `metadata` are JSON: their keys are str, and tuples come back as lists. Raises InvalidInputError where the text
        is empty, too long (ingest it as a Document), or one of these cannot be stored.
        """
        checked_text(text, self.settings.max_text_chars, "text", "max_text_chars (HIPPOMEM_MAX_TEXT_CHARS)")
        passage = new_passage(
            self.settings.namespace,
            text,
            checked_label(title, "title"),
            checked_label(source, "source"),
            checked_label(session, "session") or None,
            occurred_at,
            metadata,
        )
        own = checked_triples(triples)
        event = self._echo(passage, own) or self._writer.add(passage, own)
        if not event.created:
            self._say_again(event)
        return replace(event, dropped=dropped(own)) if own else event

    def ingest(
        self,
        sources: Input | Iterable[Input],
        *,
        progress: bool | ProgressCallback = False,
        workers: int | None = None,
    ) -> IngestReport:
        """Take in files, folders, Documents, or dicts as records are in files; a list may mix them, any other iterable
        holds Documents and dicts. A `File` is a file under a source of your own.

        Can be interrupted at any moment and run again: what is in is not read again, what changed replaces what it was
        (a Document with a `source` too, while dicts only add to theirs), what failed is in the report and never stops
        the rest. A source that cannot be read, or is written to meanwhile, loses nothing, nor does one of which records
        newly fail, which may be what it held before (`kept` in the report counts that); a file that has become empty
        loses all. A file's `source` is its whole path; what is gone or has moved stays under its old one until you
        `forget` that. Records of a slow stream wait for others to be stored with for a minute, and then until the next
        one comes. `progress` shows a bar on a terminal, or is a function that is told the bytes read, of how many (None
        where that is not known), and the passages stored. `workers` is for how many processes read and encode beside
        this one, or on a Ray cluster (settings `workers`, `ray`); none of them outlives the call. Raises NotFoundError
        for a path that does not exist, and InvalidInputError for an empty one or two files of one source, before any is
        read, and ModelError where a worker is lost; what was stored by then stays.
        """
        settings = load_settings(self.settings, workers=workers)
        began, cpu = time.perf_counter(), time.process_time()
        seconds = self._writer.analyser.seconds
        before = dict(seconds)
        with ProgressBar(progress) as bar:
            limits = settings.batch, settings.passage_chars, settings.max_document_bytes
            id_ = uuid.uuid4().hex[:12]
            with sink_of(self._writer, id_, settings, self._keep_up) as sink:
                ahead = sink if sink.count else None
                longest = self._store.longest_name
                report = Ingest(sink, settings.namespace, *limits, bar, ahead, longest).run(sources)
            self._come_to_rest()
        taken = {name: seconds[name] - before[name] for name in seconds}
        taken |= {"total": time.perf_counter() - began, "cpu_total": time.process_time() - cpu}
        return replace(report, seconds=taken, id=id_)

    def update(self, id: str, text: str) -> Event:
        """Replace the text of a memory; the earlier one stays in its history. The event has a new id, and the old id
        goes on to name it. What you brought along stays with it, also your `triples`: where these are not to, `forget`
        it and `add` the new text. Raises NotFoundError, and InvalidInputError as `add` does, or where another memory
        has this text, title, source, session and time already.
        """
        checked_text(text, self.settings.max_text_chars, "text", "max_text_chars (HIPPOMEM_MAX_TEXT_CHARS)")
        return self._writer.update(checked_name(id, "id"), text)

    def forget(self, target: str | Passage | Iterable[str | Passage]) -> Forgotten:
        """Remove a memory by its id, or all memories of a source, from the store and every view, and prove it; or what
        `feedback` taught, by the id of its event.

        A source that ends with a slash stands for all below it ("docs/"); of several targets all are removed at once,
        or none. The texts, vectors, and the names and facts that only they held are overwritten on disk; an entry in
        the history remains, without text. For that the whole database is written anew, at some 5 ms a megabyte: give
        several targets at once. Raises NotFoundError where there is nothing of that name.
        """
        names = checked_labels(target, "target")
        self._check_open()
        with self._lock:
            # A snapshot spares making a view anew; one that is made only later has nothing of what is forgotten.
            self._load()
            stale = self._learning.stale
        # Views are dropped before the deed is done: a crash in between costs a rebuild, not a trace left behind. Other
        # threads go on meanwhile, as overwriting it on the disk may take long.
        gone = self._writer.forget(names, self._drop_snapshots)
        with self._lock:
            self._drop_snapshots()
            self._past.drop()
            if self._view is not None:
                # Where the store was encoded anew meanwhile, no view is of use any more: nor is that a failure of this.
                with suppress(EncoderMismatchError), self._synced() as (view, connection):
                    prove_gone(connection, self._number, view, gone.ids)
                    return replace(gone, dampened=self._learning.dampened(connection, view, stale))
            with self._store.read() as connection:
                prove_gone(connection, self._number, None, gone.ids)
            return gone

    # -- reading ------------------------------------------------------------------------------------------------

    def recall(
        self,
        query: str,
        k: int = 5,
        *,
        as_of: datetime | None = None,
        session: str | None = None,
        source: str | None = None,
        method: Literal["graph", "dense"] = "graph",
        decompose: bool = False,
        iterative: bool = False,
        max_steps: int = 4,
        about: str | Passage | Iterable[str | Passage] = (),
        context: int = 0,
        recipe: Recipe | None = None,
        learned: bool = True,
        recognise: bool = False,
        deep: bool = False,
    ) -> Recall:
        """The `k` passages that a question leads to, best first, with paths, reasons and milliseconds by stage.

        `session`, `source` and `as_of` limit what may come back: to one session, to one source or all below it where
        it ends with a slash ("docs/"), "" being those that have none; to what had happened by then (passages without a
        date count from when they were recorded) and held then, with the texts from before later updates. What
        consolidation archived, or found that a later passage contradicts altogether, comes back with `deep` only.
        Of more than 6,000 passages (`Recipe.everything`) only those near the question are ranked: a `k` of thousands
        may bring fewer.
        `about` are passages, or their ids, that the question is about without naming it, as a follow-up is ("Where was
        he born?"): their names count as named by it.
        `context` gives each passage so many neighbours on either side (`before`, `after`) of what may come back: in its
        session or document of one source, or, of notes without a title, among those told within an hour.
        `method="dense"` is plain similarity search, to compare, to which `about`, `recipe` and `learned` are nothing;
        `recipe` has other constants than the default ones, to experiment; `learned=False` leaves out what `feedback`
        taught. An empty memory gives an empty recall. Raises InvalidInputError for an empty or too long question, or a
        number out of range, NotFoundError for an unknown id.

        Three ways ask the chat model (`llm`). `recognise`: it looks over the first twenty passages, of each 400
        characters, and those that it finds to bear on the question rise. `decompose`: one call splits it, and its parts
        are recalled too. `iterative`: it also reads the passages, which are sent to it, so that a sub-question is asked
        with the answer to the one before, in `max_steps` retrievals at most beside that of the question. What was found
        is fused; see `Recall.steps`. Where the model fails there are `warnings` and the plain recall; ModelError is
        raised where none is set.
        """
        checked_text(query, self.settings.max_query_chars, "query", "max_query_chars (HIPPOMEM_MAX_QUERY_CHARS)")
        k, max_steps, context = checked_recall(k, method, max_steps, context)
        if not isinstance(recipe, Recipe | None):
            raise InvalidInputError(f"recipe must be a Recipe, not {type(recipe).__name__}")
        moment = checked_moment(as_of, "as_of")
        session, source = checked_filter(session, "session"), checked_filter(source, "source")
        names = checked_labels(about, "about")
        limits: dict[str, Any] = {"session": session, "as_of": moment, "source": source, "deep": deep}
        once = partial(self._recall, limits=limits, method=method, recipe=recipe or U, learned=learned)

        def recalled(query: str, k: int) -> Recall:
            if not decompose and not iterative:
                return once(query, k, names, context=context)
            guide = Guide(once, partial(self._as_it_stood, moment), self._chat, self.settings.max_query_chars)
            fused = recall_by_parts(guide, query, k, max_steps if iterative else None, names)
            with self._lock, self._synced() as (view, connection):
                view = self._as_of(connection, moment) or view
                allowed = self._eligible(connection, view, **limits)
                windows = in_context(view, connection, self._number, fused.passages, context, moment, allowed)
            return replace(fused, passages=windows)

        found = recognised(self._chat, recalled, query, k) if recognise else recalled(query, k)
        with self._lock:
            self._hear(found.passages)  # not what was only looked over
        return found

    def _recall(
        self,
        query: str,
        k: int,
        names: Sequence[str],
        *,
        limits: Mapping[str, Any],
        method: str,
        recipe: Recipe,
        learned: bool,
        context: int = 0,
    ) -> Recall:
        """A recall without the chat model, about the passages with these names."""
        began, moment = time.perf_counter(), limits["as_of"]
        topics = {name: self._writer.current(name)[0] for name in names}
        texts = self._texts_of(query, recipe if method == "graph" else None)
        timings = {"catch up": time.perf_counter() - began}
        mark = time.perf_counter()
        asked = self._encoded(texts) if texts else None
        timings["encode"] = time.perf_counter() - mark
        mark = time.perf_counter()
        with self._lock, self._synced() as (view, connection):
            timings["catch up"] += time.perf_counter() - mark
            if asked is None or not view.size:
                return Recall(query, (), (), _milliseconds(timings, began))
            view = self._as_of(connection, moment) or view
            allowed = self._eligible(connection, view, **limits)
            mark = time.perf_counter()
            advice = self._learning.advice(connection, view, asked.key, recipe, learned and method == "graph")
            timings["learned"] = time.perf_counter() - mark
            if topics and moment:
                topics |= versions.by_id(connection, self._number, topics, moment)
            led = view.rows_of(topics.values()) if topics else None
            if method == "graph":
                ranking = rank(view, query, asked, k, allowed, *advice, about=led)
            else:
                ranking = dense(view, query, asked.vector, k, allowed)
            timings.update(ranking.seconds)
            mark = time.perf_counter()
            passages, paths = explain(view, ranking, connection, self._number, moment or self._clock.now())
            found = in_context(view, connection, self._number, passages, context, moment, allowed)
            timings["explain"] = time.perf_counter() - mark
        return Recall(query, found, tuple(paths), _milliseconds(timings, began))

    def stats(self) -> dict[str, Any]:
        """Counts of what is remembered, bytes on disk, and how far each view has followed the log."""
        with self._lock, self._synced() as (view, connection):
            views = self._snapshots.bytes_on_disk() if self._snapshots else 0
            counted = stats(self._store, connection, self._number, view, views, self._clock.now())
        return {**counted, "namespace": self.settings.namespace, "db": self._store.name}

    def graph(self) -> networkx.MultiDiGraph:
        """The knowledge graph for exploring, drawing and export: passages, entities, mentions and facts."""
        return self._apart(drawn, lambda copied, connection: as_networkx(copied, connection, self._number))

    # -- the store as a whole -----------------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        dump: str | os.PathLike[str],
        db: str | os.PathLike[str],
        *,
        namespace: str | None = None,
        settings: Settings | None = None,
        progress: bool | StepCallback = False,
    ) -> Memory:
        """Read what `export` wrote into a store, new or not, and open it; nothing is encoded again but, where the store
        has vectors already, a text of each, to see whether one model made them.

        `namespace` gives it another name than it had. Passages that are there already stay as they are. `progress` as
        in `doctor`. Raises NotFoundError where there is no such file, SourceError where it is not a whole export, and
        EncoderMismatchError where another model made its vectors, before the store is touched. A new file that cannot
        be filled, as where the disk is full, is removed again.
        """
        from hippomem.transfer import check, header, load

        file, path = FilePath(checked_path(dump, "dump")), checked_path(db, "db")
        name = namespace or str(header(file)["namespace"])
        ready = load_settings(settings, db=path, namespace=name)
        check_namespace(ready.namespace)
        encoder = resolve_encoder(*ready.encoding)
        with StepBar("importing", progress) as bar:
            check(file, ready.namespace, encoder.identity, bar.tell)
            with database(ready.db).made_whole():
                memory = cls.open(settings=ready)
                try:
                    load(file, memory._writer, bar.tell)
                except BaseException:
                    memory.close()
                    raise
        return memory

    @classmethod
    def reencode(
        cls,
        db: str | os.PathLike[str],
        *,
        settings: Settings | None = None,
        encoder: Any = None,
        progress: bool = False,
    ) -> int:
        """Encode a whole store anew with another encoder. Until the last passage is done the store keeps the old
        vectors; interrupted, it goes on where it was. Returns how many texts were encoded, the same text of one
        namespace once. Raises NotFoundError where there is no store.
        """
        from hippomem.reencode import reencode

        path = checked_path(db, "db")
        ready = load_settings(settings, encoder=encoder)
        new = resolve_encoder(*ready.encoding)
        if not (there := database(path)).exists():
            raise NotFoundError(f"there is no database {there.name}")
        with closing(Store(path)) as store:
            return reencode(store, new, progress)

    def doctor(self, *, progress: bool | StepCallback = False) -> Diagnosis:
        """Check everything: the database, what is stored of each memory, the models (of the chat model, whether it
        answers at all), and that each view equals its rebuild. Other threads go on meanwhile. `progress` shows on
        standard error, where that is a terminal, what is being done, or calls a function with (step, units done).
        """
        parts = self._encoder, self._encoder_number, self.settings.pipeline, self._learning, self._harmed
        with StepBar("checking", progress) as bar:
            return with_chat(examine(self._store, self._held, lambda: self._number, *parts, bar.tell), self._chat)

    def close(self) -> None:
        """Save the views where that is due, and close the database; a second time does nothing. Waits where a view is
        being saved."""
        self._stop_working()
        if self._saver is not None:
            self._saver.join(SAVING_SECONDS)  # not for ever: a handler of a signal may close it amid a recall
        with self._lock:
            if self._view is not None and not self._store.closed:
                with suppress(Exception):  # a view is disposable: no failure to save one may keep a store open
                    self._save()
                    self._learning.save()
            self._view = None
            self._store.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- the parts ----------------------------------------------------------------------------------------------

    @property
    def _number(self) -> int:
        """The number of the namespace; 0, which no row has, until something is written to it."""
        return self._writer.number

    def _as_it_stood(self, moment: datetime | None, id: str) -> Passage:
        """A memory by its id, as it stood at a moment. Raises NotFoundError."""
        with self._store.read() as connection:
            earlier = versions.by_id(connection, self._number, [id], moment) if moment else {}
            found = versions.by_number(connection, self._number, earlier.values())
        return next(iter(found.values()), None) or self.get(id)

    def _asked(self, query: str) -> Sought:
        """What passages are compared with for a question."""
        return self._encoded(self._texts_of(query, U) or [query])

    def _texts_of(self, query: str, recipe: Recipe | None) -> list[str]:
        """What is encoded of a question: itself, and for a recipe what it asks of a conversation, where that is
        something else. Nothing where there is nothing to compare it with: then no model is loaded."""
        self._check_open()
        last = self._view
        if last is not None and last.size and not (recipe and last.chains.any):  # when it was last asked
            return [query]
        with self._lock, self._synced() as (view, _):
            if not view.size:
                return []
            rest = unnamed(view, query, recipe) if recipe else None
        return [query] if rest is None else [query, rest]

    def _encoded(self, texts: Sequence[str]) -> Sought:
        """The vectors of what `_texts_of` tells. Outside the lock: other threads go on."""
        known = ((text, self._questions.known(text)) for text in texts)
        return Sought(*(self._questions.encode(text) if vector is None else vector for text, vector in known))

    def _check_open(self) -> None:
        self._store.check_open()


def _milliseconds(seconds: Mapping[str, float], began: float) -> dict[str, float]:
    return {name: 1e3 * taken for name, taken in {**seconds, "total": time.perf_counter() - began}.items()}
