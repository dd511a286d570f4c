"""Workers on a Ray cluster, where hippomem[ray] is installed on each of its machines."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from hippomem.analyse import Text
from hippomem.errors import InvalidInputError, MissingDependencyError, ModelError
from hippomem.workers.pool import Pool
from hippomem.workers.reading import Outcome, Reader

log = logging.getLogger("hippomem")
TRIES = 3  # at a batch whose machine is lost
PATIENCE = 30.0  # seconds in which a worker begins where there is room for it


class RayWorker:
    """A Ray actor with one processor. Ray starts it anew, elsewhere, where its machine is lost, and needs the `models`
    again then, a reference that has to be held until the end: of plain bytes Ray may have let go."""

    def __init__(self, ray: Any, models: Any, batch: int) -> None:
        self._ray, self._models = ray, models
        actor = ray.remote(Reader).options(num_cpus=1, max_restarts=TRIES, max_task_retries=TRIES)
        self._actor = actor.remote(models, batch)
        self._is_new = True

    def read(self, texts: Sequence[Text]) -> Outcome:
        try:
            if self._is_new and not self._ray.wait([self._actor.__ray_ready__.remote()], timeout=PATIENCE)[0]:
                log.warning(  # Ray itself waits for ever, and says nothing
                    "ingest: a worker has not begun within %.0f s: the processors of the Ray cluster seem to be taken, "
                    "and it waits for one",
                    PATIENCE,
                )
            self._is_new = False
            outcome: Outcome = self._ray.get(self._actor.read.remote(texts))
        except self._ray.exceptions.RayError as error:
            raise ModelError(
                f"a Ray worker was lost ({str(error).strip().splitlines()[0]}): the machines of the cluster need the "
                "same hippomem as this one, and memory enough. What was ingested is kept, the same ingest goes on there"
            ) from error
        return outcome

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it is gone already, or the cluster is
            self._ray.kill(self._actor)


@contextmanager
def ray_pool(address: str, count: int | None, models: bytes, batch: int) -> Iterator[Pool]:
    """`count` workers, but no more than it has processors, on the cluster at an address as `ray.init` takes it.

    A program that is connected to Ray goes on with its own cluster. None is started here: Ray would open ports to the
    network, behind which anybody runs code. Raises MissingDependencyError without Ray, InvalidInputError where one is
    to be started, and ModelError where there is none.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise MissingDependencyError("ray", "ray") from error
    is_ours = not ray.is_initialized()
    if is_ours and address == "local":
        raise InvalidInputError(
            "hippomem starts no Ray cluster: give it workers, or the address of one (auto, host:port)"
        )
    try:
        if is_ours:
            try:
                _knock(address)
                ray.init(address=address, log_to_driver=False, logging_level="error")
            except (OSError, RuntimeError, ValueError, ImportError, ray.exceptions.RayError) as error:
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise ModelError(
                    f"no Ray cluster at {address!r} ({reason}): start one (ray start --head), or give its address"
                ) from error
        processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        held = ray.put(models)
        with Pool(min(count or processors, processors), lambda: RayWorker(ray, held, batch)) as pool:
            yield pool
    finally:
        if is_ours:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at a host:port: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
