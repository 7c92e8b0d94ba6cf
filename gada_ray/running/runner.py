"""Trains the trials of a search on a Ray cluster.

Ray Tune schedules trials and places them on nodes. How many run at a time is decided here, from the nodes' resources.
Results are read from the store; Tune's own state is discarded.
"""

from __future__ import annotations

import logging
import tempfile
import time
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
from gada_ray.running.stop_signal import StopSignal
from gada_ray.running.worker import Train, train_trial
from gada_ray.study.search import Job, Search
from gada_ray.trials.store import RefusedError, Store, StoreError

RETRIES = 3
"""Failed attempts in a row that a trial may have without progress. Every attempt starts from the last checkpoint.

A trial on a cluster that keeps losing nodes is retried without limit; one that crashes at the same step is not.
"""

MAX_NODE_FAILURES = 3
"""Failures in a row on one node, of more than one trial, after which the node is excluded."""
COUNT_EVERY_S = 2.0
"""Seconds between two counts of the nodes, which may join and leave."""
GRACE_S = 12.0
"""Seconds that running trials have to write a checkpoint when a study ends early."""
VISIBLE_WITHIN_S = 90.0
"""Seconds after which a result that a worker has written must be visible here; NFS may take a minute."""
READ_EVERY_S = 1.0
"""Seconds between two attempts to read such a result."""
NODE_ID = "ray.io/node-id"
"""A label that Ray gives to every node."""

# Tune would log a trial that was queued again as one that failed.
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
    """Train all trials that the search requests, on the cluster that `connect` joined.

    `datasets` are by fingerprint. `train` trains one trial and writes its result to the store, by default `run_trial`.
    Once `enough` returns True, no trial starts, and running trials write a checkpoint and end; a later run resumes
    them.
    `on_setup` is called after Tune has installed its signal handlers.

    Raises:
        StoreError: if a result cannot be read here, because the nodes do not share the storage, or if the storage is
            full or cannot be written to.
    """
    stop = StopSignal()
    suggester = _Suggester(search, store, resources, watcher or Watcher(), enough, stop)
    execution = replace(resources.execution, study=search.plan.study)
    trainable = tune.with_resources(
        tune.with_parameters(
            train_trial,
            datasets=dict(datasets),
            storage=str(store.root),
            execution=asdict(execution),
            train=train,
            stop=stop,
        ),
        partial(_place, resources=resources),
    )
    # Trials report no checkpoints to Tune, so its state is needed on this machine only.
    place = tempfile.TemporaryDirectory(prefix="gada-ray-", ignore_cleanup_errors=True)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=suggester,
            scheduler=_UnorderedScheduler(),  # type: ignore[no-untyped-call]
            num_samples=-1,
            # The suggester limits the number. Without one here, Tune starts one worker at a time and drops it when
            # another trial ends first; where trials are shorter than a worker's start, some nodes would stay idle.
            max_concurrent_trials=10**6,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            storage_path=place.name,
            callbacks=[_Watch(suggester, on_setup)],
            stop=_StopAll(suggester.stopped),
            progress_reporter=Silent(),
            verbose=0,
        ),
    )
    try:
        with place:
            tuner.fit()
    finally:
        stop.close()
    if suggester.failure is not None:
        raise suggester.failure


def _place(config: Mapping[str, Any], resources: Resources) -> tune.PlacementGroupFactory:
    """The resources that a trial requests, on any node that is not avoided."""
    share = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
    avoided = config.get("avoided")
    where: dict[str, Any] = {"bundle_label_selector": [{NODE_ID: f"!in({','.join(avoided)})"}]} if avoided else {}
    return tune.PlacementGroupFactory([share], **where)


