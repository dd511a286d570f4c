"""What a figure was measured on has the same name in every process."""

from __future__ import annotations

import os
import subprocess
import sys

from hippomem_eval.environment import settings_hash


def hashed(seed: int, **settings: str) -> str:
    """The hash as another process has it, whose strings hash by `seed`."""
    code = "from hippomem_eval.environment import settings_hash; print(settings_hash())"
    environment = os.environ | {"PYTHONHASHSEED": str(seed)} | settings
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_settings_have_one_hash_in_all_processes() -> None:
    assert {hashed(1), hashed(2)} == {settings_hash()}


def test_other_steps_of_consolidation_are_other_settings() -> None:
    assert hashed(1, HIPPOMEM_CONSOLIDATION_STEPS='["merge", "repair"]') != settings_hash()
