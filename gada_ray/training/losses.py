"""The losses of sections 3.1 to 3.3, one function an equation. All return a scalar, the mean over the batch.

The paper says that the generator minimises L_C - L_S, with both L log-likelihoods. Taken literally that would make
generated images unclassifiable and help the discriminator; Odena et al. [14], whom it cites, have the generator
maximise L_C - L_S. The losses here are negative log-likelihoods to be minimised: the discriminator minimises
-(L_S + L_C), the generator -L_C and the non-saturating form of +L_S.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gada_ray.evaluation.pooling import weighted_mean
from gada_ray.model.layers import BLOCK_PX, cosines
from gada_ray.system import devices

GREY_LEVEL = 1 / 255


def source_loss(form: str, real: Tensor, generated: Tensor, reduction: str = "mean") -> Tensor:
    """-L_S (Eq. 1) for the discriminator, from its logits of real `[n]` and generated `[m]` images.

    The "mean" of the two expectations, so that its size does not depend on the form's convention; or their "sum".
    """
    match form:
        case "bce":
            total = F.softplus(-real).mean() + F.softplus(generated).mean()
        case "hinge":
            total = F.relu(1 - real).mean() + F.relu(1 + generated).mean()
        case _:  # lsgan
            total = (real - 1).square().mean() + generated.square().mean()
    return total if reduction == "sum" else total / 2


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


def weighted_quality(quality: Tensor, weight: Tensor, crops: int) -> Tensor:
    """Quality of images `[n / crops]` from those of their crops `[n]`, which follow each other, and their weights."""
    return weighted_mean(quality.view(-1, crops), weight.view(-1, crops))


def reconstruction_loss(distorted: Tensor, generated: Tensor) -> Tensor:
    """The L1 term of section 3.2 between distorted images y and G(z, x, c, q), both `[n, 3, h, w]` in [0, 1]."""
    return F.l1_loss(generated, distorted)


def statistics_loss(generated: Sequence[Tensor], distorted: Sequence[Tensor], image_px: int) -> Tensor:
    """How far generated crops are from distorted ones in the statistics of some maps of both, `[n, c, h', w']` each.

    Differences of mean and standard deviation over a crop, a pair at a time, in units of the standard deviation that
    the map has over the distorted crops. Maps that are finer than squares of 8x8 pixels give both for every place in
    the square by itself, so that JPEG's blocks show. `image_px` is the side of a crop. The mean over all maps. Not in
    the paper: the L1 term alone answers noise by none, and detail that cannot be foreseen by blur.
    """
    total = torch.zeros((), device=generated[0].device)
    for ours, theirs in zip(generated, distorted, strict=True):
        height, width = theirs.shape[2:]
        places = max(1, BLOCK_PX * height // image_px)
        if height % places or width % places:  # maps that do not keep to the squares
            places = 1
        with torch.no_grad():
            mean, square = _moments(theirs, places)
            unit = (square.mean((0, 1)) - mean.mean((0, 1)).square()).clamp(min=1e-6).sqrt()
            deviation = _deviation(mean, square)
        our_mean, our_square = _moments(ours, places)
        difference = (our_mean - mean).abs() + (_deviation(our_mean, our_square) - deviation).abs()
        total = total + (difference / unit).mean()
    return total / len(generated)


def _moments(maps: Tensor, places: int) -> tuple[Tensor, Tensor]:
    """Mean and mean square `[n, places^2, c]` over crops, for every place of a repeating square by itself."""
    n, c, height, width = maps.shape
    values = maps.float().permute(0, 2, 3, 1).contiguous()

    def mean(values: Tensor) -> Tensor:
        rows = values.reshape(n, height // places, places * width * c).mean(1)
        return rows.reshape(n * places, width // places, places * c).mean(1).reshape(n, places * places, c)

    return mean(values), mean(values.square())


def _deviation(mean: Tensor, square: Tensor) -> Tensor:
    return ((square - mean.square()).clamp(min=0) + 1e-6).sqrt()


def spectrum_loss(generated: Tensor, distorted: Tensor) -> Tensor:
    """How far apart crops `[n, 3, h, w]` in [0, 1] are in the strength of every cosine coefficient of 8x8 squares.

    The mean absolute difference of the logarithms of standard deviations over a crop's squares, a pair at a time; what
    is weaker than a grey level counts as none. A quality network that normalises contrast sees detail of one grey level.
    """
    with torch.no_grad():
        wanted = _spectrum(distorted).add(GREY_LEVEL**2).log()
    return (_spectrum(generated).add(GREY_LEVEL**2).log() - wanted).abs().mean() / 2


def _spectrum(images: Tensor) -> Tensor:
    """Variances `[n, 3, 64]` of the cosine coefficients of 8x8 squares."""
    n, c, height, width = images.shape
    # Around the crop's mean, which no variance depends on: else the first coefficient's square hides a grey level.
    images = images - images.detach().mean((2, 3), keepdim=True)
    squares = images.reshape(n, c, height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX)
    squares = squares.permute(0, 1, 2, 4, 3, 5).reshape(n, c, -1, BLOCK_PX**2)
    with devices.float32(images.device):  # a small difference of large numbers
        found = squares.float() @ cosines(images.device).T
        return (found.square().mean(2) - found.mean(2).square()).clamp(min=0)


def weighted(terms: Sequence[Tensor], shares: Sequence[float], reduction: str = "mean") -> Tensor:
    """A loss over kinds of crops, each with its share: their "mean", or their "sum" as in the paper.

    With the mean a share does not act as a learning rate.
    """
    total = torch.stack([share * term for term, share in zip(terms, shares, strict=True)]).sum()
    return total if reduction == "sum" else total / sum(shares)
