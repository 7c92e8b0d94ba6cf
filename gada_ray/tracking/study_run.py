"""The run of a whole study: its verdict, scores and report; and the experiment's banner and saved views."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from gada_ray.config import CODE_VERSION, digest
from gada_ray.study.definition import Plan
from gada_ray.study.summary import metric_name
from gada_ray.tracking import links
from gada_ray.tracking.client import (
    KEY,
    MADE_OF,
    MAX_NOTE,
    NOTE,
    connect,
    experiment_id,
    hash_tag,
    search,
    search_key,
    source_tags,
    unreachable,
)
from gada_ray.tracking.uri import TrackingError

REPORT = "report.html"
BANNER = "mlflow.gada.banner"
"""Tag of an experiment: the digest of the description that was written here. One that a person wrote is kept."""


def log_study(
    uri: str,
    plan: Plan,
    scheme: str,
    fingerprints: Sequence[str],
    keys: Collection[str],
    files: Path,
    over: bool,
    made_of: str = "",
    verdict: Sequence[str] = (),
) -> str:
    """Keep files about a whole plan, such as its report, in one run of kind "study"; returns that run's id.

    The run is found again by what the plan trains: another seed, setting or dataset has its own. `scheme` names the
    division of references, `keys` the plan's configurations (`configuration_key`), which the description lists.
    `over` says that nothing is left to train, `made_of` names what the files were made of (see `is_logged`), and
    `verdict` holds the paragraphs of the study's verdict. The run lasts from the first trial's start to the last one's
    end.

    Raises:
        TrackingError: when MLflow cannot be reached or refuses.
    """
    tags = _tags(plan, scheme, fingerprints)
    try:
        client = connect(uri)
        place = experiment_id(client, uri, plan.study)
        configurations = _configurations(client, place, plan, keys)
        of_plan = [*configurations.tested.values(), *chain.from_iterable(configurations.candidates.values())]
        found = search_key(client, place, tags[KEY])
        start = min((one.info.start_time for one in of_plan), default=None)
        name = f"study {plan.study}, {plan.preset}"
        run = found[0] if found else client.create_run(place, start, tags | source_tags(), name)
        run_id = run.info.run_id
        for surplus in found[1:]:
            client.delete_run(surplus.info.run_id)
        if not found:
            params = {"dataset": plan.dataset, "variants": ", ".join(variant.name for variant in plan.variants)}
            params |= {"splits": str(plan.splits), "seed": str(plan.seed)}
            client.log_batch(run_id, params=[Param(*item) for item in params.items()], synchronous=True)
        client.log_artifacts(run_id, str(files))
        end = max((one.info.end_time or 0 for one in of_plan), default=0)
        scores = {metric_name(f"srocc_mean/{name}"): value for name, value in _scores(configurations.tested).items()}
        metrics = [Metric(key, value, end, 0) for key, value in scores.items() if run.data.metrics.get(key) != value]
        client.log_batch(run_id, metrics=metrics, synchronous=True)
        client.set_tag(run_id, MADE_OF, made_of)
        if configurations.tested:
            view_key = tags[KEY][:12]
            runs = [one.info.run_id for one in configurations.tested.values()][: links.MAX_RUNS]
            client.set_experiment_tag(place, f"{links.VIEW}{view_key}", links.view_state(runs))
            lines = _note(place, run_id, view_key, configurations, verdict)
            client.set_tag(run_id, NOTE, links.fitted(lines, MAX_NOTE))
            if verdict:
                # MLflow shows the first paragraph, and the others on request.
                first = f"{_entries(place, run_id, view_key)} · {verdict[0]}"
                about = f"({name}, on {plan.dataset}, {plan.splits} splits)"
                _set_banner(client, place, links.fitted([first, *verdict[1:], about], MAX_NOTE))
        client.set_terminated(run_id, "FINISHED" if over else "KILLED", end or None)
    except MlflowException as error:
        raise TrackingError(unreachable(uri, plan.study, error)) from error
    return str(run_id)


def is_logged(uri: str, plan: Plan, scheme: str, fingerprints: Sequence[str], made_of: str) -> bool:
    """Whether `log_study` has kept files that were made of the same."""
    client = connect(uri)
    key = _tags(plan, scheme, fingerprints)[KEY]
    found = search_key(client, experiment_id(client, uri, plan.study), key)
    return [hash_tag(run, MADE_OF) for run in found] == [made_of]


@dataclass(frozen=True)
class _Configurations:
    """Runs of a plan's configurations by variant, in the plan's order: those tested, and the candidates of searches."""

    tested: Mapping[str, Run]
    candidates: Mapping[str, list[Run]]


def _tags(plan: Plan, scheme: str, fingerprints: Sequence[str]) -> dict[str, str]:
    """Tags by which the run of a whole plan is found again."""
    return {
        "kind": "study",
        KEY: digest(
            {
                "study": plan.study,
                "preset": plan.preset,
                "dataset": [plan.dataset, *sorted(fingerprints)],
                "variants": {
                    variant.name: variant.config.model_dump(mode="json", exclude_defaults=True)
                    for variant in plan.variants
                },
                "scheme": scheme,
                "seed": plan.seed,
                "code_version": CODE_VERSION,
            }
        ),
        "study": plan.study,
        "question": plan.question,
        "preset": plan.preset,
        "splits_hash": scheme,
    }


def _configurations(client: MlflowClient, place: str, plan: Plan, keys: Collection[str]) -> _Configurations:
    found = [one for one in search(client, place, "tags.kind = 'configuration'") if hash_tag(one, KEY) in keys]
    tested: dict[str, Run] = {}
    candidates: dict[str, list[Run]] = {}
    for one in sorted(found, key=lambda one: one.info.start_time):
        if one.data.tags["stage"] == "test":
            tested[one.data.tags["variant"]] = one
        else:
            candidates.setdefault(one.data.tags["variant"], []).append(one)
    names = [variant.name for variant in plan.variants]
    return _Configurations(
        {name: tested[name] for name in names if name in tested},
        {name: candidates[name] for name in names if name in candidates},
    )


def _scores(tested: Mapping[str, Run]) -> dict[str, float]:
    """Mean SROCC by variant, the best first."""
    means = {name: run.data.metrics["srocc_mean"] for name, run in tested.items() if "srocc_mean" in run.data.metrics}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def _note(place: str, run_id: str, view_key: str, configurations: _Configurations, verdict: Sequence[str]) -> list[str]:
    """The description of a study's run: paragraphs of Markdown, of which MLflow shows the first ones at first."""
    tested, candidates = configurations.tested, configurations.candidates
    plain = links.charts(place, [one.info.run_id for one in tested.values()][: links.MAX_RUNS])
    searches = [
        links.link(
            f"What was searched for {variant}, in parallel coordinates",
            links.comparison(place, [one.info.run_id for one in runs][: links.MAX_RUNS]),
        )
        for variant, runs in candidates.items()
    ]
    entries = f"{_entries(place, run_id, view_key)} ({links.link('without the saved view', plain)})"
    return [entries, *verdict, "\n".join(_table(place, tested)[: links.MAX_RUNS + 2]), *searches]


