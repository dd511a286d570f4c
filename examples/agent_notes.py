"""An agent's notebook: remember what is said, with sessions and times, and bring it back when it matters."""

from datetime import UTC, datetime

from hippomem import Memory

with Memory.open("agent.db", namespace="ada") as memory:
    memory.add(
        "Bea Lind called: the sensor order is delayed until the strike at Norrgard Freight is over.",
        session="monday",
        occurred_at=datetime(2026, 3, 2, 9, tzinfo=UTC),
    )
    memory.add(
        "Norrgard Freight and the dockers' union signed at midnight; work resumes on Thursday.",
        session="tuesday",
        occurred_at=datetime(2026, 3, 3, 7, tzinfo=UTC),
        triples=[("Norrgard Freight", "ended its strike on", "5 March 2026")],
    )
    address = memory.add("Bea Lind's office is at 4 Rope Walk.", session="tuesday")

    print("Is the strike at Norrgard Freight over, and whom did it delay?")
    for passage in memory.recall("Is the strike at Norrgard Freight over, and whom did it delay?", k=2).passages:
        print(f"  [{passage.session}] {passage.text}")
        print(f"      {passage.why[0]}")

    moved = memory.update(address.id, "Bea Lind's office is at 12 Customs Quay.")
    print("Where is Bea's office?", memory.recall("Where is the office of Bea Lind?", k=1).passages[0].text)
    print("It said before:", memory.history(moved.id)[-1].text)

    gone = memory.forget(moved.id)
    print(f"Forgotten: {gone.passages} memory, and {gone.entities} names that only it held")
