"""What the command shows: studies, plans, results and simulated searches, as tables and sentences."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from gada_ray.running.words import count, device_time, duration, names, wrap
from gada_ray.study.definition import Plan, Study

if TYPE_CHECKING:
    import pandas as pd

    from gada_ray.running.slots import Resources
    from gada_ray.study.estimate import Estimate, Reuse
    from gada_ray.study.inputs import Data
    from gada_ray.study.search import Search
    from gada_ray.study.virtual import Timeline
    from gada_ray.trials.store import Folder

# A file or pipe has no width to which tables could be fitted.
console = Console() if sys.stdout and sys.stdout.isatty() else Console(width=140)
MAX_FAILURES = 10
"""Trainings without a score that are named at the end; the table of splits has them all."""
STARTUP_S = 45.0
"""Seconds that loading MLflow, starting Ray and its workers, and the report take on 2 CPU cores: two trainings of a
second, as a study, take 50."""


def say(text: str, style: str | None = None) -> None:
    """Print lines of text. A terminal breaks them between words; paths and addresses stay whole."""
    shown = wrap(text, console.width) if console.is_terminal else text
    console.print(shown, style=style, markup=False, highlight=False, soft_wrap=True)


def say_command(text: str) -> None:
    """Print a shell command on a line of its own, unbroken, so that it can be pasted."""
    console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print what a user should know; the study goes on."""
    say(text, style="yellow")


def announce(plan: Plan, cost: str | None, requested: str | None, storage: str) -> None:
    """Say what is asked and what will run, before anything that takes time.

    `cost` is the preset's own sentence, None where options change what runs. `requested` is a file of splits, or
    "published".
    """
    variants = names(variant.name for variant in plan.variants)
    splits = count(plan.splits, "split") if requested is None else f"the splits of {requested}"
    if requested == "published":
        splits = "the published splits"
    if cost is None and requested is None:
        race = plan.racing is not None and any(variant.candidates for variant in plan.variants)
        cost = f"{'at most ' * race}{count(plan.trials, 'trial')}"
    say(plan.question, style="bold")
    say(f"study {plan.study}, preset {plan.preset}, recipe {plan.recipe}: {variants} on {splits}")
    if cost:
        say(cost)
    say(f"results go to {storage}; what it holds already is not trained again, and Ctrl-C leaves checkpoints")


def describe(plan: Plan, data: Data, resources: Resources, slots: int, found: Reuse, made: Estimate | None) -> None:
    """Say what is about to run."""
    cost = "" if made is None else f"; estimated {_device_time(made)}"
    say(f"{caption(plan, data)}; {count(slots, 'trial')} at a time, with {share(resources)} each")
    say(f"{reused(found)}{cost}")


def share(resources: Resources) -> str:
    """The resources of a trial."""
    return f"{resources.gpus:g} GPU" if resources.gpus else f"{resources.cpus:g} CPU"


def reused(found: Reuse) -> str:
    """How many trainings the storage holds already, and which studies trained them."""
    if not found.total:
        return "no training is done yet"
    parts = [f"{found.own} by this study"] if found.own else []
    parts += [f"{n} by {f'study {name}' if name else 'an unnamed study'}" for name, n in sorted(found.others.items())]
    verb = "is" if found.total == 1 else "are"
    return f"{count(found.total, 'training')} {verb} done and not repeated ({', '.join(parts)})"


def _device_time(made: Estimate) -> str:
    return f"{'at most ' if made.at_most else ''}{device_time(made.device_hours)} of device time"


def caption(plan: Plan, data: Data) -> str:
    """Data, labels, preset, splits and seed of a study."""
    dataset, splits = data.first
    kind = "references" if dataset.has_references else "groups, no references"
    return (
        f"{dataset.name} ({len(dataset)} images, {len(dataset.references)} {kind}; {dataset.labels}), "
        f"preset {plan.preset}, recipe {plan.recipe}, {count(len(splits), 'split')}, seed {plan.seed}"
    )


