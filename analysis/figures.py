"""Figures of a study, in the style of gada_ray.inference.pictures. All are matplotlib figures without global state."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.drawing import TITLE, WIDTH, look, panels_of, rows_of
from analysis.statistics import ALPHA, SMALLEST_EFFECT
from analysis.tables import ALL, OURS, number
from gada_ray.inference.pictures import COLOURS, FAINT, INK, SHADE, blank, style
from gada_ray.study.contrasts import MEASURES

MAX_VECTOR = 3000
"""Above so many points a scatter is drawn in pixels, so that a report stays small."""
MAX_UPRIGHT = 6
"""Letters of a column's name in a heat map; longer names are slanted."""


def forest(rows: pd.DataFrame) -> Figure:
    """Differences between variants with their 95% confidence intervals; filled where the adjusted p is below 0.05.

    `rows` are comparisons of `analysis.statistics`. They are of SROCC, except for contrasts by another measure, which
    is named. The shaded band holds differences below the smallest relevant one.
    """
    names = [
        f"{row['first']} − {row['second']}" + ("" if row["metric"] == "srocc" else f", {MEASURES[row['metric']]}")
        for _, row in rows.iterrows()
    ]
    figure, axes = rows_of(names)
    axes.axvspan(-SMALLEST_EFFECT, SMALLEST_EFFECT, color=SHADE, zorder=0, linewidth=0)
    axes.axvline(0, color=FAINT, linewidth=1, zorder=1)
    colour = COLOURS[0]
    for place, (_, row) in enumerate(rows.iterrows()):
        sure = row["p_holm"] < ALPHA
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.4 if sure else 1.6)
        axes.plot(row["difference"], place, "o", markersize=7, color=colour, mfc=colour if sure else "#ffffff")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    style(axes, "")
    axes.spines["left"].set_visible(False)
    of = "mean test SROCC" if (rows["metric"] == "srocc").all() else "means"
    axes.set_xlabel(f"Δ {of}, 95% CI")
    return figure


def splits(frame: pd.DataFrame, baselines: Mapping[str, pd.Series[float]]) -> Figure:
    """Every split as a dot, joined by split, and the mean of every variant as a bar; then those of the baselines."""
    variants = list(frame["variant"].drop_duplicates())
    scores = frame.pivot(index="split", columns="variant", values="srocc")[variants]
    columns = {**{str(name): scores[name] for name in variants}, **baselines}
    table = pd.DataFrame(columns)
    figure, axes = rows_of([f"{name}: {number(values.mean())}" for name, values in table.items()])
    for _, row in table[variants].iterrows():
        axes.plot(row.to_numpy(), range(len(variants)), color=FAINT, linewidth=0.8, zorder=1)
    for place, (name, column) in enumerate(table.items()):
        values = column.dropna().to_numpy()
        colour, marker = (COLOURS[0], "o") if name in variants else (FAINT, "D")
        axes.scatter(values, [place] * len(values), color=colour, marker=marker, s=24, zorder=3)
        axes.vlines(values.mean(), place - 0.14, place + 0.14, color=colour, linewidth=3.5, zorder=2)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    style(axes, "")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("test SROCC")
    return figure


def learning(curve: pd.DataFrame, ends: Mapping[str, Mapping[str, int]]) -> Figure:
    """SROCC over optimiser steps, one panel for each variant: every split thin, the median thick.

    `ends` gives the last step of every phase of a variant. Phases are shaded in turn and numbered; `phase_key` names
    them.
    """
    variants = list(curve["variant"].drop_duplicates())
    figure, panels = panels_of(len(variants), 2.1)
    for place, (variant, axes) in enumerate(zip(variants, panels, strict=True)):
        part, colour = curve[curve["variant"] == variant], look(place)[0]
        _shade_phases(axes, ends.get(variant, {}))
        for _, of_split in part.groupby("split"):
            axes.plot(of_split["step"], of_split["value"], color=colour, linewidth=0.6)
        median = part.groupby("step")["value"].median()
        axes.plot(median.index.to_numpy(), median.to_numpy(), color=colour, linewidth=2.4)
        last = median[median.index.isin(list(ends.get(variant, {}).values()))]
        axes.plot(last.index.to_numpy(), last.to_numpy(), "o", color=colour, markersize=5)
        style(axes, textwrap.fill(variant, TITLE))
        axes.set_xlim(0, max([*ends.get(variant, {}).values(), int(part["step"].max())]))
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True, prune="upper"))
    figure.supxlabel("optimiser steps", fontsize=9, color=INK)
    figure.supylabel("SROCC on test references", fontsize=9, color=INK)
    return figure


def _shade_phases(axes: Axes, ends: Mapping[str, int]) -> None:
    """Every other phase shaded, and each numbered at its foot."""
    start = 0
    for number_, end in enumerate(ends.values(), 1):
        if number_ % 2:
            axes.axvspan(start, end, color=SHADE, zorder=0, linewidth=0)
        where = axes.get_xaxis_transform()
        axes.text((start + end) / 2, 0.02, f"{number_}", transform=where, ha="center", fontsize=9, color=INK)
        start = end


def phase_key(ends: Mapping[str, Mapping[str, int]]) -> str:
    """The names of the phases by their numbers in `learning`, by variant."""
    lists: dict[tuple[str, ...], list[str]] = {}
    for variant, of_variant in ends.items():
        lists.setdefault(tuple(of_variant), []).append(variant)
    texts = [", ".join(f"{number_} {name}" for number_, name in enumerate(names, 1)) for names in lists]
    if len(lists) == 1:
        return texts[0]
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in zip(texts, lists.values(), strict=True))


