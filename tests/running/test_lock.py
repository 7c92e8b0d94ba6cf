from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from gada_ray.running import lock
from gada_ray.running.lock import Holder, LockedError, only_driver
from gada_ray.trials.store import StoreError

HOLDER = """
import sys, time
from pathlib import Path
from gada_ray.running.lock import only_driver
with only_driver(Path(sys.argv[1]), "phases"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    monkeypatch.setattr(lock, "STALE_S", 0.5)


def left_by(root: Path, **values: object) -> Path:
    """A lock of this process, or one that differs from it."""
    path = root / "locks" / "phases.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Holder.here().model_copy(update=values).model_dump_json())
    return path


def refused(root: Path, words: str) -> None:
    with pytest.raises(LockedError, match=words), only_driver(root, "phases"):
        raise AssertionError("two drivers at once")


def test_a_second_driver_of_a_study_is_refused_by_the_name_of_the_first_until_that_one_ends(tmp_path):
    for _ in range(2):
        with only_driver(tmp_path, "phases"):
            refused(tmp_path, rf"'phases' .* process {os.getpid()} on .* since 20.* UTC; .*--storage.* delete ")
            with only_driver(tmp_path, "patch_size"):
                pass
    assert not list((tmp_path / "locks").iterdir())


def test_the_lock_of_a_driver_that_was_killed_is_taken_over_at_once(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        refused(tmp_path, f"process {holder.pid} ")
        holder.kill()  # and not waited for: a zombie has ended, too
        while psutil.Process(holder.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        told: list[str] = []
        with only_driver(tmp_path, "phases", told.append):
            assert len(told) == 1 and f"from process {holder.pid} " in told[0]
    with only_driver(tmp_path, "phases", told.append):
        assert len(told) == 1


@pytest.mark.parametrize(
    "values",
    [{"host": "elsewhere"}, {"processes": "of another container"}, {"since": 1.0}],
    ids=["another host", "another container", "a number that was given away again"],
)
def test_a_lock_of_another_host_is_taken_over_once_it_is_no_longer_written(tmp_path, fast, values):
    path = left_by(tmp_path, **values)
    end = threading.Event()

    def live() -> None:
        beats = 0
        while not end.wait(0.05):
            beats += 1
            left_by(tmp_path, token="other", beats=beats, **values)

    writer = threading.Thread(target=live)
    writer.start()
    try:
        refused(tmp_path, "'phases' is being run")
    finally:
        end.set()
        writer.join()
    told: list[str] = []
    since = time.monotonic()
    with only_driver(tmp_path, "phases", told.append):
        assert time.monotonic() - since >= lock.STALE_S
        assert "watching" in told[0] and "taking 'phases' over" in told[1]
        assert Holder.model_validate_json(path.read_bytes()).pid == os.getpid()


@pytest.mark.parametrize("text", ["", '{"pid": 3'])
def test_a_lock_file_that_was_cut_off_has_no_holder(tmp_path, text):
    left_by(tmp_path).write_text(text)
    with only_driver(tmp_path, "phases"):
        refused(tmp_path, f"process {os.getpid()} ")


def test_a_driver_whose_lock_was_taken_over_notices_it_and_leaves_the_lock_alone(tmp_path, fast):
    with only_driver(tmp_path, "phases") as held:
        time.sleep(4 * lock.BEAT_S)
        held.check()
        path = left_by(tmp_path, host="elsewhere", token="other")
        while not held.lost:
            time.sleep(0.01)
        with pytest.raises(LockedError, match=r"taken over by process .* on elsewhere"):
            held.check()
    assert Holder.model_validate_json(path.read_bytes()).host == "elsewhere"


def test_a_storage_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file cannot be used"), only_driver(tmp_path / "file", "phases"):
        raise AssertionError("a file holds no locks")
