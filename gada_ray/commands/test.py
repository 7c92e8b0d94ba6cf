"""`python -m gada_ray test`: a model on another database, with and without the scenes of its training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gada_ray.commands.options import MODEL_HELP, Device, Dmos, DropArtificialReference, ReferenceCopies, TrackingUri
from gada_ray.commands.terminal import Terminal, say
from gada_ray.config import DataConfig
from gada_ray.data import DATASETS, DataError, check_place, check_scores, load_dataset
from gada_ray.data.words import counted, some
from gada_ray.inference.card import SCENES, Card, place_of, read_card
from gada_ray.system import bytecode, devices
from gada_ray.tracking.lookup import fetch

if TYPE_CHECKING:
    from gada_ray.evaluation.scenes import Scene


def test(
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    dataset: Annotated[str, typer.Option(help=f"The database to test on: one of {', '.join(DATASETS)}.")],
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds it.")] = None,
    trained_on: Annotated[
        str | None, typer.Option(metavar="NAME=DIR", help="Training data, where the model does not list its scenes.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for predictions, metrics and the scatter.")] = Path("crosstest"),
    tracking_uri: TrackingUri = None,
    device: Device = None,
    shorter_side: Annotated[
        int | None, typer.Option(min=1, help="Shrink images to this shorter side; by default as in training.")
    ] = None,
    include_reference_copies: ReferenceCopies = False,
    dmos: Dmos = "original",
    drop_artificial_reference: DropArtificialReference = False,
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
