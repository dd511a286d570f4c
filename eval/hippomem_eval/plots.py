"""Pictures of figures, as PNG: recall curves, latency, differences, growth, several runs.

In light and dark, to lie on either.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hippomem import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart also by those who see no red and green (Okabe and Ito, 2008); on a dark ground in lighter shades.
_COLOURS = {
    False: ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c", "#b8a800"),
    True: ("#58a6ff", "#f0883e", "#3fb98f", "#d98cb9", "#e6b23c", "#9bd3f5", "#a8a8a8", "#d6cf4a"),
}
_MARKS = "os^Dv<>P"
# Text, lines and ground, by whether it is dark; the ground is that of the page.
_INK = {False: ("#1b1f24", "#d0d7de", "#ffffff"), True: ("#e6edf3", "#3d444d", "#161b22")}
_WIDTH, _DPI = 5.4, 180  # inches: narrow, so that the letters can be read on a phone
_PARTS = 12  # of the way, in a picture over time


def recall_curves(summary: Mapping[str, Any], *, dark: bool = False) -> bytes | None:
    """recall@k over k for every system, with 95 % bands. None where fewer than two cutoffs were measured."""
    cutoffs = sorted(int(n.split("@")[1]) for n in next(iter(summary["systems"].values())) if n.startswith("recall@"))
    if len(cutoffs) < 2:
        return None
    figure, axes = _figure(_WIDTH, max(3.6, 1.2 + 0.21 * len(summary["systems"])), dark)  # room for the names
    for place, (system, values) in enumerate(summary["systems"].items()):
        colour, mark = _colour(place, dark), _MARKS[place % len(_MARKS)]
        points = [100 * values[f"recall@{k}"] for k in cutoffs]
        axes.plot(cutoffs, points, color=colour, marker=mark, markersize=4.5, linewidth=1.8, label=_plain(system))
        bands = summary.get("intervals", {}).get(system)
        if bands:
            low, high = ([100 * bands[f"recall@{k}"][bound] for k in cutoffs] for bound in ("low", "high"))
            axes.fill_between(cutoffs, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(cutoffs, [str(k) for k in cutoffs])
    axes.minorticks_off()
    axes.set_ylim(top=min(101.5, axes.get_ylim()[1]))
    axes.set_xlabel("passages recalled (k)")
    axes.set_ylabel("recall@k, %")
    axes.legend(frameon=False, labelcolor=_INK[dark][0], fontsize=9, loc="lower right")
    return _png(figure)


def latency_bars(summary: Mapping[str, Any], *, dark: bool = False) -> bytes:
    """Milliseconds of a recall without encoding the question: the median as a bar, a line to the 95th percentile."""
    systems = summary["systems"]
    figure, axes = _figure(_WIDTH, 0.9 + 0.42 * len(systems), dark)
    for place, values in enumerate(systems.values()):
        colour, (p50, p95) = _colour(place, dark), (values["ms"]["p50"], values["ms"]["p95"])
        axes.barh(place, p50, height=0.55, color=colour)
        axes.plot([p50, p95], [place, place], color=_INK[dark][0], linewidth=1.2)
        axes.plot([p95], [place], color=_INK[dark][0], marker="|", markersize=8)
        label = {"va": "center", "fontsize": 9, "color": _INK[dark][0]}
        axes.annotate(f"{p50:.1f}", (p95, place), (7, 0), textcoords="offset points", **label)
    axes.set_yticks(range(len(systems)), [_plain(system) for system in systems])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max(values["ms"]["p95"] for values in systems.values()))
    axes.set_xlabel("ms a recall without encoding: median, 95th percentile")
    axes.grid(axis="y", visible=False)
    return _png(figure)


def forest(differences: Sequence[Mapping[str, Any]], *, dark: bool = False) -> bytes | None:
    """Paired differences in points with their 95 % intervals: those that leave out zero are filled. None without."""
    shown = [entry for entry in differences if entry["measure"].startswith(("recall@", "all_gold@", "mrr"))]
    if not shown:
        return None
    pairs = list(dict.fromkeys((entry["a"], entry["b"]) for entry in shown))
    figure, axes = _figure(_WIDTH, 0.8 + 0.24 * len(shown) + 0.3 * len(pairs), dark)
    axes.axvline(0, color=_INK[dark][0], linewidth=1)
    ticks: list[tuple[float, str]] = []
    height = 0.0
    for place, pair in enumerate(pairs):
        colour = _colour(place + 1, dark)
        title = f"{_plain(pair[0])} − {_plain(pair[1])}"
        ground = {"facecolor": _INK[dark][2], "edgecolor": "none", "pad": 1.5}
        look = {"fontsize": 9, "weight": "bold", "color": _INK[dark][0], "bbox": ground, "va": "center"}
        axes.text(0, height, title, transform=axes.get_yaxis_transform(), **look)
        for entry in (entry for entry in shown if (entry["a"], entry["b"]) == pair):
            height += 1
            low, mean, high = (100 * entry[bound] for bound in ("low", "mean", "high"))
            is_clear = low > 0 or high < 0
            axes.plot([low, high], [height, height], color=colour, linewidth=1.8)
            fill = colour if is_clear else _INK[dark][2]
            axes.plot([mean], [height], "o", color=colour, markersize=5.5, markerfacecolor=fill)
            ticks.append((height, entry["measure"]))
        height += 1.4
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks], fontsize=8.5)
    axes.set_ylim(height - 0.6, -0.8)
    axes.set_xlabel("difference in points, 95 % interval; filled where it leaves out zero")
    axes.grid(axis="y", visible=False)
    return _png(figure)


def growth(costs: Mapping[str, Sequence[tuple[int, float]]], *, dark: bool = False) -> bytes | None:
    """Costs over passages, both in logarithms, each beside a dashed line for what linear would be."""
    shown = {name: points for name, points in costs.items() if len(points) > 1}
    if not shown:
        return None
    columns = 2
    rows = -(-len(shown) // columns)
    figure, grid = _figure(_WIDTH, 0.4 + 1.6 * rows, dark, rows, columns)
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    for axes, (name, points) in zip(grid, shown.items(), strict=False):
        sizes, values = [size for size, _ in points], [value for _, value in points]
        linear = [values[0] * size / sizes[0] for size in sizes]
        axes.plot(sizes, linear, color=_INK[dark][0], alpha=0.45, linewidth=1.2, linestyle="--")
        axes.plot(sizes, values, color=_colour(0, dark), marker="o", markersize=4, linewidth=1.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sizes, [_short(size) for size in sizes])
        ends = sorted({min(values), max(values)})
        axes.set_yticks(ends, [f"{value:.3g}" for value in ends])
        axes.minorticks_off()
        axes.set_title(name, fontsize=9, color=_INK[dark][0])
    return _png(figure)


def overview(runs: Sequence[Mapping[str, Any]], measure: str, *, dark: bool = False) -> bytes:
    """A line for each run, a mark for each system; the first one's with its 95 % interval."""
    systems = list(dict.fromkeys(system for run in runs for system in run["systems"]))
    figure, axes = _figure(_WIDTH, 1.1 + 0.3 * len(runs) + 0.22 * -(-len(systems) // 3), dark)
    for place, run in enumerate(runs):
        for number, (system, values) in enumerate(run["systems"].items()):
            mean, low, high = (100 * values[measure][bound] for bound in ("mean", "low", "high"))
            at, is_first = systems.index(system), not number
            look = {"color": _colour(at, dark), "marker": _MARKS[at % len(_MARKS)], "linestyle": "none"}
            axes.plot([mean], [place], markersize=8 if is_first else 6, zorder=3 if is_first else 2, **look)
            if is_first:
                axes.plot([low, high], [place, place], color=look["color"], linewidth=1.8)
    for at, system in enumerate(systems):  # for the legend: not all are in every run
        mark = _MARKS[at % len(_MARKS)]
        axes.plot([], [], color=_colour(at, dark), marker=mark, linestyle="none", label=_plain(system))
    axes.set_yticks(range(len(runs)), [_plain(f"{run['name']} ({run['n_questions']:,})") for run in runs])
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.set_xlabel(f"{measure}, %; the line is a 95 % interval")
    legend = figure.legend(loc="outside upper center", ncols=3, handletextpad=0.1, frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_color(_INK[dark][0])
    return _png(figure)


def gain_over_time(gains: Mapping[str, Sequence[Sequence[float]]], *, dark: bool = False) -> bytes:
    """The mean gain up to each part of the way, in points: `gains` holds for each line the fractions of each series
    (a conversation) in the order of time.
    """
    figure, axes = _figure(_WIDTH, 3.4, dark)
    parts = range(1, _PARTS + 1)
    for place, (name, series) in enumerate(gains.items()):
        first = [[value for own in series for value in own[: max(1, len(own) * n // _PARTS)]] for n in parts]
        means = [100 * sum(values) / len(values) for values in first]
        look = {"color": _colour(place, dark), "marker": _MARKS[place % len(_MARKS)], "markersize": 4, "linewidth": 1.8}
        axes.plot([100 * n / _PARTS for n in parts], means, label=_plain(name), **look)
    axes.axhline(0, color=_INK[dark][0], linewidth=1)
    axes.set_xlabel("questions asked, % of a conversation's")
    axes.set_ylabel("gain in recall@5 up to here, points")
    axes.legend(frameon=False, labelcolor=_INK[dark][0], fontsize=9)
    return _png(figure)


def _figure(width: float, height: float, dark: bool, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure without pyplot: nothing global, no window, any thread."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "eval") from error
    ink, lines, ground = _INK[dark]
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=ground)
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_facecolor("none")
        axes.grid(color=lines, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", colors=ink, length=0, labelsize=9)
        axes.xaxis.label.set_color(ink)
        axes.yaxis.label.set_color(ink)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(lines)
    return figure, grid[0] if rows == columns == 1 else grid


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # Without the date and the version, the same figures give the same file.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _colour(place: int, dark: bool) -> str:
    return _COLOURS[dark][place % len(_COLOURS[dark])]


def _short(size: int) -> str:
    return f"{size / 1000:g}k" if size >= 1000 else str(size)


def _plain(name: str) -> str:
    """A name as it stands: a dollar sign would begin a formula."""
    return name.replace("$", r"\$")
