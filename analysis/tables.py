"""Tables of a study: scores in the paper's layout with the baselines under them, the generator, and cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis import statistics
from gada_ray.study.contrasts import Contrast
from gada_ray.study.summary import interval

METRICS = ("srocc", "plcc")
ALL = "ALL"
OURS, BASELINE, PAPER = "this study", "baseline", "the paper"
BRISQUE = "classical baseline (BRISQUE)"
BASELINES = {"image_blind": "image-blind baseline", "brisque": BRISQUE}
"""Baselines by how their columns begin."""
SAME_BASELINE = 1e-9
MAX_DIGITS = 6


def scores(splits: pd.DataFrame) -> pd.DataFrame:
    """SROCC and PLCC of every variant over splits, on all images and by distortion, and then those of the baselines.

    `splits` has the columns variant, split, references_train, references_held_out, srocc, plcc, by distortion
    srocc/jpeg and so on, image_blind_srocc and image_blind_plcc where they were recorded, and brisque_srocc,
    brisque_plcc, brisque_srocc/jpeg and so on where they are known. Columns: source, variant, metric, distortion (ALL
    for all images; never a mean over distortions), n, mean, sd, median, and low and high, the 95% confidence interval
    that allows for overlapping splits.
    """
    rows = []
    ratio = float((splits["references_held_out"] / splits["references_train"]).mean())
    for variant, runs in splits.groupby("variant", sort=False):
        for metric in METRICS:
            for name in _measures(runs, metric):
                where = (OURS, str(variant), metric, name.partition("/")[2] or ALL)
                rows += _row(where, runs.set_index("split")[name], ratio, splits)
    for metric in METRICS:
        for measure in _measures(splits, metric, "brisque_"):
            for name, values in baselines(splits, measure).items():
                rows += _row((BASELINE, name, metric, measure.partition("/")[2] or ALL), values, ratio, splits)
    return pd.DataFrame(rows)


def _measures(frame: pd.DataFrame, metric: str, prefix: str = "") -> list[str]:
    """A metric, and then its names by distortion, of those columns that begin with a prefix; without the prefix."""
    names = (column.removeprefix(prefix) for column in map(str, frame) if column.startswith(f"{prefix}{metric}/"))
    return [metric, *sorted(names)]


def baselines(splits: pd.DataFrame, metric: str) -> dict[str, pd.Series[float]]:
    """The scores of every baseline by split, by its name; `metric` may be one of a distortion, such as srocc/jpeg.

    The image-blind baseline predicts a constant where there is one distortion class; it is left out there.
    """
    found = {}
    for prefix, name in BASELINES.items():
        column = f"{prefix}_{metric}"
        if column in splits and (prefix == "brisque" or (splits[column].fillna(0) != 0).any()):
            for variant, values in _distinct(splits, column).items():
                found[f"{name} (images as in {variant})" if variant else name] = values
    return found


def _distinct(splits: pd.DataFrame, column: str) -> dict[str, pd.Series[float]]:
    """A baseline by split, under the empty name; where variants have others, each once, under the first such variant.

    They have where they know other scores: with fewer labelled images, or with copies of references among the images.
    """
    found: dict[str, pd.Series[float]] = {}
    variants = splits["variant"].drop_duplicates()
    for variant, values in splits.pivot(index="split", columns="variant", values=column)[variants].items():
        if not any((values - other).abs().max() < SAME_BASELINE for other in found.values()):
            found[str(variant)] = values.dropna()
    whole = splits.groupby("split")[column].first()
    return found if len(found) > 1 else {"": whole}


def by_split(splits: pd.DataFrame, metric: str = "srocc") -> pd.DataFrame:
    """One row for each variant or baseline, one column for each split, so that others can be paired with them."""
    variants = splits["variant"].drop_duplicates()
    own = splits.pivot(index="variant", columns="split", values=metric).loc[variants]
    frame = pd.concat([own, pd.DataFrame(baselines(splits, metric)).T.reindex(columns=own.columns)])
    return frame.rename_axis(index="variant", columns=None).rename(columns=lambda split: f"split {split}").reset_index()


def against_brisque(splits: pd.DataFrame, metric: str = "srocc") -> pd.DataFrame:
    """Every variant minus BRISQUE, paired by split, with Holm over the variants; empty where BRISQUE is not known."""
    if f"brisque_{metric}" not in splits:
        return pd.DataFrame()
    known = splits.dropna(subset=[f"brisque_{metric}"]).drop(columns=["signature", "device"], errors="ignore")
    one = known.drop_duplicates("split").assign(variant=BRISQUE)
    frame = pd.concat([known, one.assign(**{metric: one[f"brisque_{metric}"]})], ignore_index=True)
    named = [Contrast(str(variant), BRISQUE, "", metric) for variant in known["variant"].drop_duplicates()]
    return statistics.contrasts(frame, named)


def crop_draws(splits: pd.DataFrame, crops: Mapping[str, int]) -> pd.DataFrame:
    """How much predictions depend on the draw of the test crops: columns variant, crops, spread, crops_needed.

    `splits` has crop_spread, the standard error of a prediction by that draw, where it was recorded; `crops` says how
    many crops of an image a variant takes. `crops_needed` is how many would have the first variant's spread.
    """
    if "crop_spread" not in splits:
        return pd.DataFrame(columns=["variant", "crops", "spread", "crops_needed"])
    spread = splits.groupby("variant", sort=False)["crop_spread"].agg(lambda each: float(np.sqrt((each**2).mean())))
    frame = pd.DataFrame(
        {"variant": spread.index, "crops": [crops[variant] for variant in spread.index], "spread": spread}
    )
    frame = frame.reset_index(drop=True)
    first = frame["spread"].iloc[0]
    return frame.assign(crops_needed=frame["crops"] * (frame["spread"] / first) ** 2 if first > 0 else np.nan)


def with_baselines(splits: pd.DataFrame, brisque: pd.DataFrame | None) -> pd.DataFrame:
    """Splits with the scores of BRISQUE, which `brisque` has in the columns split, srocc, plcc, srocc/jpeg and so on.

    What was computed before scores by distortion were kept has those of all images alone.
    """
    if brisque is None:
        return splits
    renamed = {name: f"brisque_{name}" for metric in METRICS for name in _measures(brisque, metric)}
    return splits.merge(brisque[["split", *renamed]].rename(columns=renamed), on="split", how="left")


def _row(
    where: tuple[str, str, str, str], column: pd.Series[float], ratio: float, splits: pd.DataFrame
) -> list[dict[str, object]]:
    """The row of one measure, given by split."""
    column = column.dropna()
    values, parts = column.to_numpy(dtype=np.float64), statistics.repeated(splits, column.index)
    if not len(values):
        return []
    many = len(values) > 1
    low, high = interval(values, ratio, parts) if many else (np.nan, np.nan)
    row: dict[str, object] = dict(zip(("source", "variant", "metric", "distortion"), where, strict=True))
    sd = float(values.std(ddof=1)) if many else np.nan
    middle = {"mean": float(values.mean()), "sd": sd, "median": float(np.median(values))}
    return [row | {"n": len(values)} | middle | {"low": low, "high": high}]


def with_paper(own: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Scores of a study and its baselines, and then the paper's numbers, distinguished by `source`."""
    quoted = paper.rename(columns={"value": "mean"}).assign(source=PAPER + ", " + paper["source"])
    return pd.concat([part for part in (own, quoted) if len(part)], ignore_index=True)


