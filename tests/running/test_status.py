"""Clocks and sentences of the status line, by a clock of the test's own."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from gada_ray.running.status import Status
from gada_ray.study.price import work
from tests.study.test_search import result, search, study


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("gada_ray.running.status.time", SimpleNamespace(monotonic=made))
    return made


def watched(variants=1, splits=5, cost=work):
    searching = search(study({str(n): {"losses.l1_weight": 1.0 + n} for n in range(variants)}, splits=splits))
    shown = io.StringIO()
    status = Status(Console(file=shown, width=200), "toy", searching.waiting, lambda: searching.planned, "1 GPU", cost)
    return searching, status, shown


def test_a_trial_costs_nothing_while_it_waits_for_a_worker_and_says_so(clock):
    searching, status, shown = watched()
    job = searching.next()
    status.waits(job)
    clock.now += 40
    status.tick()
    assert status.device_hours == 0.0
    assert "1 waiting for 1 GPU, 40 s" in shown.getvalue()
    status.started(job)
    clock.now += 36
    assert status.device_hours == pytest.approx(0.01) and status.waiting == ""
    status.released(job)
    clock.now += 3600
    assert status.device_hours == pytest.approx(0.01)
    status.ended(job, result(job, 0.5), known=False)
    assert status.device_hours == pytest.approx(0.01)
    assert "SROCC 0.500 | 1/5 trials" in shown.getvalue()


def test_a_trial_that_takes_many_times_as_long_as_others_of_its_size_is_named_once(clock):
    searching, status, shown = watched()
    jobs = [searching.next() for _ in range(5)]
    for job in jobs:
        status.waits(job)
        status.started(job)
    clock.now += 100
    for job in jobs[:4]:
        status.released(job)
    clock.now += 250
    status.tick()
    assert "has run for" not in shown.getvalue()
    clock.now += 100
    status.tick()
    status.tick()
    assert shown.getvalue().count("has run for 8 min, others of its size take 2 min") == 1
    assert jobs[4].run.name in shown.getvalue()


def test_the_time_to_go_counts_trials_by_their_price(clock):
    # Trainings of 100, 20 and 20 seconds, as many steps each; the first one is through after 200.
    searching, status, _ = watched(3, 1, lambda config, skipped: 100.0 if config.losses.l1_weight == 1.0 else 20.0)
    jobs = [searching.next() for _ in range(3)]
    for job in jobs:
        status.waits(job)
    status.started(jobs[0])
    assert jobs[0].trial.config.losses.l1_weight == 1.0
    clock.now += 200
    status.released(jobs[0])
    status.ended(jobs[0], result(jobs[0], 0.5), known=False)
    assert status.fraction == pytest.approx(100 / 140)
    assert status.eta() == "80 s"


def test_nothing_is_to_go_after_the_last_trial_whatever_rounding_makes_of_prices(clock):
    prices: dict[float, float] = {}
    searching, status, _ = watched(
        3, 1, lambda config, skipped: prices.setdefault(config.losses.l1_weight, (0.3, 0.2, 0.1)[len(prices) % 3])
    )
    jobs = [searching.next() for _ in range(3)]
    for job in jobs:
        status.waits(job)
    for job in reversed(jobs):
        status.started(job)
        clock.now += 10
        status.released(job)
        status.ended(job, result(job, 0.5), known=False)
    assert status.fraction == 1.0 and status.eta() == "0 s"


def test_nodes_that_join_or_leave_are_told(clock):
    _, status, shown = watched()
    status.counted(2)
    assert not shown.getvalue()
    status.counted(6)
    assert "the nodes have room for 6 trials at a time now, 2 before" in shown.getvalue()
