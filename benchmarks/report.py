"""`python -m benchmarks.report [FOLDER]`: seconds and memory of a report on 1,000 runs of splits.

A sqlite store is filled, which takes minutes, with a study as the tracker leaves it: 8 variants on 10 splits, and a
search of 46 candidates on 10 splits for two of them, with simulated scores, curves of 30 points, 120 predictions for
each test run, and no pictures. With a folder, store and report stay there.
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

from gada_ray import Contrast, gada
from gada_ray.study import baselines
from gada_ray.study.contrasts import to_text

SPLITS, SEARCHED, CANDIDATES = 10, 2, 46
VARIANTS = {
    "phases 1+2+3": 0.938,
    "baseline, all steps": 0.936,
    "baseline": 0.915,
    "phase 1": 0.917,
    "phases 1+2": 0.931,
    "phases 1+3": 0.938,
    "phases 1+2+3, procedural distortions": 0.934,
    "phases 1+2+3, real crops again": 0.939,
}
"""Mean test SROCC by variant."""
CONTRASTS = (
    Contrast("phases 1+2+3", "baseline, all steps", "Do the three phases beat the same steps on real images alone?"),
    Contrast("phases 1+2+3", "phases 1+3", "Do the generated images of phase 2 add to a longer phase 3?"),
    Contrast("phases 1+2+3", "baseline", "Do the three phases beat the baseline of the paper?"),
)
DISTORTIONS = ("ff", "gblur", "jp2k", "jpeg", "wn")
REFERENCES = [f"r{number:02d}" for number in range(29)]
DIFFICULTY_SD, VARIANT_SD = 0.02, 0.006
"""Standard deviations over splits: of all variants together, and of one against the others."""


def fill(uri: str, artifacts: Path) -> int:
    """Write the study; the number of runs of splits."""
    client, random = MlflowClient(tracking_uri=uri), np.random.default_rng(0)
    place = client.create_experiment("synthetic", artifacts.as_uri())
    difficulty = random.normal(0, DIFFICULTY_SD, SPLITS)
    runs = 0
    for variant in range(len(VARIANTS)):
        for number in range(CANDIDATES if variant < SEARCHED else 0):
            runs += _configuration(client, place, random, difficulty, variant, "search", number)
        runs += _configuration(client, place, random, difficulty, variant, "test", 0)
    study = client.create_run(place, tags={"kind": "study", "splits_hash": "s"}).info.run_id
    brisque = pd.DataFrame({"split": range(SPLITS), "srocc": 0.92 + difficulty, "plcc": 0.91, "fingerprint": "f"})
    client.log_text(study, brisque.to_csv(index=False), baselines.FILE)
    return runs


def _configuration(
    client: MlflowClient,
    place: str,
    random: np.random.Generator,
    difficulty: np.ndarray,
    variant: int,
    stage: str,
    number: int,
) -> int:
    config = gada(1000, 300, 200).model_dump(mode="json")
    config["rates"]["discriminator"], config["rates"]["generator"] = 10 ** random.uniform(-5, -2, 2)
    key, (name, mean) = f"{variant}-{stage}-{number}", list(VARIANTS.items())[variant]
    shared = {"gada.key": key, "study": "synthetic", "question": "How long does a report take?", "preset": "paper"}
    shared |= {"variant": name, "stage": stage, "dataset_name": "synthetic", "labels": "invented", "splits_hash": "s"}
    shared |= {"variant_place": str(variant)}
    shown = f"{name} #{number}" if stage == "search" else name
    tags = {"kind": "configuration", "contrasts": to_text(CONTRASTS), **shared}
    parent = client.create_run(place, tags=tags, run_name=shown).info.run_id
    client.log_text(parent, json.dumps(config), "config.json")
    scores = (mean + difficulty + random.normal(0, VARIANT_SD, SPLITS)).clip(-1, 1)
    _log(client, parent, {"n": SPLITS, "splits_planned": SPLITS, "srocc_mean": scores.mean(), "device_hours": 1.0})
    client.set_terminated(parent)
    for split, score in enumerate(scores):
        _split(client, place, random, parent, shared, split, float(score))
    return SPLITS


def _split(
    client: MlflowClient,
    place: str,
    random: np.random.Generator,
    parent: str,
    shared: Mapping[str, str],
    split: int,
    score: float,
) -> None:
    names = [REFERENCES[i] for i in np.random.default_rng(split).permutation(len(REFERENCES))]
    tags = {"kind": "split", "mlflow.parentRunId": parent, "status": "finished", "split": str(split), "device": "cpu"}
    tags |= {"code_version": "1", "references_train": "23", "references_held_out": "6", **shared}
    tags |= {"signature": f"{shared['gada.key']}-{split}"}
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
    scores = {f"{m}/{d}": random.uniform(0.8, 1) for m in ("srocc", "plcc", "krcc") for d in DISTORTIONS}
    scores |= {"srocc": score, "plcc": score - 0.01, "krcc": score - 0.1, "rmse": 0.1, "seconds": 3600.0}
    scores |= {"image_blind_srocc": 0.2 + split / 100, "image_blind_plcc": 0.2}
    _log(client, run, scores)
    steps = np.linspace(50, 1500, 30).astype(int)
    rising = score * (1 - np.exp(-steps / 300)) + random.normal(0, 0.01, len(steps))
    curve = list(zip(steps, rising, strict=True))
    points = [Metric(f"curve/{m}", float(v), 0, int(s)) for m in ("srocc", "plcc") for s, v in curve]
    points += [Metric(f"loss/{n}", float(random.random()), 0, int(s)) for n in range(6) for s in steps]
    client.log_batch(run, metrics=points)
    if shared["stage"] == "test":
        rows = [(f"{r}-{d}-{i}.png", r, d) for r in names[:6] for d in DISTORTIONS for i in range(4)]
        frame = pd.DataFrame(rows, columns=["image", "reference", "distortion"])
        target = random.random(len(rows))
        frame = frame.assign(target=target, prediction=target + random.normal(0, 0.1, len(rows)))
        client.log_text(run, frame.to_csv(index=False), "predictions.csv")
    client.set_terminated(run)


def _log(client: MlflowClient, run: str, values: Mapping[str, float]) -> None:
    client.log_batch(run, metrics=[Metric(name, float(value), 0, 0) for name, value in values.items()])


def main() -> None:
    """Fill a store, and time the command including its imports."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
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
            f"time), {used.ru_maxrss / 2**10:.0f} MB peak, page of {size:.1f} MB"
        )


if __name__ == "__main__":
    main()
