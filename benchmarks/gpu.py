"""All GPU measurements in one run of about 20 minutes: `benchmarks/gpu.sh`, which fills the table of README.md.

(a) Steps a second by phase, batch and precision, without waiting between steps, as in training; also relative to the
    same steps on tensors in the GPU's memory.
(b) GPU-hours of LIVE's protocol (ten splits, three phases of `studies/paper_live.py`), from measured steps.
(c) Images a second of `score`, from decoded pixels and from files; the paper reports 120.
(d) Steps a second of one, two, four and eight trials that share the GPU, under Ray as in a study.
(e) Memory of a trial, and the number of trials that a study would put on this GPU.
(f) A training by recipe "paper" at full width, of 2,000 steps, and its learning curve, on the data of `--data-root`.
(g) Steps a second with and without `tune.py --compile`, and seconds of compilation.

`--device cpu --quick` runs everything in tiny sizes on a machine without a GPU, in minutes, and says so.
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
import pandas as pd
import torch
import typer
from PIL import Image
from rich.console import Console

from benchmarks.__main__ import search_of
from benchmarks.steps import InMemory, phase_on
from gada_ray import SMOKE, DataConfig, TrainingConfig, direct, gada, recipe, with_recipe, with_values
from gada_ray.data import IqaDataset, load_dataset, make_splits
from gada_ray.data.crops import CropSource
from gada_ray.inference.card import Card
from gada_ray.inference.scoring import Scorer
from gada_ray.model.quality_network import QualityNetwork
from gada_ray.running import runner
from gada_ray.running.slots import Resources
from gada_ray.study import timing
from gada_ray.system import devices
from gada_ray.training.phases import Phase
from gada_ray.trials.identity import Execution, Trial
from gada_ray.trials.run import run_trial
from gada_ray.trials.state import CURVES
from gada_ray.trials.store import DatasetRecord, FoldRecord, Store
from studies import paper_live

TABLE = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- GPU table: benchmarks/gpu.sh -->", "<!-- end of the GPU table -->"
HEIGHT, WIDTH = 512, 768
SPLITS = 10
"""Splits of LIVE's protocol."""
PAPER_STEPS = (1_333, 444, 223)
"""Steps of (f): 2,000 in the proportions of studies/paper_live.py."""
Row = tuple[str, str, str, str]
console = Console(soft_wrap=True)


def steps_a_second(phase: Phase, seconds: float) -> float:
    """Steps a second without waiting between steps, as in training, after three warm-up steps."""
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


def sized(config: TrainingConfig, quick: bool, **values: object) -> TrainingConfig:
    """A configuration with some values; in tiny sizes, but with its own steps, where it only shows that it runs."""
    tiny = {path: value for path, value in SMOKE.items() if not path.startswith("phases.")} if quick else {}
    return with_values(config, tiny | values)


def step_rows(dataset: IqaDataset, device: torch.device, quick: bool) -> Iterator[Row]:
    """(a)."""
    sizes = [(32, 8)] if quick else [(64, 32), (64, 64), (128, 64), (128, 256)]
    for (px, batch), precision in itertools.product(sizes, ("float32", "bfloat16")):
        config = sized(gada(1, 1, 1), quick, **{"data.crop_px": px, "data.batch": batch, "precision": precision})
        for number, settings in enumerate(config.phases):
            real, ready = (
                steps_a_second(phase_on(kind(dataset, device), config, number), 0.2 if quick else 3.0)
                for kind in (CropSource, InMemory)
            )
            size = f"{px} px, batch {min(batch, len(dataset))}, {precision}"
            yield f"step, {settings.name}", size, f"{real:.1f} steps/s", f"{real / ready:.2f} of in memory"


def protocol_rows(dataset: IqaDataset, device: torch.device, quick: bool) -> Iterator[Row]:
    """(b)."""
    for name in ("paper", "gada"):
        config = sized(with_recipe(paper_live.STUDY.base, name), quick)
        hours = 0.0
        for number, settings in enumerate(config.phases):
            phase = phase_on(CropSource(dataset, device), config, number)
            hours += settings.steps / steps_a_second(phase, 0.2 if quick else 5.0) / 3600
        steps = " + ".join(f"{settings.steps:,}" for settings in config.phases)
        size = f"recipe {name}, {config.data.crop_px} px, batch {config.data.batch}, {steps} steps"
        yield (
            "LIVE's protocol, ten splits",
            size,
            f"{SPLITS * hours:.1f} GPU-hours",
            f"steps alone, one trial at a time; {hours:.2f} hours a split",
        )


def scorer_on(device: torch.device, quick: bool) -> Scorer:
    """A scorer whose quality network has full width and random weights."""
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
    """(c)."""
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
    yield "score, from decoded pixels", size, f"{scored:.0f} images/s", f"{scored / 120:.2f} times the paper's 120"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        path.write_bytes(buffer.getvalue())
        since = time.perf_counter()
        done = sum(1 for _ in scorer.score_files([path] * count, batch, os.cpu_count() or 1))
        files = done / (time.perf_counter() - since)
    cores = f"{size}, JPEG, {os.cpu_count()} cores decode"
    yield "score, from files", cores, f"{files:.0f} images/s", f"{files / 120:.2f} times the paper's 120"


def sharing_rows(dataset: IqaDataset, device: torch.device, quick: bool) -> Iterator[Row]:
    """(d)."""
    steps = 30 if quick else 600
    values = {"evaluation.curve_points": 0, "evaluation.crops": 4}
    config = sized(TrainingConfig(phases=(direct(steps),)), quick, **values)
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
            "trials that share the device, direct",
            size,
            f"{rate:.0f} steps/s together",
            f"{rate / alone:.2f} times a single trial",
        )


