"""The discriminator branch of section 3.3: one backbone with source, classifier and evaluator heads.

Letters in shapes: n images, h and w their sides, f feature maps, k distortion classes.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gada_ray.config import ModelConfig
from gada_ray.model import peers
from gada_ray.model.layers import InputNormalisation, Views, activation, convolution
from gada_ray.system import devices

MIN_WEIGHT = 1e-6
"""Smallest weight of a crop, so that the weights of an image never sum to 0 (Bosse et al. 2018)."""


class Outputs(NamedTuple):
    """Outputs of the three heads for a batch."""

    source: Tensor
    """Logits [n] of being real (D)."""
    distortion: Tensor
    """Logits [n, k] of the distortion classes (C)."""
    quality: Tensor
    """Quality [n], trained on [0, 1], not clipped (E)."""
    weight: Tensor
    """Weight [n] of a crop among those of its image, above 0; 1 unless the evaluator weighs crops."""


class Backbone(nn.Module):
    """Images `[n, 3, h, w]` in [0, 1], or their views, to features `[n, f]`, or `[n, h' * w', f]` for dense heads."""

    def __init__(self, config: ModelConfig, crop_px: int) -> None:
        super().__init__()
        self.head = config.head
        self.normalise = InputNormalisation(config.normalisation)
        widths = (self.normalise.channels, *config.backbone_widths)
        self.convolutions = nn.Sequential(
            *(
                convolution(inputs, outputs, config.norm, first=number == 0)
                for number, (inputs, outputs) in enumerate(itertools.pairwise(widths))
            )
        )
        side = crop_px // 2 ** len(config.backbone_widths)
        kernel = side if config.head == "valid" else 1
        self.last = nn.Sequential(nn.Conv2d(widths[-1], config.feature_maps, kernel), activation())
        self.features = config.feature_maps * (side * side if config.head == "flatten" else 1)

    def forward(self, images: Tensor | Views) -> Tensor:
        """Features."""
        return self.pooled(self.last(self.convolutions(self.normalise(images))))

    def maps(self, images: Tensor | Views) -> list[Tensor]:
        """Feature maps of every layer, `[n, channels, h', w']` each; `pooled` takes the last ones."""
        maps = [self.normalise(images)]
        for layer in (*self.convolutions, self.last):
            maps.append(layer(maps[-1]))
        return maps[1:]

    def pooled(self, maps: Tensor) -> Tensor:
        """Features of the last maps `[n, f, h', w']`."""
        if self.head == "dense":
            return maps.flatten(2).transpose(1, 2)
        return maps.flatten(1) if self.head == "flatten" else maps.mean(dim=(2, 3))


def _two_layers(inputs: int, units: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, units), activation(), nn.Linear(units, outputs))


def make_backbone(config: ModelConfig, crop_px: int) -> Backbone | peers.KangBackbone | peers.DiqamBackbone:
    """The backbone of the configured network."""
    match config.network:
        case "kang":
            return peers.KangBackbone(config.normalisation)
        case "diqam":
            return peers.DiqamBackbone(config.normalisation)
        case _:
            return Backbone(config, crop_px)


def make_evaluator(config: ModelConfig, features: int) -> nn.Sequential:
    """The head of quality of the configured network."""
    match config.network:
        case "kang":
            return peers.kang_evaluator()
        case "diqam":
            return peers.diqam_evaluator()
        case _:
            return _two_layers(features, config.head_units, 1 + config.weighs_crops)


class QualityNetwork(nn.Module):
    """Backbone and heads. `backbone`, `discriminator`, `classifier` and `evaluator` are the parts that phases train."""

    def __init__(self, config: ModelConfig, distortions: int, crop_px: int) -> None:
        super().__init__()
        self.backbone = make_backbone(config, crop_px)
        self.discriminator = nn.Linear(self.backbone.features, 1)
        self.classifier = _two_layers(self.backbone.features, config.head_units, distortions)
        self.evaluator = make_evaluator(config, self.backbone.features)
        last = self.evaluator[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, 0.5)  # the middle of the quality scale

    def forward(self, images: Tensor | Views) -> Outputs:
        """Outputs of all heads for images `[n, 3, h, w]` in [0, 1], or for their views, in float32."""
        return self.heads(self.backbone(images))

    def heads(self, features: Tensor) -> Outputs:
        """Outputs of all heads for the backbone's features."""
        source, distortion, evaluation = (
            self._output(head, features) for head in (self.discriminator, self.classifier, self.evaluator)
        )
        return Outputs(source.squeeze(1), distortion, *_quality_and_weight(evaluation))

    def evaluate(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Quality `[n]` and weight `[n]` alone, in float32."""
        return _quality_and_weight(self._output(self.evaluator, self.backbone(images)))

    def _output(self, head: nn.Module, features: Tensor) -> Tensor:
        """A head's output `[n, ...]`, its last layer in float32; of dense heads the mean over locations.

        Quality lies in [0, 1], where bfloat16 has 256 values at most: it would give many images the same prediction.
        """
        *hidden, last = head if isinstance(head, nn.Sequential) else (head,)
        for layer in hidden:
            features = layer(features)
        with devices.float32(features.device):
            output: Tensor = last(features.float())
        return output.mean(dim=1) if self.backbone.head == "dense" else output


def _quality_and_weight(evaluation: Tensor) -> tuple[Tensor, Tensor]:
    """Quality and weight `[n]` from an evaluator's output `[n, 1]` or `[n, 2]`."""
    quality = evaluation[:, 0]
    weight = F.softplus(evaluation[:, 1]) + MIN_WEIGHT if evaluation.shape[1] > 1 else torch.ones_like(quality)
    return quality, weight


class Gada(nn.Module):
    """The whole network; `generator` is missing where no phase needs generated images.

    A `critic` takes the place of the source head, which then stays untrained.
    """

    def __init__(
        self, generator: nn.Module | None, quality_network: QualityNetwork, critic: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.generator = generator
        self.quality_network = quality_network
        self.critic = critic

    def part(self, name: str) -> nn.Module:
        """A part by the name that phases use.

        Raises:
            ValueError: for a generator that was not built.
        """
        if name == "discriminator" and self.critic is not None:
            return self.critic
        part = self.generator if name == "generator" else getattr(self.quality_network, name)
        if part is None:
            raise ValueError("this network was built without a generator, since no phase uses generated images")
        assert isinstance(part, nn.Module)
        return part
