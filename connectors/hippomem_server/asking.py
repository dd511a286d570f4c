"""Questions and what is learned from how they were answered: recall, ask, feedback."""

from __future__ import annotations

from fastapi import APIRouter

from hippomem import Forgotten, InvalidInputError, LearningEvent, NotFoundError
from hippomem_server.problems import documented
from hippomem_server.routes import Id, Opened, router
from hippomem_server.shapes import Answered, AskQuestion, Recalled, RecallQuestion, Useful

routes = router("questions")


@routes.post("/recall", operation_id="recall", summary="Find what answers a question")
def recall(memory: Opened, asked: RecallQuestion) -> Recalled:
    """The passages that a question leads to, best first, with scores by cause and the paths to them."""
    options = asked.model_dump(exclude={"query", "explain"})
    if memory.settings.llm is None and (asked.decompose or asked.iterative or asked.recognise):
        raise InvalidInputError("decompose, iterative and recognise need a chat model, and this server has none")
    return Recalled.of(memory.recall(asked.query, **options), explain=asked.explain)


@routes.post("/feedback", operation_id="feedback", summary="Teach which passages helped", status_code=201)
def feedback(memory: Opened, told: Useful) -> LearningEvent:
    """Say which passages were useful for a question; later questions like it find them first. It is durable when the
    answer comes.
    """
    return memory.feedback(told.query, told.useful, confidence=told.confidence)


@routes.delete("/feedback/{id}", operation_id="unlearn", summary="Unlearn feedback")
def unlearn(memory: Opened, id: Id) -> Forgotten:
    """Unlearn what feedback taught, by the id that it gave."""
    if memory.history(id)[0].action != "learn":  # or a memory would be forgotten
        raise NotFoundError(f"no feedback has the id {id!r}")
    return memory.forget(id)


def with_ask() -> APIRouter:
    """The route of a server that has a chat model."""
    answering = router("questions")

    @answering.post("/ask", operation_id="ask", summary="Answer a question", responses=documented(404))
    def ask(memory: Opened, asked: AskQuestion) -> Answered:
        """An answer from what is remembered alone, with citations. `is_in_memory` is false where that does not tell."""
        found = memory.ask(asked.question, **asked.model_dump(exclude={"question"}))
        return Answered(
            text=found.text,
            is_in_memory=found.is_in_memory,
            citations=list(found.citations),
            flags=list(found.flags),
            usage=found.usage,
            recall=Recalled.of(found.recall),
        )

    return answering
