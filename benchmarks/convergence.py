"""Convergence of a training and fluctuation of its weights: `python -m benchmarks.convergence --data-root live20`.

Trains on one core, split by split, and evaluates the test references 50 times, with EMA weights and with final-step
weights. Prints the mean SROCC over splits at every evaluation, the seconds of training and one test until it first
reaches a target, and the standard deviation of SROCC over the last ten evaluations. Nothing is selected by these
scores.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from rich.console import Console
from rich.progress import track

from gada_ray import recipes
from gada_ray.config import ConfigError, TrainingConfig, with_values
from gada_ray.data import DataError, check_crops, load_dataset
from gada_ray.data.crops import CropSource, seed_for
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.splits import make_splits
from gada_ray.evaluation import protocol
from gada_ray.evaluation.metrics import agreement
from gada_ray.model.quality_network import QualityNetwork
from gada_ray.training.ema import ExponentialMovingAverage
from gada_ray.training.memory import keep_freed_memory
from gada_ray.training.phases import Phase, build

EVALUATIONS = 50
LAST = 10
WEIGHTS = ("ema", "final")


def curve(config: TrainingConfig, source: CropSource, dataset: IqaDataset, split: int) -> pd.DataFrame:
    """SROCC at every evaluation of one training: columns split, step, seconds, test (its seconds), weights, srocc."""
    fold = make_splits(dataset.references, split + 1)[split].for_test()
    train, held_out = (torch.from_numpy(dataset.rows_of(part)) for part in (fold.train, fold.held_out))
    corners = protocol.windows(dataset, source, held_out, config)
    seed = seed_for("training", 0, split)
    network = build(config, len(dataset.distortions), seed)
    network.to(memory_format=torch.channels_last)
    ema = ExponentialMovingAverage(network, config.ema_decay)
    done, seconds, rows = 0, 0.0, []

    def evaluate(quality_network: QualityNetwork) -> tuple[float, float]:
        since = time.perf_counter()
        quality = protocol.predict(quality_network, source, held_out, corners, config, config.evaluation.crops)
        frame = protocol.table(dataset, held_out, quality, config.evaluation.pooling)
        target, prediction = frame["target"].to_numpy(), frame["prediction"].to_numpy()
        return agreement(target, prediction)["srocc"], time.perf_counter() - since

    for number, settings in enumerate(config.phases):
        phase = Phase(network, source, train, config, number, ema)
        phase.prepare()
        for step in range(settings.steps):
            since = time.perf_counter()
            phase.step(step, seed)
            seconds += time.perf_counter() - since
            done += 1
            if done % max(1, config.steps // EVALUATIONS) == 0:
                for weights, one in zip(WEIGHTS, (ema.network, network), strict=True):
                    srocc, test = evaluate(one.quality_network)
                    rows.append((split, done, seconds, test, weights, srocc))
                phase.prepare()
    return pd.DataFrame(rows, columns=["split", "step", "seconds", "test", "weights", "srocc"])


def main(
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of a manifest dataset; by default the demo images.")
    ] = None,
    splits: Annotated[int, typer.Option(min=1, help="Splits, one after another.")] = 5,
    direct: Annotated[int, typer.Option(min=0, help="Steps of the direct baseline; 0: the three phases.")] = 0,
    gan: Annotated[int, typer.Option(min=1, help="Steps of phase 1.")] = 400,
    augmentation: Annotated[int, typer.Option(min=1, help="Steps of phase 2.")] = 100,
    finetuning: Annotated[int, typer.Option(min=1, help="Steps of phase 3.")] = 100,
    target: Annotated[float, typer.Option(help="Target mean SROCC.")] = 0.9,
) -> None:
    """Print the SROCC by step, the time to the target, and the standard deviation over the last evaluations."""
    torch.set_num_threads(1)
    keep_freed_memory()
    base = TrainingConfig(phases=(recipes.direct(direct),)) if direct else recipes.gada(gan, augmentation, finetuning)
    config = with_values(base, {**recipes.NARROW, "data.batch": 16})
    dataset = load_dataset("manifest" if data_root else "demo", data_root, config.data)
    check_crops(dataset, config.data.crop_px)
    source = CropSource(dataset, torch.device("cpu"))
    console = Console(soft_wrap=True)
    console.print(
        f"{dataset.name}; narrow network, batch 16, crops of {config.data.crop_px} px, torch {torch.__version__}, 1 "
        f"thread; {', '.join(f'{phase.name} {phase.steps}' for phase in config.phases)} steps, {splits} splits, seed 0"
    )
    numbers = track(range(splits), "splits", console=Console(stderr=True))
    frame = pd.concat([curve(config, source, dataset, split) for split in numbers])
    means = frame.groupby(["step", "weights"])["srocc"].mean().unstack()
    cost = frame[frame["weights"] == "ema"].groupby("step")[["seconds", "test"]].mean()
    for step in means.index[:: max(1, len(means) // 10)]:
        ema, last = means.loc[step, list(WEIGHTS)]
        console.print(f"step {step:5d}  {cost.loc[step, 'seconds']:6.1f} s  EMA {ema:.3f}  final-step {last:.3f}")
    for weights in WEIGHTS:
        reached = means.index[means[weights] >= target]
        when = (
            f"after {reached[0]} steps, {cost.loc[reached[0]].sum():.1f} s with the test"
            if len(reached)
            else "not reached"
        )
        of = frame[frame["weights"] == weights].groupby("split")["srocc"]
        spread = statistics.mean(of.apply(lambda values: values.iloc[-LAST:].std()))
        console.print(f"{weights}: mean SROCC {target:g} {when}; SD over the last {LAST} evaluations {spread:.4f}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ConfigError, DataError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
