"""Ctrl-C while a model is loaded for the first time, as in a notebook, leaves a process that can load it."""

from __future__ import annotations

import subprocess
import sys
import threading
from _thread import interrupt_main
from pathlib import Path

import pytest

from hippomem.neocortex.importing import import_whole

FIRST_ADD = """
import sys, threading, time
from _thread import interrupt_main
from hippomem import Memory

def interrupt():
    while "torch.autograd" not in sys.modules:
        time.sleep(0.001)
    interrupt_main()

with Memory.open(":memory:") as memory:
    threading.Thread(target=interrupt).start()
    try:
        memory.add("Ada lives in Vardø.")
    except KeyboardInterrupt:
        print("interrupted")
    memory.add("Ada lives in Vardø.")
    print(memory.recall("Where does Ada live?").passages[0].text)
"""


def test_an_import_that_is_interrupted_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = "import time\ntime.sleep(0.5)\nmade = __name__\n"
    (tmp_path / "imported_slowly.py").write_text(code, encoding="utf-8")
    threading.Timer(0.1, interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        import_whole("imported_slowly")
    assert sys.modules["imported_slowly"].made == "imported_slowly"
    assert import_whole("imported_slowly").made == "imported_slowly"
    with pytest.raises(ModuleNotFoundError, match="imported_never"):
        import_whole("imported_never")


@pytest.mark.slow
def test_the_first_add_can_be_interrupted_and_repeated() -> None:
    run = subprocess.run([sys.executable, "-c", FIRST_ADD], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "interrupted\nAda lives in Vardø.\n"), run.stderr