def show_studies(studies: Mapping[str, Study]) -> None:
    """Name, question and time of every study, a row each; of a single study, all presets and variants."""
    if len(studies) == 1:
        return _show_study(*next(iter(studies.items())))
    view = Table("study", "question", "small takes, on 2 CPU cores", box=SIMPLE, padding=(0, 1))
    for name, study in studies.items():
        # A preset's cost is "what; how long on which machine".
        view.add_row(name, study.question, study.presets["small"].cost.rpartition("; ")[2].partition(" on ")[0])
    console.print(view)
    say("all presets of one study: python tune.py --list --study NAME")


def _show_study(name: str, study: Study) -> None:
    say(study.question, style="bold")
    view = Table("preset", "splits", "cost", box=SIMPLE, padding=(0, 1))
    for preset, size in study.presets.items():
        view.add_row(preset, f"{size.splits}", size.cost)
    console.print(view)
    say(f"run it: python tune.py --study {name} --preset small")


def show_plan(plan: Plan, made: Estimate, found: Reuse, data: Data, line: Timeline, path: Folder) -> None:
    """What would run, what is done, what it costs, and when it would end."""
    from gada_ray.system import devices

    columns = ("variant", "steps", "trainings", "done", "shared start", "each", "device time", "time known from")
    view = Table(*columns, title=plan.question)
    for variant, cost in zip(plan.variants, made.variants, strict=True):
        left = cost.planned - cost.done - cost.alike
        view.add_row(
            variant.name,
            f"{variant.config.steps}",
            f"{cost.planned}",
            f"{cost.done}",
            f"{cost.shared}",
            duration(3600 * cost.device_hours / left) if left else "",
            device_time(cost.device_hours) if left else "",
            cost.source,
        )
    console.print(view)
    taking_part = {variant.name for variant in plan.variants}
    for one in (one for one in plan.contrasts if {one.first, one.second} <= taking_part):
        say(f"contrast: {one.question} ({one.first} − {one.second})")
    shared = sum(cost.shared for cost in made.variants)
    start = f"; {shared} to do start from the weights of another" if shared else ""
    alike = sum(cost.alike for cost in made.variants)
    once = f"; {alike} are the same as another variant's, and are trained once" if alike else ""
    say(f"{caption(plan, data)}\n{reused(found)}{start}{once}")
    if made.left:
        say(
            f"{count(made.left, 'training')} to do, {_device_time(made)}; with {line.slots} at a time over in about "
            f"{duration(line.makespan + STARTUP_S)}, start-up included; the trials use {line.utilisation:.0%} of the "
            f"slots' time\ntimes are of the {made.device}{'' if devices.count() else ', which has no GPU'}: from past "
            "trials in the storage, or from a probe, which times a few steps of every kind"
        )
        if made.slowdown > 1:
            say(f"trials that share a GPU are priced at {made.slowdown:.2f} times their steps' time alone")
    else:
        say("0 trainings to do")
    say(f"nothing was trained; the end of the study compares with this estimate, {path}")


def show_cost(made: Estimate | None, used: float, finished: bool) -> None:
    """The device time of all runs of a study, beside the estimate."""
    if made is None or not made.device_hours:
        return
    spent = used - made.used_before
    ratio = f"{spent / made.device_hours:.2f} times as much" if finished else "so far"
    say(f"estimated {_device_time(made)} on the {made.device}, used {device_time(spent)} ({ratio})")


def show_discarded(search: Search) -> None:
    """Speculative trainings that a decision of the race made useless."""
    number, seconds = search.discarded
    say(
        f"{count(number, 'speculative training')} discarded, of candidates that were pruned: "
        f"{device_time(seconds / 3600)} of device time"
    )


def show_missing(search: Search, cause: str) -> None:
    """What a study that ended early has trained, and what is missing."""
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
    warn(f"{cause} with {count(total, 'training')} to do; run the same command to go on")


def show_report(verdict: Iterable[str], page: Folder) -> None:
    """Show the verdict of `analysis.verdict`, a line for each sentence, and where the report is."""
    for text in verdict:
        say(text, style="bold")
    say(f"report: {page}")


