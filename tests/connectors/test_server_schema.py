"""The server keeps what its OpenAPI schema promises: generated requests, good and bad, get only what it documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from serving import opener, served

from hippomem_server import Tokens

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server on a real port, and its token."""
    tokens, secret = Tokens.for_one_run()
    with served(opener(tmp_path_factory.mktemp("schema") / "m.db"), tokens) as url:
        yield url, secret


@schemathesis.serializer("application/x-ndjson")
def lines(_: object, value: object) -> bytes:
    """A body of JSON lines is what was generated, as text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.mark.parametrize("examples", [3, pytest.param(80, marks=pytest.mark.slow)])
def test_every_operation_does_what_the_schema_says(server: tuple[str, str], examples: int) -> None:
    url, secret = server
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    seen = []
    for found in schema.get_all_operations():
        operation = found.ok()
        seen.append(operation.label)
        for mode in GenerationMode:  # requests as the schema says, and others

            @settings(
                max_examples=examples,
                derandomize=True,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def holds(case: Any) -> None:
                case.call_and_validate(headers={"authorization": f"Bearer {secret}"}, checks=CHECKS)

            with suppress(Unsatisfiable):  # nothing about it can be wrong
                holds()
    assert len(seen) == 19, seen  # all operations
