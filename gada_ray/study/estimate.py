"""Estimates of a study's cost, kept in `<storage>/plans` to be compared with the time that was used."""

from __future__ import annotations

import dataclasses
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, ValidationError

from gada_ray.config import Frozen, TrainingConfig, digest, explain
from gada_ray.study.definition import Plan, VariantPlan
from gada_ray.study.inputs import Data
from gada_ray.study.price import Cost, Seconds, from_past, price, rest_kind, skipped_phases, trial_work
from gada_ray.study.probes import Probes
from gada_ray.study.search import Job, Search, VariantSearch
from gada_ray.system import devices
from gada_ray.trials.identity import Execution, independent_evaluator
from gada_ray.trials.store import Folder, Result, StoreError, write_whole

WORTH_TIMING = 2e9
"""Size of a study, in the unit of `price.work`, from which its steps are timed when it starts: about half an hour of a
CPU core. For smaller studies, the timing would take too long in comparison."""


class VariantEstimate(Frozen):
    """Trainings to do of one variant."""

    variant: str
    planned: int
    """Trainings, as far as can be known."""
    done: int
    shared: int
    """Trainings to do that start from the weights of another one, which was their first phases."""
    alike: int = 0
    """Trainings to do that are the same as one of a variant before, and are not done again."""
    device_hours: float
    """Of all trainings to do, each on its device alone; a trial on a share of a GPU counts in full."""
    source: str
    """"past trials", "probe", or "" where nothing is left to do."""


class Estimate(Frozen):
    """Trainings to do of a study."""

    plan: str
    """Digest of the plan and the kind of device that the estimate is for."""
    device: str
    """Device of the estimate: "GPU" or "CPU", and the name of the machine."""
    variants: tuple[VariantEstimate, ...]
    at_most: bool
    """Whether a race over splits may save some of it."""
    used_before: float
    """Device-hours of trainings that were done already."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """What parts of a training take, by kind, as `price` reads them."""
    slowdown: float = 1.0
    """How many times as long a step takes while trials share a GPU; prices of a probe have it in them."""

    @property
    def device_hours(self) -> float:
        """Of all trainings to do."""
        return sum(variant.device_hours for variant in self.variants)

    @property
    def left(self) -> int:
        """Trainings to do, each once however many variants need it."""
        return sum(variant.planned - variant.done - variant.alike for variant in self.variants)


@dataclass(frozen=True)
class Reuse:
    """Trainings of a study that the storage holds when it starts."""

    own: int
    """Trained for this study, with any preset."""
    others: Mapping[str, int]
    """Trained for other studies, by their names; "" for results that do not tell."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.own + sum(self.others.values())


def reuse(search: Search) -> Reuse:
    """Trainings of a study that are done already, by the study that trained them."""
    studies = Counter(result.run.study for c in search.configurations() for result in c.results.values() if result)
    return Reuse(studies.pop(search.plan.study, 0), studies)


def estimate(
    search: Search,
    data: Data,
    execution: Execution,
    known: Callable[[str], Result | None],
    probing: bool,
    sharing: int = 1,
) -> Estimate | None:
    """Price the trainings to do from trials that are done, else from a few steps on this machine.

    `known` reads results of record by signature, and `sharing` is how many trials share a GPU. Without `probing`, None
    if past trials cannot price every variant. A probe takes about a second for every kind of step on a GPU, and as long
    as two steps of every kind on a CPU.

    Raises:
        ProbeError: if a step does not fit into the memory of a GPU.
    """
    # A machine that only starts a study on a cluster may be without the cluster's devices.
    here = execution if devices.count() else dataclasses.replace(execution, device="cpu")
    with Probes(data, here, search.plan.seed) as probes:
        return _Pricing(search, execution, here, known, probes if probing else None, sharing).estimate(data)


