"""The ranking term: of one picture distorted twice in the same way, the weaker distortion must have higher quality.

After RankIQA (Liu et al., ICCV 2017), but as a term added to L_E in every step instead of a pre-training. Such pairs
need no labels. With a hinge of small margin, labels determine the common scale of all classes: a pair whose qualities
differ by its margin has no gradient.

Letters in shapes: p pairs, c crop side.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gada_ray.config import PhaseConfig, TrainingConfig
from gada_ray.data.crops import generator_for, seed_for
from gada_ray.data.dataset import DataError
from gada_ray.data.prepared import STRENGTHS
from gada_ray.data.procedural import ordered
from gada_ray.model.generator import Generator
from gada_ray.system import devices
from gada_ray.training.batches import Batches
from gada_ray.training.procedural import ProceduralSource

MARGIN_SHARE = 0.5
"""Margin of a pair of generated crops, as a share of the difference of their requested qualities."""
LEAST_STEPS = STRENGTHS // 2
"""Least difference of the strengths of crops of two pictures: one may show a distortion less than the other."""


class Pairs(NamedTuple):
    """Crops in pairs of better and worse quality."""

    images: Tensor
    """`[2 * p, 3, c, c]` in [0, 1]: all better crops, then all worse ones."""
    margin: Tensor
    """Margin of the quality difference `[p]`."""
    believed: Tensor | None = None
    """Whether a pair takes part `[p]`; None if all do."""


def ranking_loss(quality: Tensor, pairs: Pairs) -> Tensor:
    """mean(max(0, margin - (better - worse))) of predictions `[2 * p]` for pairs, over those that take part.

    0 if none does.
    """
    better, worse = quality.chunk(2)
    loss = torch.relu(pairs.margin - (better - worse))
    if pairs.believed is None:
        return loss.mean()
    return (loss * pairs.believed).sum() / pairs.believed.sum().clamp(min=1)


class PairSource:
    """Pairs for the steps of a phase; every draw depends on a seed and the step's number."""

    def __init__(self, batches: Batches, procedural: ProceduralSource | None) -> None:
        """Prepare for the phase of some batches; `procedural` holds prepared pictures if procedures make the pairs.

        Raises:
            DataError: if no class has an order of strength.
        """
        self.batches, self.procedural = batches, procedural
        self.config: TrainingConfig = batches.config
        self.phase: PhaseConfig = batches.phase
        self.ranking = self.phase.ranking
        source, rows = batches.source, batches.rows
        if procedural:
            self.classes = procedural.ordered
        else:
            present, is_ordered = source.distortion[rows].unique(), ordered(source.distortions, source.dataset.name)
            self.classes = present[torch.tensor(is_ordered)[present]]
        if not len(self.classes):
            raise DataError(
                f"{source.dataset.name} has no class whose strength has an order, which the ranking term of phase "
                f"'{self.phase.name}' needs"
            )
        labelled = self.ranking.references == "labelled"
        self.references = source.reference[rows].unique() if labelled else batches.references
        self.extra = self.ranking.references == "extra"
        if procedural:
            self.pictures = procedural.available(self.references, extra=self.extra)
        else:
            self.ranges = batches.label_ranges(self.classes)

    def draw(self, step: int, seed: int, generator: Generator | None) -> Pairs:
        """The pairs of a step, on the device; `generator` makes them if procedures do not."""
        random = generator_for(seed, self.batches.number, step, "ranking")
        place = torch.randint(len(self.classes), (self.ranking.pairs,), generator=random)
        if self.procedural:
            return self._procedural(self.procedural, self.classes[place], random)
        assert generator is not None
        return self._generated(generator, place, random, seed_for(seed, self.batches.number, step, "ranking noise"))

    def _procedural(self, source: ProceduralSource, distortion: Tensor, random: torch.Generator) -> Pairs:
        """One picture, window and class at two strengths; some worse crops are of another picture and window."""
        data, n = self.config.data, self.ranking.pairs

        def windows(pictures: Tensor) -> Tensor:
            """Pictures and corners `[3, n]`: picture, top, left."""
            return torch.stack([pictures, *source.windows(pictures, data.crop_px, data.aligned_fraction, random)])

        better = worse = windows(self._pictures(random).sort().values)
        strengths = _strengths(n, 1, random)
        if self.ranking.other_picture:
            other = torch.rand(n, generator=random) < self.ranking.other_picture
            worse = torch.where(other, windows(self._pictures(random)), better)
            strengths = torch.where(other, _strengths(n, LEAST_STEPS, random), strengths)
        crops = [
            source.gather(pictures, distortion, strength, top, left, data.crop_px)
            for (pictures, top, left), strength in zip((better, worse), strengths, strict=True)
        ]
        margin = self.ranking.margin * (strengths[1] - strengths[0])
        return Pairs(torch.cat(crops), devices.to_device(margin, source.device))

    def _pictures(self, random: torch.Generator) -> Tensor:
        """Random prepared pictures, one a pair."""
        return self.pictures[torch.randint(len(self.pictures), (self.ranking.pairs,), generator=random)]

    @torch.no_grad()
    def _generated(self, generator: Generator, place: Tensor, random: torch.Generator, noise_seed: int) -> Pairs:
        """One picture, window, class and noise at two qualities within the training labels of the class."""
        least = self.ranking.least_difference
        data, device = self.config.data, self.batches.source.device
        crops = self.batches.undistorted(self.references, self.ranking.pairs, random, extra=self.extra)
        low, high = self.ranges[place].T
        draws = torch.rand(2, self.ranking.pairs, generator=random).sort(dim=0, descending=True).values
        shares = torch.stack([least + (1 - least) * draws[0], (1 - least) * draws[1]])
        requested = low + (high - low) * shares
        random = devices.noise_generator(random, device, noise_seed)
        noise = generator.draw_noise(self.ranking.pairs, data.crop_px, random)
        distortion, quality = (devices.to_device(tensor, device) for tensor in (self.classes[place], requested))
        with devices.autocast(device, self.config.precision):
            made = [generator(noise, crops, distortion, one) for one in quality]
        change = [(one - crops).square().flatten(1).mean(1) for one in made]
        believed = change[1] > change[0] if self.ranking.only_stronger else None
        return Pairs(torch.cat(made), MARGIN_SHARE * (quality[0] - quality[1]), believed)


def _strengths(n: int, least: int, random: torch.Generator) -> Tensor:
    """Random pairs `[2, n]` of a weaker and a stronger strength, at least so many steps apart."""
    steps = torch.combinations(torch.arange(STRENGTHS + 1))
    steps = steps[steps[:, 1] - steps[:, 0] >= least]
    return steps[torch.randint(len(steps), (n,), generator=random)].T
