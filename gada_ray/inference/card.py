"""The card of a stored model: what its numbers mean and how the model was chosen. Nothing here loads torch."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from gada_ray.config import Frozen, TrainingConfig, explain
from gada_ray.errors import UserError
from gada_ray.trials.store import DatasetRecord, FoldRecord, Result

FORMAT = 1
CARD, WEIGHTS, SCENES = "card.json", "weights.npz", "scenes.npz"


class ModelError(UserError, ValueError):
    """A stored model that cannot be used; names it and what is wrong."""


class Card(Frozen):
    """What a model is, what its numbers mean, and how it was chosen."""

    format: int = FORMAT
    study: str
    question: str
    preset: str
    variant: str
    chosen: str
    """The rule of the choice, for people."""
    over_splits: dict[str, float]
    """Agreement on test references over all splits of the variant: mean, standard deviation, interval."""
    signature: str
    """Signature of the trial whose weights these are."""
    fold: FoldRecord
    """The references that it was trained on, and those that it was tested on."""
    metrics: dict[str, float]
    """Its own agreement on the references that it was tested on."""
    dataset: DatasetRecord
    distortions: tuple[str, ...]
    """Names of the distortion classes, in the classifier's order."""
    config: TrainingConfig
    code_version: int
    # What a card says of its training is left out where it is not known, as in cards of before.
    device: str = Field(default="", exclude_if=operator.not_)
    """The device that it was trained on."""
    compiled: bool = Field(default=False, exclude_if=operator.not_)
    """Whether steps of its training were compiled; see `RunRecord`, also for the next one."""
    deterministic: bool = Field(default=False, exclude_if=operator.not_)
    versions: dict[str, str]

    @property
    def names_distortions(self) -> bool:
        """Whether the classifier was trained, so that its classes mean something."""
        trained = any("classifier" in phase.trains for phase in self.config.phases)
        return len(self.distortions) > 1 and trained and self.config.losses.class_weight > 0

    @property
    def arithmetic(self) -> str:
        """On what it was trained and whether that can be repeated, for people; empty where it was not recorded."""
        if not self.device:
            return ""
        if self.device == "cpu":
            kernels = "the same bits again with as many threads"
        elif self.deterministic:
            kernels = "deterministic kernels, as far as torch has them"
        else:
            kernels = "kernels that are not deterministic, so that last digits vary"
        return f"Trained on {self.device}{', compiled' * self.compiled}: {kernels}."

    @property
    def scale(self) -> str:
        """What raw scores are, for people."""
        data, (low, high) = self.dataset, self.dataset.score_range
        return f"{data.labels}, {low:g} to {high:g}, {data.direction.replace('_', ' ')}"


def trial_fields(result: Result, distortions: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a card that describe the trial whose weights it comes with."""
    return {
        "signature": result.signature,
        "fold": result.fold,
        "metrics": result.metrics,
        "dataset": result.dataset,
        "distortions": distortions,
        "config": result.config,
        "code_version": result.code_version,
        "device": result.run.device,
        "compiled": result.run.compiled,
        "deterministic": result.run.deterministic,
        "versions": result.run.versions,
    }


class Score(NamedTuple):
    """A model's prediction for one image."""

    quality: float
    """In [0, 1] as trained, higher is better; not clipped."""
    score: float
    """The same on the raw scale of the training's labels."""
    spread: float
    """Standard deviation of quality over the crops; 0 for a single one."""
    distortion: str
    """The most probable class over all crops; empty where no classifier was trained."""


def place_of(folder: Path) -> Path:
    """Find the folder with a model's card: the folder itself, or the artifacts of an MLflow model in it.

    Raises:
        ModelError: for a folder that holds no model.
    """
    places = [folder, folder / "artifacts" / "model"]
    place = next((place for place in places if (place / CARD).is_file()), None)
    if place is None:
        raise ModelError(f"{folder} holds no model of this program: it has no {CARD}")
    return place


def read_card(place: Path) -> Card:
    """Read the card in a folder that `place_of` found.

    Raises:
        ModelError: for a card that is damaged, edited or of another version.
    """
    try:
        card = Card.model_validate_json((place / CARD).read_bytes())
    except ValidationError as error:
        raise ModelError(f"{place / CARD}: {explain(error)}; use the version that wrote it") from None
    if card.format != FORMAT:
        raise ModelError(f"{place / CARD} has model format {card.format}; this version reads {FORMAT}")
    return card