class _Pricing:
    """The making of one estimate."""

    def __init__(
        self,
        search: Search,
        execution: Execution,
        here: Execution,
        known: Callable[[str], Result | None],
        probes: Probes | None,
        sharing: int,
    ) -> None:
        self._search, self._execution, self._here, self._known = search, execution, here, known
        self._probes, self._sharing = probes, sharing if here.device != "cpu" else 1
        self._past = from_past((r for c in search.configurations() for r in c.results.values() if r), execution)
        self._seconds = dict(self._past)
        self._slowdown: float | None = None
        self._available = {job.trial.signature for job in search.waiting} | stored_starts(
            [*search.waiting, *(job for variant in search.variants for job in variant.test_to_come())], known
        )
        self._skipped = {job.trial.signature: skipped_phases(job.trial, self._available) for job in search.waiting}
        """How many first phases every job takes over: from another job, which is trained before it, or from the
        store."""
        self._paid: set[str] = set()
        """Signatures of trainings to do that are priced already: each is done once."""
        self._evaluators: set[str] = set()

    def estimate(self, data: Data) -> Estimate | None:
        """Of all variants; None where one has no price and there are no probes."""
        variants = []
        for variant in self._search.variants:
            made = self._variant(variant)
            if made is None:
                return None
            variants.append(made)
        return Estimate(
            plan=plan_key(self._search.plan, data, self._execution),
            device=f"{'CPU' if self._here.device == 'cpu' else 'GPU'} of {socket.gethostname()}",
            variants=tuple(variants),
            at_most=self._search.plan.racing is not None and any(v.variant.space for v in self._search.variants),
            used_before=used(self._search),
            seconds=self._seconds,
            slowdown=self._slowdown or 1.0,
        )

    def _variant(self, variant: VariantSearch) -> VariantEstimate | None:
        """What is left of one variant; None if it has no price."""
        name, config = variant.variant.name, variant.variant.config
        done = sum(len(c.results) for c in self._search.configurations() if c.run.variant == name)
        source = "" if done == variant.planned else "probe" if price(config, self._past) is None else "past trials"
        if source == "probe":
            if self._probes is None:
                return None
            self._probe(name, config)
        waiting = [job for job in self._search.waiting if job.run.variant == name]
        jobs = [job for job in waiting if job.run.stage != "start"]
        later = variant.planned - done - len(jobs)
        new = {s: job for job in waiting if (s := job.trial.signature) not in self._paid}
        self._paid |= set(new)
        total = sum(_cost(job.trial.config, config, self._seconds, self._skipped[s]) for s, job in new.items())
        total += later * _cost(config, config, self._seconds, variant.variant.shared_phases) if later else 0.0
        total += sum(_cost(one.trial.config, config, self._seconds) for one in self._later_starts(variant, later))
        total += sum(
            _cost(config, config, self._seconds) - _cost(config, config, self._seconds, variant.variant.shared_phases)
            for job in variant.test_to_come()
            if not skipped_phases(job.trial, self._available)
        )
        for evaluator in _independent_evaluators(jobs, self._known, self._evaluators):
            if price(evaluator, self._seconds) is None and self._probes is not None:
                self._probe(name, evaluator)
            cost = price(evaluator, self._seconds)
            total += cost.seconds() if cost else 0.0
        return VariantEstimate(
            variant=name,
            planned=variant.planned,
            done=done,
            shared=sum(self._skipped[s] > 0 for s in new),
            alike=len(jobs) - sum(job.run.stage != "start" for job in new.values()),
            device_hours=total / 3600,
            source=source,
        )

    def _later_starts(self, variant: VariantSearch, later: int) -> list[Job]:
        """First phases that later candidates share, and that are neither done nor waiting."""
        starts = variant.start.jobs if variant.start and later else ()
        return [job for job in starts if job.trial.signature not in self._paid and not self._known(job.trial.signature)]

    def _probe(self, name: str, config: TrainingConfig) -> None:
        """Add what parts of a training take while trials share a GPU as they will."""
        assert self._probes is not None
        if self._slowdown is None:
            self._slowdown = self._probes.slowdown(name, config, self._sharing)
        found = self._probes.seconds(name, config, self._seconds)
        self._seconds |= {kind: seconds * self._slowdown for kind, seconds in found.items()}


