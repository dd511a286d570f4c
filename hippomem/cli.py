"""The command line: the library with flags.

Every command takes --db, --namespace and --json. With --json, standard output holds one JSON document and nothing
else. Exit codes: 0 done; 1 it could not be done, with one line on standard error that says why; 2 wrong usage; 130
interrupted. What is heavy is imported inside the commands: `hippomem --help` must not wait for torch.
"""

from __future__ import annotations

import errno
import importlib
import importlib.metadata
import io
import json
import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hippomem import cli_chat as chat
from hippomem import cli_consolidate as consolidation
from hippomem import cli_output as out
from hippomem import cli_serve as serving
from hippomem.cli_input import database, existing_database, moment_of, object_of, text_of, triple_of
from hippomem.cli_options import AsOf, Db, Deep, Json, Llm, Namespace, OnlySession, OnlySource, known_source, opened
from hippomem.errors import HippomemError, InvalidInputError, NotFoundError


class _Group(TyperGroup):
    """Turns what the library raises into a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HippomemError as error:
            out.print_error(str(error))
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            is_ingest = ctx.invoked_subcommand == "ingest"
            rest = ": what was ingested is kept, the same command goes on from there" if is_ingest else ""
            out.print_note("interrupted" + rest)
            raise typer.Exit(130) from None


class Method(StrEnum):
    """How recall ranks."""

    graph = "graph"
    dense = "dense"


class Transport(StrEnum):
    """How an MCP server is reached."""

    stdio = "stdio"
    http = "streamable-http"


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks print local variables: whole documents, and secrets with them
)
graph_app = typer.Typer(no_args_is_help=True, help="The knowledge graph, for other programs.")
app.add_typer(graph_app, name="graph")

Id = Annotated[str, typer.Argument(help="The passage's id: add and recall --json print it.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hippomem {importlib.metadata.version('hippomem')}")
        raise typer.Exit


@app.callback()
def hippomem(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Long-term memory for agents: a knowledge graph with personalized PageRank, in one SQLite file."""


