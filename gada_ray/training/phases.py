"""One loop that trains any phase: GAN, augmentation, fine-tuning, direct baseline and every control.

Letters in shapes: n crops in a batch, c crop side, k distortion classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from gada_ray import devices
from gada_ray.config import PARTS, PhaseConfig, RateConfig, TrainingConfig
from gada_ray.data import sampling
from gada_ray.data.crops import CropSource, corners, generator_for, random_places, seed_for
from gada_ray.model.discriminator import Discriminator, Gada, Judgement
from gada_ray.model.generator import Generator, make_generator
from gada_ray.model.layers import local_mean, normalised_contrast
from gada_ray.training import losses, procedures
from gada_ray.training.averages import Average

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
        generator = make_generator(config.model, distortions) if config.uses_generator else None
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

    def __init__(
        self,
        network: Gada,
        source: CropSource,
        rows: Tensor,
        config: TrainingConfig,
        number: int,
        average: Average | None = None,
        references: Tensor | None = None,
    ) -> None:
        """Start phase `number` of a configuration on training rows `[m]` of the source's dataset.

        `average` is the network's moving average so far; without it, one begins here. `references` are numbers of the
        references that generated images may start from; without them, those of the rows.
        """
        self.network, self.source, self.rows, self.config = network, source, rows, config
        self.average = average or Average(network, config.average_decay)
        self.number = number
        self.phase: PhaseConfig = config.phases[number]
        rates = config.rates
        self.judge_optimiser = _adam(network, rates, rates.beta2, self.phase, [p for p in PARTS if p != "generator"])
        self.generator_optimiser = _adam(network, rates, rates.generator_beta2, self.phase, ["generator"])
        self.references = source.reference[rows].unique() if references is None else references
        data = config.data
        self.images = data.batch // data.crops_per_image
        # A few rated images fill a batch with several crops of each, so that any number of them trains as long.
        if data.rated_images is None:
            self.images = min(self.images, len(rows))
        self.batch = self.images * data.crops_per_image
        self.sampler = None
        if data.sampling != "uniform":
            self.sampler = sampling.sampler(
                source.dataset, rows.numpy(), data.sampling, data.crop_px, data.crop_grid, data.temperature
            )
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

        Every draw comes from `seed` and the step's number, so a step can be repeated alone. Judge and generator both
        answer the other as it was before the step, so that generated crops are judged once for both.
        """
        phase, judge = self.phase, self.network.judge
        random = generator_for(seed, self.number, number)
        if self.drops:
            torch.manual_seed(seed_for(seed, self.number, number, "dropout"))
        real = self._real_batch(number, seed, random)
        generated = seen = None
        terms: dict[str, Tensor] = {}
        if phase.adds_images:
            generated = self._generate(real, number, seed, random)
            # The judge's gradients end at the crops; the generator's go on from there.
            seen = replace(generated, images=generated.images.detach().requires_grad_(self.trains_generator))
        on_real = on_generated = None
        with self._autocast():
            if self.judge_optimiser is not None and phase.images != "generated":
                on_real = judge(real.images)
            if seen is not None and self._judges_generated:
                # Separate passes: batch statistics are of one kind of image, and the running ones of real images.
                keep = _frozen_statistics(judge) if on_real is not None else contextlib.nullcontext()
                with keep:
                    on_generated = judge(seen.images)
        if self.judge_optimiser is not None:
            self.judge_optimiser.zero_grad(set_to_none=True)
            weights = [weight for group in self.judge_optimiser.param_groups for weight in group["params"]]
            loss = self._judge_loss([(on_real, real), (on_generated, seen)], terms)
            if loss.requires_grad:
                loss.backward(inputs=weights, retain_graph=self.trains_generator)
        if self.generator_optimiser is not None:
            assert generated is not None and seen is not None
            (gradient,) = torch.autograd.grad(self._generator_loss(real, seen, on_generated, terms), seen.images)
            self.generator_optimiser.zero_grad(set_to_none=True)
            generated.images.backward(gradient)
            self.generator_optimiser.step()
            self.average.update(self.network, "generator")
        if self.judge_optimiser is not None:
            self.judge_optimiser.step()
            self.average.update(self.network, "judge")
        return terms

    @property
    def trains_generator(self) -> bool:
        """Whether the phase trains the generator."""
        return self.generator_optimiser is not None

    @property
    def _judges_generated(self) -> bool:
        """Whether the judge in training sees generated crops, to learn from them or to teach by its own weights."""
        losses = self.config.losses
        learns = bool(self.phase.generated_weight) or self.phase.images == "generated"
        learns = learns and bool({"trunk", "classifier", "evaluator"} & set(self.phase.trains))
        teaches = self.trains_generator and losses.generator_learns_from == "judge"
        return learns or teaches or ("discriminator" in self.phase.trains and losses.adversarial_weight > 0)

    def _autocast(self) -> torch.autocast:
        return devices.autocast(self.source.device, self.config.precision)

    def _judge_loss(self, judged: Sequence[tuple[Judgement | None, Batch | None]], terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum for trunk and heads, of judged real and generated crops; writes its terms."""
        weights, phase = self.config.losses, self.phase
        pairs = [(judgement, batch) for judgement, batch in judged if judgement is not None and batch is not None]
        shares = [1.0 if batch is judged[0][1] else phase.generated_weight for _, batch in pairs]
        if len(pairs) == 1:
            shares = [1.0]
        total = torch.zeros((), device=self.source.device)
        # A head that is not trained must not steer the trunk either.
        if "classifier" in phase.trains:
            by_class = [losses.class_loss(judgement.distortion, batch.distortion) for judgement, batch in pairs]
            terms["class"] = losses.weighted(by_class, shares)
            total = total + weights.class_weight * terms["class"]
        if "evaluator" in phase.trains:
            by_quality = [self._quality_loss(judgement, batch, judged[0][1]) for judgement, batch in pairs]
            terms["quality"] = losses.weighted(by_quality, shares)
            total = total + weights.quality_weight * terms["quality"]
        if "discriminator" in phase.trains and weights.adversarial_weight:
            (on_real, _), (on_generated, _) = judged
            assert on_real is not None and on_generated is not None
            terms["source"] = losses.source_loss(weights.adversarial, on_real.source, on_generated.source)
            total = total + weights.adversarial_weight * terms["source"]
        for name in terms:
            terms[name] = terms[name].detach()
        return total

    def _quality_loss(self, judgement: Judgement, batch: Batch, real: Batch | None) -> Tensor:
        """L_E of crops; of images where crops are weighed. Generated crops stand each for itself."""
        predicted, quality = judgement.quality, batch.quality
        if self.config.model.weighs_crops and batch is real:
            crops = self.config.data.crops_per_image
            predicted, quality = losses.weighted_quality(predicted, judgement.weight, crops), quality[::crops]
        return losses.quality_loss(self.config.losses.quality, predicted, quality)

    def _generator_loss(self, real: Batch, seen: Batch, judged: Judgement | None, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum for the generator, of its crops and what the judge in training says of them."""
        weights, teacher = self.config.losses, self.average.network.judge
        parts = {"reconstruction": (weights.l1_weight, losses.reconstruction_loss(real.images, seen.images))}
        if weights.adversarial_weight:
            assert judged is not None
            fooled = losses.generator_source_loss(weights.adversarial, judged.source)
            parts["generator_source"] = (weights.adversarial_weight, fooled)
        asked = weights.generator_class_weight or weights.generator_quality_weight
        if weights.statistics_weight or (asked and weights.generator_learns_from == "average"):
            with self._autocast():
                maps = teacher.trunk.maps(seen.images)
                if asked and weights.generator_learns_from == "average":
                    judged = teacher.heads(teacher.trunk.pooled(maps[-1]))
            if weights.statistics_weight:
                with torch.no_grad(), self._autocast():
                    wanted = teacher.trunk.maps(real.images)
                ours, wanted = [*_views(seen.images), *maps], [*_views(real.images), *wanted]
                statistics = losses.statistics_loss(ours, wanted, self.config.data.crop_px)
                parts["statistics"] = (weights.statistics_weight, statistics)
        if weights.spectrum_weight:
            parts["spectrum"] = (weights.spectrum_weight, losses.spectrum_loss(seen.images, real.images))
        if asked:
            assert judged is not None
            parts["generator_class"] = (
                weights.generator_class_weight,
                losses.class_loss(judged.distortion, seen.distortion),
            )
            parts["generator_quality"] = (
                weights.generator_quality_weight,
                losses.quality_loss(weights.quality, judged.quality, seen.quality),
            )
        terms |= {name: term.detach() for name, (_, term) in parts.items()}
        return torch.stack([weight * term for weight, term in parts.values()]).sum()

    def _real_batch(self, number: int, seed: int, random: torch.Generator) -> Batch:
        """The real crops of a step. An epoch sees every training image once; incomplete batches are dropped."""
        rows, top, left = self._windows(number, seed, "epoch", random)
        self._references = self.source.reference[rows], top, left
        batch = self._crops(rows, top, left)
        return self._with_perfect(batch, random) if self.config.data.perfect_share else batch

    def _with_perfect(self, batch: Batch, random: torch.Generator) -> Batch:
        """The same crops, those of some images replaced by ones of references, with quality 1."""
        data, (references, top, left) = self.config.data, self._references
        images = len(references) // data.crops_per_image
        perfect = (torch.rand(images, generator=random) < data.perfect_share).repeat_interleave(data.crops_per_image)
        if data.perfect_from == "training":
            chosen = torch.randint(len(self.references), (images,), generator=random)
            others = self.references[chosen].repeat_interleave(data.crops_per_image)
            places = random_places(len(others), random)
            windows = corners(self.source.shapes[others], places, data.crop_px, data.crop_grid)
            references = torch.where(perfect, others, references)
            top, left = (torch.where(perfect, new, old) for new, old in zip(windows, (top, left), strict=True))
            self._references = references, top, left
        here = perfect.nonzero()[:, 0]
        there = devices.moved(here, self.source.device)
        crops, quality = batch.images.clone(), batch.quality.clone()
        crops[there] = self.source.gather(references[here], top[here], left[here], data.crop_px)
        quality[there] = 1.0
        return Batch(crops, batch.distortion, quality)

    def _chosen(self, number: int, seed: int, order_of: str) -> Tensor:
        """Images of a step, as places in the training rows."""
        if self.images > len(self.rows):
            random = generator_for(seed, self.number, number, order_of)
            rounds = -(-self.images // len(self.rows))
            return torch.cat([torch.randperm(len(self.rows), generator=random) for _ in range(rounds)])[: self.images]
        epoch, position = divmod(number, max(1, len(self.rows) // self.images))
        order = torch.randperm(len(self.rows), generator=generator_for(seed, self.number, epoch, order_of))
        return order[position * self.images : (position + 1) * self.images]

    def _windows(self, number: int, seed: int, order_of: str, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The training rows `[n]` of a step, those of one image one after another, and their crops' corners."""
        data = self.config.data
        chosen = self._chosen(number, seed, order_of).repeat_interleave(data.crops_per_image)
        rows = self.rows[chosen]
        if self.sampler is None:
            return rows, *self.source.windows(self.source.distorted(rows), data.crop_px, random, data.crop_grid)
        windows = self.sampler.windows(chosen, torch.rand(len(chosen), generator=random, dtype=torch.float64))
        return rows, windows.top, windows.left

    def _crops(self, rows: Tensor, top: Tensor, left: Tensor) -> Batch:
        """Real distorted crops with their labels."""
        crops = self.source.gather(self.source.distorted(rows), top, left, self.config.data.crop_px)
        return self._batch(crops, self.source.distortion[rows], self.source.quality[rows])

    def _batch(self, images: Tensor, distortion: Tensor, quality: Tensor) -> Batch:
        device = self.source.device
        return Batch(images, devices.moved(distortion, device), devices.moved(quality, device))

    def _generate(self, real: Batch, number: int, seed: int, random: torch.Generator) -> Batch:
        """Generated crops, as many as real ones, from references; or a control's."""
        if self.phase.generated_by == "real_crops":
            return self._crops(*self._windows(number, seed, "further crops", random))
        crop_px = self.config.data.crop_px
        references = self._bare(random)
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
        generator = (self.network if self.trains_generator else self.average.network).generator
        assert isinstance(generator, Generator)
        noise = devices.moved(generator.draw_noise(len(references), crop_px, random), self.source.device)
        with torch.set_grad_enabled(self.trains_generator), self._autocast():
            images = generator(noise, references, asked.distortion, asked.quality)
        return Batch(images, asked.distortion, asked.quality)

    def _bare(self, random: torch.Generator) -> Tensor:
        """Crops to distort, as many as real ones: of the batch's references, same windows, or of any that may be."""
        source, data = self.source, self.config.data
        if self.phase.generated_from == "rated":
            return source.gather(*self._references, data.crop_px)
        own, shapes = len(self.references), source.shapes[self.references]
        if self.phase.generated_from == "extra":
            shapes = torch.cat([shapes, source.extra.shapes])
        chosen = torch.randint(len(shapes), (self.batch,), generator=random).sort().values  # own references first
        top, left = corners(shapes[chosen], random_places(self.batch, random), data.crop_px, data.crop_grid)
        n = int((chosen < own).sum())
        crops = source.gather(self.references[chosen[:n]], top[:n], left[:n], data.crop_px)
        if n < self.batch:
            extra = source.extra.gather(chosen[n:] - own, top[n:], left[n:], data.crop_px)
            crops = torch.cat([crops, extra])
        return crops

    def _severity(self, quality: Tensor) -> Tensor:
        """Qualities as shares of the training range, 0 at its best and 1 at its worst."""
        low, high = (float(end) for end in self._range(self.source.quality[self.rows]))
        return ((high - quality) / (high - low)).clamp(0, 1) if high > low else torch.zeros_like(quality)

    def _range(self, qualities: Tensor) -> tuple[Tensor, Tensor]:
        """The worst and the best that training shows, of some labels and of perfect images where it has such."""
        best = qualities.max()
        return qualities.min(), best.clamp(min=1.0) if self.config.data.perfect_share else best

    def _ask(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Classes and qualities `[n]` to ask of the generator, within what the training labels cover."""
        distortions, qualities = self.source.distortion[self.rows], self.source.quality[self.rows]
        present = distortions.unique()
        distortion = present[torch.randint(len(present), (n,), generator=random)]
        low, high = self._range(qualities)
        if self.phase.conditions in ("empirical", "between"):
            draws = torch.rand(n, generator=random)
            quality = torch.empty(n)
            for c in present:
                here = distortion == c
                quality[here] = self._like(qualities[distortions == c], draws[here], random)
        elif self.phase.conditions == "uniform":
            quality = low + (high - low) * torch.rand(n, generator=random)
        else:  # grid
            # A batch may be smaller than the grid; its cells are drawn, so that all of them get their turn.
            levels = max(GRID_LEVELS, int(np.ceil(n / len(present))))
            cells = torch.randperm(len(present) * levels, generator=random)[:n]
            distortion = present[cells % len(present)]
            quality = torch.linspace(0, 1, levels)[cells // len(present)] * (high - low) + low
        return distortion, quality

    def _like(self, labels: Tensor, draws: Tensor, random: torch.Generator) -> Tensor:
        """Qualities `[n]` for one class with some labels `[m]`, by uniform numbers `[n]`."""
        if self.phase.conditions == "between":
            low, high = self._range(labels)
            return low + (high - low) * draws
        noisy = labels[(draws * len(labels)).long()] + JITTER * torch.randn(len(draws), generator=random)
        return noisy.clamp(labels.min(), labels.max())


def _views(images: Tensor) -> list[Tensor]:
    """Crops as they are, without their local mean, and locally normalised, `[n, 3, h, w]` each."""
    detail = images - local_mean(images)
    return [images, detail, normalised_contrast(detail)]


def _adam(
    network: Gada, rates: RateConfig, beta2: float, phase: PhaseConfig, parts: list[str]
) -> torch.optim.Adam | None:
    """Adam over the trained ones of some parts, each at its rate; None if the phase trains none of them."""
    groups = []
    for part in parts:
        if part in phase.trains:
            rate = rates.discriminator if part == "trunk" else getattr(rates, part)
            groups.append({"params": list(network.part(part).parameters()), "lr": rate * phase.rate_factor})
    if not groups:
        return None
    # The fused kernel is one pass over all weights; it is as deterministic as the loop.
    return torch.optim.Adam(groups, betas=(rates.beta1, beta2), fused=True)


Report = Callable[[dict[str, float | int | str]], None]
