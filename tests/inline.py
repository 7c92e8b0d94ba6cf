"""Studies without Ray: trained in the test's own process, one trial after another, and priced without a probe."""

from __future__ import annotations

import dataclasses
import sys

from gada_ray.running import cluster, runner
from gada_ray.study import price, timing
from gada_ray.trials.run import run_trial


def command(monkeypatch, capsys, *arguments):
    """Run `tune.py` in this process: exit code, standard output, standard error."""
    import tune

    monkeypatch.setattr(sys, "argv", ["tune.py", *map(str, arguments)])
    code = 0
    try:
        tune.run()
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


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
        watcher.released(job)
        search.done(job, result)
