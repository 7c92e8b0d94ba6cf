from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray


def test_a_study_whose_worker_node_and_driver_are_killed_on_a_cluster_ends_as_an_undisturbed_one():
    command = [sys.executable, "-m", "tests.faults", "--kills", "3", "--trials", "4", "--steps", "120"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "3 kills (1 driver, 1 node, 1 worker)" in done.stdout
    assert done.stdout.count("holds: ") == 8 and "FAILS" not in done.stdout
