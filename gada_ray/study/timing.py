"""What steps of a training take of time and memory, measured on this machine. `probes` says where it is run."""

from __future__ import annotations

import dataclasses
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch

from gada_ray.config import TrainingConfig
from gada_ray.data import sampling
from gada_ray.data.crops import CropSource
from gada_ray.data.dataset import IqaDataset, Photographs
from gada_ray.data.procedural import procedures
from gada_ray.data.splits import Fold
from gada_ray.evaluation import protocol
from gada_ray.study.price import Seconds, rest_kind, step_kind
from gada_ray.system import devices
from gada_ray.training.phases import Phase, build
from gada_ray.training.procedural import ProceduralSource, prepared_bytes
from gada_ray.trials.identity import Execution, Trial
from gada_ray.trials.run import run_trial
from gada_ray.trials.store import Store

PROBE_S = 0.25
"""Seconds for which a step is repeated to time it, after one that warms up."""
TOGETHER_S = 2.0
"""Seconds for which steps of two trainings are timed at the same time."""
WAIT_S = 300.0
"""Seconds for which one of two processes waits for the other to start."""
OF_A_CLASS = 2
"""Images of every class in a sample, from the training part and as many from the held-out one."""
PHOTOGRAPHS = 8
"""Unlabelled photographs in a sample."""


