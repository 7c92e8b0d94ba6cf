"""The Ray cluster that trials run on: one that is there, or one that is started on this machine."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import ray

from gada_ray.running import slots
from gada_ray.running.slots import ResourceError, Resources


def connect(address: str | None, resources: Resources) -> int:
    """Join the cluster at an address or at $RAY_ADDRESS, or start one here, and say how many trials run at a time.

    One that is started has the CPUs that this process may use, and a temporary folder that is its user's own.

    Raises:
        ResourceError: if no node can hold a trial, or if there is no cluster at the address.
    """
    if not ray.is_initialized():
        # Without an address, Ray looks for a cluster on this machine, and tries for minutes to reach one that is gone.
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {"include_dashboard": False, "num_cpus": slots.cpus_here(), "_temp_dir": temporary_folder()}
        try:
            ray.init(address=address, **options)
        except ConnectionError as error:
            raise ResourceError(
                f"no Ray cluster answers at {address} ({str(error).splitlines()[0]}); start one with "
                "`ray start --head`, correct --address or RAY_ADDRESS, or leave both out to use this machine alone"
            ) from None
    count = count_slots(resources)
    if count < 1:
        nodes = Counter(f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs" for has in nodes_now())
        later = Counter(f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs" for has, _ in nodes_later())
        has = ", ".join(f"{number} x {what}" for what, number in nodes.items())
        more = f"; the autoscaler may start nodes of {', or of '.join(later)}" if later else ""
        raise ResourceError(
            f"a trial asks for {resources.cpus:g} CPUs and {resources.gpus:g} GPUs, and no node can hold one: the "
            f"cluster has {has}{more}; lower --cpus-per-trial or --gpus-per-trial"
        )
    return count


def temporary_folder() -> str | None:
    """Where a Ray that is started here keeps its sockets and logs; None leaves it to Ray.

    Ray's own choice, /tmp/ray, belongs on a shared machine to whoever came first. Paths of sockets must be short.
    """
    if "RAY_TMPDIR" in os.environ:
        return None
    for name in ("ray", f"ray-{os.getuid()}"):
        place = Path(tempfile.gettempdir()) / name
        try:
            place.mkdir(mode=0o700 if name != "ray" else 0o777, exist_ok=True)
            # A folder of somebody else's is not to be trusted, whatever its mode.
            if place.stat().st_uid == os.getuid() and os.access(place, os.W_OK | os.X_OK):
                return str(place)
        except OSError:
            continue
    return tempfile.mkdtemp(prefix="ray")


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
    """Trials at a time, by the nodes that are there or that an autoscaler may start, without those with some ids."""
    requested = resources.cpus, resources.gpus
    later = sum(slots.on_node(has, *requested) * most for has, most in nodes_later() if most)
    found = max(slots.on_nodes(nodes_now(avoided), *requested), min(later, 10**6))
    return int(min(found, resources.max_concurrent or found))


def disconnect() -> None:
    """Leave the cluster; one that `connect` started ends."""
    ray.shutdown()
