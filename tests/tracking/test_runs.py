import json
import math
import os
import shlex
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from gada_ray.config import PhaseConfig, TrainingConfig, with_values
from gada_ray.data.dataset import DataError
from gada_ray.study import summary
from gada_ray.study.definition import Preset, Study, make_plan
from gada_ray.study.summary import ConfigurationRun, configuration_key, interval, read_trial
from gada_ray.tracking import runs
from gada_ray.tracking.client import KEY, NOTE, RESULT, source_tags
from gada_ray.tracking.runs import Tracker, TrackingError, default_uri, sync, where_to_look
from gada_ray.trials.store import Result, Store, StoreError

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

# Nothing listens on port 9 of the loopback interface, so that a connection is refused at once.
DEAD = "http://127.0.0.1:9"
GAN = PhaseConfig(
    name="gan", steps=600, trains=("generator", "backbone", "discriminator"), images="both", conditions="paired"
)
CONFIG = TrainingConfig(phases=(GAN,))


@pytest.fixture(scope="module")
def store(tmp_path_factory, database):
    """One file for all tests; every test has an experiment of its own."""
    return database(tmp_path_factory.mktemp("storage"))


@pytest.fixture
def client(store):
    return MlflowClient(tracking_uri=store)


@pytest.fixture
def study(request):
    return request.node.name


def configuration(study, **changes):
    run = ConfigurationRun(
        study=study,
        preset="small",
        dataset="manifest",
        variant="64 px",
        stage="test",
        number=3,
        values={"data.crop_px": 64, "rates.generator": 5e-4, "phases": (GAN,), "model.backbone_widths": (64, 128, 128)},
        config=CONFIG,
        splits=(0, 1, 2),
        scheme="s1",
        seed=7,
    )
    return replace(run, **changes)


def write_trial(
    root,
    split=0,
    srocc=0.8,
    status="finished",
    cause=None,
    curves=(),
    patches=False,
    more=None,
    phases=("gan",),
    held_out=None,
):
    """A trial's folder as the store leaves it."""
    signature = f"{split:02d}" + "ab" * 31
    folder = root / "trials" / signature
    folder.mkdir(parents=True, exist_ok=True)
    ended = {
        **(more or {}),
        "srocc": srocc,
        "plcc": srocc + 0.05,
        "krcc": 0.6,
        "rmse": 0.1,
        "plcc_fitted": 0.9,
        "srocc/jpeg": 0.7,
    }
    result = {
        "format": 1,
        "signature": signature,
        "status": status,
        "cause": cause,
        "config": CONFIG.model_dump(mode="json"),
        "fold": {
            "split": split,
            "scored_on": "test",
            "train": [f"r{i}" for i in range(16)],
            "held_out": [f"h{split if held_out is None else held_out}{i}" for i in range(4)],
        },
        "seed": 7,
        "dataset": {
            "name": "LIVE release 2, regenerated subset",
            "labels": "DMOS",
            "direction": "lower_is_better",
            "score_range": [0, 100],
            "fingerprint": "f" * 64,
            "images": 438,
            "references": 20,
        },
        "code_version": 1,
        "metrics": ended if status == "finished" else {},
        "phases": [{"name": name, "steps": 600, "metrics": ended} for name in phases if status == "finished"],
        "run": {
            "device": "cpu",
            "threads": 1,
            "host": "here",
            "started": "2026-11-01T10:00:00+00:00",
            "seconds": 36.0,
            "phase_seconds": {"gan": 30.0},
            "evaluation_seconds": 5.0,
            "peak_memory_mb": 512.0,
            "versions": {"torch": "2.15"},
        },
        "files": {},
    }
    Store(root).commit(Result.model_validate(result))
    if status == "finished":
        target = np.linspace(0, 1, 8)
        pd.DataFrame(
            {
                "image": [f"{i}.bmp" for i in range(8)],
                "reference": "h0",
                "distortion": ["jpeg", "wn"] * 4,
                "target": target,
                "prediction": target**2,
            }
        ).to_csv(folder / "predictions.csv", index=False)
    rows = curves or [("gan", step, step, name, 1 / step) for step in (1, 2, 3) for name in ("loss/l1", "srocc")]
    pd.DataFrame(rows, columns=["phase", "step", "global_step", "name", "value"]).to_csv(
        folder / "curves.csv", index=False
    )
    if patches:
        image = np.zeros((2, 16, 16, 3), dtype=np.uint8)
        np.savez(
            folder / "patches.npz",
            reference=image,
            generated=image,
            distorted=image,
            quality=np.array([0.1, 0.9], dtype=np.float32),
            distortion=np.array(["jpeg", "wn"]),
            image=np.array(["a", "b"]),
        )
    return folder


