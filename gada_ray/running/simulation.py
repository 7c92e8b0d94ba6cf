"""Searches replayed on recorded scores: `tune.py --simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from gada_ray.config import with_values
from gada_ray.running.views import console, say
from gada_ray.study.definition import Preset, Study
from gada_ray.study.space import Range

if TYPE_CHECKING:
    import pandas as pd


def show_simulation(study: Study, preset: Preset, path: Path) -> None:
    """Replay the study's race on a table of scores, each searched variant by itself, in generations of a preset.

    Raises:
        StudyError: for a file that is no such table, or one in which scores are missing.
    """
    from gada_ray.study.proposals import STARTUP
    from gada_ray.study.racing import simulate
    from gada_ray.study.regret import grid, read_searches

    generation = preset.generation
    searches = read_searches(path, study.racing)
    for variant, frame in searches.items():
        scores = grid(frame)
        outcome = simulate(scores, generation, study.racing, first_generation=STARTUP)
        low, high = outcome.interval()
        if variant:
            say(variant, style="bold")
        say(
            f"{len(scores)} configurations x {scores.shape[1]} splits, {outcome.orders} random orders, generations of "
            f"{generation} after one of {max(STARTUP, generation)}, {study.racing}\n"
            f"trainings: {outcome.trainings.mean():.1%} of all ({outcome.trainings.min():.1%} to "
            f"{outcome.trainings.max():.1%})\n"
            f"regret of the chosen configuration: {outcome.regret.mean():.5f} SROCC, 95% CI [{low:.5f}, {high:.5f}]; "
            f"without racing 0\nbest configuration pruned: {outcome.best_pruned:.1%} of orders",
        )
        _show_generations(study, frame)


def _show_generations(study: Study, frame: pd.DataFrame) -> None:
    """The cost of the size of a generation, where the table has the values that were searched, all from ranges."""
    from gada_ray.study.regret import replay_searches

    sizes = [size for size in study.presets.values() if size.space and set(size.space) <= set(frame)]
    if not sizes or not all(isinstance(kind, Range) for kind in sizes[-1].space.values()):
        return
    size = sizes[-1]
    base = with_values(study.base, size.values)
    view = Table(
        "candidates at once, after the first ten",
        "trainings, of all",
        "regret, SROCC (95% CI)",
        title=f"{size.candidates} candidates of Optuna, each scored as the nearest recorded configuration; 20 seeds",
    )
    for generation in sorted({1, 4, size.generation, size.candidates}):
        found = replay_searches(frame, base, size.space, size.candidates, generation, study.racing)
        half = 1.96 * found.regret.std(ddof=1) / len(found.regret) ** 0.5
        view.add_row(f"{generation}", f"{found.trainings:.1%}", f"{found.regret.mean():.5f} ± {half:.5f}")
    console.print(view)
