"""Kills workers, nodes and drivers of a study, and compares its results with those of an undisturbed run.

    python -m tests.faults --seed 0 --kills 20 --trials 24

A study runs twice on a cluster of two nodes: undisturbed, and under SIGKILLs at random moments to a worker that trains,
to the second node (a new one joins), or to the driver (the same command is run again).
`--study learning_rates` has a search with pruning: the trainings that it discards may differ, its results may not.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice, zip_longest
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import psutil
import typer
from mlflow import MlflowClient

from gada_ray.running import runner  # before ray: it sets variables that Ray reads
from gada_ray.tracking import runs
from tests.helpers_manifest import make_manifest

__all__ = ["runner"]

from ray._common.utils import reset_ray_address
from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[1]
TRIALS_PER_SPLIT = {"phase_lengths": 4, "learning_rates": 4}
"""By study: trainings on a split, tests and candidates together."""
TARGETS = ("worker", "node", "driver")
WITHIN_S = (0.5, 5.0)
"""Seconds between the first sight of a training worker and a kill."""
MAX_WAIT_S = 600.0
"""Seconds that a worker may take to start on a busy machine."""


PLAIN = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
"""Options of a node of Ray without the processes that are not needed here, each of which takes seconds to start."""


def node(cluster: Any) -> Any:
    """Add a node of one CPU."""
    for left in reversed(range(5)):
        try:
            return cluster.add_node(wait=False, num_cpus=1, **PLAIN)
        except Exception:  # Ray waits 30 s, which may be too short on a busy machine
            if not left:
                raise


def raylet(node: Any) -> int:
    """The process of a node whose end is the end of the node."""
    return int(node.all_processes["raylet"][0].process.pid)


def training(nodes: list[Any]) -> list[psutil.Process]:
    """The training processes of some nodes."""
    found = []
    for one in nodes:
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(raylet(one)).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "ImplicitFunc.train" in " ".join(process.cmdline()):
                        found.append(process)
    return found


@dataclass
class Run:
    """A run of a study on a storage of its own, and the results that were seen."""

    cluster: Any
    study: str
    data: Path
    storage: Path
    splits: int
    steps: int
    kills: Counter[str] = field(default_factory=Counter)
    seen: dict[str, bytes] = field(default_factory=dict)
    """Results by signature, as they were first written."""
    rewritten: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Start the command, the same each time."""
        phases = {"gan": self.steps // 2, "augmentation": self.steps // 4, "finetuning": self.steps // 4}
        settings = [item for phase, steps in phases.items() for item in ("--set", f"phases.{phase}.steps={steps}")]
        with (self.storage.parent / f"{self.storage.name}.log").open("ab") as log:
            self.driver = subprocess.Popen(
                [
                    *(sys.executable, "tune.py", "--study", self.study, "--preset", "smoke"),
                    *("--splits", str(self.splits)),
                    *("--dataset", "manifest", "--data-root", str(self.data), "--storage", str(self.storage)),
                    *("--checkpoint-every", "0", "--address", self.cluster.address, *settings),
                ],
                cwd=ROOT,
                env={**os.environ, "MLFLOW_TRACKING_URI": ""},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Watch results until `until` is true; False if the driver has ended or time is up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.driver.poll() is None:
            self.look()
            if until():
                return True
            time.sleep(0.05)
        return False

    def look(self) -> None:
        """Note new results, and earlier ones that have changed."""
        for path in self.storage.glob("trials/*/result.json"):
            data = path.read_bytes()
            if self.seen.setdefault(path.parent.name, data) != data:
                self.rewritten.add(path.parent.name)

    def finish(self) -> int:
        """Wait for the driver's end; its exit code."""
        self.wait(lambda: False, MAX_WAIT_S + 60.0 * self.splits * TRIALS_PER_SPLIT[self.study])
        self.look()
        if self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()
            raise TimeoutError(f"the study does not end; see {self.storage}.log")
        return self.driver.returncode

    def hit(self, target: str, moment: float) -> None:
        """Kill a worker, a node or the driver during a training; add a new node, or run the command again."""
        second = list(self.cluster.worker_nodes)
        where = second if target == "node" else [self.cluster.head_node, *second]
        if not self.wait(lambda: bool(training(where)), MAX_WAIT_S):
            return
        self.wait(lambda: False, moment)
        if not self.wait(lambda: bool(training(where)), MAX_WAIT_S):
            return
        if target == "worker":
            victim = random.Random(moment).choice(training(where))
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        elif target == "driver":
            self.driver.kill()
            self.driver.wait()
            self.start()
        else:
            os.kill(raylet(second[0]), signal.SIGKILL)
            self.wait(lambda: False, 1.0)  # its workers must notice it
            self.cluster.remove_node(second[0], allow_graceful=False)
            node(self.cluster)
        self.kills[target] += 1

    @property
    def counted(self) -> list[str]:
        """Signatures in the table of splits; two rows may be of the same trial."""
        table = pd.read_csv(self._table(r"-splits\.csv"), dtype=str)
        return sorted(table["signature"])

    def _table(self, ending: str) -> Path:
        """The only table whose name ends in that way."""
        (path,) = (path for path in self.storage.glob("tables/*.csv") if re.search(f"{ending}$", path.name))
        return path

    def numbers(self) -> dict[str, bytes]:
        """Everything that must be equal in two runs, to the last bit."""
        table = pd.read_csv(self._table(r"(?<!-splits)\.csv"), dtype=str).drop(columns="device_hours")
        parts = {"table": table.to_csv().encode()}
        for signature in self.counted:
            for file in ("predictions.csv", "curves.csv"):
                parts[f"{signature}/{file}"] = (self.storage / "trials" / signature / file).read_bytes()
        return parts

    def runs(self) -> tuple[list[Any], list[Any]]:
        """MLflow's runs of configurations, and of splits."""
        client = MlflowClient(tracking_uri=runs.default_uri(self.storage))
        experiment = client.get_experiment_by_name(self.study)
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        kinds = ("configuration", "split")
        configurations, splits = ([run for run in found if run.data.tags["kind"] == kind] for kind in kinds)
        return configurations, splits


@contextlib.contextmanager
def cluster_of(nodes: int) -> Iterator[Any]:
    """A cluster of some nodes of one CPU each on this machine."""
    cluster = Cluster()
    try:
        for _ in range(nodes):
            node(cluster)
        reset_ray_address()  # else every ray.init on this machine would join
        yield cluster
    finally:
        cluster.shutdown()


def differences(one: Run, other: Run) -> list[str]:
    """The first line that differs, for every file of two runs."""
    ours, theirs = one.numbers(), other.numbers()
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        lines = zip_longest(*(numbers.get(name, b"").decode().splitlines() for numbers in (ours, theirs)))
        found += [f"{name}: {a} | {b}" for a, b in lines if a != b][:1]
    return found


def checks(quiet: Run, hit: Run, kills: int) -> dict[str, bool]:
    """The rules, and whether each holds."""
    configurations, splits = hit.runs()
    folders = [hit.storage / "trials" / signature for signature in set(hit.counted)]
    return {
        f"at least {kills} kills": hit.kills.total() >= kills,
        f"all {len(quiet.counted)} trials are done": quiet.counted == hit.counted,
        "table, predictions and curves are those of the undisturbed run, to the last bit": not differences(quiet, hit),
        "no trial finished twice": not hit.rewritten,
        "exactly one MLflow run for each trial": (sorted(run.data.tags["signature"] for run in splits) == hit.counted),
        "one MLflow run for each configuration": len(configurations) == TRIALS_PER_SPLIT[hit.study],
        "every MLflow run is FINISHED": {run.info.status for run in configurations + splits} == {"FINISHED"},
        "no lock and no half-written file is left": not (
            [
                *hit.storage.glob("locks/*"),
                *(path for folder in folders for path in folder.glob(".*")),
                *(path for folder in folders for path in folder.glob("checkpoint.pt")),
            ]
        ),
    }


def main(
    seed: Annotated[int, typer.Option(help="Of targets and moments.")] = 0,
    kills: Annotated[int, typer.Option(min=1)] = 20,
    trials: Annotated[int, typer.Option(min=4, help="A multiple of 4, the study's trainings on a split.")] = 24,
    steps: Annotated[int, typer.Option(help="Of each trial.")] = 240,
    study: Annotated[str, typer.Option(help=f"One of {', '.join(TRIALS_PER_SPLIT)}.")] = "phase_lengths",
) -> None:
    """Compare a study under kills with an undisturbed one."""
    chance = random.Random(seed)
    targets = list(islice(cycle(TARGETS), kills))
    chance.shuffle(targets)
    with tempfile.TemporaryDirectory(prefix="gada-faults-") as folder, cluster_of(2) as cluster:
        root = Path(folder)
        make_manifest(root / "data", references=8)
        splits = trials // TRIALS_PER_SPLIT[study]
        quiet, hit = (Run(cluster, study, root / "data", root / name, splits, steps) for name in ("quiet", "hit"))
        seconds = []
        for run in (quiet, hit):
            since = time.monotonic()
            run.start()
            for target in targets if run is hit else ():
                run.hit(target, chance.uniform(*WITHIN_S))
                state = f"{len(run.seen)} of {trials} trials done"
                print(
                    f"{time.monotonic() - since:4.0f} s: {run.kills.total()} kills, last {target}; {state}", flush=True
                )
            code = run.finish()
            seconds.append(time.monotonic() - since)
            if code:
                sys.exit(f"the command ended with {code}:\n{(root / f'{run.storage.name}.log').read_text()[-3000:]}")
        print((root / "hit.log").read_text(), *differences(quiet, hit), sep="\n")
        outcome = checks(quiet, hit, kills)
    done = ", ".join(f"{count} {target}" for target, count in sorted(hit.kills.items()))
    print(f"undisturbed {seconds[0]:.0f} s; with {hit.kills.total()} kills ({done}) {seconds[1]:.0f} s")
    for rule, holds in outcome.items():
        print(f"{'holds' if holds else 'FAILS'}: {rule}")
    sys.exit(not all(outcome.values()))


if __name__ == "__main__":
    typer.run(main)
