"""Scoring images with a trained network: crops as in testing, one quality, and what the network's scale was.

A stored model is a folder with `card.json`, which says what the numbers mean, and `weights.npz`; by `scenes.npz`, which
may be missing, the scenes of its training are known again. Reading it executes no code: no file can hold any.

Letters in shapes: k crops of an image, c crop side, h and w sides of an image.
"""

from __future__ import annotations

import io
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError

from gada_ray.config import Frozen, TrainingConfig, explain
from gada_ray.data.crops import corners, even_places, generator_for, random_places
from gada_ray.data.dataset import DataError, raw_score
from gada_ray.data.photos import decode_photo
from gada_ray.data.sampling import MAPS, Sampler, levels
from gada_ray.errors import UserError
from gada_ray.evaluation import protocol
from gada_ray.evaluation.protocol import CropScores
from gada_ray.model.discriminator import Discriminator
from gada_ray.store import DatasetRecord, FoldRecord

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
    level: str
    chosen: str
    """By which rule, for people."""
    over_splits: dict[str, float]
    """Agreement on test references over all splits of the level: mean, standard deviation, interval."""
    signature: str
    """Of the trial whose weights these are."""
    fold: FoldRecord
    """The references that it was trained on, and those that it was tested on."""
    metrics: dict[str, float]
    """Its own agreement on the latter."""
    dataset: DatasetRecord
    distortions: tuple[str, ...]
    """Names of the distortion classes, in the classifier's order."""
    config: TrainingConfig
    code_version: int
    versions: dict[str, str]

    @property
    def names_distortions(self) -> bool:
        """Whether the classifier was trained, so that its class means something."""
        return len(self.distortions) > 1 and any("classifier" in phase.trains for phase in self.config.phases)

    @property
    def scale(self) -> str:
        """What raw scores are, for people."""
        data, (low, high) = self.dataset, self.dataset.score_range
        return f"{data.labels}, {low:g} to {high:g}, {data.direction.replace('_', ' ')}"


class Score(NamedTuple):
    """What a model says of one image."""

    quality: float
    """In [0, 1] as trained, higher is better; not clipped."""
    score: float
    """The same on the raw scale of the training's labels."""
    spread: float
    """Standard deviation of quality over the crops; 0 for a single one."""
    distortion: str
    """The likeliest class over all crops; empty where no classifier was trained."""


class Crops(NamedTuple):
    """What a model sees of an image."""

    pixels: np.ndarray
    """uint8 `[k, c, c, 3]`."""
    weight: torch.Tensor
    """float64 `[k]`, the inverse of the chance to be taken; see `sampling.Windows`."""


