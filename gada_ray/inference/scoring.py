"""Scoring of images with a trained network: crops as in testing, pooled to one quality an image.

A stored model is a folder with `card.json`, which says what the numbers mean, `weights.npz`, and optionally
`scenes.npz`, by which the scenes of its training are recognised. Reading a model executes no code.

Letters in shapes: k crops of an image, c crop side, h and w sides of an image.
"""

from __future__ import annotations

import io
import itertools
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from gada_ray.data.crops import align, corners, even_places, every_other, generator_for, grid_for, random_places
from gada_ray.data.dataset import DataError, raw_score
from gada_ray.data.images import BAND_PX, shrink
from gada_ray.data.photos import decode_photo
from gada_ray.data.sampling import CELL_PX, MAPS, Sampler, levels
from gada_ray.evaluation.pooling import CropScores, pooled
from gada_ray.inference.card import CARD, SCENES, WEIGHTS, Card, ModelError, Score, place_of, read_card
from gada_ray.model.quality_network import QualityNetwork
from gada_ray.system import devices

__all__ = ["CARD", "SCENES", "WEIGHTS", "Card", "ModelError", "Score", "Scorer", "load", "place_of", "save"]


T = TypeVar("T")
P = TypeVar("P", str, Path)


class Crops(NamedTuple):
    """The crops of an image."""

    pixels: np.ndarray
    """uint8 `[k, c, c, 3]`."""
    weight: torch.Tensor
    """float64 `[k]`, the inverse of each crop's probability; see `sampling.Windows`."""


class Scorer:
    """A model on a device.

    Raises:
        ModelError: for weights that do not fit the card's network, or a device that is not available.
    """

    def __init__(
        self, card: Card, weights: Mapping[str, np.ndarray], device: str = "cpu", crops: int | None = None
    ) -> None:
        """`crops` is the number of crops of an image; None takes the number of the model's test."""
        self.card = card
        self.count = crops or card.config.evaluation.crops
        self.quality_network = QualityNetwork(card.config.model, len(card.distortions), card.config.data.crop_px)
        try:
            self.quality_network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        except RuntimeError as error:
            raise ModelError(f"the weights do not fit the card's network: {error}") from None
        try:
            self.device = torch.device(device)
            self.quality_network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"--device {device} cannot be used here ({str(error).splitlines()[0]})") from None
        self.quality_network.eval()

    def crops(self, image: np.ndarray) -> Crops:
        """Take the crops of an image uint8 `[h, w, 3]`.

        With uniform sampling their places depend on the image's size only, so two versions of one picture are seen
        through the same windows.

        Raises:
            DataError: for an image that is smaller than a crop.
        """
        data, test = self.card.config.data, self.card.config.evaluation
        px, (height, width) = data.crop_px, image.shape[:2]
        if min(height, width) < px:
            raise DataError(f"{width}x{height} pixels; the model needs at least {px}x{px}")
        alignment, weight = self.card.config.test_alignment, torch.ones(self.count, dtype=torch.float64)
        grid = grid_for(alignment == "aligned")
        random = generator_for("score", height, width, px)
        if test.sampling != "uniform":
            sampler = Sampler(
                [levels(_sampling_map(test.sampling, image))], [(height, width)], px, grid, test.temperature
            )
            draws = torch.rand(self.count, generator=random, dtype=torch.float64)
            top, left, weight = sampler.windows(torch.zeros(self.count, dtype=torch.long), draws)
        else:
            places = even_places(self.count) if test.placement == "even" else random_places(self.count, random)
            top, left = corners(torch.tensor([[height, width]]), places, px, grid)
        if alignment == "mixed":
            top, left = align(top, left, every_other(self.count))
        taken = [image[t : t + px, s : s + px] for t, s in zip(top.tolist(), left.tolist(), strict=True)]
        return Crops(np.stack(taken), weight)

    @torch.inference_mode()
    def score_crops(self, crops: Sequence[Crops]) -> list[Score]:
        """Scores of several images from the crops of each, computed as one batch."""
        config = self.card.config
        pixels = devices.to_device(torch.from_numpy(np.concatenate([each.pixels for each in crops])), self.device)
        batch = pixels.permute(0, 3, 1, 2).float().div_(255)
        with devices.autocast(self.device, config.precision):
            outputs = self.quality_network(batch)
        sizes = [len(each.pixels) for each in crops]
        qualities = outputs.quality.cpu().double().split(sizes)
        likely = outputs.distortion.cpu().double().softmax(dim=1).split(sizes)
        learned = outputs.weight.cpu().double().split(sizes)
        if config.evaluation.pooling == "inverse":
            learned = tuple(each.weight for each in crops)
        return [self._pooled(*each) for each in zip(qualities, learned, likely, strict=True)]

    def _pooled(self, quality: torch.Tensor, weight: torch.Tensor, likely: torch.Tensor) -> Score:
        """One image's score from its crops' qualities `[k]`, weights `[k]` and class probabilities `[k, classes]`."""
        scores = CropScores(quality[None], weight[None])
        whole = float(pooled(scores, self.card.config.evaluation.pooling))
        raw = raw_score(whole, self.card.dataset.score_range, self.card.dataset.direction)
        spread = float(quality.std()) if len(quality) > 1 else 0.0
        name = self.card.distortions[int(likely.mean(dim=0).argmax())] if self.card.names_distortions else ""
        return Score(whole, raw, spread, name)

    def score_bytes(self, files: Iterable[bytes]) -> list[Score]:
        """Scores of image files that are given as bytes.

        Raises:
            DataError: for the first one that cannot be scored, by its number, from 0.
        """
        return [self.score_crops([self._read(file, f"image {number}")])[0] for number, file in enumerate(files)]

    def score_files(
        self, paths: Iterable[P | None], batch: int | None, workers: int
    ) -> Iterator[tuple[P, Score | DataError]]:
        """Score image files in the given order; yields a DataError for each that cannot be scored.

        `workers` threads decode in advance while a batch of images is scored; the first image is scored alone, so that
        its result appears early. Without `batch`, each thread scores what it has decoded on one core, which uses a
        CPU's cores better. A None among the paths means that no other is known yet: what waits is finished first.
        Memory holds the crops of two batches, or of two images for each worker.
        """
        # Decoding uses no torch. Threads of one operation would wait for each other on cores that do something else.
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            if batch is None:
                done = _in_order(paths, lambda path: pool.submit(self._score, path), 2 * workers, 1)
                for path, score in itertools.chain.from_iterable(done):
                    yield path, _error(score) or score.result()
            else:
                for taken in _in_order(paths, lambda path: pool.submit(self._read, path, path), 2 * batch, batch):
                    yield from self._finished(taken)

    def _finished(self, taken: Sequence[tuple[P, Future[Crops]]]) -> Iterator[tuple[P, Score | DataError]]:
        """The scores of one batch."""
        errors = [_error(future) for _, future in taken]
        read = [future.result() for (_, future), error in zip(taken, errors, strict=True) if not error]
        scores = iter(self.score_crops(read) if read else [])
        for (path, _), error in zip(taken, errors, strict=True):
            yield path, error or next(scores)

    def _score(self, path: str | Path) -> Score:
        """The score of an image file."""
        return self.score_crops([self._read(path, path)])[0]

    def image(self, file: str | Path | bytes, name: object) -> np.ndarray:
        """Decode a file to uint8 `[h, w, 3]`, shrunk as in the model's training.

        Raises:
            DataError: for a file that cannot be read; names it by `name`.
        """
        return shrink(decode_photo(file, name), self.card.config.data.shorter_side)

    def _read(self, file: str | Path | bytes, name: object) -> Crops:
        """The crops of an image file."""
        image = self.image(file, name)
        try:
            return self.crops(image)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None


