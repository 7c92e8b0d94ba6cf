"""The part of a report about the search."""

from __future__ import annotations

import pandas as pd

from analysis import search, search_figures, tables
from analysis.load import Runs
from analysis.page import Drawing, Section, Table

IMPORTANCE = (
    "PED-ANOVA: what matters for being among the best tenth; fANOVA: what explains the variance. Shares of a method "
    "add up to 1. A line spans the extremes when splits are drawn anew, with replacement; ranges are those proposed."
)
SHOWN = 5
"""Proposals of a level in the table on the page; its CSV file has all."""


def section(runs: Runs) -> Section:
    """The search of every level that was searched, by validation scores alone."""
    table = search.proposals(runs.configurations, runs.configs)
    if table.empty:
        return Section("Search", [])
    parts: list[Table | Drawing] = [
        Drawing(
            "search",
            "Search history",
            "By validation references; the test saw only the chosen one.",
            search_figures.history(table),
        )
    ]
    found, few = {}, []
    for level, of_level in table.groupby("level", sort=False):
        frame = search.importances(of_level, runs.search[runs.search["level"] == level])
        if len(frame):
            found[str(level)] = frame
        else:
            few.append(f"“{level}” has {len(of_level)}")
    if any(search.searched(of_level) for _, of_level in table.groupby("level")):
        caption = "A line a proposal; brighter ones scored better, the bold one was best."
        parts.append(Drawing("parallel", "What was proposed", caption, search_figures.parallel(table)))
    text = ""
    if few:
        text = f"Importances: not enough data below {search.ENOUGH} proposals ({', '.join(few)}). "
    if found:
        parts.append(Drawing("importance", "Which values mattered", IMPORTANCE, search_figures.importance(found)))
        frame = pd.concat([one.assign(level=level) for level, one in found.items()], ignore_index=True)
        rows = [
            [
                f"{row['parameter']}\n{row['level']}",
                row["method"],
                *(tables.number(row[name], 2) for name in ("mean", "low", "high")),
            ]
            for _, row in frame.iterrows()
        ]
        parts.append(Table("importance", "Importance", ["value", "method", "mean", "lowest", "highest"], rows, frame))
    best = table[table["complete"]].sort_values("srocc", ascending=False).groupby("level", sort=False).head(SHOWN)
    names = [str(name) for name in best if name not in search.FIXED]
    rows = [
        [
            f"{row['level']} #{row['number']}",
            str(row["n"]),
            tables.number(row["srocc"]),
            *(_value(row[name]) for name in names),
        ]
        for _, row in best.iterrows()
    ]
    title = f"The best {SHOWN} proposals of a level, of {len(table)} in all"
    parts.append(Table("proposals", title, ["proposal", "splits", "validation SROCC", *names], rows, table))
    return Section("Search", parts, text + _saved(runs))


def _saved(runs: Runs) -> str:
    """What racing saved, in a sentence."""
    total = tables.cost(runs.configurations).sum(numeric_only=True)
    if not total["given_up"]:
        return "No proposal was given up by racing."
    share = total["saved"] / (total["saved"] + total["search"])
    return (
        f"Racing gave up {total['given_up']:.0f} of {total['proposals']:.0f} proposals, and saved about "
        f"{total['saved']:.2f} device-hours, {share:.0%} of what the search would have used."
    )


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
