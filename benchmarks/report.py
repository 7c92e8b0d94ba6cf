"""`python -m benchmarks.report`: seconds and memory of a report on 1,000 runs of splits; filling takes minutes.

A sqlite store is filled with a study as the tracker leaves it: 8 variants on 10 splits, and a search of 46 candidates on
10 splits for two of them, with invented scores, curves of 30 points, 120 predictions a test run, and no pictures.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

from gada_ray import gada

LEVELS, SPLITS, SEARCHED, CANDIDATES = 8, 10, 2, 46
DISTORTIONS = ("ff", "gblur", "jp2k", "jpeg", "wn")
REFERENCES = [f"r{number:02d}" for number in range(29)]


def fill(uri: str, artifacts: Path) -> int:
    """Write the study; the number of runs of splits."""
    client, random = MlflowClient(tracking_uri=uri), np.random.default_rng(0)
    place = client.create_experiment("synthetic", artifacts.as_uri())
    runs = 0
    for variant in range(LEVELS):
        for number in range(CANDIDATES if variant < SEARCHED else 0):
            runs += _configuration(client, place, random, variant, "search", number)
        runs += _configuration(client, place, random, variant, "test", 0)
    return runs


def _configuration(
    client: MlflowClient, place: str, random: np.random.Generator, variant: int, stage: str, number: int
) -> int:
    config = gada(1000, 300, 200).model_dump(mode="json")
    config["rates"]["discriminator"], config["rates"]["generator"] = 10 ** random.uniform(-5, -2, 2)
    key, name = f"{variant}-{stage}-{number}", f"variant {variant}"
    shared = {"gada.key": key, "study": "synthetic", "question": "How long does a report take?", "preset": "paper"}
    shared |= {"variant": name, "stage": stage, "dataset_name": "synthetic", "labels": "invented", "splits_hash": "s"}
    shown = f"{name} #{number}" if stage == "search" else name
    parent = client.create_run(place, tags={"kind": "configuration", **shared}, run_name=shown).info.run_id
    client.log_text(parent, json.dumps(config), "config.json")
    _log(client, parent, {"n": SPLITS, "splits_planned": SPLITS, "srocc_mean": 0.8, "device_hours": 1.0})
    client.set_terminated(parent)
    for split in range(SPLITS):
        _split(client, place, random, parent, shared, split)
    return SPLITS


def _split(
    client: MlflowClient,
    place: str,
    random: np.random.Generator,
    parent: str,
    shared: Mapping[str, str],
    split: int,
) -> None:
    names = [REFERENCES[i] for i in np.random.default_rng(split).permutation(len(REFERENCES))]
    tags = {"kind": "split", "mlflow.parentRunId": parent, "status": "finished", "split": str(split), "device": "cpu"}
    tags |= {"code_version": "1", "references_train": "23", "references_held_out": "6", **shared}
    run = client.create_run(place, tags=tags, run_name=f"split {split}").info.run_id
    client.log_batch(run, params=[Param("seed", "0")])
    sides = {"training": names[6:], "testing": names[:6]}
    inputs = [
        DatasetInput(
            Dataset(
                "d", f"{split}{context}", "local", json.dumps({"fingerprint": "f"}), json.dumps({"references": side})
            ),
            [InputTag("mlflow.data.context", context)],
        )
        for context, side in sides.items()
    ]
    client.log_inputs(run, datasets=inputs)
    scores = {f"{m}/{d}": random.uniform(0.5, 1) for m in ("srocc", "plcc", "krcc") for d in DISTORTIONS}
    scores |= {
        m: random.uniform(0.5, 1)
        for m in ("srocc", "plcc", "krcc", "rmse", "image_blind_srocc", "image_blind_plcc", "seconds")
    }
    _log(client, run, scores)
    steps = np.linspace(50, 1500, 30).astype(int)
    points = [Metric(f"curve/{m}", float(random.uniform(0.5, 1)), 0, int(s)) for m in ("srocc", "plcc") for s in steps]
    points += [Metric(f"loss/{n}", float(random.random()), 0, int(s)) for n in range(6) for s in steps]
    client.log_batch(run, metrics=points)
    if shared["stage"] == "test":
        rows = [(f"{r}-{d}-{i}.png", r, d) for r in names[:6] for d in DISTORTIONS for i in range(4)]
        frame = pd.DataFrame(rows, columns=["image", "reference", "distortion"])
        frame = frame.assign(target=random.random(len(rows)), prediction=random.random(len(rows)))
        client.log_text(run, frame.to_csv(index=False), "predictions.csv")
    client.set_terminated(run)


def _log(client: MlflowClient, run: str, values: Mapping[str, float]) -> None:
    client.log_batch(run, metrics=[Metric(name, float(value), 0, 0) for name, value in values.items()])


def main() -> None:
    """Fill a store, and time the command as a user runs it, imports and all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        runs = fill(uri, folder / "mlartifacts")
        command = [sys.executable, "-m", "analysis", "report", "--study", "synthetic", "--tracking-uri", uri]
        since = time.perf_counter()
        subprocess.run([*command, "--out", str(folder / "report")], check=True)
        seconds = time.perf_counter() - since
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (folder / "report" / "report.html").stat().st_size / 2**20
        print(
            f"report on {runs} runs of splits: {seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of processor "
            f"time), {used.ru_maxrss / 2**10:.0f} MB at most, page of {size:.1f} MB"
        )


if __name__ == "__main__":
    main()
