"""Studies on Ray, which is started once for all tests of this file."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import psutil
import pytest
import ray
from mlflow import MlflowClient
from PIL import Image
from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError

from analysis.report import study_report
from gada_ray.running import cluster as clusters
from gada_ray.running import runner, session
from gada_ray.running.stop_signal import StopSignal
from gada_ray.tracking import runs
from gada_ray.trials.store import RefusedError, Store, unusable
from tests import inline
from tests.conftest import Done
from tests.helpers_manifest import make_manifest

pytestmark = [
    # Inside MLflow's and Ray's own code.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    runner.connect(None, runner.Resources())
    yield
    ray.shutdown()


@pytest.fixture
def command(cluster, monkeypatch, tmp_path, tune_py):
    """Runs tune.py in this process, on the shared cluster and a storage of the test's own; how it ended."""
    monkeypatch.setattr(clusters, "disconnect", lambda: None)

    def run(*arguments: object, code: int = 0) -> Done:
        done: Done = tune_py("--storage", tmp_path / "runs", *arguments)
        assert done.code == code, done
        return done

    return run


def runs_of(storage, study: str, kind: str):
    client = MlflowClient(tracking_uri=runs.default_uri(storage))
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'")


@pytest.mark.ray
def test_a_study_trains_every_variant_on_every_split_once_and_its_second_run_trains_nothing(
    command, monkeypatch, tmp_path
):
    storage = tmp_path / "runs"
    make_manifest(tmp_path / "data")
    study = ("--study", "patch_size", "--preset", "smoke", "--splits", 2, "--dataset", "manifest")
    text = command(*study, "--data-root", tmp_path / "data").out
    results = [Store(storage).result(folder.name) for folder in (storage / "trials").iterdir()]
    found = {(r.config.data.crop_px, r.fold.split) for r in results if r}
    assert found == {(px, split) for px in (32, 64) for split in (0, 1)}
    assert all(r and r.status == "finished" and r.dataset.name == "toy" for r in results)
    assert not list(storage.glob("trials/*/checkpoint.pt"))
    assert "toy" in text and "2 splits" in text and "image-blind baseline" in text
    (path,) = (path for path in storage.glob("tables/patch_size-smoke-data-*.csv") if "-splits" not in path.name)
    table = pd.read_csv(path)
    scores = [r.metrics["srocc"] for r in results if r and r.config.data.crop_px == 32]
    assert table.set_index("variant").loc["32 px", "srocc_mean"] == pytest.approx(sum(scores) / 2)

    configurations, splits = runs_of(storage, "patch_size", "configuration"), runs_of(storage, "patch_size", "split")
    assert {run.info.run_name for run in configurations} == {"32 px", "64 px"}
    assert {run.info.status for run in configurations + splits} == {"FINISHED"}
    assert len(splits) == 4
    parents = {run.data.tags["mlflow.parentRunId"] for run in splits}
    assert parents == {run.info.run_id for run in configurations}
    assert all(run.data.metrics["n"] == 2 for run in configurations)

    def never(*_: object) -> int:
        raise AssertionError("a finished study needs no cluster")

    monkeypatch.setattr(clusters, "connect", never)
    again = command(*study, "--data-root", tmp_path / "data").out
    assert again[again.index("┏") :] == text[text.index("┏") :]
    assert len(runs_of(storage, "patch_size", "split")) == 4


@pytest.mark.ray
def test_a_search_proposes_on_validation_references_and_tests_the_best_candidate_once(command, database, tmp_path):
    storage = tmp_path / "runs"
    make_manifest(tmp_path / "data", references=8)
    text = command(
        *("--study", "learning_rates", "--preset", "smoke", "--dataset", "manifest"),
        *("--data-root", tmp_path / "data", "--tracking-uri", database(tmp_path / "other")),
    ).out
    results = [Store(storage).result(folder.name) for folder in (storage / "trials").iterdir()]
    by_part = {part: [r for r in results if r and r.fold.scored_on == part] for part in ("validation", "test")}
    assert len(by_part["validation"]) == 2
    assert len(by_part["test"]) in (1, 2), "the paper's rates, and the best candidate unless it is the same"
    tested = set(by_part["test"][0].fold.held_out)
    for result in by_part["validation"]:
        assert not tested & set(result.fold.train + result.fold.held_out)
    best = max(r.metrics["srocc"] for r in by_part["validation"])
    best_rates = [r.config.rates for r in by_part["validation"] if r.metrics["srocc"] == best]
    assert any(r.config.rates in best_rates for r in by_part["test"])
    assert "searched rates: rates.discriminator=" in text
    assert not (storage / "mlflow.db").exists()


