"""Other networks' structure, by what their authors published, and their training by the same loop."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

import studies.peers
from gada_ray import TrainingConfig, gada
from gada_ray.config import ConfigError, ModelConfig, with_values
from gada_ray.model.peers import DiqamBackbone, KangBackbone
from gada_ray.model.quality_network import QualityNetwork
from gada_ray.study.definition import make_plan
from gada_ray.trials.run import run_trial
from gada_ray.trials.store import Store
from tests.toy import tiny, toy_dataset, toy_trial


def quality_network(network: str, normalisation: str = "mscn", px: int = 32) -> QualityNetwork:
    config = ModelConfig.model_validate({"network": network, "normalisation": normalisation})
    return QualityNetwork(config, 5, px).eval()


def weights(*parts: nn.Module) -> int:
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


@pytest.mark.parametrize(
    ("network", "normalisation", "published"), [("kang", "mscn", 0.72e6), ("diqam", "none", 5.0e6)]
)
def test_the_number_of_weights_is_the_published_one(network: str, normalisation: str, published: float) -> None:
    built = quality_network(network, normalisation)
    assert weights(built.backbone, built.evaluator) == pytest.approx(published, rel=0.01)


def test_kangs_network_has_his_layers() -> None:
    """50 kernels of 7x7, their maxima and minima over 26x26 places, 800 and 800 units."""
    built = quality_network("kang")
    assert weights(built.backbone) == 50 * 7 * 7 + 50
    assert weights(built.evaluator) == 100 * 800 + 800 + 800 * 800 + 800 + 800 + 1
    assert isinstance(built.backbone, KangBackbone)
    images = torch.rand(2, 3, 32, 32)
    (maps,) = built.backbone.maps(images)
    assert maps.shape == (2, 50, 26, 26)
    features = built.backbone(images)
    assert torch.equal(features, torch.cat([maps.flatten(2).max(2)[0], maps.flatten(2).min(2)[0]], 1))


def test_diqam_has_ten_convolutions_of_3x3_and_halves_five_times() -> None:
    built = quality_network("diqam", "none")
    assert isinstance(built.backbone, DiqamBackbone)
    convolutions = [module for module in built.backbone.modules() if isinstance(module, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [32, 32, 64, 64, 128, 128, 256, 256, 512, 512]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    assert [maps.shape[-1] for maps in built.backbone.maps(torch.rand(1, 3, 32, 32))] == [16, 8, 4, 2, 1]


@pytest.mark.parametrize("network", ["kang", "diqam"])
@pytest.mark.parametrize("px", [32, 48])
def test_every_head_works_on_other_backbones_and_crop_sizes(network: str, px: int) -> None:
    built = quality_network(network, "both", px)
    outputs = built(torch.rand(3, 3, px, px))
    assert (outputs.quality.shape, outputs.distortion.shape) == ((3,), (3, 5))
    torch.manual_seed(0)
    images = torch.rand(3, 3, px, px)
    assert torch.allclose(built(images).quality, built.evaluate(images)[0])


def test_crops_that_are_too_small_and_heads_of_another_network_are_refused() -> None:
    with pytest.raises(ConfigError, match="crop_px must be at least 32 for the network 'diqam', got 16"):
        with_values(gada(1, 1, 1), {"model.network": "diqam", "data.crop_px": 16})
    with pytest.raises(ConfigError, match="head 'dense' is of the network 'gada'"):
        with_values(gada(1, 1, 1), {"model.network": "kang", "model.head": "dense"})
    with pytest.raises(ValidationError):
        ModelConfig.model_validate({"network": "vgg"})


def run(config: TrainingConfig, folder) -> bytes:
    dataset = toy_dataset()
    store = Store(folder)
    trial = toy_trial(dataset, config)
    result = run_trial(trial, dataset, store)
    assert result.status == "finished"
    return store.read(trial.signature, "predictions.csv") or b""


@pytest.mark.parametrize("network", ["kang", "diqam"])
@pytest.mark.slow
def test_gada_trains_other_backbones_and_dropout_draws_the_same_again(tmp_path, network: str) -> None:
    config = tiny({"model.network": network, "data.crop_px": 32}, gada(2, 2, 1))
    first = run(config, tmp_path / "a")
    torch.manual_seed(1234)
    assert first and run(config, tmp_path / "b") == first


def test_the_study_gives_every_network_the_same_steps() -> None:
    plan = make_plan("peers", studies.peers.STUDY, "small", "demo", {})
    assert {variant.config.steps for variant in plan.variants} == {1000}
    assert len({variant.config.data.batch * variant.config.data.crop_px**2 for variant in plan.variants}) == 1, (
        "pixels a step"
    )
    by_name = {variant.name: variant.config for variant in plan.variants}
    assert not by_name["CNN of Kang"].uses_references and not by_name["DIQaM-NR"].uses_references
    assert {c.data.crop_px for n, c in by_name.items() if "Kang" in n or "DIQaM" in n} == {32}
