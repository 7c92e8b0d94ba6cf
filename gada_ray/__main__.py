"""`python -m gada_ray`: commands for data and models outside studies."""

from __future__ import annotations

import csv
import io
import itertools
import os
import queue
import signal
import statistics
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.table import Table

from gada_ray.config import DataConfig
from gada_ray.data import (
    DATASETS,
    DataError,
    IqaDataset,
    check_place,
    check_scores,
    choose_splits,
    load_dataset,
    memory,
    save_splits,
)
from gada_ray.data.splits import repeated
from gada_ray.data.words import SHOWN, counted, some
from gada_ray.errors import UserError
from gada_ray.inference.card import SCENES, Card, ModelError, Score, place_of, read_card
from gada_ray.running.interrupt import Interruption
from gada_ray.system import bytecode, devices
from gada_ray.tracking.lookup import fetch

if TYPE_CHECKING:
    from gada_ray.data.doctor import Report
    from gada_ray.evaluation.scenes import Scene
    from gada_ray.trials.identity import Trial
    from gada_ray.trials.store import Result, Store

COLUMNS = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), TimeRemainingColumn()
"""Of the progress of trainings."""
LISTED = 200
"""Largest number of references or groups that `check` lists one by one."""
MODEL_HELP = "The model: a runs:/ or models:/ URI in MLflow, or a folder."

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """GADA: commands for data and models outside studies. Studies are run by `python tune.py`."""


@app.command()
def check(
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(DATASETS)}.")] = "demo",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the dataset.")] = None,
    crop_px: Annotated[int, typer.Option(min=1, help="Side of the crops that must fit, in pixels.")] = 64,
    splits: Annotated[str | None, typer.Option(help="Split file to check, or published; else ten at random.")] = None,
    shorter_side: Annotated[int | None, typer.Option(min=1, help="Shrink images to this shorter side.")] = None,
    include_reference_copies: Annotated[bool, typer.Option(help="LIVE: keep the 203 copies of references.")] = False,
    dmos: Annotated[Literal["original", "realigned"], typer.Option(help="LIVE: which scores.")] = "original",
    drop_artificial_reference: Annotated[bool, typer.Option(help="TID2013: leave out i25.")] = False,
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


@app.command()
def splits(
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(DATASETS)}.")] = "demo",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the dataset.")] = None,
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
    drop_artificial_reference: Annotated[bool, typer.Option(help="TID2013: leave out i25.")] = False,
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


@app.command()
def train(
    data_root: Annotated[Path, typer.Option(help="Folder of the labelled images and their references.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, predictions and their scatter; must be new.")],
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(DATASETS)}.")] = "manifest",
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
    device: Annotated[str | None, typer.Option(help="A torch device; by default a GPU where there is one.")] = None,
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
    from gada_ray.study.cross_validation import STUDY
    from gada_ray.trials.run import Execution, run_trial

    how = Execution(
        device or devices.default(), os.cpu_count() or 1, study=STUDY, ending=lambda: interruption.name is not None
    )

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


