"""The index that a run is measured on: OUT/index.db, built once and used again as long as the corpus is the same.

It is made of the corpus as the data set's loader read it, and not of the file, of which an ingest might make something
else by its name: what is asked for is what is searched.

With the triples of an LLM: OUT/index-openie.db, so that both can live in one folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hippomem import Encoder, InvalidInputError, Memory, SourceError
from hippomem_eval.corpus import Corpus
from hippomem_eval.datasets import Dataset, write_corpus
from hippomem_eval.files import bytes_on_disk, sha256
from hippomem_eval.results import RunFile

NAMESPACE = "default"  # given, so that HIPPOMEM_NAMESPACE does not lead the measurement elsewhere
COUNTS = ("passages", "entities", "facts", "edges")
SEVERAL = "several"  # in the place of the code's hash: one built a part, and another one went on


@dataclass(frozen=True, slots=True)
class Origin:
    """What an index is made of: the corpus file with its hash, and one hash over code and settings."""

    corpus: Path
    corpus_hash: str
    code: str

    def entry(self) -> dict[str, Any]:
        """As run.json keeps it."""
        return {"path": str(self.corpus), "sha256": self.corpus_hash, "code": self.code}


@dataclass(frozen=True, slots=True)
class Index:
    """Where the index is, what is in it (`passages`, `entities`, `facts`, `edges`), and what building it cost.

    `is_stale` where it was built with other code or settings than what asks it.
    """

    database: Path
    counts: Mapping[str, int]
    seconds: Mapping[str, float]
    bytes: int
    encoder: str
    failed: int
    seconds_are_partial: bool
    is_stale: bool

    def open(self, namespace: str = NAMESPACE, *, encoder: Encoder | None = None, llm: Any = None) -> Memory:
        """The memory over this index. Sharing an `encoder` loads its model once; `llm` as for `Memory.open`."""
        return Memory.open(self.database, namespace=namespace, encoder=encoder, llm=llm)


def ensure_index(
    database: Path,
    origin: Origin,
    dataset: Dataset,
    run: RunFile,
    *,
    progress: bool,
    tell: Callable[[str], None],
    llm: Any = None,
) -> Index:
    """Ingest the corpus into `database`, or only open it where an earlier run has done so. `llm` then extracts from it.

    Raises InvalidInputError where `database` holds something else than this corpus, SourceError where nothing of the
    corpus could be ingested, or no gold passage is in it.
    """
    built = run.read().get(database.stem)
    check_origin(database, built, origin)
    if not built or not built.get("finished") or not database.exists():
        built = _build(database, built, origin, dataset, run, progress, llm)
    is_stale = built["code"] != origin.code
    if is_stale:
        tell(f"{database} was built with other code or settings: delete the folder to build it anew")
    with Memory.open(database, namespace=NAMESPACE) as memory:
        stats = memory.stats()
        _check_gold(memory, dataset, database)
    return Index(
        database,
        {name: int(stats[name]) for name in COUNTS},
        built["seconds"],
        bytes_on_disk(database),
        str(stats["encoder"]),
        built["failed"],
        built["seconds_are_partial"],
        is_stale,
    )


def corpus_file(given: Path | None, corpus: Corpus, out: Path) -> Path:
    """The file that the index in `out` is made of: the one `given`, or else OUT/corpus.json, which is written.

    Raises InvalidInputError where there is another OUT/corpus.json, of an index or of somebody: it is left alone.
    """
    if given is not None:
        return given
    path, part, database = out / "corpus.json", out / "corpus.json.part", out / "index.db"
    write_corpus(corpus, part)
    if path.exists() and sha256(part) != sha256(path):
        part.unlink()
        if database.exists():
            raise _of_another(database, path)
        raise InvalidInputError(f"{path} holds other passages than the questions bring along: choose another folder")
    part.replace(path)
    return path


def check_origin(database: Path, built: Any, origin: Origin) -> None:
    """Raises InvalidInputError where there is a `database` that was not `built` of this corpus, by run.json's entry."""
    if not database.exists():
        return
    if not isinstance(built, dict) or not origin.entry().keys() <= built.keys():
        raise InvalidInputError(f"{database} was not made by this command: choose another folder")
    # Passages know their file: half of them under one path and the rest under another would be twice there.
    is_moved = not built.get("finished") and built["path"] != str(origin.corpus)
    if built["sha256"] != origin.corpus_hash or is_moved:
        raise _of_another(database, built["path"])


def _of_another(database: Path, path: object) -> InvalidInputError:
    return InvalidInputError(
        f"{database} is the index of another corpus ({path}): choose another folder, or delete this one"
    )


def _check_gold(memory: Memory, dataset: Dataset, database: Path) -> None:
    corpus = dataset.corpus
    gold = {place for question in dataset.questions for one in question.gold for place in corpus.gold_places(one)}
    if not any(gold & corpus.places_of(passage.title, passage.text) for passage in memory.passages()):
        raise SourceError(
            f"none of the {len(gold):,} gold passages is in {database}, so nothing can be measured on it: delete the "
            "folder, or choose another one"
        )


def _build(
    database: Path, built: Any, origin: Origin, dataset: Dataset, run: RunFile, progress: bool, llm: Any
) -> dict[str, Any]:
    # An ingest that goes on after an interruption does not know how long it took before.
    entry = origin.entry() | {"seconds_are_partial": database.exists()}
    if database.exists() and built["code"] != origin.code:
        entry["code"] = SEVERAL
    run.update(**{database.stem: entry | {"finished": False}})
    with Memory.open(database, namespace=NAMESPACE, llm=llm) as memory:
        report = memory.ingest(dataset.corpus.documents(origin.corpus.as_posix()), progress=progress)
        if not memory.stats()["passages"]:
            reasons = [failure.reason for failure in report.failed[:1]] or ["it holds no text"]
            raise SourceError(f"nothing of {origin.corpus} could be ingested: {reasons[0]}")
        if llm is not None:
            memory.consolidate()
    entry |= {"finished": True, "seconds": dict(report.seconds), "failed": len(report.failed)}
    run.update(**{database.stem: entry})
    return entry
