"""Transfers between host and device in a training step, counted without a GPU; and the kinds of its operations.

The device is torch's "meta" device, whose tensors have shapes and no data. Whatever would make the host wait for a GPU
raises there: `.item()`, `.cpu()`, the truth of a tensor, `nonzero` and boolean masks. A dispatch mode records every
operation, so that copies to the device are counted, and those that bypass `devices.to_device` are found.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gada_ray import direct, recipe
from gada_ray.config import TrainingConfig
from gada_ray.data.crops import CropSource
from gada_ray.data.procedural import procedures
from gada_ray.model.generator import ModulatedGenerator, PlainGenerator
from gada_ray.system import devices
from gada_ray.training.phases import Phase, build
from gada_ray.training.procedural import ProceduralSource
from tests.toy import tiny, toy_dataset

META = torch.device("meta")
NAMES = ("jpeg", "gblur", "wn")
STEPS = 4


class Recorder(TorchDispatchMode):
    """Records copies to the device, tensors made of Python numbers on it, and shapes of convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[tuple[int, ...]] = []
        self.from_python: list[str] = []
        self.convolutions: list[str] = []
        self.handed_over: list[tuple[int, ...]] = []
        self.operations: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        on_device = [leaf for leaf in (*inputs, *tree_leaves(out)) if getattr(leaf, "device", None) == META]
        if not on_device:
            return out
        name = func.__name__
        self.operations.add(func.overloadpacket.__name__)
        if name.startswith("lift_fresh"):
            self.from_python.append(name)
        if name.startswith("convolution"):
            self.convolutions.append(f"{name} {[tuple(leaf.shape) for leaf in inputs]}")
        # A number of the host, such as a step size, is an argument of the kernel and not a copy.
        self.copies += [tuple(leaf.shape) for leaf in inputs if leaf.device.type == "cpu" and leaf.dim()]
        return out