def runs_of(client, study):
    """The experiment's runs: configurations by name, and splits by number."""
    place = client.get_experiment_by_name(study).experiment_id
    found = client.search_runs([place], max_results=1000)
    return SimpleNamespace(
        configurations=[run for run in found if run.data.tags["kind"] == "configuration"],
        splits=sorted((run for run in found if run.data.tags["kind"] == "split"), key=lambda r: r.data.tags["split"]),
    )


def everything(client, study):
    """All that a second sync could change, comparable."""
    runs = runs_of(client, study)
    return {
        run.info.run_id: (
            run.info.status,
            run.info.end_time,
            run.data.params,
            run.data.tags,
            {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics},
            [file.path for file in client.list_artifacts(run.info.run_id)],
        )
        for run in runs.configurations + runs.splits
    }


def test_a_finished_trial_becomes_a_nested_run_with_metrics_by_phase_curves_dataset_and_pictures(
    store, client, study, tmp_path
):
    sync(store, study, [(configuration(study), write_trial(tmp_path, patches=True, phases=("gan", "joint")))])
    (split,) = runs_of(client, study).splits
    (parent,) = runs_of(client, study).configurations
    assert split.info.run_name == "64 px, split 0"
    assert split.info.status == "FINISHED"
    assert split.info.end_time - split.info.start_time == 36_000
    assert split.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert split.data.metrics["srocc"] == 0.8
    assert split.data.metrics["srocc/jpeg"] == 0.7
    assert split.data.metrics["until_gan/srocc"] == 0.8
    assert "until_joint/srocc" not in split.data.metrics  # the final scores
    assert split.data.metrics["peak_memory_mb"] == 512
    history = client.get_metric_history(split.info.run_id, "loss/gan/l1")
    assert [(point.step, point.value) for point in history] == [(1, 1), (2, 1 / 2), (3, 1 / 3)]
    inputs = {dataset.tags[0].value: dataset.dataset for dataset in split.inputs.dataset_inputs}
    assert set(inputs) == {"training", "testing"}
    assert json.loads(inputs["testing"].profile) == {"references": ["h00", "h01", "h02", "h03"]}
    files = {file.path: file.file_size for file in client.list_artifacts(split.info.run_id)}
    assert set(files) == {"predictions.csv", "scatter.png", "figure1.png"}
    assert min(files.values()) > 100


def test_parameters_are_what_varies_learning_rates_phase_lengths_and_cost(store, client, study, tmp_path):
    sync(store, study, [(configuration(study), write_trial(tmp_path))])
    runs = runs_of(client, study)
    varied = {"variant": "64 px", "crop_px": "64", "rates.generator": "0.0005", "phases": "gan", "seed": "7"}
    varied["backbone_widths"] = "64-128-128"
    fixed = {"dataset": "manifest", "recipe": "gada", "stage": "test", "batch": "32", "steps": "600"}
    fixed |= {"rates.discriminator": "0.0005", "rates.classifier": "0.0005", "rates.evaluator": "0.0005"}
    fixed |= {"gan.steps": "600", "precision": "float32"}
    assert runs.configurations[0].data.params == fixed | varied
    assert runs.splits[0].data.params == varied | {"split": "0"}


