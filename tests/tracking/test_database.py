"""MLflow's SQLite file when it is held by another program, of another version, or moved with its files."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mlflow import MlflowClient

from gada_ray.tracking import database as databases
from gada_ray.tracking import runs
from gada_ray.tracking.client import NOTE
from gada_ray.tracking.uri import TrackingError, sqlite_path
from tests.tracking.test_runs import configuration, runs_of, wait_until, write_trial

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


class Holder:
    """Another program that holds a SQLite file."""

    def __init__(self, uri: str) -> None:
        path = sqlite_path(uri)
        assert path is not None
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("BEGIN EXCLUSIVE")

    def release(self) -> None:
        """Let others have it."""
        self._connection.execute("ROLLBACK")
        self._connection.close()


def test_a_file_that_another_program_holds_is_waited_for_with_one_line(database, tmp_path):
    uri = database(tmp_path)
    messages: list[str] = []
    holder = Holder(uri)
    timer = threading.Timer(3, holder.release)
    timer.start()
    tracker = runs.Tracker(uri, "s", messages.append)
    tracker.finished(configuration("s", splits=(0,)), write_trial(tmp_path))
    tracker.close()
    timer.join()
    assert len(messages) == 1
    assert f"another program has locked {tmp_path}/mlflow.db" in messages[0] and "up to 60 s" in messages[0]
    assert len(runs_of(MlflowClient(uri), "s").splits) == 1


def test_a_file_that_stays_locked_is_named_with_both_ways_out(database, tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "WAIT_S", 1.0)
    uri = database(tmp_path)
    holder = Holder(uri)
    try:
        with pytest.raises(TrackingError) as caught:
            runs.Tracker(uri, "s", lambda message: None)
    finally:
        holder.release()
    text = str(caught.value)
    assert f"another program has locked {tmp_path}/mlflow.db" in text
    assert "end it and run the same command again, or give another --tracking-uri" in text


def test_what_a_locked_file_missed_is_written_before_the_study_ends_and_nothing_else_is_printed(
    database, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(databases, "WAIT_S", 2.5)
    monkeypatch.setattr(runs, "RETRY_S", 600.0)
    uri = database(tmp_path)
    messages: list[str] = []
    tracker = runs.Tracker(uri, "s", messages.append)
    run = configuration("s", splits=(0, 1))
    tracker.finished(run, write_trial(tmp_path, 0))
    wait_until(lambda: any(NOTE in one.data.tags for one in runs_of(MlflowClient(uri), "s").configurations))
    time.sleep(0.5)
    holder = Holder(uri)
    try:
        tracker.finished(run, write_trial(tmp_path, 1))
        wait_until(lambda: any("cannot be used" in message for message in messages))
    finally:
        holder.release()
    tracker.close()
    assert len(runs_of(MlflowClient(uri), "s").splits) == 2
    assert "Traceback" not in capfd.readouterr().err
    assert len(messages) == 2 and "another program has locked" in messages[0]


def test_a_folder_that_was_moved_or_copied_keeps_its_files_and_writes_to_its_own(database, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new äö"
    uri = database(old)
    run = configuration("s", splits=(0, 1))
    runs.sync(uri, "s", [(run, write_trial(old, 0))])
    shutil.copytree(old, new)
    before = sorted(path.relative_to(old) for path in old.rglob("*"))
    moved = runs.default_uri(new)
    done = runs.sync(moved, "s", [(run, write_trial(new, split)) for split in (0, 1)])
    assert (done.present, done.written) == (1, 1)
    assert sorted(path.relative_to(old) for path in old.rglob("*")) == before  # the original is not written to
    shutil.rmtree(old)
    client = MlflowClient(moved)
    for split in runs_of(client, "s").splits:
        assert Path(unquote(urlsplit(split.info.artifact_uri).path)).is_relative_to(new)
        assert Path(client.download_artifacts(split.info.run_id, "scatter.png")).stat().st_size > 100
    assert databases.relocate(moved) == 0


def test_files_that_were_not_moved_with_the_database_stay_where_they_are(database, tmp_path):
    uri = database(tmp_path / "old")
    runs.sync(uri, "s", [(configuration("s", splits=(0,)), write_trial(tmp_path / "old"))])
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "old" / "mlflow.db", tmp_path / "new")
    alone = runs.default_uri(tmp_path / "new")
    assert databases.relocate(alone) == 0
    (split,) = runs_of(MlflowClient(alone), "s").splits
    assert Path(MlflowClient(alone).download_artifacts(split.info.run_id, "predictions.csv")).exists()


def set_version(uri: str, version: str) -> None:
    path = sqlite_path(uri)
    assert path is not None
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))


def test_a_file_of_an_older_mlflow_is_not_migrated_without_a_word_and_the_whole_command_is_given(database, tmp_path):
    uri = database(tmp_path / "a b")
    set_version(uri, "bd07f7e963c5")  # of MLflow 1.28
    before = (tmp_path / "a b" / "mlflow.db").read_bytes()
    with pytest.raises(TrackingError, match=r"older MLflow \(database version bd07f7e963c5") as caught:
        runs.Tracker(uri, "s")
    command = str(caught.value).splitlines()[-1]
    path = tmp_path / "a b" / "mlflow.db"
    assert command.startswith(f"cp '{path}' '{path}.bd07f7e963c5' && ")
    assert command.endswith(f"mlflow db upgrade '{uri}'")
    assert path.read_bytes() == before


def test_a_file_of_a_newer_mlflow_is_refused_by_name(database, tmp_path):
    uri = database(tmp_path)
    set_version(uri, "ffffffffffff")
    with pytest.raises(TrackingError, match=r"mlflow\.db has database version ffffffffffff, which MLflow .* not know"):
        runs.Tracker(uri, "s")


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database, but long enough to be one " * 10)
    with pytest.raises(TrackingError, match=r"cannot use .*mlflow\.db \(file is not a database\); give another"):
        runs.Tracker(runs.default_uri(tmp_path), "s")
