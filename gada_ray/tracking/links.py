"""Addresses of MLflow's pages, and the descriptions of runs that lead to them in two clicks.

The addresses are those that the pages themselves make; a test follows every one in a browser.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

CURVE = "curve/srocc"
MOST = 40
"""Links in a description, whose length MLflow limits."""


def charts(experiment: str, runs: Sequence[str]) -> str:
    """A bar chart of every metric of some runs, the best by SROCC first."""
    rule = f"attributes.run_id IN ({', '.join(repr(run) for run in runs)})"
    return (
        f"#/experiments/{experiment}/runs?searchFilter={quote(rule, safe='')}&orderByAsc=false"
        f"&orderByKey={quote('metrics.`srocc_mean`')}&compareRunsMode=CHART&workflowType=machine_learning"
    )


def comparison(experiment: str, runs: Sequence[str]) -> str:
    """Parallel coordinates of runs.

    MLflow 3.17 scrolls the names in the table of metrics there one turn of the wheel late, beside other rows' numbers.
    """
    return f"#/compare-runs?runs={_list(runs)}&experiments={_list([experiment])}"


def curves(experiment: str, runs: Sequence[str], metric: str = CURVE) -> str:
    """A metric of some runs, by step."""
    return (
        f"#/metric?runs={_list(runs)}&metric={_text(metric)}&experiments={_list([experiment])}"
        f"&plot_metric_keys={_list([metric])}&plot_layout={_text({'autosize': True})}&x_axis=step&y_axis_scale=linear"
        "&line_smoothness=1&show_point=true&deselected_curves=[]&last_linear_y_axis_range=[]"
    )


def file(experiment: str, run: str, name: str) -> str:
    """A file of a run."""
    return f"#/experiments/{experiment}/runs/{run}/artifacts/{name}"


def configuration_note(experiment: str, splits: Mapping[int, str]) -> str:
    """Markdown for a configuration: its learning curves, and predictions; `splits` are ids of runs by split."""
    some = sorted(splits.items())[:MOST]
    predictions = ", ".join(f"[{split}]({file(experiment, run, 'predictions.csv')})" for split, run in some)
    runs = [run for _, run in some]
    return f"[Learning curves of the splits]({curves(experiment, runs)})\n\nPredictions of split {predictions}"


def study_note(experiment: str, tested: Mapping[str, str], candidates: Mapping[str, Sequence[str]]) -> str:
    """Markdown for a study: its variants side by side, and each search in parallel coordinates.

    `tested` are ids of runs by variant, `candidates` those of a variant's search.
    """
    lines = [f"[All variants side by side]({charts(experiment, list(tested.values())[:MOST])})"] if tested else []
    lines += [
        f"[What was searched for {variant}, in parallel coordinates]({comparison(experiment, runs[:MOST])})"
        for variant, runs in candidates.items()
    ]
    variants = ", ".join(f"[{variant}](#/experiments/{experiment}/runs/{run})" for variant, run in tested.items())
    return "\n\n".join([*lines, f"Learning curves and predictions: {variants}"])


def _list(values: Sequence[str]) -> str:
    return quote(json.dumps(list(values), separators=(",", ":")), safe="[],")


def _text(value: object) -> str:
    return quote(json.dumps(value, separators=(",", ":")), safe="")
