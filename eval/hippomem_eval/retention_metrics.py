"""What is told of one simulated life: recall over time, its worst parts, and how good the predictions were.

AUC: the mean over days of the recall of everything known so far. min-ACC: the mean over earlier cohorts of the lowest
accuracy that each ever had; WF^w: the largest drop within a window of w days, averaged over cohorts (both arXiv
2205.13452). Forgetting: the highest accuracy a cohort ever had minus its last. A cohort is what was first experienced
on one day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hippomem_eval.retention_run import Outcome

Curve = NDArray[np.float64]
NEW_DAYS = 2
AVERAGED = 50  # probes that the moving average looks back on


def measures(outcome: Outcome) -> dict[str, float]:
    """All figures of one life."""
    cohorts = cohort_curves(outcome.found, outcome.known, outcome.first_day)
    known = np.array([outcome.known[day].any() for day in range(len(outcome.known))])
    recall = mean_by_day(outcome.found, outcome.known)
    popular = np.argsort(-outcome.asked, kind="stable")[: max(1, len(outcome.asked) // 10)]
    is_popular = np.isin(np.arange(len(outcome.asked)), popular)
    days = np.arange(len(outcome.found))[:, None]
    is_new = outcome.known & (outcome.first_day[None, :] > days - NEW_DAYS)
    return {
        "auc": float(np.nanmean(recall[known])),
        "auc_shown": float(np.nanmean(mean_by_day(outcome.shown, outcome.known)[known])),
        "final": float(recall[-1]),
        "worst_cohort": float(np.nanmin(cohorts[:, -1])),
        "min_acc": min_acc(cohorts),
        "worst_case_acc": worst_case_acc(cohorts),
        "wf_1": windowed_forgetting(cohorts, 1),
        "wf_5": windowed_forgetting(cohorts, 5),
        "forgetting": float(np.nanmean(np.nanmax(cohorts, axis=1) - cohorts[:, -1])),
        "new_items": _mean(mean_by_day(outcome.found, is_new)),
        "unused_items": _mean(mean_by_day(outcome.found, outcome.known & (outcome.asked == 0))),
        "popular_items": _mean(mean_by_day(outcome.found, outcome.known & is_popular)),
        "replays": float(outcome.replays),
        "refused": float(outcome.refused),
        **calibration(outcome.probes),
        **contradiction_scores(outcome.contradictions),
        "poison_survival": _share(outcome.poison["survived"], outcome.poison["planted"]),
        "poison_kept_out": _share(outcome.poison["kept out"], outcome.poison["planted"]),
    }


def mean_by_day(found: NDArray[np.bool_], among: NDArray[np.bool_]) -> Curve:
    """Recall on each day of the items that `among` (days, items) marks; NaN where it marks none."""
    counted = among.sum(axis=1)
    hits = (found & among).sum(axis=1)
    return np.asarray(np.divide(hits, counted, out=np.full(len(found), np.nan), where=counted > 0), np.float64)


def cohort_curves(found: NDArray[np.bool_], known: NDArray[np.bool_], first_day: NDArray[np.int64]) -> Curve:
    """Recall of each cohort on each day, NaN before it is there: (cohorts, days)."""
    return np.array([mean_by_day(found, known & (first_day == day)) for day in np.unique(first_day)])


def min_acc(cohorts: Curve) -> float:
    """The mean over all cohorts but the last of the lowest accuracy after the day on which they came."""
    lowest = [np.nanmin(later) for later in (row[~np.isnan(row)][1:] for row in cohorts[:-1]) if len(later)]
    return float(np.mean(lowest)) if lowest else float("nan")


def worst_case_acc(cohorts: Curve) -> float:
    """A_k / k + (1 - 1/k) min-ACC, at the end."""
    k = len(cohorts)
    return float(cohorts[-1, -1] / k + (1 - 1 / k) * min_acc(cohorts)) if k > 1 else float(cohorts[-1, -1])


def windowed_forgetting(cohorts: Curve, window: int) -> float:
    """The largest drop of accuracy within `window` days, averaged over cohorts."""
    drops = []
    for row in cohorts:
        there = row[~np.isnan(row)]
        if len(there) > 1:
            drops.append(max(float(there[a] - there[a + 1 : a + 1 + window].min()) for a in range(len(there) - 1)))
    return max(0.0, float(np.mean(drops))) if drops else float("nan")


def calibration(probes: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Brier scores of the curve's predictions, of a constant and of a moving average, on the same probes in order.

    The constant is the mean of all probes before, the moving average that of the last 50; both see only the past.
    """
    if len(probes) < 2:
        return dict.fromkeys(("predicted", "measured", "brier", "brier_constant", "brier_moving"), float("nan"))
    predicted, measured = np.array(probes, np.float64).T
    before = np.concatenate([[0.0], np.cumsum(measured)])[:-1]
    counts = np.arange(len(measured))
    constant = (before + 1) / (counts + 2)
    start = np.maximum(counts - AVERAGED, 0)
    moving = (before - before[start] + 1) / (counts - start + 2)
    return {
        "predicted": float(predicted.mean()),
        "measured": float(measured.mean()),
        "brier": float(((predicted - measured) ** 2).mean()),
        "brier_constant": float(((constant - measured) ** 2).mean()),
        "brier_moving": float(((moving - measured) ** 2).mean()),
    }


def contradiction_scores(counts: Mapping[str, int]) -> dict[str, float]:
    """Precision and recall of finding planted contradictions, how often the right side was kept, and false ones."""
    found, right = counts["found"], counts["right"]
    return {
        "contradiction_precision": _share(right, found),
        "contradiction_recall": _share(right, counts["planted"]),
        "contradiction_decided_right": _share(counts["decided right"], right),
        "false_contradictions": _share(found - right, counts["others"]),
        "duplicates_kept_out": _share(counts["duplicates kept out"], counts["duplicates"]),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _mean(curve: Curve) -> float:
    return float(np.nanmean(curve)) if np.isfinite(curve).any() else float("nan")
