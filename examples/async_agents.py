"""Two agents on one database at once, each in a namespace of its own, without blocking the event loop."""

import asyncio

from hippomem import AsyncMemory


async def agent(name: str, notes: list[str], question: str) -> None:
    async with await AsyncMemory.open("agents.db", namespace=name) as memory:
        await asyncio.gather(*(memory.add(note) for note in notes))
        recall = await memory.recall(question, k=1)
        print(f"{name}: {recall.passages[0].text}")


async def main() -> None:
    await asyncio.gather(
        agent("cook", ["Oskar is allergic to walnuts.", "The oven at Pier House runs hot."], "What may Oskar not eat?"),
        agent("clerk", ["Oskar pays on the first Friday.", "The key is with Maud."], "When does Oskar pay?"),
    )


asyncio.run(main())
