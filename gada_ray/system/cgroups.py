"""The cgroups of this process, by which a container, a batch job or a service limits its resources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def own(controller: str) -> list[str]:
    """The cgroups of this process, as paths below the mounts of a controller, such as "cpu" or "memory"."""
    try:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return []
    return [path.lstrip("/") for number, names, path in lines if number == "0" or controller in names.split(",")]


def files(root: Path, groups: Sequence[str], controller: str, second: str, first: str) -> Iterator[Path]:
    """Files that may hold a limit, for groups and all their parents: of cgroups version 2, then of version 1."""
    for group in groups:
        for place in (Path(group), *Path(group).parents):
            yield from (root / place / second, root / controller / place / first)
