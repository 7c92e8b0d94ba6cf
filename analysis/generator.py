"""The part of a report about the generator: its conditioning fidelity, and its pictures."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis import tables
from analysis.load import Runs
from analysis.page import Drawing, Section, Table

NAMES = {
    "class_accuracy": "class accuracy",
    "real_class_accuracy": "of true distortions",
    "quality_srocc": "quality SROCC",
    "real_quality_srocc": "of true distortions",
    "distance_l1": "L1 distance",
    "distance_mdsi": "MDSI distance",
    "change_sd": "strength",
    "mdsi_srocc": "quality SROCC by MDSI",
    "noise_sd": "effect of z (sd of a pixel)",
}
BASE = (
    "Means over splits, on crops of held-out references, conditioned on the class and quality of truly distorted crops "
    "in the same windows."
)
EVALUATOR = (
    " An independent evaluator, a quality network trained on real crops of the training references alone, gives class "
    "accuracy (the share of generated crops that it puts into the requested class) and quality SROCC (of requested and "
    "predicted quality); beside them, the same for truly distorted crops."
)
DISTANCE = (
    " Distances are from the truth, over the distance of the undistorted reference from it: at 1 or above, a generated "
    "crop is no closer than the unchanged reference, although noise that is another draw is at √2."
)
STRENGTH = " Strength is the standard deviation of the change over that of the true change."
CLOSE, WEAK, FOLLOWS, CHANCE = 0.95, 0.5, 0.5, 0.3
"""Limits of the words of `_conclusion`: MDSI distance, strength, and correlations."""


def section(runs: Runs) -> Section:
    """Conditioning fidelity of every variant's generator in words, numbers and pictures; empty without a generator."""
    frame = tables.generator(runs.splits)
    if frame.empty:
        return Section("Generator", [])
    measured = [str(name) for name in frame.columns[3:]]
    rows = [
        [f"{row['variant']}\n{row['distortion']}", *(tables.number(row[name]) for name in measured), str(row["n"])]
        for _, row in frame.iterrows()
    ]
    columns = ["variant, images", *(NAMES[name] for name in measured), "splits"]
    parts: list[Table | Drawing] = []
    words = conclusions(frame[frame["distortion"] == tables.ALL])
    texts = [
        BASE,
        EVALUATOR * ("class_accuracy" in measured),
        DISTANCE * ("distance_mdsi" in measured),
        STRENGTH * ("change_sd" in measured),
    ]
    parts.append(Table("generator", "Conditioning fidelity", columns, rows, frame, "".join(texts)))
    made = runs.splits[runs.splits["variant"].isin(frame["variant"])]
    best = made[made["variant"] == made.groupby("variant")["srocc"].mean().idxmax()].iloc[0]
    of = f"From {best['variant']}, the variant with the highest SROCC, split {best['split']}"
    pictures = {
        "figure1": (
            "Figure 1 of the paper, from this study",
            f"{of}; one distortion in each row, held-out references.",
        ),
        "generated_by_quality": (
            "Requested qualities",
            f"{of}; for each distortion real crops of a held-out reference, their quality below, and above them "
            f"crops generated for these qualities.",
        ),
    }
    for name, (title, caption) in pictures.items():
        data = runs.picture(str(best["run_id"]), f"{name}.png")
        if data is not None:
            parts.append(Drawing(name, title, caption, data, f"{title}. {caption} {' '.join(words)}"))
    return Section("Generator", parts, " ".join(words))


def conclusions(frame: pd.DataFrame) -> list[str]:
    """One sentence about every generator; variants with the same generator share theirs."""
    variants: dict[str, list[str]] = {}
    for _, row in frame.iterrows():
        variants.setdefault(_conclusion(row), []).append(str(row["variant"]))
    return [f"{'; '.join(names)}: {text}." for text, names in variants.items() if text]


def _conclusion(row: pd.Series[Any]) -> str:
    """What the measures of a variant say about its generator; empty where the decisive ones are missing."""
    said = []
    evaluated = row.get("quality_srocc", float("nan"))
    by_metric = row.get("mdsi_srocc", float("nan"))
    distance, strength = row.get("distance_mdsi", float("nan")), row.get("change_sd", float("nan"))
    if distance == distance:
        near = "no closer" if distance >= 1 else "hardly closer" if distance >= CLOSE else "closer"
        said.append(
            f"generated crops are {near} to the truth than the undistorted reference (MDSI distance "
            f"{tables.number(distance, 2)})"
        )
    if strength == strength and strength < WEAK:
        said.append(f"the change is weak ({strength:.0%} of the true strength)")
    ranks = evaluated if evaluated == evaluated else by_metric
    if ranks == ranks:
        how = "follows" if ranks >= FOLLOWS else "follows weakly" if ranks >= CHANCE else "does not follow"
        by = "an independent evaluator" if evaluated == evaluated else "MDSI"
        said.append(f"their quality {how} the requested quality (SROCC {tables.number(ranks, 2)} by {by})")
    return "; ".join(said)
