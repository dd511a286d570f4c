"""The public conformance runner of the Model Context Protocol against our server over HTTP."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from test_mcp import serving

RUNNER = "@modelcontextprotocol/conformance@0.1.13"  # the last that runs on Node 20
# The other scenarios call tools, resources and prompts by name ("test_simple_text", "test://static-text") that the
# runner's own example server has, or ask for what this server does not declare: logging, completion, subscription.
ANY_SERVER = {
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-error",
    "server-sse-multiple-streams",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The runner's command."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the conformance runner needs Node 20 or later")
    folder = tmp_path_factory.mktemp("node")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), RUNNER]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm took more than ten minutes to fetch the conformance runner")
    if made.returncode:
        pytest.skip(f"npm cannot fetch the conformance runner: {made.stderr.strip().splitlines()[-1:]}")
    return [str(folder / "node_modules" / ".bin" / "conformance")]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_scenario_that_any_server_can_meet_is_met(runner: list[str], small: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with serving(Path(shutil.copy(small, tmp_path / "m.db"))) as url:
        for _ in range(600):
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                continue
        run = subprocess.run(
            [*runner, "server", "--url", url], cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False
        )
    told = {name: sign for sign, name in re.findall(r"^(\S) ([\w-]+): \d+ passed", run.stdout, re.M)}
    print(run.stdout[run.stdout.find("=== SUMMARY") :])  # noqa: T201
    assert set(told) >= ANY_SERVER, run.stdout
    assert {name for name in ANY_SERVER if told[name] != "✓"} == set()
