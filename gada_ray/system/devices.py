"""All that a run on a GPU does differently. Everything else is the same code on both.

Where a machine has no GPU: pinning is left out, and nothing is waited for; autocast is the CPU's own. torch is loaded
when it is needed, so that a machine without a GPU's driver is known without it.
"""

from __future__ import annotations

import ctypes
import functools
import math
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CONTEXT_MB = 600.0
"""What a process takes of a GPU besides its tensors."""
SPARE = 0.1
"""Share of a GPU's memory that trials leave free."""
MAX_SHARING = 8
"""Trials on one GPU; more only wait for each other."""


def count() -> int:
    """GPUs that torch can use here. Neither `nvidia-smi` nor any other program is asked."""
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
    """Images to quality network in one batch where none was asked for: enough to fill a GPU; None, one a core, on a CPU."""
    return None if device.type == "cpu" else 8


def configure_backend(device: torch.device) -> None:
    """Choose what a training on a device computes with, and count its memory from here on."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        # TF32 is what GPUs have for float32 convolutions; shapes are fixed, so the fastest kernel can be searched.
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True


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


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given, so that its time can be taken."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def name(device: torch.device) -> str:
    """What a result says of its device."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_mb(device: torch.device) -> float:
    """MiB that tensors took at most: of a GPU since `settle`; on a CPU, of all the process."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def reserved_mb(device: torch.device) -> float:
    """MiB of a GPU that this process took at most for tensors, with what its allocator keeps; 0 on a CPU."""
    import torch

    return torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else 0.0


def free(device: torch.device) -> None:
    """Give back memory that the allocator keeps."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()


def total_mb() -> float:
    """MiB of the first GPU."""
    import torch

    return float(torch.cuda.get_device_properties(0).total_memory / 2**20)


def share(peak_mb: float, total_mb: float) -> float:
    """The fraction of a GPU to ask for, so that as many trials share it as fit with a tenth to spare; at most eight.

    Ray counts in steps of 0.0001, and k shares of 1/k must not add up to more than 1.
    """
    fitting = int((1 - SPARE) * total_mb / (peak_mb + CONTEXT_MB))
    return math.floor(10_000 / max(1, min(fitting, MAX_SHARING))) / 10_000
