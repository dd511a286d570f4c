"""Long documents: what was said in a conversation as transcripts, one a session, which ingest cuts into passages.

No published set at hand names its gold in places of a long text; conversations with evidence turns do, once they are
written down: a question's gold are the places of these turns. Passages are not turns, so nothing here compares with
`eval conversation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from hippomem import Document, Memory, Settings
from hippomem.settings import load_settings
from hippomem_eval.configured import configured_encoder
from hippomem_eval.conversation_formats import Turn
from hippomem_eval.conversations import Haystack, haystacks_of, load_conversations
from hippomem_eval.environment import code_hash, settings_hash
from hippomem_eval.files import sha256
from hippomem_eval.index import NAMESPACE, Origin, check_origin
from hippomem_eval.metrics import all_gold_at, bootstrap, paired_bootstrap, recall_at, reciprocal_rank
from hippomem_eval.progress import progress_bar
from hippomem_eval.remembering import Remembering
from hippomem_eval.results import RunFile, make_folder, write_json

CUTOFFS = (1, 2, 5, 10)
SYSTEMS: Mapping[str, Literal["graph", "dense"]] = {"hippomem": "graph", "dense": "dense"}

Spans = Mapping[str, tuple[str, int, int]]  # turn -> source, start, end


@dataclass(frozen=True, slots=True)
class Transcripts:
    """The documents of one haystack, and where in them each turn stands."""

    documents: tuple[Document, ...]
    spans: Spans


def transcripts_of(turns: Sequence[Turn]) -> Transcripts:
    """A document a session, a line a turn."""
    documents: list[Document] = []
    spans: dict[str, tuple[str, int, int]] = {}
    for (conversation, session), told in groupby(turns, key=lambda turn: (turn.conversation, turn.session)):
        source, text = f"{conversation}/{session}", ""
        own = list(told)
        for turn in own:
            line = " ".join(turn.line.split())
            spans[turn.id] = source, len(text), len(text) + len(line)
            text += line + "\n"
        documents.append(Document(text=text, source=source, title=session, occurred_at=own[0].time))
    return Transcripts(tuple(documents), spans)


def measure_documents(
    data: Path, out: Path, *, passage_chars: int, k: int, seed: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Recall of the places of evidence turns, beside that of similarity search.

    Raises the errors of the loader and of the memory, and InvalidInputError where the index in `out` is of other data.
    """
    haystacks = haystacks_of(load_conversations(data))
    make_folder(out)
    run, database = RunFile(out / "run.json"), out / f"index-{passage_chars}.db"
    built: Any = run.read().get(database.stem)
    origin = Origin(data.resolve(), sha256(data), code_hash() + settings_hash())
    check_origin(database, built, origin)
    if not database.exists():
        run.update(**{database.stem: origin.entry() | {"finished": True}})
    elif built["code"] != origin.code:
        tell(f"{database} was built with other code or settings: delete the folder to build it anew")
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in SYSTEMS}
    passages = 0
    with progress_bar("questions", sum(len(h.questions) for h in haystacks), 0) as advance:
        for haystack in haystacks:
            settings = load_settings(db=str(database), passage_chars=passage_chars)
            with Memory.open(namespace=haystack.name or NAMESPACE, settings=settings) as memory:
                transcripts = transcripts_of(haystack.turns)
                report = memory.ingest(list(transcripts.documents))
                for failure in report.failed:
                    tell(f"{failure.source}: {failure.reason}")
                passages += int(memory.stats()["passages"])
            _ask(haystack, transcripts, settings, rows, k, advance)
    names = list(rows["hippomem"][0])
    columns = {name: {m: [row[m] for row in own] for m in names} for name, own in rows.items()}
    summary = {
        "n_questions": len(rows["hippomem"]),
        "passages": passages,
        "passage_chars": passage_chars,
        "systems": {name: {m: asdict(bootstrap(own[m], seed=seed)) for m in names} for name, own in columns.items()},
        "differences": {
            m: asdict(paired_bootstrap(columns["hippomem"][m], columns["dense"][m], seed=seed)) for m in names
        },
    }
    write_json(out / f"summary-{passage_chars}.json", summary)
    return summary


def as_markdown(summary: Mapping[str, Any]) -> str:
    """A table in percent."""
    names = list(summary["differences"])
    head = f"| {summary['n_questions']:,} questions, {summary['passages']:,} passages | {' | '.join(names)} |"
    lines = [head, "|---" * (len(names) + 1) + "|"]
    for name, values in summary["systems"].items():
        means = " | ".join(f"{100 * values[m]['mean']:.1f}" for m in names)
        lines.append(f"| {name} | {means} |")
    cells = []
    for m in names:
        difference = summary["differences"][m]
        cells.append("{:+.1f} [{:.1f}, {:.1f}]".format(*(100 * difference[end] for end in ("mean", "low", "high"))))
    return "\n".join([*lines, f"| difference | {' | '.join(cells)} |"]) + "\n"


def _ask(
    haystack: Haystack,
    transcripts: Transcripts,
    settings: Settings,
    rows: Mapping[str, list[dict[str, float]]],
    k: int,
    advance: Callable[[], None],
) -> None:
    encoder = Remembering(configured_encoder())
    with Memory.open(namespace=haystack.name or NAMESPACE, settings=settings, encoder=encoder) as memory:
        for question in haystack.questions:
            for name, method in SYSTEMS.items():
                found = memory.recall(question.text, k, method=method).passages
                ranks = [
                    next(
                        (
                            n
                            for n, p in enumerate(found, 1)
                            if _holds(p.source, p.start, p.end, transcripts.spans[turn])
                        ),
                        None,
                    )
                    for turn in haystack.evidence[question.id]
                ]
                measures = {f"recall@{c}": recall_at(ranks, c) for c in CUTOFFS if c <= k}
                measures |= {"all_gold@5": all_gold_at(ranks, 5)} if k >= 5 else {}
                rows[name].append(measures | {"mrr": reciprocal_rank(ranks)})
            advance()


def _holds(source: str, start: int, end: int, place: tuple[str, int, int]) -> bool:
    """Whether a passage holds at least the beginning of a turn."""
    return source == place[0] and start <= place[1] < end