@pytest.mark.ray
def test_a_dead_tracking_server_is_named_once_and_synced_later(command, database, tmp_path):
    storage = tmp_path / "runs"
    make_manifest(tmp_path / "data")
    study = ("--study", "normalisation", "--preset", "smoke", "--dataset", "manifest", "--data-root", tmp_path / "data")
    text = command(*study, "--tracking-uri", "http://127.0.0.1:9").out
    for said in ("nothing is lost", "the model is not logged", "the report is not complete"):
        assert text.count(said) == 1
    assert len(list(storage.glob("trials/*/result.json"))) == 3
    database(storage)
    command(*study, "--sync")
    assert len(runs_of(storage, "normalisation", "split")) == 3
    command(*study, "--sync")
    assert len(runs_of(storage, "normalisation", "split")) == 3


@pytest.mark.ray
def test_results_that_become_visible_late_as_on_nfs_are_read(command, database, monkeypatch, tmp_path):
    make_manifest(tmp_path / "data")
    read = Store.result
    since: dict[str, float] = {}

    def late(store, signature):  # in this process, not in the workers
        found = read(store, signature)
        seen = since.setdefault(signature, time.monotonic()) if found else 0.0
        return found if time.monotonic() - seen > 3 else None

    monkeypatch.setattr(Store, "result", late)
    study = ("--study", "normalisation", "--preset", "smoke", "--dataset", "manifest", "--data-root", tmp_path / "data")
    database(tmp_path / "runs")
    text = command(*study).out
    assert len(since) == 3 and "failed" not in text


@pytest.mark.ray
def test_a_study_ends_with_one_message_when_results_do_not_reach_the_driver(command, database, monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "VISIBLE_WITHIN_S", 4.0)
    make_manifest(tmp_path / "data")
    monkeypatch.setattr(Store, "result", lambda *_: None)  # not in the workers
    study = ("--study", "normalisation", "--preset", "smoke", "--dataset", "manifest", "--data-root", tmp_path / "data")
    database(tmp_path / "runs")
    message = command(*study, code=2).err
    assert "do not share the storage" in message and "docs/cluster.md" in message


@pytest.mark.ray
def test_a_broken_checkpoint_is_named_and_a_trial_that_always_fails_is_given_up_with_its_cause(
    command, database, tmp_path
):
    make_manifest(tmp_path / "data")
    study = ("--study", "normalisation", "--preset", "smoke", "--dataset", "manifest", "--data-root", tmp_path / "data")
    database(tmp_path / "runs")
    with pytest.MonkeyPatch.context() as patch:
        inline.use(patch)
        command(*study)
    cut_off, unreadable, whole = sorted((tmp_path / "runs" / "trials").iterdir())
    before = (whole / "result.json").read_bytes()
    for folder in (cut_off, unreadable):
        shutil.rmtree(folder)
        folder.mkdir()
    (cut_off / "checkpoint.pt").write_bytes(b"PK\x03\x04 half a file")
    (unreadable / "checkpoint.pt").mkdir()
    text = command(*study, code=1).out
    assert f"{cut_off / 'checkpoint.pt'} is cut off" in text and "the trial starts again" in text
    assert text.count("failed, is retried from its last checkpoint: ") == runner.RETRIES
    assert f"failed after {runner.RETRIES + 1} attempts without progress: " in text
    assert f"Is a directory: '{unreadable / 'checkpoint.pt'}'" in text
    assert (cut_off / "result.json").exists() and not (unreadable / "result.json").exists()
    assert (whole / "result.json").read_bytes() == before


def test_a_trial_is_retried_while_it_makes_progress_and_preemption_does_not_count_as_a_failure(tmp_path):
    search, job, messages = MagicMock(), MagicMock(), []
    nothing = MagicMock()
    nothing.warn = lambda _, message: messages.append(message)
    suggester = runner._Suggester(search, Store(tmp_path), runner.Resources(), nothing, lambda: False, nothing)
    job.trial.signature = "0" * 64

    def attempt(error: Exception, steps: int = 0) -> None:
        suggester._jobs["trial"] = job
        suggester.on_trial_result("trial", {"steps_done": steps})
        suggester.failed("trial", error)

    died, preempted = RayActorError(), RayActorError(preempted=True)
    for _ in range(runner.RETRIES):
        attempt(died)
    attempt(died, steps=10)
    for _ in range(10):
        attempt(preempted, steps=10)
    for _ in range(runner.RETRIES - 1):
        attempt(ValueError("a bug\nin a line"), steps=9)
    assert search.again.call_count == len(messages) == 2 * runner.RETRIES + 10
    assert messages[-1] == "failed, is retried from its last checkpoint: in a line"
    search.done.assert_not_called()
    attempt(died, steps=10)
    search.done.assert_called_once_with(job, None)
    assert messages[-1].startswith(f"failed after {runner.RETRIES + 1} attempts without progress: ")


