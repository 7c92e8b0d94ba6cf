"""One study on one storage: plans it, runs it, or writes it to MLflow again.

A session connects the search, which decides what to train, the runner, which trains it, and the tracker, status line
and views, which show it. `tune.py` makes a session of its options and calls one of its methods.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gada_ray.config import digest
from gada_ray.data.split_files import save_splits
from gada_ray.data.splits import splits_hash
from gada_ray.errors import first_line
from gada_ray.running import views
from gada_ray.running.interrupt import Interruption
from gada_ray.running.lock import Lock, only_driver
from gada_ray.running.slots import Resources, choose_resources, slots_here
from gada_ray.running.status import PLAIN_EVERY_S, Status
from gada_ray.running.temporary import temporary_folder
from gada_ray.running.views import console
from gada_ray.running.words import count, duration
from gada_ray.study import estimate as estimates
from gada_ray.study.definition import Plan, selection
from gada_ray.study.inputs import Data, load_others
from gada_ray.study.price import Cost, work
from gada_ray.study.probes import Probes, on_one_gpu
from gada_ray.study.search import Configuration, Job, Search
from gada_ray.study.summary import ConfigurationRun, Trial, configuration_key
from gada_ray.study.virtual import play
from gada_ray.system import bytecode
from gada_ray.tracking import lookup
from gada_ray.tracking.uri import TrackingError, option, shown, tracking_uri
from gada_ray.trials.store import Folder, Result, Store, write_whole

if TYPE_CHECKING:
    import pandas as pd

    from gada_ray.tracking.runs import Tracker

GOES_ON = 75
"""Exit code of a study that ended early and that the same command resumes: EX_TEMPFAIL of sysexits."""
MLFLOW_S = 4.0
"""Seconds that writing to MLflow may take after a signal has ended the study; `--sync` writes the rest."""

Report = Callable[..., list[Path]]
"""Writes a report to a folder: `analysis.report.study_report`, which the library does not import."""


@dataclass(frozen=True)
class Options:
    """How a study is run; nothing here is part of a trial's identity."""

    storage: str = "runs"
    tracking_uri: str | None = None
    """Address of MLflow; None: a file in the storage."""
    cpus: float = 1.0
    """CPUs of a trial."""
    gpus: float | None = None
    """GPUs of a trial; None: the share of a GPU that its memory needs, as measured, or 0 without a GPU."""
    max_concurrent: int | None = None
    checkpoint_every_s: float = 60.0
    max_hours: float | None = None
    """Hours after which the study ends."""
    max_gpu_hours: float | None = None
    """GPU-hours of all trials after which the study ends; CPU-hours where trials use no GPU."""
    slots: int | None = None
    """Trials at a time that a plan assumes; None: those of this machine."""
    address: str | None = None
    """Address of a Ray cluster; None: one is started on this machine."""
    compiler: str = ""
    """Backend of torch.compile for training steps; empty: they are not compiled."""
    deterministic: bool = False
    """Whether GPUs are limited to deterministic kernels."""
    also_test: tuple[str, ...] = ()
    """Other databases, as NAME=DIR, on which finished trials' weights are tested; see `running.cross_dataset`."""


def requested(options: Options) -> Resources:
    """Resources of a trial, as far as they are known without data.

    Raises:
        ResourceError: for a GPU on a machine without one, unless the trials run on a cluster, and for compilation on a
            CPU.
    """
    wanted = Resources(
        cpus=options.cpus,
        max_concurrent=options.max_concurrent,
        checkpoint_every_s=options.checkpoint_every_s,
        compiler=options.compiler,
        deterministic=options.deterministic,
    )
    return choose_resources(wanted, options.gpus, options.address)


@contextmanager
def starting_ray(options: Options) -> Iterator[Future[int] | None]:
    """Start Ray in the background, if the storage holds no trials yet, so that there surely is something to train.

    The future's `result` raises what goes wrong.

    Raises:
        ResourceError: at once, for a temporary folder that Ray cannot use.
    """
    if not Store(options.storage).empty:
        yield None
        return
    if not options.address:
        temporary_folder()
    bytecode.compile_for_workers()

    def connect() -> int:
        from gada_ray.running import cluster

        return cluster.connect(options.address, requested(options))

    with ThreadPoolExecutor(1, "ray") as pool:
        future = pool.submit(connect)
        try:
            yield future
        finally:
            if not future.cancel() and future.exception() is None:
                from gada_ray.running import cluster

                cluster.disconnect()


