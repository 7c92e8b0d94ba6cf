"""Differences between variants: the pre-specified contrasts, the classical baseline, and all pairs, exploratory."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis import figures, tables
from analysis.page import Drawing, Section, Table
from analysis.statistics import ALPHA, SMALLEST_EFFECT
from analysis.verdict import INCONCLUSIVE, SAME, conclusion
from gada_ray.study.contrasts import MEASURES

METRICS = {"srocc": "SROCC", "plcc": "PLCC"}
COLUMNS = ["Δ", "95% CI", "p (adjusted)", "p", "splits won", "min. detectable"]

PAIRED = (
    "Differences are paired by split. Random splits share references, so that an ordinary paired t test finds "
    "differences where there are none; intervals and p values are those of the corrected t test of Nadeau and Bengio "
    "(2003), and p is adjusted for the number of {family} by Holm’s method. Splits won: splits on which the first is "
    "higher. Min. detectable: the smallest true difference that a test at {level} finds with a power of 80%."
)
CONTRASTS = (
    "The comparisons that the study specified before it ran; its verdict is about them. "
    + PAIRED.format(family="contrasts of the study", level="0.05 over the number of contrasts")
    + f" Splits required: for a difference of {SMALLEST_EFFECT:.2f}; “not attainable” where splits of the same "
    "references, which overlap, keep too large an error however many there are."
)


def contrasts(found: pd.DataFrame) -> Section:
    """The pre-specified contrasts, `tables.contrasts`, as a forest plot and tables."""
    parts: list[Table | Drawing] = []
    own = tables.decisive(found)
    if len(own):
        caption = (
            f"Δ of means with its 95% CI. Filled: p < {ALPHA} (adjusted). Shaded: differences below "
            f"{SMALLEST_EFFECT:.2f}."
        )
        drawn = figures.forest(own)
        parts.append(Drawing("contrasts", "Pre-specified contrasts", caption, drawn, alt=_alt(own)))
    for metric, family in {"srocc": own, "plcc": found.drop(index=own.index)}.items():
        if family.empty:
            continue
        of_images = family["metric"].isin(METRICS).all()
        by = dict.fromkeys(METRICS, "") if of_images else {name: f", by {words}" for name, words in MEASURES.items()}
        rows = [
            [
                f"{row['first']} − {row['second']}{by[row['metric']]}\n{row['question']}",
                conclusion(row),
                *_cells(row),
                _required(row["splits_required"]),
            ]
            for _, row in family.iterrows()
        ]
        columns = ["contrast", "conclusion", *COLUMNS, f"splits required for {SMALLEST_EFFECT:.2f}"]
        marks = ["" if conclusion(row) in (INCONCLUSIVE, SAME) else "sure" for _, row in family.iterrows()]
        name, title = f"contrasts-{metric}", f"Contrasts by {METRICS[metric]}"
        if not of_images:
            name, title = "contrasts", "Contrasts, each by its measure"
        parts.append(Table(name, title, columns, rows, family, marks=marks))
    return Section("Contrasts", parts, CONTRASTS)


def classical(brisque: pd.DataFrame) -> Section:
    """Every variant minus BRISQUE on the same splits, `tables.against_brisque`."""
    rows = [[f"{row['first']} − BRISQUE", *_cells(row)] for _, row in brisque.iterrows()]
    marks = ["sure" if p < ALPHA else "" for p in brisque["p_holm"]] if len(brisque) else []
    table = Table("brisque", "SROCC compared with BRISQUE", ["variant", *COLUMNS], rows, brisque, marks=marks)
    text = "Exploratory. " + PAIRED.format(family="variants", level="0.05 over the number of variants")
    return Section("Classical baseline", [table] * bool(rows), text)


def pairs(found: pd.DataFrame, every: pd.DataFrame) -> Section:
    """The pairs of variants that are no contrasts, with Holm over all pairs; folded where the study has contrasts."""
    parts: list[Table | Drawing] = []
    other = tables.exploratory(every, found)
    for metric, name in METRICS.items() if len(other) else ():
        family = other[other["metric"] == metric]
        rows = [[f"{row['first']} − {row['second']}", *_cells(row)] for _, row in family.iterrows()]
        marks = ["sure" if p < ALPHA else "" for p in family["p_holm"]]
        parts.append(
            Table(f"pairs-{metric}", f"Pairs of variants by {name}", ["pair", *COLUMNS], rows, family, marks=marks)
        )
    text = "Exploratory: these comparisons were not specified beforehand. " if len(found) else ""
    text += PAIRED.format(family="all pairs", level="0.05")
    return Section("All pairs", parts, text, folded=True)


def _alt(family: pd.DataFrame) -> str:
    """A forest plot in words."""
    rows = [
        f"{row['first']} − {row['second']}: {tables.signed(row['difference'])} "
        f"{tables.between(row['low'], row['high'])}".strip()
        for _, row in family.iterrows()
    ]
    return f"Differences with 95% confidence intervals. {'; '.join(rows)}."


def _cells(row: pd.Series[Any]) -> list[str]:
    """Cells of a comparison, under `COLUMNS`."""
    return [
        tables.signed(row["difference"]),
        tables.between(row["low"], row["high"]) or "–",
        tables.p_value(row["p_holm"]) or "–",
        tables.p_value(row["p"]) or "–",
        f"{row['won'] * row['n']:.0f} of {row['n']}",
        tables.number(row["detectable"]) or "–",
    ]


def _required(splits: float) -> str:
    return "–" if splits != splits else "not attainable" if math.isinf(splits) else f"{splits:.0f}"
