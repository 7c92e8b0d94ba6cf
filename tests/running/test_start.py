"""How Ray is started on this machine, without starting it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray

from gada_ray.running import cluster
from gada_ray.running.slots import Resources

MB = 10**6


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The options that `ray.init` was given, and a machine with 24 GB of memory and shared memory of a size."""
    calls: list[dict[str, Any]] = []
    state = SimpleNamespace(shared=12_000 * MB, calls=calls)

    def init(**options: Any) -> None:
        calls.append(options)

    def nodes() -> list[dict[str, Any]]:
        store = calls[-1].get("object_store_memory", 50 * MB) if calls else 0
        has = {"CPU": 2.0, "object_store_memory": store}
        return [{"Alive": True, "NodeID": "n", "Resources": has}]

    monkeypatch.setattr(cluster, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=state.shared, total=state.shared))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=24_000 * MB))
    monkeypatch.setattr(cluster, "temporary_folder", lambda tell: Path("/tmp/ray"))
    monkeypatch.setattr(cluster, "nodes_later", list)
    monkeypatch.setattr(ray, "is_initialized", lambda: bool(calls) and calls[-1] != {})
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append({}))
    monkeypatch.setattr(ray, "nodes", nodes)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield state
    cluster.disconnect()


def test_the_object_store_is_sized_from_the_images_and_made_again_if_it_is_too_small(started):
    told: list[str] = []
    cluster.connect(None, Resources())  # before images are loaded: a share of the memory
    assert started.calls[-1]["object_store_memory"] == 7_200 * MB
    cluster.connect(None, Resources(), 5_000 * MB, told.append)
    assert len(started.calls) == 1
    cluster.connect(None, Resources(), 9_000 * MB, told.append)
    assert started.calls[1] == {} and started.calls[2]["object_store_memory"] > 9_900 * MB
    assert not told


def test_shared_memory_that_cannot_hold_the_images_is_said_with_what_mends_it(started):
    started.shared = 64 * MB
    told: list[str] = []
    cluster.connect(None, Resources(), 30 * MB, told.append)
    assert len(told) == 1 and "of 64 MB, cannot hold" in told[0] and "--shm-size" in told[0]


def test_a_cluster_whose_object_store_is_smaller_than_the_images_is_said(started):
    told: list[str] = []
    cluster.connect("10.0.0.1:6379", Resources(), 80 * MB, told.append)
    assert len(told) == 1 and "the images take 80 MB" in told[0] and "larger --object-store-memory" in told[0]


@pytest.mark.parametrize(
    ("python", "quoted"), [("/my folder/python", "'/my folder/python'"), ("/usr/bin/python", None)]
)
def test_an_interpreter_whose_path_has_a_space_is_quoted(started, monkeypatch, python, quoted):
    monkeypatch.setattr(sys, "executable", python)
    cluster.connect(None, Resources())
    assert started.calls[-1].get("runtime_env", {}).get("py_executable") == quoted
