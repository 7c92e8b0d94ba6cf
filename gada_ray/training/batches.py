"""The crops of each step of a phase: real crops, and references with the class and quality requested for them.

Letters in shapes: n crops in a batch, m training rows, c crop side.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gada_ray.config import TrainingConfig
from gada_ray.data import sampling
from gada_ray.data.crops import CropSource, align_fraction, count_aligned, generator_for, grid_for, random_corners
from gada_ray.data.prepared import STRENGTHS
from gada_ray.model.layers import Views
from gada_ray.system import devices
from gada_ray.training.procedural import ProceduralSource

JITTER = 0.05
"""Standard deviation of the noise on requested qualities under "empirical" conditions."""
MIN_GRID_QUALITIES = 8
"""Smallest number of requested qualities under "grid" conditions."""

CropCorners = tuple[Tensor, Tensor, Tensor]
"""Numbers of images `[n]`, and the corners of crops of them: top `[n]` and left `[n]`."""


@dataclass(frozen=True)
class Batch:
    """Crops `[n, 3, c, c]` in [0, 1] with class `[n]` and quality `[n]`."""

    images: Tensor
    distortion: Tensor
    quality: Tensor
    references: CropCorners | None = None
    """Of real crops, the same windows of their references."""
    undistorted: Tensor | None = None
    """Of generated crops and of procedural distortions, the crops `[n, 3, c, c]` in [0, 1] that they distort."""

    def first(self, count: int) -> Batch:
        """The first crops."""
        if count == len(self.images):
            return self
        places = None
        if self.references is not None:
            rows, top, left = self.references
            places = rows[:count], top[:count], left[:count]
        undistorted = None if self.undistorted is None else self.undistorted[:count]
        part = Batch(self.images[:count], self.distortion[:count], self.quality[:count], places, undistorted)
        part.__dict__["views"] = self.views.first(count)  # where `views` keeps them
        return part

    @functools.cached_property
    def views(self) -> Views:
        """The crops as networks and losses see them, made once a step."""
        return Views(self.images)


class Batches:
    """Crops, classes and qualities for the steps of a phase; every draw depends on a seed and the step's number."""

    def __init__(
        self, source: CropSource, rows: Tensor, config: TrainingConfig, number: int, references: Tensor | None = None
    ) -> None:
        """For phase `number` of a configuration on training rows `[m]` of the source's dataset.

        `references` are numbers of the references that generated images may start from; without them, those of the
        rows.
        """
        self.source, self.rows, self.config = source, rows, config
        self.number, self.phase = number, config.phases[number]
        self.references = source.reference[rows].unique() if references is None else references
        data = config.data
        self.images = data.batch // data.crops_per_image
        # Few labelled images fill a batch with several crops of each, so that steps are equal for any number of labels.
        if data.labelled_images is None:
            self.images = min(self.images, len(rows))
        self.size = self.images * data.crops_per_image
        # The generator makes blocks on the grid of its crop, so that it is trained on aligned crops if there are any.
        self.paired = count_aligned(self.size, data.aligned_fraction) or self.size
        self.sampler = None
        if data.sampling != "uniform":
            grid = grid_for(data.aligned_fraction == 1)
            self.sampler = sampling.sampler(
                source.dataset, rows.numpy(), data.sampling, data.crop_px, grid, data.temperature
            )

    def real(self, step: int, seed: int, random: torch.Generator) -> Batch:
        """The real crops of a step. An epoch sees every training image once; incomplete batches are dropped."""
        batch = self._crops(*self.windows(step, seed, "epoch", random))
        return self._with_pristine(batch, random) if self.config.data.pristine_fraction else batch

    def further(self, step: int, seed: int, random: torch.Generator) -> Batch:
        """Further real crops of other images, as a control for generated ones."""
        return self._crops(*self.windows(step, seed, "further crops", random))

    def requested(self, real: Batch, random: torch.Generator) -> Batch:
        """Crops of references, as many as real ones, with the requested class and quality."""
        images = self._to_distort(real, random)
        if self.phase.conditions == "paired":
            return Batch(images, real.distortion, real.quality)
        return self.to_batch(images, *self.conditions(len(images), random))

    def windows(self, step: int, seed: int, order_of: str, random: torch.Generator) -> CropCorners:
        """The training rows `[n]` of a step, those of one image in sequence, and the corners of their crops."""
        data = self.config.data
        chosen = self.chosen(step, seed, order_of).repeat_interleave(data.crops_per_image)
        rows = self.rows[chosen]
        if self.sampler is None:
            return rows, *self.source.windows(self.source.distorted(rows), data.crop_px, random, data.aligned_fraction)
        windows = self.sampler.windows(chosen, torch.rand(len(chosen), generator=random, dtype=torch.float64))
        return rows, *align_fraction(windows.top, windows.left, data.aligned_fraction)

    def chosen(self, step: int, seed: int, order_of: str) -> Tensor:
        """Images of a step, as indices of the training rows."""
        if self.images > len(self.rows):
            random = generator_for(seed, self.number, step, order_of)
            rounds = -(-self.images // len(self.rows))
            return torch.cat([torch.randperm(len(self.rows), generator=random) for _ in range(rounds)])[: self.images]
        epoch, position = divmod(step, max(1, len(self.rows) // self.images))
        order = torch.randperm(len(self.rows), generator=generator_for(seed, self.number, epoch, order_of))
        return order[position * self.images : (position + 1) * self.images]

    def conditions(self, n: int, random: torch.Generator, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Requested classes and qualities `[n]`, within the range of the training labels.

        `among` restricts the classes.
        """
        distortions, qualities = self.source.distortion[self.rows], self.source.quality[self.rows]
        present = distortions.unique()
        if among is not None:
            present = present[torch.isin(present, among)]
        distortion = present[torch.randint(len(present), (n,), generator=random)]
        low, high = self._range(qualities)
        if self.phase.conditions in ("empirical", "between"):
            draws = torch.rand(n, generator=random)
            quality = torch.empty(n)
            for c in present:
                here = distortion == c
                quality[here] = self._similar(qualities[distortions == c], draws[here], random)
        elif self.phase.conditions == "uniform":
            quality = low + (high - low) * torch.rand(n, generator=random)
        else:  # grid
            # A batch may be smaller than the grid, so that its cells are drawn at random.
            levels = max(MIN_GRID_QUALITIES, int(np.ceil(n / len(present))))
            cells = torch.randperm(len(present) * levels, generator=random)[:n]
            distortion = present[cells % len(present)]
            quality = torch.linspace(0, 1, levels)[cells // len(present)] * (high - low) + low
        return distortion, quality

    def procedural(self, real: Batch, made: ProceduralSource, random: torch.Generator) -> Batch:
        """Crops under procedural distortions, as many as real crops, with class and quality.

        The requested quality is rounded to one of the prepared strengths: none at the best quality of training, the
        greatest at the worst.
        """
        data, n = self.config.data, len(real.images)
        if self.phase.conditions == "paired":
            distortion, quality = real.distortion.cpu(), real.quality.cpu()
        else:
            matched = (made.procedure >= 0).nonzero()[:, 0]
            distortion, quality = self.conditions(n, random, matched)
        low, high = (float(end) for end in self._range(self.source.quality[self.rows]))
        steps = (self.severity(quality) * STRENGTHS).round()
        labelled = self.phase.generated_from == "labelled"
        references = self.source.reference[self.rows].unique() if labelled else self.references
        pictures = made.available(references, extra=self.phase.generated_from == "extra")
        chosen = pictures[torch.randint(len(pictures), (n,), generator=random)].sort().values
        top, left = made.windows(chosen, data.crop_px, data.aligned_fraction, random)
        crops = made.gather(chosen, distortion, steps.long(), top, left, data.crop_px)
        return self.to_batch(crops, distortion, high - (high - low) * steps / STRENGTHS)

    def severity(self, quality: Tensor) -> Tensor:
        """Severity in [0, 1] of qualities: 0 at the best quality of training, 1 at the worst."""
        low, high = (float(end) for end in self._range(self.source.quality[self.rows]))
        return ((high - quality) / (high - low)).clamp(0, 1) if high > low else torch.zeros_like(quality)

    def label_ranges(self, classes: Tensor) -> Tensor:
        """Lowest and highest label `[k, 2]` of some classes `[k]`, all of which have labels."""
        quality, distortion = self.source.quality[self.rows], self.source.distortion[self.rows]
        return torch.stack([torch.stack(quality[distortion == one].aminmax()) for one in classes])

    def _crops(self, rows: Tensor, top: Tensor, left: Tensor) -> Batch:
        """Real distorted crops with their labels."""
        crops = self.source.gather(self.source.distorted(rows), top, left, self.config.data.crop_px)
        places = self.source.reference[rows], top, left
        return self.to_batch(crops, self.source.distortion[rows], self.source.quality[rows], places)

    def to_batch(
        self, images: Tensor, distortion: Tensor, quality: Tensor, references: CropCorners | None = None
    ) -> Batch:
        """Crops with class and quality `[n]`, on the device."""
        device = self.source.device
        return Batch(images, devices.to_device(distortion, device), devices.to_device(quality, device), references)

    def _with_pristine(self, batch: Batch, random: torch.Generator) -> Batch:
        """The same crops, of which a fraction is replaced by crops of pristine references with quality 1."""
        assert batch.references is not None
        data, (references, top, left) = self.config.data, batch.references
        pristine = torch.rand(self.images, generator=random) < data.pristine_fraction
        pristine = pristine.repeat_interleave(data.crops_per_image)
        if data.pristine_from == "training":
            chosen = torch.randint(len(self.references), (self.images,), generator=random)
            others = self.references[chosen].repeat_interleave(data.crops_per_image)
            windows = random_corners(self.source.shapes[others], data.crop_px, random, data.aligned_fraction)
            references = torch.where(pristine, others, references)
            top, left = (torch.where(pristine, new, old) for new, old in zip(windows, (top, left), strict=True))
        here = pristine.nonzero()[:, 0]
        there = devices.to_device(here, self.source.device)
        crops, quality = batch.images.clone(), batch.quality.clone()
        crops[there] = self.source.gather(references[here], top[here], left[here], data.crop_px)
        quality[there] = 1.0
        return Batch(crops, batch.distortion, quality, (references, top, left))

    def _to_distort(self, real: Batch, random: torch.Generator) -> Tensor:
        """Undistorted crops, as many as real ones: of the same windows' references, or of any permitted reference."""
        source, data = self.source, self.config.data
        if real.undistorted is not None:
            return real.undistorted
        if self.phase.generated_from == "labelled":
            assert real.references is not None
            return source.gather(*real.references, data.crop_px)
        return self.undistorted(self.references, self.size, random, extra=self.phase.generated_from == "extra")

    def undistorted(self, references: Tensor, count: int, random: torch.Generator, *, extra: bool) -> Tensor:
        """Crops `[count, 3, c, c]` of random references, and with `extra` of unlabelled photographs."""
        source, data = self.source, self.config.data
        own, shapes = len(references), source.shapes[references]
        if extra:
            shapes = torch.cat([shapes, source.extra.shapes])
        chosen = torch.randint(len(shapes), (count,), generator=random).sort().values  # own references first
        top, left = random_corners(shapes[chosen], data.crop_px, random, data.aligned_fraction)
        n = int((chosen < own).sum())
        crops = source.gather(references[chosen[:n]], top[:n], left[:n], data.crop_px)
        if n < count:
            others = source.extra.gather(chosen[n:] - own, top[n:], left[n:], data.crop_px)
            crops = torch.cat([crops, others])
        return crops

    def _range(self, qualities: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and the highest quality of some labels, and of pristine references where training uses them."""
        best = qualities.max()
        return qualities.min(), best.clamp(min=1.0) if self.config.data.pristine_fraction else best

    def _similar(self, labels: Tensor, draws: Tensor, random: torch.Generator) -> Tensor:
        """Qualities `[n]` for a class with labels `[m]`, from uniform random numbers `[n]`."""
        if self.phase.conditions == "between":
            low, high = self._range(labels)
            return low + (high - low) * draws
        noisy = labels[(draws * len(labels)).long()] + JITTER * torch.randn(len(draws), generator=random)
        return noisy.clamp(labels.min(), labels.max())
