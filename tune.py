"""Run a study: `python tune.py --study patch_size`.

Without further options: the demo dataset, the "small" preset, and MLflow in a local file. To resume, run the same
command again: trials that are done are read back, half-done ones go on from their last checkpoint.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

import studies
from gada_ray.config import ConfigError
from gada_ray.errors import UserError
from gada_ray.running import views
from gada_ray.running.interrupt import Interruption
from gada_ray.study.definition import Study, StudyError, make_plan

INTERRUPTED = 130
"""What typer makes of KeyboardInterrupt."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    study: Annotated[str | None, typer.Option(help="Name of the study to run.")] = None,
    list_studies: Annotated[bool, typer.Option("--list", help="Name, question and cost of every study.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would run, what it costs, and when it is over; train nothing.")
    ] = False,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time that --plan counts on; by default this machine's.")
    ] = None,
    sync: Annotated[bool, typer.Option("--sync", help="Make MLflow complete from the storage; train nothing.")] = False,
    best: Annotated[
        bool, typer.Option("--best", help="Print the winner's address in MLflow, for the same options; train nothing.")
    ] = False,
    preset: Annotated[str, typer.Option(help="smoke, small or paper.")] = "small",
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe of the trainings: gada, paper or regression; by default the study's own."),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Its name, such as demo, live or manifest; docs/your-own-data.md.")
    ] = "demo",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the dataset.")] = None,
    splits: Annotated[str | None, typer.Option(help="Number of splits, a file of them, or published.")] = None,
    extra_references: Annotated[
        Path | None, typer.Option(help="Folder of unlabelled photographs, to be distorted in phase 2.")
    ] = None,
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
    variant: Annotated[
        list[str] | None, typer.Option(help="A variant to run, instead of all; may be repeated.")
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
        bool, typer.Option(help="Give up candidates that are clearly worse on their first splits.")
    ] = True,
    simulate: Annotated[
        Path | None, typer.Option(help="Replay searches on a table of scores, such as tables/*-splits.csv.")
    ] = None,
    also_test: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Test finished trials on another database, too; may be repeated."),
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to use; one is started without it.")] = None,
) -> None:
    """Run a study of GADA under Ray Tune, or list, plan or sync studies.

    Exit codes: 0 if all that was asked for is done; 75 if the study ended early, by its budget or a signal, and the
    same command goes on; 1 if trainings could not be carried out; 2 for input that cannot be.
    """
    interruption = Interruption()
    interruption.listen()
    if list_studies:
        return views.show_studies({name: load_study(name) for name in study_names()})
    if study is None:
        raise StudyError(f"--study is missing; available: {', '.join(study_names())}")
    chosen = load_study(study)
    if simulate is not None:
        from gada_ray.running.simulation import show_simulation

        return show_simulation(chosen, simulate)
    count, requested = (int(splits), None) if splits and splits.isdigit() else (None, splits)
    photographs = None
    if extra_references is not None:
        from gada_ray.data.photos import load_photographs

        photographs = load_photographs(extra_references)
    extra = photographs.fingerprint if photographs else None
    decided = make_plan(
        study,
        chosen,
        preset,
        dataset,
        parse_settings(settings or []),
        count,
        seed,
        racing,
        variant or (),
        extra,
        recipe,
    )
    from gada_ray.running import session
    from gada_ray.study.inputs import load_data, source, validate_requests

    decided = replace(decided, source=source(data_root, requested))

    how = session.Options(
        storage=storage,
        tracking_uri=tracking_uri,
        cpus=cpus_per_trial,
        gpus=gpus_per_trial,
        max_concurrent=max_concurrent,
        checkpoint_every_s=checkpoint_every,
        max_hours=max_hours,
        max_gpu_hours=max_gpu_hours,
        slots=slots,
        address=address,
        also_test=tuple(also_test or ()),
    )
    if best:
        return print(session.best_model(decided, how))
    validate_requests(decided, data_root, requested)
    session.requested(how)
    training = not (plan or sync)
    if training:
        views.announce(decided, chosen.presets[preset].cost, storage)
    with session.beginning(how) if training else nullcontext() as ray:
        with views.console.status(f"loading {dataset}"):
            data = load_data(decided, data_root, requested, photographs)
        this = session.Session(decided, data, how, write_report, interruption, ray)
        if plan:
            return this.show_plan()
        if sync:
            return this.sync()
        code = this.run()
    raise typer.Exit(code)


def write_report(*arguments: Any, **options: Any) -> list[Path]:
    """`analysis.report.study_report`, imported when a report is made."""
    from analysis.report import study_report

    return study_report(*arguments, **options)


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


def run() -> None:
    """The command: bad input is one message and exit code 2."""
    try:
        # Without its own handling of errors, typer returns the code of typer.Exit.
        code = app(standalone_mode=False)
    except UserError as error:
        fail(str(error))
    except Exception as error:
        # Wrong options: typer has no public name for their base class.
        if not hasattr(error, "format_message"):
            raise
        fail(error.format_message())
    if code == INTERRUPTED:
        fail("interrupted; run the same command to go on", code=75)
    sys.exit(code)


def fail(message: str, code: int = 2) -> NoReturn:
    """Print one message and leave."""
    Console(stderr=True).print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    run()