class _Suggester(Searcher):
    """A searcher of Tune that hands out the jobs of a search. A failed job is queued again as a new trial of Tune."""

    def __init__(
        self,
        search: Search,
        store: Store,
        resources: Resources,
        watcher: Watcher,
        enough: Callable[[], bool],
        stop: StopSignal,
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._search, self._store, self._enough = search, store, enough
        self._resources, self._watcher, self._stop = resources, watcher, stop
        self._jobs: dict[str, Job] = {}
        """Jobs that Tune has, by Tune's trial id."""
        self._started: dict[str, float] = {}
        """When a worker started each, by Tune's trial id."""
        self._unread: dict[str, tuple[Job, float]] = {}
        """Jobs that a worker has finished and whose results are not visible here yet, and since when."""
        self._read = -float("inf")
        self._slots, self._counted = 0, -float("inf")
        self._requested_to_stop: set[str] = set()
        """Signatures of jobs that were requested to stop."""
        self._over_since: float | None = None
        self._node: dict[str, str] = {}
        """The nodes on which jobs run, by Tune's trial id, once they have reported."""
        self._failures: defaultdict[str, list[str]] = defaultdict(list)
        """By node: signatures of the trials that failed there since the last one that finished."""
        self._failed_on: defaultdict[str, set[str]] = defaultdict(set)
        """By signature: nodes on which the trial failed; it is retried on another one, if there is room."""
        self._avoided: list[str] = []
        """Nodes that are excluded."""
        self._steps: Counter[str] = Counter()
        """The last step that a trial reported in any attempt, by signature."""
        self._without_progress: Counter[str] = Counter()
        """Failed attempts in a row without progress, by signature."""
        self.failure: StoreError | None = None
        """The error that ends the study. Tune logs what is raised in here and then waits for the trial without end."""

    def over(self) -> bool:
        """Whether no trial may start any more; running trials are then requested to stop."""
        if self._over_since is None and (self.failure is not None or self._enough()):
            self._over_since = time.monotonic()
            self._stop.set()
        return self._over_since is not None

    def stopped(self) -> bool:
        """Whether Tune shall end: no trial runs any more, or the time for checkpoints is over."""
        if not self.over() or self._over_since is None:
            return False
        return self.failure is not None or not self._started or time.monotonic() - self._over_since > GRACE_S

    def tick(self) -> None:
        """Stop jobs that have become pointless, read late results, count the slots, and tell the watcher."""
        for job in self._search.pointless:
            if job.trial.signature not in self._requested_to_stop:
                self._requested_to_stop.add(job.trial.signature)
                self._stop.set(job.trial.signature)
        self._read_late()
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

    def _read_late(self) -> None:
        """Try again to read results that were not visible here when their trials finished."""
        now = time.monotonic()
        if not self._unread or now - self._read < READ_EVERY_S:
            return
        self._read = now
        for trial_id, (job, since) in list(self._unread.items()):
            with self._ending():
                found = self._store.result(job.trial.signature)
                if found is not None:
                    del self._unread[trial_id]
                    self._search.done(job, found)
                elif now - since > VISIBLE_WITHIN_S:
                    raise StoreError(
                        f"a node finished a trial, but {VISIBLE_WITHIN_S:.0f} s later "
                        f"{self._store.folder(job.trial.signature)} on this machine holds no result, so the nodes do "
                        "not share the storage; give a folder that they share, or s3://bucket/prefix, as --storage "
                        "(docs/cluster.md)"
                    )

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune stores a copy of the searcher that is never read."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next trial to start, None if there is none now, or `Searcher.FINISHED`."""
        # While no trial runs, Tune calls this alone, once a second.
        self._read_late()
        if self.over() or self._search.finished:
            return Searcher.FINISHED
        job = self._search.next() if len(self._jobs) < self._count() else None
        if job is None:
            return None
        self._jobs[trial_id] = job
        if job.trial.signature in self._requested_to_stop:
            self._requested_to_stop.remove(job.trial.signature)
            self._stop.clear(job.trial.signature)
        self._watcher.waits(job)
        return {
            "config": job.trial.config.model_dump(mode="json"),
            "fold": asdict(job.trial.fold),
            "seed": job.trial.seed,
            "fingerprint": job.trial.fingerprint,
            **({"avoided": avoided} if (avoided := self._avoided_by(job)) else {}),
        }

    def started(self, trial_id: str) -> None:
        """A worker has started a trial."""
        if trial_id in self._jobs:
            self._started[trial_id] = time.monotonic()
            self._watcher.started(self._jobs[trial_id])

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Progress of a trial."""
        job = self._jobs.get(trial_id)
        if job is None or "steps_done" not in result:
            return
        signature = job.trial.signature
        self._node[trial_id] = result.get("node", "")
        if result["steps_done"] > self._steps[signature]:
            self._steps[signature], self._without_progress[signature] = result["steps_done"], 0
        if "warning" in result:
            self._watcher.warn(job, result["warning"])
        self._watcher.progress(job, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The end of a trial, whose result is read from the store. Errors are handled in `failed`."""
        job = None if error else self._jobs.pop(trial_id, None)
        if job is None:
            return
        seconds = time.monotonic() - self._started.pop(trial_id, time.monotonic())
        self._watcher.released(job)
        with self._ending():
            found = self._store.result(job.trial.signature)
            if found is None and result and "status" in result:
                self._unread[trial_id] = job, time.monotonic()
                return
            self._node.pop(trial_id, None)
            if found is not None:
                self._failures.pop(found.run.node, None)
                return self._search.done(job, found)
            if result and "ended" in result and not self.over():
                self._search.dropped(job, seconds)
            elif not self.over():
                self._search.done(job, None)

    def failed(self, trial_id: str, error: Exception | None) -> None:
        """A trial failed: queue it again, unless it made no progress too often or the storage cannot be written to."""
        job = self._jobs.pop(trial_id)
        self._started.pop(trial_id, None)
        self._watcher.released(job)
        cause = getattr(error, "cause", None)
        self._note_failure(job, error, getattr(cause, "node", None) or self._node.pop(trial_id, ""))
        with self._ending():
            found = self._store.result(job.trial.signature)
            if found is not None:
                self._search.done(job, found)
            elif isinstance(cause, RefusedError):
                raise cause
            elif self._worth_another(job, error):
                self._watcher.warn(job, f"failed, is retried from its last checkpoint: {_cause(error)}")
                self._search.again(job)
            else:
                self._watcher.warn(job, f"failed after {RETRIES + 1} attempts without progress: {_cause(error)}")
                self._search.done(job, None)

    def _worth_another(self, job: Job, error: Exception | None) -> bool:
        """Whether to retry a job. A preempted node does not count as a failure of the trial."""
        if not (isinstance(error, RayActorError) and error.preempted):
            self._without_progress[job.trial.signature] += 1
        return self._without_progress[job.trial.signature] <= RETRIES

    def _note_failure(self, job: Job, error: Exception | None, node: str) -> None:
        """Exclude a node on which several trials in a row failed, if there are others."""
        if not node or node in self._avoided or (isinstance(error, RayActorError) and error.preempted):
            return
        self._failed_on[job.trial.signature].add(node)
        failures = self._failures[node]
        failures.append(job.trial.signature)
        if (
            len(failures) < MAX_NODE_FAILURES
            or len(set(failures)) < 2
            or not count_slots(self._resources, [*self._avoided, node])
        ):
            return
        self._avoided.append(node)
        self._counted = -float("inf")
        host = next((n["NodeManagerHostname"] for n in ray.nodes() if n["NodeID"] == node), "?")  # type: ignore[no-untyped-call]
        self._watcher.warn(
            job,
            f"{len(failures)} trials in a row failed on node {node[:12]} ({host}), which gets no more of this study",
        )

    def _avoided_by(self, job: Job) -> list[str]:
        """The nodes that a job shall not run on."""
        more = sorted({*self._avoided, *self._failed_on.get(job.trial.signature, ())})
        return more if len(more) == len(self._avoided) or count_slots(self._resources, more) else sorted(self._avoided)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Keep a StoreError that is raised inside as the error that ends the study."""
        try:
            yield
        except StoreError as failure:
            self.failure = failure

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a search is repeated from the store."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a study is resumed by running it again."""
        raise NotImplementedError


class _UnorderedScheduler(FIFOScheduler):
    """Names no trial as the next one, so that Tune gives a free worker to a new trial.

    Tune's FIFO scheduler names the trial that has waited longest. That trial gets the next free worker, and the worker
    that was starting for it is dropped: a node that joined late stays idle where trials are shorter than that start.
    To find the trial, the scheduler also searches all trials of the study in every iteration.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """No trial."""


class _Watch(tune.Callback):
    """Tells the suggester what Tune does not tell a searcher: iterations, starts of workers, and causes of errors."""

    def __init__(self, suggester: _Suggester, on_setup: Callable[[], None]) -> None:
        self._suggester, self._on_setup = suggester, on_setup

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as for the searcher."""
        return {}

    def setup(self, *_: Any, **info: Any) -> None:
        """Before the first iteration."""
        self._on_setup()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """After every iteration of Tune's loop."""
        self._suggester.tick()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """When a worker has started."""
        self._suggester.started(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """After `on_trial_complete` of the searcher."""
        # Tune's own reader looks in the place to which the file is copied later.
        path = trial.pickled_error_file
        self._suggester.failed(trial.trial_id, cloudpickle.loads(Path(path).read_bytes()) if path else None)


def _cause(error: Exception | None) -> str:
    """One line of an error: the last one of a traceback, the first one of what Ray says about a dead worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["unknown cause"]
    return lines[0 if isinstance(error, RayActorError) else -1][:500]


class _StopAll(tune.Stopper):
    """Ends Tune's loop once a function says so."""

    def __init__(self, enough: Callable[[], bool]) -> None:
        self._enough = enough

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as for the searcher."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop one trial: never."""
        return False

    def stop_all(self) -> bool:
        """Whether to stop all trials."""
        return self._enough()


class Silent(tune.ProgressReporter):
    """Prints nothing: Tune's tables would overwrite ours."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Never."""
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None:
        """Nothing."""
