"""Ending in time: a signal in mid-study, a study bound to one CPU, a temporary folder that is somebody else's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from gada_ray.running.interrupt import Interruption
from tests.helpers_manifest import make_manifest

ROOT = Path(__file__).parents[2]
TABLE = "tables/normalisation-smoke-manifest.csv"


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_noted_while_trials_run_and_raised_elsewhere(handlers):
    interruption = Interruption()
    interruption.listen()
    with interruption.noted():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.name == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    os.kill(os.getpid(), signal.SIGUSR1)  # what was noted is being tended to
    other = Interruption()
    other.listen()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(1)
    assert other.name == "SIGUSR1"


def start(data: Path, storage: Path, *options: object, before: tuple[str, ...] = (), **environment: str):
    """The command, on Ray of its own; output goes to a file beside the storage."""
    settings = [
        item for phase in ("gan", "augmentation", "finetuning") for item in ("--set", f"phases.{phase}.steps=60")
    ]
    command = [*before, sys.executable, "tune.py", "--study", "normalisation", "--preset", "smoke", *settings]
    command += ["--dataset", "manifest", "--data-root", str(data), "--storage", str(storage), *map(str, options)]
    with storage.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "MLFLOW_TRACKING_URI": "", **environment}, stdout=log, stderr=log
        )


def is_training(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "ImplicitFunc.train" in " ".join(process.cmdline())
    return False


def finish(process: subprocess.Popen[bytes], storage: Path) -> tuple[int, str]:
    code = process.wait(600)
    return code, storage.with_suffix(".log").read_text()


def numbers(storage: Path) -> str:
    """Everything of a table that two runs must have in common, to the last bit."""
    return str(pd.read_csv(storage / TABLE, dtype=str).drop(columns="device_hours").to_csv())


@pytest.mark.slow
@pytest.mark.ray
def test_a_study_that_gets_sigterm_ends_with_a_table_and_checkpoints_and_goes_on_to_the_same_numbers(tmp_path):
    make_manifest(tmp_path / "data", references=8)
    hit, quiet = tmp_path / "hit", tmp_path / "quiet"
    process = start(tmp_path / "data", hit, "--checkpoint-every", 3600)
    while not any(is_training(child) for child in psutil.Process(process.pid).children(recursive=True)):
        assert process.poll() is None, hit.with_suffix(".log").read_text()
        time.sleep(0.2)
    assert not list(hit.glob("trials/*/checkpoint.pt"))
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    code, text = finish(process, hit)
    assert code == 75, text
    assert "SIGTERM ended the study with" in text and "What is missing" in text
    assert "Traceback" not in text and "error: " not in text
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert not list(hit.glob("locks/*"))
    assert list(hit.glob("trials/*/checkpoint.pt"))
    code, text = finish(start(tmp_path / "data", hit), hit)
    assert code == 0, text
    code, text = finish(start(tmp_path / "data", quiet), quiet)
    assert code == 0, text
    assert numbers(hit) == numbers(quiet)


@pytest.mark.slow
@pytest.mark.ray
def test_a_study_on_one_cpu_of_a_shared_machine_trains_one_trial_at_a_time_in_a_folder_of_its_own(tmp_path):
    make_manifest(tmp_path / "data")
    storage, temporary = tmp_path / "runs", Path("/tmp") / f"gada-test-{os.getpid()}"
    (temporary / "ray").mkdir(parents=True)
    one = str(min(os.sched_getaffinity(0)))
    try:
        if os.getuid() == 0:
            os.chown(temporary / "ray", 65534, 65534)
        else:  # only root gives folders away
            (temporary / "ray").chmod(0o555)
        code, text = finish(
            start(tmp_path / "data", storage, before=("taskset", "-c", one), TMPDIR=str(temporary)), storage
        )
        assert code == 0, text
        assert "1 trials at a time with 1 CPU each" in text
        assert not list((temporary / "ray").iterdir())
        assert list((temporary / f"ray-{os.getuid()}").iterdir())
    finally:
        subprocess.run(["rm", "-rf", str(temporary)], check=True)
