"""Where MLflow is: by default a SQLite file in the storage. Nothing here loads MLflow."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from gada_ray.errors import UserError
from gada_ray.trials.store import Folder

SQLITE, SQLITE_QUOTED = "sqlite:///", "sqlite+pysqlite:///"
"""Both name SQLite files. MLflow creates the folder of the first as it is written; the second is for paths that need
quoting, and is always decoded."""
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
SHARED = (
    "nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "panfs",
    "orangefs", "pvfs2", "wekafs", "glusterfs", "sshfs", "juicefs", "s3fs", "gcsfuse",
)  # fmt: skip
"""File systems of several machines, where SQLite's locks cannot be relied on."""
PAGE = "http://127.0.0.1:5000"
"""Where the command of `where_to_look` shows MLflow's pages."""


class TrackingError(UserError, RuntimeError):
    """MLflow cannot be used; the message names its address and what to do. The results in the store are not touched."""


def tracking_uri(given: str | None, storage: Folder, writing: bool = False) -> str:
    """MLflow's address: the one given on the command line, checked, or else `default_uri` of the storage.

    Raises:
        TrackingError: for an address that MLflow cannot use, and where there is no default.
    """
    return checked(given) if given else default_uri(storage, writing)


def default_uri(storage: Folder, writing: bool = False) -> str:
    """The SQLite file `mlflow.db` in the storage, by absolute path; files of runs are kept in `mlartifacts` beside it.

    Raises:
        TrackingError: for a storage on S3, which cannot hold a database, and, for `writing`, for one on a file system
            that several machines share, which can damage one.
    """
    own_disk = sqlite_uri(Path(tempfile.gettempdir()) / f"gada-ray-{os.getuid()}" / "mlflow.db")
    ways = (
        f"name a server, --tracking-uri http://HOST:5000, or a file on a disk of this machine alone, such as "
        f"--tracking-uri {shlex.quote(own_disk)}; --sync writes MLflow anew from the storage, on any machine"
    )
    if not isinstance(storage, Path):
        raise TrackingError(f"MLflow's database cannot be kept in {storage}; {ways}")
    path = storage.resolve() / "mlflow.db"
    if writing and (kind := shared_file_system(path)):
        raise TrackingError(
            f"the storage {storage} is on a file system that machines share ({kind}), where MLflow's default, a SQLite "
            f"file, can be damaged; {ways}"
        )
    return sqlite_uri(path)


def checked(uri: str) -> str:
    """An address as given on the command line, in the form that MLflow takes.

    Raises:
        TrackingError: for an address that MLflow cannot use; names it and what to give instead.
    """
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if scheme == "sqlite":
        return sqlite_uri(_typed_path(uri))
    if uri == "databricks" or scheme.partition("+")[0] in SCHEMES:
        return uri
    if scheme in ("", "file") and not uri.startswith("databricks"):
        folder = Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else Path(uri)
        instead = sqlite_uri(folder.resolve().parent / "mlflow.db")
        raise TrackingError(
            f"--tracking-uri {uri} is a folder; MLflow no longer keeps runs in folders of files. Give a SQLite file, "
            f"--tracking-uri {shlex.quote(instead)}, or a server, --tracking-uri http://HOST:5000; "
            "'mlflow migrate-filestore' converts a folder"
        )
    known = ", ".join(f"{name}://" for name in SCHEMES[:-1])
    raise TrackingError(f"--tracking-uri {uri} is no address that MLflow knows; it begins with one of {known}")


def _typed_path(uri: str) -> Path:
    """The file that a `sqlite:///` address names: as it is written if that folder exists, else with %XX decoded."""
    if not uri.startswith(SQLITE) or uri in (SQLITE, f"{SQLITE}:memory:"):
        raise TrackingError(
            f"--tracking-uri {uri} names no file; give sqlite:///FILE for one below the current folder, "
            "or sqlite:////FOLDER/FILE"
        )
    path = uri.removeprefix(SQLITE)
    if re.search(r"\?\w+=", path):
        raise TrackingError(f"--tracking-uri {uri}: options after '?' are not supported; give the file alone")
    return Path(path if Path(path).parent.is_dir() else unquote(path)).resolve()


def sqlite_uri(path: Path) -> str:
    """The address of a SQLite file. MLflow and SQLAlchemy find the same file by it, whatever its path contains."""
    text = str(path)
    if "%" in text or "?" in text:
        return SQLITE_QUOTED + re.sub("[%?]", lambda match: quote(match[0]), text)
    return SQLITE + text


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite address; None for other addresses."""
    if uri.startswith(SQLITE_QUOTED):
        return Path(unquote(uri.removeprefix(SQLITE_QUOTED)))
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def artifacts(uri: str) -> Path | None:
    """The folder in which the files of runs are kept for a SQLite file; None for other addresses."""
    path = sqlite_path(uri)
    return None if path is None else path.resolve().parent / "mlartifacts"


def where_to_look(uri: str) -> str:
    """The shell command that shows MLflow's pages of a SQLite file at `PAGE`, or the address of a server.

    One worker and no job executors: MLflow then starts in seconds.
    """
    if sqlite_path(uri) is None:
        return shown(uri)
    program = Path(sys.executable).with_name("mlflow")
    start = [str(program)] if program.exists() else [sys.executable, "-m", "mlflow"]
    host, port = urlsplit(PAGE).hostname, urlsplit(PAGE).port
    options = {"--backend-store-uri": uri, "--artifacts-destination": artifacts(uri), "--host": host, "--port": port}
    words = ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", *start, "server"]
    words += [str(text) for option in options.items() for text in option]
    return shlex.join([*words, "--workers", "1"])


def option(uri: str) -> str:
    """The option by which a command finds an MLflow that is not where it looks by default; without any password."""
    default = Path("runs").resolve() / "mlflow.db"
    return "" if uri == sqlite_uri(default) else f" --tracking-uri {shlex.quote(shown(uri))}"


def shown(uri: str) -> str:
    """An address without user and password."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)


def proxy_advice(uri: str) -> str:
    """A sentence for an address that is asked through a proxy of the environment; empty for others."""
    host, scheme = urlsplit(uri).hostname, urlsplit(uri).scheme
    proxy = getproxies().get(scheme) or getproxies().get("all")
    if scheme not in ("http", "https") or not host or not proxy or proxy_bypass(host):
        return ""
    return (
        f"; requests go through the proxy {shown(proxy)} of the environment: if the server is on this machine or "
        f"network, set no_proxy={host}"
    )


def shared_file_system(path: Path) -> str | None:
    """The type of the file system that a path is on, such as nfs4, if several machines share it."""
    import psutil

    place = path.resolve()
    mounts = [one for one in psutil.disk_partitions(all=True) if place.is_relative_to(one.mountpoint)]
    # Of several on one mount point, the last one is seen.
    kind = max(enumerate(mounts), key=lambda one: (len(one[1].mountpoint), one[0]))[1].fstype if mounts else ""
    return kind if kind.removeprefix("fuse.") in SHARED else None
