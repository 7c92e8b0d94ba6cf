"""Addresses of MLflow's pages, and the descriptions that link to them.

The addresses are those that the pages themselves make; a test follows every one in a browser.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

CURVE = "curve/srocc"
MAX_RUNS = 40
"""Runs in one address; browsers and MLflow limit its length."""
VIEW = "mlflow.sharedViewState."
"""Prefix of an experiment's tag that holds a saved view of its runs. MLflow does not document it."""
COLUMNS = ("srocc_mean", "srocc_sd", "plcc_mean", "n")
CHARTS = "^srocc_(mean|median|sd)$"
"""Metrics, as a regular expression, whose bars are shown first."""


def view_state(runs: Sequence[str]) -> str:
    """The value of a `VIEW` tag: a table of some runs, the best SROCC first, and bars of SROCC."""
    return json.dumps(
        {
            "searchFilter": _only(runs),
            "orderByKey": "metrics.`srocc_mean`",
            "orderByAsc": False,
            "selectedColumns": [f"metrics.`{name}`" for name in COLUMNS],
            "columnOrder": [f"metrics.`{name}`" for name in COLUMNS],
            "chartsSearchFilter": CHARTS,
            "runsHiddenMode": "SHOW_ALL",  # by default, charts show ten runs
        }
    )


def view(experiment: str, key: str, bars: bool = False) -> str:
    """A saved view of runs, as a table or as bar charts."""
    mode = "&compareRunsMode=CHART" if bars else ""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={key}{mode}&workflowType=machine_learning"


def charts(experiment: str, runs: Sequence[str]) -> str:
    """A bar chart of every metric of some runs, the best by SROCC first; needs no saved view."""
    return (
        f"#/experiments/{experiment}/runs?searchFilter={quote(_only(runs), safe='')}&orderByAsc=false"
        f"&orderByKey={quote('metrics.`srocc_mean`')}&compareRunsMode=CHART&workflowType=machine_learning"
    )


def comparison(experiment: str, runs: Sequence[str]) -> str:
    """Parallel coordinates of runs.

    In the table of metrics on that page, MLflow 3.17 scrolls names later than values, so that they stand in wrong rows.
    """
    return f"#/compare-runs?runs={_list(runs)}&experiments={_list([experiment])}"


def curves(experiment: str, runs: Sequence[str], metric: str = CURVE) -> str:
    """A metric of some runs, by step."""
    return (
        f"#/metric?runs={_list(runs)}&metric={_text(metric)}&experiments={_list([experiment])}"
        f"&plot_metric_keys={_list([metric])}&plot_layout={_text({'autosize': True})}&x_axis=step&y_axis_scale=linear"
        "&line_smoothness=1&show_point=true&deselected_curves=[]&last_linear_y_axis_range=[]"
    )


def run(experiment: str, run_id: str) -> str:
    """A run's page."""
    return f"#/experiments/{experiment}/runs/{run_id}"


def file(experiment: str, run_id: str, name: str) -> str:
    """A file of a run."""
    return f"{run(experiment, run_id)}/artifacts/{quote(name)}"


def link(text: str, address: str) -> str:
    """A link in Markdown, whatever its text contains."""
    for mark in r"\[]":
        text = text.replace(mark, f"\\{mark}")
    return f"[{text}]({address})"


def configuration_links(experiment: str, splits: Mapping[int, str]) -> list[str]:
    """Markdown for a configuration: its learning curves and predictions; `splits` are run ids by split."""
    shown = sorted(splits.items())[:MAX_RUNS]
    predictions = ", ".join(link(str(split), file(experiment, one, "predictions.csv")) for split, one in shown)
    of_splits = link("Learning curves of the splits", curves(experiment, [one for _, one in shown]))
    return [of_splits, f"Predictions of split {predictions}"]


def fitted(parts: Iterable[str], length: int, separator: str = "\n\n") -> str:
    """Texts joined, as many of them as fit into some characters; says how many are left out."""
    parts = list(parts)
    for count in range(len(parts), -1, -1):
        left_out = (
            [f"({len(parts) - count} more are not listed: MLflow limits descriptions.)"] if count < len(parts) else []
        )
        text = separator.join([*parts[:count], *left_out])
        if len(text) <= length:
            return text
    return ""


def _only(runs: Sequence[str]) -> str:
    """MLflow's filter for some runs."""
    return f"attributes.run_id IN ({', '.join(repr(one) for one in runs)})"


def _list(values: Sequence[str]) -> str:
    return quote(json.dumps(list(values), separators=(",", ":")), safe="[],")


def _text(value: object) -> str:
    return quote(json.dumps(value, separators=(",", ":")), safe="")
