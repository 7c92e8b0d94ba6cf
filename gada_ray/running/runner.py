"""Trains the trials of a search on a Ray cluster.

Tune schedules and places; how many trials it has at a time is decided here, by what the nodes hold now. What it stores
is thrown away. Results are read from the store.
"""

from __future__ import annotations

import logging
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from gada_ray.data.dataset import IqaDataset
from gada_ray.running.cluster import connect as connect
from gada_ray.running.cluster import count_slots
from gada_ray.running.cluster import disconnect as disconnect
from gada_ray.running.slots import ResourceError as ResourceError
from gada_ray.running.slots import Resources as Resources
from gada_ray.running.status import Watcher as Watcher
from gada_ray.running.worker import Bell, Train, train_trial
from gada_ray.study.search import Job, Search
from gada_ray.trials.store import RefusedError, Store, StoreError

RETRIES = 3
"""Attempts in a row, each from the last checkpoint, that may break off without getting further than those before.

A cluster that loses its nodes all the time ends no trial; a trial that crashes at the same step each time ends soon.
"""

SICK = 3
"""Breaks in a row on one node, of more than one trial, after which it gets no trial any more."""
COUNT_EVERY_S = 2.0
"""Between two looks at the nodes, which may join and leave."""
GRACE_S = 12.0
"""For running trials to write a checkpoint, when a study ends before they do."""
NODE_ID = "ray.io/node-id"
"""A label that Ray gives to every node."""

# It counts a trial that was queued anew as one that failed.
logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)


def run(
    search: Search,
    datasets: Mapping[str, IqaDataset],
    store: Store,
    resources: Resources,
    watcher: Watcher | None = None,
    enough: Callable[[], bool] = lambda: False,
    train: Train | None = None,
    on_setup: Callable[[], None] = lambda: None,
) -> None:
    """Train all that the search asks for, on the cluster that `connect` joined. `datasets` are by fingerprint.

    `train` is what a worker does with a trial, by default `run_trial`: whatever it is, it leaves the trial's result in
    the store.
    Once `enough` says so, nothing more starts, and running trials write a checkpoint and end, to be taken up later.
    `on_setup` is called when Tune has taken the process's signals.

    Raises:
        StoreError: if a result cannot be read back, as from a storage that the nodes do not share, or if the storage is
            full or refuses.
    """
    bell = Bell(uuid.uuid4().hex)
    suggester = _Suggester(search, store, resources, watcher or Watcher(), enough, bell)
    execution = replace(resources.execution, study=search.plan.study)
    trainable = tune.with_resources(
        tune.with_parameters(
            train_trial,
            datasets=dict(datasets),
            storage=str(store.root),
            execution=asdict(execution),
            train=train,
            bell=bell,
        ),
        partial(_place, resources=resources),
    )
    # Trials report no checkpoints to Tune, so that its state concerns the driver alone.
    place = tempfile.TemporaryDirectory(prefix="gada-ray-", ignore_cleanup_errors=True)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=suggester,
            scheduler=_NoFavourites(),  # type: ignore[no-untyped-call]
            num_samples=-1,
            # The suggester limits them. Without a number, Tune starts one worker at a time, and drops it when another
            # trial ends first: where trials are shorter than the start of a worker, some nodes would never get any.
            max_concurrent_trials=10**6,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            storage_path=place.name,
            callbacks=[_Watch(suggester, on_setup)],
            stop=_Enough(suggester.stopped),
            progress_reporter=Silent(),
            verbose=0,
        ),
    )
    with place:
        tuner.fit()
    if suggester.failure is not None:
        raise suggester.failure


def _place(config: Mapping[str, Any], resources: Resources) -> tune.PlacementGroupFactory:
    """What a trial asks the cluster for: its share of a node, of those that are not avoided."""
    share = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
    avoided = config.get("avoided")
    where: dict[str, Any] = {"bundle_label_selector": [{NODE_ID: f"!in({','.join(avoided)})"}]} if avoided else {}
    return tune.PlacementGroupFactory([share], **where)


