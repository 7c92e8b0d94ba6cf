"""A study while MLflow is down: `python -m benchmarks outage postgresql+psycopg://mlflow:PASSWORD@127.0.0.1/mlflow`.

The trials of these studies only wait. Studies run in turn with an MLflow server that answers all the time and with one
that is killed after a third of the trials and started again after two thirds. The server is deploy/mlflow-server.sh on
the given database. A study's time is measured from the end of its first trial to the end of its last one, so that the
start of workers does not count. Then `runs.sync` writes what MLflow lacks, as `tune.py --sync` does, and MLflow is
compared with the storage.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from mlflow import MlflowClient
from rich.console import Console

from benchmarks.scale import SPLITS, MadeUp, made_up, surrogate
from gada_ray.data.dataset import IqaDataset
from gada_ray.running import runner
from gada_ray.study.search import Job
from gada_ray.tracking import runs
from gada_ray.trials.run import Execution, Report, Trial
from gada_ray.trials.store import Result, Store

SCRIPT = Path(__file__).parents[1] / "deploy" / "mlflow-server.sh"
RESOURCES = runner.Resources(cpus=1, max_concurrent=2)
console = Console(width=140)


def waiting(
    trial: Trial, dataset: IqaDataset, store: Store, execution: Execution, report: Report, like: Result, seconds: float
) -> Result:
    """Wait, and write a result like that of a training."""
    time.sleep(seconds)
    return surrogate(trial, dataset, store, execution, report, like)


class Server:
    """A server of MLflow on a database, which can be killed and started again."""

    def __init__(self, database: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._folder = folder
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # where mlflow is
            "MLFLOW_BACKEND_STORE_URI": database,
            "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "files"),
            "ALLOWED_HOSTS": f"127.0.0.1:{self._port}",
            "MLFLOW_AUTH_ADMIN_PASSWORD": os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", "outage-of-mlflow"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "outage",
            "HOST": "127.0.0.1",
            "PORT": str(self._port),
        }
        os.environ.setdefault("MLFLOW_TRACKING_USERNAME", "admin")

    def start(self) -> None:
        """Start the server without waiting for it."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["bash", str(SCRIPT)], cwd=self._folder, env=self._environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until it answers."""
        while self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=10):
                    return
            except OSError:
                time.sleep(0.5)
        raise RuntimeError((self._folder / "log").read_text())

    def kill(self) -> None:
        """Kill it with all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def study(what: MadeUp, seconds: float, server: Server, name: str, outage: bool) -> float:
    """Run one study, compare MLflow with the storage, and return the study's seconds."""
    times: list[float] = []
    entries = []
    trials = len(what.plan.variants) * SPLITS

    def on_done(job: Job, result: Result | None, known: bool) -> None:
        times.append(time.perf_counter())
        entries.append((job.run, store.folder(job.trial.signature)))
        tracker.finished(*entries[-1])
        if outage and len(times) == trials // 3:
            server.kill()
        if outage and len(times) == 2 * trials // 3:
            server.start()

    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        server.wait()
        tracker = runs.Tracker(server.uri, name, lambda message: console.print(f"  {message}", highlight=False))
        runner.run(
            what.search(store, on_done), {what.dataset.fingerprint: what.dataset}, store, RESOURCES,
            train=partial(waiting, like=what.like, seconds=seconds),
        )  # fmt: skip
        tracker.close(timeout_s=600)  # sync must not write at the same time
        server.wait()
        synced = runs.sync(server.uri, name, entries)
        agree(server.uri, name, store, trials)
    took = times[-1] - times[0]
    console.print(
        f"{name}: {took:.2f} s; {synced.present} of {trials} trials in MLflow when it ended, {synced.written} written "
        f"by sync, {synced.deleted} half-written ones removed; then it agrees with the storage",
        highlight=False,
    )
    return took


def agree(uri: str, name: str, store: Store, trials: int) -> None:
    """Check that MLflow has every trial of the storage once, and nothing else."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'split'", max_results=10_000)
    stored = sorted(folder.name for folder in (store.root / "trials").iterdir())
    assert sorted(run.data.tags["signature"] for run in runs) == stored and len(stored) == trials
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        result = store.result(run.data.tags["signature"])
        assert result is not None and result.metrics["srocc"] == run.data.metrics["srocc"]


def main(
    database: Annotated[str, typer.Argument(help="URL of an empty PostgreSQL database, as SQLAlchemy takes it.")],
    variants: Annotated[int, typer.Option(min=1, help="Variants, of ten trials each.")] = 6,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds that a trial takes.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="Studies of each kind.")] = 3,
) -> None:
    """Compare the time of studies with and without an outage of MLflow in their middle third."""
    what = made_up(variants, 0)
    runner.connect(None, RESOURCES)
    took: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(database, Path(folder))
        server.start()
        try:
            for number in range(rounds):
                for outage in (False, True):
                    name = f"{time.time():.0f} {'outage' if outage else 'up'} {number}"
                    took[outage].append(study(what, seconds, server, name, outage))
        finally:
            runner.disconnect()
            server.kill()
    up, down = (statistics.median(took[outage]) for outage in (False, True))
    console.print(f"median of {rounds}: {up:.2f} s with MLflow up, {down:.2f} s with the outage: {down / up - 1:+.1%}")
