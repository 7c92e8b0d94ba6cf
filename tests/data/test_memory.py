"""How much memory pixels may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from gada_ray.data import memory
from gada_ray.system import cgroups


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [
        ("slurm/job/memory.max", "4096", 4096),
        ("slurm/memory.max", "8192", 8192),
        ("slurm/memory.max", "max", 2**63),
        ("memory/slurm/job/memory.limit_in_bytes", "4096", 4096),
        ("memory/memory.limit_in_bytes", "1024", 1024),
    ],
)
def test_limits_of_a_job_and_of_all_its_parents_count(tmp_path: Path, file: str, text: str, limit: int) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    assert memory._limit(tmp_path, ["slurm/job"]) == limit


def test_free_memory_is_at_most_the_limit_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "own", lambda controller: ["job"])
    without = memory.free()
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "memory.max").write_text(str(2**20))
    assert memory.free() < 2**20 < without
