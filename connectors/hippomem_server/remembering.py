"""Writing and reading single memories: add, list, get, update, history, forget."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from hippomem import Event, Forgotten, NotFoundError, Passage
from hippomem_server.routes import Id, Opened, router
from hippomem_server.shapes import Entry, Limit, NewMemory, NewText, Offset, PassagePage, SourcePage

routes = router("memories")


@routes.post(
    "/memories",
    operation_id="add",
    summary="Remember a text",
    status_code=201,
    response_model=Event,
    responses={200: {"model": Event, "description": "It was remembered already."}},
)
def add(memory: Opened, new: NewMemory, response: Response) -> Event:
    """Remember one text as one passage; it is durable when the answer comes. The same text, with the same title,
    source, session and time, is remembered once: then the status is 200, and `created` false.
    """
    triples = None if new.triples is None else [fact.triple() for fact in new.triples]
    event = memory.add(
        new.text,
        title=new.title,
        source=new.source,
        session=new.session,
        metadata=new.metadata,
        occurred_at=new.occurred_at,
        triples=triples,
    )
    if not event.created:
        response.status_code = 200
    return event


@routes.get("/memories", operation_id="list_memories", summary="List what is remembered")
def list_memories(
    memory: Opened,
    source: Annotated[
        str | None, Query(description="only of this source, of all below it if it ends in /; '': of none")
    ] = None,
    session: Annotated[str | None, Query(description="only of this session; '': of none")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> PassagePage:
    """What is remembered, oldest first, page by page."""
    found = memory.passages(source=source, session=session, limit=limit + 1, offset=offset)
    return PassagePage(items=list(found[:limit]), next_offset=offset + limit if len(found) > limit else None)


@routes.get("/memories/{id}", operation_id="get", summary="One memory")
def get(memory: Opened, id: Id) -> Passage:
    """One memory, by its id."""
    return memory.get(id)


@routes.put("/memories/{id}", operation_id="update", summary="Replace a memory's text")
def update(memory: Opened, id: Id, new: NewText) -> Event:
    """Replace the text of a memory. The earlier one stays in its history; the new id is in the answer, and the old one
    goes on to name it.
    """
    return memory.update(id, new.text)


@routes.get("/memories/{id}/history", operation_id="history", summary="All that happened to a memory")
def history(memory: Opened, id: Id) -> list[Entry]:
    """All that happened to a memory, oldest first. The log's own numbers are left out: it is that of all namespaces,
    and gaps in it would tell of the others.
    """
    return [Entry.model_validate(change, from_attributes=True) for change in memory.history(id)]


@routes.delete("/memories/{id}", operation_id="forget", summary="Forget a memory")
def forget(memory: Opened, id: Id) -> Forgotten:
    """Remove a memory for good, from the database and from all that was derived of it. This cannot be undone."""
    memory.get(id)  # or a source of this name would be meant
    return memory.forget(id)


@routes.get("/sources", operation_id="list_sources", summary="List where memories came from")
def list_sources(
    memory: Opened,
    below: Annotated[str, Query(description="only those below this name, which ends with a slash")] = "",
    limit: Limit = 100,
    offset: Offset = 0,
) -> SourcePage:
    """The names of sources, sorted, page by page."""
    names = memory.sources(below)
    return SourcePage(
        items=list(names[offset : offset + limit]), next_offset=offset + limit if len(names) > offset + limit else None
    )


@routes.delete("/sources", operation_id="forget_source", summary="Forget all that came from a source")
def forget_source(
    memory: Opened,
    source: Annotated[str, Query(min_length=1, description="its name; all below it if it ends in /")],
) -> Forgotten:
    """Remove all memories of a source for good. This cannot be undone."""
    if not memory.passages(source=source, limit=1):  # or an id of this name would be meant
        raise NotFoundError(f"no memory came from the source {source!r}")
    try:
        memory.get(source)
    except NotFoundError:
        return memory.forget(source)
    return memory.forget(memory.passages(source=source))  # by their ids: the name is one, too, and would mean that one
