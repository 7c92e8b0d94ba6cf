"""Backbones and evaluators of other shallow networks, to be trained by the same loop.

Letters in shapes: n images, h and w their sides, f features.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from gada_ray.model.layers import InputNormalisation, Views, viewed

LUMA = (0.299, 0.587, 0.114)
KERNELS, KERNEL_PX, UNITS = 50, 7, 800
"""Kernels and kernel side of Kang's convolution, and units of his two fully connected layers."""
WIDTHS = (32, 64, 128, 256, 512)
"""Feature maps of DIQaM's five pairs of convolutions."""
DROPOUT = 0.5


class KangBackbone(nn.Module):
    """The CNN of Kang et al. (2014) to its pooling: one convolution of luminance, its maps' maxima and minima.

    Images `[n, 3, h, w]` in [0, 1] to features `[n, 100]`.
    """

    features = 2 * KERNELS
    head = "gap"
    luma: Tensor

    def __init__(self, normalisation: str) -> None:
        super().__init__()
        self.normalise = InputNormalisation(normalisation)
        self.convolution = nn.Conv2d(self.normalise.channels // 3, KERNELS, KERNEL_PX)
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor | Views) -> Tensor:
        """Features."""
        return self.pooled(self.maps(images)[-1])

    def maps(self, images: Tensor | Views) -> list[Tensor]:
        """The feature maps of the only convolution; `pooled` takes them."""
        colours = viewed(images).images
        return [self.convolution(self.normalise((colours * self.luma).sum(dim=1, keepdim=True)))]

    def pooled(self, maps: Tensor) -> Tensor:
        """Features of the maps `[n, 50, h', w']`."""
        return torch.cat([maps.amax(dim=(2, 3)), maps.amin(dim=(2, 3))], dim=1)


def kang_evaluator() -> nn.Sequential:
    """Two layers of 800 rectified units, the second with dropout, and quality."""
    return nn.Sequential(
        *(nn.Linear(KangBackbone.features, UNITS), nn.ReLU()),
        *(nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Dropout(DROPOUT)),
        nn.Linear(UNITS, 1),
    )


class DiqamBackbone(nn.Module):
    """The convolutions of DIQaM-NR (Bosse et al. 2018): five pairs of 3x3, each followed by a maximum of 2x2.

    Images `[n, 3, h, w]` in [0, 1] to features `[n, 512]`; those of crops of more than 32 pixels are means over places.
    """

    features = WIDTHS[-1]
    head = "gap"

    def __init__(self, normalisation: str) -> None:
        super().__init__()
        self.normalise = InputNormalisation(normalisation)
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    *(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()),
                    *(nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                )
                for inputs, outputs in itertools.pairwise((self.normalise.channels, *WIDTHS))
            )
        )
        _he(self)

    def forward(self, images: Tensor | Views) -> Tensor:
        """Features."""
        return self.pooled(self.maps(images)[-1])

    def maps(self, images: Tensor | Views) -> list[Tensor]:
        """The feature maps after every pair of convolutions; `pooled` takes the last ones."""
        maps = [self.normalise(images)]
        for pair in self.convolutions:
            maps.append(pair(maps[-1]))
        return maps[1:]

    def pooled(self, maps: Tensor) -> Tensor:
        """Features of the last maps `[n, 512, h', w']`."""
        return maps.mean(dim=(2, 3))


def diqam_evaluator() -> nn.Sequential:
    """A layer of 512 rectified units with dropout, and quality."""
    head = nn.Sequential(
        nn.Linear(DiqamBackbone.features, DiqamBackbone.features),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(DiqamBackbone.features, 1),
    )
    _he(head)
    return head


def _he(module: nn.Module) -> None:
    """Initialise by He et al. (2015): ten rectified layers without normalisation do not train otherwise."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
