"""Time and memory of trainings, found by a few of their steps on this machine before they are trained."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from gada_ray.config import TrainingConfig
from gada_ray.errors import UserError, first_line
from gada_ray.study.definition import VariantPlan, selection
from gada_ray.study.inputs import Data
from gada_ray.study.price import Seconds, rest_kind, step_kind
from gada_ray.system import devices
from gada_ray.trials.identity import Execution, Trial

T = TypeVar("T")


class ProbeError(UserError, RuntimeError):
    """A training that this machine cannot do a step of; names the variant and what to do."""


class Probes:
    """Probes of a study's trainings.

    On a GPU they run in a process of its own, on a few of the images. It ends with the block, so that the process that
    runs the study holds nothing of the GPU while trials train.
    """

    def __init__(self, data: Data, execution: Execution, seed: int = 0) -> None:
        self._data, self._execution, self._seed = data, execution, seed
        self._on_gpu = execution.device != "cpu"
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def seconds(self, variant: str, config: TrainingConfig, known: Iterable[str] = ()) -> Seconds:
        """What steps and the rest of a training take, by kind; those that are `known` are left out."""
        from gada_ray.study import timing

        place = selection(config)
        dataset, fold = self._data.datasets[place], self._data.splits[place][0].for_test()
        images = len(dataset.rows_of(fold.held_out))
        if self._on_gpu:
            dataset = timing.sample(dataset, fold)
        known = dict.fromkeys(known, 0.0) if not isinstance(known, dict) else known
        found = self._call(variant, timing.probe, config, dataset, images, self._execution, known)
        if rest_kind(config) in found:
            trial = Trial(config, fold, self._seed, dataset.fingerprint)
            besides = self._call(variant, timing.besides, trial, dataset, self._execution, known | found)
            found[rest_kind(config)] += besides / len(config.phases)
        return found

    def share(self, variants: Sequence[VariantPlan]) -> float:
        """The fraction of a GPU that a trial asks for, so that as many trials share one as its memory allows."""
        from gada_ray.study import timing

        total = self._call("", devices.total_mb)
        peak, seen = 0.0, set[str]()
        for variant in variants:
            for config in variant.largest:
                kinds = {rest_kind(config), *(step_kind(config, number) for number in range(len(config.phases)))}
                if kinds <= seen:
                    continue
                seen |= kinds
                place = selection(config)
                dataset = self._data.datasets[place]
                few = timing.sample(dataset, self._data.splits[place][0].for_test())
                left_out = timing.pixels_mb(config, dataset, total) - timing.pixels_mb(config, few, total)
                found = self._call(variant.name, timing.peak_mb, [(config, few)], self._execution)
                peak = max(peak, found + left_out)
        if peak > total:
            raise ProbeError(
                f"a trial takes {peak:.0f} MiB of a GPU with {total:.0f} MiB, images included; make steps smaller "
                f"(--set data.batch=16), take smaller images (--set data.shorter_side=512) or a larger GPU"
            )
        return devices.share(peak, total)

    def slowdown(self, variant: str, config: TrainingConfig, sharing: int) -> float:
        """How many times as long a step takes while so many trials share a GPU.

        Two at a time are measured; each further one is taken to add as much time as the second.
        """
        from gada_ray.study import timing

        if sharing < 2:
            return 1.0
        place = selection(config)
        few = timing.sample(self._data.datasets[place], self._data.splits[place][0].for_test())
        with _named(variant):
            return 1 + (sharing - 1) * max(0.0, timing.together(config, few, self._execution) - 1)

    def _call(self, variant: str, function: Callable[..., T], *arguments: object) -> T:
        """Call a function where the device may be used.

        Raises:
            ProbeError: if the device has too little memory.
        """
        if not self._on_gpu:
            return function(*arguments)
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        with _named(variant):
            return self._pool.submit(function, *arguments).result()


@contextmanager
def _named(variant: str) -> Iterator[None]:
    """Say of which variant a step cannot be done, and what to do."""
    import torch

    try:
        yield
    except BrokenProcessPool:
        raise ProbeError(
            f"the process that tried a step of variant '{variant}' was killed, as happens where memory runs out; end "
            f"other programs on this machine, or leave the probe out by --gpus-per-trial 1"
        ) from None
    except torch.OutOfMemoryError as error:
        raise ProbeError(
            f"a step of variant '{variant}' does not fit into the memory of this machine's GPU ({first_line(error)}); "
            f"end other programs on the GPU, make steps smaller (such as --set data.batch=16), or run only the other "
            f"variants (--variant)"
        ) from None


def on_one_gpu(gpus: float) -> int:
    """Trials that share a GPU, each with this fraction of it; 1 without a GPU or with whole ones."""
    return max(1, int((1 + 1e-4) / gpus)) if 0 < gpus < 1 else 1
