"""The published figures of the baselines on LoCoMo, through the command line. Slow: all turns are encoded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Evidence recall @1/2/5/10 over conversations 0-4 (760 questions), in points.
PUBLISHED = {
    "dense": (17.0, 26.2, 40.1, 49.3),
    "bm25": (28.2, 37.7, 48.0, 56.0),
    "strong": (37.1, 47.9, 62.3, 71.2),
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_evidence_recall_of_the_baselines(shared_data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hippomem.cli", "eval", "conversation", "--json", "--out", str(tmp_path)]
    command += ["--data", str(shared_data / "locomo" / "locomo10_conv0-4.json.gz"), "--system", ",".join(PUBLISHED)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = json.loads(run.stdout)
    assert summary["n_questions"] == 760
    for system, expected in PUBLISHED.items():
        found = [100 * summary["systems"][system][f"recall@{k}"] for k in (1, 2, 5, 10)]
        assert found == pytest.approx(expected, abs=1.05), system
