"""One loop that trains any phase: GAN, augmentation, fine-tuning, direct baseline and every control.

Letters in shapes: n crops in a batch, c crop side, k distortion classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gada_ray.config import PARTS, PhaseConfig, RateConfig, TrainingConfig
from gada_ray.data.crops import CropSource, generator_for, seed_for
from gada_ray.model.generator import Generator, make_generator
from gada_ray.model.quality_network import Gada, Outputs, QualityNetwork
from gada_ray.system import devices
from gada_ray.training import losses, procedures
from gada_ray.training.batches import Batch, Batches
from gada_ray.training.ema import ExponentialMovingAverage


class DivergedError(ArithmeticError):
    """A loss stopped being a finite number; says which one, where."""


def build(config: TrainingConfig, distortions: int, seed: int) -> Gada:
    """The untrained network; its weights depend on the configuration and the seed only."""
    with torch.random.fork_rng(devices=[]):
        # The quality network first, so that its first weights are the same with and without a generator.
        torch.manual_seed(seed)
        quality_network = QualityNetwork(config.model, distortions, config.data.crop_px)
        generator = make_generator(config.model, distortions) if config.uses_generator else None
    return Gada(generator, quality_network)


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
        ema: ExponentialMovingAverage | None = None,
        references: Tensor | None = None,
    ) -> None:
        """Start phase `number` of a configuration on training rows `[m]` of the source's dataset.

        `average` is the network's moving ema so far; without it, one begins here. `references` are numbers of the
        references that generated images may start from; without them, those of the rows.
        """
        self.network, self.source, self.config = network, source, config
        self.ema = ema or ExponentialMovingAverage(network, config.ema_decay)
        self.number = number
        self.phase: PhaseConfig = config.phases[number]
        rates = config.rates
        self.quality_optimiser = _adam(network, rates, rates.beta2, self.phase, [p for p in PARTS if p != "generator"])
        self.generator_optimiser = _adam(network, rates, rates.generator_beta2, self.phase, ["generator"])
        self.batches = Batches(source, rows, config, number, references)
        self.drops = any(isinstance(part, nn.Dropout) for part in network.quality_network.modules())

    @property
    def optimisers(self) -> dict[str, torch.optim.Adam]:
        """Optimisers by name; those of parts that the phase does not train are missing."""
        both = {"quality_network": self.quality_optimiser, "generator": self.generator_optimiser}
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
        phase, quality_network = self.phase, self.network.quality_network
        random = generator_for(seed, self.number, number)
        if self.drops:
            torch.manual_seed(seed_for(seed, self.number, number, "dropout"))
        real = self.batches.real(number, seed, random)
        generated = seen = None
        terms: dict[str, Tensor] = {}
        if phase.adds_images:
            generated = self._generate(real, number, seed, random)
            # The quality network's gradients end at the crops; the generator's go on from there.
            seen = replace(generated, images=generated.images.detach().requires_grad_(self.trains_generator))
        on_real = on_generated = None
        with self._autocast():
            if self.quality_optimiser is not None and phase.images != "generated":
                on_real = quality_network(real.views)
            if seen is not None and self._sees_generated:
                # Separate passes: batch statistics are of one kind of image, and the running ones of real images.
                keep = _frozen_statistics(quality_network) if on_real is not None else contextlib.nullcontext()
                with keep:
                    on_generated = quality_network(seen.views)
        if self.quality_optimiser is not None:
            self.quality_optimiser.zero_grad(set_to_none=True)
            weights = [weight for group in self.quality_optimiser.param_groups for weight in group["params"]]
            loss = self._quality_network_loss([(on_real, real), (on_generated, seen)], terms)
            if loss.requires_grad:
                loss.backward(inputs=weights, retain_graph=self.trains_generator)
        if self.generator_optimiser is not None:
            assert generated is not None and seen is not None
            (gradient,) = torch.autograd.grad(self._generator_loss(real, seen, on_generated, terms), seen.images)
            self.generator_optimiser.zero_grad(set_to_none=True)
            generated.images.backward(gradient)
            self.generator_optimiser.step()
            self.ema.update(self.network, "generator")
        if self.quality_optimiser is not None:
            self.quality_optimiser.step()
            self.ema.update(self.network, "quality_network")
        return terms

    @property
    def trains_generator(self) -> bool:
        """Whether the phase trains the generator."""
        return self.generator_optimiser is not None

    @property
    def _sees_generated(self) -> bool:
        """Whether the quality network in training sees generated crops, to learn from them or to teach by its own weights."""
        losses = self.config.losses
        learns = bool(self.phase.generated_weight) or self.phase.images == "generated"
        learns = learns and bool({"backbone", "classifier", "evaluator"} & set(self.phase.trains))
        teaches = self.trains_generator and losses.generator_teacher == "online"
        return learns or teaches or ("discriminator" in self.phase.trains and losses.adversarial_weight > 0)

    def _autocast(self) -> torch.autocast:
        return devices.autocast(self.source.device, self.config.precision)

    def _generate(self, real: Batch, number: int, seed: int, random: torch.Generator) -> Batch:
        """Generated crops, as many as real ones, from references; or a control's."""
        if self.phase.generated_by == "real_crops":
            return self.batches.further(number, seed, random)
        asked = self.batches.asked(real, random)
        if self.phase.generated_by == "identity":
            return asked
        if self.phase.generated_by == "procedural":
            severity, names = self.batches.severity(asked.quality), self.source.distortions
            made = procedures.distort(asked.images, asked.distortion, severity, names, random)
            return replace(asked, images=made)
        generator = (self.network if self.trains_generator else self.ema.network).generator
        assert isinstance(generator, Generator)
        seed_here = seed_for(seed, self.number, number, "noise")
        random = devices.noise_generator(random, self.source.device, seed_here)
        noise = generator.draw_noise(len(asked.images), self.config.data.crop_px, random)
        with torch.set_grad_enabled(self.trains_generator), self._autocast():
            images = generator(noise, asked.images, asked.distortion, asked.quality)
        return replace(asked, images=images)

    def _quality_network_loss(
        self, of_kinds: Sequence[tuple[Outputs | None, Batch | None]], terms: dict[str, Tensor]
    ) -> Tensor:
        """The weighted sum for backbone and heads, of judged real and generated crops; writes its terms."""
        weights, phase = self.config.losses, self.phase
        pairs = [(outputs, batch) for outputs, batch in of_kinds if outputs is not None and batch is not None]
        shares = [1.0 if batch is of_kinds[0][1] else phase.generated_weight for _, batch in pairs]
        if len(pairs) == 1:
            shares = [1.0]
        total = torch.zeros((), device=self.source.device)
        # A head that is not trained must not steer the backbone either.
        if "classifier" in phase.trains:
            by_class = [losses.class_loss(outputs.distortion, batch.distortion) for outputs, batch in pairs]
            terms["class"] = losses.weighted(by_class, shares)
            total = total + weights.class_weight * terms["class"]
        if "evaluator" in phase.trains:
            by_quality = [self._quality_loss(outputs, batch, of_kinds[0][1]) for outputs, batch in pairs]
            terms["quality"] = losses.weighted(by_quality, shares)
            total = total + weights.quality_weight * terms["quality"]
        if "discriminator" in phase.trains and weights.adversarial_weight:
            (on_real, _), (on_generated, _) = of_kinds
            assert on_real is not None and on_generated is not None
            terms["source"] = losses.source_loss(weights.adversarial, on_real.source, on_generated.source)
            total = total + weights.adversarial_weight * terms["source"]
        for name in terms:
            terms[name] = terms[name].detach()
        return total

    def _quality_loss(self, outputs: Outputs, batch: Batch, real: Batch | None) -> Tensor:
        """L_E of crops; of images where crops are weighed. Generated crops stand each for itself."""
        predicted, quality = outputs.quality, batch.quality
        if self.config.model.weighs_crops and batch is real:
            crops = self.config.data.crops_per_image
            predicted, quality = losses.weighted_quality(predicted, outputs.weight, crops), quality[::crops]
        return losses.quality_loss(self.config.losses.quality, predicted, quality)

    def _generator_loss(self, real: Batch, seen: Batch, outputs: Outputs | None, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum for the generator, of its crops beside real ones, and what the quality network says of them."""
        weights, teacher = self.config.losses, self.ema.network.quality_network
        parts = {"reconstruction": (weights.l1_weight, losses.reconstruction_loss(real.images, seen.images))}
        if weights.adversarial_weight:
            assert outputs is not None
            fooled = losses.generator_source_loss(weights.adversarial, outputs.source)
            parts["generator_source"] = (weights.adversarial_weight, fooled)
        asked = weights.generator_class_weight or weights.generator_quality_weight
        if weights.statistics_weight or (asked and weights.generator_teacher == "ema"):
            with self._autocast():
                maps = teacher.backbone.maps(seen.views)
                if asked and weights.generator_teacher == "ema":
                    outputs = teacher.heads(teacher.backbone.pooled(maps[-1]))
            if weights.statistics_weight:
                with torch.no_grad(), self._autocast():
                    wanted = [real.images, real.views.detail, real.views.contrast, *teacher.backbone.maps(real.views)]
                ours = [seen.images, seen.views.detail, seen.views.contrast, *maps]
                statistics = losses.statistics_loss(ours, wanted, self.config.data.crop_px)
                parts["statistics"] = (weights.statistics_weight, statistics)
        if weights.spectrum_weight:
            parts["spectrum"] = (weights.spectrum_weight, losses.spectrum_loss(seen.images, real.images))
        if asked:
            assert outputs is not None
            parts["generator_class"] = (
                weights.generator_class_weight,
                losses.class_loss(outputs.distortion, seen.distortion),
            )
            parts["generator_quality"] = (
                weights.generator_quality_weight,
                losses.quality_loss(weights.quality, outputs.quality, seen.quality),
            )
        terms |= {name: term.detach() for name, (_, term) in parts.items()}
        return torch.stack([weight * term for weight, term in parts.values()]).sum()


def _adam(
    network: Gada, rates: RateConfig, beta2: float, phase: PhaseConfig, parts: list[str]
) -> torch.optim.Adam | None:
    """Adam over the trained ones of some parts, each at its rate; None if the phase trains none of them."""
    groups = []
    for part in parts:
        if part in phase.trains:
            rate = rates.discriminator if part == "backbone" else getattr(rates, part)
            groups.append({"params": list(network.part(part).parameters()), "lr": rate * phase.rate_factor})
    if not groups:
        return None
    # The fused kernel is one pass over all weights; it is as deterministic as the loop.
    return torch.optim.Adam(groups, betas=(rates.beta1, beta2), fused=True)


Report = Callable[[dict[str, float | int | str]], None]
