"""MLflow's SQLite file, before MLflow opens it: whether another program holds it, its version, where its files are."""

from __future__ import annotations

import shlex
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gada_ray.tracking.uri import TrackingError, artifacts, sqlite_path, sqlite_uri

WAIT_S = 60.0
"""For another program that holds the file."""
PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Columns with absolute addresses of files."""

Tell = Callable[[str], None]


def prepare(uri: str, tell: Tell) -> None:
    """Get a SQLite file ready for MLflow: wait until it can be written, check its version, and correct moved paths.

    Nothing is done for other addresses. `tell` gets a sentence when another program has to be waited for.

    Raises:
        TrackingError: for a file that stays locked, that is no database, or that another version of MLflow wrote.
    """
    path = sqlite_path(uri)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size:
            wait_until_free(path, tell)
            check_version(path)
            relocate(uri)
    except (OSError, sqlite3.Error) as error:
        raise TrackingError(f"MLflow cannot use {path} ({error}); give another --tracking-uri") from error


def wait_until_free(path: Path, tell: Tell) -> None:
    """Wait for a minute, at most, until no other program keeps the file from being written.

    Raises:
        TrackingError: when it still does.
        sqlite3.Error: for a file that cannot be written for another reason.
    """
    end, told = time.monotonic() + WAIT_S, False
    while True:
        try:
            with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as database:
                database.execute("BEGIN IMMEDIATE")
                database.execute("ROLLBACK")
            return
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
        if time.monotonic() > end:
            raise TrackingError(
                f"another program has locked {path}, MLflow's file, for {WAIT_S:.0f} s (a backup, a migration, an open "
                "transaction); end it and run the same command again, or give another --tracking-uri"
            )
        if not told:
            tell(f"another program has locked {path}, MLflow's file; waiting for up to {WAIT_S:.0f} s until it is free")
            told = True
        time.sleep(0.5)


def is_locked(error: Exception) -> bool:
    """Whether an error of SQLite, SQLAlchemy or MLflow says that another program holds the file."""
    return "database is locked" in str(error)


def check_version(path: Path) -> None:
    """Check that this MLflow reads the file. MLflow would migrate some without a word, and older versions refuse those.

    Raises:
        TrackingError: for a file of another version; has the whole command that migrates an older one.
    """
    with closing(sqlite3.connect(path)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return
        found = database.execute("SELECT version_num FROM alembic_version").fetchone()
    import mlflow
    from mlflow.store.db.utils import _get_latest_schema_revision

    head = _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    if found is None or found[0] == head:
        return
    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    if not any(migrations.glob(f"{found[0]}_*.py")):
        raise TrackingError(
            f"{path} has database version {found[0]}, which MLflow {mlflow.__version__} does not know; use the newer "
            "MLflow that wrote it, or give another --tracking-uri and --sync"
        )
    copy = path.with_name(f"{path.name}.{found[0]}")
    raise TrackingError(
        f"{path} was written by an older MLflow (database version {found[0]}; MLflow {mlflow.__version__} needs "
        f"{head}). Give another --tracking-uri and --sync, or migrate it, after which older versions cannot open it:\n"
        f"{shlex.join(['cp', str(path), str(copy)])} && {upgrade_command(sqlite_uri(path))}"
    )


def upgrade_command(uri: str) -> str:
    """The shell command that migrates a database."""
    program = Path(sys.executable).with_name("mlflow")
    start = [str(program)] if program.exists() else [sys.executable, "-m", "mlflow"]
    return shlex.join([*start, "db", "upgrade", uri])


def relocate(uri: str) -> int:
    """Correct the absolute addresses of files in a SQLite file that was moved or copied with its `mlartifacts`.

    Returns how many rows were changed: 0 for a file in its place, and for other addresses.
    """
    path, folder = sqlite_path(uri), artifacts(uri)
    if path is None or folder is None or not path.is_file() or not folder.is_dir():
        return 0
    here = folder.as_uri()
    rule = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file://%/mlartifacts'"
    with closing(sqlite3.connect(path)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return 0
        old = [place for (place,) in database.execute(rule).fetchall() if place != here]
        changes = 0
        with database:
            for place in old:
                for table, column in ((table, column) for table, columns in PLACES.items() for column in columns):
                    changes += database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (here, len(place) + 1, place, len(place) + 1, f"{place}/"),
                    ).rowcount
    return changes
