"""Values that a search reports to Optuna, by simulation: `python -m benchmarks.search` (about 10 seconds).

Scores are simulated: 0.9 + candidate + split + residual, each drawn from a normal distribution. Racing is that of
`gada_ray.study.racing`. Optuna can be told the plain mean over the splits that a candidate was trained on, or the mean
adjusted for the difficulty of the splits (`gada_ray.study.adjustment`, as in a study). Two bounds: means without
racing, where every candidate is trained on every split, and the true values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy import stats

from gada_ray.study.adjustment import adjusted_means
from gada_ray.study.proposals import STARTUP
from gada_ray.study.racing import Racing, replay

PLAIN, ADJUSTED = "plain means (before)", "adjusted means"
NO_RACING, TRUE = "bound: no racing, plain means", "bound: true values"


@dataclass
class Outcome:
    """Outcomes of searches that report values of one kind."""

    pruned_first: list[bool] = field(default_factory=list)
    """By search: whether the highest value is that of a pruned candidate."""
    correlation: list[float] = field(default_factory=list)
    """By search: Spearman's correlation of the values with the true ones."""
    regret: list[float] = field(default_factory=list)
    """By search: true value of the best candidate minus that of the candidate with the highest value."""

    def add(self, told: Sequence[float], true: np.ndarray, pruned: frozenset[int]) -> None:
        """Count one search."""
        first = int(np.argmax(told))
        self.pruned_first.append(first in pruned)
        self.correlation.append(float(stats.spearmanr(told, true).statistic))
        self.regret.append(float(true.max() - true[first]))


def simulate(
    searches: int, candidates: int, splits: int, candidate_sd: float, split_sd: float, residual_sd: float, seed: int = 0
) -> tuple[dict[str, Outcome], float]:
    """Outcomes by the kind of value, and the mean share of trainings that racing leaves."""
    found = {name: Outcome() for name in (PLAIN, ADJUSTED, NO_RACING, TRUE)}
    share = 0.0
    for number in range(searches):
        random = np.random.default_rng([seed, number])
        true = 0.9 + random.normal(0, candidate_sd, candidates)
        difficulty = random.normal(0, split_sd, splits)
        scores = true[:, None] + difficulty + random.normal(0, residual_sd, (candidates, splits))
        outcome = replay(scores, STARTUP, Racing())
        seen = [scores[one, :count] for one, count in enumerate(outcome.seen)]
        adjusted = adjusted_means([dict(enumerate(values.tolist())) for values in seen])
        found[PLAIN].add([float(values.mean()) for values in seen], true, outcome.pruned)
        found[ADJUSTED].add([value for value in adjusted if value is not None], true, outcome.pruned)
        found[NO_RACING].add(scores.mean(axis=1).tolist(), true, outcome.pruned)
        found[TRUE].add(true.tolist(), true, outcome.pruned)
        share += outcome.trainings / scores.size / searches
    return found, share


def main(
    searches: Annotated[int, typer.Option(min=2)] = 600,
    candidates: Annotated[int, typer.Option(min=2)] = 10,
    splits: Annotated[int, typer.Option(min=4)] = 10,
    candidate_sd: Annotated[float, typer.Option(min=0)] = 0.01,
    residual_sd: Annotated[float, typer.Option(min=0)] = 0.01,
    split_sd: Annotated[list[float] | None, typer.Option(help="May be repeated.")] = None,
) -> None:
    """Print how well each kind of value ranks candidates, by the standard deviation of the splits' difficulty."""
    title = (
        f"{searches} searches of {candidates} candidates on {splits} splits; standard deviation of candidates "
        f"{candidate_sd:g}, of residuals {residual_sd:g}"
    )
    caption = "± half a 95% interval. With true values, the first column is how often racing prunes the best candidate"
    columns = (
        "sd of splits",
        "Optuna is told",
        "best value is of a pruned candidate",
        "rank correlation",
        "regret, SROCC",
    )
    view = Table(*columns, title=title, caption=caption)
    for sd in split_sd or [0.0, 0.02, 0.05, 0.15]:
        found, share = simulate(searches, candidates, splits, candidate_sd, sd, residual_sd)
        for number, (name, outcome) in enumerate(found.items()):
            cells = (_percent(outcome.pruned_first), _mean(outcome.correlation, 3), _mean(outcome.regret, 5))
            what = f"{sd:g} ({share:.0%} trained)" if number == 0 else ""
            view.add_row(what, name, *cells, end_section=number == len(found) - 1)
    Console(width=130).print(view)


def _percent(values: Sequence[bool]) -> str:
    mean = float(np.mean(values))
    return f"{mean:.1%} ± {1.96 * (mean * (1 - mean) / len(values)) ** 0.5:.1%}"


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f} ± {1.96 * np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f}"


if __name__ == "__main__":
    typer.run(main)
