"""Figures of one training: predictions, generated patches and the images with the largest errors.

All are plain matplotlib `Figure` objects without global state, so that they can be drawn in any thread. `style` is the
style of all figures of the project.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from gada_ray.evaluation.metrics import agreement

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C26A9A", "#B27A00", "#8A5FBF", "#2E8FC4", "#8C6D31")
"""The colours of Okabe and Ito (2008), light ones darkened: each has a contrast of 3:1 on white and on dark pages."""
MARKERS = "osD^v"
INK, FAINT, SHADE = "#222222", "#888D94", "#F1F3F5"

DPI = 100
PATCHES = {"reference": "reference", "generated": "generated", "distorted": "truly distorted"}
CELL_PX = 128
"""Side of a patch in `figure1`; a patch is enlarged by the whole number that comes nearest."""


def scatter(predictions: pd.DataFrame, title: str) -> Figure:
    """Predicted against true quality, one point for each image.

    `predictions` has the columns distortion, target and prediction, quality in [0, 1] (section 4.2). Title: SROCC and
    PLCC of all images.

    Raises:
        ValueError: for fewer than two images or values that are not finite.
    """
    target, prediction = predictions["target"].to_numpy(), predictions["prediction"].to_numpy()
    values = agreement(target, prediction)
    groups = list(predictions.groupby("distortion", sort=True))
    figure = blank(5.8 + 1.2 * ((len(groups) - 1) // 18), 5.2)
    axes = figure.add_subplot()
    low = min(0.0, target.min(), prediction.min())
    high = max(1.0, target.max(), prediction.max())
    margin = 0.03 * (high - low)
    axes.plot([low, high], [low, high], color=FAINT, linewidth=1, zorder=1)
    for number, (distortion, group) in enumerate(groups):
        axes.scatter(
            group["target"],
            group["prediction"],
            s=14,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            linewidths=0,
            label=str(distortion),
            zorder=2,
        )
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
    style(axes, f"{title}\nSROCC {values['srocc']:.3f}   PLCC {values['plcc']:.3f}   {len(target)} images")
    axes.set_xlabel("true quality")
    axes.set_ylabel("predicted quality")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9, ncols=1 + (len(groups) - 1) // 18
    )
    return figure


def figure1(patches: Mapping[str, np.ndarray]) -> Figure:
    """Generated patches between their reference and the true distortion of the same quality (Fig. 1), one in each row.

    `patches` holds reference, generated and distorted, uint8 `[k, px, px, 3]`; quality `[k]` in [0, 1]; and distortion,
    text `[k]`. Every pixel of a patch becomes a square of a whole number of pixels, when saved at the figure's own dpi.
    """
    names = zip(patches["distortion"], patches["quality"], strict=True)
    labels = [f"{textwrap.fill(str(name), 16)}\nquality {float(quality):.2f}" for name, quality in names]
    return _sheet({heading: list(patches[name]) for name, heading in PATCHES.items()}, labels)


def by_quality(patches: Mapping[str, np.ndarray]) -> Figure:
    """Patches generated for the qualities of real images of the same reference, above these: two rows for a distortion.

    `patches` holds, besides the arrays of `figure1`, requested (qualities, ascending; NaN where there are fewer)
    `[k, q]`, and by_quality and real_by_quality, uint8 `[k, q, px, px, 3]`.
    """
    requested = patches["requested"]
    shown = ~np.isnan(requested)
    kinds = ("by_quality", "real_by_quality")
    columns = {"reference": [cell for one in patches["reference"] for cell in (one, None)]}
    for q in range(requested.shape[1]):
        heading = "lowest quality" if q == 0 else "highest quality" if q + 1 == requested.shape[1] else q * " "
        columns[heading] = [
            patches[kind][row, q] if there[q] else None for row, there in enumerate(shown) for kind in kinds
        ]
    names = [textwrap.fill(str(name), 16) for name in patches["distortion"]]
    labels = [label for name in names for label in (f"{name}\ngenerated", "real")]
    under = [[f"{value:.2f}" if value == value else "" for value in row] for row in requested]
    return _sheet(columns, labels, {2 * row + 1: ["", *texts] for row, texts in enumerate(under)})


def _sheet(
    columns: Mapping[str, Sequence[np.ndarray | None]],
    labels: Sequence[str],
    captions: Mapping[int, Sequence[str]] | None = None,
) -> Figure:
    """Patches, uint8 `[px, px, 3]` in every column from top to bottom, or None for an empty place.

    Headings stand over columns, labels beside rows, and captions under the patches of some rows.
    """
    first = next(iter(columns.values()))
    px = next(patch.shape[0] for patch in first if patch is not None)
    zoom = max(1, round(CELL_PX / px))
    cell, gap, left, top, caption = px * zoom, 8, 110, 28, 18
    captions = captions or {}
    starts = [top + row * (cell + gap) + caption * sum(other < row for other in captions) for row in range(len(labels))]
    width, height = left + len(columns) * (cell + gap), top + len(labels) * (cell + gap) + caption * len(captions)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=SHADE)
    FigureCanvasAgg(figure)
    for column, (heading, pictures) in enumerate(columns.items()):
        x = left + column * (cell + gap)
        figure.text((x + cell / 2) / width, 1 - 14 / height, heading, ha="center", va="center", fontsize=9, color=INK)
        for row, patch in enumerate(pictures):
            if patch is not None:
                y = height - starts[row] - cell
                axes = figure.add_axes((x / width, y / height, cell / width, cell / height))
                axes.imshow(patch, interpolation="nearest", aspect="auto")
                axes.set_axis_off()
            if row in captions:
                middle = 1 - (starts[row] + cell + caption / 2) / height
                text = captions[row][column]
                figure.text((x + cell / 2) / width, middle, text, ha="center", va="center", fontsize=9, color=INK)
    for row, label in enumerate(labels):
        figure.text(8 / width, 1 - (starts[row] + cell / 2) / height, label, va="center", fontsize=9, color=INK)
    return figure


def worst_images(arrays: Mapping[str, np.ndarray]) -> Figure:
    """The images with the largest errors, with test crops in the colours of their predictions, and maps.

    `arrays` is the file of `evaluation.worst.worst`: of every distortion the image with the largest error.
    """
    maps = "map" in arrays
    count, columns = len(arrays["distortion"]), 2 if "map" in arrays else 3
    rows = -(-count // columns)
    figure = blank(3.2 * columns * (1 + maps), 2.9 * rows + 0.2)
    panels = figure.subplots(rows, columns * (1 + maps), squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    low, high = min(0.0, arrays["quality"].min()), max(1.0, arrays["quality"].max())
    colour = ScalarMappable(Normalize(low, high), "RdYlBu")
    files = np.split(arrays["jpeg"], arrays["jpeg_ends"][:-1])
    cells = np.split(arrays["map"], np.cumsum(arrays["map_shapes"].prod(axis=1))[:-1]) if maps else []
    for i, file in enumerate(files):
        axes = panels[i * (1 + maps)]
        image = Image.open(io.BytesIO(file.tobytes()))
        axes.imshow(image)
        side = float(arrays["side"][i])
        for top, left, quality in zip(arrays["top"][i], arrays["left"][i], arrays["quality"][i], strict=True):
            place = (float(left) - 0.5, float(top) - 0.5)
            axes.add_patch(Rectangle(place, side, side, fill=False, edgecolor="#000000", linewidth=1.8, alpha=0.5))
            axes.add_patch(Rectangle(place, side, side, fill=False, edgecolor=colour.to_rgba(quality), linewidth=1))
        name = textwrap.shorten(f"{arrays['distortion'][i]}: {arrays['image'][i]}", 44, placeholder="…")
        numbers = f"predicted {arrays['prediction'][i]:.2f}, true {arrays['target'][i]:.2f}"
        axes.set_title(f"{name}\n{numbers}", loc="left", fontsize=9, color=INK, parse_math=False)
        if maps:
            beside = panels[2 * i + 1]
            beside.imshow(cells[i].reshape(arrays["map_shapes"][i]), cmap="gray", extent=(0, *image.size, 0))
            beside.set_title("where crops are drawn from", loc="left", fontsize=9, color=INK)
    bar = figure.colorbar(colour, ax=list(panels), fraction=0.025, pad=0.01)
    bar.ax.tick_params(labelsize=9, colors=INK, color=FAINT)
    bar.outline.set_visible(False)
    bar.set_label("predicted quality of a crop", fontsize=9, color=INK)
    return figure


def blank(width: float, height: float) -> Figure:
    """An empty figure of some inches that can be saved and shown without pyplot."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style(axes: Axes, title: str) -> None:
    """Style axes: light, without a box, titled at the left."""
    axes.set_title(title, loc="left", fontsize=9, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=9, colors=INK, color=FAINT)
    axes.xaxis.label.set(fontsize=9, color=INK)
    axes.yaxis.label.set(fontsize=9, color=INK)
