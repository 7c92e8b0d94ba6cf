from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gada_ray.model.critic import PatchDiscriminator


def crops(n: int = 4, side: int = 32, strength: float = 0.1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """References, noisy crops of them, classes and qualities."""
    random = torch.Generator().manual_seed(0)
    reference = torch.rand(n, 3, side, side, generator=random)
    image = (reference + strength * torch.randn(n, 3, side, side, generator=random)).clamp(0, 1)
    return reference, image, torch.arange(n) % 3, torch.linspace(0.1, 0.9, n)


@pytest.mark.parametrize("side", [16, 24, 64])
def test_a_logit_for_every_crop_with_gradients_for_crop_and_all_weights(side):
    critic = PatchDiscriminator(3)
    reference, image, distortion, quality = crops(side=side)
    image.requires_grad_()
    logits = critic(reference, image, distortion, quality)
    assert logits.shape == (4,) and logits.dtype == torch.float32
    logits.square().sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in critic.parameters())
    assert critic.projection.weight.grad is not None and critic.projection.weight.grad.abs().sum() > 0


def test_bfloat16_arithmetic_gives_float32_logits_near_those_of_float32():
    critic = PatchDiscriminator(3).eval()
    exact = critic(*crops())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = critic(*crops())
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.02, rtol=0.05)


def test_it_compares_the_crop_with_its_reference():
    """Another reference changes the logit of a crop, and another crop changes that of a reference."""
    critic = PatchDiscriminator(3).eval()
    reference, image, distortion, quality = crops()
    logits = critic(reference, image, distortion, quality)
    assert not torch.allclose(logits, critic(reference.roll(1, 0), image, distortion, quality))
    assert not torch.allclose(logits, critic(reference, reference, distortion, quality))


def test_logits_depend_on_class_and_quality_once_the_projection_is_trained():
    critic = PatchDiscriminator(3).eval()
    reference, image, distortion, quality = crops()
    asked = ((distortion + 1) % 3, quality), (distortion, 1 - quality)
    first = critic(reference, image, distortion, quality)
    assert all(torch.equal(first, critic(reference, image, *other)) for other in asked)
    nn.init.normal_(critic.projection.weight)
    first = critic(reference, image, distortion, quality)
    assert all(not torch.allclose(first, critic(reference, image, *other)) for other in asked)


def test_the_convolutions_keep_a_spectral_norm_of_about_1_in_training():
    critic = PatchDiscriminator(3)
    optimiser = torch.optim.Adam(critic.parameters(), lr=0.01)
    for _ in range(50):
        optimiser.zero_grad()
        (-critic(*crops()).mean()).backward()
        optimiser.step()
    for convolution in critic.convolutions:
        assert isinstance(convolution, nn.Conv2d)
        assert torch.linalg.matrix_norm(convolution.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_it_learns_to_reject_a_distortion_that_is_weaker_than_the_requested_quality():
    """Real: the strength that belongs to a quality; generated: always a weak one, with the same qualities."""
    critic = PatchDiscriminator(2)
    optimiser = torch.optim.Adam(critic.parameters(), lr=4e-3)
    random = torch.Generator().manual_seed(1)

    def logits(right: bool) -> Tensor:
        reference, quality = torch.rand(16, 3, 16, 16, generator=random), torch.rand(16, generator=random)
        strength = 0.3 * (1 - quality) if right else torch.full((16,), 0.05)
        noise = torch.randn(16, 3, 16, 16, generator=random)
        logits: Tensor = critic(
            reference, reference + strength.view(-1, 1, 1, 1) * noise, torch.zeros(16).long(), quality
        )
        return logits

    for _ in range(150):
        loss = (1 - logits(right=True)).relu().mean() + (1 + logits(right=False)).relu().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    critic.eval()
    with torch.no_grad():
        assert logits(right=True).mean() > logits(right=False).mean() + 0.5
