from __future__ import annotations

import pytest
import torch

from gada_ray.data.crops import generator_for
from gada_ray.training.procedures import distort, family


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wn", "noise"),
        ("Additive Gaussian noise", "noise"),
        ("awgn", "noise"),
        ("gblur", "blur"),
        ("blur", "blur"),
        ("jpeg", "blocks"),
        ("JPEG", "blocks"),
        ("JPEG compression", "blocks"),
        ("jpeg2000", "coarse"),
        ("JPEG 2000", "coarse"),
        ("jp2k", "coarse"),
        ("fastfading", "coarse"),
        ("contrast", "coarse"),
    ],
)
def test_a_class_is_matched_with_a_family_by_its_name(name, expected):
    assert family(name) == expected


@pytest.mark.parametrize("name", ["wn", "gblur", "jpeg", "jp2k"])
def test_a_distortion_grows_with_its_severity_from_nearly_nothing(name):
    torch.manual_seed(1)
    references = torch.rand(4, 3, 32, 32)
    errors = []
    for severity in (0.0, 0.25, 0.5, 1.0):
        out = distort(
            references, torch.zeros(4, dtype=torch.int64), torch.full((4,), severity), [name], generator_for(0)
        )
        assert out.shape == references.shape and out.min() >= 0 and out.max() <= 1
        errors.append(float((out - references).abs().mean()))
    assert errors == sorted(errors) and errors[0] < 2e-3 and errors[-1] > 0.05


def test_every_crop_gets_the_distortion_of_its_own_class():
    references = torch.rand(6, 3, 16, 16)
    names = ["wn", "gblur", "jpeg"]
    distortion, severity = torch.tensor([0, 1, 2, 2, 1, 0]), torch.linspace(0.2, 1, 6)
    together = distort(references, distortion, severity, names, generator_for(3))
    for i in (1, 2, 3, 4):
        alone = distort(references[i : i + 1], distortion[i : i + 1], severity[i : i + 1], names, generator_for(3))
        torch.testing.assert_close(together[i : i + 1], alone)


def test_the_block_transform_without_rounding_is_the_identity():
    references = torch.rand(1, 3, 24, 16)
    out = distort(references, torch.zeros(1, dtype=torch.int64), torch.zeros(1), ["jpeg"], generator_for(0))
    torch.testing.assert_close(out, references, atol=2e-3, rtol=0)
