"""The program of a `ProcessWorker`: pickled texts on stdin, pickled outcomes on stdout, until stdin closes."""

from __future__ import annotations

import os
import pickle
import signal
import sys

from hippomem.workers.reading import Reader


def main() -> None:
    """Serve until the process that started this one closes stdin, or is gone."""
    # Libraries print; the outcomes go through a copy of stdout that only this function knows.
    outcomes = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other process
    given = sys.stdin.buffer
    try:
        reader = Reader(*pickle.load(given))  # noqa: S301 - from the process that started this one
        while True:
            pickle.dump(reader.read(pickle.load(given)), outcomes)  # noqa: S301
            outcomes.flush()
    except (EOFError, OSError):
        return


if __name__ == "__main__":
    main()
