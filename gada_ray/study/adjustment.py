"""Comparable values of candidates that were trained on different splits.

Racing leaves a pruned candidate with the first few splits only. Where those happen to be easy, its plain mean is above
that of a better candidate that was trained on all of them. The two-way model of analysis of variance without
interaction, score = candidate + split, takes the difficulty of a split out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

DIGITS = 9
"""Decimals that are kept, so that values do not depend on the order of a machine's sums."""


def adjusted_means(scores: Sequence[Mapping[int, float]]) -> list[float | None]:
    """Mean score of every candidate, as if it had been trained on every split that any of them was trained on.

    `scores` holds one mapping a candidate, from split to score. Effects of candidates and of splits are fitted by least
    squares on all of them; the effects of the splits sum to 0, so that a candidate with every split keeps its plain
    mean. None for a candidate without a score.
    """
    splits = sorted({split for one in scores for split in one})
    with_scores = [number for number, one in enumerate(scores) if one]
    if not with_scores:
        return [None] * len(scores)
    known = np.array([[split in scores[number] for split in splits] for number in with_scores], dtype=np.float64)
    values = np.array([[scores[number].get(split, 0.0) for split in splits] for number in with_scores])
    counts, means = known.sum(axis=1), values.sum(axis=1) / known.sum(axis=1)
    # The normal equations with the effects of candidates eliminated. They are singular: only differences are known.
    matrix = np.diag(known.sum(axis=0)) - known.T @ (known / counts[:, None])
    effects = np.linalg.pinv(matrix, hermitian=True) @ (values.sum(axis=0) - known.T @ means)
    effects -= effects.mean()
    found = means - known @ effects / counts
    by_number = dict(zip(with_scores, np.round(found, DIGITS).tolist(), strict=True))
    return [by_number.get(number) for number in range(len(scores))]
