"""`hippomem serve`: the memories of a database over HTTP, with a console."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from hippomem import cli_output as out
from hippomem.cli_input import database
from hippomem.cli_options import Db, Json, Llm, Namespace
from hippomem.errors import InvalidInputError

MIB = 1 << 20


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(serve)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: one that is free.")] = 8080,
    tokens: Annotated[str | None, typer.Option(metavar="FILE", help="Who may do what, as TOML.")] = None,
    new_token: Annotated[
        str | None, typer.Option("--new-token", metavar="NAME", help="Only print an entry for that file.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Of --new-token: to read, not to write.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that a proxy calls this server by; repeatable.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="A site whose pages may ask it, https://…; repeatable.")
    ] = None,
    max_upload_mib: Annotated[int, typer.Option(min=1, help="The largest upload.")] = 64,
    max_open: Annotated[int, typer.Option(min=1, help="Namespaces that stay open.")] = 16,
    llm: Llm = None,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Serve the memories of a database over HTTP, with a console for the browser, until interrupted.

    Without --tokens there is one token for this run, printed with the address of the console; beyond this machine there
    must be a file. --new-token NAME prints an entry for it, for the namespace of --namespace ('*': all), and on
    standard error the token, which is kept nowhere.
    """
    from hippomem.memory import Memory
    from hippomem.settings import load_settings
    from hippomem.storage import engine
    from hippomem_server import LOOPBACK, Options
    from hippomem_server import new_token as made
    from hippomem_server import serve as run

    if new_token is not None:
        ours = load_settings(namespace=namespace)
        token, entry = made(new_token, [ours.namespace], may_write=not read_only)
        if as_json:
            out.print_json({"token": token, "entry": entry})
            return
        typer.echo(entry)
        out.print_note(f"the token, which is shown this once: {token}")
        return
    if read_only or namespace is not None:  # who gives it counts on less being served
        option = "--read-only" if read_only else "--namespace"
        raise typer.BadParameter("only --new-token takes it: who may do what, and where, tokens say", param_hint=option)
    if (name := database(db)) == ":memory:":
        raise InvalidInputError("what is served must lie in a file or in Postgres: give --db a path or a URL")

    def told(url: str, token: str | None) -> None:
        if as_json:
            typer.echo(json.dumps({"url": url, "token": token}))
        else:
            typer.echo(f"hippomem serves {engine.database(name).name}: {url}" + (f"#token={token}" if token else ""))

    logging.basicConfig(format="%(message)s")
    run(
        lambda one: Memory.open(name, namespace=one, llm=llm),
        host=host,
        port=port,
        tokens=Path(tokens) if tokens is not None else None,
        options=Options(
            hosts=[*LOOPBACK, *(allow_host or ())],
            origins=allow_origin or (),
            upload_bytes=max_upload_mib * MIB,
            most_open=max_open,
        ),
        told=told,
    )
