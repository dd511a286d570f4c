"""AsyncMemory: equal to Memory, and the event loop goes on while it works."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hippomem import AsyncMemory, ClosedError, Memory, NotFoundError
from hippomem.neocortex.torch_encoder import SentenceTransformerEncoder
from hippomem.testing import HashEncoder, ScriptedChatModel, capitals


@pytest.fixture(scope="module")
def encoder() -> SentenceTransformerEncoder:
    encoder = SentenceTransformerEncoder()
    encoder.encode_query("warm up")
    return encoder


@pytest.fixture
def opened(tmp_path: Path, encoder: SentenceTransformerEncoder) -> dict[str, Any]:
    return {"db": tmp_path / "async.db", "encoder": encoder}


def public_methods(cls: type) -> dict[str, inspect.Signature]:
    found = inspect.getmembers(cls, callable)
    return {name: inspect.signature(method) for name, method in found if not name.startswith("_")}


def test_every_public_method_is_there_with_the_same_parameters() -> None:
    sync, aio = public_methods(Memory), public_methods(AsyncMemory)
    assert aio.keys() == sync.keys()
    for name, signature in sync.items():
        assert aio[name].parameters == signature.parameters, name
        expected = signature.return_annotation
        # What opens a memory gives back the class it was asked of.
        assert aio[name].return_annotation == (expected if expected != "Memory" else "Self"), name
        assert inspect.iscoroutinefunction(getattr(AsyncMemory, name)), name


def test_public_attributes_are_the_same(opened: dict[str, Any]) -> None:
    def attributes(memory: object) -> set[str]:
        return {name for name in dir(memory) if not name.startswith("_")}

    async def use() -> None:
        async with await AsyncMemory.open(**opened) as memory:
            with Memory.open(**opened) as same:
                assert attributes(memory) == attributes(same)
                assert memory.settings == same.settings

    asyncio.run(use())


def test_adds_and_recalls_at_the_same_time(opened: dict[str, Any]) -> None:
    async def use() -> None:
        async with await AsyncMemory.open(**opened) as memory:
            people = ["Ada", "Bruno", "Chiara", "Dana", "Emil", "Fatima", "Goran", "Hanna"]
            events, _ = await asyncio.gather(
                asyncio.gather(
                    *(
                        memory.add(f"{name} keeps {i + 2} bees in Brackwater.", title=name)
                        for i, name in enumerate(people)
                    )
                ),
                asyncio.gather(*(memory.recall("Who keeps bees?") for _ in range(4))),
            )
            assert len({event.id for event in events}) == len(people)
            found = await asyncio.gather(*(memory.recall(f"How many bees does {name} keep?", 1) for name in people))
            assert [recall.passages[0].title for recall in found] == people

    asyncio.run(use())


def test_every_method_does_what_that_of_memory_does(opened: dict[str, Any], tmp_path: Path) -> None:
    async def use() -> None:
        db, encoder = opened["db"], opened["encoder"]
        async with await AsyncMemory.open(**opened) as memory:
            event = await memory.add("Ada Thorne built the Lantern Foundry.", triples=[("Ada Thorne", "built", "it")])
            assert (await memory.get(event.id)).text == event.text
            event = await memory.update(event.id, "Ada Thorne sold the Lantern Foundry.")
            assert len(await memory.history(event.id)) >= 2
            report = await memory.ingest([{"text": "A pear orchard.", "title": "Orchard"}])
            assert report.documents == 1
            assert (await memory.stats())["passages"] == 2
            assert (await memory.graph()).number_of_nodes() > 2
            assert (await memory.doctor()).ok
            assert await memory.export(tmp_path / "dump.jsonl") == 2
            assert (await memory.forget(event.id)).passages == 1
            with pytest.raises(NotFoundError):
                await memory.forget("nothing of that name")
        assert isinstance(await AsyncMemory.reencode(db, encoder=encoder), int)
        copy = await AsyncMemory.load(tmp_path / "dump.jsonl", tmp_path / "copy.db")
        assert (await copy.stats())["passages"] == 2
        await copy.close()

    asyncio.run(use())


def slow_records(started: threading.Event, number: int = 10) -> Iterator[dict[str, str]]:
    for i in range(number):
        started.set()
        time.sleep(0.1)
        yield {"text": f"Note {i}: the ferry to Varrow Island sails at {i} o'clock.", "title": f"Note {i}"}


def test_the_loop_goes_on_during_a_slow_ingest(opened: dict[str, Any]) -> None:
    async def use() -> None:
        async with await AsyncMemory.open(**opened) as memory:
            ingest = asyncio.create_task(memory.ingest(slow_records(threading.Event())))
            ticks = 0
            while not ingest.done():
                await asyncio.sleep(0.01)
                ticks += 1
            assert (await ingest).documents == 10
            assert ticks > 30  # about a hundred on an idle machine

    asyncio.run(use())


def test_a_cancelled_call_leaves_the_memory_usable(opened: dict[str, Any]) -> None:
    async def use() -> None:
        async with await AsyncMemory.open(**opened) as memory:
            started = threading.Event()
            running = asyncio.create_task(memory.ingest(slow_records(started, 3)))
            await asyncio.to_thread(started.wait, 10)
            waiting = asyncio.create_task(memory.add("This is cancelled before its turn."))
            await asyncio.sleep(0)
            for task in (running, waiting):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            event = await memory.add("The memory goes on.")
            texts = {passage.text for passage in (await memory.recall("What goes on?", 10)).passages}
            assert event.text in texts
            assert "This is cancelled before its turn." not in texts
            assert sum("ferry" in text for text in texts) == 3  # one that runs is carried through

    asyncio.run(use())


def test_what_no_future_takes_is_told_and_not_waited_for_forever() -> None:
    def stop(*_: object) -> None:
        raise StopIteration

    async def use() -> None:
        async with await AsyncMemory.open(":memory:", encoder=HashEncoder(), pipeline=capitals()) as memory:
            calls = memory.ingest([{"text": "Ada keeps bees."}], progress=stop), memory.consolidate(progress=stop)
            told = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
            assert [type(one) for one in told] == [RuntimeError] * 2
            assert (await memory.stats())["passages"] == 1

    asyncio.run(use())


def test_a_closed_memory_says_so_and_closes_twice(opened: dict[str, Any]) -> None:
    async def use() -> None:
        memory = await AsyncMemory.open(**opened)
        added = asyncio.create_task(memory.add("Said before closing."))
        await asyncio.sleep(0)
        await asyncio.gather(memory.close(), memory.close())
        assert (await added).created
        with pytest.raises(ClosedError):
            await memory.recall("Anything?")

    asyncio.run(use())


def test_what_is_cancelled_before_its_turn_asks_no_chat_model() -> None:
    async def use() -> None:
        chat = ScriptedChatModel(answers=lambda _: "Vardo [1].")
        memory = await AsyncMemory.open(":memory:", encoder=HashEncoder(), pipeline=capitals(), llm=chat)
        await memory.add("Northlight Labs keeps its archive in Vardo.")
        go_on = threading.Event()

        def sources() -> Iterator[dict[str, str]]:
            go_on.wait(10)
            yield {"text": "Something else."}

        first = asyncio.create_task(memory.ingest(sources()))
        asking = [asyncio.create_task(memory.ask("Where is the archive?")) for _ in range(3)]
        await asyncio.sleep(0.01)
        asking[0].cancel()
        asking[1].cancel()
        go_on.set()
        found = await asyncio.gather(first, *asking, return_exceptions=True)
        assert [type(one).__name__ for one in found] == ["IngestReport", "CancelledError", "CancelledError", "Answer"]
        await memory.close()
        assert len(chat.calls) == 1

    asyncio.run(use())


def test_what_is_opened_in_vain_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, closed = threading.Event(), threading.Event()

    class Slow:
        @classmethod
        def open(cls, *_args: object, **_options: object) -> Slow:
            go_on.wait(10)
            return cls()

        def close(self) -> None:
            closed.set()

    monkeypatch.setattr("hippomem.aio.Memory", Slow)

    async def use() -> None:
        opening = asyncio.create_task(AsyncMemory.open("unused.db"))
        await asyncio.sleep(0.05)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        go_on.set()
        assert await asyncio.to_thread(closed.wait, 10)

    asyncio.run(use())
