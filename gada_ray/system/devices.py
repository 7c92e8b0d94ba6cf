"""What a run on a GPU does differently. All other code is the same on both devices.

torch is imported where it is needed, so that a machine without a GPU driver is recognised without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import math
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CONTEXT_MB = 600.0
"""MiB of a GPU that a process takes besides its tensors."""
SPARE = 0.1
"""Fraction of a GPU's memory that trials leave free."""
MAX_SHARING = 8
"""Trials on one GPU; more only wait for each other."""
PIXELS_FRACTION = 0.25
"""Largest fraction of a GPU's memory for one set of pixels. Larger sets stay in host memory, where all trials of a node
share one copy."""


def count() -> int:
    """Number of GPUs that torch can use here. No other program, such as `nvidia-smi`, is run."""
    if "torch" not in sys.modules and not _driver():
        return 0
    import torch

    return torch.cuda.device_count()


@functools.cache
def _driver() -> bool:
    """Whether a GPU's driver may be installed, as far as can be told without torch."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():  # the latter is AMD's
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def default() -> str:
    """The device to use where none was asked for."""
    return "cuda" if count() else "cpu"


def images_at_once(device: torch.device) -> int | None:
    """Default number of images in a scoring batch: 8 on a GPU; None, one image a core, on a CPU."""
    return None if device.type == "cpu" else 8


def environment(device: str, deterministic: bool) -> dict[str, str]:
    """Environment variables of a process that trains on a device, which are to be set before it loads torch."""
    if device == "cpu":
        return {"CUDA_VISIBLE_DEVICES": ""}
    # Matrix products on several streams give the same bits again if cuBLAS has such a workspace (NVIDIA, cuBLAS,
    # "Results reproducibility"). torch asks for it.
    return {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if deterministic else {}


def configure_backend(device: torch.device, deterministic: bool = False) -> None:
    """Set the arithmetic of a training on a device, and measure its peak memory from here on.

    With `deterministic`, a GPU takes kernels that give the same bits again. Operations that have none give a warning.
    The process needs `environment`.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.init()  # which nothing else does for a device with an index
        torch.cuda.reset_peak_memory_stats(device)
        # Convolutions take TF32. Matrix products do not: local means and spectra are small differences of large
        # numbers, and linear layers take a negligible part of a step.
        _convolutions().fp32_precision = "tf32"
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        # Shapes are fixed, so that the fastest kernel can be searched. The fastest one may differ from run to run.
        torch.backends.cudnn.benchmark = not deterministic
        torch.backends.cudnn.deterministic = deterministic
        torch.use_deterministic_algorithms(deterministic, warn_only=True)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device. A GPU takes it, in the order of its work, without being waited for.

    That needs pinned memory; from other memory the copy would first wait for all steps that the GPU has yet to do.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Arithmetic of convolutions and linear layers: "float32" or "bfloat16"."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


@contextlib.contextmanager
def float32(device: torch.device) -> Iterator[None]:
    """Full float32 arithmetic for what follows: neither autocast nor TF32."""
    import torch

    with torch.autocast(device.type, enabled=False):
        # Compiled code cannot change the settings of cuDNN, so that networks have no convolution in here when compiled.
        if device.type != "cuda" or torch.compiler.is_compiling():
            yield
            return
        settings = _convolutions()
        before, settings.fp32_precision = settings.fp32_precision, "ieee"
        try:
            yield
        finally:
            settings.fp32_precision = before


def _convolutions() -> Any:
    """The settings of cuDNN's convolutions, which torch makes too late for a type checker to know."""
    import torch

    return torch.backends.cudnn.conv  # type: ignore[attr-defined]


def noise_generator(cpu: torch.Generator, device: torch.device, seed: int) -> torch.Generator:
    """A generator of noise on a device: the CPU's own, or one on a GPU with a seed of its own.

    A step draws millions of normal numbers. Drawn on the CPU and copied, they would take longer than the step.
    """
    import torch

    return cpu if device.type == "cpu" else torch.Generator(device).manual_seed(seed)


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished its work, so that it can be timed."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def name(device: torch.device) -> str:
    """Name of a device in results: the GPU's model, or "cpu"."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_mb(device: torch.device) -> float:
    """Peak memory in MiB: of tensors on a GPU since `configure_backend`; of the whole process on a CPU."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def reserved_mb(device: torch.device) -> float:
    """Peak MiB of a GPU that this process reserved for tensors, with what its allocator keeps; 0 on a CPU."""
    import torch

    return torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else 0.0


def free(device: torch.device) -> None:
    """Release the memory of tensors that are no longer used, which a GPU's allocator keeps."""
    import torch

    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def total_mb() -> float:
    """Memory of the first GPU in MiB."""
    import torch

    return float(torch.cuda.get_device_properties(0).total_memory / 2**20)


def holds(pixels: int, total_mb: float) -> bool:
    """Whether a GPU of `total_mb` MiB holds so many bytes of pixels in its own memory."""
    return pixels / 2**20 <= PIXELS_FRACTION * total_mb


def leaves_on_host(pixels: int, device: torch.device) -> bool:
    """Whether so many bytes of pixels stay in host memory, since they are too large for a GPU."""
    return device.type == "cuda" and not holds(pixels, total_mb())


def share(peak_mb: float, total_mb: float) -> float:
    """The fraction of a GPU to request, so that as many trials share it as fit with a tenth to spare; at most eight.

    Ray counts in steps of 0.0001, and k shares of 1/k must not add up to more than 1.
    """
    fitting = int((1 - SPARE) * total_mb / (peak_mb + CONTEXT_MB))
    return math.floor(10_000 / max(1, min(fitting, MAX_SHARING))) / 10_000
