"""A study on a cluster of three nodes, of which one is lost, one joins and one fails."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.experimental import get_object_locations

from gada_ray import Preset, Study, TrainingConfig, direct
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.splits import make_splits
from gada_ray.running import runner
from gada_ray.study.definition import data_selections, make_plan
from gada_ray.study.search import Job, Search
from gada_ray.trials.run import Execution, Report, Trial, run_trial
from gada_ray.trials.store import Result, Store
from tests import faults
from tests.toy import tiny, toy_dataset

pytestmark = [
    pytest.mark.ray,
    # Inside Ray's own code.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
NODES, VARIANTS, SPLITS = 3, 3, 5
RESOURCES = runner.Resources(cpus=1)
PIXELS = 32 * 2**20


EACH: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 150 * 2**20, **faults.PLAIN}


@pytest.fixture(scope="module")
def cluster():
    # Else the next Ray on this machine would look for this cluster. Paths of sockets must be short.
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as place,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setenv("RAY_TMPDIR", place)
        quick = {"_system_config": {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}}
        nodes = Cluster(initialize_head=True, head_node_args=EACH | quick)
        for _ in range(NODES - 1):
            nodes.add_node(**EACH)
        nodes.wait_for_nodes()
        runner.connect(nodes.address, RESOURCES)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


def together(
    trial: Trial, dataset: IqaDataset, store: Store, execution: Execution, report: Report, place: Path
) -> Result:
    """Train, once a worker has arrived on every node."""
    (place / execution.node).touch()
    end = time.monotonic() + 120
    while len(list(place.iterdir())) < NODES and time.monotonic() < end:
        time.sleep(0.1)
    return run_trial(trial, dataset, store, execution, report)


def wait_then_train(trial: Trial, dataset: IqaDataset, store: Store, execution: Execution, report: Report) -> Result:
    """Train for less time than a worker takes to start."""
    time.sleep(0.5)
    return run_trial(trial, dataset, store, execution, report)


def noticed_dead(node_id: str) -> bool:
    """Whether the cluster notices within a minute that a node is dead."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not {node["NodeID"]: node["Alive"] for node in ray.nodes()}[node_id]:
            return True
        time.sleep(0.5)
    return False


def study(
    variants: int, dataset: IqaDataset, store: Store, on_done: Callable[[Job, Result | None, bool], None]
) -> Search:
    """A study of some variants, with trainings as short as can be."""
    values = {str(variant): {"rates.evaluator": 1e-4 * (1 + variant)} for variant in range(variants)}
    presets, base = {"p": Preset(cost="", splits=SPLITS)}, tiny(config=TrainingConfig(phases=(direct(2),)))
    plan = make_plan("cluster", Study(question="?", base=base, variants=values, presets=presets), "p", "toy", {})
    places = list(data_selections(plan.variants))
    splits = {place: make_splits(dataset.references, SPLITS) for place in places}
    return Search(plan, splits, dict.fromkeys(places, dataset.fingerprint), store.result, on_done)


