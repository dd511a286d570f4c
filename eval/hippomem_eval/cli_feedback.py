"""`hippomem eval feedback`, `replay`, `composed` and `recall-capacity`: what learning is worth and costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hippomem_eval.cli_options import Corpus, Json, Limit, Questions, print_json, tell
from hippomem_eval.results import alone_in


def feedback(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="LoCoMo or LongMemEval, as published.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Index and results; the index is used again.")],
    conversations: Annotated[
        str, typer.Option("--conversations", metavar="LIST", help="Only these: places from 0, or ids; with commas.")
    ] = "",
    noise: Annotated[
        str, typer.Option("--noise", metavar="SHARES", help="Of wrong feedback, with commas.")
    ] = "0.2,0.4",
    adversarial: Annotated[float, typer.Option("--adversarial", min=0, max=1, help="Share of an attacker's.")] = 0.1,
    limit: Limit = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the noise, and for the intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """What a memory gains from being told which turns were useful: each question is asked first, then learned."""
    from hippomem_eval.feedback_report import as_markdown, gains_in_time
    from hippomem_eval.feedback_runner import FeedbackOptions, run_feedback
    from hippomem_eval.plots import gain_over_time

    options = FeedbackOptions(
        data=data,
        out=out,
        conversations=_names(conversations),
        noise=_shares(noise),
        adversarial=adversarial,
        limit=limit,
        seed=seed,
    )
    with alone_in(out):
        measured = run_feedback(options, tell)
        rows = measured.pop("rows")
        text = as_markdown(measured)
        (out / "feedback.md").write_text(text, encoding="utf-8")
        (out / "feedback.png").write_bytes(gain_over_time(gains_in_time(rows)))
    print_json(measured) if as_json else typer.echo(text, nl=False)


def replay(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="LoCoMo or LongMemEval, as published.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Index and results; the index is used again.")],
    arms: Annotated[
        str,
        typer.Option(
            "--replay",
            metavar="ARMS",
            help="none, uniform, prioritised, expanding; behind a colon another map (mlp, chain) or a rule (ewc, …).",
        ),
    ] = "prioritised,uniform,expanding,none",
    noise: Annotated[str, typer.Option("--noise", metavar="SHARES", help="Of wrong feedback, with commas.")] = "0",
    replays: Annotated[int, typer.Option("--replays", min=1, help="After each question.")] = 4,
    buffer: Annotated[int, typer.Option("--buffer", min=0, help="Events the fast store holds; 0: as by default.")] = 0,
    conversations: Annotated[
        str, typer.Option("--conversations", metavar="LIST", help="Only these: places from 0, or ids; with commas.")
    ] = "",
    limit: Limit = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of noise and draws, and for the intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """What replay adds to learning from feedback: which events, which map, which plasticity rule, at equal budget."""
    from hippomem_eval.feedback_replay import ReplayOptions, as_markdown, run_replay

    options = ReplayOptions(
        data=data,
        out=out,
        arms=_names(arms),
        conversations=_names(conversations),
        noise=_shares(noise),
        replays=replays,
        buffer=buffer,
        limit=limit,
        seed=seed,
    )
    with alone_in(out):
        measured = run_replay(options, tell)
        text = as_markdown(measured)
        (out / "replay.md").write_text(text, encoding="utf-8")
    print_json(measured) if as_json else typer.echo(text, nl=False)


def composed(
    questions: Questions,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Index and results; the index is used again.")],
    corpus: Corpus = None,
    pooled: Annotated[
        list[Path] | None, typer.Option("--with", metavar="DIR", help="Count in the questions of an earlier run.")
    ] = None,
    limit: Limit = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """What feedback on sub-questions is worth to the questions made of them (MuSiQue)."""
    from hippomem_eval.feedback_composed import as_markdown, run_composed

    with alone_in(out):
        summary = run_composed(questions, corpus, out, limit=limit, seed=seed, tell=tell, pooled=pooled or ())
    print_json(summary) if as_json else typer.echo(as_markdown(summary), nl=False)


def recall_capacity(
    dimensions: Annotated[str, typer.Option("--dimensions", metavar="NUMBERS", help="With commas.")] = "64,128,384",
    most: Annotated[int, typer.Option("--most", min=8, help="Associations to try at most.")] = 4096,
    events: Annotated[int, typer.Option("--events", min=1, help="Random events of the stability test.")] = 50_000,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where recall_capacity.json goes.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the made-up associations.")] = 0,
    as_json: Json = False,
) -> None:
    """How many associations the neural memory holds, what it costs, and whether it stays stable."""
    from hippomem_eval.recall_capacity import CapacityOptions, as_markdown, measure_capacity
    from hippomem_eval.results import make_folder, write_json

    try:
        sizes = tuple(int(number) for number in dimensions.split(","))
    except ValueError:
        raise typer.BadParameter(f"{dimensions!r} are no whole numbers", param_hint="--dimensions") from None
    if min(sizes) < 4:
        raise typer.BadParameter("a dimension is at least 4", param_hint="--dimensions")
    if out:
        make_folder(out)
    measured = measure_capacity(CapacityOptions(dimensions=sizes, most=most, events=events, seed=seed), tell)
    if out:
        write_json(out / "recall_capacity.json", measured)
    print_json(measured) if as_json else typer.echo(as_markdown(measured), nl=False)


def _names(listed: str) -> list[str]:
    return [name for name in map(str.strip, listed.split(",")) if name]


def _shares(noise: str) -> list[float]:
    try:
        shares = [float(share) for share in _names(noise)]
    except ValueError:
        raise typer.BadParameter(f"{noise!r} is not a list such as 0.2,0.4", param_hint="--noise") from None
    if any(not 0 <= share <= 1 for share in shares):
        raise typer.BadParameter("shares are from 0 to 1", param_hint="--noise")
    return shares
