"""Figures of a report that must be legible with as many variants as studies have."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from analysis import figures
from studies import architecture, labels


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"],
        labels.some(5, 10)[:8],
        list(dict(architecture.STUDY.variants)),  # type: ignore[arg-type]
        labels.some(5, 10, 20, 40, None)[:30],
    ],
    ids=len,
)
def test_names_of_variants_under_the_figure_of_splits_do_not_cross(names) -> None:
    rows = [(name, split, 0.9) for name in names for split in range(2)]
    figure = figures.splits(pd.DataFrame(rows, columns=["variant", "split", "srocc"]))
    figure.canvas.draw()
    texts = figure.axes[0].get_xticklabels()
    boxes = [text.get_window_extent() for text in texts]
    if texts[0].get_rotation():
        # Parallel lines: they are apart if their distance is more than a line's height.
        turned = math.radians(texts[0].get_rotation())
        height = float(texts[0].get_fontsize()) / 72 * figure.dpi
        places = [figure.axes[0].transData.transform((place, 0))[0] for place in range(len(names))]
        assert np.diff(places).min() * math.sin(turned) > height
    else:
        assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))
    assert min(box.y0 for box in boxes) >= 0, "inside the figure"
