"""What a report shows of the differences between variants: the study's contrasts, and then all that was only explored."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis import figures, tables
from analysis.page import Drawing, Section, Table
from analysis.statistics import ALPHA
from analysis.verdict import kind
from gada_ray.study.contrasts import MEASURES

MOST_DRAWN = 45
"""Explored pairs, beside contrasts, above which the figure shows the contrasts alone."""
METRICS = {"srocc": "SROCC", "plcc": "PLCC"}
ANSWERS = {"yes": "yes", "reverse": "no, the other way round", "no": "no, not by .01", "open": "cannot be told"}
COLUMNS = ["difference", "95 % interval", "p", "p, Holm", "won", "visible"]

PAIRED = (
    "Paired by split. Random splits share references, so that an ordinary paired t finds differences where there are "
    "none; intervals and p values are those of the corrected t of Nadeau and Bengio, and Holm’s p allows for the "
    "number of {family}. Won is the share of splits on which the first variant is higher. Visible is the smallest true "
    "difference that this study would have found at {variant} with a power of 80 %."
)
CONTRASTS = (
    "What the study named as the answers to its question; they are its verdict, PLCC stands beside. "
    + PAIRED.format(family="contrasts alone", variant=".05 over the number of contrasts")
    + " The last column says how many splits would have been needed to see .01: none where splits of the same "
    "references, which overlap the more the more there are, keep too large an error. “No, not by .01”: the interval "
    "excludes that the first variant is better by .01 or more, and does so after Holm."
)


def contrasts(found: pd.DataFrame) -> Section:
    """The contrasts of a study, `tables.contrasts`."""
    parts = []
    own = tables.asked(found)
    families = {"srocc": own, "plcc": found.drop(index=own.index)}
    for metric, family in families.items():
        if family.empty:
            continue
        of_images = family["metric"].isin(METRICS).all()
        by = dict.fromkeys(METRICS, "") if of_images else {name: f", by {words}" for name, words in MEASURES.items()}
        rows = [
            [
                f"{row['question']}\n{row['first']} − {row['second']}{by[row['metric']]}",
                ANSWERS[kind(row)],
                *_cells(row),
                "none" if math.isinf(row["splits_for_worth"]) else f"{row['splits_for_worth']:.0f}",
            ]
            for _, row in family.iterrows()
        ]
        columns = ["question", "answer", *COLUMNS, "splits for .01"]
        marks = ["" if kind(row) == "open" else "sure" for _, row in family.iterrows()]
        name, title = f"contrasts-{metric}", f"Contrasts by {METRICS[metric]}"
        if not of_images:
            name, title = "contrasts", "Contrasts, each by its measure"
        parts.append(Table(name, title, columns, rows, family, marks=marks))
    return Section("Contrasts", parts, CONTRASTS)


def comparisons(found: pd.DataFrame, pairs: pd.DataFrame, splits: pd.DataFrame) -> Section:
    """All differences as a figure, every split, and the pairs that are no contrasts, with Holm over all pairs."""
    parts: list[Table | Drawing] = []
    other = tables.explored(pairs, found)
    drawn = other[:0] if len(found) and len(other) > len(METRICS) * MOST_DRAWN else other
    if len(found) or len(drawn):
        others = " Blue: all other pairs of variants." if len(drawn) else ""
        kinds = f"Orange: the contrasts.{others} " if len(found) else "Every pair of variants. "
        caption = kinds + "A filled dot: Holm’s p is under .05. The band: differences under .01."
        parts.append(Drawing("effects", "Differences between variants", caption, figures.effects(found, drawn)))
    caption = "A grey line joins the variants on one split; the bar is a variant’s mean."
    parts.append(Drawing("splits", "Every split", caption, figures.splits(splits)))
    for metric, name in METRICS.items() if len(other) else ():
        family = other[other["metric"] == metric]
        rows = [[f"{row['first']} − {row['second']}", *_cells(row)] for _, row in family.iterrows()]
        marks = ["sure" if p < ALPHA else "" for p in family["p_holm"]]
        title = f"Pairs of variants by {name}{', explored' if len(found) else ''}"
        parts.append(Table(f"pairs-{metric}", title, ["variants", *COLUMNS], rows, family, marks=marks))
    explored = "Every pair that is no contrast; nobody asked for these beforehand. " if len(found) else ""
    text = explored + PAIRED.format(family="all pairs", variant=".05")
    return Section("Explored" if len(found) else "Comparisons", parts, text)


def _cells(row: pd.Series[Any]) -> list[str]:
    """Cells of a comparison, under `COLUMNS`."""
    return [
        tables.signed(row["difference"]),
        f"{tables.number(row['low'])} to {tables.number(row['high'])}",
        tables.p_value(row["p"]),
        tables.p_value(row["p_holm"]),
        f"{row['won']:.0%} of {row['n']}",
        tables.number(row["detectable"]),
    ]
