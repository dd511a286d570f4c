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
    assert hashed(1, HIPPOMEM_CONSOLIDATION_STEPS='["merge", "probe"]') != settings_hash()


def test_what_bounds_the_calls_of_a_model_changes_no_result() -> None:
    limits = {"TIMEOUT": "5", "RETRIES": "9", "CONCURRENCY": "1", "REQUESTS_PER_MINUTE": "3", "API_KEY": "secret"}
    assert hashed(1, **{f"HIPPOMEM_LLM_{name}": value for name, value in limits.items()}) == settings_hash()
    assert hashed(1, HIPPOMEM_LLM_BASE_URL="http://127.0.0.1:1") != settings_hash()


def test_a_run_that_stopped_at_a_long_question_goes_on_where_longer_ones_are_taken() -> None:
    assert hashed(1, HIPPOMEM_MAX_QUERY_CHARS="50000") == settings_hash()
