"""What an import costs: nothing heavy is loaded before it is needed."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys

import pytest

import hippomem

HEAVY = ("torch", "spacy", "faiss", "sqlalchemy", "numpy", "networkx", "pydantic", "hippomem.memory")
HELP_CPU_SECONDS = 0.6
HELP = """
import sys
sys.argv = ["hippomem", "--help"]
from hippomem.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def run_fresh(code: str) -> tuple[set[str], float]:
    """The modules that a fresh interpreter has after `code`, and the CPU seconds that all of it took."""
    code += "\nimport json, sys, time\nprint('\\n' + json.dumps([sorted(sys.modules), time.process_time()]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "80"}
    )
    modules, seconds = json.loads(done.stdout.splitlines()[-1])
    return set(modules), seconds


def test_importing_the_package_loads_nothing() -> None:
    modules, seconds = run_fresh("import hippomem; dir(hippomem)")
    assert not modules & {*HEAVY, "rich", "typer"}
    assert seconds < 0.3


@pytest.mark.parametrize("module", ["cli", "cli_graph", "cli_input", "cli_output", "demo", "errors", "types"])
def test_light_modules_load_nothing_heavy(module: str) -> None:
    modules, _ = run_fresh(f"import hippomem.{module}")
    assert not modules & set(HEAVY)


def test_help_is_quick() -> None:
    modules, seconds = run_fresh(HELP)
    assert not modules & set(HEAVY)
    assert seconds < HELP_CPU_SECONDS


def test_the_command_line_works_without_the_evaluation() -> None:
    run_fresh("import sys; sys.modules['hippomem_eval'] = None\n" + HELP)


def test_loading_the_library_loads_no_model() -> None:
    modules, _ = run_fresh("from hippomem import Memory, AsyncMemory, Settings")
    assert "hippomem.memory" in modules
    assert not modules & {"torch", "sentence_transformers", "spacy", "typer"}


def test_the_public_face_is_complete_and_sorted() -> None:
    assert list(hippomem.__all__) == sorted(hippomem.__all__)
    assert all(getattr(hippomem, name) is not None for name in hippomem.__all__)
    assert set(hippomem.__all__) <= set(dir(hippomem))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = hippomem.Nothing


def test_errors_go_from_one_process_to_another() -> None:
    names = [name for name in hippomem.__all__ if name.endswith("Error") and name != "MissingDependencyError"]
    errors = [getattr(hippomem, name)("what was wrong") for name in names]
    missing = hippomem.MissingDependencyError("ray", "ray")
    for error in [*errors, missing]:
        there = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
        assert (type(there), str(there)) == (type(error), str(error))
    assert (copy.copy(missing).package, copy.copy(missing).extra) == ("ray", "ray")
