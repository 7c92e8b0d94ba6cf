"""What figures share: panels, looks, and their way into files and into a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gada_ray.inference.pictures import COLOURS, FAINT, INK, MARKERS, SHADE, blank

THEMED = {INK: "--ink", FAINT: "--faint", SHADE: "--shade", "#ffffff": "--paper", "#000000": "--ink"}
"""Colours of a figure that follow the theme of a page."""


def panels_of(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    """Panels of equal axes, at most three in a row."""
    columns = min(3, count)
    rows = -(-count // columns)
    figure = blank(2.9 * columns if columns > 1 else 4.6, height * rows + 0.5)
    grid = figure.subplots(rows, columns, sharex=False, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for surplus in panels[count:]:
        surplus.remove()
    return figure, panels[:count]


def look(place: int) -> tuple[str, str]:
    """Colour and marker of a variant or distortion."""
    return COLOURS[place % len(COLOURS)], MARKERS[place // len(COLOURS) % len(MARKERS)]


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


def inline(text: str, name: str, title: str) -> str:
    """An SVG file as a part of a page: without addresses, its names its own, its colours those of the page's theme."""
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    for colour, variable in THEMED.items():
        text = re.sub(colour, f"var({variable})", text, flags=re.I)
    text = text.replace("'DejaVu Sans', ", "")
    width = re.search(r'width="([\d.]+)pt"', text)
    size = f"max-width: {float(width[1]) * 96 / 72:.0f}px" if width else ""
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" style="{size}">', text, count=1
    )
    head, close, rest = text.partition(">")
    return f"{head} aria-label={title!r}{close}{rest}"