class _Suggester(Searcher):
    """Tune's view of a search. A job that breaks off is queued anew here, as a new trial of Tune's."""

    def __init__(
        self,
        search: Search,
        store: Store,
        resources: Resources,
        watcher: Watcher,
        enough: Callable[[], bool],
        bell: Bell,
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._search, self._store, self._enough = search, store, enough
        self._resources, self._watcher, self._bell = resources, watcher, bell
        self._jobs: dict[str, Job] = {}
        """Jobs that Tune has, by its names."""
        self._began: dict[str, float] = {}
        """When a worker took them."""
        self._slots, self._counted = 0, -float("inf")
        self._rung: set[str] = set()
        """Signatures of jobs that were asked to end."""
        self._over_since: float | None = None
        self._node: dict[str, str] = {}
        """Where jobs run, by Tune's names, once they have reported."""
        self._broken: defaultdict[str, list[str]] = defaultdict(list)
        """By node: signatures of the trials that broke off there since one was done."""
        self._broke_on: defaultdict[str, set[str]] = defaultdict(set)
        """By signature: nodes on which the trial broke off; it goes on elsewhere, if there is room."""
        self._avoided: list[str] = []
        """Nodes that get no trial any more."""
        self._steps: Counter[str] = Counter()
        """The furthest step of a trial that was reported, over all attempts, by signature."""
        self._in_vain: Counter[str] = Counter()
        """Attempts in a row that broke off without getting further."""
        self.failure: StoreError | None = None
        """What ended the study; Tune only logs what is raised in here, and would wait for the trial for ever."""

    def over(self) -> bool:
        """Whether nothing more shall start; running trials are asked to end."""
        if self._over_since is None and (self.failure is not None or self._enough()):
            self._over_since = time.monotonic()
            self._bell.ring()
        return self._over_since is not None

    def stopped(self) -> bool:
        """Whether to stop what still runs: nothing does, or there is no use in waiting for it any longer."""
        if not self.over() or self._over_since is None:
            return False
        return self.failure is not None or not self._began or time.monotonic() - self._over_since > GRACE_S

    def tick(self) -> None:
        """Have pointless jobs ended, count the slots, and let others know that time passes."""
        for job in self._search.pointless:
            if job.trial.signature not in self._rung:
                self._rung.add(job.trial.signature)
                self._bell.ring(job.trial.signature)
        self._count()
        self._watcher.tick()

    def _count(self) -> int:
        """Trials at a time."""
        if time.monotonic() - self._counted > COUNT_EVERY_S:
            self._counted = time.monotonic()
            found = count_slots(self._resources, self._avoided)
            if found != self._slots:
                self._slots = found
                self._watcher.counted(found)
        return self._slots

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune stores a copy of the searcher that is never read."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """A trial to start, None to ask again later, or the end."""
        if self.over() or self._search.finished:
            return Searcher.FINISHED
        job = self._search.next() if len(self._jobs) < self._count() else None
        if job is None:
            return None
        self._jobs[trial_id] = job
        if job.trial.signature in self._rung:
            self._rung.remove(job.trial.signature)
            self._bell.still(job.trial.signature)
        self._watcher.waits(job)
        return {
            "config": job.trial.config.model_dump(mode="json"),
            "fold": asdict(job.trial.fold),
            "seed": job.trial.seed,
            "fingerprint": job.trial.fingerprint,
            **({"avoided": avoided} if (avoided := self._avoided_by(job)) else {}),
        }

    def began(self, trial_id: str) -> None:
        """A worker has begun with a trial."""
        if trial_id in self._jobs:
            self._began[trial_id] = time.monotonic()
            self._watcher.started(self._jobs[trial_id])

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Progress of a trial."""
        job = self._jobs.get(trial_id)
        if job is None or "steps_done" not in result:
            return
        signature = job.trial.signature
        self._node[trial_id] = result.get("node", "")
        if result["steps_done"] > self._steps[signature]:
            self._steps[signature], self._in_vain[signature] = result["steps_done"], 0
        if "warning" in result:
            self._watcher.told(job, result["warning"])
        self._watcher.progress(job, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The end of a trial; what counts is what the store holds. After an error, `broke` is told more."""
        job = None if error else self._jobs.pop(trial_id, None)
        if job is None:
            return
        seconds = time.monotonic() - self._began.pop(trial_id, time.monotonic())
        self._watcher.left(job)
        with self._ending():
            found = self._store.result(job.trial.signature)
            if found is None and result and "status" in result:
                raise StoreError(
                    f"a node finished a trial, but {self._store.folder(job.trial.signature)} on this machine holds no "
                    "result, so the nodes do not share the storage; give a folder that they share, or "
                    "s3://bucket/prefix, as --storage (docs/cluster.md)"
                )
            self._node.pop(trial_id, None)
            if found is not None:
                self._broken.pop(found.run.node, None)
                return self._search.done(job, found)
            if result and "ended" in result and not self.over():
                self._search.dropped(job, seconds)
            elif not self.over():
                self._search.done(job, None)

    def broke(self, trial_id: str, error: Exception | None) -> None:
        """A trial broke off: have it started again, unless it came no further for too often, or the storage refuses."""
        job = self._jobs.pop(trial_id)
        self._began.pop(trial_id, None)
        self._watcher.left(job)
        cause = getattr(error, "cause", None)
        self._note_break(job, error, getattr(cause, "node", None) or self._node.pop(trial_id, ""))
        with self._ending():
            found = self._store.result(job.trial.signature)
            if found is not None:
                self._search.done(job, found)
            elif isinstance(cause, RefusedError):
                raise cause
            elif self._worth_another(job, error):
                self._watcher.told(job, f"broke off, goes on from its last checkpoint: {_cause(error)}")
                self._search.again(job)
            else:
                self._watcher.told(job, f"pruned after {RETRIES + 1} attempts that came no further: {_cause(error)}")
                self._search.done(job, None)

    def _worth_another(self, job: Job, error: Exception | None) -> bool:
        """Whether to try again. A node that was taken away by its provider is not held against a trial."""
        if not (isinstance(error, RayActorError) and error.preempted):
            self._in_vain[job.trial.signature] += 1
        return self._in_vain[job.trial.signature] <= RETRIES

    def _note_break(self, job: Job, error: Exception | None, node: str) -> None:
        """Leave a node out on which one trial after the other breaks off, if there are others."""
        if not node or node in self._avoided or (isinstance(error, RayActorError) and error.preempted):
            return
        self._broke_on[job.trial.signature].add(node)
        broken = self._broken[node]
        broken.append(job.trial.signature)
        if len(broken) < SICK or len(set(broken)) < 2 or not count_slots(self._resources, [*self._avoided, node]):
            return
        self._avoided.append(node)
        self._counted = -float("inf")
        host = next((n["NodeManagerHostname"] for n in ray.nodes() if n["NodeID"] == node), "?")  # type: ignore[no-untyped-call]
        self._watcher.told(
            job, f"{len(broken)} trials in a row broke off on node {node[:12]} ({host}); it gets no more of this study"
        )

    def _avoided_by(self, job: Job) -> list[str]:
        """Nodes that a job shall not go to."""
        more = sorted({*self._avoided, *self._broke_on.get(job.trial.signature, ())})
        return more if len(more) == len(self._avoided) or count_slots(self._resources, more) else sorted(self._avoided)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """End the study by what is raised in here about the storage."""
        try:
            yield
        except StoreError as failure:
            self.failure = failure

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store is enough to search again."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a study goes on by being run again."""
        raise NotImplementedError


class _NoFavourites(FIFOScheduler):
    """Leaves it to Tune's controller which trial gets a worker: a new one, while others wait for theirs to start.

    Tune's own scheduler names the trial that waits longest. It gets the next worker that falls free, and the one that
    was starting for it is dropped: a node that joined late is never used where trials end faster than a worker starts.
    To find that trial, it also looks through all that ever were, at every turn.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None in particular."""


class _Watch(tune.Callback):
    """Gives the suggester what Tune keeps from a searcher: a regular turn, real starts, and the causes of errors."""

    def __init__(self, suggester: _Suggester, on_setup: Callable[[], None]) -> None:
        self._suggester, self._on_setup = suggester, on_setup

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as for the searcher."""
        return {}

    def setup(self, *_: Any, **info: Any) -> None:
        """Before the first turn."""
        self._on_setup()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """After every turn of Tune's loop."""
        self._suggester.tick()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """When a worker has begun."""
        self._suggester.began(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """After the searcher was told of the trial's end."""
        # Tune's own reader looks where the file is copied to later.
        path = trial.pickled_error_file
        self._suggester.broke(trial.trial_id, cloudpickle.loads(Path(path).read_bytes()) if path else None)


def _cause(error: Exception | None) -> str:
    """One line of an error: the last one of a traceback, the first one of what Ray says about a dead worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["for an unknown cause"]
    return lines[0 if isinstance(error, RayActorError) else -1][:500]


class _Enough(tune.Stopper):
    """Ends a study whose budget is spent."""

    def __init__(self, enough: Callable[[], bool]) -> None:
        self._enough = enough

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as for the searcher."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop one trial: only all are stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether to stop all trials."""
        return self._enough()


class Silent(tune.ProgressReporter):
    """Tune's own tables would be written over ours."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Never."""
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None:
        """Nothing."""
