"""Numbers and names as people read them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 split", "3 splits"."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """A time: "45 s", "12 min", "3.4 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def device_time(hours: float) -> str:
    """Time that trials occupy their devices, in hours: "<1 min", "12 min", "3.4 h", "110 h"."""
    if not hours:
        return "0 min"
    minutes = 60 * hours
    if minutes < 1:
        return "<1 min"
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h" if hours < 20 else f"{hours:,.0f} h"


def names(all_names: Iterable[str]) -> str:
    """Names in a row, separated by semicolons where a name has a comma."""
    listed = list(all_names)
    return ("; " if any("," in name for name in listed) else ", ").join(listed)


def wrap(text: str, width: int) -> str:
    """Break lines between words. Longer words, such as paths and addresses, stay whole."""
    lines = (textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n"))
    return "\n".join(lines)