def test_a_configuration_has_mean_spread_and_interval_and_runs_until_all_planned_splits_are_in(
    store, client, study, tmp_path
):
    run, scores = configuration(study), [0.7, 0.8, 0.9]
    folders = [write_trial(tmp_path, split, score) for split, score in enumerate(scores)]
    tracker = Tracker(store, study)
    tracker.finished(run, folders[0])
    wait_until(lambda: runs_of(client, study).splits and "n" in runs_of(client, study).configurations[0].data.metrics)
    (parent,) = runs_of(client, study).configurations
    assert (parent.info.run_name, parent.info.status) == ("64 px", "RUNNING")
    assert parent.data.metrics["n"] == 1
    assert "srocc_sd" not in parent.data.metrics
    for folder in folders[1:]:
        tracker.finished(run, folder)
    tracker.close()
    (parent,) = runs_of(client, study).configurations
    # t(0.975, 2 degrees of freedom) = 4.3027; sd = 0.1; 4 held-out for 16 training references
    half = 4.302652729911275 * 0.1 * math.sqrt(1 / 3 + 4 / 16) / (1 - 0.8**2)  # on the scale of Fisher's z
    low, high = (math.tanh(math.atanh(0.8) + side * half) for side in (-1, 1))
    expected = {"n": 3, "splits_planned": 3, "srocc_mean": 0.8, "srocc_median": 0.8, "srocc_sd": 0.1}
    expected |= {"srocc_ci_low": low, "srocc_ci_high": high, "plcc_mean": 0.85, "srocc_mean/jpeg": 0.7}
    expected |= {"device_hours": 0.03, "diverged": 0}
    assert parent.info.status == "FINISHED"
    assert {name: parent.data.metrics[name] for name in expected} == pytest.approx(expected)
    assert len(runs_of(client, study).splits) == 3
    config = client.download_artifacts(parent.info.run_id, "config.json", str(tmp_path))
    with open(config) as file:
        assert TrainingConfig.model_validate_json(file.read()) == CONFIG


def test_repetitions_of_a_split_count_once_in_the_interval_whether_trials_come_one_by_one_or_at_once(
    store, client, study, tmp_path
):
    run = configuration(study, splits=tuple(range(6)))
    entries = [(run, write_trial(tmp_path, split, 0.6 + 0.05 * split, held_out=split % 3)) for split in range(6)]
    tracker = Tracker(store, study)
    for entry in entries:
        tracker.finished(*entry)
    tracker.close()
    (parent,) = runs_of(client, study).configurations
    low, high = interval(np.arange(0.6, 0.89, 0.05), 4 / 16, [0, 1, 2, 0, 1, 2])
    ends = {"srocc_ci_low": low, "srocc_ci_high": high}
    assert {name: parent.data.metrics[name] for name in ends} == pytest.approx(ends)
    assert sync(store, study, entries).written == 0
    (parent,) = runs_of(client, study).configurations
    assert {name: parent.data.metrics[name] for name in ends} == pytest.approx(ends)


def test_a_sync_leaves_a_pruned_candidate_with_the_splits_that_it_was_left_with(store, client, study, tmp_path):
    run = configuration(study, stage="search")
    folders = [write_trial(tmp_path, split) for split in range(2)]
    pruned = replace(run, splits=(0, 1))
    sync(store, study, [(run, folders[0]), (run, folders[1]), (pruned, folders[1])])
    (parent,) = runs_of(client, study).configurations
    assert (parent.info.status, parent.data.metrics["splits_planned"]) == ("FINISHED", 2)


def test_a_second_sync_changes_nothing(store, client, study, tmp_path):
    entries = [(configuration(study), write_trial(tmp_path, split)) for split in range(2)]
    assert sync(store, study, entries).written == 2
    before = everything(client, study)
    done = sync(store, study, entries)
    assert (done.configurations, done.present, done.written, done.deleted) == (1, 2, 0, 0)
    assert everything(client, study) == before


def test_sync_after_a_tracker_writes_only_what_is_missing_and_another_candidate_number_makes_no_new_run(
    store, client, study, tmp_path
):
    folders = [write_trial(tmp_path, split) for split in range(3)]
    tracker = Tracker(store, study)
    tracker.finished(configuration(study), folders[0])
    tracker.close()
    assert runs_of(client, study).configurations[0].info.status == "KILLED"
    done = sync(store, study, [(configuration(study, number=9), folder) for folder in folders])
    assert (done.present, done.written, done.deleted) == (1, 2, 0)
    assert runs_of(client, study).configurations[0].info.status == "FINISHED"


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"stage": "search"}, {"variant": "128 px"}, {"preset": "paper"}, {"scheme": "s2"}]
)
def test_seed_stage_variant_preset_and_split_scheme_make_a_configuration_of_its_own(
    store, client, study, tmp_path, change
):
    folder = write_trial(tmp_path)
    sync(store, study, [(configuration(study), folder), (configuration(study, **change), folder)])
    runs = runs_of(client, study)
    assert len(runs.configurations) == len(runs.splits) == 2
    assert len({split.data.tags["mlflow.parentRunId"] for split in runs.splits}) == 2


