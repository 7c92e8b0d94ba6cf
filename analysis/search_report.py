"""The part of a report about the search for hyperparameters."""

from __future__ import annotations

import pandas as pd

from analysis import search, search_figures, tables
from analysis.load import Runs
from analysis.page import Drawing, Section, Table

IMPORTANCE = (
    "PED-ANOVA: the importance for being among the best tenth; fANOVA: the share of the variance that is explained. "
    "Shares of a method add up to 1. A line spans the extremes over bootstrap samples of the splits. Ranges are those "
    "of the candidates."
)
SHOWN = 5
"""Candidates of a variant in the table on the page; the CSV file has all."""


def section(runs: Runs) -> Section:
    """The search of every variant that was searched, by validation scores alone."""
    table = search.candidates(runs.configurations, runs.configs)
    if table.empty:
        return Section("Search", [])
    parts: list[Table | Drawing] = [
        Drawing(
            "search",
            "Search history",
            "By validation references; only the chosen candidate was tested.",
            search_figures.history(table),
            _alt(table),
        )
    ]
    found, few = {}, []
    for variant, of_variant in table.groupby("variant", sort=False):
        frame = search.importances(of_variant, runs.search[runs.search["variant"] == variant])
        if len(frame):
            found[str(variant)] = frame
        else:
            few.append(f"{variant} has {len(of_variant)}")
    if any(search.searched(of_variant) for _, of_variant in table.groupby("variant")):
        caption = "One line for each candidate; brighter ones scored better, the bold one was best."
        drawn = search_figures.parallel(table)
        parts.append(Drawing("parallel", "Values of the candidates", caption, drawn, _alt(table)))
    text = ""
    if few:
        text = f"Importances need {search.MIN_CANDIDATES} candidates ({', '.join(few)}). "
    if found:
        frame = pd.concat([one.assign(variant=variant) for variant, one in found.items()], ignore_index=True)
        rows = [
            [
                f"{row['parameter']}\n{row['variant']}",
                row["method"],
                *(tables.number(row[name], 2) for name in ("mean", "low", "high")),
            ]
            for _, row in frame.iterrows()
        ]
        alt = "; ".join(f"{row[0]} {row[1]} {row[2]}".replace("\n", " ") for row in rows)
        drawn = search_figures.importance(found)
        title = "Importance of the searched values"
        parts.append(Drawing("importance", title, IMPORTANCE, drawn, f"Shares of importance: {alt}."))
        parts.append(Table("importance", "Importance", ["value", "method", "mean", "lowest", "highest"], rows, frame))
    best = table[table["complete"]].sort_values("srocc", ascending=False).groupby("variant", sort=False).head(SHOWN)
    names = [str(name) for name in best if name not in search.FIXED]
    rows = [
        [
            f"{row['variant']} #{row['number']}",
            tables.number(row["srocc"]),
            str(row["n"]),
            *(_value(row[name]) for name in names),
        ]
        for _, row in best.iterrows()
    ]
    title = f"The best {SHOWN} candidates of a variant, of {len(table)} in all"
    parts.append(Table("candidates", title, ["candidate", "validation SROCC", "splits", *names], rows, table))
    return Section("Search", parts, text + _saved(runs))


def _saved(runs: Runs) -> str:
    """How much racing saved, in a sentence."""
    total = tables.cost(runs.configurations).sum(numeric_only=True)
    if not total["pruned"]:
        return "No candidate was pruned by racing."
    share = total["saved"] / (total["saved"] + total["search"])
    return (
        f"Racing pruned {total['pruned']:.0f} of {total['candidates']:.0f} candidates and saved about "
        f"{tables.duration(total['saved'])} of device time, {share:.0%} of the whole search."
    )


def _alt(table: pd.DataFrame) -> str:
    """The search in words: candidates and best validation score of every variant."""
    parts = []
    for variant, part in table.groupby("variant", sort=False):
        best = tables.number(part.loc[part["complete"], "srocc"].max())
        parts.append(f"{variant}: {len(part)} candidates, {int(part['pruned'].sum())} pruned, best {best}")
    return f"Validation SROCC of the candidates. {'; '.join(parts)}."


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
