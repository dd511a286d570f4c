"""What the README shows runs as printed, and what exists is in the README."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path

import pytest
from openai_server import openai_server

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"<!-- run by tests/test_readme.py -->\n```python\n(.*?)```", README, re.S)
PLAN = ["Which firm supplied the lens of Gannet Point Light?", "Who is the head of #1?", "How did #2 meet his end?"]
ANSWERS = [
    json.dumps({"sub_questions": PLAN}),
    *('{"answer": "the Corvand Glass Company"}', '{"answer": "Emile Corvand"}', '{"answer": "fell from a balloon"}'),
]


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs_as_printed(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "DATABASE_URL" in SNIPPETS[number]:
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres")(tmp_path))
    shutil.copytree(ROOT / "examples" / "brackwater" / "notes", tmp_path / "notes")
    (tmp_path / "snippet.py").write_text(SNIPPETS[number], encoding="utf-8")
    asks = ".ask(" in SNIPPETS[number]
    answers = ["Renée Vautrin was the first librarian [1]."] if asks else ANSWERS
    with openai_server(*answers) as server:
        monkeypatch.setenv("HIPPOMEM_LLM_BASE_URL", server.url)
        monkeypatch.setenv("HIPPOMEM_LLM_API_KEY", "none")
        runpy.run_path("snippet.py", run_name="__main__")
        assert len(server.asked) == (len(answers) if "llm=" in SNIPPETS[number] else 0)
    printed = capsys.readouterr().out
    if number == 0:
        first, second = printed.index("Ada Thorne  (score"), printed.index("Northlight Labs  (score")
        assert first != second
        assert "Bergen" not in printed
        assert "Ada Thorne – runs – Northlight Labs" in printed
    elif asks:
        assert printed.splitlines() == ["Renée Vautrin was the first librarian [1].", "['Whitlock Library'] ()"]
    elif "llm=" in SNIPPETS[number]:
        assert printed.splitlines() == [
            "Which firm supplied the lens of Gannet Point Light? → the Corvand Glass Company",
            "Who is the head of the Corvand Glass Company? → Emile Corvand",
            "How did Emile Corvand meet his end? → fell from a balloon",
            "4 calls, 44 tokens in, 28 out ()",
        ]
    elif "DATABASE_URL" in SNIPPETS[number]:
        assert printed == "Tickets above 300 euros are booked by Ms. Okafor.\n"
    elif "workers=" in SNIPPETS[number]:
        assert printed == "45 0\n"
    elif "feedback" in SNIPPETS[number]:
        assert printed == "moved up by 1 earlier query like this one\n"
    elif "langgraph" in SNIPPETS[number]:
        assert printed.splitlines() == [
            "Oskar is allergic to walnuts and hazelnuts.",
            "Oskar is allergic to walnuts and hazelnuts. ['remember', 'recall', 'forget']",
        ]
    elif "create_app" in SNIPPETS[number]:
        assert printed.startswith("Ada Thorne runs Northlight Labs. ['the question names Northlight Labs")
    elif "Toolbox" in SNIPPETS[number]:
        told = r"Remembered as (\[\w{8}\])\.\n\1 \(noted [\d-]{10}\) Ada lives in Vardø\.\n"
        assert re.fullmatch(told, printed), printed
    else:
        assert printed.startswith("45 passages, ()")


def test_every_python_block_is_run() -> None:
    assert len(SNIPPETS) == README.count("```python")
    assert len(SNIPPETS) >= 2


def test_the_first_example_has_ten_lines_at_most() -> None:
    assert len([line for line in SNIPPETS[0].splitlines() if line.strip()]) <= 10


def test_the_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
