"""Numbers of the paper, shown beside a study's own and marked as quoted. No run of this project made them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import pandas as pd

from gada_ray.data import procedural

DATASETS = {"LIVE release 2": "LIVE", "TID2013": "TID2013"}
"""The databases of the paper, by the names that runs give them. Subsets and regenerated copies are others."""
LIVE = ("jp2k", "jpeg", "wn", "gblur", "ff", "ALL")
COLUMNS = ["source", "variant", "metric", "distortion", "value"]

# Table 1: LIVE, crops of 64 px, "a shallower regression network"; PLCC, then SROCC.
TABLE_1: dict[str, tuple[tuple[float | None, ...], tuple[float | None, ...]]] = {
    "baseline": ((0.950, 0.964, 0.973, 0.938, 0.933, 0.943), (0.938, 0.931, 0.977, 0.939, 0.898, 0.935)),
    "phase 1": ((0.944, 0.952, 0.967, 0.920, 0.912, 0.933), (0.933, 0.930, 0.980, 0.926, 0.889, 0.930)),
    "phases 1+2": ((0.958, 0.958, 0.974, 0.939, 0.924, 0.942), (0.941, 0.933, 0.988, 0.945, 0.891, 0.939)),
    "phases 1+2+3": ((0.959, 0.973, 0.993, 0.953, 0.935, 0.962), (0.955, 0.941, 0.990, 0.953, 0.912, 0.955)),
}
# Table 2: LIVE, crops of 128 px; PLCC, then SROCC. Rows of other methods are the paper's quotations of their authors.
TABLE_2: dict[str, tuple[tuple[float | None, ...], tuple[float | None, ...]]] = {
    "DIVINE": ((0.922, 0.921, 0.988, 0.923, 0.888, 0.917), (0.913, 0.91, 0.984, 0.921, 0.863, 0.916)),
    "BLIINDS-II": ((0.935, 0.968, 0.980, 0.938, 0.896, 0.930), (0.929, 0.942, 0.969, 0.923, 0.889, 0.931)),
    "BRISQUE": ((0.923, 0.973, 0.985, 0.951, 0.903, 0.942), (0.914, 0.965, 0.979, 0.951, 0.887, 0.940)),
    "CORNIA": ((0.951, 0.965, 0.987, 0.968, 0.917, 0.935), (0.943, 0.955, 0.976, 0.969, 0.906, 0.942)),
    "CNN": ((0.953, 0.981, 0.984, 0.953, 0.933, 0.953), (0.952, 0.977, 0.978, 0.962, 0.908, 0.956)),
    "SOM": ((0.952, 0.961, 0.991, 0.974, 0.954, 0.962), (0.947, 0.952, 0.984, 0.976, 0.937, 0.964)),
    "BIECON": ((0.965, 0.987, 0.970, 0.945, 0.931, 0.962), (0.952, 0.974, 0.980, 0.956, 0.923, 0.961)),
    "PQR": ((None, None, None, None, None, 0.971), (None, None, None, None, None, 0.965)),
    "DNN": ((None, None, None, None, None, 0.972), (None, None, None, None, None, 0.960)),
    "RankIQA+FT": ((0.975, 0.986, 0.994, 0.988, 0.960, 0.982), (0.970, 0.978, 0.991, 0.988, 0.954, 0.981)),
    "HallIQA": ((0.977, 0.984, 0.993, 0.990, 0.960, 0.982), (0.983, 0.961, 0.984, 0.983, 0.989, 0.982)),
    "NSSADNN": ((None, None, None, None, None, 0.984), (None, None, None, None, None, 0.986)),
    "GADA": ((0.977, 0.978, 0.994, 0.968, 0.943, 0.973), (0.963, 0.948, 0.991, 0.958, 0.917, 0.964)),
}
# Table 3: TID2013, SROCC of types 1 to 24. GADA's values from 14 on and of all images are not legible in our copy.
TABLE_3: dict[str, tuple[float, ...]] = {
    "BLIINDS-II": (
        *(0.714, 0.728, 0.825, 0.358, 0.852, 0.664, 0.780, 0.852, 0.754, 0.808, 0.862, 0.251, 0.755),
        *(0.081, 0.371, 0.159, -0.082, 0.109, 0.699, 0.222, 0.451, 0.815, 0.568, 0.856),
    ),
    "BRISQUE": (
        *(0.630, 0.424, 0.727, 0.321, 0.775, 0.669, 0.592, 0.845, 0.553, 0.742, 0.799, 0.301, 0.672),
        *(0.175, 0.184, 0.155, 0.125, 0.032, 0.560, 0.282, 0.680, 0.804, 0.715, 0.800),
    ),
    "CORNIA": (
        *(0.341, -0.196, 0.689, 0.184, 0.607, -0.014, 0.673, 0.896, 0.787, 0.875, 0.911, 0.310, 0.625),
        *(0.161, 0.096, 0.008, 0.423, -0.055, 0.259, 0.606, 0.555, 0.592, 0.759, 0.903),
    ),
    "HOSA": (
        *(0.853, 0.625, 0.782, 0.368, 0.905, 0.775, 0.810, 0.892, 0.870, 0.893, 0.932, 0.747, 0.701),
        *(0.199, 0.327, 0.233, 0.294, 0.119, 0.782, 0.532, 0.835, 0.855, 0.801, 0.905),
    ),
    "RankIQA+FT": (
        *(0.667, 0.620, 0.821, 0.365, 0.760, 0.736, 0.783, 0.809, 0.767, 0.866, 0.878, 0.704, 0.810),
        *(0.512, 0.622, 0.268, 0.613, 0.662, 0.619, 0.644, 0.800, 0.779, 0.629, 0.859),
    ),
    "HallIQA": (
        *(0.923, 0.880, 0.945, 0.673, 0.955, 0.810, 0.855, 0.832, 0.957, 0.914, 0.624, 0.460, 0.782),
        *(0.664, 0.122, 0.182, 0.376, 0.156, 0.850, 0.614, 0.852, 0.911, 0.381, 0.616),
    ),
    "GADA": (0.932, 0.897, 0.943, 0.825, 0.949, 0.920, 0.919, 0.790, 0.881, 0.775, 0.886, 0.435, 0.702),
}
TABLE_3_ALL = {
    "BLIINDS-II": 0.550,
    "BRISQUE": 0.562,
    "CORNIA": 0.651,
    "HOSA": 0.728,
    "RankIQA+FT": 0.780,
    "NSSADNN": 0.844,
    "HallIQA": 0.879,
}
"""On all images of TID2013. Our copy is damaged here: but for BRISQUE and NSSADNN, digits stand in two cells."""
WITH_OTHERS = ("paper_live", "paper_tid2013", "peers")
"""Studies whose reports quote the rows of other methods; the rest quote GADA's."""


