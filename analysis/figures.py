"""Figures of a study, in the style of gada_ray.inference.pictures. All are matplotlib figures without global state."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.drawing import look, panels_of
from analysis.statistics import ALPHA, SMALLEST_EFFECT
from analysis.tables import ALL, OURS, number
from gada_ray.inference.pictures import COLOURS, FAINT, INK, SHADE, blank, style
from gada_ray.study.contrasts import MEASURES

MANY = 3000
"""Above so many points a scatter is drawn in pixels, so that a report stays small."""
MOST_UPRIGHT = 8
"""Variants whose names stand upright and broken under an axis; more of them are written aslant."""
PANEL_LETTERS = 38
"""Small letters that fit into the width of a panel."""


def effects(contrasts: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    """Differences between variants with their 95 % intervals; filled where Holm's p is under .05.

    They are of SROCC, but for contrasts by another measure, which is named.

    Contrasts stand first, and in another colour than the explored pairs; the band is what is not worth anything.
    """
    rows = pd.concat(
        [
            part[part["metric"] != "plcc"].assign(colour=colour)
            for part, colour in ((contrasts, COLOURS[1]), (pairs, COLOURS[0]))
            if len(part)
        ],
        ignore_index=True,
    )
    figure = blank(7.2, 1.0 + 0.3 * len(rows))
    axes = figure.add_subplot()
    axes.axvspan(-SMALLEST_EFFECT, SMALLEST_EFFECT, color=SHADE, zorder=0, linewidth=0)
    axes.axvline(0, color=FAINT, linewidth=1)
    for place, (_, row) in enumerate(rows.iterrows()):
        sure, colour = row["p_holm"] < ALPHA, row["colour"]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2 if sure else 1.2)
        face = colour if sure else "#ffffff"
        axes.plot(row["difference"], place, "o", markersize=6, color=colour, markerfacecolor=face)
    names = [
        f"{row['first']}  −  {row['second']}" + ("" if row["metric"] == "srocc" else f"\n{MEASURES[row['metric']]}")
        for _, row in rows.iterrows()
    ]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    style(axes, "")
    of = "mean test SROCC" if (rows["metric"] == "srocc").all() else "means"
    # Under the whole figure: long names of variants leave the axes less room than it takes.
    figure.supxlabel(f"difference of {of}, and its 95 % interval", fontsize=9, color=INK)
    return figure


def splits(frame: pd.DataFrame) -> Figure:
    """Every split as a dot, joined by split, and the mean of every variant as a bar."""
    variants = list(frame["variant"].drop_duplicates())
    many = len(variants) > MOST_UPRIGHT
    figure = blank(max(4.5, min(11.0, 1.2 + 1.2 * len(variants))), 5.5 if many else 4)
    axes = figure.add_subplot()
    scores = frame.pivot(index="split", columns="variant", values="srocc")[variants]
    for _, row in scores.iterrows():
        axes.plot(range(len(variants)), row.to_numpy(), color=FAINT, linewidth=0.8, zorder=1)
    for place, variant in enumerate(variants):
        values = scores[variant].dropna().to_numpy()
        colour, marker = look(place)
        axes.scatter([place] * len(values), values, color=colour, marker=marker, s=26, zorder=3)
        axes.hlines(values.mean(), place - 0.28, place + 0.28, color=colour, linewidth=3, zorder=2)
    if many:
        axes.set_xticks(range(len(variants)), variants, rotation=60, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(range(len(variants)), [textwrap.fill(variant, 14) for variant in variants])
    axes.set_xlim(-0.5, len(variants) - 0.5)
    style(axes, "")
    axes.set_ylabel("test SROCC")
    return figure


def learning(curve: pd.DataFrame, ends: Mapping[str, Mapping[str, int]]) -> Figure:
    """SROCC over optimiser steps, a panel a variant: every split thin, the median thick, the phases shaded in turn.

    `ends` gives the last step of every phase of a variant. The last point of a phase is measured on all test crops, those
    before on few.
    """
    variants = list(curve["variant"].drop_duplicates())
    figure, panels = panels_of(len(variants), 2.2)
    for place, (variant, axes) in enumerate(zip(variants, panels, strict=True)):
        part, colour = curve[curve["variant"] == variant], look(place)[0]
        start = 0
        for number_, (phase, end) in enumerate(ends.get(variant, {}).items()):
            if number_ % 2 == 0:
                axes.axvspan(start, end, color=SHADE, zorder=0, linewidth=0)
            room = int((end - start) / max(ends[variant].values()) * PANEL_LETTERS)
            words = phase if len(phase) <= room else phase[: room - 1] + "." if room > 2 else ""
            where = axes.get_xaxis_transform()
            axes.text((start + end) / 2, 0.03, words, transform=where, ha="center", fontsize=7, color=INK)
            start = end
        for _, of_split in part.groupby("split"):
            axes.plot(of_split["step"], of_split["value"], color=colour, linewidth=0.7, alpha=0.45)
        median = part.groupby("step")["value"].median()
        axes.plot(median.index.to_numpy(), median.to_numpy(), color=colour, linewidth=2)
        last = median[median.index.isin(list(ends.get(variant, {}).values()))]
        axes.plot(last.index.to_numpy(), last.to_numpy(), "o", color=colour, markersize=5)
        style(axes, variant)
        axes.set_xlim(0, max([start, int(part["step"].max())]))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.supxlabel("optimiser steps", fontsize=9, color=INK)
    figure.supylabel("SROCC on test references", fontsize=9, color=INK)
    return figure


def predictions(frame: pd.DataFrame) -> Figure:
    """Predicted against true quality of every test image of every split, a panel a variant, coloured by distortion."""
    variants = list(frame["variant"].drop_duplicates())
    figure, panels = panels_of(len(variants), 2.7)
    values = frame[["target", "prediction"]].to_numpy()
    low, high = min(0.0, np.percentile(values, 0.1)), max(1.0, np.percentile(values, 99.9))
    names = sorted(frame["distortion"].unique())
    for variant, axes in zip(variants, panels, strict=True):
        axes.plot([low, high], [low, high], color=FAINT, linewidth=1, zorder=1)
        part = frame[frame["variant"] == variant]
        for place, name in enumerate(names):
            of_class = part[part["distortion"] == name]
            colour, marker = look(place)
            axes.scatter(
                of_class["target"],
                of_class["prediction"],
                s=9,
                color=colour,
                marker=marker,
                alpha=0.6,
                linewidths=0,
                label=name,
                rasterized=len(frame) > MANY,
            )
        style(axes, variant)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel("true quality", fontsize=9, color=INK)
    figure.supylabel("predicted quality", fontsize=9, color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=6, fontsize=8, frameon=False, labelcolor=INK, markerscale=1.5
    )
    return figure


def heat_map(scores: pd.DataFrame) -> Figure:
    """Mean test SROCC of every variant by distortion, and on all images."""
    part = scores[(scores["source"] == OURS) & (scores["metric"] == "srocc")]
    names = [*(name for name in dict.fromkeys(part["distortion"]) if name != ALL), ALL]
    variants = list(part["variant"].drop_duplicates())
    table = part.pivot(index="variant", columns="distortion", values="mean").loc[variants, names]
    figure = blank(1.8 + 0.62 * max(5, len(names)), 0.9 + 0.34 * len(variants) + (1.2 if len(names) > 8 else 0))
    axes = figure.add_subplot()
    values = table.to_numpy(dtype=float)
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
            axes.text(column, row, number(value, 2), ha="center", va="center", fontsize=8, color=ink)
    axes.set_yticks(range(len(variants)), variants)
    axes.set_xticks(
        range(len(names)), names, rotation=60 if len(names) > 8 else 0, ha="right" if len(names) > 8 else "center"
    )
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(variants) - 0.5, -0.5))
    style(axes, "")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return figure


def device_hours(cost: pd.DataFrame) -> Figure:
    """Device-hours of every variant: its test, its search, and, in outline, what racing saved."""
    figure = blank(7.2, 1.2 + 0.34 * len(cost))
    axes = figure.add_subplot()
    left = np.zeros(len(cost))
    bars = {"test": (COLOURS[0], COLOURS[0]), "search": (COLOURS[4], COLOURS[4]), "saved": ("none", COLOURS[4])}
    labels = {"test": "training and test", "search": "search", "saved": "saved by racing"}
    for name, (face, edge) in bars.items():
        if cost[name].any():
            style_ = "--" if name == "saved" else "-"
            axes.barh(
                range(len(cost)),
                cost[name],
                0.6,
                left,
                color=face,
                edgecolor=edge,
                linestyle=style_,
                label=labels[name],
            )
            left = left + cost[name].to_numpy()
    axes.set_yticks(range(len(cost)), cost["variant"])
    axes.set_ylim(len(cost) - 0.4, -0.6)
    style(axes, "")
    axes.set_xlabel("device-hours")
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(fontsize=8, frameon=False, labelcolor=INK, loc="best")
    return figure
