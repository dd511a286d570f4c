"""A support bot that learns from feedback: an answer that helped makes its source come first when the next customer
asks alike, in other words.

The bot's answers are scripted, so that this runs anywhere: it cites the article that helped, as a chat model would.
"""

from hippomem import Memory
from hippomem_tools import Toolbox

ARTICLES = {
    "Backlight reset": "Hold the power key for twelve seconds; the backlight controller starts anew.",
    "Screen care": "Clean the screen of the Norrgard reader with a soft dry cloth, never with a spray.",
    "Dark mode": "Dark mode turns the screen of the reader black and its letters white.",
    "Buying a screen": "A new screen for the reader costs 40 euros; a dealer puts it in.",
    "Screen brightness": "The slider in the settings makes the screen of the reader darker or brighter.",
    "Charging": "A reader that is empty takes two hours to charge; the lamp beside the plug turns green.",
    "Lost reader": "Report a lost reader in the account; it is locked when it is next in a network.",
    "Battery": "The battery of the reader lasts three weeks; after 500 charges it holds less.",
}
CUSTOMERS = [
    ("My reader's screen stays black since this morning.", "Backlight reset"),
    ("Why is the screen of my reader completely black?", None),
    ("The screen stays black, though my reader is charged.", None),
]


def places(memory: Memory, question: str, title: str) -> tuple[int, int]:
    """At which place of what a question brings an article stands: with what was learned, and without."""
    found = (memory.recall(question, len(ARTICLES), learned=learned).passages for learned in (True, False))
    with_, without = ([passage.title for passage in passages].index(title) + 1 for passages in found)
    return with_, without


with Memory.open("support.db") as memory:
    for title, text in ARTICLES.items():
        memory.add(text, title=title, source="handbook")
    box = Toolbox(memory)
    for question, helped in CUSTOMERS:
        now, before = places(memory, question, "Backlight reset")
        print(f"{question}\n  “Backlight reset” comes at place {now}; without feedback, at {before}")
        if helped:
            articles = {p["title"]: p["id"] for p in box.recall(question, k=len(ARTICLES)).data["passages"]}
            answer = f"Hold the power key for twelve seconds [{articles[helped][:8]}]."
            print(f"  bot: {answer}\n  customer: That helped!")
            box.learn_from(answer)
