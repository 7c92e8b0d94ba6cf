"""Figures of a search: its history, its candidates, and the importance of the searched values."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.drawing import TITLE, panels_of
from analysis.search import is_logarithmic, searched
from gada_ray.inference.pictures import COLOURS, FAINT, INK, blank, style

LEGEND_COLUMN_IN = 1.45
"""Width of a column of a legend, in inches, on average."""


def history(table: pd.DataFrame) -> Figure:
    """Validation SROCC of every candidate in order, and the best complete one so far, one panel for each variant."""
    variants = list(table["variant"].drop_duplicates())
    figure, panels = panels_of(len(variants), 2.6)
    for variant, axes in zip(variants, panels, strict=True):
        part = table[table["variant"] == variant]
        whole = part[part["complete"]]
        axes.step(
            whole["number"], whole["srocc"].cummax(), where="post", color=FAINT, linewidth=1.2, label="best so far"
        )
        axes.plot(whole["number"], whole["srocc"], "o", color=COLOURS[0], markersize=5, label="on every split")
        rest = part[~part["complete"]]
        if len(rest):
            label = "pruned, on its first splits"
            axes.plot(rest["number"], rest["srocc"], "o", color=COLOURS[1], mfc="#ffffff", markersize=5, label=label)
        if len(whole):
            best = whole.loc[whole["srocc"].idxmax()]
            axes.plot(best["number"], best["srocc"], "*", color=COLOURS[4], markersize=12, label="chosen")
        style(axes, textwrap.fill(variant, TITLE))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.supxlabel("candidate", fontsize=9, color=INK)
    figure.supylabel("validation SROCC", fontsize=9, color=INK)
    _legend(figure, panels[0], 4)
    return figure


def _legend(figure: Figure, panel: Axes, columns: int) -> None:
    """The legend of one panel above all of them, in fewer columns where the figure is narrow."""
    handles = panel.get_legend_handles_labels()
    fitting = min(columns, int(figure.get_figwidth() / LEGEND_COLUMN_IN))
    figure.legend(*handles, loc="outside upper center", ncols=fitting, fontsize=9, frameon=False, labelcolor=INK)


def parallel(table: pd.DataFrame) -> Figure:
    """Every candidate as a line through its values and its validation SROCC; brighter is better, the best is bold."""
    variants = list(table["variant"].drop_duplicates())
    figure = blank(
        max(5.5, 1.5 * (1 + max(len(searched(part)) for _, part in table.groupby("variant")))), 2.9 * len(variants)
    )
    grid = figure.subplots(len(variants), 1, squeeze=False)
    for variant, axes in zip(variants, grid.flat, strict=True):
        part = table[(table["variant"] == variant) & table["srocc"].notna()].sort_values("srocc")
        names = [*searched(part), "srocc"]
        columns = [_scale(part[name]) for name in names]
        heights = np.column_stack([column for column, _ in columns])
        ranks = np.linspace(0, 1, len(part))
        for rank, line in zip(ranks, heights, strict=True):
            axes.plot(
                range(len(names)), line, color=matplotlib.colormaps["viridis"](0.95 * rank), linewidth=1, alpha=0.8
            )
        if len(part):
            axes.plot(range(len(names)), heights[-1], "o-", color=COLOURS[1], linewidth=2.4, markersize=5)
        for place, (_, marks) in enumerate(columns):
            axes.axvline(place, color=FAINT, linewidth=1, zorder=0)
            for height, words in marks:
                side = 1 if place < len(names) - 1 else -1
                axes.annotate(
                    words, (place, height), (4 * side, 0), textcoords="offset points", fontsize=9, color=INK,
                    ha="left" if side > 0 else "right", va="center",
                )  # fmt: skip
        style(axes, variant)
        axes.set_xticks(range(len(names)), [textwrap.fill(_short(name), 16) for name in names])
        axes.set_yticks([])
        axes.set(xlim=(-0.1, len(names) - 0.9), ylim=(-0.06, 1.06))
        axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def importance(tables_: Mapping[str, pd.DataFrame]) -> Figure:
    """Shares of importance by variant, by two methods, and their extremes over draws of the splits."""
    figure, panels = panels_of(
        len(tables_), 0.9 + 0.34 * max(frame["parameter"].nunique() for frame in tables_.values())
    )
    for (variant, frame), axes in zip(tables_.items(), panels, strict=True):
        names = list(frame.groupby("parameter")["mean"].mean().sort_values().index)
        for place, (method, part) in enumerate(frame.groupby("method", sort=False)):
            rows = part.set_index("parameter").loc[names]
            heights = np.arange(len(names)) + (0.17 if place == 0 else -0.17)
            axes.barh(heights, rows["mean"], 0.3, color=COLOURS[place], alpha=0.75, label=str(method))
            axes.hlines(heights, rows["low"], rows["high"], color=INK, linewidth=1)
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_xlim(0, 1)
        style(axes, textwrap.fill(variant, TITLE))
    figure.supxlabel("share of importance", fontsize=9, color=INK)
    _legend(figure, panels[0], 2)
    return figure


def _scale(values: pd.Series[Any]) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Heights in [0, 1] of values, and the values at the ends, or those of each category, by height."""
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        names = sorted(map(str, values.unique()))
        steps = max(1, len(names) - 1)
        heights = values.astype(str).map({name: place / steps for place, name in enumerate(names)})
        return heights.to_numpy(dtype=float), [(place / steps, name) for place, name in enumerate(names)]
    numbers = values.to_numpy(dtype=float)
    marks = [(0.0, f"{numbers.min():.3g}"), (1.0, f"{numbers.max():.3g}")] if len(numbers) else []
    scaled = np.log(numbers) if is_logarithmic(values) else numbers
    span = float(np.ptp(scaled)) if len(scaled) else 0.0
    return (scaled - scaled.min()) / span if span else np.full(len(scaled), 0.5), marks


def _short(path: str) -> str:
    return re.sub(r"^(data|model|phases|rates|losses)\.", "", path)