@app.command()
def score(
    model: Annotated[str, typer.Option(help=f"{MODEL_HELP} 'tune.py --study NAME --best' prints a study's.")],
    paths: Annotated[list[str] | None, typer.Argument(help="Image files, and folders that are read in full.")] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--list", help="File with a path on every line; - for standard input, scored line by line."),
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server; runs/mlflow.db by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write; standard output without it.")] = None,
    device: Annotated[str | None, typer.Option(help="A torch device; by default a GPU where there is one.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images in one batch; by default 8 on a GPU, one for each core on a CPU.")
    ] = None,
    crops: Annotated[
        int | None,
        typer.Option(
            min=1, help="Crops of an image, instead of the model's number; fewer are faster and less precise."
        ),
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Folder for a picture of every image beside its quality by location.")
    ] = None,
    max_megapixels: Annotated[
        float,
        typer.Option(min=0.001, help="Larger images are refused. Reading takes about 7 MB of memory a megapixel."),
    ] = 250,
) -> None:
    """Score images to CSV. Images that cannot be scored are named and left out; the exit code is 1 then."""
    if not paths and listed is None:
        raise ModelError("nothing to score; name files, folders or --list FILE")
    piped = str(listed) == "-"
    wanted = [*(paths or []), *(read_list(listed) if listed and not piped else [])]
    folder = fetch(model, tracking_uri)
    card = read_card(place_of(folder))
    bytecode.enable_cache()
    from gada_ray.data.images import TOO_LARGE
    from gada_ray.data.photos import find_photos

    set_image_limit(max_megapixels)
    named = list(find_photos(wanted))
    if not piped and not any(isinstance(one, str) for one in named):
        raise DataError("\n".join(map(str, named)) or f"nothing to score; --list {listed} names no file")
    console = Terminal(stderr=True)
    say(console, f"{card.variant} of study {card.study}; score: {card.scale}")
    usual = card.config.evaluation.crops
    used = crops or usual
    if used != usual:
        factor = (usual / used) ** 0.5
        say(
            console,
            f"{counted(used, 'crop')} instead of {usual}: the standard error of a quality is {factor:.2f} times",
        )
    from gada_ray.inference import scoring

    scorer = scoring.load(folder, device or devices.default(), crops)
    together = batch or devices.images_at_once(scorer.device)
    found = itertools.chain(named, find_photos(lines_of(sys.stdin.buffer))) if piped else named
    problems: list[str] = []
    spreads: list[float] = []

    def complain(problem: DataError) -> None:
        problems.append(str(problem))
        remedy = " or raise --max-megapixels" if problem.kind == TOO_LARGE else ""
        say(console, f"{problem}{remedy}", style="red")

    def files() -> Iterator[str | None]:
        for one in found:
            if isinstance(one, DataError):
                complain(one)
            else:
                yield one

    try:
        with ExitStack() as stack:
            file = stack.enter_context(out_file(out))
            writer = csv.writer(file)
            writer.writerow(("path", *Score._fields))
            if piped:
                file.flush()
            done = scorer.score_files(files(), together, workers=os.cpu_count() or 1)
            expected = None if piped else len(named)
            for path, result in track(done, "scoring", total=expected, console=console, transient=True, disable=piped):
                if isinstance(result, DataError):
                    complain(result)
                    continue
                writer.writerow((path, *(f"{value:.6f}" if isinstance(value, float) else value for value in result)))
                spreads.append(result.spread)
                if piped:
                    file.flush()
                if maps is not None:
                    from gada_ray.inference.maps import write_map

                    write_map(scorer, path, result, maps)
    except BrokenPipeError:
        end_by_closed_pipe()
    except OSError as error:
        place = f"--out {out}" if out else "standard output"
        raise DataError(f"{place} cannot be written ({error.strerror})") from None
    if spreads and used > 1:
        say(console, uncertainty(spreads, used, usual))
    if maps is not None and spreads:
        say(console, f"pictures of quality by location are in {maps}")
    if problems:
        images = counted(len(problems) + len(spreads), "image")
        say(console, f"{len(problems)} of {images} {'was' if len(problems) == 1 else 'were'} not scored", style="red")
        raise typer.Exit(1)


def set_image_limit(megapixels: float) -> None:
    """Let PIL read images up to a size, in this process, and keep its warnings of odd files to itself."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = int(megapixels * 1e6)
    # Files that cannot be read are named with their reason.
    warnings.filterwarnings("ignore", module="PIL")


def uncertainty(spreads: Sequence[float], crops: int, usual: int) -> str:
    """The standard error of a quality over an image's crops, as a median over images."""
    spread = statistics.median(spreads)
    number = counted(crops, "crop")
    here = f"standard error of a quality over its {number}: ±{spread / crops**0.5:.4f} (median of the images)"
    return here if crops == usual else f"{here}; ±{spread / usual**0.5:.4f} with the model's {usual}"


@app.command()
def test(
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    dataset: Annotated[str, typer.Option(help=f"The database to test on: one of {', '.join(DATASETS)}.")],
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds it.")] = None,
    trained_on: Annotated[
        str | None, typer.Option(metavar="NAME=DIR", help="Training data, where the model does not list its scenes.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for predictions, metrics and the scatter.")] = Path("crosstest"),
    tracking_uri: Annotated[
        str | None, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server; runs/mlflow.db by default.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="A torch device; by default a GPU where there is one.")] = None,
    shorter_side: Annotated[
        int | None, typer.Option(min=1, help="Shrink images to this shorter side; by default as in training.")
    ] = None,
    include_reference_copies: Annotated[bool, typer.Option(help="LIVE: keep the 203 copies of references.")] = False,
    dmos: Annotated[Literal["original", "realigned"], typer.Option(help="LIVE: which scores.")] = "original",
    drop_artificial_reference: Annotated[bool, typer.Option(help="TID2013: leave out i25.")] = False,
) -> None:
    """Test a model on another database, with and without the scenes that it shares with the training data."""
    check_place(dataset, data_root)
    folder = fetch(model, tracking_uri)
    read_card(place_of(folder))
    bytecode.enable_cache()
    from gada_ray.evaluation import scenes
    from gada_ray.inference import cross_dataset, pictures, scoring

    console = Terminal()
    scorer = scoring.load(folder, device or devices.default())
    if shorter_side is None and dataset != "demo":  # which is small, and takes none
        shorter_side = scorer.card.config.data.shorter_side
    config = DataConfig(
        shorter_side=shorter_side,
        include_reference_copies=include_reference_copies,
        dmos=dmos,
        drop_artificial_reference=drop_artificial_reference,
    )
    with console.status(f"loading {dataset}"):
        there = load_dataset(dataset, data_root, config)
    check_scores(there)
    known = training_scenes(scorer.card, folder, trained_on)
    with console.status("comparing scenes"):
        present = scenes.scenes(there, there.references)
        shared = scenes.shared(known or (), present)
    with console.status("testing"):
        tested = cross_dataset.cross_test(scorer, there, shared)
    card = scorer.card
    say(console, f"trained on {card.dataset.name}: {card.variant} of study {card.study}, split {card.fold.split}")
    say(console, f"tested on {there.name}: {there.labels}, {there.direction.replace('_', ' ')}")
    table = Table("images", "n", "SROCC", "PLCC", "KRCC", "PLCC after logistic", "RMSE")
    order = ("srocc", "plcc", "krcc", "plcc_fitted", "rmse")
    for row in tested.metrics.to_dict("records"):
        table.add_row(str(row["images"]), str(row["n"]), *("" if row[m] != row[m] else f"{row[m]:.4f}" for m in order))
    console.print(table)
    say(
        console,
        "The logistic (4 parameters) is fitted on the scores of the whole database, as is usual. RMSE is of quality",
    )
    say(console, "in [0, 1], higher for better, before the fit.")
    if tested.unseen:
        say(console, f"distortions that the training data lack: {', '.join(tested.unseen)}", style="yellow")
    say(console, scenes_line(known, present, shared), style="yellow" if known is None or shared else None)
    try:
        out.mkdir(parents=True, exist_ok=True)
        tested.predictions.to_csv(out / "predictions.csv", index=False)
        tested.metrics.to_csv(out / "metrics.csv", index=False)
        title = f"trained on {card.dataset.name}, tested on {there.name}"
        pictures.scatter(tested.predictions, title).savefig(out / "scatter.png", dpi=pictures.DPI, bbox_inches="tight")
    except OSError as error:
        raise DataError(f"--out {out} cannot be written ({error.strerror})") from None
    say(console, f"predictions.csv, metrics.csv and scatter.png are in {out}")


