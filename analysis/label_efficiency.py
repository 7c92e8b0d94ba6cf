"""SROCC of variants against the number of labelled images, one line for each method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import equivalent_labels, tables
from analysis.drawing import WIDTH, look
from analysis.load import Runs
from analysis.page import Drawing, Section, Table
from analysis.statistics import paired, repeated
from gada_ray.inference.pictures import FAINT, INK, blank, style
from gada_ray.study.summary import interval

FIELD, TITLE = "data.labelled_images", "Label efficiency"
SHIFT = 1.06
"""Factor between methods on the axis of images, so that their intervals do not overlap."""
LEGEND_CHARS = 60
"""Characters that two columns of the legend have room for."""
TEXT = (
    "Upper panel: mean test SROCC over splits against the number of labelled images of the training part, with its 95% "
    "CI, which includes how much the difficulty of splits varies. Lower panel: the difference from {against} with as "
    "many labelled images, paired by split, and its 95% CI, which does not include it. Both allow for splits that "
    "overlap, and neither is adjusted for the number of comparisons: the verdict is about the contrasts. In the table "
    "of scores, BRISQUE uses the labels of all images of the training part."
)
EQUIVALENT = (
    "The number of labelled images at which {against} has the mean SROCC of the variant; between the numbers that were "
    "trained, every split is interpolated on the logarithm of the number. The 95% CI holds all numbers at which the "
    "paired, corrected test finds no difference."
)


def section(runs: Runs, predictions: pd.DataFrame) -> Section:
    """The figure and its table; empty where all variants have the same number of labelled images.

    Variants of fewer steps than others are left out: others start from them.
    """
    steps = {variant: training_steps(config) for variant, config in runs.of_variants.items()}
    whole_length = {variant: runs.of_variants[variant] for variant in steps if steps[variant] == max(steps.values())}
    numbers = {variant: config.get(FIELD) for variant, config in whole_length.items()}
    if len(set(numbers.values())) < 2:
        return Section(TITLE, [])
    against = next((one.second for one in runs.contrasts if one.second in numbers), next(iter(numbers)))
    everything, methods = _all(runs.splits, predictions), {variant: method(variant) for variant in numbers}
    frame = by_method(runs.splits, numbers, everything, method(against))
    columns = sorted(frame["labelled"].unique())
    whole = max(columns) if None in numbers.values() else None
    rows = cells(frame, columns)
    heads = [_name(number, whole) for number in columns]
    title = f"SROCC by number of labelled images, and the difference from {method(against)}"
    return Section(
        TITLE,
        [
            Drawing(
                "labelled",
                title,
                "One line for each method.",
                draw(frame, whole),
                f"{title}. {in_words(frame, 'images')}",
            ),
            Table("labelled", title, ["labelled images", *heads], rows, frame),
            *_equivalents(
                equivalent_labels.table(runs.splits, numbers, methods, everything, method(against)),
                method(against),
                frame[frame["method"] == method(against)]["labelled"],
            ),
        ],
        TEXT.format(against=method(against)),
    )


def _equivalents(frame: pd.DataFrame, against: str, tried: pd.Series[float]) -> list[Table]:
    """The table of the numbers of labels that other methods are worth; none without two numbers to compare with."""
    if frame.empty:
        return []
    rows = [
        [str(row["method"]), f"{row['labelled']:.0f}", equivalent_labels.text(row, tried.min(), tried.max())]
        for _, row in frame.iterrows()
    ]
    title = f"Labelled images with which {against} is as good"
    columns = ["method", "labelled images", f"as good as {against} with [95% CI]"]
    return [Table("equivalent", title, columns, rows, frame, EQUIVALENT.format(against=against))]


def method(variant: str) -> str:
    """The method of a variant: its name up to the last comma."""
    return variant.rpartition(", ")[0] or variant


def by_method(splits: pd.DataFrame, numbers: Mapping[str, int | None], everything: float, against: str) -> pd.DataFrame:
    """One row for each variant: method, labelled, n, mean, low, high, difference, difference_low and difference_high.

    Differences are from the method `against` with as many labelled images. `numbers` are the numbers of labelled images
    by variant; None stands for `everything`.
    """
    ratio = float((splits["references_held_out"] / splits["references_train"]).mean())
    scores = splits.pivot(index="split", columns="variant", values="srocc")
    other = {numbers[variant]: variant for variant in numbers if method(variant) == against}
    rows = []
    for variant, number in numbers.items():
        known = scores[variant].dropna()
        values, parts = known.to_numpy(), repeated(splits, known.index)
        row: dict[str, Any] = {"method": method(variant), "labelled": everything if number is None else float(number)}
        row |= {"n": len(values), "mean": values.mean()}
        row["low"], row["high"] = interval(values, ratio, parts) if len(values) > 1 else (np.nan, np.nan)
        both = scores[[variant, other[number]]].dropna() if number in other and other[number] != variant else scores[:0]
        if len(both) > 1:
            found = paired(both[variant], both[other[number]], ratio, held_out=repeated(splits, both.index))
            row |= {"difference": found.difference, "difference_low": found.low, "difference_high": found.high}
        rows.append(row)
    names = ["difference", "difference_low", "difference_high"]
    return pd.DataFrame(rows).reindex(columns=["method", "labelled", "n", "mean", "low", "high", *names])


def draw(frame: pd.DataFrame, whole: float | None, label_x: str = "labelled images") -> Figure:
    """The rows of `by_method` in two panels; `whole` is the number of all images."""
    figure = blank(WIDTH, 6.6)
    left, right = figure.subplots(2, 1, sharex=True)
    right.axhline(0, color=FAINT, linewidth=1)
    methods = list(dict.fromkeys(frame["method"]))
    ticks = sorted(frame["labelled"].unique())
    for place, name in enumerate(methods):
        part, (colour, marker) = frame[frame["method"] == name].sort_values("labelled"), look(place)
        x = part["labelled"] * SHIFT ** (place - (len(methods) - 1) / 2)
        panels = ((left, "mean", "low", "high"), (right, "difference", "difference_low", "difference_high"))
        for axes, middle, low, high in panels:
            if part[middle].notna().any():
                ends = np.abs(part[[low, high]].to_numpy(dtype=float).T - part[middle].to_numpy(dtype=float))
                style_ = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.6, "elinewidth": 1}
                axes.errorbar(x, part[middle], np.nan_to_num(ends), label=name, capsize=2, **style_)
    for axes, label in ((left, "test SROCC"), (right, "Δ SROCC")):
        axes.set_xscale("log")
        style(axes, "")
        axes.set_xticks(ticks, [_name(tick, whole) for tick in ticks])
        axes.minorticks_off()
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(label_x)
        axes.set_ylabel(label)
    handles, names = left.get_legend_handles_labels()
    columns = 2 if 2 * max(map(len, names)) <= LEGEND_CHARS else 1
    figure.legend(handles, names, loc="outside upper center", ncols=columns, fontsize=9, frameon=False, labelcolor=INK)
    return figure


def cells(frame: pd.DataFrame, columns: list[float]) -> list[list[str]]:
    """The rows of `by_method` as the text of a table with a row for each method."""
    rows = []
    for name, part in frame.groupby("method", sort=False):
        found = part.set_index("labelled").reindex(columns)
        rows.append([str(name), *(_cell(row) for _, row in found.iterrows())])
    return rows


def training_steps(config: Mapping[str, Any]) -> int:
    """Optimiser steps of all phases of a configuration."""
    return sum(value for path, value in config.items() if path.endswith(".steps"))


def _all(splits: pd.DataFrame, predictions: pd.DataFrame) -> float:
    """The number of images of a whole training part, as a mean over splits."""
    tested = predictions.groupby(["variant", "split"]).size()
    return float(splits["images"].astype(int).iloc[0] - tested.mean())


def in_words(frame: pd.DataFrame, unit: str) -> str:
    """The figure in words."""
    points = zip(frame["method"], frame["labelled"], frame["mean"], strict=True)
    rows = [f"{name}, {labelled:.0f} {unit}: {tables.number(mean)}" for name, labelled, mean in points]
    return f"{'; '.join(rows)}."


def _name(number: float, whole: float | None) -> str:
    return f"all, {number:.0f}" if number == whole else f"{number:.0f}"


def _cell(row: pd.Series[Any]) -> str:
    """Mean, and below it the difference with its interval."""
    if row["difference"] != row["difference"]:
        return tables.number(row["mean"])
    ci = tables.between(row["difference_low"], row["difference_high"])
    return f"{tables.number(row['mean'])}\n{tables.signed(row['difference'])} {ci}".rstrip()
