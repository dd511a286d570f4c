"""The feedback benchmark: what a memory gains, question by question, from being told which turns were useful."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hippomem_eval.configured import configured_encoder
from hippomem_eval.conversation_index import ensure_memories
from hippomem_eval.conversations import Haystack, haystacks_of, load_conversations, select
from hippomem_eval.environment import describe
from hippomem_eval.feedback_protocol import Giver, copied, prepare, prequential, removed
from hippomem_eval.feedback_report import summarise
from hippomem_eval.files import sha256
from hippomem_eval.index import Index, Origin
from hippomem_eval.progress import progress_bar
from hippomem_eval.remembering import Remembering
from hippomem_eval.results import Row, RunFile, make_folder, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationOptions:
    """Which conversations are remembered, where to, and how many questions of each are asked."""

    data: Path
    out: Path
    conversations: Sequence[str] = ()
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackOptions(ConversationOptions):
    """What to measure. `noise` are shares of wrong feedback, `adversarial` of an attacker's."""

    noise: Sequence[float] = (0.2, 0.4)
    adversarial: float = 0.1


def remembered(
    options: ConversationOptions, encoder: Remembering, tell: Callable[[str], None]
) -> tuple[tuple[Haystack, ...], Index]:
    """The conversations and their memories, made or found in the folder. Raises what loader and memory do."""
    haystacks = haystacks_of(select(load_conversations(options.data), options.conversations), limit=options.limit)
    make_folder(options.out)
    run = RunFile(options.out / "run.json")
    environment = describe()
    data = sha256(options.data)
    origin = Origin(options.data.resolve(), data, environment["code"] + environment["settings"])
    run.update(data={"path": str(options.data), "sha256": data}, limit=options.limit, seed=options.seed, **environment)
    show = sys.stderr.isatty()
    index = ensure_memories(options.out / "index.db", origin, haystacks, run, encoder, progress=show, tell=tell)
    return haystacks, index


def run_feedback(options: FeedbackOptions, tell: Callable[[str], None]) -> dict[str, Any]:
    """The summary, and in it all `rows` by who gave the feedback. Raises what loader and memory do."""
    encoder = Remembering(configured_encoder())
    haystacks, index = remembered(options, encoder, tell)
    givers = {"right": Giver()} | {f"noise {share:g}": Giver(wrong=share) for share in options.noise}
    if options.adversarial:
        givers["adversarial"] = Giver(adversarial=options.adversarial)
    rows: dict[str, list[Row]] = {name: [] for name in givers}
    total = sum(len(haystack.questions) for haystack in haystacks)
    with progress_bar("questions", total * (1 + len(givers))) as advance:
        asked = []
        for haystack in haystacks:
            with index.open(haystack.name, encoder=encoder) as memory:
                asked.append(prepare(memory, haystack, advance))
        for name, giver in givers.items():
            taught = copied(index.database, options.out / "taught.db")
            own = Index(**{**_fields(index), "database": taught})
            for one in asked:
                with own.open(one.haystack.name, encoder=encoder) as memory:
                    rows[name] += prequential(memory, one, giver, encoder, options.seed, advance)
    removed(options.out / "taught.db")
    summary = summarise(rows, options.noise, options.adversarial, options.seed, str(options.data))
    write_json(options.out / "feedback.json", summary)
    for name, own_rows in rows.items():
        write_json(options.out / f"feedback-{name.replace(' ', '-')}.json", list(own_rows))
    return summary | {"rows": rows}


def _fields(index: Index) -> dict[str, Any]:
    return {name: getattr(index, name) for name in Index.__dataclass_fields__}
