"""Agreement of predictions with quality scores (section 4.2).

A prediction that is the same for every image has no rank and no correlation; SROCC, PLCC and KRCC are 0 then, by rule,
and `constant` is 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection

import numpy as np
import pandas as pd
from scipy import optimize, stats

CORRELATIONS = ("srocc", "plcc", "krcc")


FIT_DIGITS = 9
"""Decimals of a correlation after a fit that are kept, so that it is the same in every process."""


def agreement(target: np.ndarray, prediction: np.ndarray, fit: bool = True) -> dict[str, float]:
    """Agreement of predictions `[n]` with targets `[n]`.

    `srocc` with average ranks (Eq. 5 is its form without ties), `plcc` without any fit (Eq. 4), `krcc` (tau b), `rmse`
    in the unit of the target, `plcc_fitted` after a logistic fit (the raw PLCC without `fit`), and `constant`, 1 for
    constant predictions.

    Raises:
        ValueError: for different lengths, fewer than two images, or values that are not finite.
    """
    target, prediction = np.asarray(target, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if target.shape != prediction.shape or target.ndim != 1 or len(target) < 2:
        raise ValueError(
            f"targets and predictions must be two vectors of one length >= 2, got {target.shape} and {prediction.shape}"
        )
    if not (np.isfinite(target).all() and np.isfinite(prediction).all()):
        raise ValueError("targets and predictions must be finite")
    rmse = float(np.sqrt(np.mean((target - prediction) ** 2)))
    if _constant(target) or _constant(prediction):
        return dict.fromkeys(CORRELATIONS, 0.0) | {"rmse": rmse, "plcc_fitted": 0.0, "constant": 1.0}
    plcc = float(stats.pearsonr(target, prediction).statistic)
    return {
        "srocc": float(stats.spearmanr(target, prediction).statistic),
        "plcc": plcc,
        "krcc": float(stats.kendalltau(target, prediction).statistic),
        "rmse": rmse,
        "plcc_fitted": _plcc_fitted(target, prediction, plcc) if fit else plcc,
        "constant": 0.0,
    }


def by_distortion(predictions: pd.DataFrame, fit: bool = True) -> dict[str, float]:
    """Agreement on all images and, as `srocc/jpeg` and so on, on the images of each distortion.

    `predictions` has the columns distortion, target and prediction. The value for all images is computed on all images;
    it is not a mean over distortions. A distortion with fewer than two images has no value. No logistic is fitted on a
    distortion alone: it has too few images; without `fit`, none is fitted at all.
    """
    metrics = agreement(predictions["target"].to_numpy(), predictions["prediction"].to_numpy(), fit)
    for distortion, group in predictions.groupby("distortion", sort=True):
        if len(group) >= 2:
            part = agreement(group["target"].to_numpy(), group["prediction"].to_numpy(), fit=False)
            metrics |= {f"{name}/{distortion}": part[name] for name in CORRELATIONS}
    return metrics


def image_blind(labels: pd.DataFrame, train: Collection[str], held_out: Collection[str]) -> dict[str, float]:
    """Agreement of the image-blind baseline: the mean training quality of an image's distortion.

    `labels` has the columns reference, distortion and quality; `train` and `held_out` name references. A distortion
    that training has not gets the mean of the others. The agreement is `agreement`'s, on the images held out.
    """
    means = labels[labels["reference"].isin(train)].groupby("distortion")["quality"].mean()
    images = labels[labels["reference"].isin(held_out)]
    prediction = images["distortion"].map(means).fillna(means.mean())
    return agreement(images["quality"].to_numpy(), prediction.to_numpy(), fit=False)


def _constant(x: np.ndarray) -> bool:
    """Whether values are equal up to rounding."""
    return bool(np.ptp(x) <= 1e-12 * np.abs(x).max())


def logistic(x: np.ndarray, top: float, bottom: float, middle: float, width: float) -> np.ndarray:
    """The 4-parameter logistic of the Video Quality Experts Group."""
    return bottom + (top - bottom) / (1 + np.exp(-(x - middle) / abs(width)))


def _plcc_fitted(target: np.ndarray, prediction: np.ndarray, plcc: float) -> float:
    """PLCC after a monotone logistic fit; the raw PLCC for fewer than five images, or where the fit fails or harms."""
    x = (prediction - prediction.mean()) / prediction.std()
    if len(x) < 5:
        return plcc
    sign = 1.0 if plcc >= 0 else -1.0
    start = (target.max(), target.min(), 0.0, 0.25 * x.std())
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore", optimize.OptimizeWarning)
        try:
            fit, _ = optimize.curve_fit(logistic, sign * x, target, p0=start, maxfev=2000)
        except RuntimeError:
            return plcc
        fitted = logistic(sign * x, *fit)
    if not np.isfinite(fitted).all() or _constant(fitted):
        return plcc
    # The last digits of an iterative fit depend on where its arrays lie in memory, which differs between processes.
    return max(plcc, round(float(stats.pearsonr(target, fitted).statistic), FIT_DIGITS))
