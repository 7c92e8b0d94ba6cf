"""Scenes that two databases share: the same pixels, a crop, or a resized crop of them.

A test on another database is no test on unseen content where they do: LIVE and TID2013 both took pictures of the Kodak
suite. Pictures are compared by their SIFT features (Lowe 2004) at one size: those of a scene and of its crop agree in
position under one similarity transform, those of two scenes do not.

Letters in shapes: k features of a picture.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gada_ray.data.dataset import IqaDataset, Photographs

SIDE = 384
"""Longer side in pixels to which a picture is shrunk before its features are extracted."""
AGREEING = 6
"""Features that must agree. Between different pictures of live20 at most 3 did; of a quarter, 9 and more,
but for one of a sky."""
VERSION = 1
"""Increased when the comparison changes."""
MAX_PAIRS = 100_000
"""Pairs of pictures that are compared by features; beyond, only the same pixels are found."""


@dataclass(frozen=True)
class Scene:
    """One picture."""

    name: str
    digest: str
    """The sha256 of size and pixels."""
    places: np.ndarray
    """float32 [k, 2]; none for a picture without features."""
    features: np.ndarray
    """uint8 [k, 128]."""


def scenes(dataset: IqaDataset, names: Sequence[str], always: bool = False) -> list[Scene]:
    """The scenes of some references; without references, of all images of some groups.

    With features where as many others could be compared with them, or `always`.
    """
    if dataset.has_references:
        numbers = {name: number for number, name in enumerate(dataset.references)}
        wanted = [(name, numbers[name]) for name in names]
    else:
        wanted = [(dataset.references[dataset.reference[row]], int(row)) for row in dataset.rows_of(names)]
    with_features = always or len(wanted) ** 2 <= MAX_PAIRS
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda one: scene(one[0], dataset.image(one[1]), with_features), wanted))


def of_photographs(photographs: Photographs) -> list[Scene]:
    """The scenes of photographs."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        numbers = range(len(photographs))
        return list(pool.map(lambda one: scene(photographs.names[one], photographs.image(one)), numbers))


def trained_on(dataset: IqaDataset, references: Sequence[str], with_photographs: bool) -> list[Scene]:
    """The scenes of a training: its references, and photographs where it distorts them."""
    extra = of_photographs(dataset.extra) if with_photographs and dataset.extra else []
    return [*scenes(dataset, references), *extra]


def shown(here: Sequence[Scene], photographs: Photographs) -> dict[str, str]:
    """Names of photographs that show a scene of `here`, each with the latter's name; however many there are."""
    there = of_photographs(photographs)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # One at a time, whatever `MAX_PAIRS` says: none of these may be missed.
        found = pool.map(lambda one: shared(here, [one]), there)
        return {name: same for one in found for name, same in one.items()}


def scene(name: str, image: np.ndarray, with_features: bool = True) -> Scene:
    """A scene from its picture, uint8 `[h, w, 3]`."""
    from skimage.feature import SIFT

    digest = hashlib.sha256(str(image.shape).encode() + np.ascontiguousarray(image).data).hexdigest()
    nothing = Scene(name, digest, np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    if not with_features:
        return nothing
    grey = Image.fromarray(image).convert("L")
    factor = min(1, SIDE / max(grey.size))
    size = (max(1, round(grey.width * factor)), max(1, round(grey.height * factor)))
    sift = SIFT(upsampling=1)  # type: ignore[no-untyped-call]
    try:
        small = np.asarray(grey.resize(size, Image.Resampling.LANCZOS)) / 255.0
        sift.detect_and_extract(small)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, IndexError):  # no features, as in a flat picture, or a tiny one
        return nothing
    return Scene(name, digest, np.asarray(sift.keypoints, np.float32), np.asarray(sift.descriptors, np.uint8))


def shared(here: Sequence[Scene], there: Sequence[Scene]) -> dict[str, str]:
    """Names of `there` whose scene is among `here`, each with the name of the latter that it shows."""
    by_digest = {one.digest: one.name for one in here}
    found = {one.name: by_digest[one.digest] for one in there if one.digest in by_digest}
    rest = [one for one in there if one.name not in found and len(one.places)]
    if len(here) * len(rest) > MAX_PAIRS:
        return found
    for one in rest:
        same = next((other.name for other in here if agreeing(other, one) >= AGREEING), None)
        if same is not None:
            found[one.name] = same
    return found


def compared(here: Sequence[Scene], there: Sequence[Scene]) -> bool:
    """Whether `shared` can find crops, and not the same pixels alone."""
    able = any(len(one.places) for one in here) and any(len(one.places) for one in there)
    return able and len(here) * len(there) <= MAX_PAIRS


def agreeing(one: Scene, other: Scene) -> int:
    """How many features of two pictures agree under one similarity transform."""
    from skimage.feature import match_descriptors
    from skimage.measure import ransac
    from skimage.transform import SimilarityTransform

    if min(len(one.places), len(other.places)) < AGREEING:
        return 0
    pairs = match_descriptors(  # type: ignore[no-untyped-call]
        one.features.astype(np.float32), other.features.astype(np.float32), cross_check=True, max_ratio=0.8
    )
    if len(pairs) < AGREEING:
        return 0
    _, fitting = ransac(  # type: ignore[no-untyped-call]
        (one.places[pairs[:, 0]], other.places[pairs[:, 1]]),
        SimilarityTransform,
        min_samples=2,
        residual_threshold=2,
        max_trials=300,
        rng=0,
    )
    return 0 if fitting is None else int(fitting.sum())


def to_bytes(found: Sequence[Scene]) -> bytes:
    """Scenes as an .npz file that holds no code."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        names=np.array([one.name for one in found], dtype=str),
        digests=np.array([one.digest for one in found], dtype=str),
        counts=np.array([len(one.places) for one in found], dtype=np.int64),
        places=np.concatenate([np.zeros((0, 2), np.float32), *(one.places for one in found)]),
        features=np.concatenate([np.zeros((0, 128), np.uint8), *(one.features for one in found)]),
    )
    return buffer.getvalue()


def from_bytes(data: bytes) -> list[Scene]:
    """The scenes of `to_bytes`.

    Raises:
        ValueError, KeyError, zipfile.BadZipFile: for what is no such file.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        ends = np.cumsum(arrays["counts"])[:-1]
        parts = zip(
            arrays["names"].tolist(),
            arrays["digests"].tolist(),
            np.split(arrays["places"], ends),
            np.split(arrays["features"], ends),
            strict=True,
        )
        return [Scene(*part) for part in parts]
