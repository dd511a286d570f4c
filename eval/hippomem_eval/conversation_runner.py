"""The conversation benchmark: remember long conversations, ask about them, see at which ranks the evidence comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hippomem import Encoder
from hippomem_eval.ablation import HIPPOMEM, WITHOUT
from hippomem_eval.configured import configured_encoder
from hippomem_eval.conversation_formats import Conversation, ConversationQuestion
from hippomem_eval.conversation_index import ensure_memories
from hippomem_eval.conversation_systems import BASELINES, FULL_CONTEXT, RECIPES, Transcript, TurnMemory
from hippomem_eval.conversations import Haystack, haystacks_of, load_conversations, select
from hippomem_eval.environment import describe
from hippomem_eval.files import sha256
from hippomem_eval.index import Index, Origin
from hippomem_eval.metrics import scores
from hippomem_eval.neighbourhood import WINDOWS, neighbourhoods, widened
from hippomem_eval.progress import progress_bar
from hippomem_eval.remembering import Remembering
from hippomem_eval.results import Results, Row, RunFile, alone_in, open_results
from hippomem_eval.systems import Ranking, System
from hippomem_eval.timing import timed_recall, warm_up

CONTEXT_CUTOFF = 5
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationOptions:
    """What to measure. `conversations` are places or ids, all where it is empty; the rest is as in `haystacks_of`."""

    data: Path
    out: Path
    systems: Sequence[str] = (HIPPOMEM,)
    conversations: Sequence[str] = ()
    limit: int | None = None
    k: int = 20
    seed: int = 0
    adversarial: bool = False
    plain: bool = False
    one_index: bool = False


@dataclass(frozen=True, slots=True)
class MeasuredConversations:
    """What came out: for each system one row a question, in the order of the file. No index without hippomem."""

    conversations: tuple[Conversation, ...]
    haystacks: tuple[Haystack, ...]
    encoder: str
    index: Index | None
    rows: Mapping[str, Sequence[Row]]


def run_conversation(options: ConversationOptions, tell: Callable[[str], None]) -> MeasuredConversations:
    """Do what is not done yet in `options.out`. `tell` gets remarks for the user.

    An earlier run's answers count where data, options, settings, encoder and code are the same. Raises the errors of
    `load_conversations`, `select` and `haystacks_of`, and of the memory.
    """
    conversations = select(load_conversations(options.data), options.conversations)
    haystacks = haystacks_of(
        conversations,
        plain=options.plain,
        one_index=options.one_index,
        adversarial=options.adversarial,
        limit=options.limit,
    )
    with alone_in(options.out):
        return _measure(options, conversations, haystacks, tell)


def _measure(
    options: ConversationOptions,
    conversations: tuple[Conversation, ...],
    haystacks: tuple[Haystack, ...],
    tell: Callable[[str], None],
) -> MeasuredConversations:
    run = RunFile(options.out / "run.json")
    environment = describe()
    encoder = configured_encoder()
    data = sha256(options.data)
    # What is searched together, and what is left of it.
    layout = ["plain"] * options.plain + [c.id for c in conversations if options.one_index]
    origin = Origin(options.data.resolve(), " ".join([data, *layout]), environment["code"] + environment["settings"])
    run.update(data={"path": str(options.data), "sha256": data}, limit=options.limit, seed=options.seed, **environment)
    index = None
    if RECIPES.keys() & set(options.systems):
        show = sys.stderr.isatty()
        index = ensure_memories(options.out / "index.db", origin, haystacks, run, encoder, progress=show, tell=tell)
    same = {"data": origin.corpus_hash, "code": origin.code, "encoder": encoder.identity, "k": options.k}
    total = sum(len(haystack.questions) for haystack in haystacks) * len(options.systems)
    with ExitStack() as stack:
        results = {name: stack.enter_context(open_results(run, name, same, tell)) for name in options.systems}
        done = sum(q.id in results[name].rows for name in results for h in haystacks for q in h.questions)
        if done:
            tell(f"{done} of {total} answers are in {options.out} already")
        advance = stack.enter_context(progress_bar("questions", total, done))
        for haystack in haystacks:
            _ask_all(haystack, results, encoder, index, options.k, advance)
        rows = {name: [found.rows[q.id] for h in haystacks for q in h.questions] for name, found in results.items()}
    return MeasuredConversations(conversations, haystacks, encoder.identity, index, rows)


def _ask_all(
    haystack: Haystack,
    results: Mapping[str, Results],
    encoder: Encoder,
    index: Index | None,
    k: int,
    advance: Callable[[], None],
) -> None:
    # By haystack and not by system: the vectors of its turns serve several systems, and can be let go.
    transcript = Transcript(haystack.turns, encoder)
    remembering = Remembering(encoder)
    lines = {turn.id: turn.dated_line for turn in haystack.turns}
    around = {size: neighbourhoods(haystack.turns, size) for size in WINDOWS}
    for name, kept in results.items():
        todo = [question for question in haystack.questions if question.id not in kept.rows]
        if not todo:
            continue
        with ExitStack() as stack:
            system: System
            if name in RECIPES and index is not None:
                own = remembering if name in WITHOUT else encoder
                memory = stack.enter_context(index.open(haystack.name, encoder=own))
                system = TurnMemory(memory, RECIPES[name])
            else:
                system = BASELINES[name](transcript)
            warm_up(system, k)
            for question in todo:
                ranking, costs = timed_recall(system, question.text, k, twice=name not in WITHOUT)
                is_whole = name == FULL_CONTEXT
                evidence = haystack.evidence[question.id]
                kept.append(row_of(question, evidence, ranking, costs, lines, k, is_whole, around))
                advance()


def row_of(
    question: ConversationQuestion,
    evidence: Sequence[str],
    ranking: Ranking,
    costs: Mapping[str, float],
    lines: Mapping[str, str],
    k: int,
    is_whole: bool = False,
    around: Mapping[int, Mapping[str, Sequence[str]]] = {},
) -> Row:
    """One question's line: what was wanted, what came, the measures. Cutoffs beyond `k` say nothing: left out.

    `lines` are the turns as a reader would get them; `around` gives by the size of a window what a reader gets that
    asks for it with each of the first five. `is_whole` says that the reader gets all of them: ranks mean
    nothing then, and each evidence turn counts as found first.
    """
    found = [passage.id for passage in ranking.passages]
    ranks = [1 if is_whole else found.index(turn) + 1 if turn in found else None for turn in evidence]
    read = found if is_whole else found[:CONTEXT_CUTOFF]
    windows: dict[str, float] = {}
    for size, neighbours in around.items() if k >= CONTEXT_CUTOFF else ():
        seen = widened(read, neighbours)
        windows[f"window{size}@{CONTEXT_CUTOFF}"] = sum(turn in seen for turn in evidence) / len(evidence)
        windows[f"context_tokens@{CONTEXT_CUTOFF}_window{size}"] = _tokens(seen, lines)
    return {
        "id": question.id,
        "conversation": question.conversation,
        "category": question.category,
        "question": question.text,
        "evidence": list(evidence),
        "ranks": ranks,
        "ranked": [{"id": p.id, "score": p.score} for p in ranking.passages[: 0 if is_whole else k]],
        **scores(ranks, k),
        **({f"context_tokens@{CONTEXT_CUTOFF}": _tokens(read, lines)} if k >= CONTEXT_CUTOFF else {}),
        **windows,
        **costs,
    }


def _tokens(turns: Sequence[str], lines: Mapping[str, str]) -> float:
    return sum(len(lines[turn]) for turn in turns) / CHARACTERS_PER_TOKEN