def test_a_candidate_of_a_search_is_named_with_its_number(study):
    assert configuration(study, stage="search").name == "64 px #3"
    assert configuration(study, stage="test").name == "64 px"


def test_sync_removes_duplicates_and_rewrites_half_written_runs(store, client, study, tmp_path):
    entries = [(configuration(study), write_trial(tmp_path, split)) for split in range(2)]
    sync(store, study, entries)
    place = client.get_experiment_by_name(study).experiment_id
    runs = runs_of(client, study)
    for original in (runs.configurations[0], runs.splits[0]):
        copy = client.create_run(place, tags=dict(original.data.tags), run_name=original.info.run_name)
        client.set_terminated(copy.info.run_id)
    client.update_run(runs.splits[1].info.run_id, status="RUNNING")
    client.create_run(place, tags={"kind": "split", "signature": "of no trial in the store"})
    done = sync(store, study, entries)
    assert (done.present, done.written, done.deleted) == (1, 1, 4)
    after = runs_of(client, study)
    assert [run.info.run_id for run in after.configurations] == [runs.configurations[0].info.run_id]
    assert [split.data.tags["split"] for split in after.splits] == ["0", "1"]
    assert {split.data.tags["mlflow.parentRunId"] for split in after.splits} == {runs.configurations[0].info.run_id}
    assert all(run.info.status != "RUNNING" for run in after.configurations + after.splits)


def test_splits_of_a_duplicated_configuration_move_to_the_one_that_stays(store, client, study, tmp_path):
    sync(store, study, [(configuration(study), write_trial(tmp_path, 0))])
    place = client.get_experiment_by_name(study).experiment_id
    runs = runs_of(client, study)
    copy = client.create_run(place, tags=dict(runs.configurations[0].data.tags)).info.run_id
    client.set_tag(runs.splits[0].info.run_id, "mlflow.parentRunId", copy)
    sync(store, study, [(configuration(study), write_trial(tmp_path, 1))])
    after = runs_of(client, study)
    assert len(after.configurations) == 1
    assert after.configurations[0].data.metrics["n"] == 2
    assert {run.data.tags["mlflow.parentRunId"] for run in after.splits} == {after.configurations[0].info.run_id}


def test_a_trial_whose_result_has_changed_is_written_anew(store, client, study, tmp_path):
    run = configuration(study)
    sync(store, study, [(run, write_trial(tmp_path, status="diverged", cause="loss no longer finite"))])
    assert runs_of(client, study).configurations[0].data.metrics["diverged"] == 1
    sync(store, study, [(run, write_trial(tmp_path, srocc=0.6))])
    runs = runs_of(client, study)
    assert [split.info.status for split in runs.splits] == ["FINISHED"]
    assert runs.configurations[0].data.metrics["srocc_mean"] == 0.6
    assert runs.configurations[0].data.metrics["diverged"] == 0


def test_a_diverged_trial_is_a_failed_run_with_its_cause_and_counts_in_no_mean(store, client, study, tmp_path):
    run = configuration(study, splits=(0, 1))
    cause = "loss/l1 is nan at step 17 of phase gan"
    folders = [write_trial(tmp_path, 0, 0.8), write_trial(tmp_path, 1, status="diverged", cause=cause)]
    sync(store, study, [(run, folder) for folder in folders])
    runs = runs_of(client, study)
    assert [split.info.status for split in runs.splits] == ["FINISHED", "FAILED"]
    assert runs.splits[1].data.tags["cause"] == cause
    parent = runs.configurations[0]
    assert parent.info.status == "FINISHED"
    assert (parent.data.metrics["n"], parent.data.metrics["diverged"]) == (1, 1)
    assert parent.data.metrics["srocc_mean"] == 0.8


