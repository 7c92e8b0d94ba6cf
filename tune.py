"""Run a study: `python tune.py --study patch_size`.

Without further options: the demo dataset, the "small" preset, and MLflow in a local file. To resume, run the same
command again: trials that are done are read back, half-done ones go on from their last checkpoint.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

import studies
from gada_ray.config import ConfigError
from gada_ray.errors import UserError, first_line
from gada_ray.running import views
from gada_ray.running.views import console
from gada_ray.study.definition import Plan, Study, StudyError, make_plan

if TYPE_CHECKING:
    from gada_ray.running.runner import Resources
    from gada_ray.store import Folder, Store
    from gada_ray.study.inputs import Data
    from gada_ray.study.search import Search

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    context: typer.Context,
    study: Annotated[str | None, typer.Option(help="Name of the study to run.")] = None,
    list_studies: Annotated[bool, typer.Option("--list", help="Name, question and cost of every study.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would run and what it costs; train nothing.")] = False,
    sync: Annotated[bool, typer.Option("--sync", help="Make MLflow complete from the storage; train nothing.")] = False,
    best: Annotated[
        bool, typer.Option("--best", help="Print the winner's address in MLflow, for the same options; train nothing.")
    ] = False,
    preset: Annotated[str, typer.Option(help="smoke, small or paper.")] = "small",
    dataset: Annotated[str, typer.Option(help="demo, live, tid2013, csiq, kadid10k or manifest.")] = "demo",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the dataset.")] = None,
    splits: Annotated[str | None, typer.Option(help="Number of splits, or a JSON file of splits.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of splits, weights and crops.")] = 0,
    storage: Annotated[
        str, typer.Option(help="Folder of results, shared by all nodes of a cluster, or s3://bucket/prefix.")
    ] = "runs",
    tracking_uri: Annotated[
        str | None, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server; a file in the storage by default.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="path.to.field=value; may be repeated.", metavar="FIELD=VALUE")
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(min=0, help="May be a fraction; by default what a probe measures, or 0 without a GPU."),
    ] = None,
    cpus_per_trial: Annotated[float, typer.Option(min=0.1, help="Also the threads of a trial.")] = 1.0,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Trials at a time.")] = None,
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints of a trial.")] = 60.0,
    max_hours: Annotated[float | None, typer.Option(min=0, help="Stop after some hours; a later run goes on.")] = None,
    max_gpu_hours: Annotated[
        float | None, typer.Option(min=0, help="Stop when trials have used some hours of GPUs, or of CPUs without any.")
    ] = None,
    racing: Annotated[
        bool, typer.Option(help="Give up proposals that are clearly worse on their first splits.")
    ] = True,
    simulate: Annotated[
        Path | None, typer.Option(help="Replay searches on a table of scores, such as tables/*-splits.csv.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to use; one is started without it.")] = None,
) -> None:
    """Run a study of GADA under Ray Tune, or list, plan or sync studies."""
    if list_studies:
        return views.show_studies({name: load_study(name) for name in study_names()})
    if study is None:
        raise StudyError(f"--study is missing; available: {', '.join(study_names())}")
    chosen = load_study(study)
    if simulate is not None:
        return views.show_simulation(chosen, simulate)
    count, split_file = (int(splits), None) if splits and splits.isdigit() else (None, splits)
    decided = make_plan(study, chosen, preset, dataset, parse_settings(settings or []), count, seed, racing)
    if best:
        return show_best(decided, storage, tracking_uri)
    with console.status(f"loading {dataset}"):
        from gada_ray.study.inputs import load_data

        data = load_data(decided, data_root, Path(split_file) if split_file else None)

    from gada_ray.running import runner
    from gada_ray.running.lock import only_driver
    from gada_ray.running.status import Status
    from gada_ray.store import Store
    from gada_ray.study import estimate as estimates
    from gada_ray.study.search import Search
    from gada_ray.tracking import runs

    store = Store(storage)
    store.check()
    resources = runner.choose_resources(cpus_per_trial, gpus_per_trial, max_concurrent, checkpoint_every, address)
    if resources.gpus and gpus_per_trial is None and address is None:
        resources = share_gpu(decided, data, resources)
    known: list[tuple[Any, Folder]] = []
    status: Status | None = None
    tracker: runs.Tracker | None = None

    def on_done(job: Any, result: Any, was_known: bool) -> None:
        if result is not None:
            entry = (job.run, store.folder(job.trial.signature))
            if tracker is None:
                known.append(entry)
            else:
                tracker.finished(*entry)
        if status is not None:
            status.ended(job, result, was_known)

    def on_given_up(configuration: Any) -> None:
        # MLflow shows it as finished with the splits that it was given.
        last = configuration.jobs[configuration.released - 1].trial.signature
        on_done_entry = (configuration.run, store.folder(last))
        known.append(on_done_entry) if tracker is None else tracker.finished(*on_done_entry)

    def enough() -> bool:
        if status is None:
            return False
        over = lock.lost or (max_hours is not None and status.hours >= max_hours)
        return over or (max_gpu_hours is not None and status.device_hours * (resources.gpus or 1) >= max_gpu_hours)

    search = Search(decided, data.splits, data.fingerprints, store.result, on_done, on_given_up)
    found = estimates.reuse(search)
    if plan:
        with console.status("timing a few steps"):
            made = estimates.estimate(search, data, resources.execution, store.result, probing=True)
        assert made is not None
        path = estimates.keep(store.root, decided, made)
        return views.show_plan(decided, made, found, data, resources, path)
    uri = tracking_uri or runs.default_uri(store.root)
    lock = context.with_resource(only_driver(store.root, study, views.warn))
    if sync:
        done = runs.sync(uri, study, known)
        console.print(
            f"MLflow at {uri}: {done.present + done.written} split runs, {done.written} written now, "
            f"{done.deleted} duplicates or unfinished ones removed",
            highlight=False,
            soft_wrap=True,
        )
        publish(uri, search, store, data)
        return make_report(decided, search, data, store, uri)
    tracker = runs.Tracker(uri, study, views.warn)
    for entry in known:
        tracker.finished(*entry)
    # What a cluster's devices cost, a probe on this machine cannot tell.
    made = estimates.estimate_of_run(
        store.root, search, data, resources.execution, store.result, probing=address is None
    )
    if search.waiting:
        with console.status("starting Ray"):
            slots = runner.connect(address, resources)
        views.describe(decided, data, resources, slots, found, made)
        status = Status(console, study, search.waiting, lambda: search.planned)
        status.done = status.reused = found.total
        try:
            with status:
                runner.run(
                    search,
                    data.by_fingerprint,
                    store,
                    resources,
                    status.started,
                    status.progress,
                    status.told,
                    status.tick,
                    enough,
                )
        finally:
            runner.disconnect()
        lock.check()
    with console.status("finishing MLflow"):
        tracker.close()
    publish(uri, search, store, data)
    views.show_results(decided, search, data, store.root, uri)
    views.show_failures(search, store.root)
    views.show_cost(made, estimates.used(search), search.finished)
    make_report(decided, search, data, store, uri)
    if not search.finished:
        return views.show_missing(search)
    if any(result is None for c in search.configurations() for result in c.results.values()):
        console.print("some trials could not be carried out; run the same command to try them again", style="red")
        raise typer.Exit(1)


def make_report(plan: Plan, search: Search, data: Data, store: Store, uri: str) -> None:
    """Write the report of what there is so far beside the results, and log it; failing costs a message, no study."""
    from gada_ray.data.splits import splits_hash
    from gada_ray.store import write_whole
    from gada_ray.study.summary import Trial, configuration_key
    from gada_ray.tracking import runs

    keys = {
        configuration_key(configuration.run, Trial(store.folder(result.signature), result))
        for configuration in search.configurations()
        for result in configuration.results.values()
        if result is not None
    }
    command = f"python -m analysis report --study {plan.study} --preset {plan.preset}"
    place = store.root / "reports" / f"{plan.study}-{plan.preset}-{plan.dataset}"
    try:
        with console.status("making the report"), tempfile.TemporaryDirectory() as folder:
            from analysis.report import study_report

            for file in study_report(uri, plan.study, Path(folder), keys=keys, command=command):
                write_whole(place / file.name, file.read_bytes())
            scheme = splits_hash(data.first[1])
            runs.log_study(uri, plan, scheme, list(data.by_fingerprint), keys, Path(folder), search.finished)
    except Exception as error:
        views.warn(f"the report is not complete ({first_line(error)}); make it later with '{command}'")
    else:
        views.say(f"report: {place / 'report.html'}")


def publish(uri: str, search: Search, store: Store, data: Data) -> None:
    """Log the winner of a finished study as a model, and say where it is; a failure is a message."""
    from gada_ray.study.definition import selection
    from gada_ray.tracking import models

    names = {place: dataset.distortions for place, dataset in data.datasets.items()}
    with console.status("logging the model"):
        try:
            address = models.publish(uri, search, store, lambda config: names[selection(config)])
        except Exception as error:
            return views.warn(f"the model is not logged: {first_line(error)}")
    if address:
        views.say(f"model: {address}")


def show_best(plan: Plan, storage: str, tracking_uri: str | None) -> None:
    """The address of a plan's model alone, for other commands."""
    from gada_ray.store import Store
    from gada_ray.tracking import models, runs

    print(models.best(tracking_uri or runs.default_uri(Store(storage).root), plan))


