"""The Ray cluster on which trials run: an existing one, or one that is started on this machine."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray

from gada_ray.errors import first_line
from gada_ray.running import slots
from gada_ray.running.slots import ResourceError, Resources
from gada_ray.running.temporary import temporary_folder

SHARED_MEMORY = Path("/dev/shm")
STORE_SHARE = 0.3
"""Share of this machine's memory that Ray's object store may take, where the size of the images is not known yet."""
STORE_SPARE = 100 * 2**20
"""Bytes of the object store for everything but images."""

_state = {"starting": False, "started": False, "in_files": False}
"""Whether this process is starting Ray, has started it, and whether that one keeps its objects in files on a disk."""


def connect(
    address: str | None, resources: Resources, stored: int = 0, tell: Callable[[str], None] = lambda message: None
) -> int:
    """Join the cluster at an address or at $RAY_ADDRESS, or start one here; returns the trials that it runs at a time.

    `stored` is the size, in bytes, of the images that Ray's object store is to hold; 0 where it is not known yet. A
    cluster that is started here gets a store of that size. `tell` gets a sentence for what slows a study down.

    Raises:
        ResourceError: if no node can hold a trial, no cluster is at the address, or Ray does not start here.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if ray.is_initialized() and _state["started"] and _smallest_store() < stored:
        disconnect()
    if not ray.is_initialized():
        if address == "local":
            _start(stored, tell)
        else:
            _join(address)
    if stored:
        _check_stores(stored, tell)
    count = count_slots(resources)
    if count < 1:
        nodes = Counter(f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs" for has in nodes_now())
        later = Counter(f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs" for has, _ in nodes_later())
        has = ", ".join(f"{number} x {what}" for what, number in nodes.items())
        more = f"; the autoscaler may start nodes of {', or of '.join(later)}" if later else ""
        raise ResourceError(
            f"a trial requests {resources.cpus:g} CPUs and {resources.gpus:g} GPUs, and no node can hold one: the "
            f"cluster has {has}{more}; lower --cpus-per-trial or --gpus-per-trial"
        )
    return count


def _join(address: str) -> None:
    """Join a cluster that exists."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:  # no answer; no address; another Ray or Python
        ray.shutdown()
        raise ResourceError(
            f"cannot join a Ray cluster at {address} ({first_line(error)}); start one with "
            "`ray start --head`, correct --address or RAY_ADDRESS, or leave both out to use this machine alone"
        ) from None


def _start(stored: int, tell: Callable[[str], None]) -> None:
    """Start Ray on this machine, with the CPUs that this process may use."""
    folder, size = temporary_folder(tell), _store_size(stored)
    in_files = SHARED_MEMORY.is_dir() and _free(SHARED_MEMORY) < size  # Ray decides by the same
    options: dict[str, Any] = {}
    if shlex.quote(sys.executable) != sys.executable:
        options["runtime_env"] = {"py_executable": shlex.quote(sys.executable)}  # Ray makes a shell command of it
    try:
        with _in_own_session():
            ray.init(
                address="local",
                num_cpus=slots.cpus_here(),
                object_store_memory=size,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(folder),
                **options,
            )
    except Exception as error:
        ray.shutdown()
        raise ResourceError(
            f"Ray does not start on this machine ({first_line(error)}); its logs, in {folder}/session_latest/logs, say "
            "why. Nothing is lost; run the same command again"
        ) from error
    _state.update(started=True, in_files=in_files)


@contextmanager
def _in_own_session() -> Iterator[None]:
    """Give the processes that Ray starts a session of their own.

    Batch systems and `timeout` send a signal to all processes of a group. Ray must outlive it until trials have written
    their checkpoints, and ends with this process in any case.
    """
    _state["starting"] = True
    try:
        yield
    finally:
        _state["starting"] = False


def _leave_session() -> None:
    """In a process that was just forked: leave the driver's session, if Ray is being started."""
    if _state["starting"]:
        os.setsid()


# Python calls it in Ray's processes, because Ray starts them with a `preexec_fn`.
os.register_at_fork(after_in_child=_leave_session)


def _store_size(stored: int) -> int:
    """Bytes of an object store that holds the images; without their size, as much as fits in shared memory."""
    if stored:
        return int(1.1 * stored) + STORE_SPARE
    shared = _free(SHARED_MEMORY)
    return max(STORE_SPARE, int(min(STORE_SHARE * psutil.virtual_memory().total, 0.9 * shared)))


def _free(folder: Path) -> int:
    """Bytes that are free in a folder; 0 where there is none."""
    return shutil.disk_usage(folder).free if folder.is_dir() else 0


def _smallest_store() -> float:
    """Bytes of the smallest object store of a node that is alive."""
    return min((has.get("object_store_memory", 0.0) for has in nodes_now()), default=0.0)


def _check_stores(stored: int, tell: Callable[[str], None]) -> None:
    """Say where images do not lie in shared memory: they are read from a disk then, which slows trials down."""
    megabytes = f"the images take {stored / 1e6:.0f} MB"
    if _state["in_files"]:
        size = shutil.disk_usage(SHARED_MEMORY).total
        tell(
            f"{megabytes}, and {SHARED_MEMORY}, of {size / 1e6:.0f} MB, cannot hold Ray's object store of "
            f"{_smallest_store() / 1e6:.0f} MB: Ray keeps them in files in its temporary folder, which is slower; "
            "`docker run --shm-size=4g` gives a container more"
        )
    elif not _state["started"] and (smallest := _smallest_store()) < stored:
        tell(
            f"{megabytes}, and the smallest object store of the cluster holds {smallest / 1e6:.0f} MB: Ray keeps the "
            "rest in files, which is slower; give `ray start` a larger --object-store-memory"
        )


def gpus() -> float:
    """GPUs of all nodes that are alive."""
    return sum(has.get("GPU", 0.0) for has in nodes_now())


def logs() -> str:
    """The folder of Ray's logs on this machine."""
    context = ray.get_runtime_context()
    return f"{context.get_temp_dir()}/{context.get_session_name()}/logs"


def nodes_now(avoided: Collection[str] = ()) -> list[dict[str, float]]:
    """Resources of the nodes that are alive, without those with some ids."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [dict(node["Resources"]) for node in nodes if node["Alive"] and node["NodeID"] not in avoided]


def nodes_later() -> list[tuple[dict[str, float], float]]:
    """Resources of the kinds of nodes that an autoscaler may start, each with how many at most."""
    # Ray has no public name for it; it is None without an autoscaler.
    config = ray._private.state.state.get_cluster_config()
    groups = config.node_group_configs if config is not None else ()
    return [
        (dict(group.resources), float("inf") if group.max_count < 0 else float(group.max_count)) for group in groups
    ]


def count_slots(resources: Resources, avoided: Collection[str] = ()) -> int:
    """Trials at a time on the nodes that exist or that an autoscaler may start, without those with some ids."""
    requested = resources.cpus, resources.gpus
    later = sum(slots.on_node(has, *requested) * most for has, most in nodes_later() if most)
    found = max(slots.on_nodes(nodes_now(avoided), *requested), min(later, 10**6))
    return int(min(found, resources.max_concurrent or found))


def disconnect() -> None:
    """Leave the cluster; one that `connect` started ends."""
    ray.shutdown()
    _state.update(started=False, in_files=False)