def show_results(
    plan: Plan, search: Search, data: Data, root: Folder, uri: str | None, brisque: pd.DataFrame | None = None
) -> None:
    """The study's table with its baselines, on the screen and as a file, and where everything else is.

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
        "device time",
        title=plan.question,
        caption=f"{caption(plan, data)}; on test references",
    )
    for _, row in tested.iterrows():
        view.add_row(
            row["variant"],
            _count(row),
            *_scores(row),
            "" if math.isnan(row["device_hours"]) else device_time(row["device_hours"]),
        )
    console.print(view)
    for variant in search.variants:
        if variant.variant.space and variant.best:
            chosen = ", ".join(f"{path}={short(variant.best.run.values[path])}" for path in variant.variant.space)
            say(
                f"{variant.variant.name}: {chosen}; validation SROCC {variant.best.mean:.3f}, the best of "
                f"{count(len(variant.proposed), 'candidate')}"
            )
    for alike in same_trainings(search.configurations()):
        say(f"{' and '.join(alike)} are the same training, so that their scores are equal")
    say(f"results: {root}\ntable: {path}")
    if uri is not None:
        say("MLflow:")
        say_command(where_to_look(uri))
        if sqlite_path(uri):
            say(f"then open {PAGE}, Model training, {plan.study}")


def show_next(plan: Plan, model: str | None, uri: str) -> None:
    """What to do next with images of one's own."""
    from gada_ray.tracking.uri import option

    if plan.dataset == "demo":
        say("next, with your own images and scores (docs/your-own-data.md):")
        say_command("python -m gada_ray check --dataset manifest --data-root FOLDER")
        say_command(f"python tune.py --study {plan.study} --dataset manifest --data-root FOLDER")
    elif model:
        say("next, with unlabelled images (docs/score.md):")
        say_command(f"python -m gada_ray score FOLDER --model {model}{option(uri)}")


def show_cross_dataset(found: pd.DataFrame) -> None:
    """Scores of the study's trials on other databases, as means over splits."""
    columns = ("tested on", "variant", "images", "splits", "SROCC", "PLCC", "PLCC after logistic", "KRCC")
    view = Table(*columns, title="Cross-dataset test", caption="the logistic is fitted on the whole database")
    for row in found.to_dict("records"):
        means = (row[f"{measure}_mean"] for measure in ("srocc", "plcc", "plcc_fitted", "krcc"))
        texts = (str(row[name]) for name in ("tested_on", "variant", "images", "splits"))
        view.add_row(*texts, *(f"{mean:.3f}" for mean in means))
    console.print(view)


def show_failures(search: Search, root: Folder) -> None:
    """Name the trainings that ended without a score, with their causes; they count as done."""
    ended = [(job, c.results.get(job.trial.fold.split)) for c in search.configurations() for job in c.jobs]
    failed = [(job, result) for job, result in ended if result is not None and result.status != "finished"]
    for job, result in failed[:MAX_FAILURES]:
        where = root / "trials" / job.trial.signature
        warn(f"{job.run.name}, split {job.trial.fold.split}: {result.status} ({result.cause}), {where}")
    if failed:
        verb = "has" if len(failed) == 1 else "have"
        warn(f"{count(len(failed), 'training')} {verb} no score; delete the folder of one to train it again")


def short(value: Any) -> str:
    """A searched value, with three digits of a number."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _count(row: pd.Series[Any]) -> str:
    return f"{row['n']}" if row["n"] == row["planned"] else f"{row['n']} of {row['planned']}"


def _scores(row: pd.Series[Any]) -> list[str]:
    cells = []
    for name in ("srocc", "plcc"):
        mean, sd, median = (row[f"{name}_{part}"] for part in ("mean", "sd", "median"))
        spread = "" if math.isnan(sd) else f" ± {sd:.3f}"
        cells += [f"{mean:.3f}{spread}", f"{median:.3f}"] if row["n"] else ["", ""]
    return cells
