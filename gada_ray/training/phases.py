"""One loop that trains any phase: GAN, augmentation, fine-tuning, direct baseline and every control.

Letters in shapes: n crops in a batch, c crop side, k distortion classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gada_ray.config import PARTS, PhaseConfig, RateConfig, TrainingConfig
from gada_ray.data.crops import CropSource, generator_for, seed_for
from gada_ray.model.critic import PatchDiscriminator
from gada_ray.model.generator import Generator, make_generator
from gada_ray.model.quality_network import Gada, Outputs, QualityNetwork
from gada_ray.system import devices
from gada_ray.training import losses
from gada_ray.training.batches import Batch, Batches
from gada_ray.training.ema import ExponentialMovingAverage
from gada_ray.training.procedural import ProceduralSource
from gada_ray.training.ranking import PairSource, ranking_loss

CRITIC_SEES_ONE_OF = 2
"""Of the crops of a step, for a patch discriminator: half of them teach as much in half of its time."""


class DivergedError(ArithmeticError):
    """A loss stopped being a finite number; says which one, where."""


def build(config: TrainingConfig, distortions: int, seed: int) -> Gada:
    """The untrained network; its weights depend on the configuration and the seed only."""
    with torch.random.fork_rng(devices=[]):
        # The quality network first, so that its first weights are the same with and without a generator.
        torch.manual_seed(seed)
        quality_network = QualityNetwork(config.model, distortions, config.data.crop_px)
        generator = make_generator(config.model, distortions) if config.uses_generator else None
        critic = PatchDiscriminator(distortions) if config.uses_critic else None
    return Gada(generator, quality_network, critic)


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
        procedural: ProceduralSource | None = None,
    ) -> None:
        """Start phase `number` of a configuration on training rows `[m]` of the source's dataset.

        `ema` is the network's moving average so far; without it, one begins here. `references` are numbers of the
        references that generated images may start from; without them, those of the rows. `procedural` holds prepared
        pictures, for phases that use procedures.
        """
        self.network, self.source, self.config = network, source, config
        self.ema = ema or ExponentialMovingAverage(network, config.ema_decay)
        self.number = number
        self.phase: PhaseConfig = config.phases[number]
        rates = config.rates
        critic = ["discriminator"] if network.critic is not None else []
        quality_network = [part for part in PARTS if part not in ("generator", *critic)]
        self.quality_optimiser = _adam(network, rates, rates.beta2, self.phase, quality_network)
        self.generator_optimiser = _adam(network, rates, rates.generator_beta2, self.phase, ["generator"])
        self.critic_optimiser = _adam(network, rates, rates.generator_beta2, self.phase, critic)
        self.batches = Batches(source, rows, config, number, references)
        self.procedural = procedural
        self.pairs = None
        if self.phase.ranks:
            made = procedural if self.phase.ranking.made_by == "procedural" else None
            self.pairs = PairSource(self.batches, made)
        self.drops = any(isinstance(part, nn.Dropout) for part in network.quality_network.modules())

    @property
    def optimisers(self) -> dict[str, torch.optim.Adam]:
        """Optimisers by name; those of parts that the phase does not train are missing."""
        known = {
            "quality_network": self.quality_optimiser,
            "generator": self.generator_optimiser,
            "critic": self.critic_optimiser,
        }
        return {name: optimiser for name, optimiser in known.items() if optimiser is not None}

    def prepare(self) -> None:
        """Set training and evaluation modes; to be called again after an evaluation."""
        for name in PARTS:
            if name != "generator" or self.network.generator is not None:
                part = self.network.part(name)
                part.train(name in self.phase.trains)
                part.requires_grad_(name in self.phase.trains)

    def step(self, number: int, seed: int) -> dict[str, Tensor]:
        """Optimiser step `number` of the phase: the losses, as scalars on the device, by name.

        Every draw comes from `seed` and the step's number, so a step can be repeated alone. Judge, patch discriminator
        and generator answer each other as they were before the step, so that generated crops are judged once for all.
        """
        phase, quality_network = self.phase, self.network.quality_network
        random = generator_for(seed, self.number, number)
        if self.drops:
            torch.manual_seed(seed_for(seed, self.number, number, "dropout"))
        real = self.batches.real(number, seed, random)
        paired = real.first(self.batches.paired) if self.trains_generator else real
        generated = seen = None
        terms: dict[str, Tensor] = {}
        if phase.adds_images:
            generated = self._generate(paired, number, seed, random)
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
        sources = self._sources(paired, seen)
        if self.quality_optimiser is not None:
            self.quality_optimiser.zero_grad(set_to_none=True)
            weights = [weight for group in self.quality_optimiser.param_groups for weight in group["params"]]
            loss = self._quality_network_loss([(on_real, real), (on_generated, seen)], terms)
            if self.pairs is not None:
                loss = loss + self.phase.ranking.weight * self._ranking_loss(self.pairs, number, seed, terms)
            if loss.requires_grad:
                loss.backward(inputs=weights, retain_graph=self.trains_generator)
        if self.critic_optimiser is not None:
            assert sources is not None
            self._critic_gradients(sources, terms)
        if self.generator_optimiser is not None:
            assert generated is not None and seen is not None
            source = sources[1] if sources else on_generated.source if on_generated else None
            aims = self._generator_loss(paired, seen, on_generated, source, terms)
            (gradient,) = torch.autograd.grad(aims, seen.images)
            self.generator_optimiser.zero_grad(set_to_none=True)
            generated.images.backward(gradient)
            self.generator_optimiser.step()
            self.ema.update(self.network, "generator")
        if self.quality_optimiser is not None:
            self.quality_optimiser.step()
            self.ema.update(self.network, "quality_network")
        if self.critic_optimiser is not None:
            self.critic_optimiser.step()
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
        return learns or teaches or self._trains_source_head

    @property
    def _trains_source_head(self) -> bool:
        """Whether the source head on the backbone learns to tell real from generated crops."""
        adversary = self.config.losses.adversarial_weight > 0 and self.critic_optimiser is None
        return adversary and "discriminator" in self.phase.trains

    def _autocast(self) -> torch.autocast:
        return devices.autocast(self.source.device, self.config.precision)

    def _generate(self, real: Batch, number: int, seed: int, random: torch.Generator) -> Batch:
        """Generated crops, as many as real ones, from references; or a control's."""
        if self.phase.generated_by == "real_crops":
            return self.batches.further(number, seed, random)
        if self.phase.procedural_images:
            assert self.procedural is not None
            return self.batches.procedural(real, self.procedural, random)
        asked = self.batches.asked(real, random)
        if self.phase.generated_by == "identity":
            return asked
        generator = (self.network if self.trains_generator else self.ema.network).generator
        assert isinstance(generator, Generator)
        seed_here = seed_for(seed, self.number, number, "noise")
        random = devices.noise_generator(random, self.source.device, seed_here)
        noise = generator.draw_noise(len(asked.images), self.config.data.crop_px, random)
        with torch.set_grad_enabled(self.trains_generator), self._autocast():
            images = generator(noise, asked.images, asked.distortion, asked.quality)
        return replace(asked, images=images, undistorted=asked.images)

    def _sources(self, real: Batch, seen: Batch | None) -> tuple[Tensor, Tensor] | None:
        """A patch discriminator's logits of real and of generated crops `[n]`; None where the phase trains none."""
        if self.critic_optimiser is None:
            return None
        assert seen is not None and seen.undistorted is not None and self.network.critic is not None
        # Cached, so that both kinds of crops meet the same weights and the spectral norm is estimated once.
        with parametrize.cached(), self._autocast():
            n = -(-len(real.images) // CRITIC_SEES_ONE_OF)
            on_real, on_generated = (
                self.network.critic(seen.undistorted[:n], batch.images[:n], batch.distortion[:n], batch.quality[:n])
                for batch in (real, seen)
            )
        return on_real, on_generated

    def _critic_gradients(self, sources: tuple[Tensor, Tensor], terms: dict[str, Tensor]) -> None:
        """The gradients of -L_S for the patch discriminator, of its logits of real and generated crops."""
        assert self.critic_optimiser is not None and self.network.critic is not None
        weights = self.config.losses
        loss = losses.source_loss(weights.adversarial, *sources, weights.reduction)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.network.critic.parameters()), retain_graph=True)
        terms["source"] = loss.detach()

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
            terms["class"] = losses.weighted(by_class, shares, weights.reduction)
            total = total + weights.class_weight * terms["class"]
        if "evaluator" in phase.trains:
            by_quality = [self._quality_loss(outputs, batch, of_kinds[0][1]) for outputs, batch in pairs]
            terms["quality"] = losses.weighted(by_quality, shares, weights.reduction)
            total = total + weights.quality_weight * terms["quality"]
        if self._trains_source_head:
            (on_real, _), (on_generated, _) = of_kinds
            assert on_real is not None and on_generated is not None
            sources = on_real.source, on_generated.source
            terms["source"] = losses.source_loss(weights.adversarial, *sources, weights.reduction)
            total = total + weights.adversarial_weight * terms["source"]
        for name in terms:
            terms[name] = terms[name].detach()
        return total

    def _ranking_loss(self, source: PairSource, number: int, seed: int, terms: dict[str, Tensor]) -> Tensor:
        """The ranking term of a step, in a pass of its own that leaves running statistics alone; writes its term."""
        generator = self.ema.network.generator
        pairs = source.draw(number, seed, generator if isinstance(generator, Generator) else None)
        with _frozen_statistics(self.network.quality_network), self._autocast():
            quality, _ = self.network.quality_network.evaluate(pairs.images)
        loss = ranking_loss(quality, pairs.margin)
        terms["ranking"] = loss.detach()
        return loss

    def _quality_loss(self, outputs: Outputs, batch: Batch, real: Batch | None) -> Tensor:
        """L_E of crops; of images where crops are weighed. Generated crops stand each for itself."""
        predicted, quality = outputs.quality, batch.quality
        if self.config.model.weighs_crops and batch is real:
            crops = self.config.data.crops_per_image
            predicted, quality = losses.weighted_quality(predicted, outputs.weight, crops), quality[::crops]
        return losses.quality_loss(self.config.losses.quality, predicted, quality)

    def _generator_loss(
        self, real: Batch, seen: Batch, outputs: Outputs | None, source: Tensor | None, terms: dict[str, Tensor]
    ) -> Tensor:
        """The weighted sum for the generator, of generated crops beside real ones and of their outputs.

        `source` are logits `[n]` of generated crops being real.
        """
        weights, teacher = self.config.losses, self.ema.network.quality_network
        parts = {"reconstruction": (weights.l1_weight, losses.reconstruction_loss(real.images, seen.images))}
        if weights.adversarial_weight:
            assert source is not None
            fooled = losses.generator_source_loss(weights.adversarial, source)
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
            if part == "discriminator" and network.critic is not None:
                rate = rates.patch_discriminator
            groups.append({"params": list(network.part(part).parameters()), "lr": rate * phase.rate_factor})
    if not groups:
        return None
    # The fused kernel is one pass over all weights; it is as deterministic as the loop.
    return torch.optim.Adam(groups, betas=(rates.beta1, beta2), fused=True)


Report = Callable[[dict[str, float | int | str]], None]
