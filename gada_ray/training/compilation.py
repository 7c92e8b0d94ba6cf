"""Forward passes of a training that torch.compile compiles. Their shapes are the same in every step of a phase.

Compiled kernels add numbers in another order, so that results differ in their last digits.
"""

from __future__ import annotations

import torch
from torch import nn

from gada_ray.model.layers import binomial, gaussian
from gada_ray.model.quality_network import Gada

MAX_VARIANTS = 64
"""Compiled variants of a forward pass, at most; there are a few for each phase and kind of crops. If shapes changed
from step to step there would be more, and torch would raise an error instead of computing without compilation."""


def compile_forward_passes(network: Gada, averaged: Gada, backend: str) -> None:
    """Let torch.compile compile generator, quality network and critic, and the averaged generator, at their first use.

    Names of weights stay as they are, and copies of a network are not compiled. `backend` is one of torch.compile's.
    """
    # They take a second to load, which only a compiled training needs.
    from torch._dynamo import config as tracing
    from torch._functorch import config as gradients

    tracing.recompile_limit = MAX_VARIANTS
    # The generator's gradients pass through a graph that has served the quality network's, which must not free it.
    gradients.donated_buffer = False
    for matrix in (binomial, gaussian):  # made once, instead of in every pass
        torch.compiler.assume_constant_result(matrix)
    parts: tuple[nn.Module | None, ...] = (network.generator, network.quality_network, network.critic)
    for part in (*parts, averaged.generator):
        if part is not None:
            # One graph each: what cannot be compiled is an error and not a silent change to uncompiled code.
            part.compile(backend=backend, fullgraph=True, dynamic=False)
