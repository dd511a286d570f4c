"""What the commands print: JSON for programs, text for people, errors on standard error.

Documents come from strangers: nothing in them may move the cursor, colour the screen or be taken for rich's markup.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import typer

from hippomem.types import Change, Diagnosis, Event, Explanation, Forgotten, IngestReport, Passage, Path, Recall, Report

if TYPE_CHECKING:
    from rich.console import Console

SNIPPET_CHARS = 200
_LISTED_FAILURES = 20
# Control characters (C1 too: U+009B starts an escape sequence as ESC [ does), lone surrogates, line separators, and
# what turns the direction of writing around.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPES = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    "|\x1b[\\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)"  # OSC and the like: titles, links, clipboard
    "|\x1b[ -/]*[0-~]"
)


def visible(text: str) -> str:
    """`text` on one line, without anything that a terminal acts on; what is left of it shows as U+FFFD."""
    return _UNSAFE.sub("\ufffd", " ".join(_ESCAPES.sub("", text).split()))


def visible_piece(text: str) -> str:
    """The same for a part of a text, whose spaces at both ends stay."""
    return _UNSAFE.sub("\ufffd", _ESCAPES.sub("", text))


def snippet(text: str, limit: int = SNIPPET_CHARS) -> str:
    """The beginning of a text, visible, cut at a word where there is one."""
    start = visible(text[: limit * 4])
    return start if len(start) <= limit else start[:limit].rsplit(" ", 1)[0] + " …"


def beginning(passage: Passage) -> str:
    """The snippet of a passage, without the Markdown heading that its title repeats."""
    return snippet(passage.text.removeprefix(f"# {passage.title}\n"))


def plain(value: Any) -> Any:
    """`value` in the types of JSON: dataclasses and mappings as dicts, moments in ISO 8601, the unknown as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    # A numpy scalar, recognised without numpy.
    return value.item() if hasattr(value, "item") and not isinstance(value, PurePath) else str(value)


