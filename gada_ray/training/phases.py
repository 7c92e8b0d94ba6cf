"""One loop that trains any phase: GAN, augmentation, fine-tuning, direct baseline and every control.

Letters in shapes: n crops in a batch, c crop side, k distortion classes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gada_ray.config import PARTS, PhaseConfig, RateConfig, TrainingConfig
from gada_ray.data.crops import CropSource, generator_for, seed_for
from gada_ray.data.dataset import DataError
from gada_ray.model.critic import PatchDiscriminator
from gada_ray.model.generator import Generator, make_generator
from gada_ray.model.quality_network import Gada, QualityNetwork
from gada_ray.system import devices
from gada_ray.training.batches import Batch, Batches
from gada_ray.training.ema import ExponentialMovingAverage
from gada_ray.training.losses import source_loss
from gada_ray.training.objectives import Seen, Terms, generator_objective, quality_network_objective
from gada_ray.training.procedural import ProceduralSource
from gada_ray.training.ranking import PairSource, ranking_loss
from gada_ray.training.strengths import StrengthSource

CRITIC_FRACTION = 0.5
"""Fraction of the paired crops of a step that a patch discriminator sees, since its pass is costly on a CPU."""


class DivergedError(ArithmeticError):
    """A loss is no longer finite; the message names it and the step."""


def build(config: TrainingConfig, distortions: int, seed: int) -> Gada:
    """The untrained network; its weights depend on the configuration and the seed only."""
    with torch.random.fork_rng(devices=[]):
        # The quality network first, so that its initial weights are the same with and without a generator.
        torch.manual_seed(seed)
        quality_network = QualityNetwork(config.model, distortions, config.data.crop_px)
        generator = make_generator(config.model, distortions) if config.uses_generator else None
        critic = PatchDiscriminator(distortions) if config.uses_critic else None
    return Gada(generator, quality_network, critic)


@contextlib.contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise with a batch's own statistics, and leave the running ones unchanged."""
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

    Trained parts are in training mode, frozen ones in evaluation mode and without gradients. A frozen part does not
    change at all, running statistics included.
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
        self.pairs = self.strengths = None
        if self.phase.real_images == "procedural":
            assert procedural is not None
            self.strengths = StrengthSource(self.batches, procedural)
        if self.phase.procedural_images:
            assert procedural is not None
            if not bool((procedural.procedure[source.distortion[rows]] >= 0).any()):
                raise DataError(
                    f"no labelled image of {source.dataset.name} is of a class with a procedure, which phase "
                    f"'{self.phase.name}' needs; label more images, or set generated_by=generator"
                )
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

    def step(self, number: int, seed: int) -> Terms:
        """Optimiser step `number` of the phase: its losses by name, as scalars on the device.

        Every draw comes from `seed` and the step's number, so that a step can be repeated alone. All players respond to
        each other's weights before the step, so that generated crops pass through the quality network once.
        """
        random = generator_for(seed, self.number, number)
        if self.drops:
            torch.manual_seed(seed_for(seed, self.number, number, "dropout"))
        real = self._real(number, seed, random)
        paired = real.first(self.batches.paired) if self.trains_generator else real
        generated = self._generate(paired, number, seed, random) if self.phase.adds_images else None
        # Gradients of the quality network end at the crops; those of the generator continue from there.
        seen = generated and replace(generated, images=generated.images.detach().requires_grad_(self.trains_generator))
        on_real, on_generated = self._outputs(real, seen)
        sources = self._sources(paired, seen)
        terms: Terms = {}
        if self.quality_optimiser is not None:
            terms |= self._quality_network_gradients(on_real, on_generated, number, seed)
        if self.critic_optimiser is not None:
            assert sources is not None
            terms |= self._critic_gradients(sources)
        if self.generator_optimiser is not None:
            assert generated is not None and seen is not None
            outputs = on_generated and on_generated.outputs
            source = sources[1] if sources else outputs and outputs.source
            teacher = self.ema.network.quality_network
            loss, parts = generator_objective(self.config, paired, seen, outputs, source, teacher)
            (gradient,) = torch.autograd.grad(loss, seen.images)
            self.generator_optimiser.zero_grad(set_to_none=True)
            generated.images.backward(gradient)
            terms |= parts
        self._update()
        return terms

    def _update(self) -> None:
        """Let every optimiser take its step, and the moving averages follow."""
        if self.generator_optimiser is not None:
            self.generator_optimiser.step()
            self.ema.update(self.network, "generator")
        if self.quality_optimiser is not None:
            self.quality_optimiser.step()
            self.ema.update(self.network, "quality_network")
        if self.critic_optimiser is not None:
            self.critic_optimiser.step()

    @property
    def trains_generator(self) -> bool:
        """Whether the phase trains the generator."""
        return self.generator_optimiser is not None

    @property
    def _sees_generated(self) -> bool:
        """Whether generated crops pass through the quality network in training, to train it or the generator."""
        losses = self.config.losses
        trained = bool(self.phase.generated_weight) or self.phase.images == "generated"
        trained = trained and bool({"backbone", "classifier", "evaluator"} & set(self.phase.trains))
        teaches = self.trains_generator and losses.generator_teacher == "online"
        return trained or teaches or self._trains_source_head

    @property
    def _trains_source_head(self) -> bool:
        """Whether the phase trains the source head on the backbone."""
        adversary = self.config.losses.adversarial_weight > 0 and self.critic_optimiser is None
        return adversary and "discriminator" in self.phase.trains

    def _autocast(self) -> torch.autocast:
        return devices.autocast(self.source.device, self.config.precision)

    def _real(self, number: int, seed: int, random: torch.Generator) -> Batch:
        """Real crops of a step, or procedural distortions in their place."""
        return self.strengths.draw(random) if self.strengths else self.batches.real(number, seed, random)

    def _outputs(self, real: Batch, generated: Batch | None) -> tuple[Seen | None, Seen | None]:
        """Outputs of the quality network for real and for generated crops, where the step needs them."""
        quality_network = self.network.quality_network
        on_real = on_generated = None
        with self._autocast():
            if self.quality_optimiser is not None and self.phase.images != "generated":
                on_real = Seen(quality_network(real.views), real)
            if generated is not None and self._sees_generated:
                # Separate passes, so that batch statistics are of one kind and the running ones of real images.
                keep = _frozen_statistics(quality_network) if on_real is not None else contextlib.nullcontext()
                with keep:
                    on_generated = Seen(quality_network(generated.views), generated)
        return on_real, on_generated

    def _quality_network_gradients(
        self, on_real: Seen | None, on_generated: Seen | None, number: int, seed: int
    ) -> Terms:
        """The gradients of backbone and heads; the losses."""
        assert self.quality_optimiser is not None
        self.quality_optimiser.zero_grad(set_to_none=True)
        weights = [weight for group in self.quality_optimiser.param_groups for weight in group["params"]]
        loss, terms = quality_network_objective(
            self.config, self.phase, on_real, on_generated, self._trains_source_head
        )
        if self.pairs is not None:
            ranking = self._ranking_loss(self.pairs, number, seed)
            loss, terms["ranking"] = loss + self.phase.ranking.weight * ranking, ranking.detach()
        if loss.requires_grad:
            loss.backward(inputs=weights, retain_graph=self.trains_generator)
        return terms

    def _generate(self, real: Batch, number: int, seed: int, random: torch.Generator) -> Batch:
        """Generated crops, as many as real ones, or those of a control."""
        if self.phase.generated_by == "real_crops":
            return self.batches.further(number, seed, random)
        if self.phase.procedural_images:
            assert self.procedural is not None
            return self.batches.procedural(real, self.procedural, random)
        requested = self.batches.requested(real, random)
        if self.phase.generated_by == "identity":
            return requested
        generator = (self.network if self.trains_generator else self.ema.network).generator
        assert isinstance(generator, Generator)
        noise_seed = seed_for(seed, self.number, number, "noise")
        random = devices.noise_generator(random, self.source.device, noise_seed)
        noise = generator.draw_noise(len(requested.images), self.config.data.crop_px, random)
        with torch.set_grad_enabled(self.trains_generator), self._autocast():
            images = generator(noise, requested.images, requested.distortion, requested.quality)
        return replace(requested, images=images, undistorted=requested.images)

    def _sources(self, real: Batch, seen: Batch | None) -> tuple[Tensor, Tensor] | None:
        """Logits `[n]` of the patch discriminator for real and for generated crops; None if it is not trained."""
        if self.critic_optimiser is None:
            return None
        assert seen is not None and seen.undistorted is not None and self.network.critic is not None
        # Cached, so that both kinds of crops pass the same weights and the spectral norm is estimated once.
        with parametrize.cached(), self._autocast():
            n = math.ceil(CRITIC_FRACTION * len(real.images))
            on_real, on_generated = (
                self.network.critic(seen.undistorted[:n], batch.images[:n], batch.distortion[:n], batch.quality[:n])
                for batch in (real, seen)
            )
        return on_real, on_generated

    def _critic_gradients(self, sources: tuple[Tensor, Tensor]) -> Terms:
        """The gradients of -L_S for the patch discriminator, from its logits of real and generated crops; the loss."""
        assert self.critic_optimiser is not None and self.network.critic is not None
        weights = self.config.losses
        loss = source_loss(weights.adversarial, *sources, weights.reduction)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.network.critic.parameters()), retain_graph=True)
        return {"source": loss.detach()}

    def _ranking_loss(self, source: PairSource, number: int, seed: int) -> Tensor:
        """The ranking term of a step, in a separate pass that leaves running statistics unchanged."""
        generator = self.ema.network.generator
        pairs = source.draw(number, seed, generator if isinstance(generator, Generator) else None)
        with _frozen_statistics(self.network.quality_network), self._autocast():
            quality, _ = self.network.quality_network.evaluate(pairs.images)
        return ranking_loss(quality, pairs)


def _adam(
    network: Gada, rates: RateConfig, beta2: float, phase: PhaseConfig, parts: list[str]
) -> torch.optim.Adam | None:
    """Adam for those of some parts that the phase trains, each at its learning rate; None if it trains none of them."""
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
