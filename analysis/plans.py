"""Choose the runs of one plan of a study: runs of different seeds or settings do not mix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from gada_ray.errors import UserError

FACTS = ("seed", "splits", "splits_hash", "code_version", "fingerprint", "dataset", "preset")
SHARED = ("seed", "splits_hash", "code_version", "dataset", "preset")
"""The facts that the search of a variant shares with its test."""
MAX_SHOWN = 4
"""Differences that a message names."""


class LoadError(UserError, ValueError):
    """A study that MLflow does not have, or has in versions that do not mix; names what there is."""


def leaves(value: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Every leaf of a configuration by its dotted path; phases are addressed by name (`phases.gan.steps`).

    Works on plain JSON, so that configurations of other versions can be read too.
    """
    found: dict[str, Any] = {}
    for name, part in value.items():
        where = f"{path}.{name}" if path else name
        if name == "phases" and not path:
            for phase in part:
                found |= leaves({k: v for k, v in phase.items() if k != "name"}, f"phases.{phase['name']}")
        elif isinstance(part, Mapping):
            found |= leaves(part, where)
        else:
            found[where] = "-".join(map(str, part)) if isinstance(part, list) else part
    return found


def facts(
    splits: pd.DataFrame, configurations: pd.DataFrame, configs: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """The facts by which a configuration can be chosen, as text, by its key.

    Seed, number of splits, hash of the splits, code version, fingerprint, dataset and preset, and every leaf of its
    configuration.
    """
    first = splits.drop_duplicates("key").set_index("key")
    # A pruned candidate has fewer splits than its study.
    planned = configurations.drop_duplicates("key").set_index("key")["planned"].reindex(first.index).fillna(0)
    first = first.assign(splits=planned.groupby(first["splits_hash"]).transform("max").astype(int))
    first.loc[first["splits_hash"] == "", "splits"] = planned.astype(int)
    return {
        str(key): {name: str(row[name]) for name in FACTS}
        | {path: str(value) for path, value in configs.get(str(key), {}).items()}
        for key, row in first.iterrows()
    }


def choose(
    study: str,
    splits: pd.DataFrame,
    configurations: pd.DataFrame,
    configs: Mapping[str, Mapping[str, Any]],
    where: Mapping[str, str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of splits and of configurations that have the given values, if they are one plan.

    Raises:
        LoadError: for a field that no configuration has, a value that none has, several datasets, presets, seeds or
            divisions of references, or a variant in several configurations.
    """
    known = facts(splits, configurations, configs)
    for name, value in where.items():
        values = sorted({one[name] for one in known.values() if name in one})
        if not values:
            fields = {field for one in known.values() for field in one}
            near = difflib.get_close_matches(name, sorted(fields), n=5, cutoff=0.4)
            raise LoadError(f"no run of study '{study}' has a field '{name}'; nearest: {', '.join(near) or 'none'}")
        if value not in values:
            raise LoadError(f"no run of study '{study}' has {name} '{value}'; available: {', '.join(values)}")
    kept = [key for key, one in known.items() if all(one.get(name) == value for name, value in where.items())]
    splits = splits[splits["key"].isin(kept)]
    test = splits[splits["stage"] == "test"]
    if test.empty:
        chosen = " ".join(f"{name}={value}" for name, value in where.items())
        raise LoadError(f"no finished test run of study '{study}' has all of {chosen}")
    _check(study, test, {key: known[key] for key in test["key"].unique()})
    plan = {name: test[name].iloc[0] for name in SHARED}
    same = (splits[list(plan)] == pd.Series(plan)).all(axis=1) & splits["variant"].isin(test["variant"])
    splits = splits[same]
    # Of a configuration without any finished split, only variant and name are known.
    unfinished = ~configurations["key"].isin(list(known)) & (not where)
    keep = configurations["key"].isin(splits["key"]) | unfinished
    return splits, configurations[keep].reset_index(drop=True)


def _check(study: str, test: pd.DataFrame, known: Mapping[str, Mapping[str, str]]) -> None:
    """Whether test runs are one plan."""
    for name in ("dataset", "preset", "seed"):
        if test[name].nunique() > 1:
            raise LoadError(
                f"study '{study}' was run with several values of {name}, which do not mix; choose with "
                + " or ".join(_option(name, value) for value in sorted(test[name].unique()))
            )
    for variant, group in test.groupby("variant", sort=False):
        keys = list(group["key"].unique())
        if len(keys) > 1:
            raise LoadError(
                f"variant '{variant}' of study '{study}' was run in {len(keys)} configurations, which do not mix; "
                f"choose with {_differences([known[key] for key in keys])}"
            )
    for split, group in test.groupby("split"):
        if group["held_out"].nunique() > 1:
            raise LoadError(
                f"split {split} of study '{study}' holds out other references in some variants than in others, so that "
                f"they cannot be compared; choose with {_differences(known.values())}"
            )


def _differences(configurations: Iterable[Mapping[str, str]]) -> str:
    """The fields in which some configurations differ, as options of the command."""
    configurations = list(configurations)
    names = dict.fromkeys(name for one in configurations for name in one)
    options = []
    for name in names:
        values = dict.fromkeys(one[name] for one in configurations if one.get(name))
        if len(values) > 1:
            options.append(" or ".join(_option(name, value) for value in values))
    return "; ".join(options[:MAX_SHOWN]) or "another --tracking-uri: nothing that was recorded tells them apart"


def _option(name: str, value: str) -> str:
    quoted = f"'{value}'" if " " in value else value
    return f"--{name} {quoted}" if name in ("dataset", "preset") else f"--where {name}={quoted}"
