"""One quality database in memory: every pixel once, in one flat array.

Letters in shapes: r references, n distorted images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gada_ray.config import DataConfig
from gada_ray.data import mapped
from gada_ray.data.cache import cache_folder
from gada_ray.data.words import SHOWN, some
from gada_ray.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Direction = Literal["higher_is_better", "lower_is_better"]


class DataError(UserError, ValueError):
    """Data that cannot be used. The message has one problem a line; each names the file, the rule and what to do.

    Attributes:
        kind: what problems of other files or lines may have in common with this one, such as "no such file".
        everything: the message with all problems of each kind, where the message itself shows only the first ones.
    """

    def __init__(self, text: str, kind: str = "", everything: str = "") -> None:
        super().__init__(text)
        self.kind = kind
        self.everything = everything or text

    @classmethod
    def of(cls, problems: Sequence[DataError]) -> DataError:
        """One error from many: of each kind the first problems, and how many others there are."""
        kinds: dict[str, list[str]] = {}
        for number, problem in enumerate(problems):
            kinds.setdefault(problem.kind or f"#{number}", []).append(str(problem))
        lines = []
        for kind, texts in kinds.items():
            shown = texts if len(texts) <= SHOWN + 1 else texts[:SHOWN]
            lines += shown
            if len(texts) > len(shown):
                lines.append(f"... and {len(texts) - len(shown)} more: {kind} (check --all lists every one)")
        everything = "\n".join(text for texts in kinds.values() for text in texts)
        return cls("\n".join(lines), everything=everything)


def raw_score(quality: float, score_range: tuple[float, float], direction: str) -> float:
    """A quality (0 to 1, higher is better) on the raw scale whose worst and best ends are the qualities 0 and 1."""
    low, high = score_range
    return low + (high - low) * (quality if direction == "higher_is_better" else 1 - quality)


@dataclass(frozen=True, eq=False)
class Photographs:
    """Unlabelled photographs that training distorts, in the layout of `IqaDataset`."""

    names: tuple[str, ...]
    pixels: np.ndarray
    """uint8, flat."""
    offsets: np.ndarray
    """int64 [n + 1]."""
    shapes: np.ndarray
    """int64 [n, 2], height and width."""

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256, in hex, of pixels and shapes."""
        sha = hashlib.sha256(np.ascontiguousarray(self.pixels).data)
        sha.update(np.ascontiguousarray(self.shapes).data)
        return sha.hexdigest()

    def image(self, number: int) -> np.ndarray:
        """One picture `[h, w, 3]`, uint8, as a view."""
        height, width = self.shapes[number]
        return self.pixels[self.offsets[number] : self.offsets[number + 1]].reshape(height, width, 3)


