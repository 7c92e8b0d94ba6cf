"""Run a study: `python tune.py --study patch_size`.

Without further options: the demo dataset, the preset "small", and MLflow in a local file. To resume a study, run the
same command again: finished trials are read back, and interrupted ones continue from their last checkpoint.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

import studies
from gada_ray.errors import UserError, did_you_mean
from gada_ray.running import views
from gada_ray.running.interrupt import Interruption
from gada_ray.study.definition import Study, StudyError, make_plan, size_of
from gada_ray.study.settings import parse_settings
from gada_ray.system.streams import safe_output

RESUMES = 75
"""The exit code of a study that ended early; the same command resumes it."""
INTERRUPTED = 130
"""The exit code that typer makes of KeyboardInterrupt."""
COMPILER = "inductor"
"""Backend of torch.compile."""
WHAT, DATA, RESOURCES, BUDGET, OUTPUT = "What to run", "Data", "Resources", "Budget", "Output"
"""Groups of options in --help."""
EXAMPLES = """Examples:

python tune.py --study patch_size

python tune.py --study phases --dataset live --data-root LIVE --plan

python tune.py --study phases --set rates.generator=1e-4 --max-hours 8
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
def main(
    study: Annotated[str | None, typer.Option(help="Name of the study.", rich_help_panel=WHAT)] = None,
    list_studies: Annotated[
        bool,
        typer.Option(
            "--list", help="List all studies; with --study, the presets of one. Train nothing.", rich_help_panel=WHAT
        ),
    ] = False,
    preset: Annotated[
        str, typer.Option(help="Size of the study: smoke, small or paper.", rich_help_panel=WHAT)
    ] = "small",
    recipe: Annotated[
        str | None,
        typer.Option(help="gada, paper or regression; by default the study's own.", rich_help_panel=WHAT),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="A variant to run, instead of all; may be repeated.", rich_help_panel=WHAT),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a field of all configurations, such as rates.generator=1e-4; may be repeated.",
            metavar="FIELD=VALUE",
            rich_help_panel=WHAT,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of splits, weights and crops.", rich_help_panel=WHAT)] = 0,
    racing: Annotated[
        bool, typer.Option(help="Prune candidates that are clearly worse on their first splits.", rich_help_panel=WHAT)
    ] = True,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Show what would run and how long it takes. Train nothing.", rich_help_panel=WHAT),
    ] = False,
    slots: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trials at a time that --plan assumes; by default this machine's.", rich_help_panel=WHAT
        ),
    ] = None,
    simulate: Annotated[
        Path | None,
        typer.Option(
            help="Replay searches on a table of scores, such as tables/*-splits.csv. Train nothing.",
            metavar="CSV",
            rich_help_panel=WHAT,
        ),
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(help="Name, such as demo, live or manifest; see docs/your-own-data.md.", rich_help_panel=DATA),
    ] = "demo",
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the dataset.", metavar="DIR", rich_help_panel=DATA)
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option(help="Number of splits, a file of splits, or published.", metavar="SPLITS", rich_help_panel=DATA),
    ] = None,
    extra_references: Annotated[
        Path | None,
        typer.Option(help="Folder of unlabelled photographs to distort, too.", metavar="DIR", rich_help_panel=DATA),
    ] = None,
    also_test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR",
            help="Test finished trials on another database, too; may be repeated.",
            rich_help_panel=DATA,
        ),
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="GPUs of a trial, or a fraction of one; by default what its memory needs, and 0 without a GPU.",
            metavar="NUMBER",
            rich_help_panel=RESOURCES,
        ),
    ] = None,
    cpus_per_trial: Annotated[
        float,
        typer.Option(min=0.1, help="CPUs and threads of a trial.", metavar="NUMBER", rich_help_panel=RESOURCES),
    ] = 1.0,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time, at most.", rich_help_panel=RESOURCES)
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile forward passes of training steps by torch.compile; on GPUs alone.",
            rich_help_panel=RESOURCES,
        ),
    ] = False,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Limit GPUs to kernels that give the same bits again, where torch has them.",
            rich_help_panel=RESOURCES,
        ),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS",
            help="Ray cluster to use; by default one is started on this machine.",
            rich_help_panel=RESOURCES,
        ),
    ] = None,
    max_hours: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after these hours; a later run resumes.", metavar="H", rich_help_panel=BUDGET),
    ] = None,
    max_gpu_hours: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Stop when trials have used these GPU-hours, or CPU-hours where they use no GPU.",
            metavar="H",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    checkpoint_every: Annotated[
        float,
        typer.Option(min=0, help="Seconds between checkpoints of a trial.", metavar="S", rich_help_panel=BUDGET),
    ] = 60.0,
    storage: Annotated[
        str,
        typer.Option(
            help="Folder of results, shared by all nodes of a cluster, or s3://bucket/prefix.",
            metavar="DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = "runs",
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow server; by default a file in the storage.",
            metavar="URI",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    sync: Annotated[
        bool,
        typer.Option(
            "--sync", help="Write to MLflow what it lacks of the study. Train nothing.", rich_help_panel=OUTPUT
        ),
    ] = False,
    best: Annotated[
        bool,
        typer.Option(
            "--best",
            help="Print the best variant's model URI, for the same options. Train nothing.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
) -> None:
    """Run a study of GADA under Ray Tune, or list, plan or sync studies.

    Exit code 0: all is done.
    1: trainings could not be carried out, or a variant has no score.
    2: wrong input, or a storage or cluster that cannot be used; finished trials are kept.
    75: the study ended early, by its budget or a signal; the same command resumes it.
    """
    interruption = Interruption()
    interruption.listen()
    if list_studies:
        return views.show_studies({name: load_study(name) for name in ([study] if study else study_names())})
    if study is None:
        raise StudyError(f"--study is missing; available: {', '.join(study_names())}")
    chosen = load_study(study)
    if simulate is not None:
        from gada_ray.running.simulation import show_simulation

        return show_simulation(chosen, size_of(study, chosen, preset), simulate)
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
        compiler=COMPILER if compiled else "",
        deterministic=deterministic,
        also_test=tuple(also_test or ()),
    )
    if best:
        return print(session.best_model(decided, how))
    validate_requests(decided, data_root, requested)
    on_gpus = session.requested(how).gpus > 0
    if deterministic and not on_gpus:
        views.warn("--deterministic changes nothing: trainings on a CPU with as many threads give the same bits again")
    training = not (plan or sync)
    if training:
        # The preset's own sentence is about the preset as it is.
        cost = None if splits or variant or settings or recipe else chosen.presets[preset].cost
        views.announce(decided, cost, requested, storage)
    with session.starting_ray(how) if training else nullcontext() as ray:
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
        near = did_you_mean(name, study_names())
        raise StudyError(f"unknown study '{name}'; available: {', '.join(study_names())}{near}")
    found: Study = importlib.import_module(f"studies.{name}").STUDY
    return found


def run() -> NoReturn:
    """The command. Wrong input is one message and exit code 2; printing never ends it."""
    with safe_output():
        code = exit_code()
    sys.exit(code)


def exit_code() -> int:
    """Run the command and show its errors; returns its exit code."""
    try:
        # Without its own handling of errors, typer returns the code of typer.Exit.
        code: int = app(standalone_mode=False) or 0
    except UserError as error:
        return show_error(str(error), 2)
    except Exception as error:
        # Wrong options: typer has no public name for their base class.
        if not hasattr(error, "format_message"):
            raise
        return show_error(error.format_message(), 2)
    if code == INTERRUPTED:
        return show_error("interrupted; run the same command to go on", RESUMES)
    return code


def show_error(message: str, code: int) -> int:
    """Print one message to standard error; returns the exit code."""
    Console(stderr=True).print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    run()
