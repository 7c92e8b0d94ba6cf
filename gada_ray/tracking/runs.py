"""MLflow: one run a configuration, with a nested run for each of its splits, and one run a study for its report.

The store is the record; MLflow is a copy of it for people and for analysis, and can be made complete from it at any
time. The driver alone writes it, in one background thread.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from gada_ray.study.summary import ConfigurationRun, Trial, configuration_key, read_trial
from gada_ray.tracking import database
from gada_ray.tracking.client import (
    KEY,
    RESULT,
    Tell,
    connect,
    experiment_id,
    hash_tag,
    line,
    opened,
    remedy,
    search,
    silence,
    unreachable,
)
from gada_ray.tracking.reconcile import reconcile
from gada_ray.tracking.study_run import is_logged as is_logged
from gada_ray.tracking.study_run import log_study as log_study
from gada_ray.tracking.uri import TrackingError as TrackingError
from gada_ray.tracking.uri import default_uri as default_uri
from gada_ray.tracking.uri import shown, sqlite_path
from gada_ray.tracking.uri import where_to_look as where_to_look
from gada_ray.trials.store import Folder

RETRY_S = 60.0
"""Seconds between two attempts to reach a server that is down."""
CLOSE_S = 120.0
"""For what is still to be written when a study ends, a file that another program holds included."""
ATTEMPTS = 3

Entry = tuple[ConfigurationRun, Folder]


@dataclass(frozen=True)
class Synced:
    """What `sync` found and did, in runs of splits, and in configurations."""

    configurations: int
    present: int
    written: int
    deleted: int


def sync(uri: str, experiment: str, entries: Iterable[Entry], tell: Tell | None = None) -> Synced:
    """Make MLflow complete from the store and free of duplicates and half-written runs. Safe to repeat.

    `entries` are finished trials, each with the configuration that it belongs to. Not meant for while a driver writes
    to the same experiment: runs that it is just writing look half-written.

    Raises:
        TrackingError: when MLflow cannot be reached or refuses.
        DataError: for a folder that holds no result.
        StoreError: for a result that cannot be trusted.
    """
    groups: dict[str, tuple[ConfigurationRun, list[Trial]]] = {}
    for run, folder in entries:
        trial = read_trial(folder)
        key = configuration_key(run, trial)
        # The last entry knows best how many splits are planned: a pruned candidate has fewer than it began with.
        groups[key] = run, [*groups.get(key, (run, []))[1], trial]
    try:
        client, place = opened(uri, experiment, tell or _to_stderr)
        done = [reconcile(client, place, run, trials, over=True) for run, trials in groups.values()]
        left = 0
        for found in search(client, place, "attributes.status = 'RUNNING'"):
            if found.data.tags.get("kind") == "configuration" and "n" in found.data.metrics:
                client.set_terminated(found.info.run_id, "KILLED")
            elif "kind" in found.data.tags:
                client.delete_run(found.info.run_id)
                left += 1
    except (MlflowException, OSError) as error:
        raise TrackingError(unreachable(uri, experiment, error)) from error
    return Synced(
        configurations=len(done),
        present=sum(one.present for one in done),
        written=sum(one.written for one in done),
        deleted=left + sum(one.deleted for one in done),
    )


def missing(uri: str, experiment: str, trials: Iterable[tuple[ConfigurationRun, Trial]]) -> int:
    """How many finished trials have no complete run of their split with their present result in MLflow.

    Raises:
        TrackingError: when MLflow cannot be reached or refuses.
    """
    try:
        client = connect(uri)
        found = search(client, experiment_id(client, uri, experiment), "tags.kind = 'split'")
    except (MlflowException, OSError) as error:
        raise TrackingError(unreachable(uri, experiment, error)) from error
    there = {(hash_tag(one, KEY), hash_tag(one, RESULT)) for one in found if one.info.status != "RUNNING"}
    return sum((configuration_key(run, trial), trial.digest) not in there for run, trial in trials)


class Tracker:
    """Writes finished trials to MLflow while a study runs, and never delays or fails it.

    Build it in the driver before any worker starts: it creates database and experiment. A server that does not answer
    costs one message and is tried again once a minute; a SQLite file that another program holds is waited for. What
    could not be written is tried once more by `close`, and what is missing then is left to `sync`.

    Raises:
        TrackingError: for a local store that cannot be opened, or an address that MLflow does not know.
    """

    def __init__(self, uri: str, experiment: str, tell: Tell | None = None) -> None:
        self._uri, self._experiment, self._tell = uri, experiment, tell or _to_stderr
        self._entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._open: set[str] = set()
        self._down = False
        silence()
        try:
            self._client, _ = opened(uri, experiment, self._tell)
        except TrackingError:
            raise
        except Exception as error:
            if not uri.startswith(("http://", "https://")):
                raise TrackingError(
                    f"MLflow cannot use {shown(uri)}: {line(error, uri)}; give another --tracking-uri"
                ) from error
            self._lost(error)
            self._client = connect(uri)
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def finished(self, run: ConfigurationRun, trial_folder: Folder) -> None:
        """Have a finished trial written, and return at once. Trials that were read back may be handed in again."""
        self._entries.put((run, trial_folder))

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what is waiting, for at most some seconds; nothing can be handed in afterwards.

        What could not be written before is tried once more.
        """
        self._entries.put(None)
        self._closing.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._tell(f"MLflow at {shown(self._uri)} is not complete after {timeout_s:.0f} s; {self._remedy}")

    def _work(self) -> None:
        refused: list[Entry] = []
        try:
            while (entry := self._entries.get()) is not None:
                while not self._answers():
                    if self._closing.is_set():
                        return
                    self._closing.wait(RETRY_S)
                if self._write(*entry) is not None:
                    refused.append(entry)
            errors = [(entry[1].name, error) for entry in refused if (error := self._write(*entry)) is not None]
            if errors:
                name, error = errors[0]
                self._tell(
                    f"MLflow is without {len(errors)} trial{'s' * (len(errors) > 1)}, such as {name}: "
                    f"{line(error, self._uri)}; {self._remedy}"
                )
            for run_id in self._open:
                self._client.set_terminated(run_id, "KILLED")
        except Exception as error:
            self._lost(error)

    def _answers(self) -> bool:
        """Whether MLflow can be used now; waits for a SQLite file that another program holds."""
        try:
            if (path := sqlite_path(self._uri)) is not None:
                database.wait_until_free(path, self._tell)
            self._place = experiment_id(self._client, self._uri, self._experiment)
        except Exception as error:
            self._lost(error)
            return False
        self._down = False
        return True

    def _write(self, run: ConfigurationRun, folder: Folder) -> Exception | None:
        """Write one trial; the error that remains when MLflow answers but refuses it again and again."""
        failure: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                done = reconcile(self._client, self._place, run, [read_trial(folder)])
            except Exception as error:
                failure = error
                if not self._answers():
                    break
            else:
                (self._open.discard if done.complete else self._open.add)(done.run_id)
                return None
        return failure

    def _lost(self, error: Exception) -> None:
        """Say once, for every time that it happens, that MLflow does not answer."""
        if not self._down:
            self._tell(unreachable(self._uri, self._experiment, error))
        self._down = True

    @property
    def _remedy(self) -> str:
        return remedy(self._experiment)


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)