def memory_rows(dataset: IqaDataset, device: torch.device, quick: bool) -> Iterator[Row]:
    """(e)."""
    for px, batch in [(32, 8)] if quick else [(64, 32), (128, 64), (128, 256)]:
        config = sized(gada(1, 1, 1), quick, **{"data.crop_px": px, "data.batch": batch})
        devices.free(device)
        devices.configure_backend(device)
        if device.type != "cuda":
            timing.probe(config, dataset, 1, Execution(str(device)))
            yield (
                "memory of a trial",
                f"{px} px, batch {batch}",
                f"{devices.peak_mb(device):.0f} MiB",
                "of this process",
            )
            continue
        peak = timing.peak_mb([(config, dataset)], Execution(str(device)))
        many = int(1 / devices.share(peak, devices.total_mb()))
        yield "memory of a trial", f"{px} px, batch {batch}", f"{peak:.0f} MiB", f"a study puts {many} on this GPU"


def curve_rows(dataset: IqaDataset, device: torch.device, quick: bool) -> Iterator[Row]:
    """(f)."""
    config = sized(recipe("paper", *((6, 4, 4) if quick else PAPER_STEPS)), quick)
    fold = make_splits(dataset.references, 1)[0].for_test()
    trial = Trial(config, fold, 0, dataset.fingerprint)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        result = run_trial(trial, dataset, store, Execution(str(device)))
        data = store.read(trial.signature, CURVES)
    assert data is not None
    frame = pd.read_csv(io.BytesIO(data))
    curve = frame[frame["name"] == "srocc"]
    points = ", ".join(
        f"{step:,}: {value:.3f}" for step, value in zip(curve["global_step"], curve["value"], strict=True)
    )
    size = f"{config.data.crop_px} px, batch {config.data.batch}, {config.steps:,} steps, {result.run.seconds:.0f} s"
    end = f"SROCC {result.metrics['srocc']:.3f}" if result.status == "finished" else f"diverged: {result.cause}"
    yield f"recipe paper on {dataset.name}", size, end, f"split 0; SROCC by step: {points}"


def compiled_rows(dataset: IqaDataset, device: torch.device, quick: bool) -> Iterator[Row]:
    """(g). In tiny sizes nothing is gained by kernels, which take minutes to make, so that steps are only traced."""
    compiler, seconds = ("aot_eager", 0.2) if quick else ("inductor", 3.0)
    for px, batch in [(32, 8)] if quick else [(64, 64), (128, 64)]:
        config = sized(gada(1, 1, 1), quick, **{"data.crop_px": px, "data.batch": batch})
        for number, settings in enumerate(config.phases):
            source = CropSource(dataset, device)
            without = steps_a_second(phase_on(source, config, number), seconds)
            torch.compiler.reset()
            phase, since = phase_on(source, config, number, compiler=compiler), time.perf_counter()
            phase.step(0, 0)
            devices.synchronize(device)
            waited = time.perf_counter() - since
            rate = steps_a_second(phase, seconds)
            yield (
                f"step, {settings.name}, compiled ({compiler})",
                f"{px} px, batch {min(batch, len(dataset))}, float32",
                f"{rate:.1f} steps/s",
                f"{rate / without:.2f} of not compiled; the first step took {waited:.0f} s",
            )


def main(
    device: Annotated[str, typer.Option(help="A torch device.")] = "cuda",
    quick: Annotated[bool, typer.Option(help="Tiny sizes, which only show that everything runs.")] = False,
    write: Annotated[bool, typer.Option(help="Write the table into benchmarks/README.md.")] = False,
    data_root: Annotated[
        Path | None,
        typer.Option(help="Folder of a manifest dataset for (f), such as live20; by default the demo images."),
    ] = None,
) -> None:
    """Measure everything, and print one table."""
    where = torch.device(device)
    if where.type == "cuda" and not devices.count():
        raise typer.BadParameter(
            "torch finds no GPU here; --device cpu --quick runs everything in tiny sizes on the CPU"
        )
    devices.configure_backend(where)
    dataset = load_dataset("demo", None, DataConfig())
    own = load_dataset("manifest", data_root, DataConfig()) if data_root else dataset
    parts = (
        step_rows(dataset, where, quick),
        protocol_rows(dataset, where, quick),
        scoring_rows(where, quick),
        sharing_rows(dataset, where, quick),
        memory_rows(dataset, where, quick),
        curve_rows(own, where, quick),
        compiled_rows(dataset, where, quick),
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
    """The device and versions of the numbers."""
    tiny = "; **tiny sizes, which only show that everything runs**" if quick else ""
    day = datetime.now(UTC).date()
    return f"{devices.name(device)}, {os.cpu_count()} cores, torch {torch.__version__}, demo images, {day}{tiny}:"


def table(rows: list[Row], above: str) -> str:
    """The rows as a Markdown table."""
    lines = [above, "", "| | | | |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def filled(text: str, table: str) -> str:
    """The text of README.md with the table between its markers.

    Raises:
        ValueError: for a text without the markers.
    """
    place = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not place.search(text):
        raise ValueError(f"README.md has no line '{BEGIN}' followed by a line '{END}', between which the table belongs")
    return place.sub(lambda _: f"{BEGIN}\n\n{table}\n\n{END}", text)


if __name__ == "__main__":
    typer.run(main)