def _sampling_map(kind: str, image: np.ndarray) -> np.ndarray:
    """The sampling map of an image; that of activity, which is local, in bands of rows to save memory."""
    if kind != "activity":
        return MAPS[kind](image)
    rows = max(1, BAND_PX // (CELL_PX * image.shape[1])) * CELL_PX
    return np.concatenate([MAPS[kind](image[top : top + rows]) for top in range(0, len(image), rows)])


def _in_order(
    paths: Iterable[P | None], submit: Callable[[P], Future[T]], ahead: int, size: int
) -> Iterator[list[tuple[P, Future[T]]]]:
    """Submit paths and yield them in order: the first alone, then `size` at a time while `ahead` are submitted.

    At a None everything that was submitted is yielded before another path is requested.
    """
    waiting: deque[tuple[P, Future[T]]] = deque()
    now = 1
    for path in itertools.chain(paths, [None]):
        if path is not None:
            waiting.append((path, submit(path)))
        while waiting and (path is None or len(waiting) >= ahead):
            yield [waiting.popleft() for _ in range(min(now, len(waiting)))]
            now = size


def _error(future: Future[Any]) -> DataError | None:
    """The DataError of a file, if any; an error of the program is raised."""
    error = future.exception()
    if error is not None and not isinstance(error, DataError):
        raise error
    return error


def save(folder: Path, card: Card, state: Mapping[str, torch.Tensor], scenes: bytes = b"") -> None:
    """Write a model into a folder: its card, the state of its QualityNetwork, and `scenes` of `evaluation.scenes`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    arrays: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in state.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    (folder / WEIGHTS).write_bytes(buffer.getvalue())
    if scenes:
        (folder / SCENES).write_bytes(scenes)


def load(folder: Path, device: str = "cpu", crops: int | None = None) -> Scorer:
    """Load the model in a folder, or in the folder of an MLflow model.

    Args:
        crops: number of crops of an image, instead of the model's own number.

    Raises:
        ModelError: for a folder that holds no model, or one that is damaged, edited or of another version.
    """
    place = place_of(folder)
    card = read_card(place)
    try:
        with np.load(io.BytesIO((place / WEIGHTS).read_bytes()), allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{place / WEIGHTS} is missing, truncated or not a file of weights ({error})") from None
    return Scorer(card, weights, device, crops)
