"""Two published ways of looking at a life, beside the retention curves.

`lifelong`: New et al., "Lifelong Learning Metrics" (arXiv 2201.08278). A task is what is experienced within a block of
days, an evaluation block its end. Performance maintenance PM, forward and backward transfer FT and BT (as contrasts),
relative performance RP and sample efficiency SE against an expert that lives that block alone.

`recognition`: Orhan, "Recognition, recall, and retention of few-shot memories" (arXiv 2303.17557). Pairs are studied
one to several times. Recognition: is the studied value nearer than one that was not; recall: is it the first of all;
retention: both again after so many other pairs have been learned, without any replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem_eval.retention_life import Plan, live
from hippomem_eval.retention_memory import Perceptron, ranks
from hippomem_eval.retention_metrics import mean_by_day
from hippomem_eval.retention_run import ARMS, Outcome, simulate

BLOCK_DAYS = 5
EXPOSURES = (1, 2, 3)
DELAYS = (0, 25, 50, 100, 200)
STUDIED = 50

Table = NDArray[np.float64]


def lifelong(arm: str, budget: float, seeds: Sequence[int], plan: Plan | None = None) -> dict[str, float]:
    """PM, FT, BT, RP and SE, averaged over seeds."""
    plan = plan or Plan()
    found = [_lifelong_of(simulate(ARMS[arm], budget, seed, plan), arm, budget, seed, plan) for seed in seeds]
    return {name: float(np.nanmean([one[name] for one in found])) for name in found[0]}


def _lifelong_of(outcome: Outcome, arm: str, budget: float, seed: int, plan: Plan) -> dict[str, float]:
    table = block_table(outcome)
    expert = simulate(ARMS[arm], budget, seed, replace(plan, items=max(1, plan.items // len(table)), days=BLOCK_DAYS))
    alone = float(mean_by_day(expert.found, expert.known)[-1])
    learned = np.diag(table)
    effort = 1 + int(np.argmax(mean_by_day(expert.found, expert.known)))  # days until the expert is at its best
    ours = [_days_to_best(outcome, block) for block in range(len(table))]
    return {
        **lifelong_metrics(table),
        "relative_performance": float(np.mean(learned) / alone) if alone else float("nan"),
        "sample_efficiency": float(np.mean(learned) / alone * effort / np.mean(ours)) if alone else float("nan"),
    }


def block_table(outcome: Outcome) -> Table:
    """table[i, j]: recall of block j's items at the end of block i. Before they are known that is 0: nothing arbitrary
    can be guessed."""
    days = len(outcome.found)
    ends = list(range(BLOCK_DAYS - 1, days, BLOCK_DAYS))
    block = outcome.first_day // BLOCK_DAYS
    return np.array(
        [
            [float(outcome.found[end][block == j].mean()) if (block == j).any() else np.nan for j in range(len(ends))]
            for end in ends
        ]
    )


def lifelong_metrics(table: Table) -> dict[str, float]:
    """From table[i, j], performance on task j after block i: PM is the mean of what it is later minus what it was just
    after learning; transfers are contrasts (after - before) / (after + before), 0 where both are 0."""
    n = len(table)
    maintained = [table[i, j] - table[j, j] for j in range(n) for i in range(j + 1, n)]
    forward = [_contrast(table[i, j], table[i - 1, j]) for i in range(1, n) for j in range(i + 1, n)]
    backward = [_contrast(table[i, j], table[i - 1, j]) for i in range(1, n) for j in range(i)]
    return {
        "performance_maintenance": _mean(maintained),
        "forward_transfer": _mean(forward),
        "backward_transfer": _mean(backward),
    }


def recognition(seeds: Sequence[int], plan: Plan | None = None) -> list[dict[str, float]]:
    """One row for each number of exposures and each delay, in other pairs learned since: recognition, recall."""
    plan = plan or Plan()
    rows = []
    for exposures in EXPOSURES:
        scores = np.mean([_few_shot(exposures, seed, plan) for seed in seeds], axis=0)
        rows += [
            {"exposures": float(exposures), "delay": float(delay), "recognition": float(known), "recall": float(found)}
            for delay, (known, found) in zip(DELAYS, scores, strict=True)
        ]
    return rows


def _few_shot(exposures: int, seed: int, plan: Plan) -> list[tuple[float, float]]:
    life = live(replace(plan, updates=0, duplicates=0, poison=0, items=STUDIED + max(DELAYS)), seed)
    memory = Perceptron(plan.dimension, seed + 10_000)
    order = np.random.default_rng(seed).permutation(len(life.keys))
    studied, others = order[:STUDIED], order[STUDIED:]
    foils = live(replace(plan, items=STUDIED), seed + 1).values[:STUDIED]  # values that were never studied
    for _ in range(exposures):
        for item in studied:
            memory.learn(life.keys[item], life.values[item])
    scores, done = [], 0
    for delay in DELAYS:
        for item in others[done:delay]:
            memory.learn(life.keys[item], life.values[item])
        done = delay
        read = memory.read(life.keys[studied])
        own = np.linalg.norm(read - life.values[studied], axis=1)
        recognised = float((own < np.linalg.norm(read - foils, axis=1)).mean())
        scores.append((recognised, float((ranks(read, life.values, studied) == 0).mean())))
    return scores


def _days_to_best(outcome: Outcome, block: int) -> int:
    items = outcome.first_day // BLOCK_DAYS == block
    curve = mean_by_day(outcome.found[:, items], outcome.known[:, items])
    return 1 + int(np.nanargmax(curve)) - block * BLOCK_DAYS if np.isfinite(curve).any() else BLOCK_DAYS


def _contrast(after: float, before: float) -> float:
    return float((after - before) / (after + before)) if after + before > 0 else 0.0


def _mean(values: Sequence[float]) -> float:
    return float(np.nanmean(values)) if values else float("nan")


def as_rows(reports: dict[str, Any]) -> list[str]:
    """The reports as lines of Markdown."""
    lines = []
    if "lifelong" in reports:
        lines += [
            "",
            "## Lifelong-learning metrics (arXiv 2201.08278)",
            "",
            "| arm | budget | PM | FT | BT | RP | SE |",
        ]
        lines.append("|---|---|---|---|---|---|---|")
        for arm, budgets in reports["lifelong"].items():
            for budget, v in budgets.items():
                lines.append(f"| {arm} | {budget} | " + " | ".join(f"{value:+.3f}" for value in v.values()) + " |")
    if "recognition" in reports:
        lines += ["", "## Recognition, recall, retention (arXiv 2303.17557), without replay", ""]
        lines += ["| exposures | other pairs since | recognition | recall |", "|---|---|---|---|"]
        for row in reports["recognition"]:
            lines.append(
                f"| {row['exposures']:.0f} | {row['delay']:.0f} | {row['recognition']:.3f} | {row['recall']:.3f} |"
            )
    return lines
