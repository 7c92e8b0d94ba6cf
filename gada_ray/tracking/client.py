"""MLflow's client for a study: opened without noise, with the experiment in place, and errors in one line."""

from __future__ import annotations

import functools
import getpass
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.file_utils import ExclusiveFileLock

from gada_ray.errors import first_line
from gada_ray.tracking import database
from gada_ray.tracking.uri import TrackingError, artifacts, proxy_advice, shown, sqlite_path

KEY, RESULT, MADE_OF = "mlflow.gada.key", "mlflow.gada.result", "mlflow.gada.made_of"
HELD_OUT = "mlflow.gada.held_out"
"""Tags with hashes. MLflow does not show those that begin with mlflow; see `hash_tag` for runs of older versions."""
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
MAX_NOTE = 8000
"""Characters of a tag's value, MLflow's limit; it cuts longer ones."""

Tell = Callable[[str], None]


def silence() -> None:
    """Keep the logging of MLflow, SQLAlchemy and Alembic off the terminal; errors are told in one line each.

    MLFLOW_LOGGING_LEVEL, MLflow's own variable, brings it back.
    """
    if "MLFLOW_LOGGING_LEVEL" in os.environ:
        return
    for name in ("mlflow", "sqlalchemy", "alembic"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [logging.NullHandler()], False


silence()


def opened(uri: str, name: str, tell: Tell) -> tuple[MlflowClient, str]:
    """A client, and the experiment's id. A database on a disk is made by one process at a time: two would break it.

    Raises:
        TrackingError: for a SQLite file that cannot be used; see `database.prepare`.
    """
    path = sqlite_path(uri)
    if path is None:
        client = connect(uri)
        return client, experiment_id(client, uri, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        alone: ExclusiveFileLock | nullcontext[None] = ExclusiveFileLock(f"{path}.lock")
        with alone:
            database.prepare(uri, tell)
            client = connect(uri)
            return client, experiment_id(client, uri, name)
    except OSError as error:
        raise TrackingError(f"MLflow cannot use {path} ({error}); give another --tracking-uri") from error


def connect(uri: str) -> MlflowClient:
    """A client for runs and registered models at one address."""
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """The experiment's id; it is created, or restored if it was deleted."""
    found = client.get_experiment_by_name(name)
    if found is None:
        place = artifacts(uri)
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return client.create_experiment(name, None if place is None else place.as_uri(), tags=tags)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def search(client: MlflowClient, place: str, rule: str) -> list[Run]:
    """All runs of an experiment that match a filter."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([place], rule, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def search_key(client: MlflowClient, place: str, key: str) -> list[Run]:
    """All runs with a key, those of older versions included, oldest first."""
    names = (KEY, KEY.removeprefix("mlflow."))
    found = [one for name in names for one in search(client, place, f"tags.`{name}` = '{key}'")]
    return sorted(found, key=lambda one: one.info.start_time)


def hash_tag(run: Run, name: str) -> str:
    """A hash among a run's tags, under its present name or that of older versions; empty if there is none."""
    tags = run.data.tags
    return str(tags.get(name) or tags.get(name.removeprefix("mlflow."), ""))


def unreachable(uri: str, experiment: str, error: Exception) -> str:
    """One line for an MLflow that does not answer or refuses."""
    text = line(error, uri)
    if isinstance(error, TrackingError):
        text = text.split("; ")[0]  # what follows is advice for the start of a study
    return f"MLflow at {shown(uri)} cannot be used ({text}); {remedy(experiment)}{proxy_advice(uri)}"


def remedy(experiment: str) -> str:
    """What to do about it."""
    return f"nothing is lost: run the command of study '{experiment}' again with --sync when it can be used"


def line(error: Exception, uri: str = "") -> str:
    """The first line of an error, short, with the whole command where MLflow names one."""
    text = first_line(error)
    if "mlflow db upgrade" in text and uri:
        found = re.search(r"found version \w+, but expected \w+", text)
        versions = f" ({found[0]})" if found else ""
        command = database.upgrade_command(shown(uri))
        return f"its database was written by an older MLflow{versions}; back it up, then migrate it: {command}"
    return text[:300]


@functools.cache
def source_tags() -> dict[str, str]:
    """User, command and commit of this process, under the names that MLflow shows; without what is not known."""
    tags = {}
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        tags["mlflow.user"] = str(os.getuid())
    program, *words = sys.argv
    if Path(program).name == "tune.py":
        words = [word for word in words if word != "--sync"]
        tags |= {"mlflow.source.name": shlex.join(["python", "tune.py", *words]), "mlflow.source.type": "LOCAL"}
    try:
        git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        commit = subprocess.run(git, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return tags
    return tags | {"mlflow.source.git.commit": commit}
