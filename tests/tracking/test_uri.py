"""Addresses of MLflow: made from paths of every kind, and refused by name where MLflow cannot use them."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from gada_ray.tracking import runs, uri
from gada_ray.tracking.client import connect
from gada_ray.tracking.uri import TrackingError
from gada_ray.trials.store import Store
from tests.tracking.test_runs import configuration, write_trial

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

NAMES = ("plain", "a b", "a#b", "a%20b", "a?b", "a'b", "a&b", "ä", '"$x"', "100%")


@pytest.mark.parametrize("name", NAMES)
def test_a_storage_with_any_name_holds_its_database_and_its_files(name, database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = tmp_path / name / "r"
    address = database(storage)
    runs.sync(address, "s", [(configuration("s", splits=(0,)), write_trial(storage))])
    assert {path.name for path in tmp_path.iterdir()} == {name}  # nothing beside the storage
    client = connect(uri.checked(address) if address.startswith(uri.SQLITE) else address)
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    (split,) = client.search_runs([experiment.experiment_id], "tags.kind = 'split'")
    kept = storage / "mlartifacts" / split.info.run_id / "artifacts" / "predictions.csv"
    copy = client.download_artifacts(split.info.run_id, "predictions.csv", str(tmp_path))
    assert Path(copy).read_bytes() == kept.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_command_can_be_pasted_into_a_shell(name, tmp_path):
    address = uri.default_uri(tmp_path / name)
    for text in (uri.where_to_look(address), f"x{uri.option(address)}"):
        words = subprocess.run(f"printf '%s\\n' {text}", shell=True, capture_output=True, text=True, check=True).stdout
        assert words.splitlines() == shlex.split(text) and address in words.splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_an_address_as_typed_names_the_folder_that_is_there(name, tmp_path):
    (tmp_path / name).mkdir()
    typed = uri.checked(f"sqlite:///{tmp_path / name}/mlflow.db")
    assert uri.sqlite_path(typed) == tmp_path / name / "mlflow.db"
    assert typed == uri.default_uri(tmp_path / name)


def test_an_address_with_escapes_names_the_folder_that_they_stand_for(tmp_path):
    (tmp_path / "a b").mkdir()
    assert uri.sqlite_path(uri.checked(f"sqlite:///{tmp_path}/a%20b/m.db")) == tmp_path / "a b" / "m.db"


def test_a_relative_address_is_that_of_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert uri.checked("sqlite:///m.db") == f"sqlite:///{tmp_path}/m.db"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("./mlruns", r"mlruns is a folder; .*Give a SQLite file, --tracking-uri sqlite:////.*mlflow\.db, or a server"),
        ("file:///data/mlruns", r"is a folder; .*--tracking-uri sqlite:////data/mlflow\.db, or a server"),
        ("htp://server:5000", "htp://server:5000 is no address that MLflow knows; it begins with one of http://"),
        ("sqlite://m.db", "names no file; give sqlite:///FILE"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////m.db?timeout=9", "options after '\\?' are not supported"),
    ],
)
def test_an_address_that_mlflow_cannot_use_is_refused_and_says_what_to_give(given, words):
    with pytest.raises(TrackingError, match=words):
        uri.checked(given)


@pytest.mark.parametrize("given", ["http://h:5000", "https://h", "postgresql+psycopg://u:p@h/db", "databricks"])
def test_addresses_of_servers_are_taken_as_they_are(given):
    assert uri.checked(given) == given


@pytest.mark.parametrize(("kind", "shared"), [("nfs4", True), ("fuse.sshfs", True), ("ext4", False)])
def test_the_default_on_a_shared_file_system_is_refused_and_both_ways_are_named(kind, shared, tmp_path, monkeypatch):
    mounts = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(tmp_path), fstype=kind)]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    assert uri.default_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"  # to read what is there
    assert uri.tracking_uri(f"sqlite:///{tmp_path}/m.db", tmp_path, writing=True)  # as somebody chose it
    if not shared:
        assert uri.tracking_uri(None, tmp_path, writing=True) == uri.default_uri(tmp_path)
        return
    with pytest.raises(TrackingError, match=rf"\({kind}\).*--tracking-uri http://HOST:5000, or a file .* sqlite:////"):
        uri.tracking_uri(None, tmp_path, writing=True)


def test_a_storage_on_s3_has_no_default_and_both_ways_are_named():
    storage = pytest.importorskip("upath").UPath("memory://bucket/gada")
    with pytest.raises(TrackingError, match=r"--tracking-uri http://HOST:5000, or a file .* sqlite:////"):
        uri.default_uri(storage)


def test_passwords_are_not_shown():
    assert uri.shown("postgresql://me:secret@h/db") == "postgresql://h/db"
    assert "secret" not in uri.where_to_look("https://me:secret@lab:5000")


def test_no_proxy_is_named_where_a_proxy_stands_between(monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert uri.proxy_advice("http://lab:5000") == ""
    monkeypatch.setenv("http_proxy", "http://me:pw@127.0.0.1:9")
    assert "proxy http://127.0.0.1:9 of the environment" in uri.proxy_advice("http://lab:5000")
    assert "set no_proxy=lab" in uri.proxy_advice("http://lab:5000")
    messages: list[str] = []
    runs.Tracker("http://localhost:9", "s", messages.append).close()
    assert len(messages) == 1 and "set no_proxy=localhost" in messages[0]
    monkeypatch.setenv("no_proxy", "lab")
    assert uri.proxy_advice("http://lab:5000") == ""
    assert uri.proxy_advice(f"sqlite:///{tmp_path}/m.db") == ""


def test_the_store_is_not_touched_by_a_refused_address(tmp_path):
    with pytest.raises(TrackingError):
        uri.tracking_uri("./mlruns", Store(tmp_path / "s").root, writing=True)
    assert not (tmp_path / "s").exists()
