"""What the command shows: studies, plans, results and simulated searches, as tables and sentences."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from gada_ray.study.definition import Plan, Study

if TYPE_CHECKING:
    import pandas as pd

    from gada_ray.running.slots import Resources
    from gada_ray.study.estimate import Estimate, Reuse
    from gada_ray.study.inputs import Data
    from gada_ray.study.search import Search
    from gada_ray.study.virtual import Timeline
    from gada_ray.trials.store import Folder

# Where nobody resizes a window, tables are not squeezed.
console = Console() if sys.stdout.isatty() else Console(width=140)
MOST_FAILURES = 10
"""To be named at the end; the table beside the study's has them all."""


def say(text: str, style: str | None = None) -> None:
    """Some lines as they are: names and paths are neither marked up nor broken."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """Show what a user should know of, but nobody has to mend at once."""
    say(text, style="yellow")


def announce(plan: Plan, cost: str, storage: str) -> None:
    """Say what is asked and what is going to happen, before anything that takes time."""
    variants = ", ".join(variant.name for variant in plan.variants)
    say(plan.question, style="bold")
    say(
        f"study {plan.study}, preset {plan.preset}: {variants} on {plan.splits} splits\n{cost}\n"
        f"results go to {storage}; what is there already is not trained again, and Ctrl-C leaves checkpoints behind"
    )


def describe(plan: Plan, data: Data, resources: Resources, slots: int, found: Reuse, made: Estimate | None) -> None:
    """Say what is about to run."""
    cost = "" if made is None else f"; estimated at {_hours(made)}"
    say(
        f"{caption(plan, data)}; {slots} trials at a time with {share(resources)} each\n{reused(found)}{cost}",
    )


def share(resources: Resources) -> str:
    """What a trial gets."""
    return f"{resources.gpus:g} GPU" if resources.gpus else f"{resources.cpus:g} CPU"


def reused(found: Reuse) -> str:
    """How many trainings are not done again, and whose they were."""
    if not found.total:
        return "no training is done yet"
    parts = [f"{found.own} by this study"] if found.own else []
    parts += [f"{n} by {f'study {name}' if name else 'an unnamed study'}" for name, n in sorted(found.others.items())]
    return f"{found.total} trainings are done and not done again ({', '.join(parts)})"


def _hours(made: Estimate) -> str:
    return f"{'at most ' if made.at_most else ''}{_number(made.device_hours)} device-hours"


def _number(hours: float) -> str:
    return f"{hours:.2f}" if hours >= 0.1 else f"{hours:.2g}"


def caption(plan: Plan, data: Data) -> str:
    """Data, labels, preset, splits and seed, without which no number means anything."""
    dataset, splits = data.first
    kind = "references" if dataset.has_references else "groups, no references"
    return (
        f"{dataset.name} ({len(dataset)} images, {len(dataset.references)} {kind}; {dataset.labels}), "
        f"preset {plan.preset}, recipe {plan.recipe}, {len(splits)} splits, seed {plan.seed}"
    )


def show_studies(studies: Mapping[str, Study]) -> None:
    """Name, question and cost of every study."""
    view = Table("study", "question", "preset", "cost", title="Studies", show_lines=True)
    for name, study in studies.items():
        presets = study.presets.items()
        view.add_row(name, study.question, "\n".join(p for p, _ in presets), "\n".join(s.cost for _, s in presets))
    console.print(view)


def show_plan(plan: Plan, made: Estimate, found: Reuse, data: Data, line: Timeline, path: Folder) -> None:
    """What would run, what is done, what it costs, and when it would be over."""
    from gada_ray.running.status import duration
    from gada_ray.system import devices

    columns = ("variant", "steps", "trainings", "done", "shared start", "each", "device-hours", "price from")
    view = Table(*columns, title=plan.question)
    for variant, cost in zip(plan.variants, made.variants, strict=True):
        left = cost.planned - cost.done
        view.add_row(
            variant.name,
            f"{variant.config.steps}",
            f"{cost.planned}",
            f"{cost.done}",
            f"{cost.shared}",
            duration(3600 * cost.device_hours / left) if left else "",
            _number(cost.device_hours),
            cost.source,
        )
    console.print(view)
    names = {variant.name for variant in plan.variants}
    for one in (one for one in plan.contrasts if {one.first, one.second} <= names):
        say(f"to be answered: {one.question} ({one.first} − {one.second})")
    shared = sum(cost.shared for cost in made.variants)
    start = f"; {shared} to do start from the weights of another" if shared else ""
    say(
        f"{caption(plan, data)}\n{reused(found)}{start}\n"
        f"{made.left} trainings to do, {_hours(made)}; with {line.slots} at a time over in {duration(line.makespan)}, "
        f"{line.utilisation:.0%} of the slots' time used, {line.idle:.0%} idle\n"
        f"prices are of the {made.device}{'' if devices.count() else ', which has no GPU'}\n"
        f"nothing was trained; the end of the study compares with this estimate, {path}",
    )


def show_cost(made: Estimate | None, used: float, finished: bool) -> None:
    """What was used, in device-hours of all runs of a study, beside what was estimated."""
    if made is None or not made.device_hours:
        return
    spent = used - made.used_before
    ratio = f"{spent / made.device_hours:.2f} times as much" if finished else "so far"
    say(f"estimated {_hours(made)} on the {made.device}, used {_number(spent)} ({ratio})")


def show_discarded(search: Search) -> None:
    """What was trained ahead of decisions that made it pointless."""
    count, seconds = search.discarded
    say(f"trained ahead in vain, for candidates that lost their race: {count}, {_number(seconds / 3600)} device-hours")


def show_missing(search: Search, cause: str) -> None:
    """What a study that ended before its time has, and has not."""
    view = Table("variant", "trainings", "test splits", "missing", title="What is missing")
    total = 0
    for variant in search.variants:
        made = [*variant.proposed, *([variant.tested] if variant.tested else [])]
        done = sum(result is not None for c in made for result in c.results.values())
        tested = sum(r is not None for r in variant.tested.results.values()) if variant.tested else 0
        view.add_row(
            variant.variant.name,
            f"{done} of {variant.planned}",
            f"{tested} of {search.plan.splits}",
            f"{variant.planned - done}",
        )
        total += variant.planned - done
    console.print(view)
    console.print(f"{cause} with {total} trainings to do; run the same command to go on", style="yellow")


def show_report(verdict: Iterable[str], page: Folder) -> None:
    """Show the verdict of `analysis.verdict`, a line for each sentence, and where the report is."""
    for text in verdict:
        say(text, style="bold")
    say(f"report: {page}")


def show_results(
    plan: Plan, search: Search, data: Data, root: Folder, uri: str | None, brisque: pd.DataFrame | None = None
) -> None:
    """The study's table with the baselines under it, on the screen and as a file, and where everything else is.

    `uri` is MLflow's address; None where it cannot be used.
    """
    from gada_ray.study.results import same_trainings, write_tables
    from gada_ray.tracking.uri import PAGE, sqlite_path, where_to_look

    path, frame = write_tables(root / "tables", plan, search.configurations(), *data.first, brisque)
    tested = frame[frame["stage"] == "test"]
    view = Table(
        "variant",
        "n",
        "SROCC mean ± sd",
        "median",
        "PLCC mean ± sd",
        "median",
        "device-hours",
        title=plan.question,
        caption=f"{caption(plan, data)}; on test references",
    )
    for _, row in tested.iterrows():
        view.add_row(
            row["variant"],
            _count(row),
            *_scores(row),
            "" if math.isnan(row["device_hours"]) else f"{row['device_hours']:.2f}",
        )
    console.print(view)
    for variant in search.variants:
        if variant.variant.space and variant.best:
            chosen = ", ".join(f"{path}={short(variant.best.run.values[path])}" for path in variant.variant.space)
            say(
                f"{variant.variant.name}: {chosen}; validation SROCC {variant.best.mean:.3f}, best of {len(variant.proposed)}"
            )
    for names in same_trainings(search.configurations()):
        say(f"{' and '.join(names)} are the same training, so that their scores are equal")
    say(f"results: {root}\ntable: {path}")
    if uri is not None:
        page = f"\n  then open {PAGE}, Model training, {plan.study}" if sqlite_path(uri) else ""
        say(f"MLflow: {where_to_look(uri)}{page}")


def show_next(plan: Plan, model: str | None, uri: str) -> None:
    """What to do next with images of one's own."""
    from gada_ray.tracking.uri import option

    score = f"python -m gada_ray score FOLDER --model {model}{option(uri)}" if model else ""
    if plan.dataset == "demo":
        say(
            "next, with your own images and scores: python -m gada_ray check --dataset manifest --data-root FOLDER, "
            f"then python tune.py --study {plan.study} --dataset manifest --data-root FOLDER (docs/your-own-data.md)"
        )
    elif score:
        say(f"next, with unlabelled images: {score} (docs/score.md)")


