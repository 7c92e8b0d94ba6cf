"""What a study says, in a sentence a question; and the facts without which its numbers mean nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis import tables
from analysis.load import Runs
from analysis.statistics import ALPHA, SMALLEST_EFFECT
from analysis.tables import ALL, OURS, number, p_value, signed
from gada_ray.study.contrasts import MEASURES, Contrast

UNKNOWN = "not recorded"
NOT_SAMPLED = {UNKNOWN: "uniform"}
"""Of runs from before there was a choice."""


def verdict(
    scores: pd.DataFrame, pairs: pd.DataFrame, contrasts: pd.DataFrame, named: Sequence[Contrast]
) -> tuple[str, ...]:
    """A sentence or two for each of a study's contrasts; where it names none, on its best variant.

    `scores`, `pairs` and `contrasts` are those of `tables`.
    """
    if not named:
        return (best(scores, pairs),)
    family = tables.asked(contrasts)
    rows = {(row["first"], row["second"], row["metric"]): row for _, row in family.iterrows()}
    return tuple(
        answer(rows[one.first, one.second, one.measure], len(family))
        if (one.first, one.second, one.measure) in rows
        else f"{one.question} Nothing can be concluded yet: “{one.first}” and “{one.second}” have fewer than two "
        "splits in common."
        for one in named
    )


def kind(row: pd.Series[Any]) -> str:
    """What a contrast comes to: "yes", "reverse" (the second variant is better), "no" or "open".

    "No" means that the first variant is not better by SMALLEST_EFFECT or more: its interval lies below, and does so after Holm.
    """
    if row["p_holm"] < ALPHA:
        return "yes" if row["difference"] > 0 else "reverse"
    return "no" if row["p_worth_holm"] < ALPHA / 2 else "open"


def answer(row: pd.Series[Any], family: int) -> str:
    """The answer to a contrast's question: difference, interval, corrected p, and what could have been seen."""
    worth = number(SMALLEST_EFFECT, 2)
    words = {
        "yes": "Yes, but by less than " + worth if row["high"] < SMALLEST_EFFECT else "Yes",
        "reverse": "No, the other way round",
        "no": f"No, not by {worth} or more",
        "open": "That cannot be told",
    }[kind(row)]
    visible = f"A difference of {number(row['detectable'])} could have been seen"
    needed = row["splits_for_worth"]
    if row["detectable"] > SMALLEST_EFFECT:
        more = "no number of splits of these references would do" if math.isinf(needed) else f"{needed:.0f} splits"
        visible += f"; for {worth}, {more}"
    effect = _effect(row, str(row["first"]), family, "contrasts")
    return f"{row['question']} {words}: “{row['first']}” less “{row['second']}” is {effect}. {visible}."


