"""Signals during a study, a study on one CPU, and a temporary folder of another user."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest

from gada_ray.running.interrupt import Interruption
from tests import inline
from tests.helpers_manifest import make_manifest

ROOT = Path(__file__).parents[2]

# Inside MLflow's own code.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def test_a_signal_is_noted_while_trials_run_and_raises_at_other_times(handlers):
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


@pytest.mark.parametrize(("before", "name"), [(signal.SIG_DFL, "SIGHUP"), (signal.SIG_IGN, None)])
def test_a_closed_terminal_ends_a_study_like_sigterm_unless_it_is_ignored_as_under_nohup(handlers, before, name):
    signal.signal(signal.SIGHUP, before)
    interruption = Interruption()
    interruption.listen()
    interruption.listen()
    with interruption.noted():
        os.kill(os.getpid(), signal.SIGHUP)
    assert interruption.name == name


STEPS = [item for phase in ("gan", "augmentation", "finetuning") for item in ("--set", f"phases.{phase}.steps=60")]


def study(data: Path, storage: Path) -> list[str]:
    """Arguments of a study that is long enough to be interrupted."""
    options = ["--study", "normalisation", "--preset", "smoke", *STEPS, "--dataset", "manifest"]
    return [*options, "--data-root", str(data), "--storage", str(storage)]


def start(
    data: Path,
    storage: Path,
    *options: str,
    before: tuple[str, ...] = (),
    python: Path = Path(sys.executable),
    **environment: str,
):
    """Start the command, which starts a Ray; its output goes to a file beside the storage."""
    command = [*before, str(python), "tune.py", *study(data, storage), *options]
    with storage.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            *(command,),
            cwd=ROOT,
            env={**os.environ, "MLFLOW_TRACKING_URI": "", **environment},
            stdout=log,
            stderr=log,
            process_group=0,
        )


def trains(storage: Path) -> bool:
    """Whether the study has shown a step: a worker that is there may still be loading what it trains with."""
    return bool(re.search(r"step \d+ of", storage.with_suffix(".log").read_text()))


def finish(process: subprocess.Popen[bytes], storage: Path) -> tuple[int, str]:
    code = process.wait(600)
    return code, storage.with_suffix(".log").read_text()


def numbers(storage: Path) -> str:
    """Everything in a table that must be equal in two runs, to the last bit."""
    (path,) = (path for path in storage.glob("tables/*.csv") if not path.stem.endswith("-splits"))
    return str(pd.read_csv(path, dtype=str).drop(columns="device_hours").to_csv())


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root: Path = tmp_path_factory.mktemp("data")
    make_manifest(root, references=8)
    return root


@pytest.fixture(scope="module")
def hit(tmp_path_factory, data, database) -> SimpleNamespace:
    """A study whose process group got SIGTERM while it trained, as `timeout` and batch systems send it.

    Where it is, how it ended, and what it left behind.
    """
    storage = tmp_path_factory.mktemp("signal") / "hit"
    database(storage)
    process = start(data, storage, "--checkpoint-every", "3600")
    while not trains(storage):
        assert process.poll() is None, storage.with_suffix(".log").read_text()
        time.sleep(0.2)
    family = psutil.Process(process.pid).children(recursive=True)
    since = time.time()
    os.killpg(process.pid, signal.SIGTERM)
    code, text = finish(process, storage)
    _, alive = psutil.wait_procs(family, timeout=30)
    checkpoints = {path: path.stat().st_mtime >= since for path in storage.glob("trials/*/checkpoint.pt")}
    locks = list(storage.glob("locks/*"))
    return SimpleNamespace(storage=storage, code=code, text=text, alive=alive, checkpoints=checkpoints, locks=locks)


@pytest.mark.ray
def test_a_study_whose_process_group_gets_sigterm_ends_with_a_table_and_checkpoints(hit):
    assert hit.code == 75, hit.text
    assert "SIGTERM ended the study with" in hit.text and "What is missing" in hit.text
    assert "Traceback" not in hit.text and "error: " not in hit.text
    assert not hit.alive
    assert not hit.locks
    # All are of the signal, though a fast machine may have written some before, at a phase's end.
    assert hit.checkpoints and all(hit.checkpoints.values()), hit.checkpoints


def interpreter(folder: Path) -> Path:
    """This environment's interpreter in another folder."""
    here = Path(sys.prefix)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (folder / "lib").symlink_to(here / "lib")
    shutil.copy(here / "pyvenv.cfg", folder)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def resumed(hit, data) -> Iterator[SimpleNamespace]:
    """The same command again, on one CPU, with an interpreter in a folder whose name has a space.

    The usual temporary folder belongs to another user.
    """
    temporary = Path("/tmp") / f"gada-test-{os.getpid()}"  # paths of sockets must be short
    (temporary / "ray").mkdir(parents=True)
    one = str(min(os.sched_getaffinity(0)))
    try:
        if os.getuid() == 0:
            os.chown(temporary / "ray", 65534, 65534)
        else:  # only root gives folders away
            (temporary / "ray").chmod(0o555)
        python = interpreter(temporary / "my folder")
        process = start(data, hit.storage, before=("taskset", "-c", one), python=python, TMPDIR=str(temporary))
        code, text = finish(process, hit.storage)
        yield SimpleNamespace(code=code, text=text.removeprefix(hit.text), temporary=temporary)
    finally:
        subprocess.run(["rm", "-rf", str(temporary)], check=True)


@pytest.mark.ray
def test_a_study_that_was_ended_goes_on_to_the_numbers_of_an_undisturbed_one(
    hit, resumed, data, tmp_path, monkeypatch, tune_py
):
    assert resumed.code == 0, resumed.text
    inline.use(monkeypatch)
    quiet = tune_py(*study(data, tmp_path / "quiet"))
    assert quiet.code == 0, quiet
    assert numbers(hit.storage) == numbers(tmp_path / "quiet")


@pytest.mark.ray
def test_a_study_on_one_cpu_of_a_shared_machine_trains_one_trial_at_a_time_in_a_folder_of_its_own(resumed):
    assert resumed.code == 0, resumed.text
    assert "1 trial at a time, with 1 CPU each" in resumed.text
    assert not list((resumed.temporary / "ray").iterdir())
    assert list((resumed.temporary / f"ray-{os.getuid()}").iterdir())