def training_scenes(card: Card, folder: Path, trained_on: str | None) -> list[Scene] | None:
    """The scenes that a model was trained on, from its own file or from the named data; None where neither is there.

    Raises:
        DataError: for data other than those of the training, or a damaged file.
    """
    from gada_ray.evaluation import scenes

    if trained_on is not None:
        name, equals, root = trained_on.partition("=")
        dataset = load_dataset(name, Path(root) if equals else None, card.config.data)
        if dataset.fingerprint != card.dataset.fingerprint:
            raise DataError(
                f"--trained-on {trained_on} has other images or scores than the data on which the model was trained"
            )
        return scenes.scenes(dataset, card.fold.train)
    path = place_of(folder) / SCENES
    if not path.exists():
        return None
    try:
        return scenes.from_bytes(path.read_bytes())
    except Exception as error:
        raise DataError(f"{path} is damaged ({error}); take the model out of MLflow again") from None


def scenes_line(known: list[Scene] | None, present: list[Scene], shared: dict[str, str]) -> str:
    """The sentence about scenes that the database and the training data share."""
    from gada_ray.evaluation import scenes

    if known is None:
        return (
            "whether the database and the training data share scenes is unknown, since the model does not list its "
            "scenes; give its training data with --trained-on NAME=DIR"
        )
    how = "" if scenes.compared(known, present) else " (by equal pixels alone; crops of a scene were not searched for)"
    if not shared:
        return f"no scene of the database was found among the {len(known)} scenes of the training data{how}"
    pairs = some([f"{name} ({other})" for name, other in sorted(shared.items())], 12)
    return (
        f"the database shares {counted(len(shared), 'scene')} with the training data{how}, whose names for them stand "
        f"in brackets: {pairs}"
    )


def read_list(path: Path) -> list[str]:
    """Read the paths on the lines of a file.

    Raises:
        DataError: for a file that cannot be read.
    """
    try:
        # Names of files need not be text.
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"--list {path} cannot be read ({error.strerror})") from None
    return [os.fsdecode(line) for line in data.splitlines() if line.strip()]


def lines_of(stream: BinaryIO) -> Iterator[str | None]:
    """The paths on the lines of a pipe as they arrive, and None whenever none is waiting."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, name="pipe", daemon=True).start()
    while True:
        if lines.empty():
            yield None
        line = lines.get()
        if not line:
            return
        if line.strip():
            yield os.fsdecode(line.rstrip(b"\r\n"))


def out_file(path: Path | None) -> IO[str]:
    """Open a CSV file, or standard output, for writing; names of files that are not text can be written.

    Raises:
        DataError: for a file that cannot be written.
    """
    try:
        target = sys.stdout.fileno() if path is None else path
        return open(target, "w", newline="", encoding="utf-8", errors="surrogateescape", closefd=path is not None)
    except OSError as error:
        raise DataError(f"--out {path} cannot be written ({error.strerror})") from None


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print one line as it is: not wrapped, and without markup."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


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


def run() -> None:
    """Run the command: bad input is one message and exit code 2, a closed pipe ends it as it ends other programs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except UserError as error:
        say(Terminal(stderr=True), f"error: {error}", style="red")
        sys.exit(2)


class Terminal(Console):
    """A console that ends the command by SIGPIPE where nobody reads its output any more."""

    def on_broken_pipe(self) -> None:
        """End the command."""
        end_by_closed_pipe()


def end_by_closed_pipe() -> None:
    """End this process by SIGPIPE, without a message, as other commands end whose reader is gone."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)


if __name__ == "__main__":
    run()
