"""An agent that gets better at finding things: it is told what helped, and finds it first when it is asked alike."""

from hippomem import Memory

NOTES = {
    "vpn": "Tunnel trouble: delete the profile, restart the client, then import the new certificate.",
    "printer": "The grey machine on floor 2 wakes up when tray 3 is opened and closed.",
    "travel": "Tickets above 300 euros are booked by Ms. Okafor, everything else in the portal.",
    "sick": "Call the front desk before nine; the form can wait until you are back.",
    "badge": "Lost cards are blocked at the gate house, a new one costs twelve euros.",
    "lunch": "The canteen closes at two, the bakery across the road at six.",
    "laptop": "A slow laptop usually has a full disk: empty the folder Downloads first.",
    "password": "Passwords are reset at the kiosk beside the lift, with your card.",
    "parking": "Visitors park behind the mill; ask for a ticket at the gate house.",
    "meeting": "Room Amsel seats eight, room Dohle twenty; both are booked in the calendar.",
}
# What people ask in the morning, and in other words again in the afternoon: the topic of the note that helps.
MORNING = [
    ("I cannot connect from home, what now?", "vpn"),
    ("nothing comes out when I print", "printer"),
    ("who buys my train ride to Lyon?", "travel"),
    ("I have a fever today", "sick"),
    ("the door does not open for me any more", "badge"),
    ("where do twelve of us sit down together?", "meeting"),
]
AFTERNOON = [
    ("I cannot connect from my hotel, what now?", "vpn"),
    ("nothing comes out when my colleague wants to print", "printer"),
    ("who buys my ride to Turin?", "travel"),
    ("my son has a fever today", "sick"),
    ("the door does not open for my guest any more", "badge"),
    ("where do fifteen of us sit down together?", "meeting"),
]

with Memory.open("helpdesk.db") as memory:
    ids = {topic: memory.add(text).id for topic, text in NOTES.items()}
    topic_of = {note: topic for topic, note in ids.items()}

    def ask(questions: list[tuple[str, str]], *, learn: bool) -> int:
        """How many of the questions have the note that helps in first place."""
        right = 0
        for question, topic in questions:
            recall = memory.recall(question, k=3)
            right += topic_of[recall.passages[0].id] == topic
            if learn:  # the user says which note helped
                memory.feedback(recall, useful=[ids[topic]])
        return right

    print(f"Morning: {ask(MORNING, learn=True)} of {len(MORNING)} found at once")
    before = sum(
        topic_of[memory.recall(question, k=1, learned=False).passages[0].id] == topic for question, topic in AFTERNOON
    )
    print(f"Afternoon, without what was learned: {before} of {len(AFTERNOON)}")
    print(f"Afternoon, having learned: {ask(AFTERNOON, learn=False)} of {len(AFTERNOON)}")

    found = memory.recall(AFTERNOON[0][0], k=1).explain()[0]
    print(found.passage.text)
    print("Why:", "; ".join(found.passage.why))

    gone = memory.forget(ids["vpn"])
    print(f"Forgotten: {gone.passages} note, and {gone.learned} thing learned about it")
