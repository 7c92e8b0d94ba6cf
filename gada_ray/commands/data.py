"""`python -m gada_ray check` and `splits`: what a dataset holds, and the splits of studies as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gada_ray.commands.options import AnyDataset, DataRoot, Dmos, DropArtificialReference, ReferenceCopies
from gada_ray.commands.terminal import Terminal, say
from gada_ray.config import DataConfig
from gada_ray.data import DataError, IqaDataset, choose_splits, load_dataset, memory, save_splits
from gada_ray.data.splits import repeated
from gada_ray.data.words import SHOWN, counted

if TYPE_CHECKING:
    from gada_ray.data.doctor import Report

LISTED = 200
"""Largest number of references or groups that `check` lists one by one."""


def check(
    dataset: AnyDataset = "demo",
    data_root: DataRoot = None,
    crop_px: Annotated[int, typer.Option(min=1, help="Side of the crops that must fit, in pixels.")] = 64,
    splits: Annotated[str | None, typer.Option(help="Split file to check, or published; else ten at random.")] = None,
    shorter_side: Annotated[int | None, typer.Option(min=1, help="Shrink images to this shorter side.")] = None,
    include_reference_copies: ReferenceCopies = False,
    dmos: Dmos = "original",
    drop_artificial_reference: DropArtificialReference = False,
    demo_local: Annotated[bool, typer.Option(help="Demo: add two local distortions.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="List all files, lines and names of a kind, not the first three.")
    ] = False,
) -> None:
    """Check a dataset: files, sizes, scores and their direction, copies, splits. Exit code 2 with problems."""
    config = DataConfig(
        crop_px=crop_px,
        shorter_side=shorter_side,
        include_reference_copies=include_reference_copies,
        dmos=dmos,
        drop_artificial_reference=drop_artificial_reference,
        demo_local=demo_local,
    )
    from gada_ray.data.doctor import examine

    console = Terminal()
    with console.status(f"examining {dataset}"):
        report = examine(dataset, data_root, config, splits, None if everything else SHOWN)
    if report.dataset:
        describe(console, report.dataset, report)
    for warning in report.warnings:
        say(console, f"warning: {warning}", style="yellow")
    for problem in report.problems:
        say(console, f"problem: {problem}", style="red")
    if report.problems:
        raise typer.Exit(2)
    console.print("no problems found", style="green")


def splits(
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    dataset: AnyDataset = "demo",
    data_root: DataRoot = None,
    count: Annotated[int, typer.Option(min=1, help="Random splits, or permutations of a .mat file to take.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random splits, as in tune.py.")] = 0,
    source: Annotated[
        str | None, typer.Option("--from", help="A file in another form (.txt, .csv, .mat, .npy, .json), or published.")
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="Take every split so often, with other labels, weights and crops each time.")
    ] = 1,
    inside_training: Annotated[
        bool, typer.Option("--inside-training", help="Divide the training parts, and test on their validation parts.")
    ] = False,
    shorter_side: Annotated[
        int | None, typer.Option(min=1, help="Shrink images while they are read, to save memory; splits are the same.")
    ] = None,
    drop_artificial_reference: DropArtificialReference = False,
) -> None:
    """Write the splits that `tune.py --splits COUNT --seed SEED` uses, or those of another file, as JSON."""
    config = DataConfig(drop_artificial_reference=drop_artificial_reference, shorter_side=shorter_side)
    loaded = load_dataset(dataset, data_root, config)
    chosen = choose_splits(loaded, source, count, seed)
    if inside_training:
        chosen = tuple(split.inside_training() for split in chosen)
    chosen = repeated(chosen, repeats)
    try:
        save_splits(chosen, out, loaded)
    except OSError as error:
        raise DataError(f"--out {out} cannot be written ({error.strerror})") from None
    first, kind = chosen[0], "references" if loaded.has_references else "groups"
    say(
        Terminal(),
        f"{counted(len(chosen), 'split')} of {loaded.name} in {out}; the first has {len(first.train)} {kind} to train "
        f"on, {len(first.validation)} to validate and {len(first.test)} to test",
    )


def describe(console: Console, dataset: IqaDataset, report: Report) -> None:
    """Print what a dataset holds."""
    sizes = {f"{width}x{height}": None for height, width in sorted(map(tuple, dataset.shapes.tolist()))}
    kind = "references" if dataset.has_references else "groups"
    facts = {
        "dataset": dataset.name,
        "labels": f"{dataset.labels}, {dataset.direction.replace('_', ' ')}",
        "scores": f"{dataset.score.min():.4g} to {dataset.score.max():.4g}; declared {dataset.score_range[0]:g} to "
        f"{dataset.score_range[1]:g}",
        "SROCC with SSIM": f"{report.agreement:.3f}" if dataset.has_references else "no references",
        "images": f"{len(dataset)} distorted, {len(dataset.references)} {kind}",
        "memory": memory.gib(memory.size(dataset.shapes)),
        "sizes": ", ".join(sizes)
        if len(sizes) <= 6
        else f"{len(sizes)}, from {next(iter(sizes))} to {next(reversed(sizes))}",
        "published parts": " + ".join(str(len(part)) for part in dataset.published) if dataset.published else "none",
        "fingerprint": dataset.fingerprint[:12],
    }
    if report.splits:
        first = report.splits[0]
        facts["splits"] = (
            f"{len(report.splits)}; the first with {len(first.train)} {kind} to train on, "
            f"{len(first.validation)} to validate and {len(first.test)} to test"
        )
    table = Table(show_header=False)
    for name, text in facts.items():
        table.add_row(name, text)
    console.print(table)
    from gada_ray.data.doctor import counts

    listed = {"distortion": "distortion", "reference": kind[:-1]}
    if len(dataset.references) in (len(dataset), *range(LISTED + 1, len(dataset) + 1)):
        del listed["reference"]  # as many as images, or too many to look at
    for column, title in listed.items():
        table = Table(title, "images", "lowest score", "mean", "highest")
        for row in counts(dataset, column).itertuples():
            table.add_row(str(row[0]), str(row[1]), *(f"{score:.4g}" for score in row[2:]))
        console.print(table)
    for note in dataset.notes:
        say(console, f"note: {note}")
