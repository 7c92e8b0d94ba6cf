"""Times of training steps and predictions: `python -m benchmarks.speed --device cuda --crop-px 128 --batch 64`.

Every number is the median of timed repeats after a warm-up, and is printed with all that it depends on. Steps are those
of training: crops, forward and backward passes, optimiser. Predictions include gathering crops, but not decoding files.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from rich.console import Console
from rich.table import Table

from gada_ray import recipes
from gada_ray.config import ConfigError, TrainingConfig, with_values
from gada_ray.data import DATASETS, DataError, check_crops, load_dataset
from gada_ray.data.crops import CropSource
from gada_ray.evaluation import protocol
from gada_ray.system import devices
from gada_ray.training.phases import Phase, build

PHASES = (recipes.direct(1), recipes.gan(1), recipes.augmentation(1), recipes.finetuning(1))


def median_seconds(work: Callable[[int], object], device: torch.device, repeats: int, warm_up: int) -> float:
    """Median wall-clock seconds of `work(number)`, waiting for the device before and after each."""
    seconds = []
    for number in range(warm_up + repeats):
        devices.synchronize(device)
        since = time.perf_counter()
        work(number)
        devices.synchronize(device)
        seconds.append(time.perf_counter() - since)
    return statistics.median(seconds[warm_up:])


def main(
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(DATASETS)}.")] = "demo",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the dataset.")] = None,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    crop_px: Annotated[int, typer.Option(help="Side of the crops.")] = 64,
    batch: Annotated[int, typer.Option(help="Crops of real images in a step.")] = 32,
    crops: Annotated[int, typer.Option(help="Crops of an image in a prediction.")] = 30,
    precision: Annotated[Literal["float32", "bfloat16"], typer.Option(help="Of convolutions and layers.")] = "float32",
    images: Annotated[int, typer.Option(min=1, help="Images in a timed prediction.")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="Timed repeats.")] = 10,
    warm_up: Annotated[int, typer.Option(min=1, help="Repeats before the timed ones.")] = 3,
) -> None:
    """Time the step of each phase, and predictions, on one device."""
    torch.set_num_threads(threads)
    devices.configure_backend(torch.device(device))  # as in a trial
    values = {"data.crop_px": crop_px, "data.batch": batch, "evaluation.crops": crops, "precision": precision}
    config = with_values(TrainingConfig(phases=PHASES), values)
    data = load_dataset(dataset, data_root, config.data)
    check_crops(data, crop_px)
    where = torch.device(device)
    source = CropSource(data, where)
    rows = torch.arange(len(data))
    network = build(config, len(data.distortions), seed=0)
    network.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]

    table = Table("", "median", "rate", title=f"median of {repeats} after {warm_up} to warm up")
    for column in table.columns[1:]:
        column.justify = "right"
    size = Phase(network, source, rows, config, 0).batches.size

    for number, settings in enumerate(config.phases):
        phase = Phase(network, source, rows, config, number)
        phase.prepare()
        seconds = median_seconds(partial(phase.step, seed=0), where, repeats, warm_up)
        table.add_row(f"step, {settings.name}", f"{1000 * seconds:.1f} ms", f"{size / seconds:.0f} crops/s")

    corners = protocol.windows(data, source, rows[:images], config)
    seconds = median_seconds(
        lambda _: protocol.predict(network.quality_network, source, rows[:images], corners, config, crops),
        where,
        repeats,
        warm_up,
    )
    timed = min(images, len(rows))
    table.add_row(
        f"prediction, {crops} crops an image", f"{1000 * seconds / timed:.1f} ms", f"{timed / seconds:.0f} images/s"
    )

    heights, widths = data.shapes.T
    console = Console(soft_wrap=True)
    console.print(
        f"{_name(where)}, {threads} threads, torch {torch.__version__}, {precision}\n"
        f"{data.name}: images of {widths.min()}x{heights.min()} to {widths.max()}x{heights.max()} pixels; "
        f"crops of {crop_px}x{crop_px}, batch {size}\n"
        f"weights of backbone and heads: {sum(p.numel() for p in network.quality_network.parameters()):,}"
    )
    console.print(table)


def _name(device: torch.device) -> str:
    if device.type != "cpu":
        return devices.name(device)
    model = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return model[0] if model else platform.processor() or device.type


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ConfigError, DataError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
