"""A study in virtual time: the search that runs it, on some slots, with durations and scores that are made up."""

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
    """How long a study takes on some slots, and how busy they are; times in the unit of the durations."""

    slots: int
    makespan: float
    work: float
    """Of all trainings that count."""
    trainings: int
    """That count."""
    discarded: float
    """Work on trainings that a decision made pointless, whole or not."""
    discarded_trainings: int

    @property
    def utilisation(self) -> float:
        """The share of the slots' time in which they train what counts."""
        return self.work / max(self.slots * self.makespan, 1e-9)

    @property
    def idle(self) -> float:
        """The share of the slots' time in which they train nothing."""
        return max(0.0, 1 - (self.work + self.discarded) / max(self.slots * self.makespan, 1e-9))


def play(
    search: Search,
    slots: int,
    seconds: Callable[[Job, int], float],
    score: Callable[[Job], float] = lambda job: float(job.trial.fold.split),
    stored: Collection[str] = (),
) -> Timeline:
    """Run a search to its end. `seconds` are of a job whose first phases are skipped, `score` is its SROCC.

    By default scores depend on the split alone, so that no candidate is pruned. First phases are taken over from
    trainings that are done by then, and from `stored` ones, which have these signatures.
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
    """As much of a result as a search reads."""
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
