"""The protocol card of a report: the facts on which its numbers depend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.load import Runs

UNKNOWN = "not recorded"
NOT_SAMPLED = {UNKNOWN: "uniform"}
"""Of runs from before there was a choice."""


def protocol(runs: Runs) -> dict[str, str]:
    """Everything that a number depends on, by name. What differs between variants is given for each."""
    splits, configs = runs.splits, runs.of_variants
    first = splits.iloc[0]

    def same(column: str) -> str:
        values = dict.fromkeys(str(value) for value in splits[column] if str(value))
        return ", ".join(values) or UNKNOWN

    def of(path: str, names: Mapping[str, str] | None = None) -> str:
        return _by_variant(
            {variant: _text(config.get(path, UNKNOWN), names or {}) for variant, config in configs.items()}
        )

    unit, commit = first["divided_by"], ", ".join(one[:12] for one in runs.origin.commit.split(", "))
    kind_of = "distorted images of {} references" if unit == "reference" else "images without references in {} groups"
    counts = f", {first['images']} {kind_of.format(first['references'])}" if first["images"] else ""
    prints = dict.fromkeys(str(value)[:16] for value in splits["fingerprint"])
    sides = f"{same('references_train')} : {same('references_held_out')}"
    return {
        "Dataset": f"{first['dataset']}{counts}",
        "Fingerprint": ", ".join(prints) or UNKNOWN,
        "Labels": same("labels"),
        "Undistorted copies": of("data.include_reference_copies", {"True": "among the images", "False": "left out"}),
        "Splits": f"{splits['split'].nunique()}, by {unit}; {sides} {unit}s for training and test",
        "Hash of the splits": ", ".join(value[:16] for value in same("splits_hash").split(", ")),
        "Labelled images": _labelled(configs),
        "Pristine references": _pristine(configs),
        "Unlabelled photographs": _photographs(configs),
        "Crops in training": f"{of('data.crop_px')} px, batch {of('data.batch')}, aligned to the 8x8 JPEG grid: "
        f"{of('data.aligned_fraction')}, sampling {of('data.sampling', NOT_SAMPLED)}",
        "Crops in the test": f"{of('evaluation.crops')} per image, pooling {of('evaluation.pooling')}, placement "
        f"{of('evaluation.placement', {UNKNOWN: 'random'})}, sampling {of('evaluation.sampling', NOT_SAMPLED)}",
        "Input normalisation": of("model.normalisation"),
        "Selection": _selection(runs),
        "Optimiser steps": _by_variant({variant: _budget(config) for variant, config in configs.items()}, "\n"),
        "Learning rates": _by_variant({variant: _rates(config) for variant, config in configs.items()}, "\n"),
        "Recipe": recipes(runs) or UNKNOWN,
        "Preset": same("preset"),
        "Seed": same("seed"),
        "Device": f"{same('device')}, {of('precision')}",
        "Versions": f"{same('versions')}; code {same('code_version')}{'; commit ' * bool(commit)}{commit}",
    }


def recipes(runs: Runs) -> str:
    """The recipe of every tested variant; empty where it was not recorded."""
    tested = runs.configurations[runs.configurations["stage"] == "test"]
    values = dict(zip(tested["variant"], tested["recipe"], strict=True))
    return _by_variant({variant: values[variant] for variant in runs.variants})


def _labelled(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """The distorted images of the training part that training uses."""
    texts = {}
    for variant, config in configs.items():
        number = config.get("data.labelled_images")
        order = str(config.get("data.labelled_by", "reference"))
        how = {"reference": "reference by reference", "random": "at random"}.get(order, order)
        texts[variant] = "all of the training part" if number is None else f"{number}, chosen {how}"
    return _by_variant(texts)


def _pristine(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """The undistorted references that training uses as pristine images, and their share of the real crops."""
    texts = {}
    for variant, config in configs.items():
        share = config.get("data.pristine_fraction", 0.0)
        where = {"labelled": "that of the image", "training": "any of the training part"}
        source = str(config.get("data.pristine_from", "labelled"))
        reference = where.get(source, source)
        texts[variant] = f"a reference ({reference}) for {share:.0%} of the real crops" if share else "none"
    return _by_variant(texts)


def _photographs(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """Fingerprints of the unlabelled photographs that a phase distorts."""
    return _by_variant(
        {
            variant: ", ".join(str(v)[:16] for path, v in config.items() if path.endswith(".extra_fingerprint") and v)
            or "none"
            for variant, config in configs.items()
        }
    )


def _selection(runs: Runs) -> str:
    if runs.search.empty:
        return "none: a fixed number of steps, then one test"
    searched = runs.configurations[runs.configurations["stage"] == "search"].groupby("variant", sort=False).size()
    counts = _by_variant({str(variant): f"{count} candidates" for variant, count in searched.items()})
    return (
        f"highest mean validation SROCC of {counts}, on validation references inside the training part, for "
        f"{', '.join(map(str, searched.index))}; the best candidate is trained on the whole training part and tested"
    )


def _budget(config: Mapping[str, Any]) -> str:
    steps = {path.split(".")[1]: value for path, value in config.items() if path.endswith(".steps")}
    if not steps:
        return UNKNOWN
    parts = " + ".join(f"{value:,} {name}" for name, value in steps.items())
    return parts if len(steps) == 1 else f"{parts} = {sum(steps.values()):,}"


def _rates(config: Mapping[str, Any]) -> str:
    rates = {path.removeprefix("rates."): value for path, value in config.items() if path.startswith("rates.")}
    named = [f"{name} {value:.2g}" for name, value in rates.items() if "beta" not in name]
    return ", ".join(named) or UNKNOWN


def _text(value: Any, names: Mapping[str, str]) -> str:
    return names.get(str(value), str(value))


def _by_variant(values: Mapping[str, str], separator: str = "; ") -> str:
    """One value where all variants have it; else each, with the variants that have it."""
    variants: dict[str, list[str]] = {}
    for variant, value in values.items():
        variants.setdefault(value, []).append(variant)
    if len(variants) == 1:
        return next(iter(variants))
    return separator.join(f"{value} ({', '.join(names)})" for value, names in variants.items())
