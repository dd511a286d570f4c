"""The simulated life and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hippomem import InvalidInputError
from hippomem_eval.cli import app
from hippomem_eval.retention import GUARDED, MARGIN, RetentionOptions, run_retention
from hippomem_eval.retention_life import DUPLICATE, FACT, POISON, UPDATE, Plan, live
from hippomem_eval.retention_memory import Perceptron, ranks
from hippomem_eval.retention_metrics import calibration, cohort_curves, min_acc, windowed_forgetting, worst_case_acc
from hippomem_eval.retention_protocols import lifelong_metrics, recognition
from hippomem_eval.retention_run import ARMS, simulate

SMALL = Plan(items=60, days=10, dimension=64, queries=10, topics=4)


def test_a_life_is_the_same_for_the_same_seed_and_holds_what_was_planned() -> None:
    life, again, other = live(Plan(), 3), live(Plan(), 3), live(Plan(), 4)
    assert [e.hour for e in life.experiences] == [e.hour for e in again.experiences]
    assert [e.hour for e in life.experiences] != [e.hour for e in other.experiences]
    kinds = [e.kind for e in life.experiences]
    assert (kinds.count(UPDATE), kinds.count(DUPLICATE), kinds.count(POISON)) == (30, 60, 30)
    assert [e.day for e in life.experiences] == sorted(e.day for e in life.experiences)
    for e in life.experiences:
        assert e.day >= life.first_day[e.item]
        if e.kind == FACT:
            assert life.truth[e.day, e.item] == e.value
    sizes = np.bincount(life.first_day, minlength=30)
    assert sizes.max() > 2 * np.median(sizes)  # bursts


def test_a_memory_full_of_nan_finds_nothing_and_learns_nothing() -> None:
    memory = Perceptron(8, 0)
    values = np.eye(8, dtype=np.float32)
    before = memory.first.copy(), memory.second.copy()
    assert not memory.learn(np.full(8, np.nan, np.float32), values[0])
    assert memory.refused == 1
    assert (memory.first == before[0]).all()
    assert (memory.second == before[1]).all()
    memory.second[:] = np.nan
    assert (ranks(memory.read(values), values, np.arange(8)) == 8).all()


def test_a_step_halves_the_error_and_never_wipes() -> None:
    rng = np.random.default_rng(0)
    memory = Perceptron(64, 0)
    key, value = rng.normal(size=(2, 64)).astype(np.float32)
    errors = []
    for _ in range(12):
        errors.append(float(np.linalg.norm(memory.read(key[None])[0] - value)))
        assert memory.learn(key, value)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05 * errors[0]


def test_measures_are_what_they_say() -> None:
    known = np.ones((4, 2), np.bool_)
    known[0, 1] = False
    found = np.array([[1, 0], [0, 1], [1, 1], [1, 0]], np.bool_)
    cohorts = cohort_curves(found, known, np.array([0, 1]))
    assert min_acc(cohorts) == 0.0
    assert worst_case_acc(cohorts) == 0.0
    assert windowed_forgetting(cohorts, 1) == 1.0
    assert windowed_forgetting(cohorts[:, 1:2], 1) != windowed_forgetting(cohorts, 1)
    scores = calibration([(1.0, 1.0)] * 50 + [(1.0, 0.0)] * 50)
    assert scores["brier"] == 0.5
    assert scores["brier_moving"] < scores["brier_constant"] < 0.5
    table = np.array([[0.8, 0, 0], [0.4, 0.8, 0], [0.4, 0.4, 0.8]])
    told = lifelong_metrics(table)
    assert told["performance_maintenance"] == pytest.approx(-0.4)
    assert told["forward_transfer"] == 0
    assert told["backward_transfer"] == pytest.approx((-1 / 3 + 0 - 1 / 3) / 3)


def test_every_arm_spends_the_same_budget() -> None:
    spent = {}
    for arm in ARMS.values():
        outcome = simulate(arm, 2.0, 0, SMALL)
        spent[arm.name] = outcome.replays
        assert outcome.refused == 0
        assert outcome.known[-1].all()
    assert spent.pop("none") == 0
    assert set(spent.values()) == {2 * SMALL.items}


def test_the_gate_finds_contradictions_and_keeps_duplicates_out() -> None:
    outcome = simulate(ARMS["fsrs+floor"], 2.0, 0, SMALL)
    counts = outcome.contradictions
    assert counts["right"] >= 0.8 * counts["planted"] > 0
    assert counts["found"] - counts["right"] <= 0.02 * counts["others"]
    assert counts["duplicates kept out"] >= 0.8 * counts["duplicates"] > 0
    assert outcome.poison["kept out"] > 0


@pytest.mark.slow
def test_replay_beats_none_and_the_json_has_its_keys(tmp_path: Path) -> None:
    command = ["retention", "--arms", "none,uniform,fsrs+floor", "--seeds", "2", "--budgets", "2", "--jobs", "1"]
    ran = CliRunner().invoke(app, [*command, "--json", "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    summary = json.loads(ran.stdout)
    assert set(summary["arms"]) == {"none", "uniform", "fsrs+floor"}
    assert set(summary["gain_over_uniform"]["2.0"]) == {"mean", "low", "high"}
    for name in ("worst_cohort", "new_item", "unused_item"):
        assert isinstance(summary[f"{name}_difference"]["2.0"], float)
    assert summary["arms"]["uniform"]["2.0"]["auc"] > summary["arms"]["none"]["2.0"]["auc"] + 0.2
    assert summary == json.loads((tmp_path / "retention.json").read_text())
    for picture in ("retention-2x.png", "retention-2x-dark.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert "AUC over uniform" in (tmp_path / "retention.md").read_text()


def test_few_shot_memories_fade() -> None:
    rows = {(r["exposures"], r["delay"]): r for r in recognition([0], SMALL)}
    assert rows[3, 0]["recall"] > rows[3, 200]["recall"]
    assert rows[3, 0]["recall"] >= rows[1, 0]["recall"]
    assert all(r["recognition"] >= r["recall"] - 0.1 for r in rows.values())  # recognition outlasts recall


def test_wrong_options_are_told() -> None:
    with pytest.raises(InvalidInputError, match="no arm 'spiral'"):
        RetentionOptions(["spiral"])
    for budget in (float("nan"), float("inf"), -1.0):
        with pytest.raises(InvalidInputError, match="a budget is a number of replays"):
            RetentionOptions(["none"], [2.0, budget])
    ran = CliRunner().invoke(app, ["retention", "--budgets", "two"])
    assert ran.exit_code == 2


def test_an_arm_with_a_comma_in_its_name_can_be_asked_for() -> None:
    ran = CliRunner().invoke(app, ["retention", "--arms", "fsrs+floor, no gate, uniform,fsrs+floor, spiral"])
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: there is no arm 'spiral'")


def test_a_folder_that_cannot_be_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command in (["retention", "--arms", "none", "--seeds", "2"], ["recall-capacity", "--dimensions", "4"]):
        ran = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "file")])
        assert (ran.exit_code, ran.stdout) == (1, "")
        assert ran.stderr.startswith("error: ")  # no line of progress before it


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_fsrs_with_a_floor_beats_uniform_replay() -> None:
    summary = run_retention(RetentionOptions(["uniform", "fsrs+floor"]))
    for budget in ("2.0", "6.0"):
        assert summary["gain_over_uniform"][budget]["low"] > 0
        assert all(summary[f"{name}_difference"][budget] >= -MARGIN for name in GUARDED.values())


def test_a_town_of_another_kind_has_other_relations_and_other_people() -> None:
    from hippomem_eval.contradictions import HELD_OUT, TUNED, town

    notes, ended = town(40, 0.3, HELD_OUT.first_seed, HELD_OUT)
    assert {note.relation for note in notes} == {*HELD_OUT.functional, *HELD_OUT.many}
    assert not {*HELD_OUT.functional, *HELD_OUT.many} & {*TUNED.functional, *TUNED.many}
    assert {relation for _, relation, _ in ended} == {*HELD_OUT.functional[: HELD_OUT.changing]}
    assert town(40, 0.3, 1) == town(40, 0.3, 1, TUNED) != town(40, 0.3, 2)


def test_what_is_told_again_in_a_town_is_told_while_it_holds() -> None:
    from hippomem_eval.contradictions import town

    once, ended = town(40, 0.3, 1)
    notes, same = town(40, 0.3, 1, retold=2)
    assert (len(notes), same) == (pytest.approx(3 * len(once), rel=0.1), ended)
    days: dict[tuple[str, str, str], list[int]] = {}
    for note in notes:
        days.setdefault((note.subject, note.relation, note.object), []).append(note.day)
    for subject, relation, object_ in ended:
        (later,) = (f for f in days if f[:2] == (subject, relation) and f[2] != object_)
        assert max(days[subject, relation, object_]) <= min(days[later])
