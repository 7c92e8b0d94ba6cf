"""The embedded demo dataset: made at its first use from installed packages, and labelled by MDSI, not by people.

The 20 references are 14 photographs inside the scikit-image and scikit-learn wheels and 6 seeded textures, all reduced
to 160x192 pixels. Sources and licences, as those packages state them:

- CC0: brick, grass, gravel (CC0 texture sites), camera (Lav Varshney), chelsea (Stefan van der Walt), coffee (Rachel
  Michetti), retina (Mikael Häggström).
- Public domain: astronaut, hubble (NASA), rocket (SpaceX).
- No known copyright restrictions: coins (Brooklyn Museum), ihc (Center for Microscopy and Molecular Imaging).
- CC BY 2.0: china (danielbuechele), flower (vultilion), both from Flickr. They are reduced and distorted here;
  publications that show them must name their authors.

Each reference has five distortions (LIVE's types) at four severities drawn from a continuous range, one from each
quarter: 400 images. Two local distortions, on request, add 160 images and leave the 400 unchanged. The score is MDSI
(Ziaei Nafchi et al. 2016; piq): 0 for an identical image, lower is better.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gada_ray.data import demo_scores
from gada_ray.data.cache import cache_folder
from gada_ray.data.dataset import DataError, IqaDataset

VERSION = 1
"""Raised when the demo changes; part of the cache file's name."""
LEVELS = 4
LABELS = "MDSI full-reference surrogate, not human scores"
SCORE_RANGE = (0.0, 0.8)
_ARRAYS = ("pixels", "shapes", "references", "images", "reference", "distortions", "distortion", "score")

logger = logging.getLogger(__name__)


def load_demo(cache: Path | None = None, local: bool = False) -> IqaDataset:
    """Load the demo dataset from its cache file, or make it in some seconds.

    It is deterministic, but another version of Pillow's codecs or of piq may make slightly different images or scores,
    and then another fingerprint.

    Args:
        cache: folder of the cache file; `$XDG_CACHE_HOME/gada-ray` or `~/.cache/gada-ray` when None.
        local: add two local distortions: patches of another intensity, and misplaced patches.

    Raises:
        DataError: when the cache cannot be written.
    """
    folder = cache or cache_folder()
    name, stem = ("demo with local distortions", "demo-local") if local else ("demo", "demo")
    path = folder / f"{stem}-v{VERSION}.npz"
    try:
        return _dataset(name, **_read(path))
    except FileNotFoundError:
        logger.info("making the demo dataset, once: %s", path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("the cached demo dataset %s is damaged (%s) and is made again", path, error)
    arrays = _make(local)
    try:
        _write(path, arrays)
    except OSError as error:
        raise DataError(
            f"the demo dataset cannot be cached in {folder} ({error}); name a folder with --data-root"
        ) from None
    return _dataset(name, **arrays)


def _make(local: bool) -> dict[str, np.ndarray]:
    """Images and scores as plain arrays, by the names in _ARRAYS."""
    from gada_ray.data.demo_images import DISTORTIONS, WITH_LOCAL, references

    chosen = WITH_LOCAL if local else DISTORTIONS
    pictures = dict(sorted(references().items()))
    places = list(itertools.product(range(len(pictures)), range(len(chosen)), range(LEVELS)))
    named, kinds = list(pictures.items()), list(chosen.items())

    def distorted(place: tuple[int, int, int]) -> np.ndarray:
        reference, distortion, _ = place
        severity, rng = _severity(place)
        return kinds[distortion][1](named[reference][1], severity, rng)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = np.stack([*pictures.values(), *pool.map(distorted, places)])
    names = [f"{kinds[d][0]}/{named[r][0]}_{level + 1}" for r, d, level in places]
    reference, distortion, _ = (np.array(column, dtype=np.int64) for column in zip(*places, strict=True))
    return {
        "pixels": images.ravel(),
        "shapes": np.full((len(images), 2), images.shape[1:3], dtype=np.int64),
        "references": np.array(list(pictures)),
        "images": np.array(names),
        "reference": reference,
        "distortions": np.array(list(chosen)),
        "distortion": distortion,
        "score": _scores(images, reference),
    }


def severities(dataset: IqaDataset) -> np.ndarray:
    """The severity, in [0, 1], with which every distorted image `[m]` of the demo was made; for controls."""
    kinds = len(dataset.distortions)
    places = ((row // (kinds * LEVELS), row // LEVELS % kinds, row % LEVELS) for row in range(len(dataset)))
    return np.array([_severity(place)[0] for place in places])


def _severity(place: tuple[int, int, int]) -> tuple[float, np.random.Generator]:
    """The severity of the image at (reference, distortion, level), and the generator for its distortion."""
    rng = np.random.default_rng([VERSION, *place])
    return (place[2] + rng.random()) / LEVELS, rng


def _scores(images: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The scores of all distorted images: stored ones where the pixels are those for which they hold, else computed."""
    if hashlib.sha256(images.data).hexdigest() == demo_scores.PIXELS:
        return demo_scores.scores()
    return _mdsi(images[-len(reference) :], images[reference])


def _mdsi(distorted: np.ndarray, reference: np.ndarray, batch: int = 20) -> np.ndarray:
    """MDSI of pairs of images, uint8 `[n, h, w, 3]`, as float64 `[n]`; 0 is identical, higher is worse.

    Scores are rounded to four places, which hides the order in which threads add.
    """
    import torch
    from piq import mdsi

    def tensor(images: np.ndarray) -> torch.Tensor:
        return torch.tensor(images).permute(0, 3, 1, 2).float()

    scores = [
        mdsi(tensor(distorted[i : i + batch]), tensor(reference[i : i + batch]), data_range=255, reduction="none")
        for i in range(0, len(distorted), batch)
    ]
    return np.round(torch.cat(scores).double().numpy(), 4)


def _dataset(name: str, **arrays: np.ndarray) -> IqaDataset:
    shapes = arrays["shapes"]
    return IqaDataset(
        name=name,
        labels=LABELS,
        direction="lower_is_better",
        score_range=SCORE_RANGE,
        pixels=arrays["pixels"],
        offsets=np.concatenate([[0], np.cumsum(shapes.prod(axis=1) * 3)]),
        shapes=shapes,
        references=tuple(arrays["references"].tolist()),
        images=tuple(arrays["images"].tolist()),
        reference=arrays["reference"],
        distortions=tuple(arrays["distortions"].tolist()),
        distortion=arrays["distortion"],
        score=arrays["score"],
        notes=(f"labels are {LABELS}",),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in _ARRAYS}


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a temporary file and rename it, so that readers see whole files and two writers do no harm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    os.replace(partial, path)