def test_a_storage_that_refuses_a_worker_ends_the_study_by_the_workers_error(tmp_path):
    nothing, trial, search = MagicMock(), MagicMock(), MagicMock()
    suggester = runner._Suggester(search, Store(tmp_path), runner.Resources(), nothing, lambda: False, nothing)
    suggester._jobs["trial"] = MagicMock()
    suggester._jobs["trial"].trial.signature = "0" * 64
    refusal = unusable(tmp_path / "weights.pt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    trial.trial_id, trial.pickled_error_file = "trial", tmp_path / "error.pkl"
    error = RayTaskError("train", "Traceback", refusal).as_instanceof_cause()
    trial.pickled_error_file.write_bytes(cloudpickle.dumps(error))
    runner._Watch(suggester, nothing).on_trial_error(0, [], trial)
    assert isinstance(suggester.failure, RefusedError) and str(suggester.failure) == str(refusal)
    assert suggester.over() and suggester.suggest("next") == "FINISHED"
    search.done.assert_not_called()


@pytest.fixture
def cramped(tmp_path):
    """A storage that takes no more files of trials, and how to change that."""
    storage, filler = tmp_path / "runs", tmp_path / "runs" / "filler"
    storage.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(storage)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        filler.write_bytes(bytes(16 * 2**20 - 32 * 2**10))
        yield "No space left on device", filler.unlink
        subprocess.run(["umount", "--lazy", str(storage)], check=True)
    else:  # only root mounts, and only others may be forbidden to write
        (storage / "trials").mkdir(mode=0o555)
        yield "Permission denied", lambda: (storage / "trials").chmod(0o755)


@pytest.mark.ray
def test_a_study_on_a_full_disk_ends_with_one_message_and_goes_on_when_there_is_room(
    command, cramped, database, tmp_path
):
    cause, make_room = cramped
    make_manifest(tmp_path / "data")
    study = ("--study", "normalisation", "--preset", "smoke", "--dataset", "manifest", "--data-root", tmp_path / "data")
    tracking_uri = ("--tracking-uri", database(tmp_path))
    printed = command(*study, *tracking_uri, code=2)
    assert printed.err.count("error: ") == 1 and cause in printed.err and "run the same command again" in printed.err
    assert "Traceback" not in printed.out + printed.err and "is retried" not in printed.out
    assert not list((tmp_path / "runs").glob("trials/*/result.json"))
    make_room()
    command(*study, *tracking_uri)
    assert len(list((tmp_path / "runs").glob("trials/*/result.json"))) == 3


@ray.remote(num_cpus=0)
def wait(stop: StopSignal, signature: str, started: Path, seconds: float) -> bool:
    """Whether a trial with this signature is requested to stop within some seconds."""
    with stop.requested(signature) as is_set:
        started.touch()
        end = time.monotonic() + seconds
        while not is_set() and time.monotonic() < end:
            time.sleep(0.01)
        return is_set()


@pytest.mark.ray
def test_a_stop_signal_reaches_the_trial_that_it_names_or_all_and_outlives_the_process_that_keeps_it(cluster, tmp_path):
    def begun(signature: str, seconds: float) -> Any:
        started = tmp_path / f"{signature}-{len(list(tmp_path.iterdir()))}"
        waiting = wait.remote(stop, signature, started, seconds)
        while not started.exists():
            time.sleep(0.05)
        return waiting

    stop = StopSignal()
    first, second = begun("first", 60), begun("second", 60)
    stop.set("first")
    assert ray.get(first, timeout=60)
    assert ray.get(begun("first", 60), timeout=60), "a request holds for the next attempt"
    stop.clear("first")
    assert not ray.get(begun("first", 0.5), timeout=60)
    (keeper,) = [
        process
        for process in psutil.Process().children(recursive=True)
        if "ray::_Requests" in " ".join(process.cmdline())
    ]
    before = sum(keeper.cpu_times()[:2])
    time.sleep(2)
    assert sum(keeper.cpu_times()[:2]) - before < 0.2, "it costs nothing while nothing is requested"
    keeper.kill()
    stop.set()
    assert ray.get([second, begun("third", 60)], timeout=60) == [True, True]
    stop.close()


@pytest.mark.ray
def test_rays_processes_have_a_session_of_their_own_so_that_no_signal_to_this_group_reaches_them(cluster):
    children = psutil.Process().children()
    assert {os.path.basename(child.exe()) for child in children} >= {"raylet", "gcs_server"}
    assert os.getsid(0) not in {os.getsid(child.pid) for child in children}


@pytest.mark.ray
def test_a_cluster_too_small_for_a_trial_is_refused_with_what_it_has(cluster):
    with pytest.raises(
        runner.ResourceError,
        match=r"requests 1000 CPUs .* no node can hold one: the cluster has 1 x \d+ CPUs and 0 GPUs",
    ):
        runner.connect(None, runner.Resources(cpus=1000))


@pytest.mark.parametrize(
    ("address", "variable", "message"),
    [
        (None, None, "Ray does not start on this machine .nothing at local.; its logs, in .*/session_latest/logs"),
        (None, "10.0.0.1:6379", "cannot join a Ray cluster at 10.0.0.1:6379"),
        ("10.0.0.2:6379", "10.0.0.1:6379", "cannot join a Ray cluster at 10.0.0.2:6379"),
    ],
)
@pytest.mark.parametrize("error", [ConnectionError, ValueError, RuntimeError])
def test_only_a_named_cluster_is_joined_and_one_that_does_not_answer_or_start_is_one_message(
    monkeypatch, address, variable, message, error
):
    def init(address, **_):
        raise error(f"nothing at {address}")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)  # the cluster of this file goes on
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    with pytest.raises(runner.ResourceError, match=message):
        runner.connect(address, runner.Resources())


