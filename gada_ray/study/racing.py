"""Racing over splits: prune a configuration that is clearly worse before it is trained on every split.

All configurations see the splits in one seeded order. After the first few, and again after every block, each is
compared with the best one on the splits that both have seen, pair by pair. Only candidates of a search are pruned: the
best one, and every variant that is tested, is trained on every split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Racing:
    """When a configuration is pruned."""

    first: int = 4
    """Splits before the first decision. With fewer than four, no paired rank test reaches p = 0.1."""
    block: int = 2
    """Splits between decisions, trained at the same time."""
    p: float = 0.1
    """One-sided p of the paired Wilcoxon test below which a configuration is clearly worse."""

    def __post_init__(self) -> None:
        if self.first < 4 or self.block < 1 or not 0 < self.p < 1:
            raise ValueError(f"racing needs first >= 4, block >= 1 and 0 < p < 1, got {self}")

    def blocks(self, splits: int) -> list[range]:
        """Positions in the order of splits that are trained together."""
        ends = [min(self.first, splits), *range(self.first + self.block, splits + self.block, self.block)]
        starts = [0, *ends]
        return [range(start, min(end, splits)) for start, end in zip(starts, ends, strict=False) if start < splits]


def clearly_worse(scores: Sequence[float], best: Sequence[float], racing: Racing) -> bool:
    """Whether a configuration is clearly worse than the best one, from paired scores of both on the same splits.

    Its mean must be lower too: a configuration with many small losses and one large gain is kept.
    """
    difference = np.asarray(scores, dtype=np.float64) - np.asarray(best, dtype=np.float64)
    if len(difference) < racing.first or difference.mean() >= 0 or not difference.any():
        return False
    from scipy import stats

    p = stats.wilcoxon(difference, alternative="less", method="auto" if (difference == 0).any() else "exact").pvalue
    return bool(p < racing.p)


def losers(running: Mapping[int, Sequence[float]], complete: Mapping[int, Sequence[float]], racing: Racing) -> set[int]:
    """Numbers of the running configurations to prune.

    `running` and `complete` hold scores in the shared order of splits, by number of the configuration. All running ones
    have seen the same splits; the best configuration is the one with the highest mean on these.
    """
    seen = min((len(scores) for scores in running.values()), default=0)
    if seen < racing.first:
        return set()
    scores = {number: list(values[:seen]) for number, values in {**complete, **running}.items()}
    best = max(scores, key=lambda number: (np.mean(scores[number]), -number))
    return {number for number in running if number != best and clearly_worse(scores[number], scores[best], racing)}


@dataclass(frozen=True)
class Replay:
    """One search, replayed on scores that are known."""

    chosen: int
    seen: tuple[int, ...]
    """On how many splits each configuration was trained; a pruned one on the first ones only."""
    pruned: frozenset[int]

    @property
    def trainings(self) -> int:
        """Of all configurations."""
        return sum(self.seen)


def replay(scores: np.ndarray, generation: int, racing: Racing | None, first_generation: int = 0) -> Replay:
    """Search in the order of rows, on scores `[configurations, splits]` in the order of splits.

    The first generation has at least `first_generation` configurations. Without racing every configuration is trained
    on every split.
    """
    configurations, splits = scores.shape
    complete: dict[int, Sequence[float]] = {}
    pruned: set[int] = set()
    seen = [0] * configurations
    starts = [0, *range(max(first_generation, generation), configurations, generation)]
    for first, end in zip(starts, [*starts[1:], configurations], strict=True):
        alive = list(range(first, end))
        for block in racing.blocks(splits) if racing else [range(splits)]:
            for number in alive:
                seen[number] = block.stop
            if racing and block.stop < splits:
                lost = losers({number: scores[number, : block.stop].tolist() for number in alive}, complete, racing)
                pruned |= lost
                alive = [number for number in alive if number not in lost]
        complete |= {number: scores[number].tolist() for number in alive}
    chosen = max(complete, key=lambda number: (np.mean(complete[number]), -number))
    return Replay(chosen, tuple(seen), frozenset(pruned))


@dataclass(frozen=True)
class Simulation:
    """What racing saves and costs on a table of known scores."""

    orders: int
    trainings: np.ndarray
    """Trainings with racing, as a share of all, by order."""
    regret: np.ndarray
    """Mean score of the table's best configuration minus that of the chosen one, by order."""
    best_pruned: float
    """Share of orders in which the best configuration was pruned."""

    def interval(self) -> tuple[float, float]:
        """The 95% interval of the mean regret over orders."""
        half = 1.96 * self.regret.std(ddof=1) / np.sqrt(len(self.regret))
        return float(self.regret.mean() - half), float(self.regret.mean() + half)


def simulate(
    table: np.ndarray, generation: int, racing: Racing, orders: int = 200, seed: int = 0, first_generation: int = 0
) -> Simulation:
    """Replay searches over `table` `[configurations, splits]` in random orders of configurations and splits.

    Without racing the best configuration of the table is always chosen, so its regret is 0.
    """
    random = np.random.default_rng(seed)
    means = table.mean(axis=1)
    best = int(means.argmax())
    shares, regrets, pruned = [], [], 0
    for _ in range(orders):
        rows, columns = random.permutation(len(table)), random.permutation(table.shape[1])
        outcome = replay(table[rows][:, columns], generation, racing, first_generation)
        shares.append(outcome.trainings / table.size)
        regrets.append(means[best] - means[rows[outcome.chosen]])
        pruned += int(np.flatnonzero(rows == best)[0]) in outcome.pruned
    return Simulation(orders, np.array(shares), np.array(regrets), pruned / orders)