@pytest.fixture(scope="module")
def handed_over() -> Iterator[list[tuple[int, ...]]]:
    """Shapes of the tensors that `devices.to_device` takes; the meta device has neither autocast nor generators."""
    shapes: list[tuple[int, ...]] = []
    to_device = devices.to_device

    def counted(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        shapes.append(tuple(tensor.shape))
        return to_device(tensor, device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "to_device", counted)
        patch.setattr(devices, "autocast", lambda device, precision: contextlib.nullcontext())
        patch.setattr(devices, "float32", lambda device: contextlib.nullcontext())
        patch.setattr(devices, "noise_generator", lambda cpu, device, seed: None)
        for kind in (ModulatedGenerator, PlainGenerator):
            patch.setattr(kind, "draw_noise", lambda self, n, crop_px, generator: _noise(self, n, crop_px))
        yield shapes


def _noise(generator: ModulatedGenerator | PlainGenerator, n: int, crop_px: int) -> torch.Tensor:
    if isinstance(generator, ModulatedGenerator):
        return torch.empty((n, 3, crop_px, crop_px), device=META)
    return torch.empty((n, generator.config.noise_dim, 1, 1), device=META)


def recorded(config: TrainingConfig, number: int, folder: Any, handed_over: list[tuple[int, ...]]) -> list[Recorder]:
    """Some steps of a phase on the device, after one that fills caches."""
    dataset = replace(toy_dataset(), distortions=NAMES)
    made = None
    if config.phases[number].uses_procedures:
        made = ProceduralSource(dataset, procedures(NAMES, dataset.name), folder, 16, META, extra=False)
    network = build(config, len(NAMES), 7).to(META)
    phase = Phase(network, CropSource(dataset, META), torch.arange(len(dataset)), config, number, procedural=made)
    phase.prepare()
    for optimiser in phase.optimisers.values():
        for group in optimiser.param_groups:  # the fused kernel does not exist here
            group.update(fused=False, foreach=True)
    steps = []
    for step in range(STEPS):
        handed_over.clear()
        with Recorder() as recorder:
            terms = phase.step(step, 0)
        assert all(term.device == META for term in terms.values())
        recorder.handed_over = list(handed_over)
        steps.append(recorder)
    return steps[1:]


RANKED = {"phases.direct.ranking.weight": 1.0, "phases.direct.ranking.pairs": 4}
GENERATED = {"phases.gan.ranking.weight": 1.0, "phases.gan.ranking.pairs": 4}
CASES: dict[str, tuple[TrainingConfig, int, int]] = {
    "phase 1": (tiny(), 0, 4),
    "phase 2": (tiny(), 1, 6),
    "phase 3": (tiny(), 2, 3),
    "phase 1, regression": (tiny(config=recipe("regression", 6, 5, 4)), 0, 4),
    "phase 1, paper": (tiny({"data.crop_px": 16, "data.batch": 4}, recipe("paper", 6, 5, 4)), 0, 4),
    "phase 1, pairs of the generator": (tiny({**GENERATED, "phases.gan.ranking.made_by": "generator"}), 0, 7),
    "phase 1, pristine references": (tiny({"data.pristine_fraction": 0.5}), 0, 6),
    "phase 1, procedural distortions": (tiny({"phases.gan.real_images": "procedural"}), 0, 4),
    "direct": (tiny(config=TrainingConfig(phases=(direct(4),))), 0, 3),
    "direct, procedural pairs": (tiny(RANKED, TrainingConfig(phases=(direct(4),))), 0, 6),
    "phase 2, procedural images": (tiny({"phases.augmentation.generated_by": "procedural"}), 1, 6),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory, handed_over) -> tuple[list[Recorder], int]:
    """The recorded steps of a phase, and how many tensors a step copies."""
    config, number, copies = CASES[request.param]
    return recorded(config, number, tmp_path_factory.mktemp("cache"), handed_over), copies


def test_a_step_only_copies_a_few_small_tensors_to_the_device_and_never_waits_for_it(case):
    steps, copies = case
    for recorder in steps:
        assert recorder.copies == recorder.handed_over, "a copy that bypasses devices.to_device waits for the device"
        assert len(recorder.copies) == copies
        assert max(map(len, recorder.copies)) <= 2, "classes, qualities and corners, never crops or noise"
        assert recorder.from_python == []


def test_convolutions_have_the_same_shapes_in_every_step_so_that_kernels_are_searched_once(case):
    first, *others = (recorder.convolutions for recorder in case[0])
    assert first and all(other == first for other in others)


WITHOUT_DETERMINISTIC_KERNEL = {
    *(f"reflection_pad{n}d_backward" for n in (1, 2, 3)),
    *(f"_adaptive_avg_pool{n}d_backward" for n in (2, 3)),
    *("avg_pool3d_backward", "adaptive_max_pool2d_backward", "max_unpool2d", "max_unpool3d", "nll_loss2d_forward"),
    *(f"fractional_max_pool{n}d_backward" for n in (2, 3)),
    *(f"upsample_{n}_backward" for n in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")),
    *("grid_sampler_2d_backward", "grid_sampler_3d_backward", "_ctc_loss_backward", "_embedding_bag_dense_backward"),
    *("put", "put_", "histc", "bincount", "median", "nanmedian", "kthvalue", "scatter_reduce", "scatter_reduce_"),
}
"""Operations that `torch.use_deterministic_algorithms` (torch 2.15) lists as without a deterministic GPU kernel."""


def test_every_operation_of_a_step_has_a_deterministic_kernel_on_a_gpu(case):
    operations = case[0][0].operations
    assert {"convolution", "convolution_backward"} <= operations
    assert not operations & WITHOUT_DETERMINISTIC_KERNEL


def test_the_decoder_that_resizes_is_the_exception_that_the_docs_name(tmp_path, handed_over):
    values = {"model.generator": "plain", "model.upsampling": "resize"}
    (recorder, *_) = recorded(tiny(values), 0, tmp_path, handed_over)
    assert recorder.operations & WITHOUT_DETERMINISTIC_KERNEL == {"reflection_pad2d_backward"}


def test_waiting_for_the_device_would_be_found():
    for wait in (torch.Tensor.item, torch.Tensor.cpu, bool, torch.Tensor.nonzero, lambda tensor: tensor[tensor > 0]):
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait(torch.zeros(1, device=META))
    with Recorder() as recorder:
        torch.tensor([1.0], device=META)
        torch.zeros(2, 3).to(META)
    assert recorder.from_python == ["lift_fresh.default"] and recorder.copies == [(2, 3)]
