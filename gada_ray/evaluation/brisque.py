"""BRISQUE (Mittal, Moorthy and Bovik 2012), the classical baseline.

36 statistics of locally normalised luminance, 18 at each of two scales, and a support vector regression of quality on
them. Whatever is chosen, is chosen inside the training part.

Letters in shapes: h and w sides of an image, m images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from scipy.special import gammaln

from gada_ray.data.dataset import IqaDataset
from gada_ray.evaluation.metrics import agreement, by_distortion

FEATURES = 36
SIGMA, RADIUS = 7 / 6, 3
"""Standard deviation and radius of the Gaussian window of 7x7 pixels."""
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (-1, 1))
"""Offsets of the neighbours in products: horizontal, vertical and the two diagonals."""
COSTS, WIDTHS = 2.0 ** np.arange(0, 11, 2), 2.0 ** np.arange(-7, 1, 2)
"""Grid of C and gamma in the cross-validation on the training part."""
EPSILON = 0.02
"""Epsilon of the support vector regression, in quality."""
FOLDS = 4
MAX_IMAGES = 1500
"""Largest number of training images in the cross-validation; drawn by reference."""

_SHAPES = np.arange(0.2, 10.001, 0.001)
_RATIOS = np.exp(2 * gammaln(2 / _SHAPES) - gammaln(1 / _SHAPES) - gammaln(3 / _SHAPES))
"""E|x|^2 / E(x^2) of generalised Gaussians by shape; it increases with the shape."""


def features(image: np.ndarray, border: str = "nearest") -> np.ndarray:
    """The 36 statistics, float64, of an image uint8 `[h, w, 3]`; finite for flat images too.

    `border` is how luminance goes on outside of the image, in the words of scipy.ndimage.
    """
    luminance = Image.fromarray(image).convert("L").convert("F")
    half = luminance.resize((max(1, luminance.width // 2), max(1, luminance.height // 2)), Image.Resampling.BICUBIC)
    return np.concatenate([_statistics(np.asarray(each, np.float64), border) for each in (luminance, half)])


def _statistics(luminance: np.ndarray, border: str) -> np.ndarray:
    """18 statistics of one scale, luminance `[h, w]` from 0 to 255 (Eqs. 1 to 14 of BRISQUE)."""

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(values, SIGMA, mode=border, radius=RADIUS))

    centre = mean(luminance)
    contrast = np.sqrt(np.abs(mean(luminance**2) - centre**2))
    normalised = (luminance - centre) / (contrast + 1)
    squares = float(np.mean(normalised**2))
    found = [_shape(float(np.mean(np.abs(normalised))), squares), squares]
    for direction in DIRECTIONS:
        products = normalised * np.roll(normalised, direction, axis=(0, 1))
        found += _asymmetric(products)
    return np.array(found)


def _shape(mean_absolute: float, mean_square: float) -> float:
    """Shape of the generalised Gaussian with these moments."""
    return float(np.interp(mean_absolute**2 / max(mean_square, 1e-12), _RATIOS, _SHAPES))


def _asymmetric(values: np.ndarray) -> tuple[float, float, float, float]:
    """Shape, mean, and left and right variance of an asymmetric generalised Gaussian (Lasmar et al. 2009)."""
    left, right = values[values < 0], values[values > 0]
    left_variance = float(np.mean(left**2)) if len(left) else 0.0
    right_variance = float(np.mean(right**2)) if len(right) else 0.0
    tiny = 1e-12
    skew = np.sqrt(max(left_variance, tiny) / max(right_variance, tiny))
    ratio = float(np.mean(np.abs(values))) ** 2 / max(float(np.mean(values**2)), tiny)
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = float(np.interp(ratio, _RATIOS, _SHAPES))
    spread = np.exp(gammaln(2 / shape) - (gammaln(1 / shape) + gammaln(3 / shape)) / 2)
    return shape, float((np.sqrt(right_variance) - np.sqrt(left_variance)) * spread), left_variance, right_variance


def of_dataset(dataset: IqaDataset, on_done: Callable[[int], None] = lambda number: None) -> np.ndarray:
    """Statistics float64 `[m, 36]` of all distorted images; `on_done` receives the number of finished ones."""
    found = np.empty((len(dataset), FEATURES))

    def fill(row: int) -> None:
        found[row] = features(dataset.distorted_image(row))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, _ in enumerate(pool.map(fill, range(len(dataset))), 1):
            on_done(number)
    return found


def predict(train: np.ndarray, quality: np.ndarray, groups: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Quality float64 `[m]` of statistics `[m, 36]`, by a regression on those of the training part.

    Statistics are brought to [-1, 1] as in training. C and gamma have the best mean rank correlation in a cross
    validation that keeps `groups`, the training images' references, together.
    """
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler
    from sklearn.svm import SVR

    model = make_pipeline(MinMaxScaler((-1, 1)), SVR(epsilon=EPSILON))
    some = _some(groups)
    folds = min(FOLDS, len(np.unique(groups[some])))
    chosen: dict[str, float] = {}
    if folds > 1:
        score = make_scorer(lambda target, prediction: agreement(target, prediction, fit=False)["srocc"])
        grid = {"svr__C": COSTS.tolist(), "svr__gamma": WIDTHS.tolist()}
        search = GridSearchCV(model, grid, scoring=score, cv=GroupKFold(folds), refit=False)
        chosen = search.fit(train[some], quality[some], groups=groups[some]).best_params_
    return np.asarray(model.set_params(**chosen).fit(train, quality).predict(test), np.float64)


def _some(groups: np.ndarray) -> np.ndarray:
    """Rows of as many whole groups, in random order, as make at most `MAX_IMAGES` rows, and of two at least."""
    names = np.random.default_rng(0).permutation(np.unique(groups))
    rows = np.zeros(0, np.int64)
    for number, name in enumerate(names):
        more = np.flatnonzero(groups == name)
        if number > 1 and len(rows) + len(more) > MAX_IMAGES:
            break
        rows = np.concatenate([rows, more])
    return np.sort(rows)


def baseline(
    dataset: IqaDataset, statistics: np.ndarray, train: Collection[str], held_out: Collection[str]
) -> dict[str, float]:
    """`by_distortion` of BRISQUE, trained on some references of a dataset, on the images of others."""
    rows, tested = dataset.rows_of(sorted(train)), dataset.rows_of(sorted(held_out))
    quality = dataset.quality.astype(np.float64)
    prediction = predict(statistics[rows], quality[rows], dataset.reference[rows], statistics[tested])
    classes = np.array(dataset.distortions)[dataset.distortion[tested]]
    frame = pd.DataFrame({"distortion": classes, "target": quality[tested], "prediction": prediction})
    return by_distortion(frame, fit=False)