@app.command()
def demo(
    db: Annotated[
        str | None, typer.Option("--db", metavar="FILE", help="The database, or its URL. Otherwise a temporary one.")
    ] = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Ingest the demo notes and ask three questions that take several of them to answer."""
    from hippomem.demo import demo_json, print_demo, run_demo

    shown = run_demo(db, namespace=namespace, progress=sys.stderr.isatty())
    out.print_json(demo_json(shown)) if as_json else print_demo(shown)


@app.command()
def add(
    text: Annotated[str, typer.Argument(help="What to remember; - reads standard input.")],
    title: Annotated[str, typer.Option(help="What the text is about.")] = "",
    source: Annotated[str, typer.Option(help="Where it came from.")] = "",
    session: Annotated[str | None, typer.Option(help="The session it belongs to.")] = None,
    occurred_at: Annotated[str | None, typer.Option(help="When it happened: 2024-05-01T12:00Z.")] = None,
    metadata: Annotated[str | None, typer.Option(help="Anything else, as a JSON object.")] = None,
    triple: Annotated[list[str] | None, typer.Option(help="A fact, 'subject|relation|object'; repeatable.")] = None,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Remember a text. Prints its id."""
    moment = moment_of(occurred_at, "--occurred-at")
    facts = [triple_of(item) for item in triple or ()]
    about = object_of(metadata)
    text = text_of(text)
    with opened(db, namespace, new=True) as memory:
        event = memory.add(
            text,
            title=title,
            source=source,
            session=session,
            metadata=about,
            occurred_at=moment,
            triples=facts or None,
        )
    out.print_json(event) if as_json else out.print_event(event)


@app.command()
def ingest(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files and folders.", show_default=False)],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Store nothing; tell what it would bring and cost.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that read and encode, beside the one that writes.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Have a Ray cluster do so: auto, host:port.")
    ] = None,
    llm: Llm = None,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Remember files: text, Markdown, code, e-mail, HTML, PDF, Word, JSON, CSV, …

    What changed since the last time replaces what was remembered, what did not is skipped. What is gone or has moved
    stays remembered under its old path: hippomem forget it. Files that cannot be read are listed; the exit code is 1
    only where nothing could be read at all.
    """
    from hippomem.ingest.sources import checked_path
    from hippomem.settings import load_settings

    for path in paths:
        # The library says so too, but by then there would be a new database.
        if not os.path.lexists(checked_path(path)):
            if path == "-":
                raise InvalidInputError(
                    "ingest reads files, by whose paths what they hold can be replaced later: write standard input to "
                    "one (hippomem add - remembers it as one text)"
                )
            raise NotFoundError(f"there is no file or folder {path!r}")
    if dry_run:
        chat.print_estimate(paths, db, namespace, llm, as_json)
        return
    settings = load_settings(workers=workers, ray=ray)
    with opened(db, namespace, new=True, llm=llm, settings=settings) as memory:
        report = memory.ingest(paths, progress=sys.stderr.isatty())
    out.print_json(report) if as_json else out.print_report(report)
    if not report.documents and not report.skipped and (report.failed or not report.removed):
        out.print_error("nothing could be read" if report.failed else "there is no file to read")
        raise typer.Exit(1)


@app.command()
def recall(
    query: Annotated[str, typer.Argument(help="The question.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many passages.")] = 5,
    session: OnlySession = None,
    source: OnlySource = None,
    as_of: AsOf = None,
    deep: Deep = False,
    method: Annotated[Method, typer.Option(help="graph, or dense: the sentence encoder alone.")] = Method.graph,
    decompose: Annotated[
        bool, typer.Option("--decompose", help="Also its parts, as the chat model splits it.")
    ] = False,
    iterative: Annotated[bool, typer.Option("--iterative", help="Split, look up, read, look up again.")] = False,
    max_steps: Annotated[int, typer.Option(min=1, help="Retrievals of --iterative.")] = 4,
    learned: Annotated[bool, typer.Option(help="With or without what feedback taught.")] = True,
    recognise: Annotated[
        bool, typer.Option("--recognise", help="Raise what the chat model finds to bear on it.")
    ] = False,
    llm: Llm = None,
    about: Annotated[
        list[str] | None, typer.Option("--about", metavar="ID", help="A passage that a follow-up is about; repeatable.")
    ] = None,
    context: Annotated[int, typer.Option(min=0, help="Neighbours of each passage, on either side.")] = 0,
    explain: Annotated[bool, typer.Option("--explain", help="Also ids, scores by cause, steps, times.")] = False,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Find what answers a question, with the path that leads there."""
    moment = moment_of(as_of, "--as-of")
    with opened(db, namespace, llm=llm) as memory:
        source = known_source(memory, source, session)
        found = memory.recall(
            query,
            k,
            as_of=moment,
            session=session,
            source=source,
            deep=deep,
            method=method.value,
            decompose=decompose,
            iterative=iterative,
            max_steps=max_steps,
            recognise=recognise,
            about=about or (),
            context=context,
            learned=learned,
        )
        for warning in found.warnings:
            out.print_note(f"warning: {warning}")
        # Here, as closing the memory may take its time to save an index.
        out.print_json(out.recall_json(found)) if as_json else out.print_recall(found, explain=explain)


