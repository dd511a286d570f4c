"""`hippomem eval`: the benchmarks as commands. What is heavy is imported inside of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hippomem import HippomemError, NotFoundError
from hippomem_eval import cli_chat, cli_feedback
from hippomem_eval.cli_options import Corpus, Json, K, Limit, Questions, print_json, tell
from hippomem_eval.cli_retention import contradictions, retention
from hippomem_eval.results import alone_in


class _Group(TyperGroup):
    """Turns what the library raises into a line and an exit code, also where this is not under `hippomem`."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HippomemError as error:
            tell(f"error: {error}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            tell("interrupted: what was measured is kept, the same command goes on from there")
            raise typer.Exit(130) from None


app = typer.Typer(cls=_Group, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def evaluate() -> None:
    """Measure retrieval and its cost on published data sets. The files are yours to bring: see eval/README.md."""


@app.command()
def multihop(
    questions: Questions,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Index and results; run again to go on.")],
    corpus: Corpus = None,
    limit: Limit = None,
    k: K = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    system: Annotated[str, typer.Option("--system", metavar="NAMES", help="Separated by commas.")] = "hippomem",
    decompositions: Annotated[
        str | None,
        typer.Option("--decompositions", metavar="FILE", help="For +decompose, +iterative: recorded; or 'musique'."),
    ] = None,
    recognition: Annotated[
        str | None,
        typer.Option("--recognition", metavar="WHO", help="For +recognise: oracle, or noisy:SHARE of wrong verdicts."),
    ] = None,
    openie: Annotated[
        Path | None, typer.Option("--openie", metavar="FILE", help="An LLM's triples for the passages, as of HippoRAG.")
    ] = None,
    misspell: Annotated[bool, typer.Option("--misspell", help="With slips in the questions' names.")] = False,
    as_json: Json = False,
) -> None:
    """Recall of gold passages on multi-hop questions, and what a recall costs."""
    from hippomem_eval.ablation import expanded
    from hippomem_eval.html_report import write_html_report
    from hippomem_eval.report import as_markdown, contract, summarise, write_report
    from hippomem_eval.runner import Options, run_multihop
    from hippomem_eval.systems import ASKING, RECOGNISING, SYSTEMS

    systems = expanded(map(str.strip, system.split(",")))
    unknown = [name for name in systems if name not in SYSTEMS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(SYSTEMS)}", param_hint="--system")
    for option, given, askers in (
        ("--decompositions", decompositions, ASKING - {RECOGNISING}),
        ("--recognition", recognition, {RECOGNISING}),
    ):
        if given is not None and not askers & set(systems):
            raise typer.BadParameter(f"is for --system {' or '.join(sorted(askers))}", param_hint=option)
    if misspell and decompositions is not None:
        raise typer.BadParameter("recorded are the questions without slips", param_hint="--misspell")
    options = Options(
        questions=questions,
        corpus=corpus,
        out=out,
        systems=systems,
        limit=limit,
        k=k,
        seed=seed,
        decompositions=decompositions,
        recognition=recognition,
        openie=openie,
        misspell=misspell,
    )
    measured = run_multihop(options, tell)
    summary = summarise(measured, options)
    write_report(summary, out)
    write_html_report(out, summary, measured.rows, as_markdown(summary), tell, title=questions.name)
    print_json(contract(summary)) if as_json else typer.echo(as_markdown(summary), nl=False)


@app.command()
def conversation(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="LoCoMo or LongMemEval, as published.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Index and results; run again to go on.")],
    limit: Limit = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many turns to recall.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    system: Annotated[str, typer.Option("--system", metavar="NAMES", help="Separated by commas.")] = "hippomem",
    conversations: Annotated[
        str, typer.Option("--conversations", metavar="LIST", help="Only these: places from 0, or ids; with commas.")
    ] = "",
    adversarial: Annotated[bool, typer.Option("--adversarial", help="Also questions made to have no answer.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Index bare texts: no speakers, sessions, dates.")] = False,
    one_index: Annotated[bool, typer.Option("--one-index", help="All conversations in one index.")] = False,
    as_json: Json = False,
) -> None:
    """Recall of the turns that answer questions on long conversations; no model judges anything."""
    from hippomem_eval.ablation import expanded
    from hippomem_eval.conversation_report import as_markdown, contract, summarise, write_report
    from hippomem_eval.conversation_runner import ConversationOptions, run_conversation
    from hippomem_eval.conversation_systems import CONVERSATION_SYSTEMS
    from hippomem_eval.html_report import write_html_report

    systems = expanded(map(str.strip, system.split(",")))
    unknown = [name for name in systems if name not in CONVERSATION_SYSTEMS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(CONVERSATION_SYSTEMS)}", param_hint="--system")
    options = ConversationOptions(
        data=data,
        out=out,
        systems=systems,
        conversations=[name for name in map(str.strip, conversations.split(",")) if name],
        limit=limit,
        k=k,
        seed=seed,
        adversarial=adversarial,
        plain=plain,
        one_index=one_index,
    )
    measured = run_conversation(options, tell)
    summary = summarise(measured, options)
    write_report(summary, out)
    write_html_report(out, summary, measured.rows, as_markdown(summary), tell, title=data.name)
    print_json(contract(summary)) if as_json else typer.echo(as_markdown(summary), nl=False)


