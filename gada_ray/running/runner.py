"""Trains the trials of a search on a Ray cluster. The only module that imports ray.

Tune schedules and places; how many trials it has at a time is decided here, by what the nodes hold now.

Tune schedules and places; what it stores is thrown away. Results are read from the store.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

# Read when ray is imported. Token authentication would write a secret into the user's home for a local session; a
# driver under `uv run` would install the environment again for every worker; Tune would write three logs of its own,
# and a traceback where a worker dies.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
import torch
from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.experimental import internal_kv
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from gada_ray.config import TrainingConfig
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.splits import Fold
from gada_ray.errors import UserError
from gada_ray.running import slots
from gada_ray.store import RefusedError, Result, Store, StoreError
from gada_ray.study.search import Job, Search
from gada_ray.trial import EndedError, Execution, Progress, Report, Trial, run_trial

REPORT_EVERY_S = 2.0
"""Tune handles reports one by one; more than this tells nobody more."""
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
LISTEN_S = 0.5
"""Between two looks of a worker at whether its trial shall end."""

NODE_ID = "ray.io/node-id"
"""A label that Ray gives to every node."""

# It counts a trial that was queued anew as one that failed.
logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)


Train = Callable[[Trial, IqaDataset, Store, Execution, Report], Result]


class ResourceError(UserError, ValueError):
    """Resources that the cluster does not have; names what was asked for and what there is."""


@dataclass(frozen=True)
class Resources:
    """What one trial gets."""

    cpus: float = 1.0
    gpus: float = 0.0
    max_concurrent: int | None = None
    checkpoint_every_s: float = 60.0

    @property
    def execution(self) -> Execution:
        """Device and threads of a trial. Ray shows a GPU trial its own GPU as the first one."""
        return Execution("cuda" if self.gpus else "cpu", max(1, int(self.cpus)), self.checkpoint_every_s)


def choose_resources(
    cpus: float, gpus: float | None, max_concurrent: int | None, checkpoint_every_s: float, address: str | None
) -> Resources:
    """Resources of a trial; without a wish a whole GPU where this machine has one.

    Raises:
        ResourceError: for a GPU wish on a machine without one, unless the trials run on a cluster elsewhere.
    """
    here = torch.cuda.device_count()
    if gpus and not here and address is None:
        raise ResourceError(
            f"--gpus-per-trial {gpus:g} was asked for, but torch {torch.__version__} sees no GPU on this machine; "
            "leave it out to train on the CPU, or name a cluster with --address"
        )
    return Resources(cpus, (1.0 if here else 0.0) if gpus is None else gpus, max_concurrent, checkpoint_every_s)


def slots_here(resources: Resources) -> int:
    """Trials at a time on this machine, without asking Ray."""
    has = {"CPU": float(slots.cpus_here()), "GPU": float(torch.cuda.device_count())}
    fitting = slots.on_node(has, resources.cpus, resources.gpus)
    return max(1, min(fitting, resources.max_concurrent or fitting))


def connect(address: str | None, resources: Resources) -> int:
    """Join the cluster at an address or at $RAY_ADDRESS, or start one here, and say how many trials run at a time.

    One that is started has the CPUs that this process may use, and a temporary folder that is its user's own.

    Raises:
        ResourceError: if no node can hold a trial, or if there is no cluster at the address.
    """
    if not ray.is_initialized():
        # Without an address, Ray looks for a cluster on this machine, and tries for minutes to reach one that is gone.
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {"include_dashboard": False, "num_cpus": slots.cpus_here(), "_temp_dir": temporary_folder()}
        try:
            ray.init(address=address, **options)
        except ConnectionError as error:
            raise ResourceError(
                f"no Ray cluster answers at {address} ({str(error).splitlines()[0]}); start one with "
                "`ray start --head`, correct --address or RAY_ADDRESS, or leave both out to use this machine alone"
            ) from None
    count = count_slots(resources)
    if count < 1:
        nodes = Counter(f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs" for has in nodes_now())
        later = Counter(f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs" for has, _ in nodes_later())
        has = ", ".join(f"{number} x {what}" for what, number in nodes.items())
        more = f"; the autoscaler may start nodes of {', or of '.join(later)}" if later else ""
        raise ResourceError(
            f"a trial asks for {resources.cpus:g} CPUs and {resources.gpus:g} GPUs, and no node can hold one: the "
            f"cluster has {has}{more}; lower --cpus-per-trial or --gpus-per-trial"
        )
    return count


def temporary_folder() -> str | None:
    """Where a Ray that is started here keeps its sockets and logs; None leaves it to Ray.

    Ray's own choice, /tmp/ray, belongs on a shared machine to whoever came first. Paths of sockets must be short.
    """
    if "RAY_TMPDIR" in os.environ:
        return None
    for name in ("ray", f"ray-{os.getuid()}"):
        place = Path(tempfile.gettempdir()) / name
        try:
            place.mkdir(mode=0o700 if name != "ray" else 0o777, exist_ok=True)
            # A folder of somebody else's is not to be trusted, whatever its mode.
            if place.stat().st_uid == os.getuid() and os.access(place, os.W_OK | os.X_OK):
                return str(place)
        except OSError:
            continue
    return tempfile.mkdtemp(prefix="ray")


def nodes_now(avoided: Collection[str] = ()) -> list[dict[str, float]]:
    """Resources of the nodes that are alive, without those with some ids."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [dict(node["Resources"]) for node in nodes if node["Alive"] and node["NodeID"] not in avoided]