@app.command()
def feedback(
    query: Annotated[str, typer.Argument(help="The question.")],
    useful: Annotated[list[str], typer.Option("--useful", metavar="ID", help="A passage that helped; repeatable.")],
    confidence: Annotated[
        float, typer.Option(min=-1, max=1, help="How sure; below 0: these passages were of no use.")
    ] = 1.0,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Teach the memory which passages were useful for a question. Prints the id of the event; forget unlearns it."""
    with opened(db, namespace) as memory:
        event = memory.feedback(query, useful, confidence=confidence)
    out.print_json(event) if as_json else out.print_pairs({"id": event.id, "learned": len(event.useful)})


@app.command()
def get(id: Id, db: Db = None, namespace: Namespace = None, as_json: Json = False) -> None:
    """Show a passage."""
    with opened(db, namespace) as memory:
        passage = memory.get(id)
    out.print_json(passage) if as_json else out.print_passage(passage)


@app.command()
def update(
    id: Id,
    text: Annotated[str, typer.Argument(help="The new text; - reads standard input.")],
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Replace a passage's text; the earlier one stays in its history. Prints the new id."""
    text = text_of(text)
    with opened(db, namespace) as memory:
        event = memory.update(id, text)
    out.print_json(event) if as_json else out.print_event(event)


@app.command()
def history(id: Id, db: Db = None, namespace: Namespace = None, as_json: Json = False) -> None:
    """Show what happened to a passage."""
    with opened(db, namespace) as memory:
        changes = memory.history(id)
    out.print_json(changes) if as_json else out.print_history(changes)


@app.command()
def forget(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="Ids that add, recall --json or feedback printed, or sources; all below one that ends in /."
        ),
    ],
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Remove passages, sources or events of feedback for good, from the database and from all derived of it: all that
    are named, or none."""
    with opened(db, namespace) as memory:
        forgotten = memory.forget(targets)
    out.print_json(forgotten) if as_json else out.print_forgotten(forgotten)


@app.command()
def stats(db: Db = None, namespace: Namespace = None, as_json: Json = False) -> None:
    """Count what is remembered."""
    with opened(db, namespace) as memory:
        counts = memory.stats()
    out.print_json(counts) if as_json else out.print_pairs(counts)


@app.command()
def doctor(db: Db = None, namespace: Namespace = None, as_json: Json = False) -> None:
    """Check that the database is sound and that every index equals its rebuild; exit code 1 where not."""
    with opened(db, namespace) as memory:
        found = memory.doctor(progress=True)
    out.print_json({"ok": found.ok, "checks": found.checks}) if as_json else out.print_diagnosis(found)
    if not found.ok:
        raise typer.Exit(1)


@graph_app.command("export")
def graph_export(
    file: Annotated[Path, typer.Argument(help="To write: .graphml, or .json for node-link JSON.")],
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Write the knowledge graph to a file."""
    from hippomem.cli_graph import check_ending, write_graph

    check_ending(file)
    with opened(db, namespace) as memory:
        graph = memory.graph()
    write_graph(graph, file)
    counts = {"file": str(file), "nodes": graph.number_of_nodes(), "edges": graph.number_of_edges()}
    out.print_json(counts) if as_json else out.print_pairs(counts)


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="To write: JSON lines.")],
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Write all passages with their facts to a file that import reads."""
    if str(file) == "-":
        raise InvalidInputError("an export takes its place as a whole file: give a name, as in `export memory.jsonl`")
    with opened(db, namespace) as memory:
        passages = memory.export(file, progress=True)
    counts = {"file": str(file), "passages": passages}
    out.print_json(counts) if as_json else out.print_pairs(counts)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What export wrote.")],
    db: Db = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="NAME", help="Whose memory. Otherwise whose it was.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Load what export wrote into a database.

    With another --namespace than it had, passages have other ids there.
    """
    from hippomem.memory import Memory

    with Memory.load(file, database(db), namespace=namespace, progress=True) as memory:
        counts = {"file": str(file), "passages": memory.stats()["passages"]}
    out.print_json(counts) if as_json else out.print_pairs(counts)


@app.command()
def reencode(db: Db = None, namespace: Namespace = None, as_json: Json = False) -> None:
    """Encode the whole database anew with the configured encoder (HIPPOMEM_ENCODER), all namespaces of it.

    Prints how many texts were encoded: passages of one namespace with the same text share their vectors.
    """
    from hippomem.memory import Memory
    from hippomem.settings import load_settings

    settings = load_settings(db=existing_database(db), namespace=namespace)
    texts = Memory.reencode(settings.db, settings=settings, progress=sys.stderr.isatty())
    if not texts and not as_json:
        out.print_note("nothing to encode: every text has vectors of this encoder")
    out.print_json({"texts": texts}) if as_json else out.print_pairs({"texts": texts})


