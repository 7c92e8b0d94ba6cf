"""What a study searches: ranges and choices, as plain values that a study file names without loading Optuna."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gada_ray.config import canonical
from gada_ray.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = str | int | float | bool | tuple[int, ...]
"""A value that can be chosen; tuples are the widths of a network's layers."""


class SpaceError(UserError, ValueError):
    """A range or choice that cannot be searched; names the rule and the value."""


class Dimension:
    """One value that is searched."""

    def holds(self, value: Any) -> bool:
        """Whether a value lies in it."""
        raise NotImplementedError

    @property
    def count(self) -> float:
        """How many different values there are; infinite for a range."""
        raise NotImplementedError

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values at which a rule can be broken first: all of a choice, the bounds of a range."""
        raise NotImplementedError


@dataclass(frozen=True)
class Range(Dimension):
    """A number between two bounds, drawn evenly on a linear or on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high or (self.log and self.low <= 0):
            raise SpaceError(f"a range needs low <= high{' and low > 0' * self.log}, got {self}")

    def holds(self, value: Any) -> bool:
        """Whether a value lies in it."""
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def count(self) -> float:
        """How many different values there are."""
        return 1 if self.low == self.high else math.inf

    @property
    def ends(self) -> tuple[Any, ...]:
        """The two bounds."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Choice(Dimension):
    """One of some values without order."""

    values: tuple[Value, ...]

    def __init__(self, *values: Value) -> None:
        if not values:
            raise SpaceError("a choice needs at least one value")
        if len(values) == 1 and isinstance(values[0], (tuple, list)):
            one = ", ".join(map(repr, values[0]))
            raise SpaceError(f"a choice takes its values one by one: Choice({one}), got one tuple, {values[0]!r}")
        if len({canonical(value) for value in values}) < len(values):
            raise SpaceError(f"a choice names a value twice: {', '.join(map(repr, values))}; name each once")
        object.__setattr__(self, "values", values)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return value in self.values

    @property
    def count(self) -> float:
        """How many different values there are."""
        return len(self.values)

    @property
    def ends(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    def __str__(self) -> str:
        return f"({', '.join(map(repr, self.values))})"


def LogUniform(low: float, high: float) -> Range:
    """A number between two positive bounds, even on a logarithmic scale: for rates and weights."""
    return Range(low, high, log=True)


def Uniform(low: float, high: float) -> Range:
    """A number between two bounds."""
    return Range(low, high)


def combinations(space: Iterable[Dimension]) -> float:
    """How many different configurations a space has; infinite with a range."""
    return math.prod(dimension.count for dimension in space)


def encoded(value: Any) -> Any:
    """A value as Optuna takes it: a tuple as its JSON text."""
    return canonical(value) if isinstance(value, (tuple, list)) else value


def decoded(dimension: Dimension, value: Any) -> Any:
    """The value of a dimension that `encoded` wrote."""
    if isinstance(dimension, Choice):
        return next((own for own in dimension.values if encoded(own) == value), value)
    return value


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(tuple(encoded(value) for value in dimension.values))
    assert isinstance(dimension, Range)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
