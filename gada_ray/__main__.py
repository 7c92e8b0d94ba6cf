"""`python -m gada_ray`: work on data and models outside studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from gada_ray.config import DataConfig
from gada_ray.data import DATASETS, IqaDataset
from gada_ray.data.doctor import Report, counts, examine

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """GADA: data and models outside studies. Studies are run by `python tune.py`."""


@app.command()
def check(
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(DATASETS)}.")] = "demo",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the dataset.")] = None,
    crop_px: Annotated[int, typer.Option(min=1, help="Side of the crops that must fit, in pixels.")] = 64,
    splits: Annotated[Path | None, typer.Option(help="Split file to check; without it ten random splits.")] = None,
    include_reference_copies: Annotated[bool, typer.Option(help="LIVE: keep the 203 copies of references.")] = False,
    dmos: Annotated[Literal["original", "realigned"], typer.Option(help="LIVE: which scores.")] = "original",
    drop_artificial_reference: Annotated[bool, typer.Option(help="TID2013: leave out i25.")] = False,
) -> None:
    """Examine a dataset: files, sizes, scores and their direction, copies, splits. Exit code 2 with problems."""
    config = DataConfig(
        crop_px=crop_px,
        include_reference_copies=include_reference_copies,
        dmos=dmos,
        drop_artificial_reference=drop_artificial_reference,
    )
    console = Console()
    with console.status(f"examining {dataset}"):
        report = examine(dataset, data_root, config, splits)
    if report.dataset:
        describe(console, report.dataset, report)
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    for problem in report.problems:
        console.print(f"problem: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    if report.problems:
        raise typer.Exit(2)
    console.print("no problems found", style="green")


def describe(console: Console, dataset: IqaDataset, report: Report) -> None:
    """Print what a dataset holds."""
    sizes = {f"{width}x{height}": None for height, width in sorted(map(tuple, dataset.shapes.tolist()))}
    facts = {
        "dataset": dataset.name,
        "labels": f"{dataset.labels}, {dataset.direction.replace('_', ' ')}",
        "scores": f"{dataset.score.min():.4g} to {dataset.score.max():.4g}; declared {dataset.score_range[0]:g} to "
        f"{dataset.score_range[1]:g}",
        "SROCC with SSIM": f"{report.agreement:.3f}",
        "images": f"{len(dataset)} distorted, {len(dataset.references)} references",
        "sizes": ", ".join(sizes)
        if len(sizes) <= 6
        else f"{len(sizes)}, from {next(iter(sizes))} to {next(reversed(sizes))}",
        "fingerprint": dataset.fingerprint[:12],
    }
    if report.splits:
        first = report.splits[0]
        facts["splits"] = (
            f"{len(report.splits)}, the first with {len(first.train)} references to train on, "
            f"{len(first.validation)} to validate and {len(first.test)} to test"
        )
    table = Table(show_header=False)
    for name, text in facts.items():
        table.add_row(name, text)
    console.print(table)
    for column in ("distortion", "reference"):
        table = Table(column, "images", "lowest score", "mean", "highest")
        for row in counts(dataset, column).itertuples():
            table.add_row(str(row[0]), str(row[1]), *(f"{score:.4g}" for score in row[2:]))
        console.print(table)
    for note in dataset.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
