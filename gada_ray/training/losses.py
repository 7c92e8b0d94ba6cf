"""The losses of sections 3.1 to 3.3, one function for each equation. All return a scalar, the mean over the batch.

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
from gada_ray.model.layers import BLOCK_PX, dct_2d
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
    """The generator's side of L_S (Eq. 1), from the discriminator's logits of generated images `[n]`."""
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
    """Quality of images `[n / crops]` as the weighted mean over their consecutive crops `[n]`."""
    return weighted_mean(quality.view(-1, crops), weight.view(-1, crops))


def reconstruction_loss(distorted: Tensor, generated: Tensor) -> Tensor:
    """The L1 term of section 3.2 between distorted images y and G(z, x, c, q), both `[n, 3, h, w]` in [0, 1]."""
    return F.l1_loss(generated, distorted)


def statistics_loss(generated: Sequence[Tensor], distorted: Sequence[Tensor], image_px: int) -> Tensor:
    """Distance between statistics of feature maps of generated and of distorted crops, `[n, c, h', w']` each.

    Mean absolute difference of mean and standard deviation over a crop, pair by pair, in units of the standard
    deviation of the map over all distorted crops. For maps finer than 8x8 blocks both are computed for each position in
    a block separately, so that JPEG's blocks count. `image_px` is the side of a crop. The mean over all maps. Not in
    the paper: the L1 term alone is minimised by no noise at all, and by blur instead of detail that cannot be
    predicted.
    """
    total = torch.zeros((), device=generated[0].device)
    for ours, theirs in zip(generated, distorted, strict=True):
        height, width = theirs.shape[2:]
        positions = max(1, BLOCK_PX * height // image_px)
        if height % positions or width % positions:  # maps that do not align with the blocks
            positions = 1
        with torch.no_grad():
            mean, square = _moments(theirs, positions)
            scale = (square.mean((0, 1)) - mean.mean((0, 1)).square()).clamp(min=1e-6).sqrt()
            deviation = _deviation(mean, square)
        our_mean, our_square = _moments(ours, positions)
        difference = (our_mean - mean).abs() + (_deviation(our_mean, our_square) - deviation).abs()
        total = total + (difference / scale).mean()
    return total / len(generated)


def _moments(maps: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """Mean and mean square `[n, positions^2, c]` over a crop, for each position in a block."""
    n, c, height, width = maps.shape
    values = maps.float().permute(0, 2, 3, 1).contiguous()

    def mean(values: Tensor) -> Tensor:
        rows = values.reshape(n, height // positions, positions * width * c).mean(1)
        return (
            rows.reshape(n * positions, width // positions, positions * c).mean(1).reshape(n, positions * positions, c)
        )

    return mean(values), mean(values.square())


def _deviation(mean: Tensor, square: Tensor) -> Tensor:
    return ((square - mean.square()).clamp(min=0) + 1e-6).sqrt()


def spectrum_loss(generated: Tensor, distorted: Tensor) -> Tensor:
    """Distance between DCT spectra of crops `[n, 3, h, w]` in [0, 1], over 8x8 blocks. Not in the paper.

    The mean absolute difference of log standard deviations of each coefficient over a crop, pair by pair. One grey
    level is added to every variance: local normalisation would amplify weaker detail, which 8-bit files do not have.
    """
    with torch.no_grad():
        target = _spectrum(distorted).add(GREY_LEVEL**2).log()
    return (_spectrum(generated).add(GREY_LEVEL**2).log() - target).abs().mean() / 2


def _spectrum(images: Tensor) -> Tensor:
    """Variances `[n, 3, 64]` of the DCT coefficients of 8x8 blocks."""
    n, c, height, width = images.shape
    # Variances do not depend on the crop's mean. Without subtraction, the square of the first coefficient would hide a
    # grey level.
    images = images - images.detach().mean((2, 3), keepdim=True)
    blocks = images.reshape(n, c, height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX)
    blocks = blocks.permute(0, 1, 2, 4, 3, 5).reshape(n, c, -1, BLOCK_PX**2)
    with devices.float32(images.device):  # a small difference of large numbers
        coefficients = blocks.float() @ dct_2d(images.device).T
        return (coefficients.square().mean(2) - coefficients.mean(2).square()).clamp(min=0)


def weighted(terms: Sequence[Tensor], shares: Sequence[float], reduction: str = "mean") -> Tensor:
    """A loss over real and generated crops, each weighted by its share: their "mean", or their "sum" as in the paper.

    With the mean, a share does not act as a learning rate.
    """
    total = torch.stack([share * term for term, share in zip(terms, shares, strict=True)]).sum()
    return total if reduction == "sum" else total / sum(shares)
