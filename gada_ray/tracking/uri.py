"""Where MLflow is: by default a sqlite file in the storage. Nothing here loads MLflow."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from gada_ray.errors import UserError
from gada_ray.trials.store import Folder

SQLITE = "sqlite:///"


class TrackingError(UserError, RuntimeError):
    """MLflow cannot be used; names its address and what to do. The results in the store are not touched."""


def default_uri(storage: Folder) -> str:
    """The sqlite file `mlflow.db` in the storage, by absolute path; files of runs go to `mlartifacts` beside it.

    Raises:
        TrackingError: for a storage on S3, where no database can live.
    """
    if not isinstance(storage, Path):
        raise TrackingError(
            f"MLflow's database cannot be kept in {storage}; name a server, --tracking-uri http://HOST:5000, "
            f"or a file on this machine, --tracking-uri {SQLITE}mlflow.db"
        )
    return f"{SQLITE}{storage.resolve() / 'mlflow.db'}"


def where_to_look(uri: str) -> str:
    """The shell command that opens MLflow's pages on a sqlite file, or the address of the server that shows them."""
    if not uri.startswith(SQLITE):
        return uri
    options = {"--backend-store-uri": uri, "--artifacts-destination": str(artifacts(uri)), "--host": "127.0.0.1"}
    return shlex.join(["mlflow", "server", *(text for option in options.items() for text in option)])


def option(uri: str) -> str:
    """What a command needs to find an MLflow that is not where it looks by itself, without any password."""
    if uri == default_uri(Path("runs")):
        return ""
    shown = re.sub(r"(?<=://)[^/@]*@", "", uri)
    return f" --tracking-uri {shlex.quote(shown)}"


def artifacts(uri: str) -> Path:
    """Where the files of runs lie for a sqlite store."""
    return Path(uri.removeprefix(SQLITE)).resolve().parent / "mlartifacts"
