"""Figures of one training."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from gada_ray.inference import pictures


def drawn(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def predictions(distortions, each=6):
    rng = np.random.default_rng(0)
    names = np.repeat(distortions, each)
    target = rng.random(len(names))
    return pd.DataFrame({"distortion": names, "target": target, "prediction": target + rng.normal(0, 0.2, len(names))})


def patches(count, px):
    rng = np.random.default_rng(1)
    images = {
        name: rng.integers(0, 256, (count, px, px, 3), dtype=np.uint8)
        for name in ("reference", "generated", "distorted")
    }
    return images | {
        "quality": np.linspace(0.2, 0.9, count, dtype=np.float32),
        "distortion": np.array([f"kind {i}" for i in range(count)]),
        "image": np.array([f"{i}.bmp" for i in range(count)]),
    }


def test_scatter_states_srocc_and_plcc_of_the_points_it_shows():
    frame = predictions(["jpeg", "wn"])
    title = pictures.scatter(frame, "demo, split 0").axes[0].get_title(loc="left")
    srocc = stats.spearmanr(frame["target"], frame["prediction"]).statistic
    plcc = stats.pearsonr(frame["target"], frame["prediction"]).statistic
    assert title == f"demo, split 0\nSROCC {srocc:.3f}   PLCC {plcc:.3f}   12 images"


def test_scatter_shows_every_image_inside_its_axes_even_when_quality_leaves_0_to_1():
    frame = predictions(["jpeg", "wn"])
    frame.loc[0, ["target", "prediction"]] = [-0.2, 1.4]
    axes = pictures.scatter(frame, "").axes[0]
    points = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections])
    assert sorted(map(tuple, points)) == sorted(zip(frame["target"], frame["prediction"], strict=True))
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_xlim()[0] < -0.2
    assert axes.get_ylim()[1] > 1.4


def test_scatter_gives_each_of_25_distortions_a_look_of_its_own():
    axes: Any = pictures.scatter(predictions([f"kind {i:02d}" for i in range(25)]), "").axes[0]
    looks = {(to_hex(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in axes.collections}
    assert len(looks) == 25
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [f"kind {i:02d}" for i in range(25)]


@pytest.mark.parametrize(("px", "zoom"), [(64, 2), (48, 3), (128, 1), (200, 1)])
def test_figure1_draws_every_pixel_of_a_patch_as_a_square_of_whole_pixels(px, zoom):
    sample = patches(2, px)
    image = drawn(pictures.figure1(sample))
    cell, gap, left, top = px * zoom, 8, 110, 28
    for column, name in enumerate(("reference", "generated", "distorted")):
        for row in range(2):
            y, x = top + row * (cell + gap), left + column * (cell + gap)
            seen = image[y : y + cell, x : x + cell]
            assert np.array_equal(seen, sample[name][row].repeat(zoom, axis=0).repeat(zoom, axis=1))


def test_figure1_names_distortion_and_quality_of_every_row():
    texts = [text.get_text() for text in pictures.figure1(patches(3, 64)).texts]
    assert texts[:3] == ["reference", "generated", "truly distorted"]
    assert texts[3:] == ["kind 0\nquality 0.20", "kind 1\nquality 0.55", "kind 2\nquality 0.90"]


def test_drawing_leaves_pyplot_without_open_figures():
    import matplotlib.pyplot as plt

    for figure in (pictures.scatter(predictions(["a"]), ""), pictures.figure1(patches(1, 64))):
        drawn(figure)
    assert plt.get_fignums() == []


def test_generated_patches_by_quality_stand_above_the_real_ones_with_the_quality_of_both():
    sample = patches(2, 64)
    requested = np.array([[0.1, 0.5, 0.9], [0.3, 0.4, np.nan]])
    made, real = (np.random.default_rng(n).integers(0, 256, (2, 3, 64, 64, 3), dtype=np.uint8) for n in (2, 3))
    figure = pictures.by_quality({**sample, "requested": requested, "by_quality": made, "real_by_quality": real})
    texts = [text.get_text() for text in figure.texts if text.get_text().strip()]
    assert set(texts[:6]) == {"reference", "lowest quality", "0.10", "0.30", "0.50", "0.40"}
    assert texts[6:] == ["highest quality", "0.90", "kind 0\ngenerated", "real", "kind 1\ngenerated", "real"]
    image = drawn(figure)
    cell, gap, left, top, caption = 128, 8, 110, 28, 18
    x = left + 2 * (cell + gap)
    for row, (kind, number) in enumerate([(made, 0), (real, 0), (made, 1), (real, 1)]):
        y = top + row * (cell + gap) + caption * (row > 1)
        assert np.array_equal(image[y : y + cell, x : x + cell], kind[number, 1].repeat(2, axis=0).repeat(2, axis=1))
    absent = image[-cell - caption :, left + 3 * (cell + gap) : left + 3 * (cell + gap) + cell]
    assert len(np.unique(absent[:cell].reshape(-1, absent.shape[-1]), axis=0)) == 1, "nothing is drawn without an image"