def print_json(value: Any) -> None:
    """One JSON document on standard output, and nothing else; safe to look at in a terminal."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(plain(value), ensure_ascii=not unicode, indent=2)
    # Line feeds are dumps' own; all others of these characters stand inside of strings.
    typer.echo(_UNSAFE.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text))


def print_error(message: str) -> None:
    """One line on standard error, red where that is a terminal."""
    typer.secho(f"error: {visible(message)}", fg="red", err=True, color=False if "NO_COLOR" in os.environ else None)


def print_note(message: str) -> None:
    """One line on standard error that is not an error."""
    typer.echo(visible(message), err=True)


def recall_json(recall: Recall) -> dict[str, Any]:
    """The contract of `recall --json`; where a chat model was asked, also `steps`, `usage` and `warnings`."""
    asked = {"steps": plain(recall.steps), "usage": plain(recall.usage), "warnings": plain(recall.warnings)}
    return {
        "query": recall.query,
        "passages": [plain(passage) for passage in recall.passages],
        "paths": [plain(path) for path in recall.paths],
        "timings_ms": plain(recall.timings),
        **(asked if recall.usage.calls or recall.warnings else {}),
    }


def print_event(event: Event) -> None:
    """The id alone, so that a script can keep it; that it was known already goes to standard error."""
    typer.echo(event.id)
    if not event.created:
        print_note("this was remembered already; nothing was added")


def print_report(report: IngestReport) -> None:
    """Counts and seconds, then the failures."""
    from rich.table import Table

    console = screen()
    parts = [_count(report.documents, "document"), _count(report.passages, "passage")]
    parts += [_count(report.entities, "entity", "entities"), _count(report.facts, "fact")]
    if report.skipped:
        parts.append(f"{report.skipped:,} unchanged")
    if report.removed:
        parts.append(f"{report.removed:,} removed")
    if report.kept:
        parts.append(f"{report.kept:,} kept that may be what failed")
    if report.duplicates:
        parts.append(f"{report.duplicates:,} repeating others")
    if report.dropped:
        parts.append(f"{_count(report.dropped, 'triple')} dropped, not between two names")
    total = report.seconds.get("total", sum(report.seconds.values()))
    console.print(styled(("Remembered ", "bold"), f"{', '.join(parts)} in {total:.1f} s"))
    if report.failed:
        table = Table(title=f"{len(report.failed):,} could not be read", title_justify="left")
        table.add_column("source", overflow="fold")
        table.add_column("reason", overflow="fold")
        for failure in report.failed[:_LISTED_FAILURES]:
            table.add_row(styled(visible(failure.source)), styled(visible(failure.reason)))
        console.print(table)
        if len(report.failed) > _LISTED_FAILURES:
            console.print(styled(f"… and {len(report.failed) - _LISTED_FAILURES:,} more: see --json"))


def print_recall(recall: Recall, *, explain: bool) -> None:
    """The passages, best first, why each is there and how the question leads to it."""
    console = screen()
    if not recall.passages:
        console.print(styled("Nothing is remembered that could answer this."))
    for place, explanation in enumerate(recall.explain(), 1):
        passage = explanation.passage
        console.print(styled((f"{place}. {name_of(passage)}", "bold"), (f"  {passage.score:.2f}", "cyan")))
        for neighbour in passage.before:
            print_indented(console, f"before: {beginning(neighbour)}", "dim")
        print_indented(console, beginning(passage))
        for neighbour in passage.after:
            print_indented(console, f"after: {beginning(neighbour)}", "dim")
        if passage.why:
            print_indented(console, "why: " + "; ".join(map(visible, passage.why)), "dim")
        if explanation.path and explanation.path.text not in passage.why:
            print_indented(console, f"path: {visible(explanation.path.text)}", "dim")
        if explain:
            _print_explanation(console, explanation)
    for number, step in enumerate(recall.steps, 1):
        console.print(styled((f"sub-question {number}: {visible(str(step))}", "dim")))
    if recall.usage.calls:
        console.print(styled((f"chat model: {recall.usage}", "dim")))
    console.print(
        styled((f"{_count(len(recall.passages), 'passage')} in {recall.timings.get('total', 0):.0f} ms", "dim"))
    )
    if explain:
        stages = ", ".join(f"{stage} {taken:.1f}" for stage, taken in recall.timings.items() if stage != "total")
        console.print(styled((f"milliseconds by stage: {stages}", "dim")))


def print_passage(passage: Passage) -> None:
    """A passage whole. Its lines are kept."""
    console = screen()
    console.print(styled((name_of(passage), "bold")))
    for line in passage.text.splitlines():
        console.print(styled(visible(line)))
    facts = {
        "id": passage.id,
        "source": passage.source,
        "session": passage.session,
        "occurred": passage.occurred_at,
        "recorded": passage.recorded_at,
        "metadata": json.dumps(plain(passage.metadata), ensure_ascii=False) if passage.metadata else None,
    }
    print_pairs({name: value for name, value in facts.items() if value})


def print_history(changes: Iterable[Change]) -> None:
    """One line for each change, oldest first; below it the text that an update replaced."""
    console = screen()
    for change in changes:
        by = f" by {change.extractor}" if change.extractor else ""
        console.print(
            styled((f"{change.sequence}  {change.action}", "bold"), f"  {change.at:%Y-%m-%d %H:%M:%S %Z}{by}")
        )
        if change.text is not None:
            print_indented(console, f"was: {snippet(change.text)}", "dim")
        if change.detail and change.detail.get("why"):
            print_indented(console, f"why: {visible(str(change.detail['why']))}", "dim")
        for triple in change.triples:
            print_indented(console, f"{visible(str(triple))}  ({visible(triple.extractor)})", "dim")


def print_forgotten(forgotten: Forgotten) -> None:
    """What is gone."""
    parts = [_count(forgotten.passages, "passage"), _count(forgotten.entities, "entity", "entities")]
    parts.append(_count(forgotten.facts, "fact"))
    if forgotten.learned:
        parts.append(_count(forgotten.learned, "learning event"))
    screen().print(styled(("Forgot ", "bold"), ", ".join(parts)))
    if forgotten.dampened:
        print_note("the slow map is dampened for it, and rebuilt without it at the next consolidation")


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """One line for each check."""
    console = screen()
    for check in diagnosis.checks:
        mark = ("ok    ", "green") if check.ok else ("FAILED", "bold red")
        console.print(styled(mark, f"  {visible(check.name)}: {visible(check.detail)}"))


def print_lines(lines: Iterable[str]) -> None:
    """Lines of text, each made visible."""
    for line in lines:
        typer.echo(visible(line))


def print_pairs(values: Mapping[str, Any], prefix: str = "") -> None:
    """Names and values, one pair a line; what is nested has its names joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            print_pairs(value, f"{prefix}{name}.")
        elif isinstance(value, list):  # of entries, each named by what it is about
            for entry in value:
                named = {key: part for key, part in entry.items() if key != "cost"}
                about = [str(part) for part in named.values() if part is None or isinstance(part, str)]
                rest: dict[str, Any] = {k: part for k, part in entry.items() if isinstance(part, int | float) and part}
                if entry.get("calls_of_unknown_cost") and entry.get("cost") is None:
                    rest["cost"] = "unknown: set a price (HIPPOMEM_LLM_PRICES)"
                print_pairs(rest, f"{prefix}{name}.{' '.join(about)}.")
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            shown = f"{value:,}" if number else visible(str(value))
            screen().print(styled((f"{visible(prefix + str(name))}: ", "dim"), shown))


