"""What a GPU does with all of it, in one run of ten minutes: `benchmarks/gpu.sh`, which fills the table of README.md.

(a) Steps a second by phase, batch and precision, a run of steps without waiting in between, as in training; and against
    the same steps on tensors in the GPU's memory.
(b) Images a second of `score`, from decoded pixels on and from files on; the paper says 120.
(c) Trials that share the GPU, under Ray as in a study: their steps a second together.
(d) Memory of a trial, and how many a study would put on this GPU.

`--device cpu --quick` goes through all of it on a machine without a GPU, in a minute, and says so.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console

from benchmarks.__main__ import search_of
from benchmarks.steps import InMemory, phase_on
from gada_ray import SMOKE, DataConfig, TrainingConfig, direct, gada, with_values
from gada_ray.data import IqaDataset, load_dataset
from gada_ray.data.crops import CropSource
from gada_ray.inference.card import Card
from gada_ray.inference.scoring import Scorer
from gada_ray.model.quality_network import QualityNetwork
from gada_ray.running import runner
from gada_ray.running.slots import Resources
from gada_ray.study import timing
from gada_ray.system import devices
from gada_ray.training.phases import Phase
from gada_ray.trials.identity import Execution
from gada_ray.trials.store import DatasetRecord, FoldRecord, Store

TABLE = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- GPU table: benchmarks/gpu.sh -->", "<!-- end of the GPU table -->"
HEIGHT, WIDTH = 512, 768
Row = tuple[str, str, str, str]
console = Console(soft_wrap=True)


def steps_a_second(phase: Phase, seconds: float) -> float:
    """Steps that follow each other without being waited for, as in training, after some that warm up."""
    for number in range(3):
        phase.step(number, 0)
    devices.synchronize(phase.source.device)
    since, done = time.perf_counter(), 0
    while done < 5 or time.perf_counter() - since < seconds:
        for _ in range(5):
            phase.step(done, 0)
            done += 1
        devices.synchronize(phase.source.device)
    return done / (time.perf_counter() - since)


def step_rows(dataset: IqaDataset, device: torch.device, quick: bool) -> Iterator[Row]:
    """(a)."""
    sizes = [(32, 8)] if quick else [(64, 32), (64, 64), (128, 64), (128, 256)]
    for (px, batch), precision in itertools.product(sizes, ("float32", "bfloat16")):
        config = with_values(gada(1, 1, 1), {**(SMOKE if quick else {}), "data.crop_px": px, "data.batch": batch})
        config = with_values(config, {"precision": precision})
        for number, settings in enumerate(config.phases):
            real, ready = (
                steps_a_second(phase_on(kind(dataset, device), config, number), 0.2 if quick else 3.0)
                for kind in (CropSource, InMemory)
            )
            size = f"{px} px, batch {min(batch, len(dataset))}, {precision}"
            yield f"step, {settings.name}", size, f"{real:.1f} steps/s", f"{real / ready:.2f} of in memory"


def scorer_on(device: torch.device, quick: bool) -> Scorer:
    """A quality network of full width with random weights, as `score` loads one."""
    config = with_values(TrainingConfig(phases=(direct(1),)), {"data.crop_px": 32} if quick else {})
    record = DatasetRecord(
        name="", labels="", direction="higher_is_better", score_range=(0, 1), fingerprint="", images=0, references=0
    )
    card = Card(
        study="benchmark",
        question="",
        preset="",
        variant="",
        chosen="",
        over_splits={},
        signature="",
        fold=FoldRecord(split=0, scored_on="test", train=(), held_out=()),
        metrics={},
        dataset=record,
        distortions=("one", "other"),
        config=config,
        code_version=0,
        versions={},
    )
    quality_network = QualityNetwork(config.model, 2, config.data.crop_px)
    return Scorer(card, {name: value.numpy() for name, value in quality_network.state_dict().items()}, str(device))


def scoring_rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """(b)."""
    scorer, count, batch = scorer_on(device, quick), 8 if quick else 256, 8
    random = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    picture = Image.fromarray(random).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=90)
    crops = [scorer.crops(np.asarray(picture))] * batch
    scorer.score_crops(crops)
    since = time.perf_counter()
    for _ in range(count // batch):
        scorer.score_crops(crops)
    scored = count // batch * batch / (time.perf_counter() - since)
    size = f"{WIDTH}×{HEIGHT} px, {scorer.count} crops of {scorer.card.config.data.crop_px} px"
    yield "score, from decoded pixels on", size, f"{scored:.0f} images/s", f"{scored / 120:.1f} of the paper's 120"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        path.write_bytes(buffer.getvalue())
        since = time.perf_counter()
        done = sum(1 for _ in scorer.score_files([path] * count, batch, os.cpu_count() or 1))
        files = done / (time.perf_counter() - since)
    cores = f"{size}, JPEG, {os.cpu_count()} cores decode"
    yield "score, from files on", cores, f"{files:.0f} images/s", f"{files / 120:.1f} of the paper's 120"


def sharing_rows(dataset: IqaDataset, device: torch.device, quick: bool) -> Iterator[Row]:
    """(c)."""
    steps = 30 if quick else 600
    config = with_values(TrainingConfig(phases=(direct(steps),)), {"evaluation.curve_points": 0, "evaluation.crops": 4})
    if quick:
        config = with_values(config, {k: v for k, v in SMOKE.items() if not k.startswith(("phases", "evaluation"))})
    alone = None
    for count in (1, 2) if quick else (1, 2, 4, 8):
        on_gpu = device.type == "cuda"
        cpus = min(1.0, (os.cpu_count() or 1) / count)
        resources = Resources(cpus, int(10_000 / count) / 10_000 if on_gpu else 0.0, count)
        runner.connect(None, resources)
        try:
            with tempfile.TemporaryDirectory() as folder:
                store = Store(folder)
                search = search_of(count, dataset, config, store)
                signatures = [job.trial.signature for job in search.waiting]
                runner.run(search, {dataset.fingerprint: dataset}, store, resources)
                results = [store.result(signature) for signature in signatures]
        finally:
            runner.disconnect()
        rate = sum(steps / result.run.phase_seconds["direct"] for result in results if result)
        alone = alone or rate
        size = f"{config.data.crop_px} px, batch {config.data.batch}, {count} at a time"
        yield (
            "trials that share it, direct",
            size,
            f"{rate:.0f} steps/s together",
            f"{rate / alone:.2f} times one alone",
        )


def memory_rows(dataset: IqaDataset, device: torch.device, quick: bool) -> Iterator[Row]:
    """(d)."""
    for px, batch in [(32, 8)] if quick else [(64, 32), (128, 64), (128, 256)]:
        config = with_values(gada(1, 1, 1), {**(SMOKE if quick else {}), "data.crop_px": px, "data.batch": batch})
        devices.free(device)
        devices.configure_backend(device)
        if device.type != "cuda":
            timing.probe(config, dataset, 1, Execution(str(device)))
            yield "memory of a trial", f"{px} px, batch {batch}", f"{devices.peak_mb(device):.0f} MB", "of this process"
            continue
        peak = timing.peak_mb([(config, dataset)], Execution(str(device)))
        many = int(1 / devices.share(peak, devices.total_mb()))
        yield "memory of a trial", f"{px} px, batch {batch}", f"{peak:.0f} MB", f"a study puts {many} on this GPU"


def main(
    device: Annotated[str, typer.Option(help="A torch device.")] = "cuda",
    quick: Annotated[bool, typer.Option(help="Tiny sizes: shows that it runs, nothing else.")] = False,
    write: Annotated[bool, typer.Option(help="Put the table into benchmarks/README.md.")] = False,
) -> None:
    """Measure everything, and print one table."""
    where = torch.device(device)
    if where.type == "cuda" and not devices.count():
        raise typer.BadParameter("torch sees no GPU here; --device cpu --quick shows that the script runs")
    devices.configure_backend(where)
    dataset = load_dataset("demo", None, DataConfig())
    parts = (
        step_rows(dataset, where, quick),
        scoring_rows(where, quick),
        sharing_rows(dataset, where, quick),
        memory_rows(dataset, where, quick),
    )
    rows: list[Row] = []
    for row in itertools.chain.from_iterable(parts):
        console.print(" | ".join(row), markup=False, highlight=False)
        rows.append(row)
    text = table(rows, heading(where, quick))
    console.print(f"\n{text}", markup=False, highlight=False)
    if write:
        TABLE.write_text(filled(TABLE.read_text(encoding="utf-8"), text), encoding="utf-8")


def heading(device: torch.device, quick: bool) -> str:
    """What the numbers are of."""
    tiny = "; **tiny sizes, which show that it runs and nothing else**" if quick else ""
    day = datetime.now(UTC).date()
    return f"{devices.name(device)}, {os.cpu_count()} cores, torch {torch.__version__}, demo images, {day}{tiny}:"


def table(rows: list[Row], above: str) -> str:
    """Markdown."""
    lines = [above, "", "| | | | |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def filled(text: str, table: str) -> str:
    """README.md with the table in its place.

    Raises:
        ValueError: for a text without that place.
    """
    place = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not place.search(text):
        raise ValueError(f"no place for the table: a line '{BEGIN}' and a line '{END}'")
    return place.sub(lambda _: f"{BEGIN}\n\n{table}\n\n{END}", text)


if __name__ == "__main__":
    typer.run(main)
