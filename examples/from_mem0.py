"""A program written for mem0. What changed is one import, and that it needs no key, no server and no model."""

from mem0_hippomem import Memory  # was: from mem0 import Memory

memory = Memory(db="mem0.db")

messages = [
    {"role": "user", "content": "I'm planning to watch a movie tonight. Any recommendations?"},
    {"role": "assistant", "content": "How about a thriller?"},
    {"role": "user", "content": "I'm not a big fan of thrillers, but I love science fiction."},
]
memory.add(messages, user_id="alice", metadata={"category": "movies"})
memory.add("Alice is a vegetarian and allergic to nuts.", user_id="alice", metadata={"category": "food"})
memory.add("Bob loves thrillers.", user_id="bob")

found = memory.search("What kind of movies does she love?", filters={"user_id": "alice"}, top_k=2)
print("movies:", *(record["memory"] for record in found["results"]))
found = memory.search("What must she not eat?", filters={"user_id": "alice", "category": "food"})
print("food:", *(record["memory"] for record in found["results"]))

food = found["results"][0]["id"]
memory.update(food, "Alice is a vegan and allergic to nuts.")
print("history:", *(f"{change['event']}: {change['new_memory']}" for change in memory.history(food)))
memory.delete_all(user_id="alice")
print("left:", len(memory.get_all(user_id="alice")["results"]), "of Alice,", end=" ")
print(len(memory.get_all(user_id="bob")["results"]), "of Bob")
memory.close()