def numbers(study: str, dataset: str, distortions: Collection[str]) -> pd.DataFrame:
    """The paper's numbers for a database of the paper: source, variant, metric, distortion, value; else empty.

    Of LIVE Table 1 for the study of phases and Table 2 for others; of TID2013 Table 3; with other methods' rows in the
    reports of the studies that repeat the paper's protocol. Only classes that the data have, and ALL.
    """
    rows: list[tuple[str, str, str, str, float]] = []
    chosen = None if study in WITH_OTHERS else ("GADA",)
    database = DATASETS.get(dataset)
    if database == "LIVE":
        source, table = ("Table 1, LIVE", TABLE_1) if study == "phases" else ("Table 2, LIVE", TABLE_2)
        for variant, both in table.items():
            if study != "phases" and chosen and variant not in chosen:
                continue
            for metric, values in zip(("plcc", "srocc"), both, strict=True):
                pairs = zip(LIVE, values, strict=True)
                known = {*distortions, "ALL"}
                rows += [(source, variant, metric, name, v) for name, v in pairs if name in known and v is not None]
    elif database == "TID2013":
        by_type = {int(name[:2]): name for name in distortions if name[:2].isdigit()}
        for variant in chosen or dict.fromkeys((*TABLE_3, *TABLE_3_ALL)):
            types = enumerate(TABLE_3.get(variant, ()), 1)
            rows += [("Table 3, TID2013", variant, "srocc", by_type[n], v) for n, v in types if n in by_type]
            if variant in TABLE_3_ALL:
                rows.append(("Table 3, TID2013", variant, "srocc", "ALL", TABLE_3_ALL[variant]))
    return pd.DataFrame(rows, columns=COLUMNS)


def database(dataset: str) -> str:
    """The database of the paper that a dataset is, or is a part or a copy of, by how its name begins; else empty."""
    name = dataset.lower()
    return "LIVE" if name.startswith("live") else "TID2013" if name.startswith("tid") else ""


def types(dataset: str, distortions: Collection[str]) -> dict[str, str]:
    """The paper's types of a dataset's classes, where they have one: Table 2's name, or Table 3's number as `07`."""
    type_of = {"LIVE": _live_type, "TID2013": _tid2013_type}.get(database(dataset))
    pairs = {distortion: type_of(distortion) for distortion in distortions} if type_of else {}
    return {distortion: kind for distortion, kind in pairs.items() if kind}


def _live_type(distortion: str) -> str:
    """LIVE's class of this name, or with the same procedural distortion."""
    if distortion in LIVE[:-1]:
        return distortion
    procedure = procedural.find(distortion)
    return next((name for name in LIVE[:-1] if procedure is not None and procedural.find(name) == procedure), "")


def _tid2013_type(distortion: str) -> str:
    """The number with which a class of TID2013 begins."""
    number = re.fullmatch(r"(\d{1,2})(_.*)?", distortion)
    return f"{int(number[1]):02d}" if number and 1 <= int(number[1]) <= len(TABLE_3["HallIQA"]) else ""


def by_type(dataset: str, kinds: Mapping[str, str]) -> pd.DataFrame:
    """All rows of Table 2 or 3 under a dataset's classes, whose types are `kinds` (`types`), in the form of `numbers`.

    GADA's rows are the last.
    """
    rows: list[tuple[str, str, str, str, float | None]] = []
    if database(dataset) == "LIVE":
        for variant, both in TABLE_2.items():
            for metric, values in zip(("plcc", "srocc"), both, strict=True):
                known = dict(zip(LIVE, values, strict=True))
                rows += [("Table 2, LIVE", variant, metric, name, known[kind]) for name, kind in kinds.items()]
    elif database(dataset) == "TID2013":
        for variant, scores in TABLE_3.items():
            numbered = {f"{number:02d}": score for number, score in enumerate(scores, 1)}
            rows += [("Table 3, TID2013", variant, "srocc", name, numbered.get(kind)) for name, kind in kinds.items()]
    return pd.DataFrame([row for row in rows if row[-1] is not None], columns=COLUMNS)