class Session:
    """A plan on a storage. Making one reads the results that the storage holds, and trains nothing."""

    def __init__(
        self,
        plan: Plan,
        data: Data,
        options: Options,
        report: Report,
        interruption: Interruption | None = None,
        ray: Future[int] | None = None,
    ) -> None:
        """`ray` is a cluster that is being joined already; see `starting_ray`."""
        self.plan = dataclasses.replace(plan, splits=len(data.first[1]))
        self.data, self.options, self._report, self._ray = data, options, report, ray
        self._interruption = interruption or Interruption()
        self.store = Store(options.storage)
        self.store.check()
        self.resources = requested(options)
        self._entries: list[tuple[ConfigurationRun, Folder]] = []
        """Finished trials, each with the configuration that it belongs to."""
        self._tracker: Tracker | None = None
        self._status: Status | None = None
        self._lock: Lock | None = None
        self._brisque: pd.DataFrame | None = None
        """BRISQUE's SROCC and PLCC on every split, once they are computed."""
        self._cross_dataset: pd.DataFrame | None = None
        """Scores of finished trials on other databases, once they are tested there."""
        self._others = load_others(options.also_test, self.plan)
        self.search = Search(
            self.plan, data.splits, data.fingerprints, self.store.result, self._on_done, self._on_pruned
        )
        self.reused = estimates.reuse(self.search)

    @property
    def uri(self) -> str:
        """MLflow's address.

        Raises:
            TrackingError: for one that MLflow cannot use, and if there is no default.
        """
        return tracking_uri(self.options.tracking_uri, self.store.root, writing=True)

    def show_plan(self) -> None:
        """Show what would run, what it costs and how long it takes."""
        self._share_gpus()
        execution, sharing = self.resources.execution, on_one_gpu(self.resources.gpus)
        with console.status("timing a few steps"):
            made = estimates.estimate(self.search, self.data, execution, self.store.result, True, sharing)
        assert made is not None
        path = estimates.keep(self.store.root, self.plan, made)
        cost = estimates.pricing(self.plan, made)
        assert cost is not None
        search = Search(self.plan, self.data.splits, self.data.fingerprints, self.store.result)
        search.price_by(cost)
        slots = self.options.slots or slots_here(self.resources)
        stored = estimates.stored_starts(search.waiting, self.store.result)
        line = play(search, slots, lambda job, skipped: cost(job.trial.config, skipped), stored=stored)
        views.show_plan(self.plan, made, self.reused, self.data, line, path)

    def sync(self) -> None:
        """Write to MLflow what it lacks, from the storage."""
        uri = self.uri
        from gada_ray.tracking import runs

        with only_driver(self.store.root, self.plan.study, views.warn):
            done = runs.sync(uri, self.plan.study, self._entries, views.warn)
            console.print(
                f"MLflow at {shown(uri)}: {done.present + done.written} split runs, {done.written} written now, "
                f"{done.deleted} duplicates or unfinished ones removed",
                highlight=False,
                soft_wrap=True,
            )
            publish(uri, self.search, self.store, self.data)
            self._compute_brisque()
            self._make_report()

    def run(self) -> int:
        """Train what is missing, show results and log them to MLflow; returns the command's exit code."""
        with only_driver(self.store.root, self.plan.study, views.warn) as self._lock:
            self._share_gpus()
            try:
                uri = self.uri
                with console.status("loading MLflow"):
                    from gada_ray.tracking import runs
                self._tracker = runs.Tracker(uri, self.plan.study, views.warn)
            except TrackingError:
                if self.search.finished:  # its table needs no MLflow
                    views.show_results(self.plan, self.search, self.data, self.store.root, None, self._brisque)
                raise
            for entry in self._entries:
                self._tracker.finished(*entry)
            # A probe on this machine does not know the speed of a cluster's devices.
            made = estimates.estimate_of_run(
                self.store.root,
                self.search,
                self.data,
                self.resources.execution,
                self.store.result,
                probing=self.options.address is None,
                sharing=on_one_gpu(self.resources.gpus),
            )
            if self.search.waiting:
                cost = estimates.pricing(self.plan, made) if made else None
                if cost:
                    self.search.price_by(cost)
                self._train(made, cost or work)
                self._lock.check()
            ended_by = self._interruption.name
            with console.status("finishing MLflow"):
                self._tracker.close(*([MLFLOW_S] if ended_by else []))
            model = None
            if not ended_by:
                model = publish(uri, self.search, self.store, self.data)
                self._compute_brisque()
                try:
                    self._test_cross_dataset()
                except Exception as error:  # the study itself is done, and its results are to be shown
                    views.warn(f"finished trials could not be tested on other databases: {first_line(error)}")
            views.show_results(self.plan, self.search, self.data, self.store.root, uri, self._brisque)
            if self._cross_dataset is not None:
                from gada_ray.evaluation.cross_dataset import summary

                views.show_cross_dataset(summary(self._cross_dataset))
            views.show_failures(self.search, self.store.root)
            views.show_cost(made, estimates.used(self.search), self.search.finished)
            if self.search.discarded[0]:
                views.show_discarded(self.search)
            if not ended_by:
                self._make_report(again=False)
                views.show_next(self.plan, model, uri)
        if not self.search.finished:
            views.show_missing(self.search, f"{ended_by} ended the study" if ended_by else self._spent())
        if ended_by or not self.search.finished:
            return GOES_ON
        return self._failed()

    def _spent(self) -> str:
        """Which budget ended the study."""
        hours, gpu_hours = self.options.max_hours, self.options.max_gpu_hours
        if hours is not None and self._status is not None and self._status.hours >= hours:
            return f"the budget of {hours:g} h (--max-hours) is spent"
        if gpu_hours is not None:
            return f"the budget of {gpu_hours:g} {self.resources.unit} (--max-gpu-hours) is spent"
        return "the study ended early"

    def _failed(self) -> int:
        """1 if trials could not be carried out, or if a variant has no score; else 0."""
        if any(result is None for c in self.search.configurations() for result in c.results.values()):
            console.print("some trials could not be carried out; run the same command to try them again", style="red")
            return 1
        without = [v.variant.name for v in self.search.variants if v.tested is None or not v.tested.scores]
        if without:
            views.say(f"no training of these variants has a score: {'; '.join(without)}", style="red")
        return int(bool(without))

    def _share_gpus(self) -> None:
        """Let as many of the waiting trials share a GPU as its memory allows, where no share was asked for.

        Raises:
            ProbeError: if a step of a variant does not fit into the memory.
        """
        options, waiting = self.options, {job.run.variant for job in self.search.waiting}
        if not waiting or not self.resources.gpus or options.gpus is not None or options.address is not None:
            return
        variants = [variant for variant in self.plan.variants if variant.name in waiting]
        with console.status("measuring the memory of a trial"), Probes(self.data, self.resources.execution) as probes:
            self.resources = dataclasses.replace(self.resources, gpus=probes.share(variants))

    def _train(self, made: estimates.Estimate | None, cost: Cost) -> None:
        """Train on the cluster until all is done or the study ends early."""
        from gada_ray.running import cluster

        try:
            with console.status("starting Ray"):
                if self._ray is not None:
                    self._ray.result()
                slots = self._connect()
            self._interruption.listen()
            if (
                self.options.address
                and self.options.gpus is None
                and not self.resources.gpus
                and (gpus := cluster.gpus())
            ):
                views.warn(
                    f"trials train on CPUs, and the cluster has {gpus:g} GPUs; --gpus-per-trial 1 gives each a GPU, "
                    "--gpus-per-trial 0 none without this message"
                )
            self._train_on(slots, made, cost)
        finally:
            cluster.disconnect()

    def _connect(self) -> int:
        """Join the cluster, or start one that holds the images; returns the trials that it runs at a time."""
        from gada_ray.running import cluster

        datasets = [*self.data.by_fingerprint.values(), *self._others.values()]
        stored = sum(dataset.bytes_in_memory for dataset in datasets)
        stored += sum(dataset.extra.pixels.nbytes for dataset in datasets if dataset.extra is not None)
        return cluster.connect(self.options.address, self.resources, stored, views.warn)

    def _train_on(self, slots: int, made: estimates.Estimate | None, cost: Cost) -> None:
        from gada_ray.running import cluster, runner

        search = self.search
        views.describe(self.plan, self.data, self.resources, slots, self.reused, made)
        share = views.share(self.resources)
        status = Status(console, self.plan.study, search.waiting, lambda: search.planned, share, cost, cluster.logs)
        status.done = status.reused = self.reused.total
        self._status = status
        with status, self._interruption.noted():
            runner.run(
                search,
                self.data.by_fingerprint,
                self.store,
                self.resources,
                status,
                self._enough,
                on_setup=self._interruption.listen,
            )

    def _on_done(self, job: Job, result: Result | None, known: bool) -> None:
        if result is not None and job.run.stage != "start":
            self._track(job.run, job)
        if self._status is not None:
            self._status.ended(job, result, known)

    def _on_pruned(self, configuration: Configuration) -> None:
        # MLflow shows it as finished on the splits that it was trained on.
        self._track(configuration.run, configuration.jobs[configuration.released - 1])

    def _track(self, run: ConfigurationRun, job: Job) -> None:
        entry = run, self.store.folder(job.trial.signature)
        self._entries.append(entry)
        if self._tracker is not None:
            self._tracker.finished(*entry)

    def _enough(self) -> bool:
        """Whether no trial may start any more: after a signal, a lost lock, or a spent budget."""
        hours, device_hours = self.options.max_hours, self.options.max_gpu_hours
        if self._status is None or self._lock is None:
            return False
        over = self._interruption.name is not None or self._lock.lost
        over = over or (hours is not None and self._status.hours >= hours)
        used = self._status.device_hours * (self.resources.gpus or self.resources.cpus)
        return over or (device_hours is not None and used >= device_hours)

    def _compute_brisque(self) -> None:
        """Compute BRISQUE on the study's splits, except for the smoke preset. A failure is a message."""
        if self.plan.preset == "smoke":
            return
        from gada_ray.study import baselines

        try:
            with console.status("computing BRISQUE, once for these images and splits"):
                self._brisque = baselines.brisque_baseline(*self.data.first, self.store.root)
        except Exception as error:
            views.warn(f"BRISQUE could not be computed: {first_line(error)}")

    def _test_cross_dataset(self) -> None:
        """Test the weights of finished trials on other databases, on the cluster; keep the table beside the study's."""
        found = [(job, c.results.get(job.trial.fold.split)) for c in self.search.configurations() for job in c.jobs]
        finished = [
            (job, result)
            for job, result in found
            if job.run.stage == "test" and result is not None and result.status == "finished"
        ]
        if not self._others or not finished:
            return
        from gada_ray.running import cluster, cross_dataset

        data = self.data.datasets
        with console.status("comparing scenes"):
            tests = list(
                cross_dataset.plan_tests(finished, self._others, lambda result: data[selection(result.config)])
            )
        where = ", ".join(other.name for other in self._others.values())
        with console.status(f"testing {count(len(finished), 'trial')} on {where}") as status:
            self._connect()
            said = since = time.monotonic()

            def tell(done: int, of: int) -> None:
                nonlocal said
                now = time.monotonic()
                line = (
                    f"tested {done} of {of} trials on {where}, {duration((now - since) / done * (of - done))} remaining"
                )
                status.update(line)
                if not console.is_terminal and now - said > PLAIN_EVERY_S:
                    said = now
                    views.say(line)

            try:
                self._cross_dataset = cross_dataset.run_tests(
                    tests,
                    self._others,
                    lambda result: data[selection(result.config)].distortions,
                    self.store,
                    self.resources,
                    tell,
                )
            finally:
                cluster.disconnect()
        name = f"{self.plan.name}-cross-dataset.csv"
        write_whole(self.store.root / "tables" / name, self._cross_dataset.to_csv(index=False).encode())

    def _make_report(self, again: bool = True) -> None:
        """Write the report of all results so far beside them, and log it to MLflow. A failure is a message.

        There is none without a score, or while MLflow, from which reports are made, lacks a trial. MLflow first gets
        everything else that a report needs, so that a later one has it too. Without `again`, a report that was made of
        the same results and is in MLflow is kept.
        """
        from gada_ray.tracking import runs

        plan, store = self.plan, self.store
        trials = [
            (configuration, Trial(store.folder(result.signature), result))
            for configuration in self.search.configurations()
            for result in configuration.results.values()
            if result is not None
        ]
        if not any(one.run.stage == "test" and trial.result.status == "finished" for one, trial in trials):
            return views.warn("no report is made: no training has a score on test references yet")
        keys = {configuration_key(configuration.run, trial) for configuration, trial in trials}
        brisque = None if self._brisque is None else self._brisque.to_csv(index=False)
        made_of = digest([sorted(trial.digest for _, trial in trials), brisque, self.search.finished])
        command = f"python -m analysis report --study {plan.study} --preset {plan.preset}{option(self.uri)}"
        place = store.root / "reports" / plan.name
        told: list[str] = []
        page, words = place / "report.html", place / "verdict.json"
        dataset, splits = self.data.first
        scheme, fingerprints = splits_hash(splits), list(self.data.by_fingerprint)
        try:
            if lacking := runs.missing(self.uri, plan.study, [(one.run, trial) for one, trial in trials]):
                return views.warn(
                    f"no report is made: MLflow is without {lacking} of {len(trials)} trials; run the same command "
                    "with --sync when it can be used"
                )
            kept = json.loads(words.read_bytes()) if page.exists() and words.exists() else {}
            there = kept.get("made_of") == made_of and self._cross_dataset is None and not again
            if there and runs.is_logged(self.uri, plan, scheme, fingerprints, made_of):
                return views.show_report(kept["verdict"], page)
            from gada_ray.evaluation import cross_dataset
            from gada_ray.study import baselines

            with console.status("making the report"), tempfile.TemporaryDirectory() as folder:
                about, over = (self.uri, plan, scheme, fingerprints, keys, Path(folder)), self.search.finished
                save_splits(splits, Path(folder) / "splits.json", dataset)
                if self._brisque is not None:
                    frame = self._brisque.assign(fingerprint=dataset.fingerprint)
                    frame.to_csv(Path(folder) / baselines.FILE, index=False)
                if self._cross_dataset is not None:
                    self._cross_dataset.to_csv(Path(folder) / cross_dataset.FILE, index=False)
                runs.log_study(*about, over)
                more = {"keys": keys, "command": command, "tell": told.append}
                for file in self._report(self.uri, plan.study, Path(folder), **more):
                    write_whole(place / file.relative_to(folder), file.read_bytes())
                write_whole(words, json.dumps({"made_of": made_of, "verdict": told}, ensure_ascii=False).encode())
                runs.log_study(*about, over, made_of, told)
        except Exception as error:
            why = first_line(error).split("; ")[0]  # what follows is advice for others than reports
            views.warn(f"the report is not complete ({why}); make it later with '{command}'")
        else:
            views.show_report(told, page)


def publish(uri: str, search: Search, store: Store, data: Data) -> str | None:
    """Log the best variant of a finished study as a model; shows and returns its URI. A failure is a message."""
    from gada_ray.tracking import models

    names: dict[Any, tuple[str, ...]] = {place: dataset.distortions for place, dataset in data.datasets.items()}
    with console.status("logging the model"):
        try:
            address = models.publish(
                uri, search, store, lambda config: names[selection(config)], lambda result: _scenes(result, data)
            )
        except Exception as error:
            views.warn(f"the model is not logged: {first_line(error)}")
            return None
    if address:
        views.say(f"model: {address}")
    return address


def _scenes(result: Result, data: Data) -> bytes:
    """A file from which a model recognises the scenes that it was trained on."""
    from gada_ray.evaluation import scenes

    dataset = data.datasets[selection(result.config)]
    return scenes.to_bytes(scenes.trained_on(dataset, result.fold.train, result.config.uses_extra))


def best_model(plan: Plan, options: Options) -> str:
    """The URI of a plan's model in MLflow.

    Raises:
        ModelError: where there is none.
    """
    return lookup.best(tracking_uri(options.tracking_uri, Store(options.storage).root), plan)
