"""Procedural distortions in place of labelled images, from which a generator learns strengths before it learns labels.

Letters in shapes: n crops in a batch, c crop side, k distortion classes.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from gada_ray.data.dataset import DataError
from gada_ray.data.prepared import STRENGTHS
from gada_ray.training.batches import Batch, Batches
from gada_ray.training.procedural import ProceduralSource


class StrengthSource:
    """Distorted crops of training references for the steps of a phase, with class and quality."""

    def __init__(self, batches: Batches, procedural: ProceduralSource) -> None:
        """Prepare for the phase of some batches.

        Raises:
            DataError: if no class of the labelled images has a procedure with an order of strength.
        """
        self.batches, self.procedural = batches, procedural
        source, rows = batches.source, batches.rows
        self.classes = procedural.ordered[torch.isin(procedural.ordered, source.distortion[rows])]
        if not len(self.classes):
            raise DataError(
                f"{source.dataset.name} has no class whose strength has an order, which real_images of phase "
                f"'{batches.phase.name}' needs"
            )
        self.ranges = batches.label_ranges(self.classes)
        self.pictures = procedural.available(batches.references, extra=False)

    def draw(self, random: torch.Generator) -> Batch:
        """Distorted crops, as many as a step has real ones, with the crops that they distort.

        Classes and strengths are drawn evenly. Quality is the best label of the class without distortion, its worst
        label at the greatest strength, and evenly between.
        """
        n = self.batches.size
        place = torch.randint(len(self.classes), (n,), generator=random)
        steps = torch.randint(STRENGTHS + 1, (n,), generator=random)
        chosen = self.pictures[torch.randint(len(self.pictures), (n,), generator=random)]
        data, distortion = self.batches.config.data, self.classes[place]
        top, left = self.procedural.windows(chosen, data.crop_px, data.aligned_fraction, random)
        distorted, undistorted = (
            self.procedural.gather(chosen, distortion, some, top, left, data.crop_px)
            for some in (steps, torch.zeros_like(steps))
        )
        low, high = self.ranges[place].T
        batch = self.batches.to_batch(distorted, distortion, high - (high - low) * steps / STRENGTHS)
        return replace(batch, undistorted=undistorted)
