"""Which trial comes next: grids, and Optuna's search over configurations, each on every split.

Optuna sees one trial a configuration; its value is the mean validation SROCC over the splits. It is asked in
generations: a generation is proposed at once, trained in any order, and told in the order of its numbers when all of it
is done. So proposals depend neither on the number of workers nor on which trial ends first, and a search that is run
again proposes the same configurations and finds their results in the store.
"""

from __future__ import annotations

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
from gada_ray.trial import Trial
from gada_ray.tuning.study import LevelPlan, Plan, selection
from gada_ray.tuning.summary import ConfigurationRun

GENERATION = 4
"""Proposals made at once, whatever the number of workers."""
OBJECTIVE = "srocc"


@dataclass(frozen=True, eq=False)
class Job:
    """One trial, and the configuration of a study that it belongs to."""

    run: ConfigurationRun
    trial: Trial


@dataclass(frozen=True, eq=False)
class Configuration:
    """A configuration and its trials, one a split, with the results that are in."""

    run: ConfigurationRun
    jobs: tuple[Job, ...]
    results: dict[int, Result | None]
    """By split; None where the training could not be carried out."""

    @property
    def done(self) -> bool:
        """Whether every split is through, well or not."""
        return len(self.results) == len(self.jobs)

    @property
    def mean(self) -> float | None:
        """The mean SROCC over the splits, if every split was trained to its end."""
        scores = [result.metrics[OBJECTIVE] for result in self.results.values() if result and result.metrics]
        return float(np.mean(scores)) if scores and len(scores) == len(self.jobs) else None


class LevelSearch:
    """One level: generations of proposals on validation references, then the test of the best one."""

    def __init__(self, level: LevelPlan, make: Callable[[LevelPlan, str, int, Mapping[str, Any]], Configuration]):
        self.level, self._make = level, make
        self.proposed: list[Configuration] = []
        self.tested: Configuration | None = None
        self._open: list[tuple[optuna.Trial, Configuration]] = []
        seed = int(digest(["search", level.name])[:8], 16)
        with _quiet():
            self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        if level.space:
            own = flatten(level.config)
            self.study.enqueue_trial({path: own[path] for path in level.space})

    def advance(self) -> list[Configuration]:
        """Configurations that can start now; none while a generation is being trained, or when all is done."""
        if any(not configuration.done for _, configuration in self._open) or self.tested is not None:
            return []
        for trial, configuration in self._open:
            mean = configuration.mean
            if mean is None:
                self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self.study.tell(trial, mean)
        self._open = []
        left = self.level.proposals - len(self.proposed)
        for _ in range(min(GENERATION, left)):
            trial = self.study.ask(dict(self.level.space))
            configuration = self._make(self.level, "search", trial.number, trial.params)
            self.proposed.append(configuration)
            self._open.append((trial, configuration))
        if self._open:
            return [configuration for _, configuration in self._open]
        best = self.best
        if self.level.proposals and best is None:
            return []  # nothing could be trained; there is no winner to test
        self.tested = self._make(self.level, "test", 0, best.run.values if best else {})
        return [self.tested]

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
        splits: Mapping[tuple[bool, str, bool], Sequence[Split]],
        fingerprints: Mapping[tuple[bool, str, bool], str],
        known: Callable[[str], Result | None],
        on_done: Callable[[Job, Result | None, bool], None] = lambda job, result, known: None,
    ) -> None:
        """`splits` and `fingerprints` are by data selection; `known` reads results of record by signature.

        `on_done` is told of every job with its result, and whether the result was in the store already.
        """
        self.plan, self._splits, self._fingerprints = plan, splits, fingerprints
        self._known, self._on_done = known, on_done
        self.levels = [LevelSearch(level, self._configuration) for level in plan.levels]
        self._todo: deque[tuple[Configuration, Job]] = deque()
        self._running: dict[str, tuple[Configuration, Job]] = {}
        self._advance()

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
        )
        jobs = tuple(Job(run, Trial(config, fold, self.plan.seed, self._fingerprints[place])) for fold in folds)
        return Configuration(run, jobs, {})

    def _advance(self) -> None:
        """Queue whatever can start, and settle at once what the store knows."""
        moved = True
        while moved:
            moved = False
            for level in self.levels:
                for configuration in level.advance():
                    moved = True
                    self._todo += [(configuration, job) for job in configuration.jobs]
            for configuration, job in list(self._todo):
                result = self._known(job.trial.signature)
                if result is not None:
                    self._todo.remove((configuration, job))
                    configuration.results[job.trial.fold.split] = result
                    self._on_done(job, result, True)
                    moved = True

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train or to wait for."""
        return not self._todo and not self._running

    @property
    def waiting(self) -> list[Job]:
        """Jobs that could start now or soon."""
        return [job for _, job in self._todo]

    def next(self) -> Job | None:
        """A job to train now, or None.

        A trial waits for one that is being trained and is the same, or its own first phases: it can start from there.
        """
        for configuration, job in self._todo:
            trial = job.trial
            needs = {trial.prefix(phases) for phases in range(1, len(trial.config.phases) + 1)}
            if not needs & self._running.keys():
                self._todo.remove((configuration, job))
                self._running[trial.signature] = (configuration, job)
                return job
        return None

    def done(self, job: Job, result: Result | None) -> None:
        """Take the result of a job; None if it could not be carried out."""
        configuration, job = self._running.pop(job.trial.signature)
        configuration.results[job.trial.fold.split] = result
        self._on_done(job, result, False)
        self._advance()

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
