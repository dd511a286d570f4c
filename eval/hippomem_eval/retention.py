"""`hippomem eval retention`: arms by budgets by seeds, each seed the same life for all arms; differences are paired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from math import inf
from multiprocessing import get_context
from typing import Any

import numpy as np

from hippomem import InvalidInputError
from hippomem_eval.retention_life import Plan
from hippomem_eval.retention_metrics import mean_by_day, measures
from hippomem_eval.retention_run import ARMS, Outcome, simulate

PROPOSED, BASELINE = "fsrs+floor", "uniform"
GUARDED = {"worst_cohort": "worst_cohort", "new_items": "new_item", "unused_items": "unused_item"}
MARGIN = 0.05  # by which a guarded measure may be lower


@dataclass(frozen=True, slots=True)
class RetentionOptions:
    """What is simulated. Raises InvalidInputError for an arm that there is not."""

    arms: Sequence[str] = tuple(ARMS)
    budgets: Sequence[float] = (2.0, 6.0)
    seeds: int = 5
    jobs: int = 2
    plan: Plan = field(default_factory=Plan)

    def __post_init__(self) -> None:
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown:
            raise InvalidInputError(f"there is no arm {unknown[0]!r}: it is one of {', '.join(ARMS)}")
        if self.seeds < 2:
            raise InvalidInputError("an interval takes two seeds at least")
        if not self.budgets or not all(0 <= budget < inf for budget in self.budgets):
            raise InvalidInputError("a budget is a number of replays per item, 0 or more")


Lives = Mapping[tuple[str, float], list[Outcome]]


def run_retention(options: RetentionOptions, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Simulate, and return the figures as `retention.json` holds them."""
    tasks = [
        (arm, budget, seed)
        for arm, budget, seed in product(options.arms, options.budgets, range(options.seeds))
        if ARMS[arm].curve is not None or budget == options.budgets[0]  # without replay there is no budget
    ]
    lives: dict[tuple[str, float], list[Outcome]] = {}
    tell(f"{len(tasks)} lives of {options.plan.days} days, {options.plan.items} items, on {options.jobs} processes")
    for done, outcome in enumerate(_outcomes(tasks, options), 1):
        lives.setdefault((outcome.arm, outcome.budget), []).append(outcome)
        if done % 25 == 0:
            tell(f"{done} of {len(tasks)}")
    for arm, budget in product(options.arms, options.budgets):
        if ARMS[arm].curve is None:
            lives[arm, budget] = lives[arm, options.budgets[0]]
    return summarise_retention(lives, options)


def _outcomes(tasks: Sequence[tuple[str, float, int]], options: RetentionOptions) -> Any:
    calls = [(ARMS[arm], budget, seed, options.plan) for arm, budget, seed in tasks]
    if options.jobs == 1:
        yield from (simulate(*call) for call in calls)
        return
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), initializer=_on_one_thread) as pool:
        yield from pool.map(simulate, *zip(*calls, strict=True))


def _on_one_thread() -> None:
    """Each process has a core to itself: with BLAS threads beside it the same run took ten times as long."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def summarise_retention(lives: Lives, options: RetentionOptions) -> dict[str, Any]:
    """Means of all arms, and what they gain over uniform replay on the same lives, with 95 % intervals."""
    figures = {key: [measures(outcome) for outcome in own] for key, own in lives.items()}
    names = list(next(iter(figures.values()))[0])
    arms: dict[str, Any] = {}
    for (arm, budget), own in figures.items():
        arms.setdefault(arm, {})[str(float(budget))] = {
            **{name: float(np.mean([one[name] for one in own])) for name in names},
            "curve": _mean_curve(lives[arm, budget]),
        }
    summary: dict[str, Any] = {
        "plan": {name: getattr(options.plan, name) for name in Plan.__dataclass_fields__},
        "budgets": [float(budget) for budget in options.budgets],
        "seeds": options.seeds,
        "proposed": PROPOSED,
        "arms": {arm: arms[arm] for arm in options.arms},
    }
    if BASELINE in options.arms:
        summary["gains"] = {
            arm: {str(float(b)): paired(figures[arm, b], figures[BASELINE, b], "auc") for b in options.budgets}
            for arm in options.arms
            if arm != BASELINE
        }
    if {PROPOSED, BASELINE} <= set(options.arms):
        summary["gain_over_uniform"] = summary["gains"][PROPOSED]
        for measure, name in GUARDED.items():
            differences = {
                str(float(b)): paired(figures[PROPOSED, b], figures[BASELINE, b], measure) for b in options.budgets
            }
            summary[f"{name}_difference"] = {b: d["mean"] for b, d in differences.items()}
            summary[f"{name}_interval"] = differences
    return summary


def paired(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]], name: str) -> dict[str, float]:
    """The mean difference over the same seeds, with its 95 % interval by Student's t."""
    from scipy.stats import t

    difference = np.array([a[name] - b[name] for a, b in zip(ours, theirs, strict=True)])
    mean = float(difference.mean())
    reach = float(t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference)))
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def _mean_curve(own: Sequence[Outcome]) -> list[float]:
    return [float(value) for value in np.nanmean([mean_by_day(o.found, o.known) for o in own], axis=0)]
