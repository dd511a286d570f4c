"""A view on disk: memory-mapped when opened, written whole beside the old one and renamed, never changed in place.

A snapshot is a folder of arrays with a manifest that names the store, the encoder and the last change it holds. It is
only ever a shortcut: where it is missing, foreign or broken, the view is rebuilt from the store.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hippomem.errors import StoreAccessError
from hippomem.hippocampus.arrays import open_array, write_array, write_columns
from hippomem.hippocampus.edges import EDGE_FIELDS, SUM_FIELDS, Edges, Sums
from hippomem.hippocampus.grams import GramIndex
from hippomem.hippocampus.graph import KnowledgeGraph
from hippomem.hippocampus.lexical import LexicalIndex
from hippomem.hippocampus.names import KeyTable
from hippomem.hippocampus.vectors import VectorIndex
from hippomem.hippocampus.view import Sentences, View
from hippomem.storage.files import PAUSE_SECONDS, lock, make_views, moved

FORMAT = 13
GROWTH = 4  # a snapshot is due when a quarter of its rows is new or gone: the cost of all of them stays linear
SMALLEST = 64  # rows below which replaying the log is as fast
PRICE = 16  # rows that are written in the time in which one is replayed
REPLAYED = "replayed"  # in a snapshot's folder: a line for each process, with the rows that it replayed
ABANDONED_SECONDS = 3600.0  # an unfinished snapshot that nobody has written to for so long, where none can be locked
UNFINISHED = "tmp-"
READ_BYTES = 1 << 20  # of a file at a time, for its checksum
DROPS = 20  # rounds, while other processes go on writing theirs; on Windows also while they read one


class Snapshots:
    """The snapshots of one namespace in a folder of its own below one for all views of a database."""

    def __init__(self, views: Path, namespace: str, store_id: str, encoder: int) -> None:
        name = hashlib.blake2b(namespace.encode("utf-8"), digest_size=12).hexdigest()
        self.folder = views / name
        self._marks = {"format": FORMAT, "store": store_id, "encoder": encoder}
        self._loaded: Path | None = None
        self._held: dict[Path, int] = {}  # what is being written, locked while this process lives

    def load(self) -> View:
        """The newest usable snapshot as a view, or an empty view."""
        tried: set[Path] = set()
        # Looked for again each time: others may replace what was there by a newer one.
        while folder := next((one for one in reversed(self._everything()) if one not in tried), None):
            tried.add(folder)
            with suppress(Exception):  # whatever is wrong with it, nothing is lost
                view = self._read(folder)
                self.drop_before(view.applied)  # what was left by processes that were killed
                self._loaded = folder
                return view
        return View()

    def harmed(self) -> list[Path]:
        """The files of the snapshot that was loaded which do not hold what was written, each of them read whole: that
        is too much for each opening, which sees only what would end the process.
        """
        folder = self._loaded
        if folder is None:
            return []
        try:
            sums = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["sums"]
            return [folder / name for name, known in sums.items() if _checksum(folder / name) != known]
        except FileNotFoundError:  # others have saved a newer one
            return []
        except (OSError, ValueError, KeyError, AttributeError):
            return [folder / "manifest.json"]

    def begin(self, view: View) -> Path:
        """Make the folder of a snapshot that `save` is to write. From then on it can be dropped, and then fails. What
        processes that were killed have left goes first: of a large memory it may fill the disk.

        Raises OSError.
        """
        make_views(self.folder)
        for other in self._everything():
            if _is_abandoned(other):
                shutil.rmtree(other, ignore_errors=True)
        work = self.folder / f"{UNFINISHED}{view.applied:015d}-{uuid.uuid4().hex[:12]}"
        work.mkdir()
        held = lock(work)
        if held is not None:
            self._held[work] = held
        return work

    def save(self, view: View, begun: Path | None = None) -> None:
        """Write the view, where it was `begun`, and drop the older snapshots. An OSError (a full disk, or that it was
        dropped meanwhile) leaves those as they were.
        """
        if view.vectors is None:
            return
        work = begun or self.begin(view)
        final = work.with_name(work.name.removeprefix(UNFINISHED))
        try:
            self._write(view, work)
            moved(work, final)
            _sync(self.folder)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        finally:
            if (held := self._held.pop(work, None)) is not None:
                os.close(held)
        for other in self._everything():
            # Also one of the same change: had it been usable, there would have been no need for ours.
            if other.name[:15] <= final.name[:15] and other != final:
                shutil.rmtree(other, ignore_errors=True)

    def is_due(self, view: View) -> bool:
        """Whether enough has changed since the snapshot that the next opening would be slow without a new one."""
        changed = view.graph.rows - view.saved_rows + view.removed
        return changed > max(SMALLEST, view.saved_rows // GROWTH)

    def is_paid_for(self, view: View) -> bool:
        """Whether all processes that have replayed what changed since this snapshot, with that of this view, took as
        long for it as writing a new one does: the next ones would only go on paying. Where not, it is noted.
        """
        if self._loaded is None or view.changed <= SMALLEST:
            return False
        paid, file = view.changed, self._loaded / REPLAYED
        with suppress(OSError, ValueError):  # of another process, it may just be gone with its snapshot
            paid += sum(map(int, file.read_text(encoding="ascii").split()))
        if paid * PRICE > view.saved_rows:
            return True
        with suppress(OSError), file.open("a", encoding="ascii") as notes:
            notes.write(f"{view.changed}\n")
        return False

    def is_overgrown(self, view: View, least: int) -> bool:
        """Whether a view in use has changed so much since it was loaded, `least` rows or more, that it is worth to be
        written and loaded anew: it holds what is gone, and a process that is killed leaves its changes to be replayed.
        """
        return view.changed > max(least, view.graph.base.passages // GROWTH)

    def drop(self) -> None:
        """Remove all snapshots, unfinished ones of other processes too: for what must not outlive its memory.

        Raises StoreAccessError where one cannot be removed.
        """
        left: list[Path] = []
        for attempt in range(DROPS):
            if attempt > 1:
                time.sleep(PAUSE_SECONDS)
            try:
                # The listing tells folders: where it may be read but not entered, Path.is_dir finds none (Python 3.14).
                with os.scandir(self.folder) as entries:
                    left = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
            except (FileNotFoundError, NotADirectoryError):
                return
            except OSError as error:
                message = f"{self.folder} cannot be read: {error.strerror}; see that you may read and write there"
                raise StoreAccessError(f"{message}, then repeat this") from error
            if not left:
                return
            for folder in left:
                shutil.rmtree(folder, ignore_errors=True)
        raise StoreAccessError(f"{left[0]} cannot be removed: see that you may write there, then repeat this")

    def drop_before(self, change: int) -> bool:
        """Remove the snapshots from before this change that can be removed, also unfinished ones, whose processes then
        fail to save them. Whether there is a later one.
        """
        is_left = False
        for entry in self._everything():
            applied = entry.name.removeprefix(UNFINISHED)[:15]
            if applied.isdecimal() and int(applied) < change:
                shutil.rmtree(entry, ignore_errors=True)
            else:
                is_left |= entry.name[:1].isdecimal()
        return is_left

    def discard(self) -> None:
        """Remove all snapshots that can be removed: for what is of no use any more."""
        with suppress(StoreAccessError):
            self.drop()

    def bytes_on_disk(self) -> int:
        """The size of all files."""
        total = 0
        for folder, _, names in os.walk(self.folder):  # passes over what others remove meanwhile
            for name in names:
                with suppress(OSError):
                    total += Path(folder, name).stat().st_size
        return total

    def _everything(self) -> list[Path]:
        try:
            return sorted(self.folder.iterdir())
        except OSError:
            return []

    def _write(self, view: View, folder: Path) -> None:
        live = np.nonzero(view.graph.alive)[0]
        rows = live[np.argsort(view.numbers[live], kind="stable")]
        for part, values in _parts(view, rows, folder):  # of which one at a time is in memory
            for name, value in values.items():
                write_array(folder / f"{part}{name}.npy", value.dtype, value.shape, [value])
            values.clear()
        entries, blocks = view.graph.compact_grams(rows)
        paths = [folder / f"grams.{name}.npy" for name in ("hashes", "rows", "lines")]
        write_columns(paths, (np.uint64, np.int32, np.int64), entries, blocks)
        if view.vectors is not None:
            view.vectors.save(folder / "vectors.npy", rows)
        sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        for name in sizes:
            _sync(folder / name)
        sums = {name: _checksum(folder / name) for name in sizes}
        manifest = {**self._marks, "applied": view.applied, "mark": view.mark, "files": sizes, "sums": sums}
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        _sync(folder / "manifest.json")
        _sync(folder)

    def _read(self, folder: Path) -> View:
        applied = int(folder.name.split("-")[0])  # one that is not finished, which others may be at, is not named so
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if {name: manifest.get(name) for name in self._marks} != self._marks:
            shutil.rmtree(folder, ignore_errors=True)  # a small memory saves no other in its place
            raise ValueError("a snapshot of another store, encoder or format")
        if applied != manifest["applied"]:
            raise ValueError("the manifest is not what was written")
        for name, size in manifest["files"].items():
            if (folder / name).stat().st_size != size:
                raise ValueError(f"{name} is not whole")

        def array(name: str, mode: Literal["r", "c"] = "r") -> Any:
            return open_array(folder / f"{name}.npy", mode)

        def part(name: str, *fields: str, mode: Literal["r", "c"] = "r") -> dict[str, Any]:
            return {field: array(f"{name}.{field}", mode) for field in fields}

        edges = Edges(**part("edges", *EDGE_FIELDS))
        sums = Sums(**part("sums", *SUM_FIELDS, mode="c"))  # pages that are written to are copied, the file stays
        if not edges.lead_somewhere(sums):
            raise ValueError("its edges are not what was written")
        graph = KnowledgeGraph(
            edges,
            KeyTable(**part("keys", "text", "ends", "hashes", "nodes")),
            GramIndex(**part("grams", "hashes", "rows", "lines")),
            sums,
        )
        return View(
            graph,
            np.asarray(array("numbers")),
            VectorIndex.load(folder / "vectors.npy"),
            Sentences(**part("sentences", "starts", "first", "vectors")),
            int(manifest["applied"]),
            array("ties"),
            str(manifest["mark"]),
            LexicalIndex(**part("words", "hashes", "starts", "rows", "counts", "lengths", "sizes")),
            part("chains", "chain", "told", "before", "after", "near", "begins", "ends", "norms", "asks", "spoken"),
        )


def _parts(view: View, rows: NDArray[np.int64], folder: Path) -> Iterator[tuple[str, dict[str, NDArray[np.generic]]]]:
    """What begins the names of some arrays, and these by the rest of it."""
    yield "", {"numbers": view.numbers[rows], "ties": view.ties[rows]}
    for part, values in view.graph.compact(rows):
        yield f"{part}.", values
    yield "words.", view.lexical.compact(rows, folder / "words.rows.npy", folder / "words.counts.npy")
    yield "chains.", view.chains.compact(rows)
    yield "sentences.", view.compact_sentences(rows, folder / "sentences.vectors.npy")


def _is_abandoned(folder: Path) -> bool:
    """Whether a process ended while it wrote this snapshot."""
    if not folder.name.startswith(UNFINISHED):
        return False
    if (held := lock(folder)) is not None:
        os.close(held)
        return True
    with suppress(OSError):
        return time.time() - folder.stat().st_mtime > ABANDONED_SECONDS
    return False


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while some := file.read(READ_BYTES):
            found = zlib.crc32(some, found)
    return found


def _sync(path: Path) -> None:
    """Have the file or folder on the disk before its name says that it is there. Raises OSError for a file."""
    is_folder = path.is_dir()
    with suppress(OSError) if is_folder else nullcontext():  # folders cannot be synced everywhere
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)  # Windows syncs nothing that is only read
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
