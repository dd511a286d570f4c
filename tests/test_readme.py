"""What the README shows runs as printed, and what exists is in the README."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"<!-- run by tests/test_readme.py -->\n```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs_as_printed(number: int, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "brackwater" / "notes", tmp_path / "notes")
    (tmp_path / "snippet.py").write_text(SNIPPETS[number], encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "snippet.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert run.returncode == 0, run.stderr
    if number == 0:
        first, second = run.stdout.index("Ada Thorne  (score"), run.stdout.index("Northlight Labs  (score")
        assert first != second
        assert "Bergen" not in run.stdout
        assert "Ada Thorne – runs – Northlight Labs" in run.stdout
    else:
        assert run.stdout.startswith("45 passages, ()")


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
