"""`python -m gada_ray train`: a model of one's own images, and what it is worth on scenes that it has not seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gada_ray.commands.options import AnyDataset, Device
from gada_ray.commands.terminal import Terminal, say
from gada_ray.data import DataError, IqaDataset, check_place
from gada_ray.data.words import counted
from gada_ray.running.interrupt import Interruption
from gada_ray.system import bytecode, devices

if TYPE_CHECKING:
    from gada_ray.trials.identity import Trial
    from gada_ray.trials.store import Result, Store

COLUMNS = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), TimeRemainingColumn()
"""Of the progress of trainings."""


def train(
    data_root: Annotated[Path, typer.Option(help="Folder of the labelled images and their references.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, predictions and their scatter; must be new.")],
    dataset: AnyDataset = "manifest",
    extra_references: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of unlabelled photographs to distort, too.")
    ] = None,
    ranking: Annotated[bool, typer.Option(help="Learn the order of distorted pictures, which needs no labels.")] = True,
    folds: Annotated[int, typer.Option(min=3, help="Folds of the cross-validation over scenes.")] = 5,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the configuration.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, weights and crops.")] = 0,
    storage: Annotated[Path, typer.Option(help="Folder of trainings, to resume them.")] = Path("runs"),
    device: Device = None,
) -> None:
    """Train a model of your own images on all of them, with the SROCC of cross-validation over scenes.

    Exit code 75: ended early; the same command resumes it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"--out {out} exists and is not empty; name a new folder")
    check_place(dataset, data_root)
    from gada_ray.data.photos import load_photographs
    from gada_ray.study import cross_validation
    from gada_ray.study.settings import parse_settings

    console = Terminal()
    photographs = load_photographs(extra_references) if extra_references and ranking else None
    plan = cross_validation.make(dataset, parse_settings(settings or []), seed, photographs, ranking)
    with console.status(f"loading {data_root}"):
        loaded = cross_validation.load(plan, data_root, photographs)
    wanted = cross_validation.trials(plan, loaded, folds)
    scenes_ = counted(len(loaded.references), "scene")
    say(
        console,
        f"{counted(len(loaded), 'labelled image')} of {scenes_}, {plan.variants[0].name}: {folds} folds by scene, then "
        f"one training on all images",
    )
    bytecode.enable_cache()
    from gada_ray.evaluation import scenes
    from gada_ray.inference import pictures, scoring
    from gada_ray.inference.stored import quality_weights
    from gada_ray.trials.run import EndedError
    from gada_ray.trials.store import Store

    store, interruption = Store(storage), Interruption()
    interruption.listen()
    try:
        with interruption.noted(), Progress(*COLUMNS, console=console, transient=True) as progress:
            run = one_after_another(store, loaded, len(wanted), device, interruption, progress)
            outcome = cross_validation.train(wanted, store, run)
    except EndedError:
        say(console, f"ended by {interruption.name}; run the same command to go on", style="yellow")
        raise typer.Exit(75) from None
    say(console, cross_validation.sentence(outcome))
    title = f"{loaded.name}: every image by the training without its scene"
    try:
        weights = quality_weights(store, outcome.final)
        known = scenes.to_bytes(scenes.trained_on(loaded, loaded.references, photographs is not None))
        scoring.save(out, cross_validation.card(plan, outcome, loaded.distortions), weights, known)
        outcome.predictions.to_csv(out / "predictions.csv", index=False)
        pictures.scatter(outcome.predictions, title).savefig(out / "scatter.png", dpi=pictures.DPI, bbox_inches="tight")
    except OSError as error:
        raise DataError(f"--out {out} cannot be written ({error.strerror})") from None
    say(console, f"model, predictions.csv and scatter.png are in {out}; score images with")
    say(console, f"python -m gada_ray score IMAGES --model {out}", style="bold")


def one_after_another(
    store: Store, dataset: IqaDataset, count: int, device: str | None, interruption: Interruption, progress: Progress
) -> Callable[[Trial], Result]:
    """A function that runs a trial here, with all CPUs, shows its progress, and says what it came to."""
    import torch

    from gada_ray.inference.card import ModelError
    from gada_ray.study.cross_validation import STUDY
    from gada_ray.trials.run import Execution, run_trial

    chosen = device or devices.default()
    try:
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"--device {chosen} cannot be used here ({str(error).splitlines()[0]})") from None
    how = Execution(chosen, os.cpu_count() or 1, study=STUDY, ending=lambda: interruption.name is not None)

    def run(trial: Trial) -> Result:
        number = trial.fold.split + 1
        bar = progress.add_task(f"training {number} of {count}", total=trial.config.steps)

        def report(said: dict[str, float | int | str]) -> None:
            if "warning" in said:
                say(progress.console, f"warning: {said['warning']}", style="yellow")
            progress.update(bar, completed=float(said["steps_done"]))

        result = run_trial(trial, dataset, store, how, report)
        progress.remove_task(bar)
        if trial.fold.held_out and "srocc" in result.metrics:
            images = counted(len(dataset.rows_of(trial.fold.held_out)), "image")
            scores = f"SROCC {result.metrics['srocc']:.3f}, PLCC {result.metrics['plcc']:.3f}"
            of = counted(len(trial.fold.held_out), "scene")
            say(progress.console, f"fold {number}: {scores} on {images} of {of}")
        return result

    return run