def _independent_evaluators(
    jobs: Sequence[Job], known: Callable[[str], Result | None], counted: set[str]
) -> Iterator[TrainingConfig]:
    """Configurations of the evaluators that some jobs need and nobody trained or counted yet; notes them as counted."""
    for job in jobs:
        if job.trial.config.evaluation.independent_evaluator_steps:
            evaluator = independent_evaluator(job.trial)
            if evaluator.signature not in counted and not known(evaluator.signature):
                yield evaluator.config
            counted.add(evaluator.signature)


def stored_starts(jobs: Sequence[Job], known: Callable[[str], Result | None]) -> set[str]:
    """Signatures of finished trials of record from whose weights some jobs can start."""
    starts = {signature for job in jobs for signature in job.trial.starts}
    return {signature for signature in starts if (result := known(signature)) and result.status == "finished"}


def pricing(plan: Plan, made: Estimate) -> Cost | None:
    """What a configuration costs without some first phases, in seconds; None where the estimate does not tell.

    Variants that are done need no price, and may have none: a trial of another study that started from the weights of a
    third one does not tell what its first phases take.
    """
    left = {variant.variant for variant in made.variants if variant.done < variant.planned}
    priced = [variant.config for variant in plan.variants if price(variant.config, made.seconds) is not None]
    if any(variant.name in left and variant.config not in priced for variant in plan.variants):
        return None
    usual = {rest_kind(config): config for config in priced}

    def cost(config: TrainingConfig, skipped: int) -> float:
        return _cost(config, usual.get(rest_kind(config), priced[0]), made.seconds, skipped)

    return cost


def _cost(config: TrainingConfig, variant: TrainingConfig, seconds: Seconds, skipped: int = 0) -> float:
    """Seconds of a training; where a search changes what a step costs, those of the variant's own configuration."""
    cost = price(config, seconds) or price(variant, seconds)
    assert cost is not None
    return cost.seconds(skipped)


def used(search: Search) -> float:
    """Device-hours of all finished trainings of a study, each counted once."""
    results = {r.signature: r for c in search.configurations() for r in c.results.values() if r} | search.started
    return sum(result.run.seconds for result in results.values() if result) / 3600


def plan_key(plan: Plan, data: Data, execution: Execution) -> str:
    """Digest of what an estimate depends on: variants, splits, data, and the kind of device."""

    def of(variant: VariantPlan) -> object:
        first = [[variant.first]] if variant.first else []
        return [variant.name, variant.config.model_dump(), variant.candidates, sorted(variant.space), *first]

    place = next(iter(data.splits))
    racing = None if plan.racing is None else str(plan.racing)
    device = [execution.device, execution.threads, *(["compiled"] if execution.compiler else [])]
    splits = [len(data.splits[place]), plan.seed, sorted(data.by_fingerprint)]
    return digest([[of(variant) for variant in plan.variants], splits, racing, device])


def estimate_of_run(
    root: Folder,
    search: Search,
    data: Data,
    execution: Execution,
    known: Callable[[str], Result | None],
    probing: bool,
    sharing: int = 1,
) -> Estimate | None:
    """The estimate that was kept for a plan, or else one made and kept now, if enough is to be done.

    Without `probing`, and for small studies, it is made from past trials alone.
    """
    found = kept(root, search.plan, plan_key(search.plan, data, execution))
    if found is None and search.waiting:
        probing = probing and sum(trial_work(job.trial for job in search.waiting).values()) > WORTH_TIMING
        found = estimate(search, data, execution, known, probing, sharing)
        if found is not None:
            keep(root, search.plan, found)
    return found


def keep(root: Folder, plan: Plan, made: Estimate) -> Folder:
    """Write an estimate to the storage, in place of an earlier one; returns its path."""
    path = _path(root, plan)
    write_whole(path, made.model_dump_json(indent=1).encode())
    return path


def kept(root: Folder, plan: Plan, key: str) -> Estimate | None:
    """The estimate of a plan that the storage holds, if any.

    Raises:
        StoreError: for a file that is none.
    """
    path = _path(root, plan)
    try:
        found = Estimate.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StoreError(f"{path}: {explain(error)}; delete it to have a new estimate made") from None
    return found if found.plan == key else None


def _path(root: Folder, plan: Plan) -> Folder:
    return root / "plans" / f"{plan.name}.json"
