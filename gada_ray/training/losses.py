"""The losses of sections 3.1 to 3.3, one function an equation. All return a scalar, the mean over the batch.

The paper says that the generator minimises L_C - L_S, with both L log-likelihoods. Taken literally that would make
generated images unclassifiable and help the discriminator; Odena et al. [14], whom it cites, have the generator
maximise L_C - L_S. The losses here are negative log-likelihoods to be minimised: the discriminator minimises
-(L_S + L_C), the generator -L_C and the non-saturating form of +L_S.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def source_loss(form: str, real: Tensor, generated: Tensor) -> Tensor:
    """-L_S (Eq. 1) for the discriminator, from its logits of real `[n]` and generated `[m]` images.

    The mean of the two expectations, so that its size does not depend on the form's convention.
    """
    match form:
        case "bce":
            return (F.softplus(-real).mean() + F.softplus(generated).mean()) / 2
        case "hinge":
            return (F.relu(1 - real).mean() + F.relu(1 + generated).mean()) / 2
        case _:  # lsgan
            return ((real - 1).square().mean() + generated.square().mean()) / 2


def generator_source_loss(form: str, generated: Tensor) -> Tensor:
    """The generator's side of L_S (Eq. 1): generated images `[n]` should be judged real."""
    match form:
        case "bce":
            return F.softplus(-generated).mean()
        case "hinge":
            return -generated.mean()
        case _:  # lsgan
            return (generated - 1).square().mean()


def class_loss(logits: Tensor, distortion: Tensor) -> Tensor:
    """-L_C (Eq. 2) on one kind of image: cross-entropy of logits `[n, k]` with classes `[n]`."""
    return F.cross_entropy(logits, distortion)


def quality_loss(form: str, predicted: Tensor, quality: Tensor) -> Tensor:
    """L_E (Eq. 3) of predicted and true quality `[n]`: "mse" as in the paper, "l1", or "huber" (bend at 0.1)."""
    match form:
        case "mse":
            return F.mse_loss(predicted, quality)
        case "l1":
            return F.l1_loss(predicted, quality)
        case _:  # huber
            return F.huber_loss(predicted, quality, delta=0.1)


def reconstruction_loss(distorted: Tensor, generated: Tensor) -> Tensor:
    """The L1 term of section 3.2 between distorted images y and G(z, x, c, q), both `[n, 3, h, w]` in [0, 1]."""
    return F.l1_loss(generated, distorted)


def weighted(real: Tensor | None, generated: Tensor | None, weight: float) -> Tensor:
    """The mean of a loss over real and generated crops, a generated one counting `weight`.

    A mean, not the paper's sum, so that the weight does not act as a learning rate.
    """
    if real is None or generated is None:
        only = real if generated is None else generated
        assert only is not None
        return only
    return torch.add(real, generated, alpha=weight) / (1 + weight)
