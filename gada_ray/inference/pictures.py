"""Figures of one training: predictions, generated patches and learning curves.

All are plain matplotlib `Figure` objects without global state, so they can be drawn in any thread; `figure.savefig`
writes them. The style is in one place, `style`.
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
from matplotlib.ticker import MaxNLocator
from PIL import Image

from gada_ray.evaluation.metrics import agreement

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C26A9A", "#B27A00", "#2E8FC4", "#8A5FBF", "#8C6D31")
"""The colours of Okabe and Ito (2008), light ones darkened: each has a contrast of 3:1 on white and on dark pages."""
MARKERS = "osD^v"
INK, FAINT, SHADE = "#222222", "#888D94", "#F1F3F5"

DPI = 100
PATCHES = {"reference": "reference", "generated": "generated", "distorted": "truly distorted"}
CELL_PX = 128
"""Side of a patch in `figure1`; a patch is enlarged by the whole number that comes nearest."""
FEW_POINTS = 20
"""Up to this many, the points of a curve are marked."""


def scatter(predictions: pd.DataFrame, title: str) -> Figure:
    """Predicted against true quality, one point an image.

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
            s=18,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
            alpha=0.75,
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
    """Generated patches between their reference and the true distortion of the same quality (Fig. 1), a row a patch.

    `patches` holds reference, generated and distorted, uint8 `[k, px, px, 3]`; quality `[k]` in [0, 1]; and distortion,
    text `[k]`. Every pixel of a patch becomes a square of a whole number of pixels, when saved at the figure's own dpi.
    """
    names = zip(patches["distortion"], patches["quality"], strict=True)
    labels = [f"{textwrap.fill(str(name), 16)}\nquality {float(quality):.2f}" for name, quality in names]
    return _sheet({heading: patches[name] for name, heading in PATCHES.items()}, labels)


def by_quality(patches: Mapping[str, np.ndarray]) -> Figure:
    """The same patches, generated in several qualities between the worst and the best of training, a row a distortion.

    `patches` holds, besides what `figure1` draws, asked `[q]` and by_quality, uint8 `[k, q, px, px, 3]`.
    """
    columns = {f"asked {quality:.2f}": patches["by_quality"][:, i] for i, quality in enumerate(patches["asked"])}
    labels = [textwrap.fill(str(name), 16) for name in patches["distortion"]]
    return _sheet({"reference": patches["reference"], **columns}, labels)


def _sheet(columns: Mapping[str, np.ndarray], labels: Sequence[str]) -> Figure:
    """Patches, uint8 `[k, px, px, 3]` a column, pixel by pixel, with a heading over columns and a label beside rows."""
    rows, px = next(iter(columns.values())).shape[:2]
    zoom = max(1, round(CELL_PX / px))
    cell, gap, left, top = px * zoom, 8, 110, 28
    width, height = left + len(columns) * (cell + gap), top + rows * (cell + gap)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=SHADE)
    FigureCanvasAgg(figure)
    for column, (heading, pictures) in enumerate(columns.items()):
        x = left + column * (cell + gap)
        figure.text((x + cell / 2) / width, 1 - 14 / height, heading, ha="center", va="center", fontsize=9, color=INK)
        for row in range(rows):
            y = height - top - row * (cell + gap) - cell
            axes = figure.add_axes((x / width, y / height, cell / width, cell / height))
            axes.imshow(pictures[row], interpolation="nearest", aspect="auto")
            axes.set_axis_off()
    for row, label in enumerate(labels):
        middle = 1 - (top + row * (cell + gap) + cell / 2) / height
        figure.text(8 / width, middle, label, va="center", fontsize=9, color=INK)
    return figure


def worst_images(arrays: Mapping[str, np.ndarray]) -> Figure:
    """Images with the crops of their test, each in the colour of its own prediction, and maps where there are any.

    `arrays` is what `evaluation.worst.worst` keeps: of every distortion the image that was predicted worst.
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


def curves(frame: pd.DataFrame) -> Figure:
    """SROCC and every loss by training step, with the phases shaded in turn.

    `frame` has the columns phase, global_step, name ("srocc", "loss/l1", ...) and value. With a column split, each
    split is a thin line and the median over splits a thick one. Values that are not finite leave a gap.

    Raises:
        ValueError: when there is nothing to draw.
    """
    losses = sorted(name for name in frame["name"].unique() if name.startswith("loss/"))
    names = (["srocc"] if (frame["name"] == "srocc").any() else []) + losses
    if not names:
        raise ValueError("no curves to draw: neither srocc nor a loss is among the names of the curves")
    columns = min(3, max(1, len(losses)))
    rows = -(-len(losses) // columns)
    top = 1 if "srocc" in names else 0
    figure = blank(3.1 * columns if columns > 1 else 5.4, 2.7 * top + 1.9 * rows)
    grid = figure.add_gridspec(top + rows, columns, height_ratios=[1.5] * top + [1] * rows)
    cells = [grid[0, :]] * top + [grid[top + i // columns, i % columns] for i in range(len(losses))]
    for number, (name, cell) in enumerate(zip(names, cells, strict=True)):
        axes = figure.add_subplot(cell)
        _shade_phases(axes, frame, named=number == 0)
        _lines(axes, frame[frame["name"] == name], COLOURS[0 if name == "srocc" else 1])
        style(axes, "SROCC on the held-out images" if name == "srocc" else f"{name.removeprefix('loss/')} loss")
        axes.xaxis.set_major_locator(MaxNLocator(5 if name == "srocc" else 3, integer=True))
        axes.set_xlabel("step")
    return figure


def _lines(axes: Axes, frame: pd.DataFrame, colour: str) -> None:
    """One curve, or several splits and their median; a curve does not run from one phase into the next."""
    splits = frame["split"] if "split" in frame else pd.Series(0, index=frame.index)
    several = splits.nunique() > 1
    width, alpha = (0.7, 0.4) if several else (1.4, 1.0)
    for _, part in frame.groupby([splits, "phase"], sort=False):
        part = part.sort_values("global_step")
        marker = "o" if len(part) <= FEW_POINTS and not several else ""
        axes.plot(
            part["global_step"], part["value"], color=colour, linewidth=width, alpha=alpha, marker=marker, markersize=3
        )
    if several:
        for _, part in frame.groupby("phase", sort=False):
            median = part.groupby("global_step")["value"].median()
            axes.plot(median.index.to_numpy(), median.to_numpy(), color=colour, linewidth=1.8)


def _shade_phases(axes: Axes, frame: pd.DataFrame, named: bool) -> None:
    """Shade every other phase from the end of the one before to its own end, and name them all."""
    start = 0
    for number, (phase, end) in enumerate(frame.groupby("phase")["global_step"].max().sort_values().items()):
        axes.axvspan(start, end, color=SHADE if number % 2 == 0 else "white", zorder=0, linewidth=0)
        if named:
            place = axes.get_xaxis_transform()
            axes.text((start + end) / 2, 0.03, str(phase), transform=place, ha="center", fontsize=9, color="#666666")
        start = end
    axes.set_xlim(0, max(start, 1))


def blank(width: float, height: float) -> Figure:
    """An empty figure of some inches that can be saved and shown without pyplot."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style(axes: Axes, title: str) -> None:
    """The one style of axes: light, without a box, titled at the left."""
    axes.set_title(title, loc="left", fontsize=9, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=9, colors=INK, color=FAINT)
    axes.xaxis.label.set(fontsize=9, color=INK)
    axes.yaxis.label.set(fontsize=9, color=INK)
