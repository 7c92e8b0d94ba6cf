"""Relative cost of parts of a training step: `python -m benchmarks.steps`, on one core in about three minutes.

(a) A step of the direct baseline with the ranking term (procedural pairs), relative to one without it.
(b) A step of phase 1 by recipe gada, relative to one by recipe regression, which has no adversary.
(c) The same, relative to one of gada whose crops are all aligned to the 8x8 grid (`aligned_fraction` 1).
(d) With `--compile`: a step of phase 1 with a generator compiled by torch.compile (inductor), relative to one without.
(e) With `--bfloat16`: a step of the direct baseline and of phase 1 in bfloat16, relative to float32.

Both steps of a ratio alternate in blocks. A block is measured in processor time of the process, so that other ones
on the machine affect both alike. A ratio is the median over pairs of blocks, with the quartiles.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from torch import Tensor

from gada_ray import NARROW, DataConfig, recipe, with_values
from gada_ray import direct as direct_phase
from gada_ray.config import TrainingConfig
from gada_ray.data import load_dataset
from gada_ray.data.crops import CropSource
from gada_ray.data.procedural import procedures
from gada_ray.system import devices
from gada_ray.training.compilation import compile_forward_passes
from gada_ray.training.memory import keep_freed_memory
from gada_ray.training.phases import Phase, build
from gada_ray.training.procedural import ProceduralSource

console = Console(soft_wrap=True)


class InMemory(CropSource):
    """Returns the same random crops at every call for as many images."""

    @functools.cached_property
    def crops(self) -> dict[int, Tensor]:
        """Random crops by their number: a step of phase 1 generates fewer crops than it takes of real images."""
        return {}

    def gather(self, images: Tensor, top: Tensor, left: Tensor, crop_px: int) -> Tensor:
        """A tensor that is already on the device."""
        count = len(images)
        if count not in self.crops:
            random = torch.rand(count, 3, crop_px, crop_px, device=self.device)
            self.crops[count] = random.contiguous(memory_format=torch.channels_last)
        return self.crops[count]


def alternating(
    one: Callable[[int], object], other: Callable[[int], object], repeats: int, device: torch.device
) -> tuple[float, float]:
    """Median seconds of two actions that alternate, after two warm-up rounds."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(repeats + 2):
        for action, seconds in zip((one, other), times, strict=True):
            devices.synchronize(device)
            since = time.perf_counter()
            action(number)
            devices.synchronize(device)
            seconds.append(time.perf_counter() - since)
    return statistics.median(times[0][2:]), statistics.median(times[1][2:])


def ratios(one: Callable[[int], object], other: Callable[[int], object], blocks: int, steps: int) -> list[float]:
    """Ratios of processor times of `one` to `other`, block by block; both alternate, after a block that warms up."""
    found = []
    for block in range(blocks + 1):
        seconds = []
        for action in (one, other) if block % 2 else (other, one):
            since = time.process_time()
            for step in range(block * steps, (block + 1) * steps):
                action(step)
            seconds.append(time.process_time() - since)
        found.append(seconds[0] / seconds[1] if block % 2 else seconds[1] / seconds[0])
    return found[1:]


def phase_on(
    source: CropSource,
    config: TrainingConfig,
    number: int,
    procedural: ProceduralSource | None = None,
    compiler: str = "",
) -> Phase:
    """A phase of a new network on all images of a source; `compiler` as in `Execution`."""
    network = build(config, int(source.distortion.max()) + 1, 0)
    network.to(source.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    phase = Phase(network, source, torch.arange(len(source.quality)), config, number, procedural=procedural)
    if compiler:
        compile_forward_passes(network, phase.ema.network, compiler)
    phase.prepare()
    return phase


def main(
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of a manifest dataset; by default the demo images.")
    ] = None,
    wide: Annotated[bool, typer.Option(help="Full widths and batches of 32, instead of narrow ones and 16.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Measure (d).")] = False,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Measure (e).")] = False,
    blocks: Annotated[int, typer.Option(min=2, help="Pairs of blocks.")] = 15,
    steps: Annotated[int, typer.Option(min=1, help="Steps in a block.")] = 4,
) -> None:
    """Print the ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    dataset = load_dataset("manifest" if data_root else "demo", data_root, DataConfig())
    source = CropSource(dataset, torch.device("cpu"))
    size: Mapping[str, Any] = {} if wide else {**NARROW, "data.batch": 16}
    gada, regression = (with_values(recipe(name, 1, 1, 1), size) for name in ("gada", "regression"))
    direct = with_values(TrainingConfig(phases=(direct_phase(1),)), size)
    console.print(
        f"{dataset.name}, torch {torch.__version__}, 1 thread, {'full' if wide else 'narrow'} widths, batch "
        f"{gada.data.batch}, crops of {gada.data.crop_px} px; median [quartiles] of {blocks} pairs of {steps} steps",
        markup=False,
    )

    def say(name: str, one: Phase, other: Phase) -> None:
        found = ratios(lambda n: one.step(n, 0), lambda n: other.step(n, 0), blocks, steps)
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
        console.print(f"{name}: {middle:.3f} [{low:.3f}, {high:.3f}]", highlight=False, markup=False)

    with tempfile.TemporaryDirectory() as folder:
        found = procedures(dataset.distortions, dataset.name)
        made = ProceduralSource(dataset, found, Path(folder), gada.data.crop_px, source.device, extra=False)
        ranked = with_values(direct, {"phases.direct.ranking.weight": 1.0})
        say("(a) direct, with / without ranking", phase_on(source, ranked, 0, made), phase_on(source, direct, 0))
    ours = phase_on(source, gada, 0)
    say("(b) phase 1, gada / regression", ours, phase_on(source, regression, 0))
    aligned = with_values(gada, {"data.aligned_fraction": 1.0})
    say("(c) phase 1, gada / gada with aligned crops alone", ours, phase_on(source, aligned, 0))
    if compiled:
        other = phase_on(source, gada, 0)
        assert other.network.generator is not None
        since = time.perf_counter()
        other.network.generator.compile()
        other.step(0, 0)
        console.print(f"(d) compilation: {time.perf_counter() - since:.0f} s", highlight=False, markup=False)
        say("(d) phase 1, generator compiled / not compiled", other, ours)
    if bfloat16:
        for name, config in {"direct": direct, "phase 1, gada": gada}.items():
            reduced = config.model_copy(update={"precision": "bfloat16"})
            say(f"(e) {name}, bfloat16 / float32", phase_on(source, reduced, 0), phase_on(source, config, 0))


if __name__ == "__main__":
    typer.run(main)
