"""Times and messages of the status line, with a clock that the test sets."""

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


def test_a_trial_that_waits_for_a_worker_costs_nothing_and_is_shown_as_waiting(clock):
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


def test_the_remaining_time_counts_trials_by_their_cost(clock):
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


def test_no_time_remains_after_the_last_trial_whatever_the_rounding_of_costs(clock):
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


def test_nodes_that_join_or_leave_are_shown(clock):
    _, status, shown = watched()
    status.counted(2)
    assert not shown.getvalue()
    status.counted(6)
    assert "the nodes have room for 6 trials at a time now, 2 before" in shown.getvalue()


def test_no_remaining_time_is_shown_before_a_trial_has_ended(clock):
    searching, status, shown = watched()
    job = searching.next()
    status.waits(job)
    status.started(job)
    clock.now += 40
    status.progress(job, {"steps_done": 5, "steps": 10})
    status.tick()
    assert "remaining" not in shown.getvalue() and "40 s elapsed" in shown.getvalue()
    status.released(job)
    status.ended(job, result(job, 0.5), known=False)
    assert "160 s remaining" in shown.getvalue() or "3 min remaining" in shown.getvalue()


def test_trials_that_wait_for_minutes_although_there_is_room_are_said_once_with_the_place_of_the_logs(clock):
    searching, status, shown = watched()
    status._logs = lambda: "/tmp/ray/session_1/logs"
    jobs = [searching.next() for _ in range(2)]
    status.counted(1)
    for job in jobs:
        status.waits(job)
    status.started(jobs[0])
    clock.now += 200
    status.tick()
    assert "does not start a worker" not in shown.getvalue(), "the only slot is in use"
    status.counted(4)
    status.tick()
    status.tick()
    assert shown.getvalue().count("room for 3 more trials: Ray does not start a worker. Its logs, in /tmp/ray/s") == 1
