"""Ctrl-C while a model is loaded for the first time, as in a notebook, leaves a process that can load it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from _thread import interrupt_main
from pathlib import Path

import pytest

from hippomem.importing import import_whole

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


RUNTIME = """
import os
def begin():
    print(__name__, os.environ.get("OMP_NUM_THREADS"), os.environ.get("KMP_DUPLICATE_LIB_OK"))
get_num_threads = omp_get_max_threads = begin
"""
ON_MACOS = """
import os, sys
sys.platform = "darwin"
from hippomem.importing import load_faiss
assert load_faiss() is load_faiss() is sys.modules["faiss"]
print(os.environ.get("OMP_NUM_THREADS"), os.environ.get("KMP_DUPLICATE_LIB_OK"))
"""


@pytest.mark.parametrize("given", [None, "3"])
def test_of_two_openmp_runtimes_torchs_is_the_first_and_the_other_has_one_thread(
    tmp_path: Path, given: str | None
) -> None:
    for name in ("torch", "faiss"):  # here both would use the same one
        (tmp_path / f"{name}.py").write_text(RUNTIME, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "KMP_DUPLICATE_LIB_OK")}
    env |= {"PYTHONPATH": str(tmp_path)} | ({"OMP_NUM_THREADS": given} if given else {})
    run = subprocess.run([sys.executable, "-c", ON_MACOS], capture_output=True, text=True, check=False, env=env)
    assert run.stdout.splitlines() == [f"torch {given} None", "faiss 1 TRUE", f"{given} None"], run.stderr


@pytest.mark.slow
def test_the_first_add_can_be_interrupted_and_repeated() -> None:
    run = subprocess.run([sys.executable, "-c", FIRST_ADD], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "interrupted\nAda lives in Vardø.\n"), run.stderr
