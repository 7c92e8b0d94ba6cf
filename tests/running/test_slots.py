"""How many trials fit on nodes, on GPUs and on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gada_ray.running import slots
from gada_ray.system import cgroups, devices


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "expected"),
    [
        ([{"CPU": 64, "GPU": 8}], 1, 0.15, 48),
        ([{"CPU": 64, "GPU": 8}], 1, 0.125, 64),
        ([{"CPU": 64, "GPU": 8}], 1, 0.3333, 24),
        ([{"CPU": 64, "GPU": 8}], 1, 1, 8),
        ([{"CPU": 64, "GPU": 8}], 1, 2, 4),
        ([{"CPU": 64, "GPU": 3}], 1, 2, 1),
        ([{"CPU": 4}] * 3, 3, 0, 3),
        ([{"CPU": 2}] * 2, 3, 0, 0),
        ([{"CPU": 4}, {"CPU": 8, "GPU": 1}], 2, 0.5, 2),
        ([{"CPU": 1}], 0.1, 0, 10),
        ([{}], 1, 0, 0),
    ],
)
def test_slots_are_counted_node_by_node_and_device_by_device(nodes, cpus, gpus, expected):
    assert slots.on_nodes(nodes, cpus, gpus) == expected


def test_a_process_that_is_bound_to_one_cpu_has_one():
    code = "from gada_ray.running import slots; print(slots.cpus_here())"
    one = min(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(one), sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"job/cpu.max": "150000 100000"}, 1.5),
        ({"job/cpu.max": "max 100000", "cpu.max": "300000 100000"}, 3.0),
        ({"job/cpu.max": "max 100000"}, float("inf")),
        ({"cpu/job/cpu.cfs_quota_us": "50000", "cpu/job/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_a_cgroups_share_of_time_counts_as_cpus(tmp_path, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert slots._quota(tmp_path, ["job"]) == quota


def test_the_cpus_of_this_machine_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr(slots, "cpus_here", lambda: 5)
    assert slots.slots_here(slots.Resources(cpus=2)) == 2
    assert slots.slots_here(slots.Resources(cpus=1, max_concurrent=3)) == 3
    assert slots.slots_here(slots.Resources(cpus=8)) == 1


def test_how_a_trial_computes_reaches_its_execution_and_is_compiled_on_a_gpu_alone(monkeypatch):
    monkeypatch.setattr(devices, "count", lambda: 1)
    wanted = slots.Resources(compiler="inductor", deterministic=True)
    chosen = slots.choose_resources(wanted, None, None).execution
    assert (chosen.device, chosen.compiler, chosen.deterministic) == ("cuda", "inductor", True)
    with pytest.raises(slots.ResourceError, match=r"--compile .* CPUs.* leave it out, or .*--gpus-per-trial"):
        slots.choose_resources(wanted, 0.0, None)
    monkeypatch.setattr(devices, "count", lambda: 0)
    with pytest.raises(slots.ResourceError, match="--compile"):
        slots.choose_resources(wanted, None, "10.0.0.1:6379")
    assert slots.choose_resources(slots.Resources(deterministic=True), None, None).execution.device == "cpu"


def test_the_cgroups_of_this_process_are_read(tmp_path):
    assert Path("/proc/self/cgroup").exists() == bool(cgroups.own("cpu"))


def test_more_than_one_gpu_is_a_whole_number_of_gpus(monkeypatch):
    monkeypatch.setattr(devices, "count", lambda: 4)
    with pytest.raises(slots.ResourceError, match=r"--gpus-per-trial 1.5 is neither a share .*; take 1 or 2"):
        slots.choose_resources(slots.Resources(), 1.5, None)
    assert [slots.choose_resources(slots.Resources(), gpus, None).gpus for gpus in (0.3, 1.0, 2.0)] == [0.3, 1, 2]
