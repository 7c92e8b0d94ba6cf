"""Figures of a study, in the style of gada_ray.pictures."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = [matplotlib.colormaps["tab10"](i) for i in range(10)]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def effects(frame: pd.DataFrame, metric: str, title: str) -> Figure:
    """Every split as a dot, joined by split, and the mean of every level as a bar."""
    levels = list(frame["level"].drop_duplicates())
    figure = _figure(1.2 + 1.35 * len(levels), 4)
    axes = figure.add_subplot()
    scores = frame.pivot(index="split", columns="level", values=metric)[levels]
    for _, row in scores.iterrows():
        axes.plot(range(len(levels)), row.to_numpy(), color="0.75", linewidth=1, zorder=1)
    for place, level in enumerate(levels):
        values = scores[level].dropna().to_numpy()
        axes.scatter([place] * len(values), values, color=COLOURS[place % 10], s=28, zorder=3)
        axes.hlines(values.mean(), place - 0.25, place + 0.25, color=COLOURS[place % 10], linewidth=3, zorder=2)
    axes.set_xticks(range(len(levels)), [level.replace(", ", ",\n") for level in levels])
    axes.set_ylabel(f"test {metric.upper()}")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    return figure


def learning(curve: pd.DataFrame, title: str) -> Figure:
    """SROCC over optimiser steps: every split thin, the mean of a level thick."""
    figure = _figure(7.5, 4.2)
    axes = figure.add_subplot()
    for place, (level, of_level) in enumerate(curve.groupby("level", sort=False)):
        colour = COLOURS[place % 10]
        for _, of_split in of_level.groupby("split"):
            axes.plot(of_split["step"], of_split["value"], color=colour, linewidth=0.6, alpha=0.35)
        mean = of_level.groupby("step")["value"].mean()
        axes.plot(mean.index, mean.to_numpy(), color=colour, linewidth=2, label=str(level))
    axes.set_xlabel("optimiser steps (points within a phase: few crops; its last point: all crops)")
    axes.set_ylabel("SROCC on test references")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    return figure