@app.command()
def sources(
    below: Annotated[str, typer.Argument(help="Only those below this name, which ends with a slash.")] = "",
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """List where memories came from."""
    with opened(db, namespace) as memory:
        if below.endswith("/"):
            below = known_source(memory, below, None) or below
        names = memory.sources(below)
    out.print_json(names) if as_json else out.print_lines(names)


@app.command()
def passages(
    source: Annotated[str | None, typer.Argument(help="Only of this source; of all below it if it ends in /.")] = None,
    session: OnlySession = None,
    limit: Annotated[int | None, typer.Option("-n", min=0, help="So many at most.")] = None,
    offset: Annotated[int, typer.Option(min=0, help="From this one on.")] = 0,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """List what is remembered, oldest first."""
    with opened(db, namespace) as memory:
        source = known_source(memory, source, session)
        found = memory.passages(source=source, session=session, limit=limit, offset=offset)
    out.print_json(found) if as_json else out.print_lines(f"{p.id}  {out.beginning(p)}" for p in found)


@app.command()
def mcp(
    transport: Annotated[Transport, typer.Option(help="How clients talk to it.")] = Transport.stdio,
    host: Annotated[str | None, typer.Option(help="For streamable-http. Otherwise 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="For streamable-http. Otherwise 8000.")] = None,
    folder: Annotated[list[str] | None, typer.Option(help="Where files may be ingested from; repeatable.")] = None,
    llm: Annotated[str | None, typer.Option(metavar="PROVIDER:MODEL", help="Otherwise HIPPOMEM_LLM.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Only print what a client needs.")] = False,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Serve the memory to agents by the Model Context Protocol, until interrupted.

    With --print-config, or --json, print the configuration for a client (Claude Desktop, an editor) and end. Over
    HTTP, HIPPOMEM_MCP_TOKEN is the token that clients must bear; beyond this machine there must be one.
    """
    from hippomem.ingest.sources import checked_path
    from hippomem.settings import load_settings
    from hippomem_mcp import client_configuration, create_server, serve_http, serve_stdio
    from hippomem_tools.addresses import url_of

    folders = [Path(checked_path(one)) for one in folder or ()]
    for one in folders:
        if not os.access(one, os.R_OK | os.X_OK) or not one.is_dir():
            raise NotFoundError(f"there is no folder {str(one)!r} that may be read")
    is_http = transport is Transport.http
    if not is_http and (host is not None or port is not None):
        option = "--host" if host is not None else "--port"
        raise typer.BadParameter("only --transport streamable-http takes it", param_hint=option)
    host, port = host or "127.0.0.1", port or 8000
    if print_config or as_json:
        ours = load_settings(db=db, namespace=namespace)
        url = f"{url_of(host, port)}/mcp" if is_http else None
        typer.echo(json.dumps(client_configuration(ours.db, ours.namespace, url=url, folders=folders, llm=llm)))
        return
    with opened(db, namespace, new=True, llm=llm) as memory:
        server = create_server(memory, folders=folders)
        if is_http:
            token = os.environ.get("HIPPOMEM_MCP_TOKEN")
            serve_http(server, host, port, token, told=lambda url: out.print_note(f"hippomem serves by MCP: {url}"))
        else:
            serve_stdio(server)


def main() -> None:
    """The entry point `hippomem`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # whoever started this has closed it: nobody listens, which is no reason to fail
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal in Latin-1 cannot show every document; it is no error
    try:
        app(prog_name="hippomem")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        out.print_error(f"the output cannot be written: {error.strerror or error}; what was done before stays done")
        sys.exit(1)


consolidation.register(app)
chat.register(app)
serving.register(app)
with suppress(ImportError):  # only where the evaluation is installed
    app.add_typer(importlib.import_module("hippomem_eval.cli").app, name="eval")

if __name__ == "__main__":
    main()
