"""mem0's programs run with one changed import."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import hippomem
from hippomem import ClosedError, InvalidInputError, NotFoundError, SimulatedClock
from hippomem.testing import HashEncoder, capitals
from mem0_hippomem import AsyncMemory, Memory

pytestmark = pytest.mark.anyio


@pytest.fixture
def mem0(memory: hippomem.Memory) -> Memory:
    shim = Memory(memory)
    shim.add("I am allergic to walnuts.", user_id="oskar", metadata={"category": "food", "weight": 3})
    shim.add(
        [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "I moved to Bergen."},
            {"role": "assistant", "content": "Noted that you moved to Bergen."},
        ],
        user_id="oskar",
        agent_id="helper",
        run_id="r1",
        timestamp=1_700_000_000,
    )
    shim.add("I keep bees in Bergen.", user_id="bea/1", metadata={"category": "hobby"})
    shim.add("The helper speaks Norwegian.", agent_id="helper")
    return shim


def texts(found: dict[str, Any]) -> set[str]:
    return {record["memory"] for record in found["results"]}


def test_memories_belong_to_somebody(mem0: Memory) -> None:
    assert texts(mem0.search("Who lives in Bergen?", filters={"user_id": "bea/1"})) == {"I keep bees in Bergen."}
    assert len(texts(mem0.get_all(filters={"user_id": "oskar"}))) == 3
    assert len(texts(mem0.get_all(user_id="oskar", agent_id="helper"))) == 2
    assert texts(mem0.get_all(filters={"agent_id": "helper"})) == {
        "I moved to Bergen.",
        "Noted that you moved to Bergen.",
        "The helper speaks Norwegian.",
    }
    assert texts(mem0.search("walnuts", filters={"user_id": "nobody"})) == set()
    assert texts(mem0.search("bees", user_id="bea", limit=5)) == set()  # "bea" is not "bea/1"
    for call in (mem0.search, mem0.get_all):
        with pytest.raises(ValueError, match="user_id"):
            call("bees") if call == mem0.search else call()  # type: ignore[operator]
    with pytest.raises(InvalidInputError, match="user_id"):
        mem0.add("Whose is this?")


def test_records_have_what_mem0_gives(mem0: Memory) -> None:
    (record,) = mem0.search("What must Oskar not eat? Walnuts?", filters={"user_id": "oskar"}, top_k=1)["results"]
    assert record["memory"] == "I am allergic to walnuts."
    assert record["metadata"] == {"category": "food", "weight": 3}
    assert record["user_id"] == "oskar"
    assert {"id", "hash", "created_at", "updated_at", "score"} <= set(record)
    assert mem0.get(record["id"]) == {key: value for key, value in record.items() if key != "score"}
    assert mem0.get("none") is None
    again = mem0.add("I am allergic to walnuts.", user_id="oskar")
    assert again["results"] == [{"id": record["id"], "memory": record["memory"], "event": "NONE"}]
    assert {p.occurred_at.year for p in mem0.memory.passages(session="r1") if p.occurred_at} == {2023}


@pytest.mark.parametrize(
    ("conditions", "number"),
    [
        ({"category": "food"}, 1),
        ({"category": {"ne": "food"}}, 2),
        ({"weight": {"gte": 3}}, 1),
        ({"weight": {"lt": 3}}, 0),
        ({"category": {"in": ["food", "hobby"]}}, 1),
        ({"category": {"icontains": "FOO"}}, 1),
        ({"category": "*"}, 1),
        ({"role": "assistant"}, 1),
        ({"OR": [{"category": "food"}, {"role": "assistant"}]}, 2),
        ({"NOT": [{"category": "food"}]}, 2),
        ({"AND": [{"category": "food"}, {"role": "assistant"}]}, 0),
    ],
)
def test_filters(mem0: Memory, conditions: dict[str, Any], number: int) -> None:
    filters = {"user_id": "oskar", **conditions}
    assert len(mem0.get_all(filters=filters)["results"]) == number
    assert len(mem0.search("Bergen", filters=filters)["results"]) == number


def test_metadata_of_another_type_are_neither_greater_nor_less(mem0: Memory) -> None:
    for text, weight in (("Heavy.", "heavy"), ("Listed.", [3]), ("None.", None), ("Light.", 1.5)):
        mem0.add(text, user_id="oskar", metadata={"weight": weight})
    for condition, expected in (
        ({"gt": 2}, {"I am allergic to walnuts."}),
        ({"lte": 2}, {"Light."}),
        ({"gte": "h"}, {"Heavy."}),
    ):
        filters = {"user_id": "oskar", "weight": condition}
        assert texts(mem0.get_all(filters=filters)) == texts(mem0.search("walnuts", filters=filters)) == expected


def test_update_keeps_the_id_and_tells_the_history(mem0: Memory) -> None:
    id_ = mem0.search("walnuts", user_id="oskar", top_k=1)["results"][0]["id"]
    mem0.update(id_, "I am allergic to walnuts and almonds.")
    mem0.update(id_, metadata={"weight": 9})
    mem0.update(id_, data="I am allergic to all nuts.")
    record = mem0.get(id_)
    assert record is not None
    assert (record["id"], record["memory"]) == (id_, "I am allergic to all nuts.")
    assert record["metadata"] == {"category": "food", "weight": 9}
    assert mem0.search("nuts", user_id="oskar", top_k=1)["results"][0]["id"] == id_
    mem0.delete(id_)
    assert mem0.get(id_) is None
    assert [(e["event"], e["is_deleted"]) for e in mem0.history(id_)] == [
        ("ADD", False),
        ("UPDATE", False),
        ("UPDATE", False),
        ("DELETE", True),
    ]
    assert mem0.history("none") == []
    for error in (NotFoundError, ValueError):  # the latter is mem0's
        with pytest.raises(error, match="none"):
            mem0.delete("none")
        with pytest.raises(error, match="none"):
            mem0.update("none", "I am allergic to nothing.")
    with pytest.raises(ValueError, match="needed"):
        mem0.update(id_)


@pytest.mark.parametrize("wrong", [None, 5, {"id": "a"}])
def test_an_id_that_is_no_text_is_told(mem0: Memory, wrong: Any) -> None:
    for call in (mem0.get, mem0.delete, mem0.history, lambda id_: mem0.update(id_, "Oskar moved.")):
        with pytest.raises(InvalidInputError, match="memory_id"):
            call(wrong)


def test_an_update_that_is_killed_keeps_the_id(mem0: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = mem0.search("walnuts", user_id="oskar", top_k=1)["results"][0]["id"]
    update = mem0.memory.update

    def killed(id: str, text: str) -> None:
        update(id, text)
        raise KeyboardInterrupt

    monkeypatch.setattr(mem0.memory, "update", killed)
    with pytest.raises(KeyboardInterrupt):
        mem0.update(id_, "I am allergic to all nuts.")
    record = mem0.get(id_)
    assert record is not None
    assert (record["id"], record["memory"]) == (id_, "I am allergic to all nuts.")


@pytest.mark.parametrize("bad", ["x" * 20_001, "a\0b", "\ud800"])
def test_of_several_messages_all_are_stored_or_none(mem0: Memory, bad: str) -> None:
    before = mem0.get_all(user_id="oskar")
    for message in ({"role": "user", "content": bad}, {"role": bad, "content": "Fine."}):
        with pytest.raises(InvalidInputError):
            mem0.add([{"role": "user", "content": "I sold my boat."}, message], user_id="oskar")
        assert mem0.get_all(user_id="oskar") == before


def test_an_id_is_of_one_memory_whatever_texts_come_back(mem0: Memory) -> None:
    def add(text: str) -> str:
        (result,) = mem0.add(text, user_id="ida")["results"]
        assert result["event"] == "ADD"
        return str(result["id"])

    def told(id_: str) -> str | None:
        record = mem0.get(id_)
        return record and record["memory"]

    oslo = add("Ida lives in Oslo.")
    mem0.update(oslo, "Ida lives in Bergen.")
    again = add("Ida lives in Oslo.")  # the text that the other one had
    other = add("Ida has a cat.")
    assert len({oslo, again, other}) == 3
    assert [told(id_) for id_ in (oslo, again)] == ["Ida lives in Bergen.", "Ida lives in Oslo."]
    assert {record["id"] for record in mem0.get_all(user_id="ida")["results"]} == {oslo, again, other}
    assert [e["event"] for e in mem0.history(again)] == ["ADD"]
    mem0.update(again, "Ida lives in Vardø.")
    mem0.update(other, "Ida lives in Oslo.")  # now this one has it
    assert [told(id_) for id_ in (oslo, again, other)] == [f"Ida lives in {t}." for t in ("Bergen", "Vardø", "Oslo")]
    mem0.delete(oslo)
    assert [told(id_) for id_ in (oslo, again, other)] == [None, "Ida lives in Vardø.", "Ida lives in Oslo."]
    mem0.delete(again)
    mem0.delete(other)
    assert mem0.get_all(user_id="ida") == {"results": []}


def test_an_update_keeps_the_moment_of_creation(mem0: Memory) -> None:
    id_ = mem0.add("Ida likes tea.", user_id="ida")["results"][0]["id"]
    before = mem0.get(id_)
    for text in ("Ida likes coffee.", "Ida likes cocoa."):
        mem0.update(id_, text)
        after = mem0.get(id_)
        assert before is not None
        assert after is not None
        assert after["created_at"] == before["created_at"] < after["updated_at"]


def test_messages_of_parts_and_calls_of_tools(mem0: Memory) -> None:
    parts = [{"type": "text", "text": "Ida likes this tea."}, {"type": "image_url", "image_url": {"url": "tea.png"}}]
    messages = [{"role": "assistant", "content": None, "tool_calls": []}, {"role": "user", "content": parts}]
    assert [r["memory"] for r in mem0.add(messages, user_id="ida")["results"]] == ["Ida likes this tea."]
    others = [{"type": "input_text", "text": "Ida likes cake."}, "And buns.", {"type": "text", "text": None}, None]
    messages = [{"role": "user", "content": others}, {"role": "user", "content": [{}]}]
    (result,) = mem0.add(messages, user_id="ida")["results"]
    assert result["memory"] == "Ida likes cake.\nAnd buns."


def test_how_many(mem0: Memory) -> None:
    for find in (
        lambda **n: mem0.search("Bergen", user_id="oskar", **n),
        lambda **n: mem0.get_all(user_id="oskar", **n),
    ):
        assert [len(find(**n)["results"]) for n in ({"top_k": 0}, {"limit": 1}, {"limit": None})] == [0, 1, 3]
        for wrong in (-1, 1.5, "5", True):
            with pytest.raises(InvalidInputError, match="top_k"):
                find(limit=wrong)


def test_history_of_texts(mem0: Memory) -> None:
    id_ = mem0.add("Ida likes tea.", user_id="ida")["results"][0]["id"]
    mem0.update(id_, "Ida likes coffee.")
    assert [(e["old_memory"], e["new_memory"]) for e in mem0.history(id_)] == [
        (None, "Ida likes tea."),
        ("Ida likes tea.", "Ida likes coffee."),
    ]


def test_a_history_is_of_one_memory_whatever_texts_come_back(mem0: Memory) -> None:
    def told(id_: str) -> list[tuple[str, str | None]]:
        return [(entry["event"], entry["new_memory"]) for entry in mem0.history(id_)]

    oslo = mem0.add("Ida lives in Oslo.", user_id="ida")["results"][0]["id"]
    mem0.update(oslo, "Ida lives in Bergen.")
    again = mem0.add("Ida lives in Oslo.", user_id="ida")["results"][0]["id"]
    assert told(oslo) == [("ADD", "Ida lives in Oslo."), ("UPDATE", "Ida lives in Bergen.")]
    mem0.delete(oslo)
    assert told(again) == [("ADD", "Ida lives in Oslo.")]
    mem0.update(again, "Ida lives in Bergen.")
    assert [event for event, _ in told(oslo)] == ["ADD", "UPDATE", "DELETE"]
    assert told(again) == [("ADD", "Ida lives in Oslo."), ("UPDATE", "Ida lives in Bergen.")]
    mem0.delete(again)
    assert told(again)[-1] == ("DELETE", None)
    tea = mem0.add("Ida likes tea.", user_id="ida")["results"][0]["id"]
    mem0.delete(tea)
    assert mem0.add("Ida likes tea.", user_id="ida")["results"][0]["id"] == tea  # which no other one ever had
    assert [event for event, _ in told(tea)] == ["ADD", "DELETE", "ADD"]


def test_what_is_deleted_is_somebodys(mem0: Memory) -> None:
    mem0.delete_all(user_id="oskar")
    assert texts(mem0.get_all(user_id="oskar")) == set()
    assert texts(mem0.get_all(user_id="bea/1")) == {"I keep bees in Bergen."}
    with pytest.raises(InvalidInputError):
        mem0.delete_all()
    mem0.reset()
    mem0.reset()
    assert mem0.memory.stats()["passages"] == 4  # what was there before
    other = mem0.memory.passages()[0].id
    assert mem0.get(other) is None
    with pytest.raises(NotFoundError):
        mem0.delete(other)


@pytest.mark.parametrize("messages", [7, None, [7], [{"role": "user"}], [{"role": "user", "content": 7}]])
def test_what_are_no_messages(mem0: Memory, messages: Any) -> None:
    with pytest.raises(InvalidInputError, match="messages are texts"):
        mem0.add(messages, user_id="oskar")
    with pytest.raises(InvalidInputError, match="metadata must be"):
        mem0.add("I keep bees.", user_id="oskar", metadata=[messages])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "filters",
    [
        {"weight": {"near": 3}},
        {"weight": {"gt": ["heavy"]}},
        {"weight": {"in": 3}},
        {"user_id": ""},
        {"AND": {"weight": 3}},
        {"OR": 5},
        {"NOT": ["x"]},
    ],
)
def test_what_are_no_filters(mem0: Memory, filters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        mem0.get_all(filters={"user_id": "oskar"} | filters)


def test_ids_may_be_numbers(mem0: Memory) -> None:
    mem0.add("Ida likes tea.", user_id=42, run_id=7)  # type: ignore[arg-type]
    assert texts(mem0.search("tea", filters={"user_id": 42})) == texts(mem0.get_all(filters={"run_id": "7"}))
    assert [p.text for p in mem0.memory.passages(session="7")] == ["Ida likes tea."]
    mem0.delete_all(user_id=" 42 ")
    assert texts(mem0.get_all(user_id="42")) == set()
    with pytest.raises(InvalidInputError, match="user_id"):
        mem0.get_all(filters={"user_id": ["oskar", "bea/1"]})


def test_what_has_expired_is_shown_to_those_who_ask_for_it(mem0: Memory) -> None:
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    code = mem0.add("The code of the door is 4711.", user_id="ida", expiration_date=yesterday.isoformat())
    mem0.add("Ida is away.", user_id="ida", expiration_date=today + timedelta(days=1))
    mem0.add("Ida likes tea.", user_id="ida")
    for find in (
        lambda **o: texts(mem0.search("What is the code of the door?", filters={"user_id": "ida"}, **o)),
        lambda **o: texts(mem0.get_all(filters={"user_id": "ida"}, **o)),
    ):
        assert find() == {"Ida is away.", "Ida likes tea."}
        assert len(find(show_expired=True)) == 3
    id_ = code["results"][0]["id"]
    record = mem0.get(id_)
    assert record is not None
    assert record["expiration_date"] == yesterday.isoformat()
    for day in (None, yesterday, datetime.now(UTC), "2100-01-01"):
        mem0.update(id_, expiration_date=day)
        assert len(mem0.get_all(user_id="ida")["results"]) == (2 if day == yesterday else 3)
    with pytest.raises(InvalidInputError, match="YYYY-MM-DD"):
        mem0.add("Ida is ill.", user_id="ida", expiration_date="tomorrow")
    mem0.update(id_, "The code of the door is 1147.", expiration_date=yesterday)
    mem0.update(id_, "The code of the door is 4711.")
    assert len(mem0.get_all(user_id="ida")["results"]) == 2
    mem0.add("The code of the door is 4711.", user_id="ida", expiration_date=today)
    assert len(mem0.get_all(user_id="ida")["results"]) == 3
    mem0.update(id_, expiration_date=yesterday)
    mem0.delete_all(user_id="ida")
    assert mem0.get(id_) is None


def test_what_others_say_hides_nothing_of_somebody(fast: Callable[..., hippomem.Memory]) -> None:
    clock = SimulatedClock()
    memory = fast(clock=clock)
    shim = Memory(memory)

    def tell(user: str, run: str, name: str, town: str) -> None:
        text = f"{name} lives in {town}."
        shim.add(text, user_id=user, run_id=run)
        memory.add(text, source=f"mem0:/{user}/-/{run}", session=run, triples=[(name, "lives in", town)])
        clock.advance(timedelta(hours=1))

    for name, town in (("Karin", "Bergen"), ("Dag", "Rome"), ("Eva", "Paris"), ("Finn", "Madrid")):
        for run in ("one", "two"):  # so a person lives in one place
            tell("ida", run, name, town)
    tell("oskar", "one", "Anna", "Oslo")
    tell("bea", "one", "Anna", "Tromsø")
    memory.consolidate(clock.now())
    assert memory.stats()["consolidation"]["superseded"] == 1
    assert texts(shim.search("Where does Anna live?", user_id="oskar")) == {"Anna lives in Oslo."}


def test_who_has_a_name_is_found_by_it(mem0: Memory) -> None:
    mem0.add([{"role": "user", "name": "ida", "content": "I like tea."}], run_id="talk")
    assert texts(mem0.get_all(filters={"run_id": "talk", "actor_id": "ida"})) == {"I like tea."}
    assert texts(mem0.get_all(filters={"run_id": "talk", "actor_id": "bo"})) == set()


@pytest.mark.usefixtures("_large")
def test_a_search_among_many_looks_through_all(mem0: Memory) -> None:
    mem0.add("My boat is red.", user_id="sailor", agent_id="harbour", run_id="r2", metadata={"kind": "boat"})
    mem0.add("Nothing of that kind.", user_id="cook", agent_id="harbour", metadata={"kind": "boat"})
    for number in range(40):
        mem0.add(f"Of walnuts and bees, {number}.", user_id="crowd", run_id="r1")
    found = mem0.search("Who keeps walnuts and bees?", filters={"agent_id": "harbour"})
    assert texts(found) == {"My boat is red.", "Nothing of that kind."}
    assert texts(mem0.search("Walnuts and bees?", filters={"user_id": "*", "kind": "boat"})) == texts(found)
    assert texts(mem0.search("Walnuts and bees?", run_id="r2")) == {"My boat is red."}


def test_any_message_can_be_the_query(mem0: Memory) -> None:
    for query in ("word " * 5000 + "Who keeps bees?", "Who keeps\0 bees?\ud800"):
        assert texts(mem0.search(query, user_id="bea/1")) == {"I keep bees in Bergen."}
    for nothing in ("", 5):
        with pytest.raises(ValueError, match="query"):
            mem0.search(nothing, user_id="oskar")  # type: ignore[arg-type]


async def test_it_is_closed_at_the_end_of_a_with(tmp_path: Path, fast: Callable[..., hippomem.Memory]) -> None:
    with Memory(fast(tmp_path / "one.db")) as one:
        one.add("Ida likes tea.", user_id="ida")
    async with AsyncMemory(fast(tmp_path / "one.db")) as two:
        assert texts(await two.get_all(user_id="ida")) == {"Ida likes tea."}
    for closed in (one, two.sync):
        with pytest.raises(ClosedError):
            closed.get_all(user_id="ida")


async def test_the_same_with_an_event_loop(mem0: Memory) -> None:
    def public(cls: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(cls, callable) if not name.startswith("_")}

    assert public(AsyncMemory) == public(Memory)
    shim = AsyncMemory(mem0.memory)
    added = await shim.add("Ida likes tea.", user_id="ida")
    found = await shim.search("What does Ida like?", filters={"user_id": "ida"})
    assert found["results"][0]["id"] == added["results"][0]["id"]


def test_it_opens_by_configuration(tmp_path: Path, fast: Callable[..., hippomem.Memory]) -> None:
    config = {"vector_store": {"provider": "qdrant"}, "hippomem": {"db": tmp_path / "mem0.db"}}
    shim = Memory.from_config(config)
    assert shim.memory.settings.db == str(tmp_path / "mem0.db")
    shim.close()


async def test_from_config_may_be_awaited(tmp_path: Path) -> None:
    config = {"hippomem": {"db": tmp_path / "mem0.db", "encoder": HashEncoder(), "pipeline": capitals()}}
    one, two = AsyncMemory.from_config(config), await AsyncMemory.from_config(config)  # as new and old mem0 have it
    await two.add("Ida likes tea.", user_id="ida")
    assert texts(await one.get_all(user_id="ida")) == {"Ida likes tea."}
    async with one, two:
        pass


def test_anybody_and_moments_in_filters(mem0: Memory) -> None:
    for user in ("ana", "ben", "*"):
        mem0.add(f"The cat of {user} sleeps.", user_id=user)
    mem0.add("The cat of the agent sleeps.", agent_id="helper")
    assert len(mem0.get_all(filters={"user_id": "*"})["results"]) == 4 + 3
    assert len(mem0.search("cat", filters={"user_id": "*", "role": "user"})["results"]) == 3 + 3
    assert len(mem0.get_all(user_id="*")["results"]) == 1  # as an argument it is a name like others
    mine = {"user_id": "ana", "created_at": {"gte": "2000-01-01"}}
    assert len(mem0.get_all(filters=mine)["results"]) == 1
    assert mem0.get_all(filters={"user_id": "ana", "created_at": {"lt": "2000-01-01"}})["results"] == []
