"""The memory tool's commands, one test for each thing that its documentation says of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from anthropic.lib.tools import ToolError

from anthropic_hippomem import MemoryFileError, MemoryFiles, async_memory_tool, memory_tool
from hippomem import Memory

NOTES = "/memories/notes.txt"


@pytest.fixture
def files(memory: Memory) -> MemoryFiles:
    files = MemoryFiles(memory)
    files.create(NOTES, "Ada likes tea.\nBea likes bees.\nCleo likes tea.\n")
    return files


def text_of(files: MemoryFiles, path: str = NOTES) -> str:
    shown = files.run({"command": "view", "path": path}).split("\n")[1:]
    return "\n".join(line.split("\t", 1)[1] for line in shown)


def fails(files: MemoryFiles, command: str, **arguments: Any) -> str:
    before = {source: files.memory.passages(source=source) for source in files.memory.sources("anthropic:/")}
    with pytest.raises(MemoryFileError) as failure:
        files.run({"command": command, **arguments})
    assert {s: files.memory.passages(source=s) for s in files.memory.sources("anthropic:/")} == before
    return str(failure.value)


def test_view_shows_numbered_lines_or_some_of_them(files: MemoryFiles) -> None:
    shown = files.run({"command": "view", "path": NOTES})
    assert shown.splitlines()[1:] == [
        "     1\tAda likes tea.",
        "     2\tBea likes bees.",
        "     3\tCleo likes tea.",
        "     4\t",
    ]
    part = files.run({"command": "view", "path": NOTES, "view_range": [2, 3]})
    assert part.splitlines()[1:] == ["     2\tBea likes bees.", "     3\tCleo likes tea."]
    assert files.view(NOTES, [3, -1]).endswith("     4\t")
    for wrong in ([0, 1], [9, 10], [3, 2], [1], ["a", "b"]):
        assert "view_range" in fails(files, "view", path=NOTES, view_range=wrong)


def test_view_lists_a_folder_two_levels_deep(files: MemoryFiles) -> None:
    for path in ("/memories/a/one.md", "/memories/a/b/two.md", "/memories/a/b/c/three.md"):
        files.create(path, "x" * 2000)
    listed = files.view("/memories").splitlines()[1:]
    assert [line.split("\t")[1] for line in listed] == [
        "/memories",
        "/memories/a/",
        "/memories/a/b/",
        "/memories/a/one.md",
        NOTES,
    ]
    assert files.view("/memories/a").splitlines()[1] == "5.9K\t/memories/a"
    assert "does not exist" in fails(files, "view", path="/memories/none")
    assert MemoryFiles(files.memory).clear() == "All memory cleared"
    assert files.view("/memories").splitlines()[1:] == ["0B\t/memories"]


def test_create_makes_a_file_and_fails_where_there_is_one(files: MemoryFiles) -> None:
    assert files.run({"command": "create", "path": "/memories/new.txt", "file_text": ""}).endswith("/memories/new.txt")
    assert text_of(files, "/memories/new.txt") == ""
    assert "already exists" in fails(files, "create", path=NOTES, file_text="Other.")
    assert "is a file" in fails(files, "create", path=f"{NOTES}/inner.txt", file_text="Other.")
    assert text_of(files).startswith("Ada likes tea.")


def test_str_replace_changes_the_only_match(files: MemoryFiles) -> None:
    shown = files.run({"command": "str_replace", "path": NOTES, "old_str": "likes bees", "new_str": "keeps bees"})
    assert "     2\tBea keeps bees." in shown
    assert text_of(files) == "Ada likes tea.\nBea keeps bees.\nCleo likes tea.\n"
    assert "did not appear" in fails(files, "str_replace", path=NOTES, old_str="coffee", new_str="milk")
    assert "lines: 1, 3" in fails(files, "str_replace", path=NOTES, old_str="likes tea", new_str="likes milk")
    assert "did not appear" in fails(files, "str_replace", path=NOTES, old_str="", new_str="milk")
    assert "does not exist" in fails(files, "str_replace", path="/memories/none", old_str="a", new_str="b")
    files.run({"command": "str_replace", "path": NOTES, "old_str": "\nBea keeps bees."})
    assert text_of(files) == "Ada likes tea.\nCleo likes tea.\n"


def test_insert_after_a_line(files: MemoryFiles) -> None:
    files.run({"command": "insert", "path": NOTES, "insert_line": 0, "insert_text": "Notes:\n"})
    files.run({"command": "insert", "path": NOTES, "insert_line": 2, "insert_text": "Anna likes ink."})
    assert text_of(files).split("\n")[:4] == ["Notes:", "Ada likes tea.", "Anna likes ink.", "Bea likes bees."]
    for line in (-1, 99, "two"):
        assert "insert_line" in fails(files, "insert", path=NOTES, insert_line=line, insert_text="x")


def test_delete_a_file_or_a_folder(files: MemoryFiles) -> None:
    files.create("/memories/a/one.md", "One.")
    files.create("/memories/a/b/two.md", "Two.")
    files.create("/memories/ab.md", "Not inside.")
    files.run({"command": "delete", "path": "/memories/a"})
    files.run({"command": "delete", "path": NOTES})
    assert files.memory.sources("anthropic:/") == ("anthropic:/memories/ab.md",)
    assert "does not exist" in fails(files, "delete", path=NOTES)
    assert "cannot be deleted" in fails(files, "delete", path="/memories")


def test_rename_a_file_or_a_folder(files: MemoryFiles) -> None:
    files.create("/memories/a/one.md", "One.")
    files.create("/memories/a/b/two.md", "Two.")
    files.run({"command": "rename", "old_path": "/memories/a", "new_path": "/memories/z"})
    assert text_of(files, "/memories/z/b/two.md") == "Two."
    assert "does not exist" in fails(files, "view", path="/memories/a")
    files.run({"command": "rename", "old_path": NOTES, "new_path": "/memories/z/notes.txt"})
    assert text_of(files, "/memories/z/notes.txt").startswith("Ada likes tea.")
    files.create(NOTES, "Anew.")
    assert "already exists" in fails(files, "rename", old_path=NOTES, new_path="/memories/z/one.md")
    assert "cannot be moved" in fails(files, "rename", old_path="/memories/z", new_path="/memories/z/y")
    assert "does not exist" in fails(files, "rename", old_path="/memories/none", new_path="/memories/some")


@pytest.mark.parametrize("path", ["/etc/passwd", "/memories/../etc", "/memoriesque", "notes.txt", "", "/memories/a\0"])
def test_no_path_leads_elsewhere(files: MemoryFiles, path: str) -> None:
    assert "/memories" in fails(files, "view", path=path)
    assert "/memories" in fails(files, "create", path=path, file_text="x")


def test_a_model_that_errs_is_told_so(files: MemoryFiles) -> None:
    assert "Unknown command: dance" in fails(files, "dance")
    assert "file_text" in fails(files, "create", path="/memories/x")
    assert "mood" in fails(files, "view", path=NOTES, mood="good")
    assert "NUL" in fails(files, "create", path="/memories/x", file_text="a\0b")
    assert "string" in fails(files, "create", path="/memories/x", file_text=7)


def test_files_are_recalled_like_anything_else(files: MemoryFiles, memory: Memory) -> None:
    found = memory.recall("Who likes bees?", 1, source="anthropic:/").passages[0]
    assert found.title == "notes.txt"
    assert "Bea likes bees." in found.text
    assert memory.doctor().ok


def test_as_a_tool_of_the_sdk(files: MemoryFiles) -> None:
    tool = memory_tool(files)
    assert tool.to_dict() == {"type": "memory_20250818", "name": "memory"}
    assert "Bea likes bees." in tool.call({"command": "view", "path": NOTES})
    with pytest.raises(ToolError, match="already exists"):
        tool.call({"command": "create", "path": NOTES, "file_text": "x"})
    assert tool.clear_all_memory() == "All memory cleared"


@pytest.mark.anyio
async def test_as_a_tool_of_the_asynchronous_sdk(files: MemoryFiles) -> None:
    tool = async_memory_tool(files)
    assert tool.to_dict() == {"type": "memory_20250818", "name": "memory"}
    assert "Bea likes bees." in await tool.call({"command": "view", "path": NOTES})
    with pytest.raises(ToolError, match="already exists"):
        await tool.call({"command": "create", "path": NOTES, "file_text": "x"})
    assert await tool.clear_all_memory() == "All memory cleared"


@pytest.mark.parametrize(
    "wild",
    [
        {"command": ["view"]},
        {"command": "view", "path": NOTES, "view_range": 5},
        {"command": "view", "path": "/memories/\ud800"},
        {"command": "create", "path": 5, "file_text": "x"},
        {"command": "str_replace", "path": NOTES, "old_str": 5, "new_str": "x"},
        {"command": "str_replace", "path": NOTES, "old_str": "Bea", "new_str": 5},
        {"command": "insert", "path": NOTES, "insert_line": 0, "insert_text": ["x"]},
        {"command": "rename", "old_path": NOTES, "new_path": {}},
    ],
)
def test_no_value_makes_a_command_crash(files: MemoryFiles, wild: dict[str, Any]) -> None:
    fails(files, **wild)
    with pytest.raises(ToolError):
        memory_tool(files).call(wild)


def test_the_lines_of_a_text_that_occurs_more_than_once(files: MemoryFiles) -> None:
    told = fails(files, "str_replace", path=NOTES, old_str=".\n", new_str="!")
    assert "in lines: 1, 2, 3." in told
    assert "in lines: 1, 3." in fails(files, "str_replace", path=NOTES, old_str="likes tea", new_str="!")
    files.create("/memories/b", "a\n\nb\n\nc")
    assert "in lines: 1, 3." in fails(files, "str_replace", path="/memories/b", old_str="\n\n", new_str="!")


def test_threads_that_change_one_file_lose_nothing(files: MemoryFiles) -> None:
    def write(name: str) -> None:
        for i in range(3):
            files.run({"command": "insert", "path": NOTES, "insert_line": 0, "insert_text": f"{name} {i}"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert len(text_of(files).splitlines()) == 4 * 3 + 3


def test_two_agents_with_files_of_one_memory_lose_nothing(files: MemoryFiles) -> None:
    def insert(n: int) -> None:
        own = MemoryFiles(files.memory)
        own.run({"command": "insert", "path": NOTES, "insert_line": 0, "insert_text": f"line {n}"})

    with ThreadPoolExecutor(4) as agents:
        list(agents.map(insert, range(20)))
    assert {f"line {n}" for n in range(20)} <= set(text_of(files).split("\n"))
