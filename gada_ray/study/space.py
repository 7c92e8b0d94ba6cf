"""What a study searches: ranges and choices, as plain values that a study file names without loading Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Dimension:
    """One value that is searched."""

    def holds(self, value: Any) -> bool:
        """Whether a value lies in it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Range(Dimension):
    """A number between two bounds, even on a plain or on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError(f"a range needs low <= high{' and low > 0' * self.log}, got {self}")

    def holds(self, value: Any) -> bool:
        """Whether a value lies in it."""
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Choice(Dimension):
    """One of some values without order."""

    values: tuple[str | int | float | bool, ...]

    def __init__(self, *values: str | int | float | bool) -> None:
        if not values:
            raise ValueError("a choice needs at least one value")
        object.__setattr__(self, "values", values)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return value in self.values

    def __str__(self) -> str:
        return f"({', '.join(map(repr, self.values))})"


def LogUniform(low: float, high: float) -> Range:
    """A number between two positive bounds, even on a logarithmic scale: for rates and weights."""
    return Range(low, high, log=True)


def Uniform(low: float, high: float) -> Range:
    """A number between two bounds."""
    return Range(low, high)


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    assert isinstance(dimension, Range)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
