"""Which trial comes next: grids, and Optuna's search over configurations, each on every split.

Optuna sees one trial a configuration. Its value is the mean validation SROCC over the splits, with the difficulty of
splits taken out where a race has left candidates on different ones (`adjustment`). Candidates come in generations: a
generation is proposed at once and trained in any order; when all of it is done, the next one is proposed from the
values of all before. So candidates depend neither on the number of workers nor on which trial ends first, and a search
that is run again proposes the same configurations and finds their results in the store. The same holds for the race
over splits: its decisions are made when a block of splits is done for the whole generation.

What is trained when does depend on what is idle. Trainings that a decision has released start first, those with the
longest chain of trainings behind them before others. A slot that is left over trains speculatively: later splits of
candidates that are still in the race. Such results count only once a decision releases them; if the candidate is
pruned, they are discarded.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gada_ray.config import with_values
from gada_ray.data.splits import Fold, Split, splits_hash
from gada_ray.study.adjustment import adjusted_means
from gada_ray.study.definition import Plan, Selection, VariantPlan, selection
from gada_ray.study.price import Cost, skipped_phases, work
from gada_ray.study.proposals import FAILED, STARTUP, propose
from gada_ray.study.racing import Racing, losers
from gada_ray.study.summary import ConfigurationRun, Stage
from gada_ray.trials.identity import Trial
from gada_ray.trials.store import Result

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
    pruned: bool = False
    """Whether it lost the race; the jobs that were not released never start."""

    def release(self, count: int) -> list[tuple[Configuration, Job]]:
        """Release the next jobs and return them."""
        jobs = self.jobs[self.released : self.released + count]
        self.released += len(jobs)
        return [(self, job) for job in jobs]

    @property
    def ended(self) -> bool:
        """Whether every job that was released has ended, well or not."""
        return len(self.results) == self.released

    @property
    def scores(self) -> list[float]:
        """SROCC on the splits that were trained to their end, in the shared order."""
        results = [self.results.get(job.trial.fold.split) for job in self.jobs]
        return [result.metrics[OBJECTIVE] for result in results if result and result.metrics]

    @property
    def by_split(self) -> dict[int, float]:
        """SROCC by split, of those that were trained to their end."""
        return {split: r.metrics[OBJECTIVE] for split, r in self.results.items() if r and r.metrics}

    @property
    def complete(self) -> bool:
        """Whether every split was trained to its end."""
        return len(self.scores) == len(self.jobs)

    @property
    def failed(self) -> bool:
        """Whether a split that was released could not be trained to its end."""
        return self.ended and len(self.scores) < self.released

    @property
    def mean(self) -> float | None:
        """The mean SROCC over the splits, if every one was trained to its end."""
        return float(np.mean(self.scores)) if self.complete else None


class VariantSearch:
    """One variant: generations of candidates on validation references, then the test of the best one."""

    def __init__(
        self,
        variant: VariantPlan,
        racing: Racing | None,
        make: Callable[[VariantPlan, Stage, int, Mapping[str, Any]], Configuration],
        on_pruned: Callable[[Configuration], None],
    ) -> None:
        self.variant, self._racing, self._make, self._on_pruned = variant, racing, make, on_pruned
        self.proposed: list[Configuration] = []
        self.tested: Configuration | None = None
        self.planned = 0
        """Trainings of the variant, as far as can be known now."""
        self._open: list[Configuration] = []
        """The candidates of the present generation."""
        shared = variant.config.phases[: variant.shared_phases]
        self.start = make(variant, "start", 0, {"phases": shared}) if shared else None
        """The first phases that all candidates share, on every split. It is no candidate, and no value is told."""

    def advance(self) -> list[tuple[Configuration, Job]]:
        """Jobs that can start now; none while others of the variant must end first, or when all is done."""
        jobs = self._release()
        self.planned = self._plan()
        return jobs

    def test_to_come(self) -> Sequence[Job]:
        """The test of the best candidate while that is not known: with values of none, but the same first phases."""
        unknown = self.variant.candidates and self.tested is None
        return self._make(self.variant, "test", 0, {}).jobs if unknown else ()

    def start_of(self, job: Job) -> Job | None:
        """The first phases that a candidate shares with the others on its split; None for other trainings."""
        jobs = self.start.jobs if self.start and job.run.stage == "search" else ()
        return next((one for one in jobs if one.trial.signature in job.trial.starts), None)

    def _release(self) -> list[tuple[Configuration, Job]]:
        if self.tested is not None or not all(configuration.ended for configuration in self._open):
            return []
        self._race()
        jobs = [job for configuration in self._open for job in self._next_block(configuration)]
        if jobs:
            return jobs
        self._open = self._next_generation()
        if self._open:
            return [job for configuration in self._open for job in self._next_block(configuration)]
        best = self.best
        if self.variant.candidates and best is None:
            return []  # no candidate could be trained on every split, so that there is nothing to test
        self.tested = self._make(self.variant, "test", 0, best.run.values if best else {})
        return self.tested.release(len(self.tested.jobs))

    def _next_generation(self) -> list[Configuration]:
        """New candidates, which see what all before have reached; none when there are enough."""
        sizes = self._generations()
        if not sizes:
            return []
        first = len(self.proposed)
        values = propose(self.variant, [c.run.values for c in self.proposed], self.told, sizes[0])
        made = [self._make(self.variant, "search", first + number, own) for number, own in enumerate(values)]
        self.proposed += made
        return made

    @property
    def told(self) -> list[float]:
        """What Optuna is told of every candidate, by its number: comparable values, or `FAILED`."""
        means = adjusted_means([{} if c.failed else c.by_split for c in self.proposed])
        return [FAILED if mean is None else mean for mean in means]

    def _generations(self) -> list[int]:
        """Sizes of the generations that are still to be proposed."""
        sizes, made = [], len(self.proposed)
        while made < self.variant.candidates:
            size = self.variant.generation if made else max(STARTUP, self.variant.generation)
            sizes.append(min(size, self.variant.candidates - made))
            made += sizes[-1]
        return sizes

    def speculative(self) -> Iterator[tuple[int, Configuration, Job]]:
        """Jobs that no decision has released yet, of candidates in the race, each with the decisions before it.

        A candidate is trained speculatively only while none of the others was better on every split that both have
        seen: most of the rest will lose, and their trainings would be discarded.
        """
        if self._racing is None:
            return
        for configuration in self._open:
            if configuration.pruned or configuration.failed or not configuration.results:
                continue
            if self._dominated(configuration):
                continue
            splits = len(configuration.jobs)
            starts = [block.start for block in self._racing.blocks(splits)] + [splits]
            for position in range(configuration.released, splits):
                decisions = sum(configuration.released <= start <= position for start in starts)
                yield decisions, configuration, configuration.jobs[position]

    def _dominated(self, configuration: Configuration) -> bool:
        """Whether another candidate was better on every split that both have seen."""
        own = configuration.by_split
        for other in self.proposed:
            shared = own.keys() & other.by_split.keys() if other is not configuration else set()
            if shared and all(other.by_split[split] > own[split] for split in shared):
                return True
        return False

    def left_after(self, configuration: Configuration) -> int:
        """How many trainings, one after the other, the variant still needs when one of this configuration has ended."""
        if configuration is self.tested:
            return 0
        blocks = 1 if self._racing is None else len(self._racing.blocks(len(configuration.jobs)))
        # After the first decision, all other splits can be trained at once.
        each = min(2, blocks)
        first = self._racing is not None and configuration.released <= self._racing.first
        return (each - 1 if first else 0) + each * len(self._generations()) + 1

    def _next_block(self, configuration: Configuration) -> list[tuple[Configuration, Job]]:
        """Release the jobs up to the next decision."""
        if configuration.pruned or configuration.failed:
            return []
        splits = len(configuration.jobs)
        blocks = self._racing.blocks(splits) if self._racing else [range(splits)]
        return configuration.release(next((len(b) for b in blocks if b.start == configuration.released), 0))

    def _race(self) -> None:
        """Prune the open configurations that are clearly worse than the best one."""
        if self._racing is None:
            return
        running = {c.run.number: c.scores for c in self._open if not (c.pruned or c.failed or c.complete)}
        complete = {c.run.number: c.scores for c in self.proposed if c.complete}
        lost = losers(running, complete, self._racing)
        for configuration in self._open:
            if configuration.run.number in lost:
                configuration.pruned = True
                done = tuple(job.trial.fold.split for job in configuration.jobs[: configuration.released])
                configuration.run = dataclasses.replace(configuration.run, splits=done)
                self._on_pruned(configuration)

    def _plan(self) -> int:
        """Count the trainings that were released, and those to come."""
        made = [*self.proposed, *([self.tested] if self.tested else [])]
        splits = [c.released if c.pruned or c.failed else len(c.jobs) for c in made]
        each = max([len(c.jobs) for c in made], default=0)
        to_come = sum(self._generations()) + (self.tested is None and not self.failed)
        return sum(splits) + to_come * each

    @property
    def failed(self) -> bool:
        """Whether the search has ended without a candidate that was trained on every split, so that none is tested."""
        return bool(self.proposed) and not self._open and self.best is None

    @property
    def best(self) -> Configuration | None:
        """The candidate with the highest mean validation SROCC, among those complete on every split."""
        means = [(configuration.mean, configuration) for configuration in self.proposed]
        complete = [(mean, configuration) for mean, configuration in means if mean is not None]
        return max(complete, key=lambda pair: pair[0])[1] if complete else None


class Claim(NamedTuple):
    """A job that a decision has released, and whose it is."""

    variant: VariantSearch
    configuration: Configuration
    job: Job


class Search:
    """All trials of a plan, in an order that lets later ones build on earlier ones."""

    def __init__(
        self,
        plan: Plan,
        splits: Mapping[Selection, Sequence[Split]],
        fingerprints: Mapping[Selection, str],
        known: Callable[[str], Result | None],
        on_done: Callable[[Job, Result | None, bool], None] = lambda job, result, known: None,
        on_pruned: Callable[[Configuration], None] = lambda configuration: None,
        speculate: bool = True,
    ) -> None:
        """`splits` and `fingerprints` are by data selection; `known` reads results of record by signature.

        `on_done` is called with every job, its result, and whether the result was in the store already; `on_pruned`
        with every configuration that lost its race. Without `speculate`, only what a decision has released is trained.
        """
        self.plan, self._splits, self._fingerprints = plan, splits, fingerprints
        self._known, self._on_done = known, on_done
        self._cost: Cost = work
        self.variants = [
            VariantSearch(variant, plan.racing, self._configuration, on_pruned) for variant in plan.variants
        ]
        self._wanted: dict[str, list[Claim]] = {}
        """By signature: trials that were released and are not done. Several jobs may be the same trial."""
        self._running: dict[str, Job] = {}
        self._queue: list[tuple[float, int, str]] = []
        """Heap of signatures that wait, those with the longest chain of trainings first; entries may be out of date."""
        self._chains: dict[str, float] = {}
        """By signature of a trial that waits: cost of the trainings that need it, one after the other, and its own."""
        self._order = itertools.count()
        self._parked: dict[str, list[str]] = {}
        """By signature: trials that wait for this one, which trains their first phases."""
        self._seen: set[str] = set()
        """Signatures of trials that are, or may be, in the store."""
        self._speculate = speculate
        self._unreleased: dict[str, tuple[Result | None, bool]] = {}
        """Results that no decision has released, and whether they were in the store already."""
        self._possible: dict[VariantSearch, dict[str, tuple[int, Configuration, Job]]] = {}
        """By variant and signature: what can be trained speculatively, with the decisions before it."""
        self._nothing_possible = False
        """Whether nothing more can be trained speculatively until something changes."""
        self._discarded: dict[str, float] = {}
        """Seconds of trainings that a decision has made pointless, by signature."""
        for variant in self.variants:
            self._advance(variant)

    def _configuration(
        self, variant: VariantPlan, stage: Stage, number: int, values: Mapping[str, Any]
    ) -> Configuration:
        """A configuration with its jobs."""
        config = with_values(variant.config, values)
        place = selection(config)
        splits = self._splits[place]
        folds: list[Fold] = [split.for_test() if stage == "test" else split.for_selection() for split in splits]
        run = ConfigurationRun(
            study=self.plan.study,
            preset=self.plan.preset,
            dataset=self.plan.dataset,
            variant=variant.name,
            stage=stage,
            number=number,
            values={**variant.values, **values},
            config=config,
            splits=tuple(fold.split for fold in folds),
            scheme=splits_hash(splits),
            seed=self.plan.seed,
            question=self.plan.question,
            contrasts=self.plan.contrasts,
            place=variant.place,
            recipe=self.plan.recipe,
        )
        jobs = [Job(run, Trial(config, fold, self.plan.seed, self._fingerprints[place])) for fold in folds]
        # One order for all configurations, so that any two have seen the same splits.
        order = np.random.default_rng([self.plan.seed, len(jobs)]).permutation(len(jobs)) if stage != "test" else None
        return Configuration(run, tuple(jobs if order is None else [jobs[i] for i in order]), {})

    def price_by(self, cost: Cost) -> None:
        """Order trainings by their price instead of by `work`: `cost` of a configuration without some first phases."""
        self._cost = cost
        self._chains, self._queue = {}, []
        for signature in self._wanted.keys() - self._running.keys():
            self._enqueue(signature)

    def _advance(self, variant: VariantSearch) -> None:
        """Queue what can start in a variant. Results that are known are taken at once, after which more may start."""
        while jobs := variant.advance():
            new = []
            for configuration, job in jobs:
                signature, claim = job.trial.signature, Claim(variant, configuration, job)
                self._seen.add(signature)
                if signature in self._wanted:
                    self._wanted[signature].append(claim)
                elif signature in self._running:  # trained speculatively
                    self._wanted[signature] = [claim]
                elif signature in self._unreleased:
                    self._take(claim, *self._unreleased.pop(signature))
                elif (result := self._known(signature)) is not None:
                    self._take(claim, result, known=True)
                else:
                    self._wanted[signature] = [claim]
                    new += [*self._start_for(claim), signature]
            for signature in new:
                self._enqueue(signature)
        before = self._possible.get(variant, {})
        self._possible[variant] = (
            {entry[2].trial.signature: entry for entry in variant.speculative()} if self._speculate else {}
        )
        self._nothing_possible = False
        for signature in before.keys() & self._unreleased.keys():
            if not self._of_use(signature):
                result, known = self._unreleased.pop(signature)
                if not known:
                    self._discarded[signature] = result.run.seconds if result else 0.0

    def _start_for(self, claim: Claim) -> list[str]:
        """Want the first phases that a candidate shares with others, unless they are there; those that are new."""
        job = claim.variant.start_of(claim.job)
        if job is None or (signature := job.trial.signature) in self._wanted or signature in self._running:
            return []
        self._seen.add(signature)
        if self._known(signature) is not None:
            return []
        assert claim.variant.start is not None
        self._wanted[signature] = [Claim(claim.variant, claim.variant.start, job)]
        return [signature]

    def _enqueue(self, signature: str, chain: float | None = None) -> None:
        """Queue a trial; those that it waits for come before it."""
        variant, configuration, job = self._wanted[signature][0]
        if chain is None:
            own = self._cost(job.trial.config, skipped_phases(job.trial, self._seen))
            chain = own + variant.left_after(configuration) * self._cost(variant.variant.config, 0)
        if chain <= self._chains.get(signature, -1.0):
            return
        self._chains[signature] = chain
        heapq.heappush(self._queue, (-chain, next(self._order), signature))
        for start in job.trial.starts:
            if start in self._wanted and start not in self._running:
                before = self._wanted[start][0].job.trial
                self._enqueue(start, chain + self._cost(before.config, skipped_phases(before, self._seen)))

    def _take(self, claim: Claim, result: Result | None, known: bool) -> None:
        claim.configuration.results[claim.job.trial.fold.split] = result
        self._on_done(claim.job, result, known)

    def _of_use(self, signature: str) -> bool:
        """Whether a trial was released, or may still be."""
        return signature in self._wanted or any(signature in possible for possible in self._possible.values())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train or to wait for."""
        return not self._wanted

    @property
    def planned(self) -> int:
        """Trainings of the whole study, as far as can be known now."""
        return sum(variant.planned for variant in self.variants)

    @property
    def waiting(self) -> list[Job]:
        """Jobs that were released and do not run."""
        claims = (claims[signature in self._running :] for signature, claims in self._wanted.items())
        return [claim.job for claim in itertools.chain(*claims)]

    @property
    def pointless(self) -> list[Job]:
        """Jobs that run, but that a decision has made pointless: to be ended, and given to `dropped`."""
        return [job for signature, job in self._running.items() if not self._of_use(signature)]

    @property
    def discarded(self) -> tuple[int, float]:
        """Trainings whose results a decision has made pointless, whole or not, and their seconds."""
        return len(self._discarded), sum(self._discarded.values())

    def next(self) -> Job | None:
        """A job to train now, or None.

        A trial waits while another that trains its first phases waits or runs, and then starts from its weights.
        """
        while self._queue:
            chain, _, signature = heapq.heappop(self._queue)
            if self._chains.get(signature) != -chain:
                continue  # it has started, or was queued again with a longer chain
            job = self._wanted[signature][0].job
            start = next((s for s in job.trial.starts if s in self._wanted or s in self._running), None)
            if start is not None:
                self._parked.setdefault(start, []).append(signature)
                continue
            return self._start(job)
        return None if self._nothing_possible else self._next_speculative()

    def _next_speculative(self) -> Job | None:
        """A job that no decision has released: the one with the fewest decisions before it, then the longest chain."""
        found = [
            (decisions, -variant.left_after(configuration) * self._cost(variant.variant.config, 0), place, job)
            for place, variant in enumerate(self.variants)
            for decisions, configuration, job in self._possible[variant].values()
        ]
        for _, _, place, job in sorted(found, key=lambda entry: entry[:3]):
            signature = job.trial.signature
            if signature in self._wanted or signature in self._running or signature in self._unreleased:
                continue
            if any(start in self._wanted or start in self._running for start in job.trial.starts):
                continue
            shared = self.variants[place].start_of(job)
            if shared is not None and self._known(shared.trial.signature) is None:
                continue  # it would train what a candidate that a decision releases trains for all
            result = self._known(signature)
            if result is None:
                return self._start(job)
            self._unreleased[signature] = result, True
        self._nothing_possible = True
        return None

    def _start(self, job: Job) -> Job:
        signature = job.trial.signature
        self._seen.add(signature)
        self._chains.pop(signature, None)
        self._running[signature] = job
        return job

    def _ended(self, job: Job) -> list[Claim]:
        """Remove a job that has ended, and return the claims on its result; jobs that waited for it may start."""
        signature = job.trial.signature
        del self._running[signature]
        self._nothing_possible = False
        for parked in self._parked.pop(signature, ()):
            if parked in self._chains:
                heapq.heappush(self._queue, (-self._chains[parked], next(self._order), parked))
        return self._wanted.pop(signature, [])

    def done(self, job: Job, result: Result | None) -> None:
        """Take the result of a job; None if it could not be carried out."""
        signature, claims = job.trial.signature, self._ended(job)
        if not claims:
            if self._of_use(signature):
                self._unreleased[signature] = result, False
            else:
                self._discarded[signature] = result.run.seconds if result else 0.0
            return
        if result is None and len(claims) > 1:  # the other claims have attempts of their own
            self._wanted[signature] = claims[1:]
            self._enqueue(signature, math.inf)
            claims = claims[:1]
        for number, claim in enumerate(claims):
            self._take(claim, result, known=number > 0)
        for variant in dict.fromkeys(claim.variant for claim in claims):
            self._advance(variant)

    def again(self, job: Job) -> None:
        """Queue a job that broke off, to be the next to start."""
        claims = self._ended(job)
        if claims:
            self._wanted[job.trial.signature] = claims
            self._enqueue(job.trial.signature, math.inf)

    def dropped(self, job: Job, seconds: float) -> None:
        """Record that a pointless job was ended after some seconds. If it is needed after all, it starts again."""
        self.again(job)
        if job.trial.signature not in self._wanted:
            self._discarded[job.trial.signature] = self._discarded.get(job.trial.signature, 0.0) + seconds

    def configurations(self) -> list[Configuration]:
        """All configurations so far: candidates, then tested ones."""
        proposed = itertools.chain.from_iterable(variant.proposed for variant in self.variants)
        return [*proposed, *(variant.tested for variant in self.variants if variant.tested)]

    @property
    def started(self) -> dict[str, Result | None]:
        """Results of first phases that candidates share, by signature."""
        starts = (variant.start for variant in self.variants if variant.start)
        jobs = ((start.results, job) for start in starts for job in start.jobs)
        return {job.trial.signature: r[job.trial.fold.split] for r, job in jobs if job.trial.fold.split in r}
