"""The memories that conversations are asked of: OUT/index.db, a namespace for each haystack, filled as it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hippomem import Encoder, InvalidInputError, Memory, SourceError
from hippomem_eval.conversation_formats import Turn
from hippomem_eval.conversations import Haystack
from hippomem_eval.files import bytes_on_disk
from hippomem_eval.index import COUNTS, SEVERAL, Index, Origin
from hippomem_eval.results import RunFile


def ensure_memories(
    database: Path,
    origin: Origin,
    haystacks: Sequence[Haystack],
    run: RunFile,
    encoder: Encoder,
    *,
    progress: bool,
    tell: Callable[[str], None],
) -> Index:
    """Ingest every haystack that is not in `database` yet. The counts and seconds are of these `haystacks`.

    Raises InvalidInputError where `database` holds something else than `origin`, SourceError where nothing of a
    haystack could be ingested.
    """
    entry = _entry(database, origin, run)
    filled: dict[str, Any] = entry["namespaces"]
    for haystack in haystacks:
        if not filled.get(haystack.name, {}).get("finished"):
            is_partial = haystack.name in filled
            if entry["code"] != origin.code:
                entry["code"] = SEVERAL
            filled[haystack.name] = {"finished": False}
            run.update(index=entry)
            report = _fill(database, haystack, encoder, progress) | {"seconds_are_partial": is_partial}
            filled[haystack.name] = report | {"finished": True}
            run.update(index=entry)
    is_stale = entry["code"] != origin.code
    if is_stale:
        tell(f"{database} was built with other code or settings: delete the folder to build it anew")
    ours = [filled[haystack.name] for haystack in haystacks]
    return Index(
        database,
        _summed(ours, "counts"),
        _summed(ours, "seconds"),
        bytes_on_disk(database),
        encoder.identity,
        sum(one["failed"] for one in ours),
        any(one["seconds_are_partial"] for one in ours),
        is_stale,
    )


def _entry(database: Path, origin: Origin, run: RunFile) -> dict[str, Any]:
    built = run.read().get("index")
    if not database.exists():
        return {**origin.entry(), "namespaces": {}}
    if not isinstance(built, dict) or not {*origin.entry(), "namespaces"} <= built.keys():
        raise InvalidInputError(f"{database} was not made by this command: choose another folder")
    if built["sha256"] != origin.corpus_hash:
        raise InvalidInputError(
            f"{database} holds other conversations ({built['path']}), or was made with other options: choose another "
            "folder, or delete this one"
        )
    return built


def _fill(database: Path, haystack: Haystack, encoder: Encoder, progress: bool) -> dict[str, Any]:
    with Memory.open(database, namespace=haystack.name, encoder=encoder) as memory:
        report = memory.ingest(_records(haystack.turns), progress=progress)
        stats = memory.stats()
    if not stats["passages"]:
        reasons = [failure.reason for failure in report.failed[:1]] or ["it holds no text"]
        raise SourceError(f"nothing of {haystack.name} could be ingested: {reasons[0]}")
    return {
        "counts": {name: int(stats[name]) for name in COUNTS},
        "seconds": dict(report.seconds),
        "failed": len(report.failed),
    }


def _records(turns: Sequence[Turn]) -> Iterator[Mapping[str, Any]]:
    """As a user would hand them over: the speaker is the title. What a plain turn lacks is left out."""
    for turn in turns:
        fields = {
            "title": turn.speaker,
            "session": turn.session,
            "occurred_at": turn.time and turn.time.isoformat(),
            "source": turn.conversation,
        }
        yield {"text": turn.text, "turn": turn.id} | {name: value for name, value in fields.items() if value}


def _summed(entries: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    keys = dict.fromkeys(key for entry in entries for key in entry[name])
    return {key: sum(entry[name].get(key, 0) for entry in entries) for key in keys}
