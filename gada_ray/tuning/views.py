"""What the command shows: studies, plans, results and simulated searches, as tables and sentences."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from gada_ray.tuning.study import Plan, Study, StudyError, selection

if TYPE_CHECKING:
    import pandas as pd

    from gada_ray.store import Folder
    from gada_ray.tuning.inputs import Data
    from gada_ray.tuning.runner import Resources
    from gada_ray.tuning.search import Search

# Where nobody resizes a window, tables are not squeezed.
console = Console() if sys.stdout.isatty() else Console(width=140)


def describe(plan: Plan, data: Data, resources: Resources, slots: int) -> None:
    """Say what is about to run."""
    kind = f"{resources.gpus:g} GPU" if resources.gpus else f"{resources.cpus:g} CPU"
    console.print(
        f"{plan.study}: {plan.question}\n{caption(plan, data)}; {slots} trials at a time with {kind} each",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def caption(plan: Plan, data: Data) -> str:
    """Data, labels, preset, splits and seed, without which no number means anything."""
    dataset, splits = data.first
    return (
        f"{dataset.name} ({len(dataset)} images, {len(dataset.references)} references; {dataset.labels}), "
        f"preset {plan.preset}, {len(splits)} splits, seed {plan.seed}"
    )


def show_studies(studies: Mapping[str, Study]) -> None:
    """Name, question and cost of every study."""
    view = Table("study", "question", "preset", "cost", title="Studies", show_lines=True)
    for name, study in studies.items():
        presets = study.presets.items()
        view.add_row(name, study.question, "\n".join(p for p, _ in presets), "\n".join(s.cost for _, s in presets))
    console.print(view)


def show_plan(plan: Plan, search: Search, data: Data, resources: Resources) -> None:
    """What would run, what is done, and what it costs."""
    from gada_ray.tuning import runner
    from gada_ray.tuning.price import from_past, probe, skipped_phases
    from gada_ray.tuning.status import duration

    prices = from_past(search.configurations(), resources.execution.device)
    waiting = search.waiting
    signatures = [job.trial.signature for job in waiting]
    view = Table("level", "steps", "trainings", "done", "each", "device-hours", "price from", title=plan.question)
    total, left = 0.0, 0
    for level in plan.levels:
        place = selection(level.config)
        dataset, splits = data.datasets[place], data.splits[place]
        if level.name not in prices:
            with console.status(f"timing a few steps of {level.name}"):
                images = len(dataset.rows_of(splits[0].test))
                prices[level.name] = probe(level.config, dataset, images, resources.execution)
        price = prices[level.name]
        planned = (level.proposals + 1) * len(splits)
        mine = [job for job in waiting if job.run.level == level.name]
        done = sum(len(c.results) for c in search.configurations() if c.run.level == level.name)
        later = planned - done - len(mine)
        seconds = sum(price.seconds(skipped_phases(job, signatures)) for job in mine) + later * price.seconds()
        total, left = total + seconds, left + planned - done
        view.add_row(
            level.name,
            f"{level.config.steps}",
            f"{planned}",
            f"{done}",
            duration(seconds / max(1, planned - done)),
            f"{seconds / 3600:.2f}",
            price.source,
        )
    console.print(view)
    slots = runner.slots_here(resources)
    console.print(
        f"{caption(plan, data)}\n{left} trainings to do, {total / 3600:.2f} device-hours, about "
        f"{duration(total / slots)} with {slots} at a time on this machine; nothing was trained",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def show_results(plan: Plan, search: Search, data: Data, root: Folder, uri: str) -> None:
    """The study's table, on the screen and as a file, and where everything else is."""
    from gada_ray.tuning import tracking
    from gada_ray.tuning.results import write_tables

    path, frame = write_tables(root / "tables", plan, search.configurations(), *data.first)
    tested = frame[frame["stage"] == "test"]
    view = Table(
        "level",
        "n",
        "SROCC mean ± sd",
        "median",
        "LCC mean ± sd",
        "median",
        "device-hours",
        title=plan.question,
        caption=f"{caption(plan, data)}; on test references",
    )
    for _, row in tested.iterrows():
        view.add_row(
            row["level"],
            _count(row),
            *_scores(row),
            "" if math.isnan(row["device_hours"]) else f"{row['device_hours']:.2f}",
        )
    console.print(view)
    for level in search.levels:
        if level.level.space and level.best:
            chosen = ", ".join(f"{path}={level.best.run.values[path]:.3g}" for path in level.level.space)
            console.print(
                f"{level.level.name}: {chosen}; validation SROCC {level.best.mean:.3f}, best of {len(level.proposed)}",
                highlight=False,
                soft_wrap=True,
            )
    console.print(
        f"results: {root}\ntable: {path}\nMLflow: {tracking.where_to_look(uri)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _count(row: pd.Series[Any]) -> str:
    return f"{row['n']}" if row["n"] == row["planned"] else f"{row['n']} of {row['planned']}"


def _scores(row: pd.Series[Any]) -> list[str]:
    cells = []
    for name in ("srocc", "lcc"):
        mean, sd, median = (row[f"{name}_{part}"] for part in ("mean", "sd", "median"))
        cells += [f"{mean:.3f}" + ("" if math.isnan(sd) else f" ± {sd:.3f}"), f"{median:.3f}"]
    return cells


def show_simulation(study: Study, path: Path) -> None:
    """Replay searches with the study's racing on a table of known scores."""
    import pandas as pd

    from gada_ray.tuning.racing import simulate
    from gada_ray.tuning.search import GENERATION

    try:
        frame = pd.read_csv(path)
        if "stage" in frame:
            frame = frame[frame["stage"] == "search"]
        table = frame.pivot(index="configuration", columns="split", values="srocc").to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{path} is no table with the columns configuration, split and srocc: {error}") from None
    if len(table) < 2 or table.shape[1] < study.racing.first or not (table == table).all():
        raise StudyError(
            f"{path} needs at least 2 configurations, each on the same {study.racing.first} or more splits"
        )
    outcome = simulate(table, GENERATION, study.racing)
    low, high = outcome.interval()
    console.print(
        f"{len(table)} configurations x {table.shape[1]} splits, {outcome.orders} random orders, {study.racing}\n"
        f"trainings: {outcome.trainings.mean():.1%} of all ({outcome.trainings.min():.1%} to "
        f"{outcome.trainings.max():.1%})\n"
        f"regret of the chosen configuration: {outcome.regret.mean():.5f} SROCC (95 % interval {low:.5f} to "
        f"{high:.5f}); without racing 0\nbest configuration given up: {outcome.dropped_best:.1%} of orders",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
