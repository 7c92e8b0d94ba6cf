"""A study in virtual time: what depends on the slots, and what does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.utilisation import UNLIMITED, paper_plan, run
from gada_ray import LogUniform
from gada_ray.study.results import by_split, table
from gada_ray.study.search import Search
from gada_ray.study.virtual import play
from tests.study.test_search import quality, search, study

RATE = {"rates.evaluator": LogUniform(1e-5, 1e-1)}


def searched() -> Search:
    made: Search = search(study({"a": {}, "b": {"data.batch": 8}}, candidates=16, space=RATE, splits=10))
    return made


def seconds(seed: int):
    chance = np.random.default_rng(seed)
    return lambda job, skipped: float(np.exp(0.4 * chance.standard_normal()))


@pytest.mark.parametrize(("slots", "seed"), [(4, 1), (4, 2), (16, 3), (64, 4), (1000, 5)])
def test_the_table_is_the_same_to_the_last_bit_on_any_number_of_slots_in_any_order_of_ends(slots, seed):
    one, many = searched(), searched()
    alone, line = play(one, 1, seconds(0), quality), play(many, slots, seconds(seed), quality)
    left, right = table(one.configurations()), table(many.configurations())
    columns = [name for name in left if name != "device_hours"]
    pd.testing.assert_frame_equal(left[columns], right[columns], check_exact=True)
    pd.testing.assert_frame_equal(
        by_split(one.configurations()).drop(columns="seconds"),
        by_split(many.configurations()).drop(columns="seconds"),
        check_exact=True,
    )
    assert [c.run.values for c in one.configurations()] == [c.run.values for c in many.configurations()]
    assert alone.trainings == line.trainings, "those that count"
    assert (alone.discarded, alone.discarded_trainings) == (0.0, 0)


def test_idle_slots_train_speculatively_and_the_cost_of_that_is_counted():
    speculative = play(searched(), 64, seconds(0), quality)
    of = search(study({"a": {}, "b": {"data.batch": 8}}, candidates=16, space=RATE, splits=10), speculate=False)
    waiting = play(of, 64, seconds(0), quality)
    assert speculative.makespan < 0.85 * waiting.makespan
    assert speculative.discarded_trainings > 0 and speculative.discarded > 0.0
    assert waiting.discarded_trainings == 0
    assert speculative.utilisation + speculative.idle + speculative.discarded / (
        64 * speculative.makespan
    ) == pytest.approx(1.0)


def test_a_running_training_of_a_pruned_candidate_is_stopped():
    searching, ended = searched(), []
    dropped = searching.dropped
    searching.dropped = lambda job, seconds: (ended.append((job, seconds)), dropped(job, seconds))  # type: ignore
    play(searching, 64, seconds(0), quality)
    lost = {c.run.number: c for c in searching.configurations() if c.pruned}
    assert ended and all(job.run.number in lost for job, _ in ended)
    count, total = searching.discarded
    assert count >= len(ended) and total >= sum(spent for _, spent in ended)


def test_discarded_trainings_of_an_earlier_run_change_nothing_and_are_not_counted_again():
    store = {}
    first = searched()

    def remember(job):
        score = quality(job)
        store[job.trial.signature] = score
        return score

    play(first, 64, seconds(0), remember)
    again = searched()
    line = play(again, 1, seconds(0), lambda job: store[job.trial.signature])
    assert line.discarded_trainings == 0
    assert [c.results.keys() for c in again.configurations()] == [c.results.keys() for c in first.configurations()]


def test_the_longest_trainings_start_first():
    variants = {"short": {}, "long": {"data.crop_px": 64}}
    searching = search(study(variants, splits=4))
    started = [searching.next() for _ in range(8)]
    assert [job.run.variant for job in started if job] == 4 * ["long"] + 4 * ["short"]


def test_a_price_changes_the_order_and_nothing_else():
    searching = search(study({"short": {}, "long": {"data.crop_px": 64}}, splits=2))
    searching.price_by(lambda config, skipped: 1.0 if config.data.crop_px == 64 else 2.0)
    started = [searching.next() for _ in range(4)]
    assert [job.run.variant for job in started if job] == ["short", "short", "long", "long"]
    assert searching.next() is None


@pytest.mark.parametrize("name", ["learning_rates", "phases"])
def test_paper_presets_end_within_the_goal_of_their_bound_on_64_slots(name):
    plan = paper_plan(name)
    line = run(plan, 64)
    bound = max(line.work / 64, run(plan, UNLIMITED).makespan)
    assert line.makespan <= 1.15 * bound
    assert line.discarded <= 0.15 * line.work