def probe(
    config: TrainingConfig, dataset: IqaDataset, images: int, execution: Execution, known: Iterable[str] = ()
) -> Seconds:
    """Time a few steps of every phase, and one batch of test crops, on the real data; nothing is kept.

    `images` is the number of held-out images. Parts whose kinds are `known` are left out.
    """
    torch.set_num_threads(execution.threads)
    device = torch.device(execution.device)
    source, rows = CropSource(dataset, device), _rows(config, dataset)
    network = build(config, len(dataset.distortions), 0)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    seconds = dict.fromkeys(known, 0.0)
    pictures = _undistorted_pictures(config, dataset, device)
    for number in range(len(config.phases)):
        if step_kind(config, number) not in seconds:
            training = Phase(network, source, rows, config, number, procedural=pictures)
            training.prepare()
            seconds[step_kind(config, number)] = _time(lambda step: training.step(step, 0), device)  # noqa: B023
    if rest_kind(config) not in seconds:
        crops = config.evaluation.crops
        some = rows[: max(1, protocol.CROPS_AT_ONCE // crops)]
        corners = protocol.windows(dataset, source, some, config)
        once = _time(lambda _: protocol.predict(network.quality_network, source, some, corners, config, crops), device)
        looks = 1 + max(0, config.evaluation.curve_points - 1) * min(1.0, config.evaluation.curve_crops / crops)
        seconds[rest_kind(config)] = looks * once * images / len(some)
    devices.free(device)
    return {kind: value for kind, value in seconds.items() if kind not in set(known)}


def _rows(config: TrainingConfig, dataset: IqaDataset) -> torch.Tensor:
    """Every image of a dataset, several times where it is a `sample` with fewer than a step needs."""
    return torch.arange(max(len(dataset), config.data.batch)) % len(dataset)


def _undistorted_pictures(config: TrainingConfig, dataset: IqaDataset, device: torch.device) -> ProceduralSource | None:
    """Pictures in place of procedural distortions, where any phase uses them: a step takes as long on them.

    They are not distorted, since real coders take seconds, and are not kept.
    """
    using = [phase for phase in config.phases if phase.uses_procedures]
    if not using:
        return None
    found = procedures(dataset.distortions, dataset.name, skip=any(phase.skip_unmatched for phase in using))
    same = [one and dataclasses.replace(one, make=_unchanged) for one in found]
    with tempfile.TemporaryDirectory() as folder:
        extra = any(phase.uses_extra for phase in using)
        return ProceduralSource(dataset, same, Path(folder), config.data.crop_px, device, extra=extra)


def _unchanged(image: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    return image


def sample(dataset: IqaDataset, fold: Fold) -> IqaDataset:
    """A few images of every class from both parts of a fold, with their references.

    A step on them, repeated to a whole batch, takes as long as one on all images, and as much memory but for the pixels
    (`pixels_mb`).
    """
    rows = np.sort(np.concatenate([_few(dataset, dataset.rows_of(part)) for part in (fold.train, fold.held_out)]))
    used = np.unique(dataset.reference[rows])
    numbers = np.concatenate([used, dataset.first + rows]) if dataset.has_references else rows
    shapes = dataset.shapes[numbers]
    few = dataclasses.replace(
        dataset,
        pixels=np.concatenate([dataset.image(int(number)).ravel() for number in numbers]),
        offsets=np.concatenate([[0], np.cumsum(3 * shapes.prod(axis=1))]).astype(np.int64),
        shapes=shapes,
        references=tuple(dataset.references[number] for number in used),
        images=tuple(dataset.images[row] for row in rows),
        reference=np.searchsorted(used, dataset.reference[rows]),
        distortion=dataset.distortion[rows],
        score=dataset.score[rows],
        published=None,
        extra=dataset.extra and _first(dataset.extra, PHOTOGRAPHS),
    )
    for kind in dataset.maps:
        sampling.maps(few, kind)
    return few


def _few(dataset: IqaDataset, rows: np.ndarray) -> np.ndarray:
    """The first rows of every class among some rows."""
    classes = dataset.distortion[rows]
    return np.concatenate([rows[classes == kind][:OF_A_CLASS] for kind in np.unique(classes)])


def _first(photographs: Photographs, count: int) -> Photographs:
    offsets = photographs.offsets[: count + 1]
    return Photographs(
        photographs.names[:count], photographs.pixels[: offsets[-1]], offsets, photographs.shapes[:count]
    )


def pixels_mb(config: TrainingConfig, dataset: IqaDataset, total_mb: float) -> float:
    """MiB of a GPU of `total_mb` MiB that the pixels of a trial take: its dataset, photographs and prepared pictures.

    Sets that stay in host memory take none.
    """
    sets = [dataset.pixels.nbytes, *prepared_bytes(config, dataset)]
    if config.evaluation.independent_evaluator_steps:
        sets.append(dataset.pixels.nbytes)  # the independent evaluator is a training inside another
    if config.uses_extra and dataset.extra is not None:
        sets.append(dataset.extra.pixels.nbytes)
    return sum(size for size in sets if devices.holds(size, total_mb)) / 2**20


def peak_mb(trainings: Iterable[tuple[TrainingConfig, IqaDataset]], execution: Execution) -> float:
    """MiB of its GPU that the largest of some trainings takes, found by steps of every kind among them."""
    device = torch.device(execution.device)
    devices.configure_backend(device, execution.deterministic)
    known: Seconds = {}
    again = 0.0
    for config, dataset in trainings:
        known |= probe(config, dataset, 1, execution, known)
        devices.free(device)  # what one network left must not count for the next
        if config.evaluation.independent_evaluator_steps:
            again = max(again, dataset.pixels.nbytes / 2**20)
    # The quality network of generated images is a training inside another, with pixels of its own.
    return devices.reserved_mb(device) + again


def besides(trial: Trial, dataset: IqaDataset, execution: Execution, seconds: Seconds) -> float:
    """Seconds that a trial takes besides its steps and its tests: network, first steps, pictures, files.

    Found by a trial of one step a phase, tested on one crop an image, whose result is thrown away. The dataset may be a
    `sample` of the trial's. Nothing is compiled, which would take minutes.
    """
    fold, extra = trial.fold, dataset.extra.fingerprint if dataset.extra else None
    phases = [
        phase.model_copy(
            update={"steps": 1} | ({"extra_fingerprint": extra} if phase.extra_fingerprint is not None else {})
        )
        for phase in trial.config.phases
    ]
    evaluation = trial.config.evaluation.model_copy(
        update={"crops": 1, "curve_crops": 1, "independent_evaluator_steps": 0}
    )
    known = set(dataset.references)
    train, held_out = (tuple(name for name in part if name in known) for part in (fold.train, fold.held_out))
    changes = {"phases": tuple(phases), "evaluation": evaluation}
    changes["data"] = trial.config.data.model_copy(update={"labelled_images": None})
    short = dataclasses.replace(
        trial,
        config=trial.config.model_copy(update=changes),
        fold=dataclasses.replace(fold, train=train, held_out=held_out),
        fingerprint=dataset.fingerprint,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = run_trial(short, dataset, Store(folder), dataclasses.replace(execution, compiler="")).run
    steps = sum(seconds[step_kind(trial.config, number)] for number in range(len(trial.config.phases)))
    return max(0.0, run.seconds - run.evaluation_seconds - steps)


def together(config: TrainingConfig, dataset: IqaDataset, execution: Execution) -> float:
    """How many times as long steps of a training take while a second one runs on the same device.

    Two processes do steps of the first phase, first one of them alone, then both.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=_meet_at, initargs=(context.Barrier(2, timeout=WAIT_S),)) as pool:
        both = [pool.submit(_alone_and_together, config, dataset, execution, leads) for leads in (True, False)]
        times = [one.result() for one in both]
    alone = next(own for own, _ in times if own is not None)
    return max(shared for _, shared in times) / alone


_barrier: Barrier | None = None
"""Where the two processes of `together` wait for each other."""


def _meet_at(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _alone_and_together(
    config: TrainingConfig, dataset: IqaDataset, execution: Execution, leads: bool
) -> tuple[float | None, float]:
    """Seconds a step while the other process waits, if this one leads, and while both work."""
    assert _barrier is not None
    torch.set_num_threads(execution.threads)
    device = torch.device(execution.device)
    source, rows = CropSource(dataset, device), _rows(config, dataset)
    network = build(config, len(dataset.distortions), 0)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = _undistorted_pictures(config, dataset, device)
    training = Phase(network, source, rows, config, 0, procedural=pictures)
    training.prepare()

    def step(number: int) -> object:
        return training.step(number, 0)

    _time(step, device)
    _barrier.wait()
    alone = _time(step, device, TOGETHER_S) if leads else None
    _barrier.wait()
    return alone, _time(step, device, TOGETHER_S)


def _time(action: Callable[[int], object], device: torch.device, least_s: float = PROBE_S) -> float:
    """Seconds a call, after one that warms up."""

    def once() -> None:
        action(0)
        devices.synchronize(device)

    once()
    since, calls, passed = time.perf_counter(), 0, 0.0
    while passed < least_s:
        once()
        calls, passed = calls + 1, time.perf_counter() - since
    return passed / calls