def test_a_configuration_of_which_every_split_failed_is_failed(store, client, study, tmp_path):
    run = configuration(study, splits=(0,))
    sync(store, study, [(run, write_trial(tmp_path, status="diverged", cause="nan"))])
    assert runs_of(client, study).configurations[0].info.status == "FAILED"


def test_values_that_are_not_finite_are_counted_and_never_logged(store, client, study, tmp_path):
    values = (1.0, math.nan, math.inf, -math.inf)
    curves = [("gan", step, step, "loss/l1", value) for step, value in enumerate(values)]
    sync(store, study, [(configuration(study), write_trial(tmp_path, curves=curves))])
    (split,) = runs_of(client, study).splits
    assert split.data.metrics["not_finite"] == 3
    assert [point.value for point in client.get_metric_history(split.info.run_id, "loss/gan/l1")] == [1]
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        query = "select key, value, is_nan from metrics where run_uuid = ?"
        rows = database.execute(query, [split.info.run_id]).fetchall()
        assert rows
        assert all(not is_nan and abs(value) < 1e300 for _, value, is_nan in rows)
    database.close()


def test_curves_longer_than_a_request_are_logged_whole(store, client, study, tmp_path):
    curves = [("gan", step, step, "loss/l1", step / 7) for step in range(1, 2502)]
    sync(store, study, [(configuration(study), write_trial(tmp_path, curves=curves))])
    (split,) = runs_of(client, study).splits
    history = client.get_metric_history(split.info.run_id, "loss/gan/l1")
    assert [point.step for point in history] == list(range(1, 2502))


def test_names_of_distortions_that_mlflow_refuses_are_written_with_underscores(store, client, study, tmp_path):
    folder = write_trial(tmp_path, more={"srocc/noise (colour) #2": 0.5})
    sync(store, study, [(configuration(study), folder)])
    assert runs_of(client, study).splits[0].data.metrics["srocc/noise _colour_ _2"] == 0.5
    assert runs_of(client, study).configurations[0].data.metrics["srocc_mean/noise _colour_ _2"] == 0.5


def test_runs_of_an_older_version_with_other_names_of_tags_are_found_again(store, client, study, tmp_path):
    entries = [(configuration(study), write_trial(tmp_path))]
    sync(store, study, entries)
    before = runs_of(client, study)
    for run in before.configurations + before.splits:
        for name in (KEY, RESULT):
            if name in run.data.tags:
                client.set_tag(run.info.run_id, name.removeprefix("mlflow."), run.data.tags[name])
                client.delete_tag(run.info.run_id, name)
    done = sync(store, study, entries)
    assert (done.present, done.written, done.deleted) == (1, 0, 0)
    assert runs.missing(store, study, [(run, read_trial(folder)) for run, folder in entries]) == 0


def test_fields_at_their_defaults_are_in_no_digest_so_that_a_new_one_makes_mlflow_write_no_run_anew(
    tmp_path, monkeypatch
):
    trial = read_trial(write_trial(tmp_path))
    monkeypatch.setattr(summary, "digest", json.dumps)
    assert "rate_factor" not in trial.digest and '"srocc"' in trial.digest
    config = with_values(trial.result.config, {"phases.gan.rate_factor": 0.5})
    changed = replace(trial, result=trial.result.model_copy(update={"config": config}))
    assert '"rate_factor": 0.5' in changed.digest


def test_hashes_are_no_tags_that_mlflow_shows(store, client, study, tmp_path):
    sync(store, study, [(configuration(study), write_trial(tmp_path))])
    (split,) = runs_of(client, study).splits
    shown = {name for name, value in split.data.tags.items() if not name.startswith("mlflow.") and len(value) == 64}
    assert shown <= {"signature"}


