"""Whatever died, the same command again ends with the same table."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient

from gada_ray.tuning import tracking
from tests.helpers_manifest import make_manifest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]
STEPS = {"gan": 60, "augmentation": 40, "finetuning": 40}


def start(storage: Path, data: Path) -> subprocess.Popen[bytes]:
    settings = [item for phase, steps in STEPS.items() for item in ("--set", f"phases.{phase}.steps={steps}")]
    command = [sys.executable, "tune.py", "--study", "phases", "--preset", "smoke", "--checkpoint-every", "0"]
    places = ["--storage", str(storage), "--dataset", "manifest", "--data-root", str(data)]
    return subprocess.Popen(
        [*command, *places, *settings], cwd=ROOT, env={**os.environ, "MLFLOW_TRACKING_URI": ""},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def done(storage: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in storage.glob("trials/*/result.json")}


def wait_for(condition, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.stderr and process.stderr.read().decode()
        time.sleep(0.05)


def kill_a_worker(driver: subprocess.Popen[bytes]) -> bool:
    """SIGKILL to one process that trains for a driver; False while there is none."""
    for process in psutil.Process(driver.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ImplicitFunc.train" in " ".join(process.cmdline()):
                process.kill()
                return True
    return False


def test_a_study_whose_worker_and_driver_are_killed_ends_with_the_table_of_an_undisturbed_one(tmp_path):
    make_manifest(tmp_path / "data")
    quiet, hit = tmp_path / "quiet", tmp_path / "hit"
    with start(quiet, tmp_path / "data") as process:
        assert process.wait(180) == 0

    with start(hit, tmp_path / "data") as process:
        wait_for(lambda: any(hit.glob("trials/*/checkpoint.pt")), process)
        assert kill_a_worker(process)
        wait_for(lambda: len(done(hit)) >= 2, process)
        process.kill()
    before = done(hit)
    assert 2 <= len(before) < 6
    with start(hit, tmp_path / "data") as process:
        assert process.wait(180) == 0

    assert before.items() <= done(hit).items(), "a trial that was done was trained again"
    tables = [pd.read_csv(storage / "tables" / "phases-smoke-manifest.csv") for storage in (quiet, hit)]
    one, other = (table.drop(columns="device_hours") for table in tables)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    client = MlflowClient(tracking_uri=tracking.default_uri(hit))
    experiment = client.get_experiment_by_name("phases")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    splits = [run for run in runs if run.data.tags["kind"] == "split"]
    assert sorted(run.data.tags["signature"] for run in splits) == sorted(done(hit))
    assert {run.info.status for run in runs} == {"FINISHED"}
