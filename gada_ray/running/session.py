"""One study on one storage: planned, run, or written to MLflow anew, with everybody told who should know.

Between the search, which says what to train, the runner, which trains it, the tracker and the status line, which show
it. `tune.py` makes a session of its options and calls one of its methods.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
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
from gada_ray.running.status import Status
from gada_ray.running.views import console
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
from gada_ray.tracking.uri import TrackingError, option, tracking_uri
from gada_ray.trials.store import Folder, Result, Store, write_whole

if TYPE_CHECKING:
    import pandas as pd

    from gada_ray.tracking.runs import Tracker

GOES_ON = 75
"""Exit code of a study that ended early and that the same command takes up: sysexits' EX_TEMPFAIL."""
MLFLOW_S = 4.0
"""For MLflow, when a signal has ended the study; `--sync` writes what is left."""

Report = Callable[..., list[Path]]
"""Writes a report to a folder, and tells its verdict: `analysis.report.study_report`, unknown to the library."""


@dataclass(frozen=True)
class Options:
    """How a study is run; nothing here changes its numbers."""

    storage: str = "runs"
    tracking_uri: str | None = None
    """None: a file in the storage."""
    cpus: float = 1.0
    """Of a trial."""
    gpus: float | None = None
    """Of a trial; None: what a probe measures, or 0 without a GPU."""
    max_concurrent: int | None = None
    checkpoint_every_s: float = 60.0
    max_hours: float | None = None
    max_gpu_hours: float | None = None
    slots: int | None = None
    """Trials at a time that a plan counts on; None: those of this machine."""
    address: str | None = None
    """Of a Ray cluster; one is started without it."""
    also_test: tuple[str, ...] = ()
    """Other databases, as NAME=DIR, on which finished trials' weights are tested; see `running.elsewhere`."""


def requested(options: Options) -> Resources:
    """What a trial is to get, as far as that is known without data; without a requested a whole GPU where there is one.

    Raises:
        ResourceError: for a GPU on a machine without one, unless the trials run on a cluster cross_dataset.
    """
    return choose_resources(
        options.cpus, options.gpus, options.max_concurrent, options.checkpoint_every_s, options.address
    )


