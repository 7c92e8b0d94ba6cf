from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from gada_ray.model import layers
from gada_ray.training import losses

REAL, GENERATED = torch.tensor([2.0, 1.0]), torch.tensor([-1.5, 0.5])


def test_the_source_loss_is_the_negative_log_likelihood_of_eq_1():
    p_real, p_fake = torch.sigmoid(REAL), 1 - torch.sigmoid(GENERATED)
    expected = -(p_real.log().mean() + p_fake.log().mean()) / 2
    torch.testing.assert_close(losses.source_loss("bce", REAL, GENERATED), expected)


def test_the_class_loss_is_the_negative_log_likelihood_of_eq_2():
    logits, classes = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), torch.tensor([1, 2])
    expected = -torch.log_softmax(logits, 1)[[0, 1], classes].mean()
    torch.testing.assert_close(losses.class_loss(logits, classes), expected)


def test_the_quality_loss_is_the_squared_error_of_eq_3():
    predicted, quality = torch.tensor([0.2, 0.9]), torch.tensor([0.5, 0.5])
    assert losses.quality_loss("mse", predicted, quality) == pytest.approx((0.09 + 0.16) / 2)
    assert losses.quality_loss("l1", predicted, quality) == pytest.approx(0.35)
    assert losses.quality_loss("huber", predicted, quality) == pytest.approx(0.1 * (0.25 + 0.35) / 2)


def test_the_reconstruction_loss_is_the_mean_absolute_difference():
    y = torch.rand(2, 3, 4, 4)
    assert losses.reconstruction_loss(y, y) == 0
    assert losses.reconstruction_loss(y, y + 0.25) == pytest.approx(0.25)


@pytest.mark.parametrize("form", ["bce", "hinge", "lsgan"])
def test_correct_logits_have_a_lower_discriminator_loss_than_wrong_ones(form):
    right = losses.source_loss(form, torch.tensor([3.0]), torch.tensor([-3.0]))
    wrong = losses.source_loss(form, torch.tensor([-3.0]), torch.tensor([3.0]))
    assert right < wrong


@pytest.mark.parametrize("form", ["bce", "hinge", "lsgan"])
def test_the_generators_source_loss_falls_as_logits_of_its_images_rise(form):
    """The sign of the paper's "minimize L_C - L_S", as resolved in the module's docstring."""
    logit = torch.tensor([-0.5], requires_grad=True)
    losses.generator_source_loss(form, logit).backward()
    assert logit.grad is not None and logit.grad < 0


@pytest.mark.parametrize("form", ["bce", "hinge", "lsgan"])
def test_the_sum_over_real_and_generated_crops_is_twice_their_mean(form):
    mean, total = (losses.source_loss(form, REAL, GENERATED, reduction) for reduction in ("mean", "sum"))
    torch.testing.assert_close(total, 2 * mean)


def test_shares_weigh_the_sum_over_kinds_of_crops_and_the_mean_is_over_their_sum():
    terms = [torch.tensor(2.0), torch.tensor(4.0)]
    assert losses.weighted(terms, [1.0, 0.5], "sum") == pytest.approx(4.0)
    assert losses.weighted(terms, [1.0, 0.5]) == pytest.approx(4.0 / 1.5)


def test_a_discriminator_with_logits_of_0_has_a_loss_of_log_2():
    zero = torch.zeros(4)
    assert losses.source_loss("bce", zero, zero) == pytest.approx(math.log(2))
    assert losses.generator_source_loss("bce", zero) == pytest.approx(math.log(2))


def test_weighting_is_a_mean_over_real_and_generated():
    one, three = torch.tensor(1.0), torch.tensor(3.0)
    assert losses.weighted([one, three], [1, 1]) == 2
    assert losses.weighted([one, three], [1, 0]) == 1
    assert losses.weighted([one, three], [1, 0.5]) == pytest.approx(5 / 3)
    assert losses.weighted([three], [1]) == 3


def crops(seed=0):
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def blocky(images):
    """The mean of every square of 8x8 pixels, on the grid."""
    return F.interpolate(F.avg_pool2d(images, 8), scale_factor=8)


@pytest.mark.parametrize("loss", [losses.spectrum_loss, lambda g, y: losses.statistics_loss([g], [y], 32)])
def test_statistics_and_spectrum_are_0_for_the_same_crops_and_grow_with_blur_noise_and_blocks(loss):
    images = crops()
    assert loss(images, images) == 0
    for change in (
        lambda share: images + share * 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1)),
        lambda share: torch.lerp(images, F.avg_pool2d(images, 3, 1, 1), share),
        lambda share: torch.lerp(images, blocky(images), share),
    ):
        weak, strong = (float(loss(change(share), images)) for share in (0.2, 1.0))
        assert 0 < weak < strong


def test_the_statistics_loss_rewards_noise_where_the_distorted_crop_has_different_noise():
    """What the L1 term cannot: noise of the right strength is nearer than none."""
    reference = blocky(crops())
    noise = [0.1 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    truth, other = reference + noise[0], reference + noise[1]
    assert losses.reconstruction_loss(truth, reference) < losses.reconstruction_loss(truth, other)
    for loss in (losses.spectrum_loss, lambda g, y: losses.statistics_loss([g], [y], 32)):
        assert loss(other, truth) < loss(reference, truth)


def test_statistics_by_position_in_a_block_detect_blocking_and_statistics_of_the_whole_crop_do_not():
    """Detail at the edges of blocks, compared with as much detail at other places."""
    steps = torch.zeros(2, 3, 32, 32)
    steps[..., ::8] = 1.0
    shuffled = steps[..., torch.randperm(32, generator=torch.Generator().manual_seed(0))]
    assert losses.statistics_loss([shuffled], [steps], 32) > 0.1
    # As if the maps were those of an image eight times as large, with one position a block.
    assert losses.statistics_loss([shuffled], [steps], 256) == pytest.approx(0, abs=1e-6)


def test_maps_at_any_resolution_and_gradients_of_flat_crops_are_fine():
    flat = torch.full((2, 3, 32, 32), 0.5, requires_grad=True)
    maps = [flat, F.avg_pool2d(flat, 4), F.avg_pool2d(flat, 8)]
    (losses.statistics_loss(maps, [torch.rand_like(m) for m in maps], 32) + losses.spectrum_loss(flat, flat)).backward()
    assert flat.grad is not None and flat.grad.isfinite().all()


@pytest.mark.parametrize("brightness", [0.02, 0.5, 0.97])
def test_the_spectrum_is_the_variance_of_dct_coefficients_even_for_bright_and_nearly_flat_crops(brightness):
    images = brightness + 0.004 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    blocks = F.pixel_unshuffle(images.double(), 8).reshape(2, 3, 64, -1)
    expected = torch.einsum("kp,ncps->ncks", layers.dct_2d(images.device).double(), blocks).var(3, correction=0)
    torch.testing.assert_close(losses._spectrum(images).double(), expected, rtol=0.02, atol=1e-8)
