from __future__ import annotations

import io
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor, nn

from gada_ray import ModelConfig
from gada_ray.model import layers
from gada_ray.model.generator import (
    GATE_SCALE,
    LARGEST_STEP,
    MIDDLE,
    ColourTransform,
    ModulatedGenerator,
    Quantisation,
    make_generator,
)
from gada_ray.model.layers import InputNormalisation, Views, gaussian, local_mean
from gada_ray.model.quality_network import QualityNetwork

SMALL: dict[str, Any] = {
    "backbone_widths": (4, 8, 8),
    "feature_maps": 16,
    "head_units": 8,
    "generator_widths": (4, 8, 8),
    "embedding": 16,
    "noise_dim": 4,
}


def weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("head", "norm", "normalisation"),
    list(
        itertools.product(
            ["gap", "valid", "flatten", "dense"], ["batch", "instance", "none", "spectral"], ["none", "mscn", "both"]
        )
    ),
)
def test_every_quality_network_has_outputs_for_every_image_and_passes_gradients_to_it(head, norm, normalisation):
    quality_network = QualityNetwork(ModelConfig(**SMALL, head=head, norm=norm, normalisation=normalisation), 5, 32)
    images = torch.rand(3, 3, 32, 32, requires_grad=True)
    outputs = quality_network(images)
    assert (outputs.source.shape, outputs.distortion.shape, outputs.quality.shape) == ((3,), (3, 5), (3,))
    (outputs.source.sum() + outputs.distortion.square().sum() + outputs.quality.sum()).backward()
    assert images.grad is not None and images.grad.isfinite().all() and images.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in quality_network.parameters())
    quality_network.eval()
    with torch.no_grad():
        torch.testing.assert_close(quality_network.evaluate(images)[0], quality_network(images).quality)


@pytest.mark.parametrize(
    ("condition_at", "skips", "upsampling", "noise_dim", "noise_map", "norm"),
    list(
        itertools.product(
            ["bottleneck", "input", "both"],
            [True, False],
            ["transpose", "resize"],
            [0, 16],
            [True, False],
            ["batch", "spectral"],
        )
    ),
)
def test_every_generator_makes_images_from_all_its_inputs(condition_at, skips, upsampling, noise_dim, noise_map, norm):
    values = {**SMALL, "noise_dim": noise_dim, "condition_at": condition_at, "skips": skips}
    config = ModelConfig(**values, generator="plain", upsampling=upsampling, noise_map=noise_map, norm=norm)
    generator = make_generator(config, 5)
    x = torch.rand(3, 3, 24, 24, requires_grad=True)
    q = torch.tensor([0.1, 0.5, 0.9], requires_grad=True)
    z = generator.draw_noise(3, 24, torch.Generator().manual_seed(0)).requires_grad_(noise_dim > 0)
    y = generator(z, x, torch.tensor([0, 4, 2]), q)
    assert y.shape == x.shape and y.dtype == torch.float32
    assert y.min() >= 0 and y.max() <= 1
    y.square().sum().backward()
    for reached in [x, q, *([z] if noise_dim else [])]:
        assert reached.grad is not None and reached.grad.abs().sum() > 0
    assert all(p.grad is not None for p in generator.parameters())


def modulated(noise_dim=8):
    """A modulated generator whose last layers do something."""
    generator = make_generator(ModelConfig(**{**SMALL, "noise_dim": noise_dim}), 5)
    for parameter in generator.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return generator


@pytest.mark.parametrize("noise_dim", [0, 8])
@pytest.mark.parametrize("size", [(24, 24), (64, 40)])
def test_a_modulated_generator_makes_images_from_all_its_inputs(noise_dim, size):
    generator = modulated(noise_dim)
    x = torch.rand(3, 3, *size, requires_grad=True)
    q = torch.tensor([0.1, 0.5, 0.9], requires_grad=True)
    z = torch.randn(3, 3 if noise_dim else 0, *size, requires_grad=True)
    y = generator(z, x, torch.tensor([0, 4, 2]), q)
    assert y.shape == x.shape and y.dtype == torch.float32
    assert y.min() >= 0 and y.max() <= 1
    y.square().sum().backward()
    for reached in [x, q, *([z] if noise_dim else [])]:
        assert reached.grad is not None and reached.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())


def test_a_modulated_generator_starts_at_the_reference_and_draws_noise_for_every_pixel_and_colour():
    generator = make_generator(ModelConfig(**SMALL), 5)
    z = generator.draw_noise(2, 32, torch.Generator().manual_seed(0))
    assert z.shape == (2, 3, 32, 32) and z.std() == pytest.approx(1, abs=0.05)
    x = torch.rand(2, 3, 32, 32)
    change = 255 * (generator(z, x, torch.tensor([0, 1]), torch.tensor([0.2, 0.8])) - x)
    assert change.std() < 0.6 and change.abs().max() < 4  # coefficients are whole grey levels


