"""Crops of pristine pictures under procedural distortions, gathered from prepared files in every step.

Pictures are the references of a dataset, and after them unlabelled photographs. Letters in shapes: n crops, c crop
side, k distortion classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gada_ray.config import TrainingConfig
from gada_ray.data.crops import Pictures, random_corners
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.prepared import STRENGTHS, prepare, prepared_size
from gada_ray.data.procedural import Procedure, procedures
from gada_ray.system import devices


def procedures_for(config: TrainingConfig, dataset: IqaDataset) -> tuple[Procedure | None, ...]:
    """The procedure of every class, or None, that the phases of a training use; empty where none uses procedures.

    Raises:
        DataError: as `procedures`.
    """
    using = [phase for phase in config.phases if phase.uses_procedures]
    if not using:
        return ()
    found = procedures(dataset.distortions, dataset.name, skip=any(phase.skip_unmatched for phase in using))
    if any(phase.procedural_images for phase in using):
        return found
    return tuple(one if one and one.ordered else None for one in found)  # the ranking term draws no others


def prepare_for(
    config: TrainingConfig, dataset: IqaDataset, folder: Path, device: torch.device, workers: int = 1
) -> ProceduralSource | None:
    """Prepare the pictures of a training in a folder; None where no phase uses procedures.

    Raises:
        DataError: as `procedures` and `prepare`.
    """
    found = procedures_for(config, dataset)
    if not found:
        return None
    extra = any(phase.uses_procedures and phase.uses_extra for phase in config.phases)
    return ProceduralSource(dataset, found, folder, config.data.crop_px, device, extra=extra, workers=workers)


def prepared_bytes(config: TrainingConfig, dataset: IqaDataset) -> list[int]:
    """Bytes of the prepared pictures of a training: of references, and of unlabelled photographs if it uses them."""
    known = sum(one is not None for one in procedures_for(config, dataset))
    if not known:
        return []
    sets = [(dataset.shapes[: dataset.first], True)]
    if dataset.extra is not None and any(phase.uses_procedures and phase.uses_extra for phase in config.phases):
        sets.append((dataset.extra.shapes, False))
    return [prepared_size(shapes, known, config.data.crop_px, every=every) for shapes, every in sets]


class ProceduralSource:
    """Prepared pictures on a device."""

    def __init__(
        self,
        dataset: IqaDataset,
        procedures: Sequence[Procedure | None],
        folder: Path,
        crop_px: int,
        device: torch.device,
        *,
        extra: bool,
        workers: int = 1,
    ) -> None:
        """Prepare the references of a dataset, and with `extra` its unlabelled photographs.

        Args:
            procedures: one for every class of the dataset, or None.
            folder: where prepared files are kept.

        Raises:
            DataError: as `prepare`.
        """
        known = [procedure for procedure in procedures if procedure]
        sets = [(0, [dataset.image(number) for number in range(dataset.first)])]
        if extra:
            assert dataset.extra is not None
            sets.append((dataset.first, [dataset.extra.image(number) for number in range(len(dataset.extra))]))
        # A trial needs all of its references; of photographs a sample is enough.
        made = [
            (first, prepare(images, known, folder, crop_px, every=first == 0, workers=workers))
            for first, images in sets
        ]
        self.device, self.versions = device, len(known) * (STRENGTHS + 1)
        self._files = [(Pictures(prepared, device), len(prepared.pictures)) for _, prepared in made]
        self.numbers = torch.from_numpy(np.concatenate([first + prepared.pictures for first, prepared in made]))
        """Numbers of the prepared pictures [m] among references and photographs, ascending."""
        self.shapes = torch.cat([pictures.shapes[:: self.versions] for pictures, _ in self._files])
        """Height and width of every prepared picture [m, 2]."""
        place = iter(range(len(known)))
        self.procedure = torch.tensor([next(place) if procedure else -1 for procedure in procedures])
        """Index of each class's procedure [k] among the prepared ones; -1 without one."""
        self.ordered = torch.tensor([n for n, procedure in enumerate(procedures) if procedure and procedure.ordered])
        """Classes whose strength has an order."""

    def available(self, references: Tensor, *, extra: bool) -> Tensor:
        """Indices `[m]` of the prepared pictures of some references, and with `extra` of all photographs."""
        first_extra = self._files[0][1]
        own = torch.isin(self.numbers[:first_extra], references).nonzero()[:, 0]
        if not extra:
            return own
        return torch.cat([own, torch.arange(first_extra, len(self.numbers))])

    def windows(
        self, pictures: Tensor, crop_px: int, aligned_fraction: float, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Random corners (top, left), int64 [n] each, of crops of prepared pictures `[n]`."""
        return random_corners(self.shapes[pictures], crop_px, random, aligned_fraction)

    def gather(
        self, pictures: Tensor, distortion: Tensor, steps: Tensor, top: Tensor, left: Tensor, crop_px: int
    ) -> Tensor:
        """Crops `[n, 3, c, c]` in [0, 1] of prepared pictures `[n]` at steps `[n]` of strength.

        Step 0 is the undistorted picture, STRENGTHS the greatest strength of the class `[n]`.
        """
        versions = self.procedure[distortion] * (STRENGTHS + 1) + steps
        crops, places, first = [], [], 0
        for file, count in self._files:
            here = ((pictures >= first) & (pictures < first + count)).nonzero()[:, 0]
            images = (pictures[here] - first) * self.versions + versions[here]
            crops.append(file.gather(images, top[here], left[here], crop_px))
            places.append(here)
            first += count
        order = torch.cat(places)
        found = torch.cat(crops)
        if len(order) < 2 or bool((order.diff() > 0).all()):
            return found
        return found[devices.to_device(order.argsort(), self.device)]
