"""An ingest whose texts other processes read brings what it brings without them, and loses nothing with them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import child_tasks
import pytest
from workers_support import BatchEncoder, BrokenEncoder, FailingEncoder, PidEncoder, TellingEncoder

from hippomem import (
    AsyncMemory,
    Document,
    InvalidInputError,
    Memory,
    MissingDependencyError,
    ModelError,
    Settings,
)
from hippomem.analyse import Analyser
from hippomem.cli import app
from hippomem.testing import HashEncoder, capitals


def opened(db: Path | str, encoder: Any = None, *, batch: int = 4, **options: Any) -> Memory:
    return Memory.open(
        settings=Settings(db=str(db), batch=batch, encoder=encoder or HashEncoder(), pipeline=capitals(), **options)
    )


def notes(number: int, first: int = 0) -> list[Document]:
    return [
        Document(
            text=f"{record['text']} A repeated text." if at % 5 else "A repeated text about Ada Thorne.",
            title=record["title"] if at % 5 else "",
            source=f"notes/{at // 3}",
            triples=[("Ada Thorne", "knows", f"Visitor{at}")] if at % 7 == 0 else None,
        )
        for at, record in enumerate(child_tasks.records(number, first), first)
    ]


def exported(memory: Memory, file: Path) -> list[dict[str, Any]]:
    """All that there is, but for when it was written."""
    assert [check for check in memory.doctor().checks if not check.ok] == []
    memory.export(file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    dated = ("recorded_at", "exported_at", "at", "sha256")
    return [{k: v for k, v in line.items() if k not in dated} for line in lines]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z" if sys.platform == "linux" else True
    )


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_comes_in_with_workers_as_without(tmp_path: Path, workers: int) -> None:
    """To the last digit: what is encoded together is the same."""
    inputs = notes(60)
    found = []
    for name, number in (("alone", None), ("together", workers)):
        with opened(tmp_path / f"{name}.db", BatchEncoder()) as memory:
            report = memory.ingest(inputs, workers=number)
            found.append((report.documents, report.passages, report.entities, report.facts, report.duplicates))
            found.append((exported(memory, tmp_path / f"{name}.jsonl"), memory.stats()["facts"]))
    assert found[0] == found[2]
    assert found[1] == found[3]


@pytest.mark.slow
def test_workers_read_and_the_process_that_ingests_writes(tmp_path: Path) -> None:
    encoder = TellingEncoder(tmp_path / "log", seconds=0.05)
    with opened(tmp_path / "m.db", encoder) as memory:
        report = memory.ingest(notes(60), workers=2)
        pids = encoder.pids()
        assert len(pids) == 2
        assert os.getpid() not in pids
        assert report.seconds["encode"] >= 0.05
        assert not any(is_running(pid) for pid in pids)
        memory.ingest(notes(60), workers=2)  # nothing is new
        assert encoder.pids() == pids
        memory.ingest(notes(3, 100), workers=2)  # one batch
        assert encoder.pids() == pids | {os.getpid()}


@pytest.mark.slow
def test_what_comes_again_while_a_worker_has_it_is_not_read_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_here(*_: Any) -> None:
        raise AssertionError("the process that writes has read")

    inputs = [Document(text=text, source=f"{n}") for n in range(24) for text in (f"Note {n}.", "Seen by Ada Thorne.")]
    monkeypatch.setattr(Analyser, "understand", read_here)  # not in workers
    with opened(tmp_path / "m.db") as memory:
        assert memory.ingest(inputs, workers=2).passages == 48
        assert [check for check in memory.doctor().checks if not check.ok] == []


@pytest.mark.slow
def test_the_setting_is_for_every_ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPOMEM_WORKERS", "1")
    encoder = TellingEncoder(tmp_path / "log")
    with opened(tmp_path / "m.db", encoder) as memory:
        memory.ingest(notes(10))
    assert os.getpid() not in encoder.pids()


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_async_memory_has_workers_too(tmp_path: Path) -> None:
    encoder = TellingEncoder(tmp_path / "log")
    settings = Settings(db=str(tmp_path / "m.db"), batch=4, encoder=encoder, pipeline=capitals())
    async with await AsyncMemory.open(settings=settings) as memory:
        await memory.ingest(notes(10), workers=1)
    assert encoder.pids()
    assert os.getpid() not in encoder.pids()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("workers", [0, -1, 1.5, "many", 5000])
def test_a_number_of_workers_is_one(tmp_path: Path, workers: Any) -> None:
    def given() -> Iterator[Document]:
        raise AssertionError("was read")
        yield

    with opened(tmp_path / "m.db") as memory, pytest.raises(InvalidInputError, match="workers"):
        memory.ingest(given(), workers=workers)


@pytest.mark.slow
def test_a_worker_that_is_lost_costs_nothing_that_was_stored(tmp_path: Path) -> None:
    encoder = TellingEncoder(tmp_path / "log")
    good, bad = notes(40), [Document(text="A fatal note.", source="bad")]
    with opened(tmp_path / "m.db", encoder) as memory:
        with pytest.raises(ModelError, match=r"signal 9.*goes on from there"):
            memory.ingest([*good, *bad, *notes(8, 100)], workers=1)
        stored = memory.stats()["passages"]
        assert stored >= 20
        assert not any(is_running(pid) for pid in encoder.pids())
        report = memory.ingest([*good, *bad, *notes(8, 100)])  # here it kills nobody
        assert report.passages == memory.stats()["passages"] - stored > 0
        assert [check for check in memory.doctor().checks if not check.ok] == []


@pytest.mark.slow
def test_what_a_worker_cannot_read_is_told(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", BrokenEncoder()) as memory:
        with pytest.raises(ModelError, match="ArithmeticError: it is poisoned"):
            memory.ingest([*notes(12), Document(text="It has poison.", source="p"), *notes(8, 100)], workers=1)
        assert memory.stats()["passages"] > 0


@pytest.mark.parametrize(
    ("encoder", "words"),
    [(FailingEncoder(), "TwofoldError: no answer: the server sleeps"), (FailingEncoder(exit_code=3), "exit code 3")],
)
@pytest.mark.slow
def test_how_a_worker_fails_is_told(tmp_path: Path, encoder: FailingEncoder, words: str) -> None:
    with opened(tmp_path / "m.db", encoder) as memory, pytest.raises(ModelError, match=words):
        memory.ingest(notes(12), workers=1)


def test_a_worker_that_cannot_be_started_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with opened(tmp_path / "m.db") as memory, pytest.raises(ModelError, match="cannot be started"):
        memory.ingest(notes(12), workers=1)


@pytest.mark.slow
def test_vectors_of_another_encoder_are_not_taken(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db", PidEncoder()) as memory:
        with pytest.raises(ModelError, match=r"has the encoder pid-\d+, not pid-"):
            memory.ingest(notes(12), workers=1)
        assert memory.stats()["passages"] == 0


def test_an_encoder_that_cannot_be_sent_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    class Local(HashEncoder):
        pass

    with opened(tmp_path / "m.db", Local()) as memory:
        with pytest.raises(InvalidInputError, match="cannot be sent to workers"):
            memory.ingest(notes(12), workers=1)
        assert memory.ingest(notes(12)).passages > 0


def test_an_encoder_that_a_worker_cannot_find_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TellingEncoder(tmp_path / "log")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if Path(path) != Path(__file__).parent])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with (
        opened(tmp_path / "m.db", encoder) as memory,
        pytest.raises(ModelError, match=r"cannot have the encoder or the pipeline.*workers_support"),
    ):
        memory.ingest(notes(12), workers=1)


@pytest.mark.slow
def test_an_interrupted_ingest_ends_its_workers_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """A file whose first passages are stored, and whose last are still with a worker, does not count as read."""
    encoder = TellingEncoder(tmp_path / "log", seconds=0.05)
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json.dumps({"text": d.text, "title": d.title}) + "\n" for d in notes(60)))

    def stop(read: int, total: int | None, passages: int) -> None:
        if passages:
            raise KeyboardInterrupt

    with opened(tmp_path / "m.db", encoder) as memory:
        with pytest.raises(KeyboardInterrupt):
            memory.ingest(file, workers=2, progress=stop)
        assert 0 < memory.stats()["passages"] < 40
        assert not any(is_running(pid) for pid in encoder.pids())
        report = memory.ingest(file, workers=2)
        assert report.skipped == 0
        assert exported(memory, tmp_path / "one.jsonl")
        with opened(tmp_path / "n.db", HashEncoder()) as other:
            other.ingest(file)
            texts = [{p.id for p in m.passages(limit=1000)} for m in (memory, other)]
        assert texts[0] == texts[1]


@pytest.mark.slow
def test_a_source_that_breaks_off_leaves_what_it_gave(tmp_path: Path) -> None:
    def given() -> Iterator[Document]:
        yield from notes(30)
        raise OSError("the line is dead")

    with opened(tmp_path / "m.db") as memory:
        with pytest.raises(OSError, match="dead"):
            memory.ingest(given(), workers=2)
        assert len({p.source for p in memory.passages(limit=1000)}) == 10


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, children: ForkServerContext) -> None:
    encoder = TellingEncoder(tmp_path / "log", seconds=0.2)
    child = children.Process(target=child_tasks.ingest_with_workers, args=(tmp_path / "m.db", encoder))
    child.start()
    wait_until(lambda: len(encoder.pids()) == 2)
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    wait_until(lambda: not any(is_running(pid) for pid in encoder.pids()))
    with opened(tmp_path / "m.db", encoder) as memory:
        memory.ingest(child_tasks.records(200))
        assert memory.stats()["passages"] == 200
        assert [check for check in memory.doctor().checks if not check.ok] == []


@pytest.mark.slow
def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """Unlike multiprocessing, which would run it anew in every worker."""
    import subprocess

    script = tmp_path / "script.py"
    script.write_text(
        "from hippomem import Memory, Settings\n"
        "from hippomem.testing import HashEncoder, capitals\n"
        "print('once')\n"
        f"settings = Settings(db={str(tmp_path / 'm.db')!r}, batch=2, encoder=HashEncoder(), pipeline=capitals())\n"
        "with Memory.open(settings=settings) as memory:\n"
        "    print(memory.ingest([{'text': f'Note {n} of Ada Thorne.'} for n in range(9)], workers=2).passages)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("once\n9\n", 0), done.stderr


@pytest.mark.slow
def test_a_worker_finds_what_lies_in_the_folder_where_that_is_searched(tmp_path: Path) -> None:
    """As at Python's prompt, in `python -c` and in notebooks."""
    import subprocess

    (tmp_path / "of_mine.py").write_text(
        "from hippomem.testing import HashEncoder\n\n\nclass Mine(HashEncoder):\n    pass\n"
    )
    program = (
        "from of_mine import Mine\n"
        "from hippomem import Memory, Settings\n"
        "from hippomem.testing import capitals\n"
        "with Memory.open(settings=Settings(db='m.db', batch=2, encoder=Mine(), pipeline=capitals())) as memory:\n"
        "    print(memory.ingest([{'text': f'Note {n} of Ada Thorne.'} for n in range(9)], workers=1).passages)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("9\n", 0), done.stderr


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    (tmp_path / "notes").mkdir()
    for at, note in enumerate(notes(12)):
        (tmp_path / "notes" / f"{at}.txt").write_text(note.text)
    db = ["--db", str(tmp_path / "m.db"), "--json"]
    done = CliRunner().invoke(
        app, ["ingest", str(tmp_path / "notes"), "--workers", "2", *db], env={"HIPPOMEM_BATCH": "4"}
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["documents"] == 12
    assert CliRunner().invoke(app, ["ingest", str(tmp_path), "--workers", "0", *db]).exit_code == 2


@pytest.mark.slow
def test_threads_of_one_memory_may_each_have_workers(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as memory:
        threads = [
            threading.Thread(target=memory.ingest, args=(notes(20, first),), kwargs={"workers": 1}) for first in (0, 60)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({p.source for p in memory.passages(limit=1000)}) == 14
        assert [check for check in memory.doctor().checks if not check.ok] == []


@pytest.mark.slow
class TestRay:
    @pytest.fixture(scope="class")
    @classmethod
    def cluster(cls) -> Iterator[str]:
        """The address of one on this machine, which this process is connected to."""
        ray = pytest.importorskip("ray", reason="hippomem[ray] is not installed")
        with pytest.MonkeyPatch.context() as patched:
            # Its processes import what the tests do.
            patched.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
            patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
            context = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
            yield context.address_info["gcs_address"]
            ray.shutdown()

    def test_a_cluster_brings_the_same(self, tmp_path: Path, cluster: str) -> None:
        import ray

        encoder = TellingEncoder(tmp_path / "log", seconds=0.05)
        with opened(tmp_path / "m.db", encoder, ray="auto") as memory, opened(tmp_path / "n.db") as other:
            memory.ingest(notes(40), workers=64)
            other.ingest(notes(40))
            pids = encoder.pids()
            assert len(pids) == 2
            assert os.getpid() not in pids
            assert ray.is_initialized()
            assert exported(memory, tmp_path / "one") == exported(other, tmp_path / "other")
            wait_until(lambda: not any(is_running(pid) for pid in pids))

    def test_a_process_that_is_lost_is_started_anew(self, tmp_path: Path, cluster: str) -> None:
        encoder = TellingEncoder(tmp_path / "log", seconds=0.05)
        killed: list[int] = []

        def kill(read: int, total: int | None, passages: int) -> None:
            if not killed and passages:
                killed.append(next(iter(encoder.pids())))
                os.kill(killed[0], signal.SIGKILL)

        with opened(tmp_path / "m.db", encoder, ray="auto") as memory:
            memory.ingest(child_tasks.records(80), workers=1, progress=kill)
            assert memory.stats()["passages"] == 80
            assert len(encoder.pids()) == 2

    def test_one_that_is_lost_again_and_again_is_told(self, tmp_path: Path, cluster: str) -> None:
        inputs = [*child_tasks.records(20), {"text": "A fatal note."}, *child_tasks.records(8, 100)]
        with opened(tmp_path / "m.db", TellingEncoder(tmp_path / "log"), ray="auto") as memory:
            with pytest.raises(ModelError, match=r"a Ray worker was lost .* goes on there"):
                memory.ingest(inputs, workers=1)
            assert memory.stats()["passages"] >= 12

    def test_a_cluster_that_is_full_is_waited_for_aloud(
        self, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        import ray

        monkeypatch.setattr("hippomem.workers.cluster.PATIENCE", 1.0)
        other = ray.remote(dict).options(num_cpus=2).remote()
        ray.get(other.__ray_ready__.remote())
        with opened(tmp_path / "m.db", ray="auto") as memory:
            ingesting = threading.Thread(target=memory.ingest, args=(child_tasks.records(20),), kwargs={"workers": 1})
            ingesting.start()
            wait_until(lambda: "the processors of the Ray cluster seem to be taken" in caplog.text)
            ray.kill(other)
            ingesting.join(60)
            assert memory.stats()["passages"] == 20

    def test_on_the_command_line_by_an_address(self, tmp_path: Path, cluster: str) -> None:
        import subprocess

        (tmp_path / "notes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in child_tasks.records(20)))
        done = subprocess.run(
            [sys.executable, "-m", "hippomem", "ingest", "notes.jsonl", "--ray", cluster, "--db", "m.db", "--json"],
            cwd=tmp_path,
            env={**os.environ, "HIPPOMEM_BATCH": "8", "HIPPOMEM_ENCODER_BACKEND": "torch"},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["passages"] == 20


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("127.0.0.1:1", ModelError, r"no Ray cluster at '127\.0\.0\.1:1'"),
        ("127.0.0.1:99999", ModelError, "no Ray cluster"),
        ("nobody is called so:6379", ModelError, "no Ray cluster"),
        ("gibberish", ModelError, "no Ray cluster"),
        ("local", InvalidInputError, "starts no Ray"),
    ],
)
def test_a_ray_cluster_that_is_not_there_is_told(
    tmp_path: Path, address: str, error: type[Exception], words: str
) -> None:
    pytest.importorskip("ray", reason="hippomem[ray] is not installed")
    with opened(tmp_path / "m.db", ray=address) as memory, pytest.raises(error, match=words):
        memory.ingest(notes(12))


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        opened(tmp_path / "m.db", ray="auto") as memory,
        pytest.raises(MissingDependencyError, match=r"hippomem\[ray\]"),
    ):
        memory.ingest(notes(12))