def show_cross_dataset(found: pd.DataFrame) -> None:
    """What the study's trials reached on other databases, as means over splits."""
    columns = ("tested on", "variant", "images", "splits", "SROCC", "PLCC", "PLCC after logistic", "KRCC")
    view = Table(*columns, title="Trained here, tested there", caption="the logistic is fitted on the whole database")
    for row in found.to_dict("records"):
        means = (row[f"{measure}_mean"] for measure in ("srocc", "plcc", "plcc_fitted", "krcc"))
        names = (str(row[name]) for name in ("tested_on", "variant", "images", "splits"))
        view.add_row(*names, *(f"{mean:.3f}" for mean in means))
    console.print(view)


def show_failures(search: Search, root: Folder) -> None:
    """Name the trainings that ended without a score, with their causes; they count as done."""
    ended = [(job, c.results.get(job.trial.fold.split)) for c in search.configurations() for job in c.jobs]
    failed = [(job, result) for job, result in ended if result is not None and result.status != "finished"]
    for job, result in failed[:MOST_FAILURES]:
        where = root / "trials" / job.trial.signature
        warn(f"{job.run.name}, split {job.trial.fold.split}: {result.status} ({result.cause}), {where}")
    if failed:
        warn(f"{len(failed)} trainings have no score; they are not tried again, unless their folders are deleted")


def short(value: Any) -> str:
    """A searched value, three digits of a number with many."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _count(row: pd.Series[Any]) -> str:
    return f"{row['n']}" if row["n"] == row["planned"] else f"{row['n']} of {row['planned']}"


def _scores(row: pd.Series[Any]) -> list[str]:
    cells = []
    for name in ("srocc", "plcc"):
        mean, sd, median = (row[f"{name}_{part}"] for part in ("mean", "sd", "median"))
        cells += [f"{mean:.3f}" + ("" if math.isnan(sd) else f" ± {sd:.3f}"), f"{median:.3f}"] if row["n"] else ["", ""]
    return cells