def layout(table: pd.DataFrame, metric: str) -> tuple[list[str], list[tuple[str, str, list[tuple[str, str]]]]]:
    """One metric by distortion: the columns, all images first, and source, variant and cells of every row.

    A cell is a mean and a median over splits, as text. The paper does not say which of the two its numbers are; they
    stand as means.
    """
    part = table[table["metric"] == metric]
    names = [name for name in dict.fromkeys(part["distortion"]) if name != ALL]
    rows = []
    for (source, variant), group in part.groupby(["source", "variant"], sort=False):
        by_name = group.set_index("distortion").reindex([ALL, *names])
        (first, *others) = [(number(row["mean"]), number(row["median"])) for _, row in by_name.iterrows()]
        n, sd, low, high = by_name.loc[[ALL], ["n", "sd", "low", "high"]].to_numpy(dtype=float)[0]
        more = [(between(low, high), ""), (number(sd), ""), ("" if n != n else f"{n:.0f}", "")]
        rows.append((str(source), str(variant), [first, *more, *others]))
    return [ALL, "95% CI", "sd", "splits", *names], rows


def pairs(splits: pd.DataFrame) -> pd.DataFrame:
    """`statistics.comparisons` of SROCC and then of PLCC, each with Holm over its own family."""
    parts = [statistics.comparisons(splits, metric) for metric in METRICS]
    found = [part for part in parts if len(part)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def contrasts(splits: pd.DataFrame, named: Sequence[Contrast]) -> pd.DataFrame:
    """`statistics.contrasts` by their own measures, and then those of SROCC by PLCC, each with Holm over its family."""
    by_plcc = [replace(one, measure="plcc") for one in named if one.measure == "srocc"]
    found = [part for part in (statistics.contrasts(splits, one) for one in (named, by_plcc)) if len(part)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def decisive(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Of `contrasts`, those that a study's verdict is about."""
    return contrasts[contrasts["metric"] != "plcc"] if len(contrasts) else contrasts


def exploratory(pairs: pd.DataFrame, contrasts: pd.DataFrame) -> pd.DataFrame:
    """The pairs of variants that are not among `contrasts`."""
    if contrasts.empty:
        return pairs
    columns = ["first", "second", "metric"]
    named = {(frozenset(pair), metric) for *pair, metric in contrasts[columns].itertuples(index=False)}
    other = [(frozenset(pair), metric) not in named for *pair, metric in pairs[columns].itertuples(index=False)]
    return pairs[other].reset_index(drop=True)


GENERATOR = (
    "class_accuracy",
    "real_class_accuracy",
    "quality_srocc",
    "real_quality_srocc",
    "distance_l1",
    "distance_mdsi",
    "change_sd",
    "mdsi_srocc",
    "noise_sd",
)
"""What is measured of a generator (`gada_ray.evaluation.generated.measure`), in the order of a report."""


def generator(splits: pd.DataFrame) -> pd.DataFrame:
    """The generator's measures of every variant, means over splits.

    Columns: variant, distortion (`ALL`, then each), n, and those of `GENERATOR` that were measured. A variant whose
    last phase does not train the generator has its numbers from the phase that did.
    """
    pattern = re.compile(r"(?:(?:after|until)_\w+/)?generator_(" + "|".join(GENERATOR) + r")(?:/(.+))?$")
    columns: dict[tuple[str, str], list[str]] = {}
    for column in map(str, splits):
        if match := pattern.match(column):
            columns.setdefault((match[2] or ALL, match[1]), []).append(column)
    parts = []
    for distortion in sorted({distortion for distortion, _ in columns}, key=lambda name: (name != ALL, name)):
        own = {name: columns[distortion, name] for name in GENERATOR if (distortion, name) in columns}
        frame = pd.DataFrame({name: splits[found].bfill(axis=1).iloc[:, 0] for name, found in own.items()})
        frame = splits[["variant"]].join(frame).dropna(subset=list(own), how="all")
        groups = frame.groupby("variant", sort=False)
        table = groups.mean()
        table.insert(0, "n", groups.size())
        table.insert(0, "distortion", distortion)
        parts.append(table.reset_index())
    if not parts:
        return pd.DataFrame()
    order = {variant: place for place, variant in enumerate(dict.fromkeys(splits["variant"]))}
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values("variant", key=lambda variants: variants.map(order), kind="stable").reset_index(drop=True)


def cost(configurations: pd.DataFrame) -> pd.DataFrame:
    """Device-hours of every variant: variant, test, search, saved (by racing), candidates and pruned.

    A pruned candidate has fewer splits than others of its variant; what it saved is estimated from its own mean cost of
    a split.
    """
    table = configurations.assign(search=configurations["stage"] == "search", saved=0.0, pruned=False)
    table["full"] = table.groupby("variant")["planned"].transform("max")
    table["pruned"] = table["search"] & (table["status"] == "FINISHED") & (table["planned"] < table["full"])
    missing = (table["full"] - table["n"]) / table["n"].where(table["n"] > 0)
    table["saved"] = (missing * table["device_hours"]).where(table["pruned"], 0.0).fillna(0.0)
    groups = table.groupby("variant", sort=False)
    hours = table["device_hours"]
    return pd.DataFrame(
        {
            "test": hours.where(~table["search"], 0.0).groupby(table["variant"], sort=False).sum(),
            "search": hours.where(table["search"], 0.0).groupby(table["variant"], sort=False).sum(),
            "saved": groups["saved"].sum(),
            "candidates": groups["search"].sum(),
            "pruned": groups["pruned"].sum(),
        }
    ).reset_index()


def states(configurations: pd.DataFrame) -> pd.DataFrame:
    """The tested configurations in which splits have no score: variant, n, planned, diverged, missing."""
    tested = configurations[configurations["stage"] == "test"]
    tested = tested.assign(missing=tested["planned"] - tested["n"] - tested["diverged"])
    return tested.loc[tested["n"] < tested["planned"], ["variant", "n", "planned", "diverged", "missing"]]


def number(value: float, digits: int = 3) -> str:
    """A number for people; nothing for a missing one. What would round to a signed zero gets more digits."""
    if value != value:
        return ""
    if abs(value) >= 0.5 * 10.0**-MAX_DIGITS:
        while round(value, digits) == 0:
            digits += 1
    return f"{value if round(value, digits) else 0.0:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """A difference for people, with its sign unless it is zero."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def between(low: float, high: float) -> str:
    """An interval for people; nothing where there is none."""
    return "" if low != low else f"[{number(low)}, {number(high)}]"


def p_value(value: float) -> str:
    """A p value for people, without the p."""
    if value != value:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def duration(hours: float) -> str:
    """A duration for people, in seconds, minutes or hours."""
    if hours * 3600 < 90:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.1f} min" if hours < 1.5 else f"{hours:.1f} h"


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
