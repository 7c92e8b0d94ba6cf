"""Results on S3: the same trial, interrupted or not, recorded and tracked as on a disk.

The server is moto's, on the loopback interface.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import s3fs
from mlflow import MlflowClient
from moto.server import ThreadedMotoServer

from gada_ray.running import lock
from gada_ray.study.summary import ConfigurationRun
from gada_ray.tracking import runs
from gada_ray.trials.run import Execution, run_trial
from gada_ray.trials.store import CHECKPOINT, RESULT, RefusedError, Store, StoreError
from tests.helpers_manifest import make_manifest
from tests.toy import tiny, toy_dataset, toy_trial

ROOT = Path(__file__).parents[1]
STORAGE = "s3://studies/gada/runs"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(endpoint, monkeypatch):
    """A client, after the environment names the server and everything on it is gone but one empty bucket."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    for bucket in client.list_buckets()["Buckets"]:
        for key in keys(client, bucket["Name"]):
            client.delete_object(Bucket=bucket["Name"], Key=key)
        client.delete_bucket(Bucket=bucket["Name"])
    client.create_bucket(Bucket="studies")
    yield client
    client.close()


def keys(client, bucket: str = "studies") -> list[str]:
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


class Interrupted(Exception):
    pass


def test_a_trial_interrupted_on_s3_goes_on_from_its_checkpoint_to_the_bits_of_one_on_a_disk(s3, tmp_path):
    dataset = toy_dataset()
    trial, store, disk = toy_trial(dataset), Store(STORAGE), Store(tmp_path)
    store.check()
    seen = []

    def interrupt(progress):
        seen.append(progress["phase"])
        if seen[-1] == "augmentation":
            raise Interrupted

    with pytest.raises(Interrupted):
        run_trial(trial, dataset, store, report=interrupt)
    assert keys(s3) == [f"gada/runs/trials/{trial.signature}/{CHECKPOINT}"]
    again: list[str] = []
    result = run_trial(trial, dataset, store, report=lambda progress: again.append(str(progress["phase"])))
    assert "gan" in seen and "gan" not in again

    expected = run_trial(trial, dataset, disk)
    assert result.metrics == expected.metrics and result.files == expected.files
    names = [*result.files, RESULT]
    assert sorted(keys(s3)) == sorted(f"gada/runs/trials/{trial.signature}/{name}" for name in names)
    for name in result.files:
        assert store.read(trial.signature, name) == disk.read(trial.signature, name)
    assert store.result(trial.signature) == result
    assert run_trial(trial, dataset, store) == result


def test_checkpoints_on_s3_replace_each_other(s3):
    store, dataset = Store(STORAGE), toy_dataset()
    sizes = []
    run_trial(
        toy_trial(dataset),
        dataset,
        store,
        Execution(checkpoint_every_s=0),
        lambda _: sizes.append(len(keys(s3))),
    )
    assert max(sizes) == 1


def test_a_result_on_s3_that_was_edited_is_refused(s3):
    store, dataset = Store("s3://studies"), toy_dataset()
    trial = toy_trial(dataset, tiny({"phases.gan.steps": 1}))
    run_trial(trial, dataset, store)
    data = store.read(trial.signature, RESULT)
    assert data is not None
    s3.put_object(
        Bucket="studies", Key=f"trials/{trial.signature}/{RESULT}", Body=data.replace(b'"seed": 0', b'"seed": 1')
    )
    with pytest.raises(StoreError, match=rf"s3://studies/trials/{trial.signature}/{RESULT} was edited"):
        store.result(trial.signature)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # inside MLflow
@pytest.mark.slow
def test_mlflow_is_written_from_results_on_s3(s3, tmp_path, database):
    store, dataset, config = Store(STORAGE), toy_dataset(), tiny()
    trial = toy_trial(dataset, config)
    run_trial(trial, dataset, store)
    run = ConfigurationRun("study", "smoke", "toy", "64 px", "test", 0, {}, config, (0,), "scheme", 0)
    uri = database(tmp_path)
    first = runs.sync(uri, "study", [(run, store.folder(trial.signature))])
    again = runs.sync(uri, "study", [(run, store.folder(trial.signature))])
    assert (first.written, again.written, again.present) == (1, 0, 1)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    (split,) = client.search_runs([experiment.experiment_id], "tags.kind = 'split'")
    files = {entry.path for entry in client.list_artifacts(split.info.run_id)}
    assert files == {"predictions.csv", "scatter.png", "figure1.png", "generated_by_quality.png", "worst_images.png"}
    path = client.download_artifacts(split.info.run_id, "predictions.csv", str(tmp_path))
    assert Path(path).read_bytes() == store.read(trial.signature, "predictions.csv")
    assert any(name.startswith("loss/gan/") for name in split.data.metrics)