def study_names() -> list[str]:
    """Names of the files in studies/."""
    return sorted(module.name for module in pkgutil.iter_modules(studies.__path__))


def load_study(name: str) -> Study:
    """The study of a file in studies/."""
    if name not in study_names():
        raise StudyError(f"unknown study '{name}'; available: {', '.join(study_names())}")
    found: Study = importlib.import_module(f"studies.{name}").STUDY
    return found


def parse_settings(items: Sequence[str]) -> dict[str, Any]:
    """`path=value` pairs; a value is JSON, or else text."""
    values = {}
    for item in items:
        path, equals, text = item.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set needs path.to.field=value, got '{item}'")
        try:
            values[path] = json.loads(text)
        except ValueError:
            values[path] = text
    return values


def share_gpu(plan: Plan, data: Data, resources: Resources) -> Resources:
    """As many trials on a GPU as the memory of the largest level allows, measured by a few steps of it."""
    import torch

    from gada_ray.study.definition import selection
    from gada_ray.study.price import gpu_share, peak_mb

    largest = max((level.config for level in plan.levels), key=lambda config: config.data.crop_px * config.data.batch)
    with console.status("measuring the memory of a trial"):
        peak = peak_mb(largest, data.datasets[selection(largest)], resources.execution)
    total_mb = torch.cuda.get_device_properties(0).total_memory / 2**20
    return dataclasses.replace(resources, gpus=gpu_share(peak, total_mb))


def run() -> None:
    """The command: bad input is one message and exit code 2."""
    try:
        # Without its own handling of errors, typer returns the code of typer.Exit.
        sys.exit(app(standalone_mode=False))
    except UserError as error:
        fail(str(error))
    except typer.Abort:
        fail("interrupted; run the same command to go on")
    except Exception as error:
        # Wrong options: typer has no public name for their base class.
        if not hasattr(error, "format_message"):
            raise
        fail(error.format_message())


def fail(message: str) -> None:
    """Print one message and leave."""
    Console(stderr=True).print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


if __name__ == "__main__":
    run()
