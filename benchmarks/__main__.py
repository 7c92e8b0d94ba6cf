"""`python -m benchmarks`: the cost of data, Ray and sharing, as ratios in one run on this machine (about 4 minutes).

(a) A training step, relative to the same step on random tensors that are already in memory.
(b) A training step, relative to one of an ordinary loop over the same network: PIL files, Dataset, DataLoader with two
    workers.
(c) Seconds that Ray Tune adds to a trial.
(d) Private memory of trials that run at the same time, relative to the pixels that they share.
(e) Sampling of crops by maps: time to draw windows and to compute maps, relative to a step of the direct baseline.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import torch
import typer
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as transforms

from benchmarks import outage, scale, utilisation
from benchmarks.steps import InMemory, alternating, phase_on
from gada_ray import SMOKE, DataConfig, Preset, Study, TrainingConfig, direct, gada, with_values
from gada_ray.data import IqaDataset, load_dataset, make_splits, sampling
from gada_ray.data.crops import CropSource, generator_for
from gada_ray.running import runner
from gada_ray.study.definition import data_selections, make_plan
from gada_ray.study.search import Job, Search
from gada_ray.training.batches import Batch, Batches
from gada_ray.training.phases import Phase
from gada_ray.trials.run import run_trial
from gada_ray.trials.store import Store

THREADS, CROP_PX, BATCH = 2, 64, 32
console = Console()


def data_cost(dataset: IqaDataset) -> None:
    """(a): steps on gathered crops and on tensors in memory."""
    config = with_values(gada(1, 1, 1), {"data.crop_px": CROP_PX, "data.batch": BATCH})
    device = torch.device("cpu")
    for number, settings in enumerate(config.phases):
        real = phase_on(CropSource(dataset, device), config, number)
        ideal = phase_on(InMemory(dataset, device), config, number)
        a, b = alternating(lambda n, p=real: p.step(n, 0), lambda n, p=ideal: p.step(n, 0), 12, device)  # type: ignore[misc]
        console.print(f"(a) {settings.name}: {a * 1e3:.0f} ms, in memory {b * 1e3:.0f} ms, ratio {a / b:.3f}")


class Files(Dataset[tuple[Tensor, int, float]]):
    """Distorted images as files, decoded and cropped one by one."""

    def __init__(self, dataset: IqaDataset, folder: Path) -> None:
        self.paths = [folder / f"{row}.png" for row in range(len(dataset))]
        for row, path in enumerate(self.paths):
            Image.fromarray(dataset.distorted_image(row)).save(path, compress_level=1)
        self.distortion, self.quality = dataset.distortion.tolist(), dataset.quality.tolist()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int, float]:
        image = Image.open(self.paths[row]).convert("RGB")
        top = int(torch.randint(image.height - CROP_PX + 1, ()))
        left = int(torch.randint(image.width - CROP_PX + 1, ()))
        crop = transforms.to_dtype(transforms.pil_to_tensor(image), torch.float32, scale=True)
        return crop[:, top : top + CROP_PX, left : left + CROP_PX], self.distortion[row], self.quality[row]


class ExternalBatches(Batches):
    """Real crops from outside: `batch` is set before every step."""

    batch: Batch

    def real(self, step: int, seed: int, random: torch.Generator) -> Batch:
        """The batch that was set last."""
        return self.batch


def loader_cost(dataset: IqaDataset) -> None:
    """(b): steps on gathered crops and on those of a loader."""
    config = with_values(TrainingConfig(phases=(direct(1),)), {"data.crop_px": CROP_PX, "data.batch": BATCH})
    ours = phase_on(CropSource(dataset, torch.device("cpu")), config, 0)
    theirs = phase_on(CropSource(dataset, torch.device("cpu")), config, 0)
    theirs.batches = external = ExternalBatches(theirs.source, torch.arange(len(dataset)), config, 0)
    rounds: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as folder:
        files = Files(dataset, Path(folder))
        for _ in range(4):
            loader = DataLoader(files, BATCH, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True)
            batches = iter(loader)
            first = next(batches)  # the start of the workers is not timed
            since, steps = time.perf_counter(), 0
            for images, distortion, quality in [first, *batches]:
                channels_last = images.contiguous(memory_format=torch.channels_last)
                external.batch = Batch(channels_last, distortion, quality.float())
                theirs.step(steps, 0)
                steps += 1
            rounds[1].append((time.perf_counter() - since) / steps)
            since = time.perf_counter()
            for number in range(steps):
                ours.step(number, 0)
            rounds[0].append((time.perf_counter() - since) / steps)
    a, b = statistics.median(rounds[0]), statistics.median(rounds[1])
    height, width = np.median(dataset.shapes, axis=0)
    console.print(
        f"(b) direct baseline: {a * 1e3:.0f} ms a step, DataLoader with 2 workers {b * 1e3:.0f} ms a step: "
        f"{b / a:.2f} times as fast (images of {width:.0f} x {height:.0f} px; larger files take the loader longer)"
    )


def search_of(trials: int, dataset: IqaDataset, config: TrainingConfig, store: Store) -> Search:
    """A study with some trials of one configuration, on as many seeds of splits."""
    preset = Preset(cost="", splits=trials)
    plan = make_plan(
        "benchmark", Study(question="?", base=config, variants={"one": {}}, presets={"p": preset}), "p", "demo", {}
    )
    places = list(data_selections(plan.variants))
    splits = {place: make_splits(dataset.references, trials) for place in places}
    return Search(plan, splits, dict.fromkeys(places, dataset.fingerprint), store.result)


class Starts(runner.Watcher):
    """Records when workers start."""

    def __init__(self, times: list[float]) -> None:
        self._times = times

    def started(self, job: Job) -> None:
        """Record the start of a trial."""
        self._times.append(time.perf_counter())


def tune_cost(dataset: IqaDataset, trials: int = 8) -> None:
    """(c): trials in a loop and under Ray Tune."""
    config = with_values(gada(6, 4, 4), SMOKE)
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        plain = []
        for job in search_of(trials, dataset, config, Store(here)).waiting:
            since = time.perf_counter()
            run_trial(job.trial, dataset, Store(here))
            plain.append(time.perf_counter() - since)
        starts: list[float] = []
        resources = runner.Resources(cpus=1, max_concurrent=1)
        since = time.perf_counter()
        runner.run(
            search_of(trials, dataset, config, Store(there)),
            {dataset.fingerprint: dataset},
            Store(there),
            resources,
            Starts(starts),
        )
        end = time.perf_counter()
    alone = statistics.median(plain[1:])
    each = (starts[-1] - starts[1]) / (len(starts) - 2)
    console.print(
        f"(c) a trial alone {alone:.2f} s, under Ray Tune {each:.2f} s: {each - alone:+.2f} s a trial after the "
        f"first; {end - since - trials * alone:.1f} s for {trials} trials together, the first worker's start included"
    )


def memory(dataset: IqaDataset) -> None:
    """(d): private memory of one trial and of four."""
    config = with_values(gada(40, 20, 20), {**SMOKE, "phases.gan.steps": 150})
    large = dataclasses.replace(dataset, pixels=np.tile(dataset.pixels, 300 * 2**20 // dataset.pixels.nbytes + 1))
    private: dict[int, list[float]] = {}
    for trials in (1, 4):
        peaks: dict[int, float] = {}
        stop = threading.Event()

        def watch(peaks: dict[int, float] = peaks, stop: threading.Event = stop) -> None:
            while not stop.wait(0.2):
                for process in psutil.process_iter(["name", "cmdline"]):
                    if "ImplicitFunc.train" in " ".join(process.info["cmdline"] or []):
                        try:
                            peaks[process.pid] = max(peaks.get(process.pid, 0.0), process.memory_full_info().uss)
                        except psutil.Error:
                            continue

        watcher = threading.Thread(target=watch)
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            watcher.start()
            resources = runner.Resources(cpus=0.5, max_concurrent=trials)
            runner.run(search_of(trials, large, config, store), {large.fingerprint: large}, store, resources)
            stop.set()
            watcher.join()
        private[trials] = sorted(peaks.values())
    pixels = large.pixels.nbytes
    growth = (sum(private[4]) - max(private[1])) / 3 - max(private[1])
    console.print(
        f"(d) pixels {pixels / 2**20:.0f} MB; private memory of one trial {max(private[1]) / 2**20:.0f} MB, of "
        f"each of four {', '.join(f'{m / 2**20:.0f}' for m in private[4])} MB: each further trial takes "
        f"{growth / pixels:+.1%} of the pixels more than the first one"
    )


def sampling_cost(dataset: IqaDataset) -> None:
    """(e): draws of a step's windows, uniform and by maps, and computation of the maps of all images."""
    config = with_values(TrainingConfig(phases=(direct(1),)), {"data.crop_px": CROP_PX, "data.batch": BATCH})
    device = torch.device("cpu")
    source = CropSource(dataset, device)
    since = time.perf_counter()
    sampling.maps(dataset, "saliency")
    maps_s = time.perf_counter() - since
    since = time.perf_counter()
    by_maps = phase_on(source, with_values(config, {"data.sampling": "saliency"}), 0)
    sampler_s = time.perf_counter() - since
    uniform = phase_on(source, config, 0)

    def draw(phase: Phase) -> Callable[[int], object]:
        return lambda n: phase.batches.windows(n, 0, "epoch", generator_for(0, n))

    mapped, plain = alternating(draw(by_maps), draw(uniform), 200, device)
    step, _ = alternating(lambda n: uniform.step(n, 0), lambda n: None, 12, device)
    share = dataset.maps["saliency"].nbytes / dataset.pixels.nbytes
    console.print(
        f"(e) windows of a step by maps {mapped * 1e3:.2f} ms, uniform {plain * 1e3:.2f} ms: "
        f"{(mapped - plain) / step:+.2%} of a step; maps of {len(dataset)} images {maps_s:.2f} s and a trial's sampler "
        f"{sampler_s:.2f} s: {maps_s / step:.0f} and {sampler_s / step:.0f} steps; maps are {share:.2%} of the pixels"
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("scale")(scale.main)
app.command("outage")(outage.main)
app.command("utilisation")(utilisation.main)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    data_root: Annotated[
        Path | None,
        typer.Option(help="Folder of a manifest dataset, as for --dataset manifest; by default the demo images."),
    ] = None,
) -> None:
    """Print all ratios."""
    if context.invoked_subcommand:
        return
    torch.set_num_threads(THREADS)
    dataset = load_dataset("manifest" if data_root else "demo", data_root, DataConfig())
    console.print(
        f"{dataset.name}, torch {torch.__version__}, CPU, {THREADS} threads, crops of {CROP_PX} px, "
        f"batches of {BATCH}, float32"
    )
    data_cost(dataset)
    loader_cost(dataset)
    sampling_cost(dataset)
    torch.set_num_threads(1)
    runner.connect(None, runner.Resources())
    try:
        tune_cost(dataset)
        memory(dataset)
    finally:
        runner.disconnect()


if __name__ == "__main__":
    app()
