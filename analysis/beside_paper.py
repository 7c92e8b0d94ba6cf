"""Scores by distortion beside the paper's Tables 2 and 3, also for parts and copies of its databases."""

from __future__ import annotations

import pandas as pd

from analysis import paper, tables
from analysis.page import Section, Table
from gada_ray.data import tid2013

METRICS = {"srocc": "SROCC", "plcc": "PLCC"}
NAMES = {name[:2]: name.replace("_", " ") for name in tid2013.DISTORTIONS}
"""TID2013's types in words, by their numbers."""


def section(dataset: str, scores: pd.DataFrame) -> Section:
    """The paper's methods, this study's variants and BRISQUE by distortion; empty for datasets of other classes.

    `scores` are `tables.scores`.
    """
    kinds = paper.types(dataset, dict.fromkeys(scores["distortion"]))
    quoted = paper.by_type(dataset, kinds)
    own = scores[scores["distortion"].isin(list(kinds))]
    parts = [
        _table(metric, dataset, kinds, tables.with_paper(own, quoted).query("metric == @metric"))
        for metric in METRICS
        if metric in set(quoted["metric"])
    ]
    return Section("By distortion, beside the paper", parts, _text(paper.database(dataset)) if parts else "")


def _table(metric: str, dataset: str, kinds: dict[str, str], frame: pd.DataFrame) -> Table:
    """One metric: rows of the paper, and then ours."""
    quoted = frame["source"].str.startswith(tables.PAPER)
    frame = pd.concat([frame[quoted], frame[~quoted]], ignore_index=True)
    rows, marks = [], []
    for (source, variant), group in frame.groupby(["source", "variant"], sort=False):
        by_name = group.set_index("distortion").reindex(list(kinds))
        cells = [
            f"{tables.number(row['mean']) or '–'}\n{tables.number(row['median'])}".strip()
            for _, row in by_name.iterrows()
        ]
        ours = source in (tables.OURS, tables.BASELINE)
        rows.append([f"{variant}\n{tables.OURS + ', ' + dataset if ours else source}", *cells])
        marks.append({tables.OURS: "ours", tables.BASELINE: "baseline"}.get(str(source), "paper"))
    columns = ["method", *(NAMES.get(kind, name) for name, kind in kinds.items())]
    title = f"{METRICS[metric]} by distortion, beside the paper’s"
    return Table(f"beside-paper-{metric}", title, columns, rows, frame, _note(dataset), marks)


def _text(database: str) -> str:
    """What the rows are."""
    return (
        f"Rows of the paper, its own and those that it quotes, are of the whole of {database} on other splits; it does "
        "not say whether they are means or medians. Ours are means over this study’s splits, and below them the "
        "medians; BRISQUE is trained and tested on the same splits. A correlation is computed on the test images of "
        "one distortion."
    )


def _note(dataset: str) -> str:
    """What may not be compared, and what is missing; it goes with the table into its Markdown."""
    database, text = paper.database(dataset), ""
    if dataset not in paper.DATASETS:
        text += f"{dataset} is not {database}: our rows are not comparable with results on {database}. "
    if database == "TID2013":
        text += "GADA’s values of types 14 to 24 are not legible in our copy of the paper."
    return text.strip()
