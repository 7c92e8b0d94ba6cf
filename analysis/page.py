"""A page that needs no network, and the files beside it: figures as SVG and PNG, tables as CSV and Markdown."""

from __future__ import annotations

import base64
import functools
import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from analysis import drawing, tables
from analysis.load import Progress, silent
from analysis.verdict import Statement
from gada_ray.errors import UserError

HTML, MARKDOWN = "report.html", "report.md"
FIGURES, TABLES = "figures", "tables"
"""Folders of a report."""


class PageError(UserError, RuntimeError):
    """A page that cannot be written."""


@dataclass(frozen=True)
class Table:
    """A table of a report."""

    name: str
    """Of its CSV file."""
    title: str
    columns: list[str]
    rows: list[list[str]]
    """Text; what follows a newline in a cell is shown small."""
    frame: pd.DataFrame
    """With all digits, for the CSV file."""
    note: str = ""
    marks: Sequence[str] = ()
    """Class of every row: "ours", "baseline", "paper", "sure"."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses by the text of a cell."""

    @functools.cached_property
    def csv(self) -> str:
        """The CSV file."""
        return self.frame.to_csv(index=False)

    @property
    def link(self) -> str:
        """The CSV file as an address that holds it."""
        return "data:text/csv;base64," + base64.b64encode(self.csv.encode()).decode()


@dataclass(frozen=True)
class Drawing:
    """A figure of a report: drawn by us, or a picture that a run holds."""

    name: str
    title: str
    caption: str
    figure: Figure | bytes
    alt: str
    """The figure in words, with its numbers."""
    hover: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Texts of points, by the id of their group (`drawing.inline`)."""

    @functools.cached_property
    def files(self) -> dict[str, bytes]:
        """The figure's files, by suffix."""
        if isinstance(self.figure, bytes):
            return {".png": self.figure}
        return {".svg": drawing.svg(self.figure).encode(), ".png": drawing.png(self.figure)}

    @property
    def markup(self) -> str:
        """The figure as a part of the page."""
        if isinstance(self.figure, bytes):
            data = base64.b64encode(self.figure).decode()
            return f'<img alt="{html.escape(self.alt)}" src="data:image/png;base64,{data}">'
        return drawing.inline(self.files[".svg"].decode(), self.name, self.alt, self.hover)


@dataclass(frozen=True)
class Section:
    """A part of a report."""

    title: str
    parts: Sequence[Table | Drawing]
    text: str = ""
    folded: bool = False
    """Whether a reader has to open it."""


@dataclass(frozen=True)
class Report:
    """Everything that a page shows, in this order."""

    study: str
    question: str
    verdict: Sequence[Statement]
    labels: str
    recipe: str
    """Empty where it was not recorded."""
    notices: Sequence[str]
    """What a reader must know before comparing."""
    lead: Drawing
    """The figure of the first screen."""
    sections: Sequence[Section]
    origin: Mapping[str, str]
    """How to use and to repeat the study: model, commands, code."""
    protocol: Mapping[str, str]


def write(report: Report, out: Path, progress: Progress = silent) -> list[Path]:
    """Write report.html, report.md, the figures and the tables into a folder; the files that were written.

    Raises:
        PageError: for a folder that cannot be written.
    """
    files: dict[str, bytes] = {}
    parts = [report.lead, *(part for section in report.sections for part in section.parts)]
    for number, part in enumerate(parts, 1):
        progress("figures and tables", number, len(parts))
        if isinstance(part, Table):
            files[f"{TABLES}/{part.name}.csv"] = part.csv.encode()
        else:
            files |= {f"{FIGURES}/{part.name}{suffix}": data for suffix, data in part.files.items()}
    files[MARKDOWN] = _markdown(report).encode()
    files[HTML] = _html(report).encode()
    try:
        for name, data in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
    except OSError as error:
        raise PageError(f"the folder of reports, --out {out}, cannot be written ({error.strerror or error})") from None
    return [out / name for name in files]


def _html(report: Report) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.tests["table"] = lambda part: isinstance(part, Table)
    made = datetime.fromtimestamp(float(os.environ.get("SOURCE_DATE_EPOCH") or datetime.now(UTC).timestamp()), UTC)
    return environment.get_template("report.html").render(report=report, made=f"{made:%Y-%m-%d %H:%M} UTC")


def _markdown(report: Report) -> str:
    """The same for documents: without figures, and without addresses that lead to one MLflow."""
    lines = [
        f"# {report.study}",
        report.question,
        *(f"**{one.text}**" for one in report.verdict),
        f"Labels: {report.labels}." + f" Recipe: {report.recipe}." * bool(report.recipe),
        *report.notices,
    ]
    for section in report.sections:
        found = [part for part in section.parts if isinstance(part, Table) and not part.links]
        lines += [f"## {section.title}"] * bool(found)
        for table in found:
            rows = [[cell.replace("\n", " / ").rstrip(" /") for cell in row] for row in table.rows]
            lines += [f"{table.title}. {table.note}".strip(), tables.markdown(table.columns, rows)]
    protocol = [[name, value.replace("\n", "; ")] for name, value in report.protocol.items()]
    lines += ["## Protocol", tables.markdown(["protocol", ""], protocol)]
    return "\n\n".join(line.rstrip("\n") for line in lines if line) + "\n"