@app.command()
def mixed(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of multihop and conversation runs.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the common index and figures go.")],
    k: K = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """Put what earlier runs indexed into one index, ask their questions there, and see what that costs them."""
    from hippomem_eval.mixed import as_markdown, measure_mixed

    with alone_in(out):
        measured = measure_mixed(runs, out, k=k, seed=seed, tell=tell)
    print_json(measured) if as_json else typer.echo(as_markdown(measured), nl=False)


@app.command()
def documents(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="LoCoMo or LongMemEval, as published.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Index and figures.")],
    passage_chars: Annotated[int, typer.Option("--passage-chars", min=100, help="Longest passage.")] = 500,
    k: K = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """Recall of places in long documents: transcripts of conversations, cut into passages."""
    from hippomem_eval.documents import as_markdown, measure_documents

    with alone_in(out):
        measured = measure_documents(data, out, passage_chars=passage_chars, k=k, seed=seed, tell=tell)
    print_json(measured) if as_json else typer.echo(as_markdown(measured), nl=False)


@app.command()
def latency(
    questions: Questions,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where latency.json goes.")],
    corpus: Corpus = None,
    limit: Limit = None,
    k: K = 5,
    as_json: Json = False,
) -> None:
    """Ingest into a fresh memory in a process of its own: CPU time by part, peak memory, disk, cost of a recall."""
    from hippomem_eval.latency import as_text, measure_latency

    measured = measure_latency(questions, corpus, out, limit=limit, k=k)
    print_json(measured) if as_json else typer.echo(as_text(measured), nl=False)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="DIR_A", help="Results of one run.")],
    second: Annotated[Path, typer.Argument(metavar="DIR_B", help="Results of another, of the same data.")],
    system: Annotated[
        str, typer.Option("--system", metavar="NAME", help="Whose results; A=NAME,B=NAME where they differ.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where tables and pictures go.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """What differs between two runs over the same questions: A minus B, and the questions won and lost."""
    from hippomem_eval import compare as comparison
    from hippomem_eval.html_compare import write_compare_report
    from hippomem_eval.results import make_folder, write_json

    sides = comparison.load_sides(first, second, system)
    result = comparison.compare(*sides, seed=seed)
    text = comparison.as_markdown(result)
    if out:
        make_folder(out)
        write_json(out / "compare.json", result)
        (out / "compare.md").write_text(text, encoding="utf-8")
        write_compare_report(out, result, text, sides, tell)
    print_json(result) if as_json else typer.echo(text, nl=False)


@app.command()
def overview(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of results, or files of an overview.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Table, pictures, and a file of each run to publish.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """Several runs of multihop and conversation in one table and picture, with what each question's gold came to."""
    from hippomem_eval.overview import as_markdown, load_run, write_overview
    from hippomem_eval.overview import overview as figures_of

    loaded = [load_run(path) for path in runs]
    result = figures_of(loaded, seed=seed)
    if out:
        write_overview(out, loaded, result, tell)
    print_json(result) if as_json else typer.echo(as_markdown(result), nl=False)


@app.command()
def scale(
    passages: Annotated[str, typer.Option("--passages", metavar="SIZES", help="Separated by commas.")] = "10000,100000",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Memories and figures, kept to be used again.")
    ] = None,
    questions: Annotated[int, typer.Option("--questions", min=1, help="How many to ask of each size.")] = 200,
    k: K = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the made-up corpus.")] = 0,
    reuse_index: Annotated[bool, typer.Option("--reuse-index", help="Ask also what other code has built.")] = False,
    hipporag2: Annotated[
        bool, typer.Option("--hipporag2", help="Ask HippoRAG 2 too; give at most some 20,000 passages then.")
    ] = False,
    as_json: Json = False,
) -> None:
    """How recall, ingest, memory and disk grow with the corpus: a made-up encyclopaedia of each size."""
    import tempfile
    from contextlib import nullcontext

    from hippomem_eval.scale import ScaleOptions, as_markdown, measure_scale

    try:
        sizes = [int(size) for size in passages.replace("_", "").split(",")]
    except ValueError:
        raise typer.BadParameter(f"{passages!r} is not a list such as 10000,100000", param_hint="--passages") from None
    # Not the system's folder for temporary files: that may be in memory, where writing costs nothing.
    with nullcontext(out) if out else tempfile.TemporaryDirectory(prefix="scale-", dir=Path.cwd()) as folder:
        options = ScaleOptions(
            sizes=sizes,
            out=Path(folder or "."),
            questions=questions,
            k=k,
            seed=seed,
            reuse_index=reuse_index,
            hipporag2=hipporag2,
        )
        measured = measure_scale(options, tell)
    print_json(measured) if as_json else typer.echo(as_markdown(measured), nl=False)


@app.command()
def pagerank(
    db: Annotated[Path, typer.Option("--db", metavar="FILE", help="A memory, such as index.db of another run.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where pagerank.json goes.")],
    copies: Annotated[str, typer.Option("--copies", metavar="NUMBERS", help="Separated by commas.")] = "1,10,50",
    queries: Annotated[int, typer.Option("--queries", min=1, help="How many walks.")] = 20,
    passages: Annotated[int, typer.Option("--passages", min=1, help="Seeds on passages.")] = 500,
    as_json: Json = False,
) -> None:
    """Cost of a personalized PageRank on a memory's graph and on linked copies of it, next to other programs'."""
    from hippomem_eval.pagerank_bench import Options, as_text, measure_pagerank

    try:
        sizes = [int(number) for number in copies.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{copies!r} are no whole numbers", param_hint="--copies") from None
    if min(sizes) < 1:
        raise typer.BadParameter("a number of copies is at least 1", param_hint="--copies")
    if not db.is_file():
        raise NotFoundError(f"there is no file {db}")
    measured = measure_pagerank(Options(db, out, sizes, queries, passages))
    print_json(measured) if as_json else typer.echo(as_text(measured), nl=False)


@app.command()
def encoder(
    questions: Questions,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where encoder.json goes.")],
    corpus: Corpus = None,
    system: Annotated[str, typer.Option("--system", metavar="NAMES", help="Separated by commas; default: all.")] = "",
    passages: Annotated[int, typer.Option("--passages", min=1, help="How many to encode in one call.")] = 128,
    queries: Annotated[int, typer.Option("--queries", min=1, help="How many to encode one by one.")] = 50,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often.")] = 7,
    loads: Annotated[int, typer.Option("--loads", min=0, help="Processes to start for each system.")] = 3,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of the numeric libraries.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the choice of passages.")] = 0,
    as_json: Json = False,
) -> None:
    """What encoding costs with sentence-transformers and with onnxruntime, and how equal their vectors are."""
    from hippomem_eval.encoder_bench import EncoderOptions, as_markdown, measure_encoders
    from hippomem_eval.encoder_ways import GPU_WAYS, WAYS

    names = [name.strip() for name in system.split(",")] if system else list(WAYS)
    unknown = [name for name in names if name not in (*WAYS, *GPU_WAYS)]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join((*WAYS, *GPU_WAYS))}", param_hint="--system")
    options = EncoderOptions(
        questions=questions, corpus=corpus, out=out, ways=names, passages=passages, queries=queries, rounds=rounds,
        loads=loads, threads=threads, seed=seed,
    )  # fmt: skip
    measured = measure_encoders(options)
    print_json(measured) if as_json else typer.echo(as_markdown(measured), nl=False)


@app.command()
def ingest(
    corpus: Annotated[Path, typer.Option("--corpus", metavar="FILE", help="Passages, as for multihop.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where ingest.json goes.")],
    workers: Annotated[
        str, typer.Option("--workers", metavar="N,N", help="Beside none, which is measured, too.")
    ] = "2",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many passages.")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often.")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """How fast a corpus is ingested by this process alone, and with workers."""
    from hippomem_eval.ingest_bench import IngestOptions, as_markdown, measure_ingest

    try:
        numbers = [int(number) for number in workers.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{workers!r} is not whole numbers with commas between", param_hint="--workers"
        ) from None
    if min(numbers) < 0:
        raise typer.BadParameter("a number of workers is at least 0, which is none", param_hint="--workers")
    options = IngestOptions(corpus=corpus, out=out, workers=numbers, limit=limit, rounds=rounds, seed=seed)
    measured = measure_ingest(options)
    print_json(measured) if as_json else typer.echo(as_markdown(measured), nl=False)


@app.command()
def connectors(
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where connectors.json goes.")] = None,
    passages: Annotated[int, typer.Option("--passages", min=10, help="Of the made-up memory.")] = 2000,
    questions: Annotated[int, typer.Option("--questions", min=1, help="How many to ask.")] = 200,
    k: K = 5,
    as_json: Json = False,
) -> None:
    """What each connector adds to a recall: CPU time of a call through it, less that of the recall inside of it."""
    from hippomem_eval.connector_bench import as_text, measure_connectors

    measured = measure_connectors(out, passages=passages, questions=questions, k=k)
    print_json(measured) if as_json else typer.echo(as_text(measured), nl=False)


cli_chat.register(app)
app.command()(retention)
app.command()(contradictions)


app.command()(cli_feedback.feedback)
app.command()(cli_feedback.replay)
app.command()(cli_feedback.composed)
app.command("recall-capacity")(cli_feedback.recall_capacity)
