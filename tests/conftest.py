from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gada_ray.running.interrupt import SIGNALS

# Read as Ray starts: else its workers give way to all other tests, and a test that waits for one waits for all.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts Ray is slow. Files with slow tests come first: processes that share the files then end together."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Networks of tests that give no seed start the same; torch is not loaded for tests that do without it.

    One thread, as in a trial: threads that wait for each other on busy cores make small networks many times slower.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Puts an MLflow file without runs into a folder, and gives its address: making one takes seconds, a copy none."""
    from mlflow import MlflowClient

    from gada_ray.tracking import runs

    empty = tmp_path_factory.mktemp("mlflow")
    MlflowClient(tracking_uri=runs.default_uri(empty)).search_experiments()

    def copy(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(empty / "mlflow.db", folder)
        return runs.default_uri(folder)

    return copy


@pytest.fixture
def handlers() -> Iterator[None]:
    """What takes signals in the test takes them no longer afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def tune_py(handlers: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `tune.py` in this process, which has loaded what it needs."""
    from tests import inline

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return lambda *arguments: Done(*inline.command(monkeypatch, capsys, *arguments))