def predictions(frame: pd.DataFrame) -> tuple[Figure, dict[str, Sequence[str]]]:
    """Predicted against true quality of every test image of every split, and the text of every point by its group.

    One panel for each variant; colours are distortions. Predictions outside the panel are drawn at its border.
    """
    variants = list(frame["variant"].drop_duplicates())
    figure, panels = panels_of(len(variants), 2.4)
    values = frame[["target", "prediction"]].to_numpy()
    low, high = min(0.0, np.percentile(values, 0.1)), max(1.0, np.percentile(values, 99.9))
    names = sorted(frame["distortion"].unique())
    hover: dict[str, Sequence[str]] = {}
    for panel, (variant, axes) in enumerate(zip(variants, panels, strict=True)):
        axes.plot([low, high], [low, high], color=FAINT, linewidth=1, zorder=1)
        part = frame[frame["variant"] == variant]
        for place, name in enumerate(names):
            of_class = part[part["distortion"] == name]
            colour, marker = look(place)
            points = axes.scatter(
                of_class["target"].clip(low, high),
                of_class["prediction"].clip(low, high),
                s=9,
                color=colour,
                marker=marker,
                linewidths=0,
                label=name,
                rasterized=len(frame) > MAX_VECTOR,
            )
            points.set_gid(f"points-{panel}-{place}")
            if len(frame) <= MAX_VECTOR:
                hover[f"points-{panel}-{place}"] = [
                    f"{row.image}, split {row.split}: predicted {row.prediction:.3f}, true {row.target:.3f}"
                    for row in of_class.itertuples()
                ]
        style(axes, textwrap.fill(variant, TITLE))
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.xaxis.set_major_locator(MaxNLocator(3, prune="upper"))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel("true quality", fontsize=9, color=INK)
    figure.supylabel("predicted quality", fontsize=9, color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    longest = max(map(len, labels))
    columns = max(1, min(len(labels), int(WIDTH * 96 / (40 + 7 * longest))))
    figure.legend(
        handles, labels, loc="outside upper center", ncols=columns, fontsize=9, frameon=False, labelcolor=INK,
        markerscale=1.5, columnspacing=1, handletextpad=0.2,
    )  # fmt: skip
    return figure, hover


def heat_map(scores: pd.DataFrame) -> Figure:
    """Mean test SROCC of every variant by distortion, and on all images; the longer list in rows."""
    part = scores[(scores["source"] == OURS) & (scores["metric"] == "srocc")]
    names = [ALL, *(name for name in dict.fromkeys(part["distortion"]) if name != ALL)]
    variants = list(part["variant"].drop_duplicates())
    table = part.pivot(index="variant", columns="distortion", values="mean").loc[variants, names]
    if len(names) > len(variants):
        table = table.T
    values = table.to_numpy(dtype=float)
    columns = list(map(str, table.columns))
    slanted = max(map(len, columns)) > MAX_UPRIGHT
    rows = [textwrap.fill(str(row).replace("_", " "), 22) for row in table.index]
    lines = max(row.count("\n") + 1 for row in rows)
    heads = 0.2 + (0.065 * min(26, max(map(len, columns))) if slanted else 0.0)
    figure = blank(max(WIDTH, 2.0 + 0.5 * len(columns)), 0.2 + heads + (0.16 + 0.16 * lines) * len(rows))
    axes = figure.add_subplot()
    low = float(np.nanmin(values))
    span = max(1e-6, float(np.nanmax(values)) - low)
    colours = matplotlib.colormaps["cividis"]
    for row, column in np.ndindex(*values.shape):
        value = float(values[row, column])
        if value == value:
            shade = (value - low) / span
            axes.fill_between([column - 0.5, column + 0.5], row - 0.5, row + 0.5, color=colours(shade), linewidth=0)
            # Not the theme's ink: it has to stand out from the cell, in either theme.
            ink = "#fefefe" if shade < 0.55 else "#010101"
            axes.text(column, row, number(value, 2), ha="center", va="center", fontsize=9, color=ink)
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), [textwrap.shorten(name, 26, placeholder="…") for name in columns])
    if slanted:
        for tick in axes.get_xticklabels():
            tick.set(rotation=60, ha="left", rotation_mode="anchor")
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    style(axes, "")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return figure


def device_hours(cost: pd.DataFrame) -> Figure:
    """Device time of every variant: its test, its search, and, in outline, what racing saved."""
    figure, axes = rows_of(list(map(str, cost["variant"])))
    left = np.zeros(len(cost))
    total = float(cost[["test", "search", "saved"]].sum(axis=1).max())
    unit, factor = ("hours", 1.0) if total >= 1.5 else ("minutes", 60.0) if total >= 0.025 else ("seconds", 3600.0)
    bars = {"test": (COLOURS[0], COLOURS[0]), "search": (COLOURS[1], COLOURS[1]), "saved": ("none", COLOURS[1])}
    labels = {"test": "training and test", "search": "search", "saved": "saved by racing"}
    for name, (face, edge) in bars.items():
        if cost[name].any():
            line = "--" if name == "saved" else "-"
            times = factor * cost[name]
            edges = [edge if time else "none" for time in times]
            axes.barh(
                range(len(cost)), times, 0.3, left, color=face, edgecolor=edges, linestyle=line, label=labels[name]
            )
            left = left + times.to_numpy()
    style(axes, "")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"device time, {unit}")
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(
            handles, names, loc="outside upper center", ncols=len(names), fontsize=9, frameon=False, labelcolor=INK
        )
    return figure
