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
"""Candidates of a variant in the table on the page; its CSV file has all."""


def section(runs: Runs) -> Section:
    """The search of every variant that was searched, by validation scores alone."""
    table = search.candidates(runs.configurations, runs.configs)
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
    for variant, of_variant in table.groupby("variant", sort=False):
        frame = search.importances(of_variant, runs.search[runs.search["variant"] == variant])
        if len(frame):
            found[str(variant)] = frame
        else:
            few.append(f"“{variant}” has {len(of_variant)}")
    if any(search.searched(of_variant) for _, of_variant in table.groupby("variant")):
        caption = "A line a candidate; brighter ones scored better, the bold one was best."
        parts.append(Drawing("parallel", "What was proposed", caption, search_figures.parallel(table)))
    text = ""
    if few:
        text = f"Importances: not enough data below {search.ENOUGH} candidates ({', '.join(few)}). "
    if found:
        parts.append(Drawing("importance", "Which values mattered", IMPORTANCE, search_figures.importance(found)))
        frame = pd.concat([one.assign(variant=variant) for variant, one in found.items()], ignore_index=True)
        rows = [
            [
                f"{row['parameter']}\n{row['variant']}",
                row["method"],
                *(tables.number(row[name], 2) for name in ("mean", "low", "high")),
            ]
            for _, row in frame.iterrows()
        ]
        parts.append(Table("importance", "Importance", ["value", "method", "mean", "lowest", "highest"], rows, frame))
    best = table[table["complete"]].sort_values("srocc", ascending=False).groupby("variant", sort=False).head(SHOWN)
    names = [str(name) for name in best if name not in search.FIXED]
    rows = [
        [
            f"{row['variant']} #{row['number']}",
            str(row["n"]),
            tables.number(row["srocc"]),
            *(_value(row[name]) for name in names),
        ]
        for _, row in best.iterrows()
    ]
    title = f"The best {SHOWN} candidates of a variant, of {len(table)} in all"
    parts.append(Table("candidates", title, ["candidate", "splits", "validation SROCC", *names], rows, table))
    return Section("Search", parts, text + _saved(runs))


def _saved(runs: Runs) -> str:
    """What racing saved, in a sentence."""
    total = tables.cost(runs.configurations).sum(numeric_only=True)
    if not total["pruned"]:
        return "No candidate was pruned by racing."
    share = total["saved"] / (total["saved"] + total["search"])
    return (
        f"Racing gave up {total['pruned']:.0f} of {total['candidates']:.0f} candidates, and saved about "
        f"{total['saved']:.2f} device-hours, {share:.0%} of what the search would have used."
    )


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
