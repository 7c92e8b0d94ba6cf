"""Numbers of the paper, to be shown beside a study's own and marked as such. No run of this project made them."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

TID2013 = "01_gaussian_noise"
"""A class by which TID2013 is known; KADID-10k numbers its own classes too."""
LIVE = ("jp2k", "jpeg", "wn", "gblur", "ff", "ALL")
COLUMNS = ["source", "level", "metric", "distortion", "value"]

# Table 1: LIVE, crops of 64 px, "a shallower regression network"; LCC, then SROCC.
TABLE_1 = {
    "baseline": ((0.950, 0.964, 0.973, 0.938, 0.933, 0.943), (0.938, 0.931, 0.977, 0.939, 0.898, 0.935)),
    "phase 1": ((0.944, 0.952, 0.967, 0.920, 0.912, 0.933), (0.933, 0.930, 0.980, 0.926, 0.889, 0.930)),
    "phases 1+2": ((0.958, 0.958, 0.974, 0.939, 0.924, 0.942), (0.941, 0.933, 0.988, 0.945, 0.891, 0.939)),
    "phases 1+2+3": ((0.959, 0.973, 0.993, 0.953, 0.935, 0.962), (0.955, 0.941, 0.990, 0.953, 0.912, 0.955)),
}
# Table 2: LIVE, crops of 128 px; LCC, then SROCC.
TABLE_2 = {"GADA": ((0.977, 0.978, 0.994, 0.968, 0.943, 0.973), (0.963, 0.948, 0.991, 0.958, 0.917, 0.964))}
# Table 3: TID2013, SROCC of types 1 to 13; those of 14 to 24 and of all images are not legible in our copy.
TABLE_3 = (0.932, 0.897, 0.943, 0.825, 0.949, 0.920, 0.919, 0.790, 0.881, 0.775, 0.886, 0.435, 0.702)


def numbers(study: str, distortions: Collection[str]) -> pd.DataFrame:
    """The paper's numbers for data with some classes of distortion: source, level, metric, distortion, value.

    Table 1 for the study of phases and Table 2 for others, where a class of LIVE's is among them; Table 3 for those of
    TID2013. Only classes that the data have, and ALL. Empty for other data.
    """
    rows: list[tuple[str, str, str, str, float]] = []
    if set(distortions) & set(LIVE):
        source, table = ("Table 1, LIVE", TABLE_1) if study == "phases" else ("Table 2, LIVE", TABLE_2)
        for level, both in table.items():
            for metric, values in zip(("lcc", "srocc"), both, strict=True):
                pairs = zip(LIVE, values, strict=True)
                rows += [(source, level, metric, name, v) for name, v in pairs if name in {*distortions, "ALL"}]
    elif TID2013 in distortions:
        by_type = {name[:2]: name for name in distortions}
        for number, value in enumerate(TABLE_3, 1):
            if f"{number:02d}" in by_type:
                rows.append(("Table 3, TID2013", "GADA", "srocc", by_type[f"{number:02d}"], value))
    return pd.DataFrame(rows, columns=COLUMNS)
