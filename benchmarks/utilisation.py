"""How busy studies keep a cluster, in virtual time: `python -m benchmarks utilisation`.

The search is the real one, with the paper presets of all studies on 29 references as LIVE has. Durations and scores
are made up. A duration is `gada_ray.study.price.work` of a training, in units of a training of the study's first
variant, times a log-normal factor of standard deviation 0.1. A score is a quadratic of the logarithms of the rates,
plus an effect of the split (standard deviation 0.02) and noise (0.008). Both are fixed by a trial's signature, so
that they are the same for every number of slots.

The bound is the larger of the work that counts, shared among the slots, and of the time on unlimited slots.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import studies
from gada_ray.data import make_splits
from gada_ray.study.definition import Plan, data_selections, make_plan
from gada_ray.study.price import work
from gada_ray.study.search import Job, Search
from gada_ray.study.virtual import Timeline, play

REFERENCES = [f"reference {number}" for number in range(29)]
UNLIMITED = 10**6
OPTIMUM = {
    "discriminator": (-3.5, 0.02),
    "generator": (-3.3, 0.005),
    "classifier": (-3.3, 0.003),
    "evaluator": (-3, 0.01),
}
"""Of the made-up scores: by rate, the logarithm of the best value and the loss at a tenth or tenfold of it."""


def paper_plan(study: str, seed: int = 0) -> Plan:
    """A study's paper preset."""
    return make_plan(study, importlib.import_module(f"studies.{study}").STUDY, "paper", "live", {}, seed=seed)


def search_of(plan: Plan, speculate: bool = True) -> Search:
    """The search of a plan on nothing but names."""
    places = list(data_selections(plan.variants))
    splits = {place: make_splits(REFERENCES, plan.splits, plan.seed) for place in places}
    return Search(plan, splits, dict.fromkeys(places, "f" * 64), lambda signature: None, speculate=speculate)


def run(plan: Plan, slots: int, speculate: bool = True) -> Timeline:
    """A plan on some slots."""
    unit = work(plan.variants[0].config)

    def seconds(job: Job, skipped: int) -> float:
        chance = np.random.default_rng([int(job.trial.signature[:8], 16), 1])
        return work(job.trial.config, skipped) / unit * float(np.exp(0.1 * chance.standard_normal()))

    def score(job: Job) -> float:
        rates = job.trial.config.rates
        lost = sum(w * (np.log10(getattr(rates, name)) - best) ** 2 for name, (best, w) in OPTIMUM.items())
        split = np.random.default_rng([job.trial.fold.split, 9]).normal(0, 0.02)
        noise = np.random.default_rng([int(job.trial.signature[:8], 16), 2]).normal(0, 0.008)
        return float(0.9 - lost + split + noise)

    return play(search_of(plan, speculate), slots, seconds, score)


def main(
    study: Annotated[list[str] | None, typer.Argument(help="Names of studies; all by default.")] = None,
    slots: Annotated[list[int] | None, typer.Option(help="May be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Of splits, durations and scores; means are shown.")] = 4,
) -> None:
    """Print makespan, bound, utilisation and discarded trainings."""
    title = f"paper presets in virtual time, units of a study's first variant, means of {seeds} seeds"
    columns = ("study", "slots", "makespan", "bound", "ratio", "slots train", "discarded", "decided first")
    view = Table(*columns, title=title, caption="decided first: makespan if nothing were trained speculatively")
    for name in study or sorted(module.name for module in pkgutil.iter_modules(studies.__path__)):
        plans = [paper_plan(name, seed) for seed in range(seeds)]
        chains = [run(plan, UNLIMITED).makespan for plan in plans]
        for count in slots or [1, 4, 16, 64, 128]:
            found = [run(plan, count) for plan in plans]
            bounds = [max(line.work / count, chain) for line, chain in zip(found, chains, strict=True)]
            view.add_row(
                name,
                f"{count}",
                f"{np.mean([line.makespan for line in found]):.1f}",
                f"{np.mean(bounds):.1f}",
                f"{np.mean([line.makespan / bound for line, bound in zip(found, bounds, strict=True)]):.2f}",
                f"{np.mean([line.utilisation for line in found]):.0%}",
                f"{np.mean([line.discarded / line.work for line in found]):.1%}",
                f"{np.mean([run(plan, count, speculate=False).makespan for plan in plans]):.1f}",
            )
    Console(width=110).print(view)
