"""What a run leaves behind, and what is left of it after an interruption or damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hippomem import SourceError, StoreAccessError
from hippomem_eval.files import bytes_on_disk
from hippomem_eval.results import Results, RunFile, alone_in, make_folder, open_results, write_json


def append(path: Path, *ids: str, keep: bool = True) -> list[str]:
    with Results(path, keep=keep) as results:
        for id_ in ids:
            results.append({"id": id_, "question": "Où ?"})
        return list(results.rows)


def test_rows_are_there_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert append(path, "a", "b") == ["a", "b"]
    assert append(path, "c") == ["a", "b", "c"]
    assert path.read_text(encoding="utf-8").count("\n") == 3


def test_rows_of_other_settings_go(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append(path, "a", "b")
    assert append(path, "c", keep=False) == ["c"]
    assert append(path) == ["c"]


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_a_line_that_was_not_finished_is_dropped(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "rows.jsonl"
    append(path, "a", "b")
    path.write_bytes(path.read_bytes()[:-cut])
    assert append(path, "c") == ["a", "c"]
    assert append(path) == ["a", "c"]


@pytest.mark.parametrize("line", ["[1]", '{"no": "id"}', "junk", '{"id": ["list"]}'])
def test_a_line_that_is_no_row_ends_what_is_kept(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    append(path, "a")
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    assert append(path, "b") == ["a", "b"]


def test_a_file_of_that_name_that_no_run_wrote_is_left_alone(tmp_path: Path) -> None:
    run, theirs = RunFile(tmp_path / "run.json"), tmp_path / "dense.jsonl"
    theirs.write_text("theirs\n")
    with pytest.raises(StoreAccessError, match="was not made by this command"):
        open_results(run, "dense", {"k": 5}, print)
    assert theirs.read_text() == "theirs\n"
    theirs.write_text("")  # as an interruption leaves one
    with open_results(run, "dense", {"k": 5}, print) as results:
        results.append({"id": "a"})
    with open_results(run, "dense", {"k": 9}, print) as results:
        assert not results.rows


def test_run_json_is_updated_entry_by_entry(tmp_path: Path) -> None:
    run = RunFile(tmp_path / "run.json")
    assert run.read() == {}
    run.update(a=1, b=2)
    run.update(b=3)
    assert run.read() == {"a": 1, "b": 3}
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("content", ["[1]", "{", ""])
def test_a_damaged_run_json_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(SourceError, match=r"run\.json"):
        RunFile(path).read()


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert RunFile(path).read() == {"a": 1}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreAccessError, match="cannot be used as a folder"):
        make_folder(tmp_path / "file")


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    with pytest.raises(StoreAccessError, match="cannot be written to"):
        make_folder(tmp_path)


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with alone_in(tmp_path / "new"), pytest.raises(StoreAccessError, match="another run"), alone_in(tmp_path / "new"):
        pass
    with alone_in(tmp_path / "new"):
        pass


def test_bytes_on_disk_are_those_of_the_database_its_journals_and_views(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"x" * 10)
    (tmp_path / "index.db-wal").write_bytes(b"x" * 5)
    (tmp_path / "index.db.views" / "deep").mkdir(parents=True)
    (tmp_path / "index.db.views" / "deep" / "graph").write_bytes(b"x" * 3)
    (tmp_path / "other").write_bytes(b"x" * 100)
    assert bytes_on_disk(tmp_path / "index.db") == 18
