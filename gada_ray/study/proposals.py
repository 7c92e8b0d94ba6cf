"""What Optuna proposes: new candidates of a search, from those before and what they reached."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gada_ray.config import canonical, digest, flatten
from gada_ray.study.definition import VariantPlan
from gada_ray.study.space import combinations, decoded, distribution, encoded

STARTUP = 10
"""Candidates that are drawn at random before Optuna looks at results: there is nothing to wait for between them."""
FAILED = -1.0
"""What Optuna is told of a candidate that could not be trained on every split it was given: the lowest SROCC."""
MAX_REPEATS = 20
"""Proposals in a row that are no new candidates, after which the next untried combination of choices is taken."""


def propose(
    variant: VariantPlan, tried: Sequence[Mapping[str, Any]], told: Sequence[float], count: int
) -> list[dict[str, Any]]:
    """Values of `count` new candidates of a variant, or of as many as its space has left.

    `tried` are the values of all candidates before, by dotted path, and `told` is what each of them reached; higher is
    better. No candidate is proposed twice. The first of all is the variant's own configuration, followed by the changes
    of it that the study names. The same arguments give the same candidates.
    """
    import optuna
    from optuna.trial import TrialState, create_trial

    space = variant.space
    distributions = {path: distribution(dimension) for path, dimension in space.items()}
    before = [{path: encoded(values[path]) for path in space} for values in tried]
    seed = int(digest(["search", variant.name, len(tried)])[:8], 16)
    known, repeats = {canonical(params) for params in before}, 0
    found: list[dict[str, Any]] = []
    with _silent():
        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for params, value in zip(before, told, strict=True):
            study.add_trial(create_trial(params=params, distributions=distributions, value=value))
        own = flatten(variant.config)
        for change in ({}, *variant.first)[len(tried) :]:
            study.enqueue_trial({path: encoded(change.get(path, own[path])) for path in space})
        while len(found) < count:
            trial = study.ask(distributions)
            if canonical(trial.params) not in known:
                known.add(canonical(trial.params))
                found.append({path: decoded(space[path], value) for path, value in trial.params.items()})
                repeats = 0
                continue
            study.tell(trial, state=TrialState.FAIL)
            repeats += 1
            if repeats >= MAX_REPEATS:
                rest = list(itertools.islice(_untried(variant, known), 1))
                if not rest:
                    break
                study.enqueue_trial(rest[0])
    return found


def _untried(variant: VariantPlan, known: set[str]) -> Iterator[dict[str, Any]]:
    """Combinations of choices that are no candidate yet; none for a space with a range."""
    if math.isinf(combinations(variant.space.values())):
        return
    for values in itertools.product(*(dimension.ends[: int(dimension.count)] for dimension in variant.space.values())):
        params = {path: encoded(value) for path, value in zip(variant.space, values, strict=True)}
        if canonical(params) not in known:
            yield params


@contextmanager
def _silent() -> Iterator[None]:
    """Without Optuna's messages about each study."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