def test_a_run_says_who_made_it_by_which_command_from_which_commit(store, client, study, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/tune.py", "--study", "a b", "--sync"])
    source_tags.cache_clear()
    sync(store, study, [(configuration(study), write_trial(tmp_path))])
    source_tags.cache_clear()
    found = runs_of(client, study)
    for run in found.configurations + found.splits:
        assert run.data.tags["mlflow.user"]
        assert run.data.tags["mlflow.source.name"] == "python tune.py --study 'a b'"
    (dataset,) = found.configurations[0].inputs.dataset_inputs
    assert dataset.dataset.name == "LIVE release 2, regenerated subset"
    assert found.configurations[0].data.tags[NOTE].splitlines()[0] == (
        "64 px: test SROCC 0.800, PLCC 0.850 (on 1 split); LIVE release 2, regenerated subset, preset small."
    )


def test_an_experiment_that_was_deleted_is_restored(store, client, study, tmp_path):
    entries = [(configuration(study), write_trial(tmp_path))]
    sync(store, study, entries)
    client.delete_experiment(client.get_experiment_by_name(study).experiment_id)
    sync(store, study, entries)
    assert len(runs_of(client, study).splits) == 1


def test_sync_refuses_a_folder_without_a_whole_result_by_name(store, study, tmp_path):
    with pytest.raises(DataError, match=r"no trial at .*nothing: it has no result\.json"):
        sync(store, study, [(configuration(study), tmp_path / "nothing")])
    folder = write_trial(tmp_path)
    (folder / "result.json").write_text('{"signature": ')
    with pytest.raises(StoreError, match=r"result\.json is cut off"):
        sync(store, study, [(configuration(study), folder)])


def test_a_trial_that_cannot_be_written_gives_one_message_and_the_next_is_written(store, client, study, tmp_path):
    messages: list[str] = []
    tracker = Tracker(store, study, messages.append)
    tracker.finished(configuration(study), tmp_path / "nothing")
    tracker.finished(configuration(study), write_trial(tmp_path))
    tracker.close()
    assert len(messages) == 1
    assert "MLflow is without 1 trial, such as nothing: no trial at" in messages[0]
    assert f"run the command of study '{study}' again with --sync" in messages[0]
    assert len(runs_of(client, study).splits) == 1


def test_a_server_that_does_not_answer_costs_one_message_and_delays_nothing(study, tmp_path):
    messages: list[str] = []
    started = time.monotonic()
    tracker = Tracker(DEAD, study, messages.append)
    built = time.monotonic()
    for split in range(3):
        tracker.finished(configuration(study), write_trial(tmp_path, split))
    handed_in = time.monotonic()
    tracker.close()
    closed = time.monotonic()
    assert built - started < 10
    assert handed_in - built < 0.5
    assert closed - handed_in < 10
    assert len(messages) == 1
    assert DEAD in messages[0]
    assert f"run the command of study '{study}' again with --sync" in messages[0]
    assert "\n" not in messages[0]


@pytest.mark.parametrize("closed_first", [False, True])
def test_a_server_that_answers_again_gets_all_trials(store, client, study, tmp_path, monkeypatch, closed_first):
    monkeypatch.setattr(runs, "RETRY_S", 600.0 if closed_first else 0.05)
    down = threading.Event()
    asked = threading.Event()
    find = MlflowClient.get_experiment_by_name

    def find_unless_down(self, name):
        if down.is_set():
            asked.set()
            raise MlflowException("connection refused")
        return find(self, name)

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", find_unless_down)
    messages: list[str] = []
    tracker = Tracker(store, study, messages.append)
    down.set()
    for split in range(2):
        tracker.finished(configuration(study), write_trial(tmp_path, split))
    assert asked.wait(10)
    time.sleep(0.2)
    down.clear()
    if not closed_first:
        wait_until(lambda: len(runs_of(client, study).splits) == 2)
    tracker.close()
    assert len(messages) == 1
    assert len(runs_of(client, study).splits) == 2


def test_sync_with_a_dead_server_raises_one_error_with_address_and_remedy(study, tmp_path):
    with pytest.raises(TrackingError, match=rf"MLflow at {DEAD} cannot be used .*study '{study}' again with --sync"):
        sync(DEAD, study, [(configuration(study), write_trial(tmp_path))])


@pytest.mark.parametrize("uri", ["sqlite:///{}/a file/mlflow.db", "htp://server:5000"])
def test_an_address_that_mlflow_cannot_use_is_refused_at_once(uri, study, tmp_path):
    (tmp_path / "a file").touch()
    with pytest.raises(TrackingError, match="give another --tracking-uri"):
        Tracker(uri.format(tmp_path), study)


@pytest.mark.slow
def test_studies_that_start_together_on_a_new_storage_make_one_database(tmp_path):
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    code = "import sys; from gada_ray.tracking.runs import Tracker; Tracker(sys.argv[1], sys.argv[2]).close()"
    started = [subprocess.Popen([sys.executable, "-c", code, uri, f"study {n}"]) for n in range(3)]
    assert [each.wait() for each in started] == [0, 0, 0]
    found = MlflowClient(tracking_uri=uri).search_experiments()
    assert {one.name for one in found} >= {f"study {n}" for n in range(3)}


def test_the_default_store_lies_in_the_storage_by_absolute_path_and_names_the_command_that_shows_it(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    uri = default_uri(tmp_path.relative_to(tmp_path) / "my storage")
    assert uri == f"sqlite:///{tmp_path}/my storage/mlflow.db"
    words = shlex.split(where_to_look(uri))
    program = words.index("server") - 1
    assert words[:2] == ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"]
    assert Path(words[program]).is_file() and os.access(words[program], os.X_OK)
    options = dict(zip(words[program + 2 :: 2], words[program + 3 :: 2], strict=True))
    assert options == {
        "--backend-store-uri": uri,
        "--artifacts-destination": f"{tmp_path}/my storage/mlartifacts",
        "--host": "127.0.0.1",
        "--port": "5000",
        "--workers": "1",
    }
    assert where_to_look("http://server:5000") == "http://server:5000"


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not done in time"
        time.sleep(0.05)


def test_a_study_has_one_run_for_its_report_whatever_is_made_again(store, client, tmp_path, tmp_path_factory):
    base = TrainingConfig(phases=(GAN,))
    size = Preset(cost="", splits=3)
    plan = make_plan(
        "report", Study(question="?", base=base, variants={"a": {}}, presets={"small": size}), "small", "x", {}
    )
    (tmp_path / "report.html").write_text("first")
    one = runs.log_study(store, plan, "scheme", ["f" * 64], (), tmp_path, over=False)
    assert client.get_run(one).info.status == "KILLED"
    (tmp_path / "report.html").write_text("second")
    assert runs.log_study(store, plan, "scheme", ["f" * 64], (), tmp_path, over=True) == one
    other = runs.log_study(store, replace(plan, seed=1), "scheme", ["f" * 64], (), tmp_path, over=True)
    assert other != one
    sync(store, "report", [])
    (experiment,) = {client.get_run(run_id).info.experiment_id for run_id in (one, other)}
    found = {run.info.run_id: run for run in client.search_runs([experiment])}
    assert set(found) == {one, other}
    assert found[one].info.status == "FINISHED" and found[one].data.tags["kind"] == "study"
    where = client.download_artifacts(one, "report.html", str(tmp_path_factory.mktemp("download")))
    assert Path(where).read_text() == "second"


def test_a_studys_description_leads_to_its_own_configurations_alone(store, client, tmp_path, tmp_path_factory):
    base = TrainingConfig(phases=(GAN,))
    preset = Preset(cost="", splits=1)
    plan = make_plan("two", Study(question="?", base=base, variants={"a": {}}, presets={"p": preset}), "p", "x", {})
    ours = configuration("two", variant="a", splits=(0,))
    other = replace(ours, seed=ours.seed + 1)
    folder = write_trial(tmp_path / "trial", 0, 0.5)
    sync(store, "two", [(ours, folder), (other, folder)])
    keys = {configuration_key(ours, read_trial(folder))}
    assert configuration_key(other, read_trial(folder)) not in keys
    run = runs.log_study(store, plan, "s", ["f"], keys, tmp_path_factory.mktemp("report"), over=True)
    note = client.get_run(run).data.tags[NOTE]
    place = client.get_experiment_by_name("two").experiment_id
    found = client.search_runs([place], "tags.kind = 'configuration'")
    assert len(found) == 2
    assert [one.data.tags[KEY] in keys for one in found if one.info.run_id in note] == [True]
