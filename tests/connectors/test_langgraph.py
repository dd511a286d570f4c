"""What the LangGraph store does beyond InMemoryStore: time to live, meaning, many processes; and agents that use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.store.base import GetOp, InvalidNamespaceError, PutOp, SearchOp

from hippomem import InvalidInputError, Memory, Passage, Recall, SimulatedClock, StoreBusyError, StoreFullError
from langgraph_hippomem import HippomemStore

pytestmark = pytest.mark.anyio

ADA = ("memories", "ada")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def store(memory: Memory, clock: SimulatedClock) -> HippomemStore:
    return HippomemStore(memory, clock=clock)


def keys(items: Sequence[Any]) -> list[str]:
    return [item.key for item in items]


def test_items_are_found_by_what_they_mean_and_nothing_else_is(store: HippomemStore) -> None:
    store.put(ADA, "drink", {"text": "Ada Thorne takes her coffee black."})
    store.put(ADA, "pet", {"text": "Ada Thorne has a parrot called Quill."})
    store.put(("memories", "bea"), "pet", {"text": "Bea Lind has bees."})
    found = store.search(ADA, query="How does Ada take her coffee?")
    assert keys(found) == ["drink", "pet"]
    assert found[0].score > found[1].score  # type: ignore[operator]
    assert len(store.search(("memories",), query="Who keeps bees in Bergen?", limit=9)) == 3
    assert store.search(("memo",), query="coffee") == []
    # An item is a memory like any other.
    assert any(p.text.startswith("Ada Thorne takes") for p in store.memory.recall("coffee of Ada Thorne").passages)


def test_a_long_value_is_found_by_its_last_sentence_and_comes_back_whole(store: HippomemStore) -> None:
    story = " ".join(f"On day {day} Ada Thorne counted {day * 7} ships." for day in range(300))
    story += " Then the harbourmaster Zebulon gave her a telescope."
    store.put(ADA, "story", {"text": story, "n": 1}, index=["text"])
    store.put(ADA, "other", {"text": "Nothing of the sort."})
    assert len(store.memory.passages(source="langgraph:/memories/ada/story")) > 5
    (found,) = store.search(ADA, query="Who gave the telescope? Zebulon?", limit=1)
    assert found.value == {"text": story, "n": 1}
    store.put(ADA, "story", {"text": "Short now."})
    assert len(store.memory.passages(source="langgraph:/memories/ada/story")) == 1
    assert store.memory.doctor().ok


def test_namespaces_are_listed_without_reading_all_items(
    store: HippomemStore, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("ada", "bea", "cid"):
        for number in range(10):
            ttl = 1 if user == "bea" or number == 0 else None
            store.put(("users", user), f"{number}", {"text": f"Note {number}."}, ttl=ttl)
    clock.advance(timedelta(minutes=2))
    passages = store.memory.passages
    read: list[dict[str, Any]] = []
    monkeypatch.setattr(store.memory, "passages", lambda **of: read.append(of) or passages(**of))
    assert store.list_namespaces(prefix=("users",)) == [("users", "ada"), ("users", "cid")]
    assert len(read) == 2 + 10 + 2  # those that are over, and of each namespace that is there the first that is not
    assert store.list_namespaces(max_depth=1) == [("users",)]
    assert store.list_namespaces(prefix=("users",), limit=1, offset=1) == [("users", "cid")]
    assert store.list_namespaces(limit=0) == []
    with pytest.raises(InvalidInputError):
        store.list_namespaces(limit=-1)


def test_time_to_live(store: HippomemStore, clock: SimulatedClock) -> None:
    store.put(ADA, "brief", {"text": "Ada is on the train."}, ttl=10)
    store.put(("trains",), "brief", {"text": "Ada is on the train."}, ttl=10)
    store.put(ADA, "lasting", {"text": "Ada lives in Vardø."})
    clock.advance(timedelta(minutes=8))
    assert store.get(ADA, "brief") is not None  # read: its time begins anew
    clock.advance(timedelta(minutes=8))
    assert store.get(("trains",), "brief") is None
    assert store.list_namespaces(prefix=("trains",)) == []
    assert keys(store.search(ADA, query="Where is Ada?", refresh_ttl=False)) == ["brief", "lasting"]
    clock.advance(timedelta(minutes=3))
    assert keys(store.search(ADA, query="Where is Ada?")) == ["lasting"]
    assert store.memory.stats()["passages"] == 7
    assert store.sweep_ttl() == 2
    assert store.sweep_ttl() == 0
    assert store.memory.stats()["passages"] == 5
    store.put(ADA, "brief", {"text": "Ada is on the ferry."})  # again, without an end
    clock.advance(timedelta(days=900))
    assert store.get(ADA, "brief") is not None
    store.put(ADA, "brief", {"text": "Ada is on the ferry."}, ttl=10)  # with a time of its own, which begins now
    clock.advance(timedelta(minutes=8))
    assert store.get(ADA, "brief") is not None
    clock.advance(timedelta(minutes=80))
    store.put(ADA, "brief", {"text": "Ada is on the ferry."}, ttl=10)
    clock.advance(timedelta(minutes=8))
    assert store.get(ADA, "brief") is not None
    for wrong in (float("inf"), float("nan"), "soon", ""):
        with pytest.raises(InvalidInputError, match="minutes"):
            store.put(ADA, "wrong", {"text": "x"}, ttl=wrong)  # type: ignore[arg-type]


def test_an_item_is_read_also_where_its_time_cannot_begin_anew(
    store: HippomemStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(ADA, "brief", {"text": "Ada is on the train."}, ttl=10)

    def full(*_: Any) -> None:
        raise StoreFullError("the disk is full")

    monkeypatch.setattr(store.memory, "annotate", full)
    assert store.get(ADA, "brief") is not None
    assert keys(store.search(ADA, query="Where is Ada?")) == ["brief"]
    assert caplog.text.count("could not begin anew: the disk is full") == 2


@pytest.mark.parametrize("ttl", [None, 1000])
def test_who_reads_does_not_shorten_the_time_that_another_gives_meanwhile(
    store: HippomemStore, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch, ttl: float | None
) -> None:
    store.put(ADA, "brief", {"text": "Ada is on the train."}, ttl=1)
    annotate = store.memory.annotate

    def later(*args: Any) -> Any:
        store.put(ADA, "brief", {"text": "Ada is on the train."}, ttl=ttl)
        return annotate(*args)

    monkeypatch.setattr(store.memory, "annotate", later)
    assert store.get(ADA, "brief") is not None
    clock.advance(timedelta(minutes=900))
    assert store.sweep_ttl() == 0
    assert store.get(ADA, "brief", refresh_ttl=False) is not None


def test_the_configuration_of_time_to_live(memory: Memory, clock: SimulatedClock) -> None:
    store = HippomemStore(memory, ttl={"default_ttl": 5, "refresh_on_read": False}, clock=clock)
    store.put(ADA, "a", {"text": "Ada is on the train."})
    clock.advance(timedelta(minutes=4))
    assert store.get(ADA, "a") is not None
    clock.advance(timedelta(minutes=2))
    assert store.get(ADA, "a") is None


def test_who_reads_waits_for_no_write(store: HippomemStore) -> None:
    store.put(ADA, "coffee", {"text": "Ada takes her coffee black."})
    with ThreadPoolExecutor(1) as pool, store._writing:
        assert pool.submit(store.get, ADA, "coffee").result(20)
        assert keys(pool.submit(store.search, ADA).result(20)) == ["coffee"]


def test_what_is_put_while_a_sweep_looks_stays(
    store: HippomemStore, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("again", "gone"):
        store.put(ADA, key, {"text": f"Kept for a minute: {key}."}, ttl=1)
    clock.advance(timedelta(minutes=2))
    passages = store.memory.passages

    def looked(**where: str) -> list[Passage]:
        found = passages(**where)
        monkeypatch.undo()
        store.put(ADA, "again", {"text": "Kept for a minute: again."}, ttl=1)
        return found

    monkeypatch.setattr(store.memory, "passages", looked)
    assert store.sweep_ttl() == 1
    assert keys(store.search(ADA)) == ["again"]


def test_the_sweeper_outlives_an_error_and_ends_with_the_memory(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turns: list[int] = []
    store = HippomemStore(memory)
    sweep = store.sweep_ttl

    def busy_at_first() -> int:
        turns.append(len(turns))
        if turns == [0]:
            raise StoreBusyError("another process writes")
        return sweep()

    monkeypatch.setattr(store, "sweep_ttl", busy_at_first)
    store.start_ttl_sweeper(0.0001)
    while len(turns) < 3:
        time.sleep(0.001)
    assert "another process writes" in caplog.text
    memory.close()
    thread = store._sweeper
    assert thread is not None
    thread.join(10)  # an error that it left unhandled would be a warning, and so fail the test
    assert not thread.is_alive()
    assert store.stop_ttl_sweeper(10)


def test_what_is_not_found_by_meaning_comes_after_what_is(
    store: HippomemStore, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("drink", "food"):
        store.put(ADA, key, {"text": f"Ada Thorne likes her {key}."})
    recall = memory.recall

    def without_drink(*args: Any, **options: Any) -> Recall:
        found = recall(*args, **options)
        return replace(found, passages=tuple(p for p in found.passages if "drink" not in p.text))

    monkeypatch.setattr(memory, "recall", without_drink)
    assert keys(store.search(ADA, query="What drink does Ada like?")) == ["food", "drink"]
    assert keys(store.search(ADA, query="What drink does Ada like?", offset=1)) == ["drink"]


def test_what_is_put_into_one_namespace_hides_nothing_of_another(
    fast: Callable[..., Memory], clock: SimulatedClock
) -> None:
    memory = fast(clock=clock)
    store = HippomemStore(memory, clock=clock)

    def tell(user: str, name: str, town: str) -> None:
        store.put((user,), name, {"text": f"{name} lives in {town}, says {user}."})
        (told,) = memory.passages(source=f"langgraph:/{user}/{name}")
        memory.add(told.text, source=told.source, triples=[(name, "lives in", town)])
        clock.advance(timedelta(hours=1))

    for name, town in (("Karin", "Bergen"), ("Dag", "Rome"), ("Eva", "Paris"), ("Finn", "Madrid")):
        for user in ("ida", "ove"):  # so a person lives in one place
            tell(user, name, town)
    store.put(("oskar",), "other", {"text": "Oskar keeps bees."})
    tell("oskar", "Anna", "Oslo")
    tell("bea", "Anna", "Tromsø")
    memory.consolidate(clock.now())
    assert memory.stats()["consolidation"]["superseded"] == 1
    assert keys(store.search(("oskar",), query="Where does Anna live?", limit=1)) == ["Anna"]


@pytest.mark.usefixtures("_large")
def test_a_filter_among_many_items_keeps_their_order_by_meaning(store: HippomemStore) -> None:
    for number in range(3):
        store.put(ADA, f"rare{number}", {"text": f"A boat {'of walnuts ' * number}far out.", "kind": "boat"})
    for number in range(40):
        store.put(ADA, str(number), {"text": f"Bees of walnuts, {number}."})
    found = store.search(ADA, query="Bees of walnuts?", filter={"kind": "boat"})
    assert keys(found) == ["rare2", "rare1", "rare0"]
    assert all(item.score is not None for item in found)


def test_of_two_that_delete_one_item_both_succeed(store: HippomemStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("drink", "pet"):
        store.put(ADA, key, {"text": f"Ada has a favourite {key}."})
    forget = store.memory.forget

    def second(names: Any) -> Any:
        monkeypatch.undo()
        forget(store.memory.passages(source="langgraph:/memories/ada/drink"))
        return forget(names)

    monkeypatch.setattr(store.memory, "forget", second)
    store.batch([PutOp(ADA, key, None) for key in ("drink", "pet")])
    assert store.search(ADA) == []


def test_any_message_can_be_the_query(store: HippomemStore) -> None:
    store.put(ADA, "drink", {"text": "Ada Thorne takes her coffee black."})
    store.put(ADA, "pet", {"text": "Ada Thorne has a parrot called Quill."})
    for query in ("word " * 5000 + "What parrot has Ada Thorne?", "What parrot\0 has Ada Thorne?\ud800"):
        assert keys(store.search(ADA, query=query)) == ["pet", "drink"]
    assert keys(store.search(ADA, query="\0")) == keys(store.search(ADA))


def test_the_sweeper_runs_on_a_thread(memory: Memory) -> None:
    store = HippomemStore(memory, ttl={"sweep_interval_minutes": 1})
    store.start_ttl_sweeper(0.0005)
    store.put(ADA, "a", {"text": "Ada is on the train."}, ttl=0)
    for _ in range(1000):
        if not memory.sources("langgraph:/"):
            break
        store._stopping.wait(0.01)
    assert store.stop_ttl_sweeper(10)
    assert memory.sources("langgraph:/") == ()


def test_writing_keeps_when_it_was_made_and_tells_when_it_changed(store: HippomemStore, clock: SimulatedClock) -> None:
    store.put(ADA, "a", {"text": "One.", "n": 1})
    made = store.get(ADA, "a")
    clock.advance(timedelta(minutes=1))
    store.put(ADA, "a", {"text": "One.", "n": 2})
    changed = store.get(ADA, "a")
    assert made is not None
    assert changed is not None
    assert changed.value == {"text": "One.", "n": 2}
    assert changed.created_at == made.created_at == made.updated_at < changed.updated_at


def test_of_one_batch_reads_come_first_and_the_last_write_counts(store: HippomemStore) -> None:
    ops = [
        PutOp(ADA, "a", {"text": "One."}),
        GetOp(ADA, "a"),
        PutOp(ADA, "a", {"text": "Two."}),
        SearchOp(ADA),
        PutOp(ADA, "b", {"text": "Three."}),
        PutOp(ADA, "b", None),
    ]
    assert store.batch(ops) == [None, None, None, [], None, None]
    assert store.batch([GetOp(ADA, "a"), GetOp(ADA, "b")])[0].value == {"text": "Two."}  # type: ignore[union-attr]
    assert store.get(ADA, "b") is None
    assert store.batch([]) == []


def nested(levels: int) -> Any:
    return {"x": nested(levels - 1)} if levels else "deep"


ENDLESS: dict[str, Any] = {}
ENDLESS["x"] = ENDLESS


WRONG = [
    {"x": {1, 2}},
    {"x": float("nan")},
    {"x": "a\0b"},
    {"a\0": 1},
    {"x": "\ud800"},
    {"x": b"raw"},
    "text",
    ["text"],
]
WRONG += [{1: "x"}, {"x": {2: 3}}, {"x": {"at": date.min}}, {"x": 10**5000}, nested(31), nested(500), ENDLESS]


@pytest.mark.parametrize("index", [None, False, ["x"]])
@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_what_cannot_be_stored_is_refused_and_nothing_of_its_batch_is_written(
    store: HippomemStore, value: Any, index: Any
) -> None:
    with pytest.raises(InvalidInputError):
        store.batch([PutOp(ADA, "good", {"text": "Good."}), PutOp(ADA, "bad", value, index)])
    assert store.search(()) == []


def test_a_value_of_thirty_levels_is_stored(store: HippomemStore) -> None:
    store.put(ADA, "k", nested(30))
    assert store.get(ADA, "k").value == nested(30)  # type: ignore[union-attr]


def test_names_that_cannot_be(store: HippomemStore) -> None:
    for namespace in ((), ("a.b",), ("",), ("langgraph", "a")):
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "k", {"text": "x"})
    with pytest.raises(InvalidNamespaceError):
        store.batch([PutOp(("a.b",), "k", {"text": "x"})])
    for key in ("a\0", "\ud800"):
        with pytest.raises(InvalidInputError):
            store.put(ADA, key, {"text": "x"})
    with pytest.raises(InvalidInputError, match="operator"):
        store.search(ADA, filter={"n": {"$near": 3}}) or store.put(ADA, "k", {"n": 1}) or store.search(
            ADA, filter={"n": {"$near": 3}}
        )
    with pytest.raises(InvalidInputError, match="at least 0"):
        store.search(ADA, limit=-1)


def test_a_number_that_no_float_holds_is_greater_and_less_as_others_are(store: HippomemStore) -> None:
    for key, number in {"few": 5, "many": 10**400, "none": None}.items():
        store.put(ADA, key, {"n": number})
    assert keys(store.search(ADA, filter={"n": {"$gt": 5}})) == ["many"]
    assert keys(store.search(ADA, filter={"n": {"$lt": 10**400}})) == ["few"]
    assert keys(store.search(ADA, filter={"n": {"$lte": "1e9"}})) == ["few"]


def test_another_memory_of_the_same_database_sees_it(fast: Callable[..., Memory], tmp_path: Path) -> None:
    one, two = (HippomemStore(fast(tmp_path / "shared.db")) for _ in range(2))
    one.put(ADA, "a", {"text": "Ada lives in Vardø."})
    assert keys(two.search(ADA, query="Where does Ada live?")) == ["a"]
    two.delete(ADA, "a")
    assert one.get(ADA, "a") is None
    assert HippomemStore(fast(tmp_path / "shared.db", namespace="other")).search(()) == []


async def test_with_an_event_loop(store: HippomemStore) -> None:
    await store.aput(ADA, "a", {"text": "Ada lives in Vardø."}, ttl=5)
    assert (await store.aget(ADA, "a")).value == {"text": "Ada lives in Vardø."}  # type: ignore[union-attr]
    assert keys(await store.asearch(ADA, query="Where does Ada live?")) == ["a"]
    assert await store.alist_namespaces() == [ADA]
    await store.adelete(ADA, "a")
    assert await store.aget(ADA, "a") is None


class ScriptedModel(GenericFakeChatModel):
    """Says what it is told to say."""

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> ScriptedModel:
        return self


def call(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": name, "type": "tool_call"}])


def test_langmem_manages_and_searches_its_memories(store: HippomemStore) -> None:
    langmem = pytest.importorskip("langmem", reason="LangMem is not installed")
    namespace = ("memories", "{user}")
    tools = [
        langmem.create_manage_memory_tool(namespace=namespace, store=store),
        langmem.create_search_memory_tool(namespace=namespace, store=store),
    ]
    script = [
        call("manage_memory", content="Oskar is allergic to walnuts.", action="create"),
        AIMessage("Noted."),
        call("search_memory", query="What is Oskar allergic to?"),
        AIMessage("To walnuts."),
    ]
    agent = create_agent(ScriptedModel(messages=iter(script)), tools, store=store)
    said = []
    for text in ("I am allergic to walnuts.", "May I have the salad?"):
        told = {"configurable": {"user": "oskar"}}
        said += agent.invoke({"messages": [{"role": "user", "content": text}]}, told)["messages"]
    assert [item.value["content"] for item in store.search(("memories", "oskar"))] == ["Oskar is allergic to walnuts."]
    assert any(m.type == "tool" and "allergic to walnuts" in str(m.content) for m in said[4:])
