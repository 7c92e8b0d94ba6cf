"""Names of other packages that are not public, each with its reason. A test fails when one disappears."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gada_ray.tracking.database import PLACES
from gada_ray.tracking.links import VIEW
from gada_ray.tracking.uri import sqlite_path

# Inside MLflow's own code.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
ROOT = Path(__file__).parents[1]
SOURCES = ("gada_ray", "analysis", "benchmarks", "studies", "tests", "tune.py")

IMPORTED = {
    "ray._private.state.state.get_cluster_config": "running/cluster.py: the nodes that an autoscaler may start; "
    "Ray has no public name for them",
    "ray._common.utils.reset_ray_address": "tests/faults.py: else every later ray.init on this machine joins",
    "ray.cluster_utils.Cluster": "tests/faults.py, tests/running/test_cluster.py: several nodes on one machine",
    "ray.autoscaler._private.util.validate_config": "tests/test_deploy.py: `ray up` checks its file by it",
    "ray.autoscaler._private.util.prepare_config": "tests/test_deploy.py: `ray up` completes its file by it",
    "mlflow.store.db.utils._get_latest_schema_revision": "tracking/database.py: the schema that this MLflow reads",
    "mlflow.utils.file_utils.ExclusiveFileLock": "tracking/client.py: MLflow's own lock while it makes a database",
}
"""By dotted name."""


def parameter(name: str) -> Callable[[], bool]:
    """Whether `ray.init` knows an option."""

    def known() -> bool:
        import ray

        return name in inspect.getsource(ray.init)

    return known


def attribute(path: str, name: str) -> Callable[[], bool]:
    """Whether a class has an attribute, or its source names one."""

    def known() -> bool:
        module, _, kind = path.rpartition(".")
        found = getattr(importlib.import_module(module), kind)
        return hasattr(found, name) or f"self.{name}" in inspect.getsource(found)

    return known


def page_knows_views() -> bool:
    """Whether the program of MLflow's pages names the tag of saved views."""
    import mlflow

    pages = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    return any(VIEW.rstrip(".") in file.read_text(errors="ignore") for file in pages.glob("*.js"))


def ray_starts_with_a_function() -> bool:
    """Whether Ray gives its processes a function to run before their program."""
    from ray._private import services

    return "preexec_fn=preexec_fn" in inspect.getsource(services.start_ray_process)


def wrong_options_have_messages() -> bool:
    """Whether an error of typer's options has `format_message`."""
    import typer

    return hasattr(typer.BadParameter, "format_message")


USED = {
    "_temp_dir of ray.init": (
        parameter("_temp_dir"),
        "running/cluster.py: on a shared machine, /tmp/ray is another user's",
    ),
    "_system_config of ray.init": (
        parameter("_system_config"),
        "tests/running/test_cluster.py: a dead node is noticed soon",
    ),
    "preexec_fn of Ray's processes": (
        ray_starts_with_a_function,
        "running/cluster.py: Python then calls `os.register_at_fork`, by which they get a session of their own",
    ),
    "Trial.pickled_error_file": (
        attribute("ray.tune.experiment.trial.Trial", "pickled_error_file"),
        "running/runner.py: Tune tells a callback that a trial failed, but not why",
    ),
    "FIFOScheduler.choose_trial_to_run": (
        attribute("ray.tune.schedulers.FIFOScheduler", "choose_trial_to_run"),
        "running/runner.py: Tune's choice leaves nodes that join late without trials",
    ),
    "RayActorError.preempted": (
        attribute("ray.exceptions.RayActorError", "preempted"),
        "running/runner.py: a node that its provider took away is no failure of the trial",
    ),
    "format_message of typer's errors": (
        wrong_options_have_messages,
        "tune.py, analysis/__main__.py: typer has no public base class of wrong options",
    ),
    "mlflow.sharedViewState": (
        page_knows_views,
        "tracking/links.py: saved views of runs are not in MLflow's documentation",
    ),
}
"""What is used but not imported by name: a check of the installed version, and the reason."""

SCHEMA = {
    **PLACES,
    "logged_models": ("artifact_location", "model_id", "lifecycle_stage"),
    "alembic_version": ("version_num",),
}
"""MLflow's tables and their columns. tracking/lookup.py reads where a model lies, since MLflow takes seconds to load;
tracking/database.py corrects the paths of results that were moved, which MLflow cannot, and reads the version."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", IMPORTED)
def test_names_that_are_imported_exist(name):
    parts = name.split(".")
    found = importlib.import_module(".".join(parts[:2]))
    for position, part in enumerate(parts[2:], 2):
        if not hasattr(found, part):
            importlib.import_module(".".join(parts[: position + 1]))
        found = getattr(found, part)


@pytest.mark.parametrize("name", USED)
def test_what_is_used_otherwise_exists(name):
    check, reason = USED[name]
    assert check(), f"{name} is gone; {reason}"


def test_mlflows_tables_have_the_columns_that_are_read(database, tmp_path):
    path = sqlite_path(database(tmp_path))
    assert path is not None
    with sqlite3.connect(path) as file:
        for table, columns in SCHEMA.items():
            present = {row[1] for row in file.execute(f"PRAGMA table_info({table})")}
            assert set(columns) <= present, table


def private_names(text: str) -> set[str]:
    """Dotted names of Ray, MLflow and typer in a module's code that have a part which begins with an underscore."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
    return {name for name in found if re.match(r"(ray|mlflow|typer)\.", name) and re.search(r"\._[a-z]", name)}


def test_no_other_private_name_is_used():
    files = [
        file
        for source in SOURCES
        for file in ([ROOT / source] if source.endswith(".py") else (ROOT / source).rglob("*.py"))
    ]
    used = {name for file in files for name in private_names(file.read_text())}
    assert {name for name in used if not any(known.startswith(name) for known in IMPORTED)} == {"ray._private.services"}
