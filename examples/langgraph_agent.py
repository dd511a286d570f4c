"""A LangGraph agent that remembers across threads: what one conversation taught it, another one makes use of.

The chat model is scripted, so that this runs anywhere; put yours in its place: init_chat_model("openai:gpt-4o-mini").
"""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config, get_store

from hippomem import Memory
from langgraph_hippomem import HippomemStore


class ScriptedModel(GenericFakeChatModel):
    """Says what it is told to say."""

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> "ScriptedModel":  # noqa: ARG002
        return self


def call(name: str, **arguments: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": name, "type": "tool_call"}])


def user() -> tuple[str, str]:
    return "memories", get_config()["configurable"]["user"]


@tool
def remember(key: str, text: str) -> str:
    """Keep something about the user."""
    get_store().put(user(), key, {"text": text})
    return "Kept."


@tool
def recall(query: str) -> str:
    """Look up what is known about the user."""
    return "\n".join(item.value["text"] for item in get_store().search(user(), query=query, limit=2))


SCRIPT = [
    call("remember", key="allergy", text="Oskar is allergic to walnuts and hazelnuts."),
    AIMessage("I will remember that."),
    call("recall", query="What must Oskar not eat?"),
    AIMessage("No: it has walnuts in it."),
    call("recall", query="What must Bea not eat?"),
    AIMessage("I know of nothing that you must not eat."),
]

with Memory.open("agent.db") as memory:
    agent = create_agent(
        ScriptedModel(messages=iter(SCRIPT)),
        [remember, recall],
        store=HippomemStore(memory),
        checkpointer=InMemorySaver(),
    )
    talks = [
        ("oskar", "monday", "I am allergic to walnuts and hazelnuts."),
        ("oskar", "tuesday", "May I have the Waldorf salad?"),
        ("bea", "wednesday", "May I have the Waldorf salad?"),
    ]
    for name, thread, text in talks:
        told = {"configurable": {"user": name, "thread_id": thread}}
        for message in agent.invoke({"messages": [{"role": "user", "content": text}]}, told)["messages"]:
            print(f"[{thread}] {message.type}: {message.content}") if message.content else None
