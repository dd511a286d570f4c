"""What holds for all connectors: only the public API, an extra that is named where it is missing, a line each."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import hippomem
from hippomem.testing import HashEncoder, capitals

ROOT = Path(__file__).parents[2]
CONNECTORS = ROOT / "connectors"
PACKAGES = sorted(folder.name for folder in CONNECTORS.iterdir() if (folder / "__init__.py").is_file())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NEEDS = {
    "langgraph_hippomem": ("langgraph", "langgraph"),
    "llama_index_hippomem": ("llama_index", "llama-index"),
    "hippomem_mcp": ("mcp", "mcp"),
    "hippomem_server": ("fastapi", "server"),
}


def test_every_package_is_distributed_and_told_of() -> None:
    tools = PROJECT["tool"]
    told = (CONNECTORS / "README.md").read_text(encoding="utf-8")
    for package in PACKAGES:
        assert package in tools["setuptools"]["packages"]
        assert tools["setuptools"]["package-dir"][package] == f"connectors/{package}"
        assert package in tools["mypy"]["packages"]
        assert (CONNECTORS / package / "py.typed").is_file()
        assert f"`{package}`" in told
    assert set(NEEDS) < set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_only_the_public_api_is_used(package: str) -> None:
    for file in (CONNECTORS / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hippomem":
                assert node.module == "hippomem", f"{file.name} imports {node.module}"
                assert {alias.name for alias in node.names} <= set(hippomem.__all__)
            if isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.startswith("hippomem.")], file.name
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute | ast.Name):
                owner = node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id
                assert owner not in ("memory", "_memory") or not node.attr.startswith("_"), f"{file.name}: {node.attr}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_two_ideas(package: str) -> None:
    for file in (CONNECTORS / package).rglob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 320, file.name


@pytest.mark.parametrize("package", sorted(NEEDS))
def test_without_its_extra_a_connector_says_which(package: str) -> None:
    module, extra = NEEDS[package]
    assert extra in PROJECT["project"]["optional-dependencies"]
    code = (
        f"import sys; sys.modules['{module}'] = None\n"
        f"try:\n    import {package}\n"
        f"except ImportError as error:\n    print(type(error).__name__, error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("MissingDependencyError ")
    assert f"pip install 'hippomem[{extra}]'" in run.stdout


def test_without_the_sdk_the_memory_tool_says_so(monkeypatch: pytest.MonkeyPatch, memory: hippomem.Memory) -> None:
    from anthropic_hippomem import MemoryFiles, memory_tool

    monkeypatch.setitem(sys.modules, "anthropic.lib.tools", None)
    with pytest.raises(hippomem.MissingDependencyError, match=r"hippomem\[anthropic\]"):
        memory_tool(MemoryFiles(memory))


@pytest.mark.anyio
async def test_what_is_no_memory_is_refused_before_it_is_used() -> None:
    from anthropic_hippomem import MemoryFiles
    from hippomem_mcp import create_server
    from hippomem_tools import Toolbox
    from langchain_hippomem import HippomemRetriever, memory_tools
    from langgraph_hippomem import HippomemStore
    from llama_index_hippomem import HippomemMemoryBlock
    from llama_index_hippomem import HippomemRetriever as Nodes
    from mem0_hippomem import AsyncMemory, Memory

    makers: list[Any] = [MemoryFiles, create_server, Toolbox, memory_tools, HippomemStore, Nodes, AsyncMemory, Memory]
    async with await hippomem.AsyncMemory.open(":memory:", encoder=HashEncoder(), pipeline=capitals()) as other:
        for given in (other, "agent.db"):
            for make in makers:
                with pytest.raises(
                    hippomem.InvalidInputError, match=rf"Memory\.open\(…\).* not {type(given).__name__}"
                ):
                    make(given)
            for model in (HippomemRetriever, HippomemMemoryBlock):
                with pytest.raises(ValueError, match="instance of Memory"):
                    model(memory=given)


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [("mcp", "mcp", "mcp"), ("serve", "fastapi", "server"), ("serve", "python_multipart", "server")],
)
def test_without_its_package_a_command_says_so(tmp_path: Path, command: str, missing: str, extra: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None; sys.argv = ['hippomem', '{command}']\n"
    code += "from hippomem.cli import main\nmain()"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    name = missing.replace("_", "-")
    assert run.stderr == f"error: {name} is not installed: pip install 'hippomem[{extra}]'\n"
    assert list(tmp_path.iterdir()) == []


def test_the_files_of_the_console_are_distributed() -> None:
    tools = PROJECT["tool"]["setuptools"]
    patterns = tools["package-data"]["hippomem_server.console"]
    assert "hippomem_server.console" in tools["packages"]
    for file in (CONNECTORS / "hippomem_server" / "console").iterdir():
        assert file.suffix in (".py", "") or f"*{file.suffix}" in patterns, file.name