def best(scores: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The best variant, how far it is above the next, and whether that is more than chance, by SROCC on all images.

    `scores` and `pairs` are those of `tables`. The best one is chosen after the test, so that Holm's p over all pairs
    decides, not the interval.
    """
    own = scores[(scores["source"] == OURS) & (scores["metric"] == "srocc") & (scores["distortion"] == ALL)]
    means = own.set_index("variant")["mean"].sort_values(ascending=False)
    top = str(means.index[0])
    reached = f"“{top}” reaches a mean test SROCC of {number(means.iloc[0])}"
    if len(means) == 1:
        low, high = own.iloc[0][["low", "high"]]
        spread = "" if low != low else f" (95 % interval {number(low)} to {number(high)})"
        return f"{reached}{spread}; with one variant there is nothing to compare it with."
    family = pairs[pairs["metric"] == "srocc"] if len(pairs) else pairs
    if not len(family):
        return f"{reached}, the most of {len(means)} variants, on one split, from which nothing can be concluded."
    rivals = {str(row["second" if row["first"] == top else "first"]): row for row in _with(family, top)}
    if not rivals:
        return (
            f"{reached}, the most of {len(means)} variants, on one split so far, from which nothing can be concluded."
        )
    next_best = next(str(variant) for variant in means.index[1:] if variant in rivals)
    worse = [
        variant
        for variant, row in rivals.items()
        if row["p_holm"] < ALPHA and (row["difference"] > 0) == (row["first"] == top)
    ]
    effect = _effect(rivals[next_best], top, len(family), "pairs")
    if len(worse) == len(rivals):
        return f"“{top}” is better than {_others(len(rivals))}: {effect} against the next, “{next_best}”."
    unseen = f"a difference under {number(rivals[next_best]['detectable'])} could hardly have been seen"
    if worse:
        return (
            f"“{top}” is better than {len(worse)} of {len(rivals)} other variants, but cannot be told from the next, "
            f"“{next_best}”: {effect}; {unseen}."
        )
    return f"No variant can be told from the best, “{top}”: {effect} against the next, “{next_best}”; {unseen}."


def _with(family: pd.DataFrame, variant: str) -> list[pd.Series[Any]]:
    return [row for _, row in family[(family["first"] == variant) | (family["second"] == variant)].iterrows()]


def _others(count: int) -> str:
    return "the other variant" if count == 1 else f"all {count} other variants"


def _effect(row: pd.Series[Any], best: str, family: int, of: str) -> str:
    """The effect in favour of one variant of a pair, with interval and p, corrected over a family of pairs."""
    sign = 1 if row["first"] == best else -1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    holm = f" after Holm over {family} {of}" if family > 1 else ""
    p = p_value(row["p_holm"])
    measure = "SROCC" if row["metric"] == "srocc" else f"in {MEASURES[row['metric']]}"
    return (
        f"{signed(sign * row['difference'])} {measure} (95 % interval {number(low)} to {number(high)}, "
        f"p {p if p.startswith('<') else '= ' + p}{holm}, {row['n']} splits)"
    )


def protocol(runs: Runs) -> dict[str, str]:
    """The protocol card: all that a number depends on, by name. What differs between variants is given for each."""
    splits, configs = runs.splits, runs.of_variants
    first = splits.iloc[0]

    def same(column: str) -> str:
        values = dict.fromkeys(str(value) for value in splits[column] if str(value))
        return ", ".join(values) or UNKNOWN

    def of(path: str, names: Mapping[str, str] | None = None) -> str:
        return _by_variant(
            {variant: _text(config.get(path, UNKNOWN), names or {}) for variant, config in configs.items()}
        )

    unit = first["divided_by"]
    kind_of = "distorted images of {} references" if unit == "reference" else "images without references in {} groups"
    counts = f", {first['images']} {kind_of.format(first['references'])}" if first["images"] else ""
    prints = dict.fromkeys(str(value)[:16] for value in splits["fingerprint"])
    sides = f"{same('references_train')} : {same('references_held_out')}"
    return {
        "Dataset": f"{first['dataset']}{counts}",
        "Fingerprint": ", ".join(prints) or UNKNOWN,
        "Labels": same("labels"),
        "Undistorted copies": of("data.include_reference_copies", {"True": "among the images", "False": "left out"}),
        "Splits": f"{splits['split'].nunique()}, by {unit}, {sides} {unit}s trained on and tested",
        "Hash of the splits": ", ".join(value[:16] for value in same("splits_hash").split(", ")),
        "Rated images": _labelled(configs),
        "Perfect images": _pristine(configs),
        "Photographs without scores": _photographs(configs),
        "Crops in training": f"{of('data.crop_px')} px, batches of {of('data.batch')}; "
        f"aligned: {of('data.aligned_fraction')}; taken: {of('data.sampling', NOT_SAMPLED)}",
        "Crops in the test": f"{of('evaluation.crops')} an image, their {of('evaluation.pooling')}; placed: "
        f"{of('evaluation.placement', {UNKNOWN: 'random'})}; taken: {of('evaluation.sampling', NOT_SAMPLED)}",
        "Input of the backbone": of("model.normalisation"),
        "Selection": _selection(runs),
        "Budget, in steps": _by_variant({variant: _budget(config) for variant, config in configs.items()}, "\n"),
        "Learning rates": _by_variant({variant: _rates(config) for variant, config in configs.items()}, "\n"),
        "Preset": same("preset"),
        "Seed": same("seed"),
        "Device": f"{same('device')}, {of('precision')}",
        "Versions": f"{same('versions')}; code {same('code_version')}",
    }


def _labelled(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """Which distorted images of the training part training may use."""
    texts = {}
    for variant, config in configs.items():
        number = config.get("data.labelled_images")
        how = {"reference": "reference by reference", "random": "at random"}[
            config.get("data.labelled_by", "reference")
        ]
        texts[variant] = "all of the training part" if number is None else f"{number}, chosen {how}"
    return _by_variant(texts)


def _pristine(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """Which undistorted references training takes for pristine images, and how often."""
    texts = {}
    for variant, config in configs.items():
        share = config.get("data.pristine_fraction", 0.0)
        where = {"labelled": "that of the image", "training": "any of the training part"}
        reference = where[config.get("data.pristine_from", "labelled")]
        texts[variant] = f"a reference ({reference}) for {share:.0%} of the real crops" if share else "none"
    return _by_variant(texts)


def _photographs(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """Fingerprints of unlabelled photographs and a phase distorts."""
    return _by_variant(
        {
            variant: ", ".join(str(v)[:16] for path, v in config.items() if path.endswith(".extra_fingerprint") and v)
            or "none"
            for variant, config in configs.items()
        }
    )


def _selection(runs: Runs) -> str:
    if runs.search.empty:
        return "none: a fixed budget, the weights of its end, test references scored once"
    searched = runs.configurations[runs.configurations["stage"] == "search"].groupby("variant", sort=False).size()
    counts = _by_variant({str(variant): str(count) for variant, count in searched.items()})
    return (
        f"best mean validation SROCC of {counts} candidates of “{'”, “'.join(map(str, searched.index))}”, on validation "
        "references inside the training part; the winner is trained on the whole training part, and tested once"
    )


def _budget(config: Mapping[str, Any]) -> str:
    steps = {path.split(".")[1]: value for path, value in config.items() if path.endswith(".steps")}
    if not steps:
        return UNKNOWN
    parts = " + ".join(f"{value:,} {name}" for name, value in steps.items())
    return parts if len(steps) == 1 else f"{parts} = {sum(steps.values()):,}"


def _rates(config: Mapping[str, Any]) -> str:
    rates = {path.removeprefix("rates."): value for path, value in config.items() if path.startswith("rates.")}
    named = [f"{name} {value:.2g}" for name, value in rates.items() if not name.startswith("beta")]
    return ", ".join(named) or UNKNOWN


def _text(value: Any, names: Mapping[str, str]) -> str:
    return names.get(str(value), str(value))


def _by_variant(values: Mapping[str, str], between: str = "; ") -> str:
    """One value where all variants have it; else each, with the variants that have it."""
    variants: dict[str, list[str]] = {}
    for variant, value in values.items():
        variants.setdefault(value, []).append(variant)
    if len(variants) == 1:
        return next(iter(variants))
    return between.join(f"{value} (“{'”, “'.join(names)}”)" for value, names in variants.items())
