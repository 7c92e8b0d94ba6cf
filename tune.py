"""Run a study: `python tune.py --study patch_size`.

Without further options: the demo dataset, the "small" preset, and MLflow in a local file. To resume, run the same
command again: trials that are done are read back, half-done ones go on from their last checkpoint.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import studies
from gada_ray.config import ConfigError
from gada_ray.errors import UserError
from gada_ray.tuning.study import Plan, Study, StudyError, data_selections, make_plan

if TYPE_CHECKING:
    import pandas as pd

    from gada_ray.data import IqaDataset, Split
    from gada_ray.store import Folder
    from gada_ray.tuning.runner import Resources
    from gada_ray.tuning.search import Search

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
# Where nobody resizes a window, tables are not squeezed.
console = Console() if sys.stdout.isatty() else Console(width=140)


@app.command()
def main(
    study: Annotated[str | None, typer.Option(help="Name of the study to run.")] = None,
    list_studies: Annotated[bool, typer.Option("--list", help="Name, question and cost of every study.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would run and what it costs; train nothing.")] = False,
    sync: Annotated[bool, typer.Option("--sync", help="Make MLflow complete from the storage; train nothing.")] = False,
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
        float | None, typer.Option(min=0, help="Stop when trials have used some hours of their devices.")
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
        return show_studies()
    if study is None:
        raise StudyError(f"--study is missing; available: {', '.join(study_names())}")
    chosen = load_study(study)
    if simulate is not None:
        return show_simulation(chosen, simulate)
    count, split_file = (int(splits), None) if splits and splits.isdigit() else (None, splits)
    decided = make_plan(study, chosen, preset, dataset, parse_settings(settings or []), count, seed, racing)
    data = load_data(decided, data_root, Path(split_file) if split_file else None)

    from gada_ray.store import Store
    from gada_ray.tuning import runner, tracking
    from gada_ray.tuning.search import Search
    from gada_ray.tuning.status import Status

    store = Store(storage)
    store.check()
    resources = runner.choose_resources(cpus_per_trial, gpus_per_trial, max_concurrent, checkpoint_every, address)
    if resources.gpus and gpus_per_trial is None and address is None:
        resources = share_gpu(decided, data, resources)
    known: list[tuple[Any, Folder]] = []
    status: Status | None = None
    tracker: tracking.Tracker | None = None

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
        over = max_hours is not None and status.hours >= max_hours
        return over or (max_gpu_hours is not None and status.device_hours >= max_gpu_hours)

    search = Search(decided, data.splits, data.fingerprints, store.result, on_done, on_given_up)
    if plan:
        return show_plan(decided, search, data, resources)
    uri = tracking_uri or tracking.default_uri(store.root)
    if sync:
        done = tracking.sync(uri, study, known)
        console.print(
            f"MLflow at {uri}: {done.present + done.written} split runs, {done.written} written now, "
            f"{done.deleted} duplicates or unfinished ones removed",
            highlight=False,
            soft_wrap=True,
        )
        return None
    if isinstance(store.root, Path):
        store.root.mkdir(parents=True, exist_ok=True)
    tracker = tracking.Tracker(uri, study, lambda message: console.print(message, style="yellow", markup=False))
    for entry in known:
        tracker.finished(*entry)
    if search.waiting:
        with console.status("starting Ray"):
            slots = runner.connect(address, resources)
        describe(decided, data, resources, slots)
        status = Status(console, study, search.waiting, lambda: search.planned)
        status.done = status.reused = len(known)
        try:
            with status:
                runner.run(
                    search, data.by_fingerprint, store, resources, status.started, status.progress, status.tick, enough
                )
        finally:
            runner.disconnect()
    with console.status("finishing MLflow"):
        tracker.close()
    show_results(decided, search, data, store.root, uri)
    if not search.finished:
        left = search.planned - sum(len(configuration.results) for configuration in search.configurations())
        console.print(f"the budget is spent with {left} trainings to do; run the same command to go on", style="yellow")
        return None
    if any(result is None for c in search.configurations() for result in c.results.values()):
        console.print("some trials could not be carried out; run the same command to try them again", style="red")
        raise typer.Exit(1)


def show_simulation(study: Study, path: Path) -> None:
    """Replay searches with the study's racing on a table of known scores."""
    import pandas as pd

    from gada_ray.tuning.racing import simulate
    from gada_ray.tuning.search import GENERATION

    try:
        frame = pd.read_csv(path)
        if "stage" in frame:
            frame = frame[frame["stage"] == "search"]
        table = frame.pivot(index="configuration", columns="split", values="srocc").to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{path} is no table with the columns configuration, split and srocc: {error}") from None
    if len(table) < 2 or table.shape[1] < study.racing.first or not (table == table).all():
        raise StudyError(
            f"{path} needs at least 2 configurations, each on the same {study.racing.first} or more splits"
        )
    outcome = simulate(table, GENERATION, study.racing)
    low, high = outcome.interval()
    console.print(
        f"{len(table)} configurations x {table.shape[1]} splits, {outcome.orders} random orders, {study.racing}\n"
        f"trainings: {outcome.trainings.mean():.1%} of all ({outcome.trainings.min():.1%} to "
        f"{outcome.trainings.max():.1%})\n"
        f"regret of the chosen configuration: {outcome.regret.mean():.5f} SROCC (95 % interval {low:.5f} to "
        f"{high:.5f}); without racing 0\nbest configuration given up: {outcome.dropped_best:.1%} of orders",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


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


@dataclass(frozen=True)
class Data:
    """The datasets that a plan trains on, by selection, with their splits."""

    datasets: Mapping[tuple[bool, str, bool], IqaDataset]
    splits: Mapping[tuple[bool, str, bool], Sequence[Split]]

    @property
    def fingerprints(self) -> dict[tuple[bool, str, bool], str]:
        """By selection."""
        return {place: dataset.fingerprint for place, dataset in self.datasets.items()}

    @property
    def by_fingerprint(self) -> dict[str, IqaDataset]:
        """Datasets by fingerprint."""
        return {dataset.fingerprint: dataset for dataset in self.datasets.values()}

    @property
    def first(self) -> tuple[IqaDataset, Sequence[Split]]:
        """The first level's data."""
        place = next(iter(self.datasets))
        return self.datasets[place], self.splits[place]

    @property
    def count(self) -> int:
        """Splits."""
        return len(self.first[1])


def load_data(plan: Plan, root: Path | None, split_file: Path | None) -> Data:
    """Decode every image once, and divide the references."""
    from gada_ray.data import check_crops, load_dataset, load_splits, make_splits

    datasets, splits = {}, {}
    with console.status(f"loading {plan.dataset}"):
        for place, config in data_selections(plan.levels).items():
            dataset = load_dataset(plan.dataset, root, config.data)
            datasets[place] = dataset
            splits[place] = (
                load_splits(split_file, dataset)
                if split_file
                else make_splits(dataset.references, plan.splits, plan.seed)
            )
            check_crops(dataset, max(level.config.data.crop_px for level in plan.levels))
            assert dataset.fingerprint
    return Data(datasets, splits)


def share_gpu(plan: Plan, data: Data, resources: Resources) -> Resources:
    """As many trials on a GPU as the memory of the largest level allows, measured by a few steps of it."""
    import torch

    from gada_ray.tuning.price import gpu_share, probe
    from gada_ray.tuning.study import selection

    largest = max((level.config for level in plan.levels), key=lambda config: config.data.crop_px * config.data.batch)
    with console.status("measuring the memory of a trial"):
        price = probe(largest, data.datasets[selection(largest)], 1, resources.execution)
    torch.cuda.empty_cache()
    total_mb = torch.cuda.get_device_properties(0).total_memory / 2**20
    return dataclasses.replace(resources, gpus=gpu_share(price.peak_mb, total_mb))


def describe(plan: Plan, data: Data, resources: Resources, slots: int) -> None:
    """Say what is about to run."""
    kind = f"{resources.gpus:g} GPU" if resources.gpus else f"{resources.cpus:g} CPU"
    console.print(
        f"{plan.study}: {plan.question}\n{caption(plan, data)}; {slots} trials at a time with {kind} each",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def caption(plan: Plan, data: Data) -> str:
    """Data, labels, preset, splits and seed, without which no number means anything."""
    dataset, splits = data.first
    return (
        f"{dataset.name} ({len(dataset)} images, {len(dataset.references)} references; {dataset.labels}), "
        f"preset {plan.preset}, {len(splits)} splits, seed {plan.seed}"
    )


def show_studies() -> None:
    """Name, question and cost of every study."""
    view = Table("study", "question", "preset", "cost", title="Studies", show_lines=True)
    for name in study_names():
        study = load_study(name)
        presets = study.presets.items()
        view.add_row(name, study.question, "\n".join(p for p, _ in presets), "\n".join(s.cost for _, s in presets))
    console.print(view)


def show_plan(plan: Plan, search: Search, data: Data, resources: Resources) -> None:
    """What would run, what is done, and what it costs."""
    from gada_ray.tuning import runner
    from gada_ray.tuning.price import from_past, probe, skipped_phases
    from gada_ray.tuning.status import duration
    from gada_ray.tuning.study import selection

    prices = from_past(search.configurations(), resources.execution.device)
    waiting = search.waiting
    signatures = [job.trial.signature for job in waiting]
    view = Table("level", "steps", "trainings", "done", "each", "device-hours", "price from", title=plan.question)
    total, left = 0.0, 0
    for level in plan.levels:
        place = selection(level.config)
        dataset, splits = data.datasets[place], data.splits[place]
        if level.name not in prices:
            with console.status(f"timing a few steps of {level.name}"):
                images = len(dataset.rows_of(splits[0].test))
                prices[level.name] = probe(level.config, dataset, images, resources.execution)
        price = prices[level.name]
        planned = (level.proposals + 1) * len(splits)
        mine = [job for job in waiting if job.run.level == level.name]
        done = sum(len(c.results) for c in search.configurations() if c.run.level == level.name)
        later = planned - done - len(mine)
        seconds = sum(price.seconds(skipped_phases(job, signatures)) for job in mine) + later * price.seconds()
        total, left = total + seconds, left + planned - done
        view.add_row(
            level.name,
            f"{level.config.steps}",
            f"{planned}",
            f"{done}",
            duration(seconds / max(1, planned - done)),
            f"{seconds / 3600:.2f}",
            price.source,
        )
    console.print(view)
    slots = runner.slots_here(resources)
    console.print(
        f"{caption(plan, data)}\n{left} trainings to do, {total / 3600:.2f} device-hours, about "
        f"{duration(total / slots)} with {slots} at a time on this machine; nothing was trained",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def show_results(plan: Plan, search: Search, data: Data, root: Folder, uri: str) -> None:
    """The study's table, on the screen and as a file, and where everything else is."""
    import pandas as pd

    from gada_ray.store import write_whole
    from gada_ray.tuning import tracking
    from gada_ray.tuning.results import by_split, floor, table

    frame = pd.concat([table(search.configurations()), floor(*data.first)], ignore_index=True)
    path = root / "tables" / f"{plan.study}-{plan.preset}-{plan.dataset}.csv"
    write_whole(path, frame.to_csv(index=False).encode())
    write_whole(path.with_stem(f"{path.stem}-splits"), by_split(search.configurations()).to_csv(index=False).encode())
    tested = frame[frame["stage"] == "test"]
    view = Table(
        "level",
        "n",
        "SROCC mean ± sd",
        "median",
        "LCC mean ± sd",
        "median",
        "device-hours",
        title=plan.question,
        caption=f"{caption(plan, data)}; on test references",
    )
    for _, row in tested.iterrows():
        view.add_row(
            row["level"],
            _count(row),
            *_scores(row),
            "" if math.isnan(row["device_hours"]) else f"{row['device_hours']:.2f}",
        )
    console.print(view)
    for level in search.levels:
        if level.level.space and level.best:
            chosen = ", ".join(f"{path}={level.best.run.values[path]:.3g}" for path in level.level.space)
            console.print(
                f"{level.level.name}: {chosen}; validation SROCC {level.best.mean:.3f}, best of {len(level.proposed)}",
                highlight=False,
                soft_wrap=True,
            )
    console.print(
        f"results: {root}\ntable: {path}\nMLflow: {tracking.where_to_look(uri)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _count(row: pd.Series[Any]) -> str:
    return f"{row['n']}" if row["n"] == row["planned"] else f"{row['n']} of {row['planned']}"


def _scores(row: pd.Series[Any]) -> list[str]:
    cells = []
    for name in ("srocc", "lcc"):
        mean, sd, median = (row[f"{name}_{part}"] for part in ("mean", "sd", "median"))
        cells += [f"{mean:.3f}" + ("" if math.isnan(sd) else f" ± {sd:.3f}"), f"{median:.3f}"]
    return cells


def run() -> None:
    """The command: bad input is one message and exit code 2."""
    try:
        app(standalone_mode=False)
    except UserError as error:
        fail(str(error))
    except typer.Exit as error:
        sys.exit(error.exit_code)
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