def test_a_database_of_mlflow_cannot_live_on_s3(s3):
    with pytest.raises(runs.TrackingError, match=r"s3://studies/gada/runs; name a server, --tracking-uri http"):
        runs.default_uri(Store(STORAGE).root)


def test_a_bucket_that_is_not_there_is_named_before_anything_is_trained(s3):
    with pytest.raises(StoreError, match=r"s3://other/runs cannot be used \(.*bucket does not exist.*AWS_"):
        Store("s3://other/runs").check()


def test_missing_credentials_are_named(s3, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for use in (Store.check, lambda store: store.empty):
        with pytest.raises(StoreError, match=r"s3://studies/gada/runs cannot be used \(.*credentials.*AWS_"):
            use(Store(STORAGE))


def test_a_server_that_went_away_is_named_where_a_result_is_read(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with pytest.raises(StoreError, match=r"cannot be used \(.*127\.0\.0\.1:9"):
        Store(STORAGE).result("0" * 64)


@pytest.mark.parametrize("address", ["gs://bucket/runs", "http://host/runs", "s3://", "s3:///runs"])
def test_storage_of_another_kind_is_refused(address):
    with pytest.raises(StoreError, match="neither a folder nor s3://bucket/prefix"):
        Store(address)


def test_s3_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(StoreError, match=r"needs s3fs; pip install '.\[s3\]', in the repository, on every node"):
        Store(STORAGE)


@pytest.mark.ray
# Inside MLflow's and Ray's own code.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_study_on_s3_runs_on_workers_and_its_second_run_trains_nothing(s3, tmp_path, database, tune_py):
    make_manifest(tmp_path / "data")
    data = ("--dataset", "manifest", "--data-root", tmp_path / "data")
    study = ("--study", "normalisation", "--preset", "smoke", *data, "--storage", STORAGE)
    refused = tune_py(*study)
    assert refused.code == 2 and "--tracking-uri" in refused.err and "Traceback" not in refused.err
    assert not keys(s3)

    uri = database(tmp_path)
    first = tune_py(*study, "--tracking-uri", uri)
    assert first.code == 0, first
    written = keys(s3)
    assert len([key for key in written if key.endswith(RESULT)]) == 3
    assert {key.split("/")[2] for key in written} == {"reports", "tables", "trials"}
    times = {key: s3.head_object(Bucket="studies", Key=key)["LastModified"] for key in written if "/trials/" in key}
    again = tune_py(*study, "--tracking-uri", uri)
    assert again.code == 0, again
    assert again.out[again.out.index("┏") :] == first.out[first.out.index("┏") :]
    assert times == {key: s3.head_object(Bucket="studies", Key=key)["LastModified"] for key in times}
    assert not list(ROOT.glob("s3:*"))


def test_a_lock_on_s3_refuses_a_second_driver_and_is_taken_over_once_it_is_no_longer_written(s3, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.1)
    monkeypatch.setattr(lock, "STALE_S", 1.0)
    root = Store(STORAGE).root
    with lock.only_driver(root, "phases"):
        time.sleep(3 * lock.BEAT_S)
        with (
            pytest.raises(lock.LockedError, match=r"s3://studies/gada/runs by process"),
            lock.only_driver(root, "phases"),
        ):
            raise AssertionError("two drivers at once")
    assert not keys(s3)
    elsewhere = lock.Holder.here().model_copy(update={"host": "elsewhere"})
    (root / "locks" / "phases.json").write_bytes(elsewhere.model_dump_json().encode())
    told: list[str] = []
    with lock.only_driver(root, "phases", told.append):
        assert [sentence.split()[0] for sentence in told] == ["'phases'", "taking"]


def test_a_bucket_that_may_not_be_written_to_is_a_refusal_with_its_cause(s3, monkeypatch):
    def denied(*_, **__):
        raise PermissionError("Access Denied")

    store = Store(STORAGE)
    assert not isinstance(store.root, Path)
    monkeypatch.setattr(store.root.fs, "pipe_file", denied)
    with pytest.raises(RefusedError, match=r"checkpoint.pt cannot be used \(Access Denied\); .* run the same command"):
        store.write("0" * 64, CHECKPOINT, b"")
