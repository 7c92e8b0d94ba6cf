"""Studies without Ray: trained in the test's own process, one trial after another, and priced without a probe."""

from __future__ import annotations

import dataclasses

from gada_ray.running import cluster, runner
from gada_ray.study import price, timing
from gada_ray.trial import run_trial


def use(monkeypatch) -> None:
    """Have `tune.py` train in this process."""
    monkeypatch.setattr(cluster, "connect", lambda *_: 1)
    monkeypatch.setattr(cluster, "disconnect", lambda: None)
    monkeypatch.setattr(runner, "run", train)
    monkeypatch.setattr(timing, "probe", constant)


def constant(config, dataset, images, execution, known):
    """Prices without a probe: every step of every kind takes a second."""
    kinds = {price.rest_kind(config), *(price.step_kind(config, number) for number in range(len(config.phases)))}
    return dict.fromkeys(kinds - set(known), 1.0)


def train(search, datasets, store, resources, watcher, enough, on_setup):
    """What the cluster would do."""
    execution = dataclasses.replace(resources.execution, study=search.plan.study)
    while not enough() and (job := search.next()) is not None:
        watcher.waits(job)
        watcher.started(job)
        result = run_trial(job.trial, datasets[job.trial.fingerprint], store, execution)
        watcher.left(job)
        search.done(job, result)