@dataclass(frozen=True, eq=False)
class IqaDataset:
    """Distorted images, their references and their scores.

    Images are numbered 0..r-1 for the references, in the order of `references`, and r..r+n-1 for the distorted images,
    in the order of `images`. Image i is `pixels[offsets[i] : offsets[i + 1]]`, RGB, row by row, of `shapes[i]`.

    In a database without references, `references` are names of groups, which splits keep together in the same way: the
    images of one scene, or a single image. There are no pixels of references, and images are numbered 0..n-1.
    """

    name: str
    """Name for people, such as "LIVE release 2"."""
    labels: str
    """What the scores are, such as "DMOS of dmos.mat"; it says so when they are not human scores."""
    direction: Direction
    score_range: tuple[float, float]
    """Nominal ends of the raw scale; scores may lie outside."""
    pixels: np.ndarray
    """uint8, flat."""
    offsets: np.ndarray
    """int64 [r + n + 1]; without references [n + 1]."""
    shapes: np.ndarray
    """int64 [r + n, 2], height and width; without references [n, 2]."""
    references: tuple[str, ...]
    """Unique names, sorted; of groups where there are no references."""
    images: tuple[str, ...]
    """Unique names of the distorted images: their paths in the database."""
    reference: np.ndarray
    """int64 [n], index into `references`."""
    distortions: tuple[str, ...]
    """Names of the distortion classes."""
    distortion: np.ndarray
    """int64 [n], index into `distortions`."""
    score: np.ndarray
    """float64 [n], raw scores as published."""
    notes: tuple[str, ...] = ()
    """What was left out or repaired on loading, for people."""
    has_references: bool = True
    """Whether `references` are images; otherwise they are only names of groups."""
    published: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None = None
    """The authors' training, validation and test parts, as names in `references`; None where they published none."""
    extra: Photographs | None = None
    """Unlabelled photographs that a study also distorts; not part of the database or of its fingerprint."""
    origin: tuple[str, str, DataConfig] | None = None
    """Name, folder and configuration with which `load_dataset` read it; for nodes that have no file of its pixels."""
    maps: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    """Sampling maps by kind: uint8, flat, image after image; `sampling.maps` fills and reads them."""

    def __len__(self) -> int:
        return len(self.images)

    def __getstate__(self) -> dict[str, Any]:
        """The state for another process: pixels that are mapped from a file stay there."""
        file = mapped.file_of(self.pixels)
        return self.__dict__ if file is None or self.origin is None else {**self.__dict__, "pixels": file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(file := state["pixels"], Path):
            self.__dict__["pixels"] = self._map(file)

    def _map(self, file: Path) -> np.ndarray:
        """Map the pixels from their file, or, on a node that has none, from one that is made here once."""
        size = int(self.offsets[-1])
        if found := mapped.find(file, size):
            return found.pixels
        from gada_ray.data import load_dataset

        assert self.origin is not None
        name, root, config = self.origin
        with mapped.required(cache_folder() / "pixels" / file.name):
            again = load_dataset(name, Path(root), config)
        if again.fingerprint != self.fingerprint:
            raise DataError(f"{self.name}: {root} holds other images or scores on this node than where the study began")
        return again.pixels

    @property
    def bytes_in_memory(self) -> int:
        """Bytes of the pixels that a copy of the dataset takes; 0 where they are mapped from a file."""
        return 0 if mapped.file_of(self.pixels) and self.origin else self.pixels.nbytes

    @property
    def first(self) -> int:
        """Number of the first distorted image: r, or 0 without references."""
        return len(self.references) if self.has_references else 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all images in the order of their numbers."""
        return self.references * self.has_references + self.images

    @cached_property
    def quality(self) -> np.ndarray:
        """float32 [n]: the scores on [0, 1], higher is better; not clipped where scores leave their nominal range."""
        low, high = self.score_range
        quality = (self.score - low) / (high - low)
        return (quality if self.direction == "higher_is_better" else 1 - quality).astype(np.float32)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256, in hex, of all that training can see: pixels, shapes, names, classes and scores."""
        sha = hashlib.sha256()
        sha.update(np.ascontiguousarray(self.pixels).data)
        for array in (self.shapes, self.reference, self.distortion, self.score):
            sha.update(np.ascontiguousarray(array).data)
        for names in (self.references, self.images, self.distortions):
            sha.update("\n".join(names).encode() + b"\0")
        sha.update(f"{self.direction} {self.score_range}".encode())
        if not self.has_references:
            sha.update(b"no references")
        return sha.hexdigest()

    def image(self, number: int) -> np.ndarray:
        """One image `[h, w, 3]`, uint8, as a read-only view; numbers below `first` are references."""
        height, width = self.shapes[number]
        view = self.pixels[self.offsets[number] : self.offsets[number + 1]].reshape(height, width, 3)
        view.flags.writeable = False
        return view

    def reference_image(self, row: int) -> np.ndarray:
        """The reference `[h, w, 3]` of a distorted image.

        Raises:
            DataError: in a database without references.
        """
        if not self.has_references:
            raise DataError(f"{self.name} has no references")
        return self.image(int(self.reference[row]))

    def distorted_image(self, row: int) -> np.ndarray:
        """The distorted image `[h, w, 3]` of a row."""
        return self.image(self.first + row)

    def rows_of(self, references: Sequence[str]) -> np.ndarray:
        """Rows of all distorted images of some references, ascending, int64.

        Raises:
            DataError: for a name that is not a reference of this dataset.
        """
        unknown = sorted(set(references) - set(self.references))
        if unknown:
            raise DataError(
                f"{self.name} has no reference named {some(unknown)}; available: {some(self.references, 20)}"
            )
        numbers = {name: number for number, name in enumerate(self.references)}
        wanted = [numbers[name] for name in references]
        return np.flatnonzero(np.isin(self.reference, wanted))

    def frame(self) -> pd.DataFrame:
        """One row a distorted image: image, reference, distortion, score, quality, height, width."""
        import pandas as pd

        shapes = self.shapes[self.first :]
        return pd.DataFrame(
            {
                "image": self.images,
                "reference": [self.references[i] for i in self.reference],
                "distortion": [self.distortions[i] for i in self.distortion],
                "score": self.score,
                "quality": self.quality,
                "height": shapes[:, 0],
                "width": shapes[:, 1],
            }
        )
