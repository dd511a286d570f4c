"""Every example runs as it stands and prints what it is there to show."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import mcp.client.stdio  # noqa: F401 - it keeps the stderr it finds, which in a test is not one to hand on
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SHOWS = {
    "agent_notes.py": [
        "[monday] Bea Lind called",
        "[tuesday] Norrgard Freight",
        "12 Customs Quay",
        "It said before: Bea Lind's office is at 4 Rope Walk.",
        "Forgotten: 1 memory",
    ],
    "folder_questions.py": [
        "45 new passages",
        "with the graph: Whitlock Library, The Northern Patience, Renée Vautrin",
        "“Renée Vautrin”",
    ],
    "learning_agent.py": [
        "Afternoon, without what was learned: 2 of 6",
        "Afternoon, having learned: 6 of 6",
        "moved up by 1 earlier query like this one",
        "Forgotten: 1 note, and 1 thing learned about it",
    ],
    "async_agents.py": ["cook: Oskar is allergic to walnuts.", "clerk: Oskar pays on the first Friday."],
    "langgraph_agent.py": [
        "[tuesday] tool: Oskar is allergic to walnuts and hazelnuts.",
        "[wednesday] ai: I know of nothing",
    ],
    "llama_index_chat.py": [
        "read: Whitlock Library, The Northern Patience, Renée Vautrin",
        "kept of the talk: User: For what feat is the first librarian",
    ],
    "mcp_client.py": [
        "tools: remember, recall,",
        "Ada Thorne runs Northlight Labs.",
        "refused: True Error executing tool recall: query is empty",
        '{"passages": 2,',
    ],
    "support_bot.py": ["“Backlight reset” comes at place 8; without", "“Backlight reset” comes at place 1; without"],
    "from_mem0.py": [
        "but I love science fiction.",
        "food: Alice is a vegetarian and allergic to nuts.",
        "UPDATE: Alice is a vegan and allergic to nuts.",
        "left: 0 of Alice, 1 of Bob",
    ],
}

SLOW = {"llama_index_chat.py", "from_mem0.py"}  # what they use is tested without models in tests/connectors


def test_every_example_is_tested() -> None:
    assert {file.name for file in EXAMPLES.glob("*.py")} == set(SHOWS)


@pytest.mark.parametrize("name", sorted(SHOWS.keys() - SLOW))
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")  # here, where the models are loaded already
    printed = capfd.readouterr().out
    for shown in SHOWS[name]:
        assert shown in printed, printed


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW))
def test_an_example_runs_in_its_own_process(name: str, tmp_path: Path) -> None:
    """What these use leaves connections open that would be warned of here."""
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert run.returncode == 0, run.stderr
    for shown in SHOWS[name]:
        assert shown in run.stdout, run.stdout
