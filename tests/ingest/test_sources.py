"""Which files an ingest finds, and what it says about the others."""

from __future__ import annotations

import hashlib
import inspect
import os
import socket
import sys
from pathlib import Path

import pytest

from hippomem.errors import NotFoundError, SourceError
from hippomem.ingest.sources import Source, find_sources, fingerprint
from hippomem.types import Failure


def names(target: Path) -> list[str]:
    """The paths found, relative to `target`; failures as "path: reason"."""
    root = target.resolve().as_posix() + "/"
    return [
        found.name.removeprefix(root)
        if isinstance(found, Source)
        else f"{found.source.removeprefix(root)}: {found.reason}"
        for found in find_sources(target)
    ]


def write(path: Path, text: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "four")
    assert list(find_sources(str(path))) == [Source(name=path.resolve().as_posix(), path=path.resolve(), size=4)]


def test_a_relative_path_has_the_absolute_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "sub" / "a.txt")
    monkeypatch.chdir(tmp_path / "sub")
    (found,) = find_sources("../sub/a.txt")
    assert isinstance(found, Source)
    assert found.name == path.resolve().as_posix()


def test_a_folder_is_walked_sorted_without_hidden_and_own_files(tmp_path: Path) -> None:
    for name in (
        "b/2.txt",
        "b/1.txt",
        "a.txt",
        "c.md",
        ".hidden",
        ".git/config",
        "memory.db",
        "memory.db-wal",
        "memory.db-shm",
        "memory.db.views/facts.parquet",
        "b.db/not_a_database.txt",
    ):
        write(tmp_path / name)
    assert names(tmp_path) == ["a.txt", "b/1.txt", "b/2.txt", "b.db/not_a_database.txt", "c.md"]


def test_what_is_named_outright_is_taken_even_hidden(tmp_path: Path) -> None:
    path = write(tmp_path / ".notes" / ".secret.txt")
    assert names(path.parent) == []
    assert [found.name for found in find_sources(path) if isinstance(found, Source)] == [path.resolve().as_posix()]
    assert len(list(find_sources(write(tmp_path / "memory.db")))) == 1


def test_a_hidden_folder_as_target_is_walked(tmp_path: Path) -> None:
    write(tmp_path / ".notes" / "a.txt")
    assert names(tmp_path / ".notes") == ["a.txt"]


@pytest.mark.parametrize("target", ["missing", "a.txt/below", "nul\0"])
def test_no_target(tmp_path: Path, target: str) -> None:
    write(tmp_path / "a.txt")
    with pytest.raises(NotFoundError, match="no file or folder"):
        list(find_sources(f"{tmp_path}/{target}"))


def test_an_empty_file_is_found(tmp_path: Path) -> None:
    """What it held before has to go: it is for the ingest to say that there is nothing in it."""
    write(tmp_path / "a.txt", "")
    assert [found.size for found in find_sources(tmp_path / "a.txt") if isinstance(found, Source)] == [0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_sockets_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer for ever
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        assert names(tmp_path) == ["pipe: is not a regular file", "socket: is not a regular file"]
    (found,) = find_sources(tmp_path / "pipe")
    assert isinstance(found, Failure)


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="this system has no /dev/fd")
def test_what_comes_from_a_pipe_is_told_as_that() -> None:
    """As `cat notes.jsonl | hippomem ingest /dev/stdin` and `hippomem ingest <(…)` give it."""
    reading, writing = os.pipe()
    try:
        (found,) = find_sources(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        os.close(writing)
    assert isinstance(found, Failure)
    assert "is a pipe" in found.reason


def test_links_to_folders_are_followed_but_never_in_circles(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write(target / "a" / "1.txt")
    write(tmp_path / "outside" / "2.txt")
    write(tmp_path / "3.txt")
    (target / "a" / "self").symlink_to(target / "a")
    (target / "b").symlink_to(target / "a")
    (target / "c").symlink_to(tmp_path / "outside")
    (target / "up").symlink_to(tmp_path)  # would bring in all that lies beside the target
    (tmp_path / "outside" / "back").symlink_to(target)
    outside = (tmp_path / "outside").resolve().as_posix()
    assert names(target) == ["a/1.txt", f"{outside}/2.txt"]


def test_a_file_reached_twice_comes_once(tmp_path: Path) -> None:
    write(tmp_path / "b.txt")
    (tmp_path / "a.txt").symlink_to(tmp_path / "b.txt")
    assert names(tmp_path) == ["b.txt"]


def test_dead_links_fail(tmp_path: Path) -> None:
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    write(tmp_path / "ok.txt")
    found = names(tmp_path)
    assert found[0] == "dead: is a link to nothing"
    assert found[1].startswith("loop: cannot be read")
    assert found[2:] == ["ok.txt"]
    with pytest.raises(NotFoundError):
        list(find_sources(tmp_path / "dead"))
    (loop,) = find_sources(tmp_path / "loop")
    assert isinstance(loop, Failure)


def test_a_folder_that_cannot_be_listed_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "closed" / "a.txt")
    write(tmp_path / "open" / "b.txt")
    listing = Path.iterdir

    def refuse(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", refuse)  # permissions do not bind root, who may run this
    assert names(tmp_path) == ["closed: cannot be read: Permission denied", "open/b.txt"]


def test_a_file_that_may_not_be_read_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "closed.txt")
    write(tmp_path / "open.txt")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "closed.txt")
    assert names(tmp_path) == ["closed.txt: cannot be read: Permission denied", "open.txt"]


def test_a_name_that_is_no_text_fails_with_a_name_that_is(tmp_path: Path) -> None:
    try:
        write(tmp_path / os.fsdecode(b"caf\xe9.txt"))
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only names in Unicode")
    assert names(tmp_path) == ["caf\ufffd.txt: has a name that is not valid text: rename the file"]


def test_a_tree_deeper_than_the_call_stack(tmp_path: Path) -> None:
    write(tmp_path / ("d/" * 300) / "a.txt")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 200)
    try:
        found = names(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert found == ["d/" * 300 + "a.txt"]


def test_fingerprint_is_the_hash_of_the_bytes(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    source = Source(name="a", path=path, size=len(data))
    assert fingerprint(source) == hashlib.sha256(data).hexdigest()
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        fingerprint(source)
