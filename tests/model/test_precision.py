"""Reduced precision where it helps, float32 where numbers would be lost."""

import pytest
import torch

from gada_ray.model.generator import ModulatedGenerator
from gada_ray.model.layers import Views
from gada_ray.training import losses
from gada_ray.training.phases import build
from tests.toy import DISTORTIONS, tiny


def crops(count: int, px: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, px, px, generator=torch.Generator().manual_seed(0))


def test_bfloat16_gives_as_many_distinct_predictions_as_float32() -> None:
    network = build(tiny(), len(DISTORTIONS), 0).quality_network.eval()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = network(crops(80))
        quality, _ = network.evaluate(crops(80))
    assert outputs.quality.dtype == outputs.distortion.dtype == outputs.source.dtype == torch.float32
    assert len(outputs.quality.unique()) == len(quality.unique()) == 80


@pytest.mark.parametrize("view", ["detail", "contrast"])
def test_local_normalisation_is_in_float32_whatever_the_precision_around_it(view: str) -> None:
    exact = getattr(Views(crops(4)), view)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = getattr(Views(crops(4)), view)
    assert torch.equal(exact, reduced)


def test_the_spectrum_loss_is_in_float32_whatever_the_precision_around_it() -> None:
    generated, distorted = crops(4), crops(4).flip(0)
    exact = losses.spectrum_loss(generated, distorted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(losses.spectrum_loss(generated, distorted), exact)


def test_the_quantiser_of_the_generator_is_in_float32_whatever_the_precision_around_it() -> None:
    generator = build(tiny({"losses.l1_weight": 1.0}), len(DISTORTIONS), 0).generator
    assert isinstance(generator, ModulatedGenerator)
    condition = torch.rand(4, generator.UNITS, generator=torch.Generator().manual_seed(1))
    exact = generator.quantise(crops(4), condition)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(generator.quantise(crops(4), condition), exact)
