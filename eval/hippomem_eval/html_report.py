"""The report of a run that people look at: OUT/report.html and its pictures, from what the run has written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from hippomem import MissingDependencyError
from hippomem_eval import plots
from hippomem_eval.html_page import (
    Markup,
    bullets,
    element,
    page,
    paragraphs,
    picture,
    searchable,
    section,
    table,
)
from hippomem_eval.results import Row, RunFile

LISTED = 2000  # questions in the explorer: more, and a phone would not open it
_SHOWN = 10  # recalled passages of a question
NOT = (
    "Not answers: whether a reader model answers correctly from the passages is another question.",
    "Not comparable between corpora: the same questions are easier over fewer passages.",
    "Not exact: at 100 questions the standard error of a recall is 3 to 4 points. Only paired intervals that leave out "
    "zero tell systems apart.",
    "Not independent of the machine: wall times depend on what else ran.",
    "Not the time of a fresh start: models and views were loaded before the first question.",
)


def write_html_report(
    out: Path,
    summary: Mapping[str, Any],
    rows: Mapping[str, Sequence[Row]],
    table_of: str,
    tell: Callable[[str], None],
    *,
    title: str,
) -> None:
    """OUT/report.html, and its pictures as PNG.

    `summary` has `systems`, and of `intervals`, `differences`, `n_questions` and `encoder` what there is; `rows` are
    those that it is of, by system, for OUT/SYSTEM.jsonl may hold those of other questions too; `table_of` is its
    Markdown. Without matplotlib there are no pictures, and `tell` says so.
    """
    systems = list(summary["systems"])
    differences = summary.get("differences") or []
    lead = f"{summary['n_questions']:,} questions; " + ", ".join(systems)
    shown = [
        section("Figures", *markdown(table_of)),
        *pictures(out, tell, _drawn(summary, differences)),
        section("What the figures are not", bullets(NOT)),
        section("Questions", explorer(rows)),
        section("Circumstances", circumstances(RunFile(out / "run.json").read(), summary)),
    ]
    (out / "report.html").write_text(page(title, lead, shown), encoding="utf-8")


def pictures(
    out: Path, tell: Callable[[str], None], drawn: Mapping[str, tuple[str, str, Callable[[bool], bytes | None]]]
) -> Iterator[Markup]:
    """Sections with pictures, each also written to OUT/NAME.png: name -> heading, description, how to draw it.

    A picture of an earlier run that is not drawn this time is deleted.
    """
    for name in drawn:
        (out / f"{name}.png").unlink(missing_ok=True)
    for name, (heading, description, draw) in drawn.items():
        try:
            light, dark = draw(False), draw(True)
        except MissingDependencyError as error:
            tell(f"no pictures: {error}")
            return
        if light and dark:
            (out / f"{name}.png").write_bytes(light)
            yield section(heading, picture(light, dark, description))


def _drawn(
    summary: Mapping[str, Any], differences: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[str, str, Callable[[bool], bytes | None]]]:
    return {
        "recall": (
            "Recall",
            "recall@k of every system over k, with 95 % bands; the values are in the table above",
            lambda dark: plots.recall_curves(summary, dark=dark),
        ),
        "differences": (
            "Differences",
            "paired differences between systems with their 95 % intervals",
            lambda dark: plots.forest(differences, dark=dark),
        ),
        "latency": (
            "Latency",
            "milliseconds of a recall, median and 95th percentile, of every system",
            lambda dark: plots.latency_bars(summary, dark=dark),
        ),
    }


def markdown(text: str) -> Iterator[Markup]:
    """The tables, lists and lines of our own Markdown."""
    for kind, group in groupby(text.split("\n"), key=lambda line: line[:1] if line[:1] in "|-" else ""):
        lines = list(group)
        if kind == "|":
            cells = [line.strip("|").replace("\\|", "\0").split("|") for line in lines]
            head, _, *body = ([cell.strip().replace("\0", "|") for cell in row] for row in cells)
            yield table(head, body)
        elif kind == "-":
            yield bullets(line[2:] for line in lines)
        else:
            yield paragraphs(line for line in lines if line.strip())


def explorer(rows: Mapping[str, Sequence[Row]]) -> Markup:
    """Every question with what each system recalled, gold marked; to be filtered by words and by what was missed."""
    by_system = {name: {row["id"]: row for row in own} for name, own in rows.items()}
    ids = list(dict.fromkeys(id_ for own in by_system.values() for id_ in own))
    entries = []
    for id_ in ids[:LISTED]:
        asked = {name: own[id_] for name, own in by_system.items() if id_ in own}
        missed = {f"not all found by {name}" for name, row in asked.items() if None in _ranks(row)}
        differ = {"systems differ"} if len({tuple(_ranks(row)) for row in asked.values()}) > 1 else set()
        entries.append((_entry(asked), frozenset(missed | differ)))
    labels = [f"not all found by {name}" for name in rows] + (["systems differ"] if len(rows) > 1 else [])
    left = len(ids) - len(entries)
    more = [f"{left:,} more questions are in the .jsonl files beside this page."] if left > 0 else []
    return Markup(searchable(entries, labels) + paragraphs(more))


def _entry(asked: Mapping[str, Row]) -> Markup:
    first = next(iter(asked.values()))
    gold = first.get("gold", first.get("evidence", first.get("accepted", ())))
    ranks = [element("span", f"{name}: ", *_separated(_ranks(row)), class_="ranks") for name, row in asked.items()]
    found = (
        element("div", element("h3", name), row.get("answer", ""), element("ol", *_recalled(row)))
        for name, row in asked.items()
    )
    wanted = element("p", "Gold: ", "; ".join(map(str, gold)), class_="note")
    head = element("summary", first.get("question", first["id"]), *ranks)
    return element("details", head, wanted, element("div", *found, class_="found"))


def _separated(ranks: Sequence[int | None]) -> Iterator[Markup]:
    for place, rank in enumerate(ranks):
        yield element("span", f"{', ' if place else ''}{rank or 'not found'}", class_="hit" if rank else "miss")


def _recalled(row: Row) -> Iterator[Markup]:
    gold = {rank for rank in _ranks(row) if rank}
    for rank, passage in enumerate(row.get("ranked", ())[:_SHOWN], 1):
        name = passage.get("title") or passage["id"]
        yield element("li", element("span", name, class_="hit") if rank in gold else name)


def _ranks(row: Row) -> list[int | None]:
    return list(row.get("gold_ranks", row.get("ranks", ())))


def circumstances(run: Mapping[str, Any], summary: Mapping[str, Any]) -> Markup:
    """Machine, versions, command and hashes: all that it takes to measure the same again."""
    machine, versions = run.get("machine", {}), run.get("versions", {})
    given = list(run.get("command", []))
    command = given[1:] if given[:1] == ["eval"] else given
    lines: dict[str, object] = {
        "command": element("code", " ".join(["hippomem eval", *map(str, command)])),
        "encoder": summary.get("encoder", ""),
        "machine": f"{machine.get('platform', '')}, {machine.get('cpus', '?')} CPUs",
        "threads": ", ".join(f"{name}={value}" for name, value in machine.get("threads", {}).items()) or "not limited",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "seed": run.get("seed", summary.get("seed", "")),
        **{f"SHA-256 of {name}": element("code", value) for name, value in _hashes(run)},
    }
    return element(
        "dl", *(part for name, value in lines.items() for part in (element("dt", name), element("dd", value)))
    )


def _hashes(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    data = run.get("data", {})
    for name, entry in data.items() if "sha256" not in data else [("data", data)]:
        if isinstance(entry, Mapping) and "sha256" in entry:
            yield f"{name} ({entry.get('path', '')})", str(entry["sha256"])
    for name in ("code", "settings"):
        if name in run:
            yield name, str(run[name])
