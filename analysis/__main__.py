"""`python -m analysis report --study NAME`: a report of a study from its runs in MLflow."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gada_ray.errors import UserError
from gada_ray.tracking.uri import tracking_uri as address_of

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Reports of studies, from MLflow alone."""


@app.command()
def report(
    study: Annotated[str, typer.Option(help="Name of the study.")],
    tracking_uri: Annotated[
        str | None, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow's address; runs/mlflow.db by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; reports/STUDY by default.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset, where there are several.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset, where there are several.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Which of several runs: seed=1, splits=10, phases.gan.steps=1000.", metavar="FIELD=VALUE"),
    ] = None,
) -> None:
    """Write report.html, its figures (SVG, PNG) and its tables (CSV, Markdown)."""
    folder = out or Path("reports") / study
    command = shlex.join(["python", "-m", "analysis", *sys.argv[1:]])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            tasks = {}

            def progress(what: str, done: int, of: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=of or None)
                bar.update(tasks[what], completed=done, total=of or None)

            progress("starting", 0, 0)
            uri = address_of(tracking_uri, Path("runs"))
            from analysis.report import study_report

            written = study_report(
                uri, study, folder, dataset, preset, _choices(where or []), command=command, progress=progress
            )
    except (UserError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    print(written[-1])


def _choices(items: list[str]) -> dict[str, str]:
    from analysis.plans import LoadError

    pairs = [item.partition("=") for item in items]
    wrong = [name for name, equals, value in pairs if not (name and equals and value)]
    if wrong:
        raise LoadError(f"--where needs FIELD=VALUE, got '{wrong[0]}'")
    return {name: value for name, _, value in pairs}


if __name__ == "__main__":
    app()
