"""Resources of a trial, and how many trials fit on nodes and on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gada_ray.errors import UserError
from gada_ray.system import cgroups, devices
from gada_ray.trials.identity import Execution

SHARE = 1e-4
"""Ray counts shares of a GPU in steps of this."""


class ResourceError(UserError, ValueError):
    """Resources that the cluster or this machine does not have; names what was requested and what is available."""


@dataclass(frozen=True)
class Resources:
    """Resources of one trial."""

    cpus: float = 1.0
    gpus: float = 0.0
    max_concurrent: int | None = None
    checkpoint_every_s: float = 60.0
    compiler: str = ""
    """As in `Execution`."""
    deterministic: bool = False

    @property
    def execution(self) -> Execution:
        """Device and threads of a trial. Ray shows a GPU trial its own GPU as the first one."""
        return Execution(
            device="cuda" if self.gpus else "cpu",
            threads=max(1, int(self.cpus)),
            checkpoint_every_s=self.checkpoint_every_s,
            compiler=self.compiler,
            deterministic=self.deterministic,
        )

    @property
    def unit(self) -> str:
        """What a budget counts: GPU-hours, or CPU-hours where trials use no GPU."""
        return "GPU-hours" if self.gpus else "CPU-hours"


def choose_resources(wanted: Resources, gpus: float | None, address: str | None) -> Resources:
    """Resources of a trial with so many GPUs; where `gpus` is None, a whole one if this machine has one, else none.

    Raises:
        ResourceError: for a GPU requested on a machine without one, unless the trials run on a cluster; for more than
            one GPU that is not a whole number of them; and for compilation on a CPU.
    """
    here = devices.count()
    if gpus and gpus > 1 and gpus != int(gpus):
        raise ResourceError(
            f"--gpus-per-trial {gpus:g} is neither a share of one GPU nor a whole number of GPUs; take {int(gpus)} or "
            f"{int(gpus) + 1}"
        )
    if gpus and not here and address is None:
        raise ResourceError(
            f"--gpus-per-trial {gpus:g} was requested, but torch sees no GPU on this machine; "
            "leave it out to train on the CPU, or name a cluster with --address"
        )
    chosen = replace(wanted, gpus=(1.0 if here else 0.0) if gpus is None else gpus)
    if chosen.compiler and not chosen.gpus:
        raise ResourceError(
            "--compile was requested, but trials train on CPUs, where steps gain less than minutes of compilation cost "
            "(benchmarks/README.md); leave it out, or give each trial a GPU with --gpus-per-trial"
        )
    return chosen


def slots_here(resources: Resources) -> int:
    """Trials at a time on this machine, without asking Ray."""
    has = {"CPU": float(cpus_here()), "GPU": float(devices.count())}
    fitting = on_node(has, resources.cpus, resources.gpus)
    return max(1, min(fitting, resources.max_concurrent or fitting))


def on_node(has: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Trials at a time on one node. `has` are the node's resources by Ray's names, `cpus` and `gpus` those of a trial.

    A share of a GPU lies on one device: 8 GPUs hold 48 trials of 0.15, not 53. Ray wants whole GPUs beyond one.
    """
    slots = []
    if cpus:
        slots.append(int(has.get("CPU", 0.0) / cpus + 1e-9))
    if 0 < gpus < 1:
        slots.append(int(has.get("GPU", 0.0)) * int((1 + SHARE / 2) / gpus))
    elif gpus:
        slots.append(int(has.get("GPU", 0.0) / gpus + 1e-9))
    return min(slots, default=0)


def on_nodes(nodes: Iterable[Mapping[str, float]], cpus: float, gpus: float) -> int:
    """Trials at a time on some nodes."""
    return sum(on_node(has, cpus, gpus) for has in nodes)


def cpus_here() -> int:
    """CPUs that this process may use: the smaller of its CPU affinity and its cgroup's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(allowed, _quota(cgroups.ROOT, cgroups.own("cpu")))))


def _quota(root: Path, groups: Sequence[str]) -> float:
    """The smallest CPU quota of the cgroups of a process and their parents, in CPUs; infinity without a limit."""
    least = float("inf")
    for file in cgroups.files(root, groups, "cpu", "cpu.max", "cpu.cfs_quota_us"):
        try:
            words = file.read_text().split()
            period = words[1] if len(words) > 1 else file.with_name("cpu.cfs_period_us").read_text()
            if words[0] not in ("max", "-1"):
                least = min(least, float(words[0]) / float(period))
        except (OSError, ValueError, IndexError):
            continue  # no limit, or not this kind of cgroup
    return least
