"""What the command line does with a chat model: `hippomem ask`, `hippomem jobs`, and what an ingest would cost."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from hippomem import cli_output as out
from hippomem.cli_input import database, moment_of
from hippomem.cli_options import AsOf, Db, Deep, Json, Llm, Namespace, OnlySession, OnlySource, known_source, opened
from hippomem.types import Answer, Estimate, Job


class State(StrEnum):
    """How far a job is."""

    waiting = "waiting"
    running = "running"
    done = "done"
    dead = "dead"


class Style(StrEnum):
    """The form of an answer."""

    sentence = "sentence"
    phrase = "phrase"


jobs_app = typer.Typer(help="What the chat model is to do; without a command, the latest jobs.")


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(ask)
    app.add_typer(jobs_app, name="jobs", invoke_without_command=True)


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many passages to read.")] = 5,
    session: OnlySession = None,
    source: OnlySource = None,
    as_of: AsOf = None,
    deep: Deep = False,
    decompose: Annotated[
        bool, typer.Option("--decompose", help="Also recall its parts, as the chat model splits it.")
    ] = False,
    iterative: Annotated[bool, typer.Option("--iterative", help="Reason and look up again in between.")] = False,
    max_steps: Annotated[int, typer.Option(min=1, help="Steps of --iterative.")] = 4,
    style: Annotated[Style, typer.Option(help="sentence, or phrase: the answer alone.")] = Style.sentence,
    llm: Llm = None,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Answer a question from what is remembered, as it is written, with the passages that it cites."""
    moment = moment_of(as_of, "--as-of")
    with opened(db, namespace, llm=llm) as memory:
        stream = memory.ask_stream(
            question,
            k,
            as_of=moment,
            session=session,
            source=known_source(memory, source, session),
            deep=deep,
            decompose=decompose,
            iterative=iterative,
            max_steps=max_steps,
            style=style.value,
        )
        if not as_json:
            for piece in stream:
                # Line by line what `visible` leaves of it: a model repeats what strangers wrote.
                typer.echo("\n".join(out.visible_piece(line) for line in piece.split("\n")), nl=False)
            typer.echo()
        answer = stream.answer
    for warning in answer.recall.warnings:
        out.print_note(f"warning: {warning}")
    if as_json:
        out.print_json(answer_json(answer))
        return
    print_sources(answer)


def answer_json(answer: Answer) -> dict[str, object]:
    """The contract of `ask --json`."""
    return {
        "text": answer.text,
        "is_in_memory": answer.is_in_memory,
        "citations": answer.citations,
        "flags": answer.flags,
        "usage": answer.usage,
        "recall": out.recall_json(answer.recall),
    }


def print_sources(answer: Answer) -> None:
    """Below the text: what it cites, what is doubtful, what it took."""
    console = out.screen()
    cited = {citation.number: answer.recall.passages[citation.number - 1] for citation in answer.citations}
    for number, passage in sorted(cited.items()):
        console.print(out.styled((f"[{number}] {out.name_of(passage)}  ", "bold"), (passage.id, "dim")))
        out.print_indented(console, out.beginning(passage))
    for flag in answer.flags:
        console.print(out.styled((f"doubtful: {out.visible(flag)}", "yellow")))
    if answer.usage.calls:
        console.print(out.styled((f"chat model: {answer.usage}", "dim")))


@jobs_app.callback()
def jobs(
    context: typer.Context,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """What the chat model is to do, is doing or has done, the latest first."""
    if (command := context.invoked_subcommand) is not None:
        for name in context.params:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":  # it would do so with another database
                raise typer.BadParameter(f"options stand after {command}, as in `jobs {command} --db FILE`")
        return
    with opened(db, namespace) as memory:
        found = memory.jobs(state.value if state else None, limit)
        stats = memory.stats()
        failing = memory._outages()
    if as_json:
        out.print_json({"counts": stats["jobs"], "outages": stats["outages"], "jobs": found})
    else:
        print_jobs(found, stats["jobs"], failing)


@jobs_app.command()
def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[PASSAGE_ID]...", help="Only the jobs of these; otherwise all.")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Also read again what another model or an earlier prompt has read.")
    ] = False,
    llm: Llm = None,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Let dead jobs wait again, with all their attempts before them, and ask a chat model that failed at once."""
    with opened(db, namespace, llm=llm) as memory:
        count = memory.retry_jobs(ids or None, renew=renew)
    out.print_json({"waiting_again": count}) if as_json else out.print_pairs({"waiting again": count})


def print_jobs(found: Sequence[Job], counts: dict[str, int], failing: Sequence[str]) -> None:
    """How many there are in each state, what holds them up, then a line for each."""
    console = out.screen()
    console.print(out.styled((", ".join(f"{count:,} {state}" for state, count in counts.items()), "bold")))
    for line in failing:
        console.print(out.styled((out.visible(line), "yellow")))
    for job in found:
        tried = f", {job.attempts} attempts" if job.attempts > 1 else ""
        tried += f", failed by its server {job.faults} times" if job.faults > 1 else ""
        console.print(
            f"{job.passage_id}  {job.state}{tried}  {out.visible(job.model)}  {out.snippet(job.title, 60)}",
            markup=False,
        )
        if job.reason:
            out.print_indented(console, out.snippet(job.reason, 300), "dim")


def print_estimate(paths: list[str], db: str | None, namespace: str | None, llm: str | None, as_json: bool) -> None:
    """`ingest --dry-run`. Where there is no database yet, none is made."""
    from hippomem.storage import engine

    is_new = not engine.database(database(db)).exists()
    with opened(":memory:" if is_new else db, namespace, new=True, llm=llm) as memory:
        found = memory.estimate(paths, progress=sys.stderr.isatty())
    out.print_json(found) if as_json else out.print_pairs(estimate_pairs(found))


def estimate_pairs(found: Estimate) -> dict[str, object]:
    """An estimate as people read it."""
    pairs: dict[str, object] = {
        "documents": found.documents,
        "new passages": found.passages,
        "characters": found.characters,
    }
    pairs |= {"unchanged documents": found.skipped} if found.skipped else {}
    pairs |= {"could not be read": len(found.failed)} if found.failed else {}
    pairs["chat model"] = found.model or "none is set (HIPPOMEM_LLM); with one, about:"
    pairs |= {"calls": found.calls, "tokens in": found.input_tokens, "tokens out": found.output_tokens}
    known = f"${found.cost:,.4f}" if found.cost is not None else "not known: set its price (HIPPOMEM_LLM_PRICES)"
    return pairs | ({"cost": known} if found.model else {})
