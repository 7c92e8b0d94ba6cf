"""A study in virtual time: its search on a number of slots, with given durations and scores instead of trainings."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from gada_ray.study.price import skipped_phases
from gada_ray.study.search import OBJECTIVE, Job, Search
from gada_ray.trials.store import FoldRecord, Result, RunRecord


@dataclass(frozen=True)
class Timeline:
    """Duration of a study and use of its slots; times are in the unit of the durations."""

    slots: int
    makespan: float
    work: float
    """Time of all trainings whose results count."""
    trainings: int
    """Trainings whose results count."""
    discarded: float
    """Time of speculative trainings that were discarded, also of those that were stopped before their end."""
    discarded_trainings: int

    @property
    def utilisation(self) -> float:
        """Fraction of the slots' time that is spent on trainings whose results count."""
        return self.work / max(self.slots * self.makespan, 1e-9)

    @property
    def idle(self) -> float:
        """Fraction of the slots' time in which they train nothing."""
        return max(0.0, 1 - (self.work + self.discarded) / max(self.slots * self.makespan, 1e-9))


def play(
    search: Search,
    slots: int,
    seconds: Callable[[Job, int], float],
    score: Callable[[Job], float] = lambda job: float(job.trial.fold.split),
    stored: Collection[str] = (),
) -> Timeline:
    """Run a search to its end. `seconds` is the duration of a job without some first phases, `score` its SROCC.

    By default scores depend on the split alone, so that no candidate is pruned. A job starts from the weights of
    trainings that are done by then, or whose signatures are `stored`.
    """
    now, work, trainings = 0.0, 0.0, 0
    order = itertools.count()
    running: list[tuple[float, int, float, Job]] = []
    done = set(stored)
    while not search.finished:
        while len(running) < slots and (job := search.next()) is not None:
            took = seconds(job, skipped_phases(job.trial, done))
            heapq.heappush(running, (now + took, next(order), now, job))
        assert running, "nothing runs, and nothing can start"
        now, _, since, job = heapq.heappop(running)
        done.add(job.trial.signature)
        work, trainings = work + now - since, trainings + 1
        search.done(job, _result(job, score(job), now - since))
        pointless = {id(job) for job in search.pointless}
        for _, _, since, job in running:
            if id(job) in pointless:
                search.dropped(job, now - since)
                work, trainings = work + now - since, trainings + 1
        running = [entry for entry in running if id(entry[3]) not in pointless]
        heapq.heapify(running)
    count, lost = search.discarded
    return Timeline(slots, now, work - lost, trainings - count, lost, count)


def _result(job: Job, score: float, seconds: float) -> Result:
    """The parts of a result that a search reads."""
    run = RunRecord.model_construct(seconds=seconds, study="")
    return Result.model_construct(
        signature=job.trial.signature,
        status="finished",
        cause=None,
        config=job.trial.config,
        fold=FoldRecord(**asdict(job.trial.fold)),
        metrics={OBJECTIVE: score, "plcc": score},
        run=run,
    )
