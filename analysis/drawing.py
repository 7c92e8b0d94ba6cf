"""What figures share: panels, looks, and their way into files and into a page."""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gada_ray.inference.pictures import COLOURS, INK, MARKERS, SHADE, blank

THEMED = {INK: "--ink", SHADE: "--shade", "#ffffff": "--paper"}
"""Colours of a figure that follow the theme of a page; the others have a contrast of 3:1 on both backgrounds."""
WIDTH = 4.6
"""Inches of a figure: about as wide as a phone's page, so that its text keeps its size there."""
LINE, LINE_IN = 54, 0.165
"""Letters of a line of that width, and its height in inches."""
TITLE = 26
"""Letters of a line in the title of one of two panels."""


def panels_of(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    """Panels of equal axes, two in a row."""
    columns = min(2, count)
    rows = -(-count // columns)
    figure = blank(WIDTH, height * rows + 0.5)
    grid = figure.subplots(rows, columns, sharex=False, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for surplus in panels[count:]:
        surplus.remove()
    return figure, panels[:count]


def rows_of(names: Sequence[str]) -> tuple[Figure, Axes]:
    """Axes with a row for each name, which stands above its row so that the data have the whole width.

    Row i is at height i, downwards.
    """
    texts = ["\n".join(textwrap.fill(line, LINE) for line in name.split("\n")) for name in names]
    text_in = LINE_IN * (1 + max(text.count("\n") for text in texts))
    pitch_in = text_in + 0.22
    figure = blank(WIDTH, 0.6 + pitch_in * len(names))
    axes = figure.add_subplot()
    for place, text in enumerate(texts):
        where = axes.get_yaxis_transform()
        axes.text(
            0.0, place - 0.1 / pitch_in, text, transform=where, va="bottom", fontsize=9, color=INK, zorder=2.5,
            bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axes.set_ylim(len(names) - 1 + 0.14 / pitch_in, -(text_in + 0.14) / pitch_in)
    axes.set_yticks([])
    return figure, axes


def look(place: int) -> tuple[str, str]:
    """Colour and marker of a variant or distortion; together they are its own up to the fortieth."""
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


def png(figure: Figure) -> bytes:
    """The figure in pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """The figure as a file of its own, with text as text, and the same for the same figure."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gada-ray"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def inline(text: str, name: str, alt: str, hover: Mapping[str, Sequence[str]] | None = None) -> str:
    """An SVG file as a part of a page: without addresses, its names its own, its colours those of the page's theme.

    `hover` has a text for each point of the group of points with that id, shown where a pointer rests on it.
    """
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    for group, words in (hover or {}).items():
        text = _with_titles(text, group, words)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    for colour, variable in THEMED.items():
        text = re.sub(colour, f"var({variable})", text, flags=re.I)
    text = text.replace("'DejaVu Sans', ", "")
    width = re.search(r'width="([\d.]+)pt"', text)
    size = f"max-width: {float(width[1]) * 96 / 72:.0f}px" if width else ""
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        lambda found: f'<svg viewBox="{found[1]}" role="img" style="{size}" aria-label="{html.escape(alt)}">',
        text,
        count=1,
    )


def _with_titles(text: str, group: str, words: Sequence[str]) -> str:
    """The markers of a group with titles, in order."""
    start = text.index(f'<g id="{group}">')
    end = text.find('<g id="', start + 1)
    rest = iter(words)
    part = re.sub(
        r"(<use [^>]*)/>",
        lambda found: f"{found[1]}><title>{html.escape(next(rest))}</title></use>",
        text[start : end if end > 0 else len(text)],
    )
    return text[:start] + part + (text[end:] if end > 0 else "")
