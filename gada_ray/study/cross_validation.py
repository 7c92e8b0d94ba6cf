"""A model of one's own images: cross-validation over their scenes, then one training on all of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from gada_ray.data.dataset import DataError, IqaDataset, Photographs
from gada_ray.data.doctor import check_usable
from gada_ray.data.splits import cross_validation, whole
from gada_ray.inference.card import Card, ModelError, trial_fields
from gada_ray.recipes import FEW_LABELS, few_labels
from gada_ray.study.definition import Plan, Preset, Study, Values, make_plan
from gada_ray.study.inputs import check_photographs, load_data
from gada_ray.study.summary import aggregate, read_predictions
from gada_ray.trials.identity import Trial
from gada_ray.trials.store import Result, Store

STUDY = "train"
"""Name of the study in the cards of these models."""
QUESTION = "How well are images of new scenes scored?"
PRESET = "small"
NAMES = {
    None: "baseline",
    "training": "ranking of procedural",
    "extra": "ranking of procedural + photographs",
}
"""Names of the trainings by the pictures that the ranking term distorts, as in the study `labels`."""
CHOSEN = (
    "One configuration, not chosen among others. The weights are of a training on all labelled images; its scores are "
    "those of {folds}-fold cross-validation over scenes, each fold trained in the same way without its scenes."
)


class Outcome(NamedTuple):
    """What the trainings came to."""

    folds: tuple[Result, ...]
    final: Result
    """The training on all images."""
    predictions: pd.DataFrame
    """Of every labelled image, by the training that has not seen its scene: fold, and the columns of
    `protocol.table`."""
    over_folds: dict[str, float]
    """`summary.aggregate` over folds: srocc_mean, srocc_ci_low and so on."""


def make(dataset: str, settings: Values, seed: int, photographs: Photographs | None, ranking: bool) -> Plan:
    """The plan of the trainings: the baseline for few labels, with its ranking term unless it is switched off.

    Raises:
        StudyError, ConfigError: for settings that do not exist or are not possible.
    """
    references: Literal["training", "extra"] | None = ("extra" if photographs else "training") if ranking else None
    preset = Preset(cost="", splits=1, values={**FEW_LABELS, "evaluation.curve_points": 0})
    base = few_labels(direct_steps=1, finetuning_steps=1, references=references)  # the preset has the lengths
    study = Study(question=QUESTION, base=base, variants={NAMES[references]: {}}, presets={PRESET: preset})
    extra = photographs.fingerprint if photographs and ranking else None
    return make_plan(STUDY, study, PRESET, dataset, settings, seed=seed, extra=extra)


def load(plan: Plan, root: Path | None, photographs: Photographs | None) -> IqaDataset:
    """The labelled images, with photographs if there are any, checked for all that the trainings need.

    Raises:
        DataError: for data that cannot be used, and photographs that show one of its scenes.
    """
    dataset, _ = load_data(plan, root).first
    check_usable(dataset, ())  # not with the random split of before: folds divide whatever can be divided
    if photographs is None:
        return dataset
    # Once with all references, each of which is held out by a fold, and not with those of a random split before.
    check_photographs(plan, photographs, dataset, dataset.references)
    return replace(dataset, extra=photographs)


def trials(plan: Plan, dataset: IqaDataset, folds: int) -> tuple[Trial, ...]:
    """One trial for each fold, and last the one on all images.

    Raises:
        DataError: for fewer references than folds, or a fold with too few images to be scored.
    """
    parts = cross_validation(dataset.references, folds, plan.seed)
    for part in parts:
        if len(dataset.rows_of(part.held_out)) < 2:
            raise DataError(
                f"fold {part.split + 1} of {folds} has one image, and a correlation needs two; take fewer folds than "
                f"{folds}, or label more images of {part.held_out[0]}"
            )
    config = plan.variants[0].config
    every = (*parts, whole(dataset.references, folds))
    return tuple(Trial(config, fold, plan.seed, dataset.fingerprint) for fold in every)


def train(wanted: tuple[Trial, ...], store: Store, run: Callable[[Trial], Result]) -> Outcome:
    """Run the trials of `trials` in their order by a function that trains one, and put their results together.

    Raises:
        ModelError: if a training diverged; names the fold and the cause.
    """
    results = []
    for trial in wanted:
        result = run(trial)
        if result.status != "finished":
            which = f"without fold {trial.fold.split + 1}" if trial.fold.held_out else "on all images"
            raise ModelError(f"the training {which} diverged: {result.cause}; lower --set rates.discriminator")
        results.append(result)
    *parts, final = results
    tables = [read_predictions(_predictions(store, result)).assign(fold=n + 1) for n, result in enumerate(parts)]
    ratios = [(r.status, r.metrics, len(r.fold.held_out) / len(r.fold.train)) for r in parts]
    return Outcome(tuple(parts), final, pd.concat(tables, ignore_index=True), aggregate(ratios))


def sentence(outcome: Outcome) -> str:
    """The cross-validated scores for people."""
    mean = outcome.over_folds
    ends = (mean.get("srocc_ci_low"), mean.get("srocc_ci_high"))
    ci = f", 95% CI [{ends[0]:.3f}, {ends[1]:.3f}]" if ends[0] is not None else ""
    return (
        f"SROCC {mean['srocc_mean']:.3f}{ci}, PLCC {mean['plcc_mean']:.3f}: means over {len(outcome.folds)} folds, "
        f"each tested on scenes that its training has not seen"
    )


def card(plan: Plan, outcome: Outcome, distortions: tuple[str, ...]) -> Card:
    """The card of the model that was trained on all images."""
    scores = {name: value for name, value in outcome.over_folds.items() if name != "device_hours"}
    return Card(
        study=STUDY,
        question=QUESTION,
        preset=PRESET,
        variant=plan.variants[0].name,
        chosen=CHOSEN.format(folds=len(outcome.folds)),
        over_splits=scores,
        **trial_fields(outcome.final, distortions),
    )


def _predictions(store: Store, result: Result) -> io.BytesIO:
    data = store.read(result.signature, "predictions.csv")
    if data is None:
        raise ModelError(f"{store.folder(result.signature)} lacks predictions.csv; delete it to train the fold again")
    return io.BytesIO(data)
