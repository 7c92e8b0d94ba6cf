"""One loop that trains any phase: GAN, augmentation, fine-tuning, direct baseline and every control.

Letters in shapes: n crops in a batch, c crop side, k distortion classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gada_ray.config import PARTS, PhaseConfig, RateConfig, TrainingConfig
from gada_ray.data.crops import CropSource, generator_for, seed_for
from gada_ray.model.discriminator import Discriminator, Gada, Judgement
from gada_ray.model.generator import Generator
from gada_ray.training import losses, procedures

JITTER = 0.05
"""Standard deviation of the noise on the qualities asked of the generator under "empirical" conditions."""
GRID_LEVELS = 8
"""Fewest qualities asked of the generator under "grid" conditions."""


class DivergedError(ArithmeticError):
    """A loss stopped being a finite number; says which one, where."""


@dataclass(frozen=True)
class Batch:
    """Crops `[n, 3, c, c]` in [0, 1] with class `[n]` and quality `[n]`."""

    images: Tensor
    distortion: Tensor
    quality: Tensor


def build(config: TrainingConfig, distortions: int, seed: int) -> Gada:
    """The untrained network; its weights depend on the configuration and the seed only."""
    with torch.random.fork_rng(devices=[]):
        # The judge first, so that its first weights are the same with and without a generator.
        torch.manual_seed(seed)
        judge = Discriminator(config.model, distortions, config.data.crop_px)
        generator = Generator(config.model, distortions) if config.uses_generator else None
    return Gada(generator, judge)


@contextlib.contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise with a batch's own statistics, but keep the running ones for images of the other kind."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


class Phase:
    """One phase in progress: its optimisers and one method, `step`.

    Trained parts are in training mode, frozen ones in evaluation mode and without gradients; nothing of a frozen part
    changes, running statistics included.
    """

    def __init__(self, network: Gada, source: CropSource, rows: Tensor, config: TrainingConfig, number: int) -> None:
        """Start phase `number` of a configuration on training rows `[m]` of the source's dataset."""
        self.network, self.source, self.rows, self.config = network, source, rows, config
        self.number = number
        self.phase: PhaseConfig = config.phases[number]
        self.judge_optimiser = _adam(network, config.rates, self.phase, [p for p in PARTS if p != "generator"])
        self.generator_optimiser = _adam(network, config.rates, self.phase, ["generator"])
        self.batch = min(config.data.batch, len(rows))
        self.drops = any(isinstance(part, nn.Dropout) for part in network.judge.modules())

    @property
    def optimisers(self) -> dict[str, torch.optim.Adam]:
        """Optimisers by name; those of parts that the phase does not train are missing."""
        both = {"judge": self.judge_optimiser, "generator": self.generator_optimiser}
        return {name: optimiser for name, optimiser in both.items() if optimiser is not None}

    def prepare(self) -> None:
        """Set training and evaluation modes; to be called again after an evaluation."""
        for name in PARTS:
            if name != "generator" or self.network.generator is not None:
                part = self.network.part(name)
                part.train(name in self.phase.trains)
                part.requires_grad_(name in self.phase.trains)

    def step(self, number: int, seed: int) -> dict[str, Tensor]:
        """Optimiser step `number` of the phase: the losses, as scalars on the device, by name.

        Every draw comes from `seed` and the step's number, so a step can be repeated alone.
        """
        phase, weights = self.phase, self.config.losses
        random = generator_for(seed, self.number, number)
        if self.drops:
            torch.manual_seed(seed_for(seed, self.number, number, "dropout"))
        real = self._real_batch(number, seed, random)
        generated: Batch | None = None
        terms: dict[str, Tensor] = {}
        trains_generator = self.generator_optimiser is not None
        if phase.adds_images:
            generated = self._generate(real, number, seed, random, with_gradient=trains_generator)
        judge = self.network.judge
        if self.judge_optimiser is not None:
            loss = self._judge_loss(judge, real, generated, terms)
            self.judge_optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.judge_optimiser.step()
        if trains_generator:
            assert generated is not None and self.generator_optimiser is not None
            with _only(self.network, "generator"), _frozen_statistics(judge), self._autocast():
                judged = judge(generated.images)
            parts = {
                "generator_source": (weights.adversarial_weight, self._fooled(judged)),
                "reconstruction": (
                    weights.l1_weight,
                    losses.reconstruction_loss(real.images, generated.images),
                ),
                "generator_class": (
                    weights.generator_class_weight,
                    losses.class_loss(judged.distortion, generated.distortion),
                ),
                "generator_quality": (
                    weights.generator_quality_weight,
                    losses.quality_loss(weights.quality, judged.quality, generated.quality),
                ),
            }
            total = torch.stack([weight * term for weight, term in parts.values()]).sum()
            self.generator_optimiser.zero_grad(set_to_none=True)
            total.backward()
            self.generator_optimiser.step()
            terms |= {name: term.detach() for name, (_, term) in parts.items()}
        return terms

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.source.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bfloat16"
        )

    def _fooled(self, judged: Judgement) -> Tensor:
        return losses.generator_source_loss(self.config.losses.adversarial, judged.source)

    def _judge_loss(
        self, judge: Discriminator, real: Batch, generated: Batch | None, terms: dict[str, Tensor]
    ) -> Tensor:
        """The weighted sum for trunk and heads; writes its terms."""
        weights, phase = self.config.losses, self.phase
        on_real = on_generated = None
        with self._autocast():
            if phase.images != "generated":
                on_real = judge(real.images)
            if generated is not None:
                # Separate passes: batch statistics are of one kind of image, and the running ones of real images.
                keep = _frozen_statistics(judge) if on_real is not None else contextlib.nullcontext()
                with keep:
                    on_generated = judge(generated.images.detach())
        pairs = [(on_real, real), (on_generated, generated)]
        by_class = [judged and losses.class_loss(judged.distortion, batch.distortion) for judged, batch in pairs]  # type: ignore[union-attr]
        by_quality = [
            judged and losses.quality_loss(weights.quality, judged.quality, batch.quality)  # type: ignore[union-attr]
            for judged, batch in pairs
        ]
        total = torch.zeros((), device=self.source.device)
        # A head that is not trained must not steer the trunk either.
        if "classifier" in phase.trains:
            terms["class"] = losses.weighted(by_class[0], by_class[1], phase.generated_weight)
            total = total + weights.class_weight * terms["class"]
        if "evaluator" in phase.trains:
            terms["quality"] = losses.weighted(by_quality[0], by_quality[1], phase.generated_weight)
            total = total + weights.quality_weight * terms["quality"]
        if "discriminator" in phase.trains:
            assert on_real is not None and on_generated is not None
            terms["source"] = losses.source_loss(weights.adversarial, on_real.source, on_generated.source)
            total = total + weights.adversarial_weight * terms["source"]
        for name in terms:
            terms[name] = terms[name].detach()
        return total

    def _real_batch(self, number: int, seed: int, random: torch.Generator) -> Batch:
        """The real crops of a step. An epoch sees every training image once; incomplete batches are dropped."""
        rows = self._rows(number, seed, "epoch")
        top, left = self._windows(rows, random)
        self._references = self.source.reference[rows], top, left
        return self._crops(rows, top, left)

    def _rows(self, number: int, seed: int, order_of: str) -> Tensor:
        """The training rows `[n]` of a step."""
        epoch, position = divmod(number, max(1, len(self.rows) // self.batch))
        order = torch.randperm(len(self.rows), generator=generator_for(seed, self.number, epoch, order_of))
        return self.rows[order[position * self.batch : (position + 1) * self.batch]]

    def _windows(self, rows: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        data = self.config.data
        return self.source.windows(self.source.distorted(rows), data.crop_px, random, data.crop_grid)

    def _crops(self, rows: Tensor, top: Tensor, left: Tensor) -> Batch:
        """Real distorted crops with their labels."""
        crops = self.source.gather(self.source.distorted(rows), top, left, self.config.data.crop_px)
        return self._batch(crops, self.source.distortion[rows], self.source.quality[rows])

    def _batch(self, images: Tensor, distortion: Tensor, quality: Tensor) -> Batch:
        device = self.source.device
        return Batch(images, distortion.to(device), quality.to(device))

    def _generate(self, real: Batch, number: int, seed: int, random: torch.Generator, *, with_gradient: bool) -> Batch:
        """Generated crops, as many as real ones, from the references of the batch, same windows; or a control's."""
        if self.phase.generated_by == "real_crops":
            rows = self._rows(number, seed, "further crops")
            return self._crops(rows, *self._windows(rows, random))
        crop_px = self.config.data.crop_px
        references = self.source.gather(*self._references, crop_px)
        if self.phase.conditions == "paired":
            asked = real
        else:
            distortion, quality = self._ask(len(references), random)
            asked = self._batch(references, distortion, quality)
        if self.phase.generated_by == "identity":
            return Batch(references, asked.distortion, asked.quality)
        if self.phase.generated_by == "procedures":
            images = procedures.distort(
                references, asked.distortion, self._severity(asked.quality), self.source.distortions, random
            )
            return Batch(images, asked.distortion, asked.quality)
        generator = self.network.generator
        assert isinstance(generator, Generator)
        noise = generator.draw_noise(len(references), crop_px, random).to(self.source.device)
        with torch.set_grad_enabled(with_gradient), self._autocast():
            images = generator(noise, references, asked.distortion, asked.quality)
        return Batch(images, asked.distortion, asked.quality)

    def _severity(self, quality: Tensor) -> Tensor:
        """Qualities as shares of the training range, 0 at its best and 1 at its worst."""
        seen = self.source.quality[self.rows]
        low, high = float(seen.min()), float(seen.max())
        return ((high - quality) / (high - low)).clamp(0, 1) if high > low else torch.zeros_like(quality)

    def _ask(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Classes and qualities `[n]` to ask of the generator, within what the training labels cover."""
        distortions, qualities = self.source.distortion[self.rows], self.source.quality[self.rows]
        present = distortions.unique()
        distortion = present[torch.randint(len(present), (n,), generator=random)]
        low, high = qualities.min(), qualities.max()
        if self.phase.conditions == "empirical":
            draws = torch.rand(n, generator=random)
            quality = torch.empty(n)
            for c in present:
                of_class = qualities[distortions == c]
                here = distortion == c
                chosen = of_class[(draws[here] * len(of_class)).long()]
                noisy = chosen + JITTER * torch.randn(int(here.sum()), generator=random)
                quality[here] = noisy.clamp(of_class.min(), of_class.max())
        elif self.phase.conditions == "uniform":
            quality = low + (high - low) * torch.rand(n, generator=random)
        else:  # grid
            # A batch may be smaller than the grid; its cells are drawn, so that all of them get their turn.
            levels = max(GRID_LEVELS, int(np.ceil(n / len(present))))
            cells = torch.randperm(len(present) * levels, generator=random)[:n]
            distortion = present[cells % len(present)]
            quality = torch.linspace(0, 1, levels)[cells // len(present)] * (high - low) + low
        return distortion, quality


@contextlib.contextmanager
def _only(network: Gada, name: str) -> Iterator[None]:
    """Gradients reach one part only; they pass through the others."""
    others = [p for part in PARTS if part != name for p in network.part(part).parameters() if p.requires_grad]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def _adam(network: Gada, rates: RateConfig, phase: PhaseConfig, parts: list[str]) -> torch.optim.Adam | None:
    """Adam over the trained ones of some parts, each at its rate; None if the phase trains none of them."""
    groups = []
    for part in parts:
        if part in phase.trains:
            rate = rates.discriminator if part == "trunk" else getattr(rates, part)
            groups.append({"params": list(network.part(part).parameters()), "lr": rate * phase.rate_factor})
    if not groups:
        return None
    # The fused kernel is one pass over all weights; it is as deterministic as the loop.
    return torch.optim.Adam(groups, betas=(rates.beta1, rates.beta2), fused=True)


Report = Callable[[dict[str, float | int | str]], None]