def _print_explanation(console: Console, explanation: Explanation) -> None:
    passage = explanation.passage
    causes = ", ".join(f"{cause} {value:+.2f}" for cause, value in explanation.causes.items())
    lines = [f"id: {passage.id}", f"score: {causes}"]
    if explanation.entities:
        lines.append("entities: " + ", ".join(map(visible, explanation.entities)))
    lines += _steps(explanation.path)
    for line in lines:
        print_indented(console, line, "dim")


def _steps(path: Path | None) -> list[str]:
    return [
        f"step: {visible(step.entity)} → {visible(step.passage_title)}"
        + (f"  [{'; '.join(visible(str(fact)) for fact in step.facts)}]" if step.facts else "")
        for step in (path.steps if path else ())
    ]


def name_of(passage: Passage) -> str:
    return visible(passage.title) or visible(passage.source) or "(untitled)"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def screen() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    # Lines are for a person to read or a program to cut: only a terminal needs them broken.
    console.soft_wrap = not console.is_terminal
    return console


def styled(*parts: str | tuple[str, str]) -> Any:
    """Text of parts with their styles. It is never read for markup."""
    from rich.text import Text

    return Text.assemble(*parts)


def print_indented(console: Console, line: str, style: str = "") -> None:
    from rich.padding import Padding

    # Padding cuts what it does not wrap.
    indented = styled(("   ", ""), (line, style)) if console.soft_wrap else Padding(styled((line, style)), (0, 0, 0, 3))
    console.print(indented)


def print_round(report: Report) -> None:
    """A line for each step, below it what there is to say about single things."""
    console = screen()
    for part in report.steps:
        counts = ", ".join(f"{count:,} {name}" for name, count in part.counts.items() if count) or "nothing to do"
        usage = f"; {part.usage}" if part.usage.calls else ""
        rest = "" if part.is_done or part.error else "; more is left"
        rest = f"; goes on at {part.again_at:%H:%M:%S}Z" if part.again_at else rest
        console.print(styled((f"{part.name}: ", "bold"), f"{counts} in {part.seconds:.1f} s{usage}{rest}"))
        for note in part.notes:
            console.print(styled(("   " + visible(note), "dim")))