def quantised_by(steps: Tensor, images: Tensor) -> tuple[Quantisation, Tensor]:
    """A quantisation with steps `[3, 64]`, whatever the condition, and its images."""
    quantise = Quantisation(4)
    nn.init.constant_(quantise.share.bias, 10.0)  # nothing but rounded
    with torch.no_grad():
        quantise.linear.bias.copy_((steps.flatten() / (LARGEST_STEP - steps.flatten())).log() / GATE_SCALE)
    return quantise, quantise(images, torch.zeros(len(images), 4))


def test_quantisation_with_the_steps_of_jpeg_is_jpeg():
    """Beside Pillow's encoder, which rounds colours and pixels to whole numbers: a coefficient may fall otherwise."""
    y, x = np.mgrid[0:64, 0:64] / 64
    pixels = np.stack([0.5 + 0.3 * np.sin(9 * x * y), 0.3 + 0.5 * x, 0.6 - 0.3 * y * (x > 0.4)], axis=-1)
    pixels = (255 * pixels).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=10, subsampling=0)
    file.seek(0)
    coded = JpegImageFile(file)
    steps = torch.tensor([coded.quantization[0], coded.quantization[1], coded.quantization[1]]) / 255
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    theirs = torch.from_numpy(np.array(coded)).permute(2, 0, 1)[None] / 255
    _, ours = quantised_by(steps, images)
    assert (theirs - images).abs().mean() > 5 / 255
    by_square = F.avg_pool2d((ours.clamp(0, 1) - theirs).abs().mean(1), 8)
    assert (by_square < 1 / 255).float().mean() > 0.95


def test_quantisation_steps_approach_those_of_an_image_that_was_quantised_more_or_less():
    """Where most coefficients are small, as in photographs."""
    torch.manual_seed(0)
    quantise, some = Quantisation(4), torch.full((3, 64), 0.4)
    found = 0.1 * torch.distributions.Laplace(0.0, 1.0).sample((8, 192, 4, 4))
    images = F.pixel_shuffle(F.conv2d(found, quantise.inverse), 8)
    for factor in (0.5, 2.0):
        _, wanted = quantised_by(factor * some, images)
        quantise, ours = quantised_by(some, images)
        (ours - wanted).square().mean().backward()
        gradient = quantise.linear.bias.grad
        assert gradient is not None and -gradient.sum() * math.log(factor) > 0


def test_the_share_of_rounding_falls_where_rounding_raises_the_loss_and_grows_where_it_lowers_it():
    torch.manual_seed(0)
    images, steps = torch.rand(2, 3, 32, 32), torch.full((3, 64), 0.4)
    for wanted, sign in ((images, -1), (quantised_by(steps, images)[1].detach(), 1)):
        quantise, _ = quantised_by(steps, images)
        nn.init.zeros_(quantise.share.bias)
        (quantise(images, torch.zeros(2, 4)) - wanted).abs().mean().backward()
        gradient = quantise.share.bias.grad
        assert gradient is not None and -sign * gradient.item() > 0


def test_a_colour_transform_starts_as_the_identity_and_is_an_affine_transform_of_rgb():
    transform, images, condition = ColourTransform(4), torch.rand(2, 3, 8, 16), torch.rand(2, 4)
    assert torch.equal(transform(images, condition), images)
    nn.init.normal_(transform.linear.weight)
    change = transform.linear(condition)
    matrix, offset = change[:, :9].view(2, 3, 3), change[:, 9:]
    expected = images + torch.einsum("nij,njhw->nihw", matrix, images - MIDDLE) + offset[:, :, None, None]
    torch.testing.assert_close(transform(images, condition), expected)


@pytest.mark.parametrize("kind", ["mean shift", "contrast", "saturation"])
def test_a_generator_with_a_colour_transform_learns_a_change_of_colours(kind):
    torch.manual_seed(0)
    generator = make_generator(ModelConfig(**SMALL, colour_transform=True), 3)
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.01, betas=(0.5, 0.99))
    x, classes, quality = 0.3 + 0.4 * torch.rand(4, 3, 16, 16), torch.zeros(4).long(), torch.full((4,), 0.5)
    wanted = {
        "mean shift": x + 0.2,
        "contrast": MIDDLE + 0.5 * (x - MIDDLE),
        "saturation": x.mean(1, keepdim=True) + 0.2 * (x - x.mean(1, keepdim=True)),
    }[kind]
    losses = []
    for _ in range(120):
        loss = (generator(torch.randn(4, 3, 16, 16), x, classes, quality) - wanted).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses) < 0.2 * (x - wanted).abs().mean().item()


