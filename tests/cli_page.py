"""docs/cli.md from the help of the commands: `python -m tests.cli_page` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
HEAD = """# Options

This page is made from the commands' own help by `python -m tests.cli_page`.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name; a group gives its subcommands."""
    import analysis.__main__
    import gada_ray.__main__
    import tune

    apps = {"tune.py": tune.app, "-m gada_ray": gada_ray.__main__.app, "-m analysis": analysis.__main__.app}
    for name, app in apps.items():
        command = get_command(app)
        subcommands = getattr(command, "commands", {})
        yield from ((f"python {name} {sub}", child) for sub, child in subcommands.items())
        if not subcommands:
            yield f"python {name}", command


def page() -> str:
    """The page as Markdown."""
    return HEAD + "".join(section(name, command) for name, command in commands())


def section(name: str, command: Any) -> str:
    """Heading, help and tables of options of one command."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n(?=\d+: )|\n\n", command.help or "")]
    context = command.context_class(command)
    groups: dict[str, list[str]] = {}
    for parameter in command.params:
        record = parameter.get_help_record(context)
        group = getattr(parameter, "rich_help_panel", None) or "Options"
        if record and parameter.name != "help":
            names, text = (re.sub(r"\s+", " ", cell).replace("|", "\\|").strip() for cell in record)
            groups.setdefault(group, []).append(f"| `{names}` | {text} |")
    tables = [f"| {group} | |\n|---|---|\n" + "\n".join(rows) for group, rows in groups.items()]
    return f"\n## {name}\n\n" + "\n\n".join([*paragraphs, *tables]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
