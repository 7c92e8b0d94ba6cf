"""Which trial comes next: grids, and Optuna's search over configurations, each on every split.

Optuna sees one trial a configuration; its value is the mean validation SROCC over the splits. It is asked in
generations: a generation is proposed at once, trained in any order, and told in the order of its numbers when all of it
is done. So proposals depend neither on the number of workers nor on which trial ends first, and a search that is run
again proposes the same configurations and finds their results in the store. The same holds for the race over splits:
its decisions are taken when a block of splits is done for the whole generation.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from gada_ray.config import digest, flatten, with_values
from gada_ray.data.splits import Fold, Split, splits_hash
from gada_ray.store import Result
from gada_ray.study.definition import LevelPlan, Plan, Selection, selection
from gada_ray.study.racing import Racing, losers
from gada_ray.study.summary import ConfigurationRun
from gada_ray.trial import Trial

GENERATION = 4
"""Proposals made at once, whatever the number of workers."""
OBJECTIVE = "srocc"


@dataclass(frozen=True, eq=False)
class Job:
    """One trial, and the configuration of a study that it belongs to."""

    run: ConfigurationRun
    trial: Trial


@dataclass(eq=False)
class Configuration:
    """A configuration and its trials, one a split, in the order of splits that all configurations share."""

    run: ConfigurationRun
    jobs: tuple[Job, ...]
    results: dict[int, Result | None]
    """By split; None where the training could not be carried out."""
    released: int = 0
    """How many of the jobs may start."""
    given_up: bool = False
    """Whether the race is over for it; the jobs that were not released never start."""

    def release(self, count: int) -> list[tuple[Configuration, Job]]:
        """The next jobs, to be started."""
        jobs = self.jobs[self.released : self.released + count]
        self.released += len(jobs)
        return [(self, job) for job in jobs]

    @property
    def settled(self) -> bool:
        """Whether every job that was released is through, well or not."""
        return len(self.results) == self.released

    @property
    def scores(self) -> list[float]:
        """SROCC on the splits that were trained to their end, in the shared order."""
        results = [self.results.get(job.trial.fold.split) for job in self.jobs]
        return [result.metrics[OBJECTIVE] for result in results if result and result.metrics]

    @property
    def complete(self) -> bool:
        """Whether every split was trained to its end."""
        return len(self.scores) == len(self.jobs)

    @property
    def failed(self) -> bool:
        """Whether a split that was released could not be trained to its end."""
        return self.settled and len(self.scores) < self.released

    @property
    def mean(self) -> float | None:
        """The mean SROCC over the splits, if every one was trained to its end."""
        return float(np.mean(self.scores)) if self.complete else None


class LevelSearch:
    """One level: generations of proposals on validation references, then the test of the best one."""

    def __init__(
        self,
        level: LevelPlan,
        racing: Racing | None,
        make: Callable[[LevelPlan, str, int, Mapping[str, Any]], Configuration],
        on_given_up: Callable[[Configuration], None],
    ) -> None:
        self.level, self._racing, self._make, self._on_given_up = level, racing, make, on_given_up
        self.proposed: list[Configuration] = []
        self.tested: Configuration | None = None
        self.planned = 0
        """Trainings of the level, as far as can be known now."""
        self._open: list[tuple[optuna.Trial, Configuration]] = []
        seed = int(digest(["search", level.name])[:8], 16)
        with _quiet():
            self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        if level.space:
            own = flatten(level.config)
            self.study.enqueue_trial({path: own[path] for path in level.space})

    def advance(self) -> list[tuple[Configuration, Job]]:
        """Jobs that can start now; none while others of the level must end first, or when all is done."""
        jobs = self._release()
        self.planned = self._plan()
        return jobs

    def _release(self) -> list[tuple[Configuration, Job]]:
        if self.tested is not None or not all(configuration.settled for _, configuration in self._open):
            return []
        self._race()
        jobs = [job for _, configuration in self._open for job in self._next_block(configuration)]
        if jobs:
            return jobs
        self._close_generation()
        for _ in range(min(GENERATION, self.level.proposals - len(self.proposed))):
            trial = self.study.ask(dict(self.level.space))
            configuration = self._make(self.level, "search", trial.number, trial.params)
            self.proposed.append(configuration)
            self._open.append((trial, configuration))
        if self._open:
            return [job for _, configuration in self._open for job in self._next_block(configuration)]
        best = self.best
        if self.level.proposals and best is None:
            return []  # nothing could be trained; there is no winner to test
        self.tested = self._make(self.level, "test", 0, best.run.values if best else {})
        return self.tested.release(len(self.tested.jobs))

    def _next_block(self, configuration: Configuration) -> list[tuple[Configuration, Job]]:
        """The jobs up to the next decision."""
        if configuration.given_up or configuration.failed:
            return []
        splits = len(configuration.jobs)
        blocks = self._racing.blocks(splits) if self._racing else [range(splits)]
        return configuration.release(next((len(b) for b in blocks if b.start == configuration.released), 0))

    def _race(self) -> None:
        """Give up the open configurations that are clearly worse than the best one."""
        if self._racing is None:
            return
        running = {c.run.number: c.scores for _, c in self._open if not (c.given_up or c.failed or c.complete)}
        complete = {c.run.number: c.scores for c in self.proposed if c.complete}
        lost = losers(running, complete, self._racing)
        for _, configuration in self._open:
            if configuration.run.number in lost:
                configuration.given_up = True
                done = tuple(job.trial.fold.split for job in configuration.jobs[: configuration.released])
                configuration.run = dataclasses.replace(configuration.run, splits=done)
                self._on_given_up(configuration)

    def _close_generation(self) -> None:
        """Tell Optuna what came out, in the order of the numbers: of those given up, the mean so far."""
        for trial, configuration in self._open:
            if configuration.failed:
                self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self.study.tell(trial, float(np.mean(configuration.scores)))
        self._open = []

    def _plan(self) -> int:
        """Count the trainings that were released, and those to come."""
        made = [*self.proposed, *([self.tested] if self.tested else [])]
        splits = [c.released if c.given_up or c.failed else len(c.jobs) for c in made]
        each = max([len(c.jobs) for c in made], default=0)
        to_come = self.level.proposals - len(self.proposed) + (self.tested is None)
        return sum(splits) + to_come * each

    @property
    def best(self) -> Configuration | None:
        """The proposal with the highest mean validation SROCC, among those complete on every split."""
        means = [(configuration.mean, configuration) for configuration in self.proposed]
        complete = [(mean, configuration) for mean, configuration in means if mean is not None]
        return max(complete, key=lambda pair: pair[0])[1] if complete else None


class Search:
    """All trials of a plan, in an order that lets later ones build on earlier ones."""

    def __init__(
        self,
        plan: Plan,
        splits: Mapping[Selection, Sequence[Split]],
        fingerprints: Mapping[Selection, str],
        known: Callable[[str], Result | None],
        on_done: Callable[[Job, Result | None, bool], None] = lambda job, result, known: None,
        on_given_up: Callable[[Configuration], None] = lambda configuration: None,
    ) -> None:
        """`splits` and `fingerprints` are by data selection; `known` reads results of record by signature.

        `on_done` is told of every job with its result, and whether the result was in the store already; `on_given_up`
        of every configuration that lost its race.
        """
        self.plan, self._splits, self._fingerprints = plan, splits, fingerprints
        self._known, self._on_done = known, on_done
        self.levels = [LevelSearch(level, plan.racing, self._configuration, on_given_up) for level in plan.levels]
        self._todo: deque[tuple[LevelSearch, Configuration, Job]] = deque()
        self._same: dict[str, list[tuple[LevelSearch, Configuration, Job]]] = {}
        """By signature of every trial that waits or runs: jobs of other configurations that are the same trial."""
        self._running: dict[str, tuple[LevelSearch, Configuration, Job]] = {}
        for level in self.levels:
            self._advance(level)

    def _configuration(self, level: LevelPlan, stage: str, number: int, values: Mapping[str, Any]) -> Configuration:
        """A configuration with its jobs."""
        config = with_values(level.config, values)
        place = selection(config)
        splits = self._splits[place]
        folds: list[Fold] = [split.for_selection() if stage == "search" else split.for_test() for split in splits]
        run = ConfigurationRun(
            study=self.plan.study,
            preset=self.plan.preset,
            dataset=self.plan.dataset,
            level=level.name,
            stage="search" if stage == "search" else "test",
            number=number,
            values={**level.values, **values},
            config=config,
            splits=tuple(fold.split for fold in folds),
            scheme=splits_hash(splits),
            seed=self.plan.seed,
            question=self.plan.question,
        )
        jobs = [Job(run, Trial(config, fold, self.plan.seed, self._fingerprints[place])) for fold in folds]
        # One order for all configurations, so that any two have seen the same splits.
        order = np.random.default_rng([self.plan.seed, len(jobs)]).permutation(len(jobs)) if stage == "search" else None
        return Configuration(run, tuple(jobs if order is None else [jobs[i] for i in order]), {})

    def _advance(self, level: LevelSearch) -> None:
        """Queue what can start in a level, and settle at once what the store knows, after which more may start."""
        while jobs := level.advance():
            for configuration, job in jobs:
                result = self._known(job.trial.signature)
                if result is not None:
                    self._settle(configuration, job, result, known=True)
                elif job.trial.signature in self._same:
                    self._same[job.trial.signature].append((level, configuration, job))
                else:
                    self._todo.append((level, configuration, job))
                    self._same[job.trial.signature] = []

    def _settle(self, configuration: Configuration, job: Job, result: Result | None, known: bool) -> None:
        configuration.results[job.trial.fold.split] = result
        self._on_done(job, result, known)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train or to wait for."""
        return not self._todo and not self._running

    @property
    def planned(self) -> int:
        """Trainings of the whole study, as far as can be known now."""
        return sum(level.planned for level in self.levels)

    @property
    def waiting(self) -> list[Job]:
        """Jobs that could start now or soon."""
        return [job for _, _, job in itertools.chain(self._todo, *self._same.values())]

    def next(self) -> Job | None:
        """A job to train now, or None.

        A trial waits for one that is being trained and is its own first phases: it can start from there.
        """
        for place, (level, configuration, job) in enumerate(self._todo):
            if self._running.keys().isdisjoint(job.trial.starts):
                del self._todo[place]
                self._running[job.trial.signature] = (level, configuration, job)
                return job
        return None

    def done(self, job: Job, result: Result | None) -> None:
        """Take the result of a job; None if it could not be carried out."""
        level, configuration, job = self._running.pop(job.trial.signature)
        same = self._same.pop(job.trial.signature)
        self._settle(configuration, job, result, known=False)
        if result is not None:
            for _, other, twin in same:
                self._settle(other, twin, result, known=True)
        elif same:  # somebody else's turn to try
            self._todo.appendleft(same[0])
            self._same[job.trial.signature] = same[1:]
        for moved in dict.fromkeys([level, *(place for place, _, _ in same)]):
            self._advance(moved)

    def again(self, job: Job) -> None:
        """Queue a job that broke off, to be the next to start."""
        self._todo.appendleft(self._running.pop(job.trial.signature))

    def configurations(self) -> list[Configuration]:
        """All configurations so far: proposals, then tested ones."""
        proposed = itertools.chain.from_iterable(level.proposed for level in self.levels)
        return [*proposed, *(level.tested for level in self.levels if level.tested)]


class _quiet:
    """Optuna announces every study and proposal."""

    def __enter__(self) -> None:
        self._before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def __exit__(self, *_: object) -> None:
        optuna.logging.set_verbosity(self._before)
