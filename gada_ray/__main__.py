"""`python -m gada_ray`: commands for data and models outside studies."""

from __future__ import annotations

import io
import sys

import typer

from gada_ray.commands.data import check, splits
from gada_ray.commands.score import score
from gada_ray.commands.terminal import Terminal, say
from gada_ray.commands.test import test
from gada_ray.commands.train import train
from gada_ray.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """GADA: commands for data and models outside studies. Studies are run by `python tune.py`."""


for command in (check, splits, train, score, test):
    app.command()(command)


def run() -> None:
    """Run the command: bad input is one message and exit code 2, a closed pipe ends it as it ends other programs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except UserError as error:
        say(Terminal(stderr=True), f"error: {error}", style="red")
        sys.exit(2)


if __name__ == "__main__":
    run()
