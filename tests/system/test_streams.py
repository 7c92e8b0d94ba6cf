"""Printing never ends a program."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from rich.console import Console
from rich.table import Table
from gada_ray.system.streams import safe_output
with safe_output():
    view = Table("a ± b", title="Δ −0.5 “quoted” 图")
    view.add_row("µ")
    for _ in range(3):
        Console(width=60).print(view)
        print("printed", flush=True)
    print("went on", file=sys.stderr)
"""


def ran(before: str = "", after: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = f'{before} "$0" -c "$1" {after}'
    return subprocess.run(
        *(["bash", "-c", command, sys.executable, CODE],),
        env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        encoding="latin-1",
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_a_terminal_lacks_are_replaced_and_boxes_become_plain(encoding):
    done = ran(PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and done.stderr == "went on\n", done
    assert 'delta -0.5 "quoted" ?' in " ".join(done.stdout.split()) and "+---" in done.stdout
    assert ("a ± b" if encoding == "latin-1" else "a +/- b") in done.stdout


@pytest.mark.parametrize("after", ["> /dev/full", "| true", ">&-"])
def test_a_stream_that_is_gone_is_left_alone(after):
    done = ran(before="set -o pipefail;", after=after)
    assert done.returncode == 0 and done.stderr == "went on\n", done


def test_the_null_device_takes_standard_error_too():
    done = ran(after="2> /dev/full")
    assert done.returncode == 0 and done.stdout.count("printed") == 3, done
