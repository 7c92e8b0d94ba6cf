"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gada_ray.data import DATASETS

MODEL_HELP = "The model: a runs:/ or models:/ URI in MLflow, or a folder."

AnyDataset = Annotated[str, typer.Option(help=f"One of {', '.join(DATASETS)}.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder that holds the dataset.")]
Device = Annotated[str | None, typer.Option(help="A torch device; by default a GPU where there is one.")]
TrackingUri = Annotated[
    str | None, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server; runs/mlflow.db by default.")
]
ReferenceCopies = Annotated[bool, typer.Option(help="LIVE: keep the 203 copies of references.")]
Dmos = Annotated[Literal["original", "realigned"], typer.Option(help="LIVE: which scores.")]
DropArtificialReference = Annotated[bool, typer.Option(help="TID2013: leave out i25.")]