class Scorer:
    """A model on a device.

    Raises:
        ModelError: for weights that are not those of the card's network, or a device that is not there.
    """

    def __init__(self, card: Card, weights: Mapping[str, np.ndarray], device: str = "cpu") -> None:
        self.card = card
        self.judge = Discriminator(card.config.model, len(card.distortions), card.config.data.crop_px)
        try:
            self.judge.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        except RuntimeError as error:
            raise ModelError(f"the weights are not those of the card's network: {error}") from None
        try:
            self.device = torch.device(device)
            self.judge.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"--device {device} cannot be used here ({str(error).splitlines()[0]})") from None
        self.judge.eval()

    def crops(self, image: np.ndarray) -> Crops:
        """The crops of an image uint8 `[h, w, 3]`.

        Unless the model looks where it is salient or busy, where they lie depends on the image's size only, so two
        versions of one picture are seen through the same windows.

        Raises:
            DataError: for an image that is smaller than a crop.
        """
        data, test = self.card.config.data, self.card.config.evaluation
        px, (height, width) = data.crop_px, image.shape[:2]
        if min(height, width) < px:
            raise DataError(f"{width}x{height} pixels; the model needs at least {px}x{px}")
        grid, weight = test.crop_grid or data.crop_grid, torch.ones(test.crops, dtype=torch.float64)
        random = generator_for("score", height, width, px)
        if test.sampling != "uniform":
            sampler = Sampler([levels(MAPS[test.sampling](image))], [(height, width)], px, grid, test.temperature)
            draws = torch.rand(test.crops, generator=random, dtype=torch.float64)
            top, left, weight = sampler.windows(torch.zeros(test.crops, dtype=torch.long), draws)
        else:
            places = even_places(test.crops) if test.placement == "even" else random_places(test.crops, random)
            top, left = corners(torch.tensor([[height, width]]), places, px, grid)
        taken = [image[t : t + px, s : s + px] for t, s in zip(top.tolist(), left.tolist(), strict=True)]
        return Crops(np.stack(taken), weight)

    @torch.inference_mode()
    def judged(self, crops: Sequence[Crops]) -> list[Score]:
        """Scores of several images from the crops of each, judged as one batch."""
        config = self.card.config
        pixels = torch.from_numpy(np.concatenate([each.pixels for each in crops]))
        batch = pixels.to(self.device).permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16"):
            judgement = self.judge(batch)
        sizes = [len(each.pixels) for each in crops]
        qualities = judgement.quality.double().cpu().split(sizes)
        likely = judgement.distortion.double().softmax(dim=1).cpu().split(sizes)
        learned = judgement.weight.double().cpu().split(sizes)
        if config.evaluation.pooling == "inverse":
            learned = tuple(each.weight for each in crops)
        return [self._pooled(*each) for each in zip(qualities, learned, likely, strict=True)]

    def _pooled(self, quality: torch.Tensor, weight: torch.Tensor, likely: torch.Tensor) -> Score:
        """One image's score from its crops' qualities `[k]`, weights `[k]` and class probabilities `[k, classes]`."""
        scores = CropScores(quality[None], weight[None])
        pooled = float(protocol.pooled(scores, self.card.config.evaluation.pooling))
        raw = raw_score(pooled, self.card.dataset.score_range, self.card.dataset.direction)
        spread = float(quality.std()) if len(quality) > 1 else 0.0
        name = self.card.distortions[int(likely.mean(dim=0).argmax())] if self.card.names_distortions else ""
        return Score(pooled, raw, spread, name)

    def score_bytes(self, files: Iterable[bytes]) -> list[Score]:
        """Scores of image files that are given as bytes.

        Raises:
            DataError: for the first one that cannot be scored, by its number, from 0.
        """
        return [self.judged([self._read(file, f"image {number}")])[0] for number, file in enumerate(files)]

    def score_files(self, paths: Iterable[Path], batch: int, workers: int) -> Iterator[tuple[Path, Score | DataError]]:
        """Scores of image files, in the order given, as they are ready; a DataError for what cannot be scored.

        `workers` threads decode ahead while a batch of images is judged; memory holds the crops of two batches.
        """
        todo = iter(paths)
        waiting: deque[tuple[Path, Future[Crops]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            while True:
                while len(waiting) < 2 * batch and (path := next(todo, None)) is not None:
                    waiting.append((path, pool.submit(self._read, path, path)))
                if not waiting:
                    return
                taken = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
                read = {number: future.result() for number, (_, future) in enumerate(taken) if not future.exception()}
                scores = dict(zip(read, self.judged(list(read.values())) if read else [], strict=True))
                for number, (path, future) in enumerate(taken):
                    error = future.exception()
                    if error is not None and not isinstance(error, DataError):
                        raise error
                    yield path, error or scores[number]

    def _read(self, file: Path | bytes, name: object) -> Crops:
        """The crops of an image file."""
        image = decode_photo(file, name)
        try:
            return self.crops(image)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None


def save(folder: Path, card: Card, state: Mapping[str, torch.Tensor], scenes: bytes = b"") -> None:
    """Write a model into a folder: the state of its Discriminator, and `scenes`, a file of `evaluation.scenes`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    arrays: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in state.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    (folder / WEIGHTS).write_bytes(buffer.getvalue())
    if scenes:
        (folder / SCENES).write_bytes(scenes)


def place_of(folder: Path) -> Path:
    """The folder with a model's card: a folder itself, or that of an MLflow model's artifacts in it.

    Raises:
        ModelError: for a folder that holds none.
    """
    places = [folder, folder / "artifacts" / "model"]
    place = next((place for place in places if (place / CARD).is_file()), None)
    if place is None:
        raise ModelError(f"{folder} holds no model of this program: no {CARD} in it")
    return place


def load(folder: Path, device: str = "cpu") -> Scorer:
    """The model of a folder, or of an MLflow model's folder.

    Raises:
        ModelError: for a folder that holds none, or one that is damaged, edited or of another version.
    """
    place = place_of(folder)
    try:
        card = Card.model_validate_json((place / CARD).read_bytes())
    except ValidationError as error:
        raise ModelError(f"{place / CARD}: {explain(error)}; use the version that wrote it") from None
    if card.format != FORMAT:
        raise ModelError(f"{place / CARD} has model format {card.format}; this version reads {FORMAT}")
    try:
        with np.load(io.BytesIO((place / WEIGHTS).read_bytes()), allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{place / WEIGHTS} is missing, cut off or no weights ({error})") from None
    return Scorer(card, weights, device)
