"""Pictures of quality by location, one file for every image that is scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from gada_ray.data.dataset import DataError, raw_score
from gada_ray.evaluation.quality_map import QualityMap, compute_quality_map
from gada_ray.inference.pictures import DPI, FAINT, INK, blank
from gada_ray.inference.scoring import Score, Scorer
from gada_ray.trials.store import DatasetRecord

SHOWN_PX = 640
"""Longer side of the shown image; larger images are shrunk to it."""
COLOURS = "RdYlBu"
"""From worst to best: red to blue, which colour-blind readers can tell apart."""
LEAST_RANGE = 0.1
"""Smallest range of quality that the colours span, so that small differences are not exaggerated."""
SHARE = 0.65
"""Opacity of the map's colours over the grey image."""


def write_map(scorer: Scorer, path: str | Path, score: Score, folder: Path) -> Path:
    """Write the map of an image below a folder, under the image's own path, and return the file.

    Raises:
        DataError: for an image that can no longer be read, or a folder that cannot be written.
    """
    image = scorer.image(path, path)
    places = compute_quality_map(scorer.quality_network, image, scorer.card.config, scorer.device)
    file = place_of(Path(path), folder)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(image, places, score, scorer.card.dataset).savefig(file, dpi=DPI)
    except OSError as error:
        raise DataError(f"--maps {folder} cannot be written ({error.strerror})") from None
    return file


def place_of(path: Path, folder: Path) -> Path:
    """The path of an image's map: for `a/b.jpg` it is `folder/a/b.jpg.png`, so that equal names do not collide.

    An absolute path, or one that goes up, becomes one below the folder.
    """
    parts = ["_" if part == ".." else part for part in path.parts if part != path.anchor]
    return folder.joinpath(*parts[:-1], f"{parts[-1]}.png")


def draw(image: np.ndarray, places: QualityMap, score: Score, scale: DatasetRecord) -> Figure:
    """Draw an image uint8 `[h, w, 3]` beside its map, with a colour bar on the model's own scale, the better end up.

    The colours span the range of the map, so that locations of one image can be told apart; the bar shows that range.
    """
    height, width = image.shape[:2]
    factor = min(1.0, SHOWN_PX / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    found = places.resized(size[1], size[0], factor)
    low, high = _range(found)
    side = 4.6 / max(size)
    figure = blank(2 * max(2.4, side * size[0]) + 1.3, max(2.4, side * size[1] + 0.5))
    left, right = figure.subplots(1, 2)
    left.imshow(small)
    right.imshow(small.convert("L"), cmap="gray", vmin=0, vmax=255)
    shown = right.imshow(found, cmap=COLOURS, vmin=low, vmax=high, alpha=SHARE)
    titles = (
        f"score {score.score:.3g}, quality {score.quality:.2f}",
        f"by location: quality {found.min():.2f} to {found.max():.2f}, crops of {places.crop_px} px",
    )
    for axes, title in zip((left, right), titles, strict=True):
        axes.set_axis_off()
        axes.set_title(title, loc="left", fontsize=9, color=INK)
    bar = figure.colorbar(ScalarMappable(shown.norm, COLOURS), ax=right, fraction=0.05, pad=0.02)
    ticks = np.linspace(low, high, 5).tolist()
    raw = [raw_score(tick, scale.score_range, scale.direction) for tick in ticks]
    bar.set_ticks(ticks, labels=[f"{value:.3g}" for value in raw])
    bar.ax.tick_params(labelsize=8, colors=INK, color=FAINT)
    bar.outline.set_visible(False)
    bar.set_label("score; better is up", fontsize=8, color=INK)
    return figure


def _range(found: np.ndarray) -> tuple[float, float]:
    """Ends of the colours of a map."""
    low, high = float(found.min()), float(found.max())
    missing = max(0.0, LEAST_RANGE - (high - low)) / 2
    return low - missing, high + missing
