"""The worst-predicted images of the best variant, with their crops."""

from __future__ import annotations

import pandas as pd

from analysis.load import Runs
from analysis.page import Drawing

CAPTION = (
    "Of every distortion the test image whose prediction is farthest from its target. Squares are the test crops, in "
    "the colour of each crop’s own prediction.{maps} From {variant}, the variant with the highest mean SROCC, split "
    "{split}."
)
MAPS = " Beside the image is the map by which crops were drawn."


def parts(runs: Runs, predicted: pd.DataFrame) -> list[Drawing]:
    """The picture of the variant with the highest mean SROCC, on its first split; empty for runs that have none."""
    means = runs.splits.groupby("variant", sort=False)["srocc"].mean()
    first = runs.splits[runs.splits["variant"] == means.idxmax()].sort_values("split").iloc[0]
    data = runs.picture(str(first["run_id"]), "worst_images.png")
    if data is None:
        return []
    uniform = runs.of_variants[str(first["variant"])].get("evaluation.sampling", "uniform") == "uniform"
    caption = CAPTION.format(maps="" if uniform else MAPS, variant=first["variant"], split=first["split"])
    own = predicted[(predicted["variant"] == first["variant"]) & (predicted["split"] == first["split"])]
    errors = (own["prediction"] - own["target"]).abs()
    rows = own.loc[errors.groupby(own["distortion"]).idxmax()]
    alt = "; ".join(f"{r.image}: predicted {r.prediction:.2f}, true {r.target:.2f}" for r in rows.itertuples())
    return [Drawing("worst_images", "Largest errors", caption, data, f"Largest errors by distortion: {alt}.")]