@contextmanager
def beginning(options: Options) -> Iterator[Future[int] | None]:
    """Let Ray start beside what is done inside, where there surely is something to train: in a storage without trials.

    What goes wrong with it is raised by the future's `result`.
    """
    if not Store(options.storage).empty:
        yield None
        return
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
    """A plan on a storage. Making one reads what the storage knows, and trains nothing."""

    def __init__(
        self,
        plan: Plan,
        data: Data,
        options: Options,
        report: Report,
        interruption: Interruption | None = None,
        ray: Future[int] | None = None,
    ) -> None:
        """`ray` is a cluster that is being joined already; see `beginning`."""
        self.plan, self.data, self.options, self._report, self._ray = plan, data, options, report, ray
        self._interruption = interruption or Interruption()
        self.store = Store(options.storage)
        self.store.check()
        self.resources = requested(options)
        self._entries: list[tuple[ConfigurationRun, Folder]] = []
        """Trials that are done, each with the configuration that it belongs to."""
        self._tracker: Tracker | None = None
        self._status: Status | None = None
        self._lock: Lock | None = None
        self._brisque: pd.DataFrame | None = None
        """Its agreement on every split, once it is computed."""
        self._cross_dataset: pd.DataFrame | None = None
        """What finished trials reached on other databases, once they are tested there."""
        self._others = load_others(options.also_test, plan)
        self.search = Search(plan, data.splits, data.fingerprints, self.store.result, self._on_done, self._on_pruned)
        self.reused = estimates.reuse(self.search)

    @property
    def uri(self) -> str:
        """MLflow's address.

        Raises:
            TrackingError: for one that MLflow cannot use, and if there is no default.
        """
        return tracking_uri(self.options.tracking_uri, self.store.root, writing=True)

    def show_plan(self) -> None:
        """Show what would run and what it costs."""
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
        """Make MLflow complete from the storage."""
        uri = self.uri
        from gada_ray.tracking import runs

        with only_driver(self.store.root, self.plan.study, views.warn):
            done = runs.sync(uri, self.plan.study, self._entries, views.warn)
            console.print(
                f"MLflow at {uri}: {done.present + done.written} split runs, {done.written} written now, "
                f"{done.deleted} duplicates or unfinished ones removed",
                highlight=False,
                soft_wrap=True,
            )
            publish(uri, self.search, self.store, self.data)
            self._compute_floor()
            self._make_report()

    def run(self) -> int:
        """Train what is missing, and show and track all of it; returns the command's exit code."""
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
            # What a cluster's devices cost, a probe on this machine cannot tell.
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
                self._compute_floor()
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
            views.show_missing(self.search, f"{ended_by} ended the study" if ended_by else "the budget is spent")
        if ended_by or not self.search.finished:
            return GOES_ON
        if any(result is None for c in self.search.configurations() for result in c.results.values()):
            console.print("some trials could not be carried out; run the same command to try them again", style="red")
            return 1
        return 0

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
        """On the cluster, until all is done or it is enough."""
        from gada_ray.running import cluster

        try:
            with console.status("starting Ray"):
                if self._ray is not None:
                    self._ray.result()
                slots = cluster.connect(self.options.address, self.resources)
            self._interruption.listen()
            self._train_on(slots, made, cost)
        finally:
            cluster.disconnect()

    def _train_on(self, slots: int, made: estimates.Estimate | None, cost: Cost) -> None:
        from gada_ray.running import runner

        search = self.search
        views.describe(self.plan, self.data, self.resources, slots, self.reused, made)
        asked = views.share(self.resources)
        status = Status(console, self.plan.study, search.waiting, lambda: search.planned, asked, cost)
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
        if result is not None:
            self._track(job.run, job)
        if self._status is not None:
            self._status.ended(job, result, known)

    def _on_pruned(self, configuration: Configuration) -> None:
        # MLflow shows it as finished with the splits that it was given.
        self._track(configuration.run, configuration.jobs[configuration.released - 1])

    def _track(self, run: ConfigurationRun, job: Job) -> None:
        entry = run, self.store.folder(job.trial.signature)
        self._entries.append(entry)
        if self._tracker is not None:
            self._tracker.finished(*entry)

    def _enough(self) -> bool:
        """Whether nothing more may start."""
        hours, device_hours = self.options.max_hours, self.options.max_gpu_hours
        if self._status is None or self._lock is None:
            return False
        over = self._interruption.name is not None or self._lock.lost
        over = over or (hours is not None and self._status.hours >= hours)
        used = self._status.device_hours * (self.resources.gpus or 1)
        return over or (device_hours is not None and used >= device_hours)

    def _compute_floor(self) -> None:
        """BRISQUE on the study's splits, but for the preset that only shows that it runs; failing is a message."""
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
        with console.status(f"testing {len(finished)} trials on {', '.join(self._others)}"):
            cluster.connect(self.options.address, self.resources)
            try:
                self._cross_dataset = cross_dataset.run_tests(
                    tests,
                    self._others,
                    lambda result: data[selection(result.config)].distortions,
                    self.store,
                    self.resources,
                )
            finally:
                cluster.disconnect()
        name = f"{self.plan.study}-{self.plan.preset}-{self.plan.dataset}-cross_dataset.csv"
        write_whole(self.store.root / "tables" / name, self._cross_dataset.to_csv(index=False).encode())

    def _make_report(self, again: bool = True) -> None:
        """Write the report of what there is so far beside the results, and log it; failing is a message.

        There is none without a score, or while MLflow, of which reports are made, lacks a trial. MLflow gets what else
        a report needs first, so that any later one has it too. Not `again`, if a report that was made of the same
        results is there and in MLflow.
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
        recorded = {(configuration_key(c.run, trial), trial.result.signature) for c, trial in trials}
        keys = {key for key, _ in recorded}
        brisque = None if self._brisque is None else self._brisque.to_dict("list")
        made_of = digest([sorted(trial.digest for _, trial in trials), brisque, self.search.finished])
        command = f"python -m analysis report --study {plan.study} --preset {plan.preset}{option(self.uri)}"
        if not any(c.run.stage == "test" and trial.result.status == "finished" for c, trial in trials):
            return views.warn("there is no report: no test training of this study has a score")
        place = store.root / "reports" / f"{plan.study}-{plan.preset}-{plan.dataset}"
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
            # The page of a run with other variants or splits lies in the same place.
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
                more = {"trials": recorded, "command": command, "tell": told.append}
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
    """Log the winner of a finished study as a model, and say where it is and return it; failing is a message."""
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
    """A file by which a model knows the scenes of its training again."""
    from gada_ray.evaluation import scenes

    dataset = data.datasets[selection(result.config)]
    return scenes.to_bytes(scenes.trained_on(dataset, result.fold.train, result.config.uses_extra))


def best_model(plan: Plan, options: Options) -> str:
    """The address of a plan's model in MLflow.

    Raises:
        ModelError: where there is none.
    """
    return lookup.best(tracking_uri(options.tracking_uri, Store(options.storage).root), plan)