def test_low_gains_remove_a_band_and_all_finer_ones_down_to_the_widest_average():
    generator = ModulatedGenerator(ModelConfig(**SMALL), 5)
    x, none = torch.rand(1, 3, 64, 64), torch.zeros(1, generator.bands, 64, 64)
    torch.testing.assert_close(generator._attenuated(x, none), x)
    for band in range(generator.bands):
        gains = none.clone()
        gains[:, band] = -30
        width = generator.BANDS_SD_PX[band]
        blurred = gaussian(64, width, x.device) @ x @ gaussian(64, width, x.device).T
        coarser = generator._attenuated(x, gains)
        assert (coarser - coarser.mean()).square().mean() <= (blurred - blurred.mean()).square().mean() * 1.001
    torch.testing.assert_close(coarser, blurred)


def test_a_gaussian_average_sums_to_1_and_has_its_width():
    matrix = gaussian(64, 2.8, torch.device("cpu"))
    torch.testing.assert_close(matrix.sum(1), torch.ones(64))
    places = torch.arange(64) - 32.0
    assert float((matrix[32] * places.square()).sum()) ** 0.5 == pytest.approx(2.8, rel=0.03)


@pytest.mark.parametrize("crop_px", [16, 24, 40, 64, 128])
@pytest.mark.parametrize("head", ["gap", "valid", "flatten", "dense"])
def test_any_crop_that_is_a_multiple_of_eight_works_with_every_head(crop_px, head):
    config = ModelConfig(**SMALL, head=head)
    images = torch.rand(2, 3, crop_px, crop_px)
    assert QualityNetwork(config, 3, crop_px)(images).quality.shape == (2,)


def test_sizes_of_the_backbone_are_those_of_the_papers_readings():
    assert weights(QualityNetwork(ModelConfig(normalisation="none"), 5, 128).backbone) == pytest.approx(
        0.53e6, rel=0.02
    )
    valid = QualityNetwork(ModelConfig(normalisation="none", head="valid"), 5, 128)
    assert weights(valid.backbone) == pytest.approx(33.95e6, rel=0.01)


def test_the_heads_are_those_of_section_3_3():
    quality_network = QualityNetwork(ModelConfig(), 24, 64)
    assert quality_network.discriminator.weight.shape == (1, 1024)
    shapes = {
        name: [p.shape for p in part.parameters() if p.ndim == 2] for name, part in quality_network.named_children()
    }
    assert shapes["classifier"] == [(128, 1024), (24, 128)]
    assert shapes["evaluator"] == [(128, 1024), (1, 128)]


def test_the_local_mean_is_a_binomial_convolution_with_reflected_borders():
    images = torch.rand(2, 3, 20, 31)
    taps = torch.tensor([1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0]) / 64
    window = torch.outer(taps, taps)[None, None]
    padded = F.pad(images.reshape(6, 1, 20, 31), (3, 3, 3, 3), mode="reflect")
    torch.testing.assert_close(local_mean(images), F.conv2d(padded, window).view(2, 3, 20, 31))


def test_local_normalisation_ignores_brightness_and_nearly_contrast():
    normalise = InputNormalisation("mscn")
    images = 0.2 + 0.3 * torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(normalise(images + 0.3), normalise(images), rtol=1e-3, atol=1e-4)
    assert (normalise(2 * images) - normalise(images)).abs().mean() < 0.5 * normalise(images).abs().mean()


def test_local_normalisation_of_flat_images_is_finite_with_finite_gradients():
    images = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    normalised = InputNormalisation("mscn")(images)
    assert normalised.abs().max() < 1e-3
    normalised.sum().backward()
    assert images.grad is not None and images.grad.isfinite().all()


def test_both_normalisations_are_concatenated():
    images = torch.rand(1, 3, 16, 16)
    both = InputNormalisation("both")(images)
    torch.testing.assert_close(both[:, :3], InputNormalisation("none")(images))
    torch.testing.assert_close(both[:, 3:], InputNormalisation("mscn")(images))


@pytest.mark.parametrize("kind", ["none", "mscn", "both"])
def test_views_are_computed_once_and_give_the_same_outputs_as_the_crops(kind, monkeypatch):
    made = []

    def counted(images):
        made.append(1)
        return local_mean(images)

    monkeypatch.setattr(layers, "local_mean", counted)
    quality_network = QualityNetwork(ModelConfig(**SMALL, normalisation=kind), 5, 32).eval()
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    views = Views(images)
    alone, shared = quality_network(images).quality, quality_network(views).quality
    assert torch.equal(alone, shared)
    (expected,) = torch.autograd.grad(alone.sum() + images.square().sum() + Views(images).contrast.sum(), images)
    made.clear()
    (gradient,) = torch.autograd.grad(shared.sum() + views.images.square().sum() + views.contrast.sum(), images)
    assert made == ([] if kind != "none" else [1, 1])
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_a_crop_size_first_used_in_inference_mode_can_be_trained_on():
    images = torch.rand(1, 3, 28, 20)
    with torch.inference_mode():
        tested = local_mean(images)
    trained = local_mean(images.clone().requires_grad_())
    trained.square().sum().backward()
    torch.testing.assert_close(trained.detach(), tested)