@pytest.mark.ray
def test_finished_trials_are_tested_on_other_databases_without_training_and_with_shared_scenes_apart(
    command, database, monkeypatch, tmp_path
):
    here, there = tmp_path / "here", tmp_path / "there"
    make_manifest(here)
    make_manifest(there, references=7)
    for file in (there / "a.png", *there.glob("a_?.png")):  # one scene of the six is another's here
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    arguments = ("--study", "normalisation", "--preset", "smoke", "--dataset", "manifest", "--data-root", here)
    database(tmp_path / "runs")
    monkeypatch.setattr(runner, "run", inline.train)
    monkeypatch.setattr(session, "PLAIN_EVERY_S", 0.0)
    text = command(*arguments, "--splits", 2, "--also-test", f"manifest={there}").out
    assert "Cross-dataset test" in text and re.search(r"tested 6 of 6 trials on toy, \d+ s remaining", text)
    (path,) = (tmp_path / "runs/tables").glob("normalisation-smoke-here-*-cross-dataset.csv")
    frame = pd.read_csv(path)
    assert set(frame["variant"]) == {"none", "mscn", "both"} and set(frame["split"]) == {0, 1}
    assert set(frame["images"]) == {"all", "all without shared scenes", "dark", "noise"}
    assert set(frame.loc[frame["images"] == "all", "n"]) == {56}
    results = [Store(tmp_path / "runs").result(folder.name) for folder in (tmp_path / "runs/trials").iterdir()]
    for result in results:
        assert result is not None
        (record,) = (tmp_path / "runs/trials" / result.signature).glob("cross-dataset-*.json")
        shared = json.loads(record.read_text())["shared"]
        assert set(shared) == set(result.fold.train) - {"a"}
    written = path.stat().st_mtime_ns
    done = {record: record.stat().st_mtime_ns for record in (tmp_path / "runs/trials").glob("*/cross-dataset-*")}
    command(*arguments, "--splits", 2, "--also-test", f"manifest={there}")
    assert path.stat().st_mtime_ns > written and pd.read_csv(path).equals(frame)
    assert {record: record.stat().st_mtime_ns for record in done} == done  # read back, not done again
    (study,) = runs_of(tmp_path / "runs", "normalisation", "study")
    uri = runs.default_uri(Store(tmp_path / "runs").root)
    client = MlflowClient(tracking_uri=uri)
    names = {file.path for file in client.list_artifacts(study.info.run_id)}
    assert {"splits.json", "cross-dataset.csv"} <= names
    later = study_report(uri, "normalisation", tmp_path / "later")  # knows it from MLflow alone
    table = next(file for file in later if file.name == "cross-dataset.csv")
    assert set(pd.read_csv(table)["variant"]) == {"none", "mscn", "both"}
