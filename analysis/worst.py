"""Where the test looked: the worst-predicted images of the variant that did best, with their crops."""

from __future__ import annotations

from analysis.load import Runs
from analysis.page import Drawing, Section

TEXT = (
    "Of every distortion the test image whose prediction is farthest from its target. Squares are the crops, in the "
    "colour of what was predicted of each alone; beside the image, where crops were drawn by a map, that map."
)


def section(runs: Runs) -> Section:
    """The pictures of the variant with the highest mean SROCC, on its first split; empty for runs that have none."""
    means = runs.splits.groupby("variant", sort=False)["srocc"].mean()
    first = runs.splits[runs.splits["variant"] == means.idxmax()].sort_values("split").iloc[0]
    data = runs.picture(str(first["run_id"]), "looked.png")
    caption = f"From “{first['variant']}”, the variant with the highest mean SROCC, split {first['split']}."
    parts = [] if data is None else [Drawing("looked", "The worst predictions", caption, data)]
    return Section("Where the test looked", parts, TEXT)
