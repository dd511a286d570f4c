"""How well memories are found by their own cues, by their age: what the review log says, as a picture."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from hippomem.errors import InvalidInputError, MissingDependencyError, StoreAccessError

BINS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 1 << 20)  # days of age
HARD = 2  # the least grade with which a memory counts as found

Graded = Sequence[tuple[datetime, str, int, float, datetime]]


def retention_by_age(graded: Graded) -> dict[str, list[tuple[float, float, float, int]]]:
    """By channel: (age in days, measured share found, predicted share, reviews) for each bin of age that has any."""
    bins: dict[str, dict[int, list[tuple[float, float, float]]]] = defaultdict(lambda: defaultdict(list))
    for at, channel, grade, predicted, recorded in graded:
        age = max(0.0, (at - recorded).total_seconds() / 86_400)
        place = max(i for i, low in enumerate(BINS) if low <= age)
        bins[channel][place].append((age, float(grade >= HARD), predicted))
    return {
        channel: [
            (*(sum(column) / len(found) for column in zip(*found, strict=True)), len(found))
            for _, found in sorted(own.items())
        ]
        for channel, own in bins.items()
    }


def check_picture(file: Path) -> None:
    """Raises InvalidInputError where the name is not that of a PNG."""
    if file.suffix.lower() != ".png":
        raise InvalidInputError(f"--plot {file}: the file must end in .png")


def draw_retention(graded: Graded, file: Path) -> None:
    """Write the picture. Raises InvalidInputError where nothing has been reviewed or the file is no PNG or a database,
    MissingDependencyError without matplotlib, StoreAccessError where the file cannot be written."""
    check_picture(file)
    curves = retention_by_age(graded)
    if not curves:
        raise InvalidInputError("there is nothing to plot yet: no memory has been reviewed")
    from hippomem.storage.files import replaceable

    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "eval") from error
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for colour, (channel, points) in zip(("#0072b2", "#d55e00"), sorted(curves.items()), strict=False):
        ages = [age for age, *_ in points]
        axes.plot(ages, [100 * m for _, m, _, _ in points], color=colour, marker="o", label=f"{channel}, measured")
        axes.plot(ages, [100 * p for _, _, p, _ in points], color=colour, linestyle="--", label=f"{channel}, predicted")
    axes.set_xscale("symlog")
    axes.set_ylim(0, 102)
    axes.set_xlabel("age, days")
    axes.set_ylabel("found by their own cue, %")
    axes.grid(linewidth=0.6, alpha=0.5)
    axes.legend(frameon=False, fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160, metadata={"Software": None})
    try:
        replaceable(file).write_bytes(stream.getvalue())
    except OSError as error:
        raise StoreAccessError(f"cannot write {file}: {error.strerror}") from error


def retention_lines(graded: Graded) -> list[str]:
    """The same in a terminal: a bar for each bin."""
    lines = []
    for channel, points in sorted(retention_by_age(graded).items()):
        for age, measured, predicted, count in points:
            bar = "█" * round(20 * measured)
            lines.append(f"{channel} {age:6.1f} d  {bar:<20} {measured:4.0%} of {count:,} (predicted {predicted:.0%})")
    return lines