def _entries(place: str, run_id: str, view_key: str) -> str:
    """Links to the pages that compare a study's variants, and to its report."""
    return " · ".join(
        (
            links.link("All variants side by side", links.view(place, view_key, bars=True)),
            links.link("Table of variants", links.view(place, view_key)),
            links.link("Report", links.file(place, run_id, REPORT)),
        )
    )


def _table(place: str, tested: Mapping[str, Run]) -> list[str]:
    """The scores of all variants, the best first, as rows of a Markdown table."""
    rows = ["| variant | splits | SROCC, mean ± sd | PLCC, mean ± sd |", "|---|---|---|---|"]
    order = [*_scores(tested), *(name for name in tested if name not in _scores(tested))]
    for name in order:
        metrics = tested[name].data.metrics
        cells = [mean_and_sd(metrics, measure) for measure in ("srocc", "plcc")]
        label = links.link(name.replace("|", "\\|"), links.run(place, tested[name].info.run_id))
        rows.append(f"| {label} | {metrics.get('n', 0):.0f} | {' | '.join(cells)} |")
    return rows


def mean_and_sd(metrics: Mapping[str, float], measure: str) -> str:
    """Such as "0.703 ± 0.021"; without the latter for one split, and empty for none."""
    if f"{measure}_mean" not in metrics:
        return ""
    sd = metrics.get(f"{measure}_sd")
    return f"{metrics[f'{measure}_mean']:.3f}" + ("" if sd is None else f" ± {sd:.3f}")


def _set_banner(client: MlflowClient, place: str, text: str) -> None:
    """Show a text above an experiment's runs, unless a person has written one there."""
    tags = client.get_experiment(place).tags
    if NOTE not in tags or tags.get(BANNER) == digest(tags[NOTE]):
        client.set_experiment_tag(place, NOTE, text)
        client.set_experiment_tag(place, BANNER, digest(text))