def nodes_later() -> list[tuple[dict[str, float], float]]:
    """Resources of the kinds of nodes that an autoscaler may start, each with how many at most."""
    # Ray has no public name for it; it is None without an autoscaler.
    config = ray._private.state.state.get_cluster_config()
    groups = config.node_group_configs if config is not None else ()
    return [
        (dict(group.resources), float("inf") if group.max_count < 0 else float(group.max_count)) for group in groups
    ]


def count_slots(resources: Resources, avoided: Collection[str] = ()) -> int:
    """Trials at a time, by the nodes that are there or that an autoscaler may start, without those with some ids."""
    wish = resources.cpus, resources.gpus
    later = sum(slots.on_node(has, *wish) * most for has, most in nodes_later() if most)
    found = max(slots.on_nodes(nodes_now(avoided), *wish), min(later, 10**6))
    return int(min(found, resources.max_concurrent or found))


class Watcher:
    """Is told what happens to trials; does nothing about it."""

    def waits(self, job: Job) -> None:
        """A trial asks for a worker."""

    def started(self, job: Job) -> None:
        """A worker has begun with a trial."""

    def progress(self, job: Job, progress: Progress) -> None:
        """A trial reported."""

    def told(self, job: Job, message: str) -> None:
        """Something went wrong with a trial that people should know of."""

    def left(self, job: Job) -> None:
        """A worker is through with a trial, whether it is done, broke off or was ended."""

    def counted(self, count: int) -> None:
        """So many trials at a time fit the nodes now."""

    def tick(self) -> None:
        """Time passes."""


def run(
    search: Search,
    datasets: Mapping[str, IqaDataset],
    store: Store,
    resources: Resources,
    watcher: Watcher | None = None,
    enough: Callable[[], bool] = lambda: False,
    train: Train = run_trial,
    on_setup: Callable[[], None] = lambda: None,
) -> None:
    """Train all that the search asks for, on the cluster that `connect` joined. `datasets` are by fingerprint.

    `train` is what a worker does with a trial: whatever it does, it leaves the trial's result in the store.
    Once `enough` says so, nothing more starts, and running trials write a checkpoint and end, to be taken up later.
    `on_setup` is called when Tune has taken the process's signals.

    Raises:
        StoreError: if a result cannot be read back, as from a storage that the nodes do not share, or if the storage is
            full or refuses.
    """
    bell = _Bell(uuid.uuid4().hex)
    suggester = _Suggester(search, store, resources, watcher or Watcher(), enough, bell)
    execution = replace(resources.execution, study=search.plan.study)
    trainable = tune.with_resources(
        tune.with_parameters(
            _train,
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


@dataclass(frozen=True)
class _Bell:
    """Tells workers, through the cluster's own table of names, that trials shall end."""

    run: str
    """Names a run of a driver."""

    def ring(self, signature: str = "all") -> None:
        """Have one trial end, or all."""
        internal_kv._internal_kv_put(f"gada-ray/{self.run}/{signature}", b"1")

    def still(self, signature: str) -> None:
        """Let a trial start again."""
        internal_kv._internal_kv_del(f"gada-ray/{self.run}/{signature}")

    @contextmanager
    def heard(self, signature: str) -> Iterator[Callable[[], bool]]:
        """In a worker: whether its trial shall end, as of half a second ago."""
        rung, over = threading.Event(), threading.Event()
        names = [f"gada-ray/{self.run}/{name}" for name in (signature, "all")]

        def listen() -> None:
            while not over.wait(LISTEN_S):
                try:
                    if any(internal_kv._internal_kv_exists(name) for name in names):
                        return rung.set()
                except Exception:  # a cluster whose head is away ends the worker by itself
                    continue

        thread = threading.Thread(target=listen, name="bell", daemon=True)
        thread.start()
        try:
            yield rung.is_set
        finally:
            over.set()
            thread.join()


def _train(
    config: dict[str, Any],
    datasets: Mapping[str, IqaDataset],
    storage: str,
    execution: dict[str, Any],
    train: Train,
    bell: _Bell,
) -> None:
    """One trial in a worker."""
    how = replace(Execution(**execution), node=ray.get_runtime_context().get_node_id())
    if how.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    fold = config["fold"]
    trial = Trial(
        TrainingConfig.model_validate(config["config"]),
        Fold(fold["split"], fold["scored_on"], tuple(fold["train"]), tuple(fold["held_out"])),
        config["seed"],
        config["fingerprint"],
    )
    last = 0.0

    def report(progress: Progress) -> None:
        nonlocal last
        if "warning" in progress or time.monotonic() - last > REPORT_EVERY_S:
            last = time.monotonic()
            tune.report({**progress, "node": how.node})

    with bell.heard(trial.signature) as ending:
        try:
            result = train(trial, datasets[trial.fingerprint], Store(storage), replace(how, ending=ending), report)
        except EndedError:
            tune.report({"ended": True})
            return
        except Exception as error:
            error.node = how.node  # type: ignore[attr-defined]  # travels with the error
            raise
    tune.report({"status": result.status, "steps_done": trial.config.steps, "steps": trial.config.steps})


class _Suggester(Searcher):
    """Tune's view of a search. A job that breaks off is queued anew here, as a new trial of Tune's."""

    def __init__(
        self,
        search: Search,
        store: Store,
        resources: Resources,
        watcher: Watcher,
        enough: Callable[[], bool],
        bell: _Bell,
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
                self._watcher.told(job, f"given up after {RETRIES + 1} attempts that came no further: {_cause(error)}")
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


def disconnect() -> None:
    """Leave the cluster; one that `connect` started ends."""
    ray.shutdown()
