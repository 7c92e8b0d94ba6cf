"""Figures of a report: legible with as many variants as studies have, on light and dark pages."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import comparisons, drawing, figures, search_figures, statistics, tables
from gada_ray.inference.pictures import COLOURS, FAINT
from gada_ray.study.contrasts import Contrast
from studies import architecture, labels

PX_PER_PT, MIN_PX = 96 / 72, 11
PAPERS = ("#ffffff", "#14171b")
MANY = [list(dict(architecture.STUDY.variants)), labels.some(*labels.NUMBERS)[:30]]  # type: ignore[arg-type]


def scores(names, splits=3):
    """Scores of some variants, on all images and by distortion."""
    random = np.random.default_rng(0)
    rows = [(name, split, random.uniform(0.7, 0.95)) for name in names for split in range(splits)]
    frame = pd.DataFrame(rows, columns=["variant", "split", "srocc"]).assign(plcc=0.5)
    for name in ("jpeg", "jp2k", "gblur", "additive gaussian noise"):
        frame[f"srocc/{name}"] = frame["srocc"]
    return frame.assign(references_held_out=4, references_train=16)


def curve(names):
    """A learning curve of some variants on two splits."""
    rows = [(n, s, step, step / 2500) for n in names for s in range(2) for step in (0, 1500, 2100, 2300)]
    return pd.DataFrame(rows, columns=["variant", "split", "step", "value"])


def phases(names):
    return {name: {"gan": 1500, "augmentation": 2100, "finetuning": 2300} for name in names}


def predictions(names):
    random = np.random.default_rng(0)
    rows = [
        (n, s, f"{d}{i}", d, *random.random(2)) for n in names for s in range(2) for d in ("jpeg", "wn") for i in "ab"
    ]
    return pd.DataFrame(rows, columns=["variant", "split", "image", "distortion", "target", "prediction"])


def candidates(names):
    rows = [(f"{n}{i}", n, i, 3, True, False, 0.9 - i / 100, 10.0**-i) for n in names for i in range(4)]
    columns = ["key", "variant", "number", "n", "complete", "pruned", "srocc", "rates.generator"]
    return pd.DataFrame(rows, columns=columns)


def every(names) -> dict[str, Figure]:
    """Every figure of a report, for some variants."""
    frame = scores(names)
    pairs = statistics.comparisons(frame)
    cost = pd.DataFrame({"variant": names, "test": 0.01, "search": 0.02, "saved": 0.005})
    found = candidates(names[:3])
    return {
        "splits": figures.splits(frame, {tables.BRISQUE: pd.Series([0.7, 0.8, 0.9])}),
        "forest": figures.forest(pairs.head(12)),
        "curves": figures.learning(curve(names), phases(names)),
        "predictions": figures.predictions(predictions(names))[0],
        "distortions": figures.heat_map(tables.scores(frame)),
        "cost": figures.device_hours(cost),
        "search": search_figures.history(found),
        "parallel": search_figures.parallel(found),
    }


@pytest.fixture(scope="module", params=[["a", "b"], *MANY], ids=len)
def drawn(request):
    return every(list(request.param))


def visible(figure: Figure) -> list[Text]:
    """The texts of a figure that are shown."""
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    figure.canvas.draw()
    return [text for text in texts if text.axes is None or text.axes.get_visible()]


def test_all_text_is_large_enough_and_no_name_runs_into_another_or_out_of_the_figure(drawn) -> None:
    for name, figure in drawn.items():
        texts = visible(figure)
        assert min(float(text.get_fontsize()) for text in texts) * PX_PER_PT >= MIN_PX, name
        boxes = [(text, text.get_window_extent()) for text in texts if not text.get_rotation() % 90]
        shown = [(text, box) for text, box in boxes if box.width > 1 and box.height > 1]
        for (one, a), (other, b) in itertools.combinations(shown, 2) if name not in ("search", "parallel") else ():
            apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
            assert apart, f"{name}: '{one.get_text()}' and '{other.get_text()}'"
        width, height = figure.canvas.get_width_height()
        assert all(
            box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1 for _, box in shown
        ), name


def test_figures_are_as_wide_as_a_phone_so_that_their_text_does_not_shrink(drawn) -> None:
    for name in ("splits", "forest", "curves", "predictions", "cost"):
        assert drawn[name].get_figwidth() * 96 <= 450, name


def test_every_phase_is_labelled_and_the_key_names_them() -> None:
    names = ["a", "b"]
    figure = figures.learning(curve(names), phases(names))
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == ["1", "2", "3"]
    assert figures.phase_key(phases(names)) == "1 gan, 2 augmentation, 3 finetuning"
    assert figures.phase_key({"a": {"gan": 1}, "b": {"direct": 1}}) == "a: 1 gan; b: 1 direct"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours by WCAG 2."""
    luminances = []
    for colour in (one, other):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    low, high = sorted(luminances)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", [*COLOURS, FAINT])
@pytest.mark.parametrize("paper", PAPERS)
def test_lines_and_dots_have_a_contrast_of_three_to_one_on_both_backgrounds(colour, paper) -> None:
    assert contrast(colour, paper) >= 3


def test_the_contrasts_figure_has_the_contrasts_alone_and_says_its_numbers_in_words() -> None:
    frame = scores(list("abcd"), 6)
    found = tables.contrasts(frame, [Contrast("a", "b", "?"), Contrast("c", "b", "?")])
    section = comparisons.contrasts(found)
    forest = section.parts[0]
    row = found.iloc[0]
    assert f"a − b: {tables.signed(row['difference'])} {tables.between(row['low'], row['high'])}" in forest.alt  # type: ignore[union-attr]
    assert [text.get_text() for text in forest.figure.axes[0].texts] == ["a − b", "c − b"]  # type: ignore[union-attr]
    assert comparisons.pairs(found, tables.pairs(frame)).folded


def test_every_point_of_the_scatter_has_its_values() -> None:
    frame = predictions(["a", "b"])
    frame.loc[0, "prediction"] = 7.0  # drawn at the border
    figure, hover = figures.predictions(frame)
    text = drawing.inline(drawing.svg(figure), "predictions", 'numbers "so" & so', hover)
    titles = re.findall(r"<title>([^<]*)</title>", text)
    assert len(titles) == len(frame)
    assert f"jpega, split 0: predicted 7.000, true {frame.loc[0, 'target']:.3f}" in titles
    assert 'aria-label="numbers &quot;so&quot; &amp; so"' in text
    assert not figures.predictions(pd.concat([frame] * 400))[1], "a picture of many points has no texts"
