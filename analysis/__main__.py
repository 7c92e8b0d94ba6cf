"""`python -m analysis`: evidence from the runs of a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gada_ray.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Evidence from the runs of a study, from MLflow alone."""


@app.command()
def results(
    study: Annotated[str, typer.Option(help="Name of the study.")],
    tracking_uri: Annotated[str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="Where its runs are.")] = (
        f"sqlite:///{Path('runs').resolve() / 'mlflow.db'}"
    ),
    out: Annotated[Path, typer.Option(help="Folder for tables and pictures.")] = Path("results"),
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset, where there are several.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset, where there are several.")] = None,
) -> None:
    """Write a study's tables (CSV, Markdown) and pictures (PNG)."""
    from analysis.results import write

    try:
        with Console(stderr=True).status(f"reading {study}"):
            written = write(tracking_uri, study, out, dataset, preset)
    except UserError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    for path in written:
        print(path)


if __name__ == "__main__":
    app()
