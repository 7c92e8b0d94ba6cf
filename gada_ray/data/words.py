"""Counts and lists of names, as messages print them."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 3
"""Names, or problems of one kind, that a message shows before it counts the others."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "1 split", "12 splits"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def some(names: Sequence[object], most: int | None = SHOWN) -> str:
    """The first names of a list and the number of the others; all of them where `most` is None."""
    if most is None or len(names) <= most + 1:  # a count of one is no shorter than the name
        return ", ".join(map(str, names))
    return f"{', '.join(map(str, names[:most]))} and {len(names) - most} more"