def test_a_study_uses_all_nodes_outlives_one_and_sends_the_pixels_to_each_once(cluster, monkeypatch, tmp_path):
    dataset = toy_dataset()
    dataset = dataclasses.replace(dataset, pixels=np.tile(dataset.pixels, PIXELS // len(dataset.pixels) + 1))
    put, large = ray.put, []

    def note(value: Any, **options: Any) -> Any:
        reference = put(value, **options)
        if isinstance(value, dict) and any(isinstance(one, IqaDataset) for one in value.values()):
            large.append(reference)
        return reference

    monkeypatch.setattr(ray, "put", note)
    (tmp_path / "arrived").mkdir()
    store = Store(tmp_path)
    nodes: Counter[str] = Counter()
    copies: list[set[str]] = []
    lost: list[str] = []
    victim = cluster.list_all_nodes()[-1]

    def on_done(job: Job, result: Result | None, known: bool) -> None:
        assert result is not None and result.status == "finished"
        nodes[result.run.node] += 1
        if len(nodes) == NODES and not lost:
            copies.extend(set(place["node_ids"]) for place in get_object_locations(large).values())
            cluster.remove_node(victim, allow_graceful=False)
            lost.append(victim.node_id)

    search = study(VARIANTS, dataset, store, on_done)
    runner.run(
        search, {dataset.fingerprint: dataset}, store, RESOURCES, train=partial(together, place=tmp_path / "arrived")
    )

    assert search.finished and sum(nodes.values()) == VARIANTS * SPLITS
    assert len(list(tmp_path.glob("trials/*/result.json"))) == VARIANTS * SPLITS
    assert lost[0] in nodes and nodes.total() - nodes[lost[0]] >= NODES - 1
    assert noticed_dead(lost[0])
    # The pixels were put into Ray's memory once, and had one copy on each of the three nodes.
    assert len(large) == 1
    assert len(copies) == 1 and lost[0] in copies[0] and len(copies[0]) == NODES


def test_a_node_that_joins_gets_trials_although_they_end_before_a_worker_starts(cluster, tmp_path):
    dataset, store = toy_dataset(), Store(tmp_path)
    nodes: Counter[str] = Counter()
    joined: list[str] = []
    before = {node.node_id for node in cluster.list_all_nodes()}
    runner.connect(None, RESOURCES)  # of the two nodes that the first test left

    def on_done(job: Job, result: Result | None, known: bool) -> None:
        assert result is not None
        nodes[result.run.node] += 1
        if nodes.total() == 2 * len(before):
            victim = next(node for node in cluster.list_all_nodes() if node != cluster.head_node)
            cluster.remove_node(victim, allow_graceful=False)
            joined.append(cluster.add_node(**EACH).node_id)

    search = study(40, dataset, store, on_done)
    runner.run(
        *(search, {dataset.fingerprint: dataset}, store, RESOURCES),
        train=wait_then_train,
        enough=lambda: bool(joined) and nodes[joined[0]] >= 2,
    )
    assert joined[0] not in before and nodes[joined[0]] >= 2


def fails_on(
    trial: Trial, dataset: IqaDataset, store: Store, execution: Execution, report: Report, place: Path
) -> Result:
    """Train, but for the node that is named in a file, where every trial fails."""
    if execution.node == place.read_text():
        time.sleep(0.5)
        raise OSError("this device is broken")
    return run_trial(trial, dataset, store, execution, report)


class Notes(runner.Watcher):
    """Keeps messages and counts."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.counts: list[int] = []

    def warn(self, job: Job, message: str) -> None:
        self.messages.append(message)

    def counted(self, count: int) -> None:
        self.counts.append(count)


def test_a_node_on_which_trials_keep_failing_is_excluded_and_named(cluster, tmp_path):
    dataset, store, notes = toy_dataset(), Store(tmp_path), Notes()
    nodes: Counter[str] = Counter()
    sick = next(node for node in cluster.list_all_nodes() if node != cluster.head_node).node_id
    (tmp_path / "sick").write_text(sick)

    def on_done(job: Job, result: Result | None, known: bool) -> None:
        assert result is not None and result.status == "finished"
        nodes[result.run.node] += 1

    search = study(VARIANTS, dataset, store, on_done)
    runner.run(
        *(search, {dataset.fingerprint: dataset}, store, RESOURCES, notes),
        train=partial(fails_on, place=tmp_path / "sick"),
    )
    assert search.finished and nodes.total() == VARIANTS * SPLITS and sick not in nodes
    (named,) = [message for message in notes.messages if "gets no more" in message]
    assert sick[:12] in named
    assert len([message for message in notes.messages if "this device is broken" in message]) < 8
    assert notes.counts[-1] == notes.counts[0] - 1


def test_trials_that_no_node_can_hold_are_refused_and_shares_of_gpus_are_counted_by_device(cluster):
    nodes = len(cluster.list_all_nodes())
    # Together the nodes have two CPUs and more.
    with pytest.raises(
        runner.ResourceError, match=rf"no node can hold one: the cluster has {nodes} x 1 CPUs and 0 GPUs"
    ):
        runner.connect(None, runner.Resources(cpus=2))
    requested = runner.Resources(cpus=0.1, gpus=0.15)
    node = cluster.add_node(**{**EACH, "num_cpus": 2}, num_gpus=2)
    try:
        assert runner.connect(None, requested) == 12, (
            "6 on each of two GPUs, though 13 shares of 0.15 add up to less than 2"
        )
        with pytest.raises(runner.ResourceError, match=r"requests 0\.1 CPUs and 3 GPUs"):
            runner.connect(None, runner.Resources(cpus=0.1, gpus=3))
    finally:
        cluster.remove_node(node)
