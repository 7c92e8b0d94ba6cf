"""The configuration of one training: a tree of frozen, validated values.

It holds everything that changes the numbers and nothing else. Paths, workers, device and threads are not part of it, so
that a training has the same signature on a laptop and on a cluster. The defaults are those of the recipe "gada"
(recipes.py); docs/protocol.md gives the reason for each that the paper leaves open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, ValidationError, model_validator

from gada_ray.errors import UserError

CODE_VERSION = 4
"""Raised by one whenever the same configuration would train to different numbers; part of every signature."""

PARTS = ("generator", "backbone", "discriminator", "classifier", "evaluator")
Alignment = Literal["aligned", "unaligned", "mixed"]
Part = Literal["generator", "backbone", "discriminator", "classifier", "evaluator"]


class Frozen(BaseModel):
    """A frozen value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DataConfig(Frozen):
    """Selection of images, and of crops from them (section 4.2)."""

    crop_px: PositiveInt = 64
    """Side of the square training and test crops in pixels (the paper: 128; 64 in its Table 1)."""
    aligned_fraction: float = Field(default=0.5, ge=0, le=1)
    """Fraction of a step's crops whose corners are aligned to the 8x8 JPEG grid; the others are unaligned. A network
    that sees aligned crops alone fails on images that were cropped after compression."""
    batch: PositiveInt = 32
    """Crops of real distorted images in a step (the paper: 64)."""
    crops_per_image: PositiveInt = 1
    """Crops of each image in a step; they count towards the batch."""
    sampling: Literal["uniform", "saliency", "activity", "difference"] = "activity"
    """Density of training crops: uniform, or higher where the image is salient (spectral residual), where its local
    contrast is high (activity), or where it differs from its reference."""
    temperature: float = Field(default=0.5, gt=0)
    """Temperature of a sampling that is not uniform: a window has the probability of its mean in the map to the power 1
    / temperature. A tenth of the crops is uniform in any case."""
    include_reference_copies: bool = False
    """LIVE only: keep the 203 undistorted copies of references among the distorted images (the paper's 982 images)."""
    dmos: Literal["original", "realigned"] = "original"
    """LIVE only: scores of dmos.mat or of dmos_realigned.mat."""
    drop_artificial_reference: bool = False
    """TID2013 only: leave out the synthetic reference i25 and its images."""
    shorter_side: PositiveInt | None = None
    """Largest shorter side in pixels, to which larger images are shrunk when they are read; None keeps their size."""
    demo_local: bool = False
    """Demo only: add two local distortions, patches of another intensity and displaced patches."""
    labelled_images: PositiveInt | None = None
    """Number of labelled distorted images in the training part; None takes all. Smaller sets are subsets of larger ones
    and hold every class as far as possible. Neither scores nor pixels of the other images are used."""
    labelled_by: Literal["reference", "random"] = "reference"
    """Order in which images are labelled: all images of one reference before the next, or at random."""
    pristine_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of a step's real crops that are replaced by crops of pristine references, with quality 1 and the class
    of the image that they replace."""
    pristine_from: Literal["labelled", "training"] = "labelled"
    """Pristine references: that of the replaced image in the same window, or any of the training part."""

    @property
    def generator_alignment(self) -> float:
        """Fraction of aligned crops where the generator is measured: 1 if it learns from aligned crops, else 0."""
        return float(self.aligned_fraction > 0)


class ModelConfig(Frozen):
    """The network of section 3.3, or the backbone and evaluator of another method."""

    network: Literal["gada", "kang", "diqam"] = "gada"
    """Backbone and evaluator: the paper's; the CNN of Kang et al. (2014) with one convolution; or DIQaM-NR of Bosse et
    al. (2018) with ten. Of the backbone's fields below, the latter two use normalisation alone."""
    normalisation: Literal["none", "mscn", "both"] = "mscn"
    """Fixed normalisation of the backbone's input: none, local mean and contrast (MSCN), or both concatenated."""
    backbone_widths: tuple[PositiveInt, ...] = (64, 128, 128)
    """Feature maps of the backbone's stride-2 convolutions."""
    feature_maps: PositiveInt = 1024
    """Feature maps of the backbone's last, 1x1 convolution, which all heads share."""
    head: Literal["gap", "valid", "flatten", "dense"] = "gap"
    """Reduction of the feature maps before the heads: global average pooling; a convolution as large as the maps;
    flattening; or heads at every location."""
    head_units: PositiveInt = 128
    """Units of the first fully connected layer of classifier and evaluator."""
    weighs_crops: bool = False
    """Let the evaluator also predict a weight for each crop, as in WaDIQaM (Bosse et al., 2018); L_E is then that of
    the weighted mean over the crops of an image."""
    norm: Literal["batch", "instance", "none", "spectral"] = "batch"
    """Normalisation between convolutions, except after the first of each network."""
    generator: Literal["modulated", "plain"] = "modulated"
    """modulated: a change of the reference, modulated by class, quality and noise at every resolution. plain: the
    paper's auto-encoder, conditioned at its bottleneck; the fields below belong to it alone unless they say
    otherwise."""
    generator_widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (64, 128, 128)
    """Feature maps of the encoder of either generator; the decoder mirrors them."""
    embedding: PositiveInt = 32
    """Size of the class embedding of either generator, and of the quality embedding of a plain one."""
    noise_dim: int = Field(default=96, ge=0)
    """Size of the Gaussian noise z of a plain generator; a modulated one draws a value for each pixel and channel. 0
    removes the noise from either."""
    noise_map: bool = False
    """Draw z at every location of the bottleneck instead of once an image."""
    condition_at: Literal["bottleneck", "input", "both"] = "bottleneck"
    """Where the generator receives class and quality."""
    skips: bool = True
    """U-Net connections from encoder to decoder at 1/4 and 1/2 resolution."""
    upsampling: Literal["transpose", "resize"] = "transpose"
    """Decoder: 4x4 transposed convolutions, or nearest-neighbour resizing followed by 3x3 convolutions."""
    output: Literal["image", "residual"] = "image"
    """Output of the decoder: the distorted image, or a change of the reference that starts at zero."""
    colour_transform: bool = True
    """Modulated generator only: class and quality also determine a matrix and an offset of RGB, for mean shifts and
    changes of contrast or saturation."""
    discriminator: Literal["patch", "backbone"] = "patch"
    """The discriminator of L_S: a small network of its own that compares a crop with its reference; or, as in the
    paper, a source head on the shared backbone."""


class LossConfig(Frozen):
    """Weights and forms of the losses (Eqs. 1-3 and the L1 term); the paper gives none."""

    adversarial: Literal["bce", "hinge", "lsgan"] = "hinge"
    """Form of L_S (Eq. 1)."""
    adversarial_weight: NonNegativeFloat = 0.1
    """Weight of L_S in the generator's loss, and of a source head in the quality network's; 0 removes the adversary."""
    reduction: Literal["mean", "sum"] = "mean"
    """Combination of a loss over real and generated crops: their mean, or their sum as in the paper."""
    l1_weight: NonNegativeFloat = 6.0
    """Weight of |y - G(z, x, c, q)| for images in [0, 1]."""
    statistics_weight: NonNegativeFloat = 1.0
    """Weight of the distance between statistics of feature maps of generated and of distorted crops."""
    spectrum_weight: NonNegativeFloat = 1.0
    """Weight of the distance between their 8x8 DCT spectra."""
    class_weight: NonNegativeFloat = 1.0
    """Weight of L_C (Eq. 2) for backbone and classifier."""
    quality: Literal["l1", "mse", "huber"] = "l1"
    """Form of L_E (Eq. 3) on quality in [0, 1]: absolute error, squared error as in the paper, or Huber's."""
    quality_weight: NonNegativeFloat = 1.0
    """Weight of L_E (Eq. 3) for backbone and evaluator."""
    generator_class_weight: NonNegativeFloat = 0.1
    """Weight of L_C in the generator's loss."""
    generator_quality_weight: NonNegativeFloat = 0.6
    """Weight of L_E in the generator's loss."""
    generator_teacher: Literal["ema", "online"] = "ema"
    """Weights of the quality network whose L_C and L_E the generator minimises: their moving average, or those in
    training as in the paper."""


class RateConfig(Frozen):
    """Adam and its four learning rates (section 4.2)."""

    discriminator: float = Field(default=5e-4, gt=0)
    """Backbone and source head (the paper: 1e-4)."""
    generator: float = Field(default=1e-3, gt=0)
    classifier: float = Field(default=5e-4, gt=0)
    evaluator: float = Field(default=5e-4, gt=0)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    generator_beta2: float = Field(default=0.99, ge=0, lt=1)
    """beta2 of the generator and of a patch discriminator."""
    patch_discriminator: float = Field(default=4e-4, gt=0)
    """Patch discriminator."""


class RankingConfig(Frozen):
    """The ranking term: of one picture distorted twice in the same way, the weaker distortion must have higher quality.

    Not in the paper. It follows RankIQA (Liu et al., 2017), as a term of the loss, and needs no labels.
    """

    weight: NonNegativeFloat = 0.0
    """Weight of mean(max(0, margin - (better - worse))) for backbone and evaluator; 0 leaves the term out."""
    pairs: PositiveInt = 16
    """Pairs of crops in a step."""
    margin: NonNegativeFloat = 0.03
    """Margin in quality for each step of strength, of which procedures have six. Pairs of the generator have half the
    difference of their requested qualities instead."""
    made_by: Literal["procedural", "generator"] = "procedural"
    """Source of the distorted pairs: procedures (data/procedural.py), or the EMA generator at two qualities of a
    class."""
    least_difference: float = Field(default=0.0, ge=0, lt=1)
    """Least difference of the two qualities requested from the generator, as a share of the range of the class's
    labels."""
    only_stronger: bool = False
    """Leave out pairs of the generator whose worse crop differs less from the reference (mean squared error) than the
    better one: the generator contradicts its own order."""
    other_picture: float = Field(default=0.0, ge=0, le=1)
    """Share of the procedural pairs whose worse crop shows another picture than the better one. Its strength is then
    greater by at least half of the range."""
    references: Literal["labelled", "training", "extra"] = "training"
    """Pictures to distort: the references of the labelled images, all references of the training part, or these and
    unlabelled photographs (tune.py --extra-references)."""


class PhaseConfig(Frozen):
    """One phase of training: its length, the parts that it trains, and the images that it uses."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9_]+$")
    steps: PositiveInt
    """Optimiser steps."""
    trains: tuple[Part, ...]
    """Parts whose weights are trained; every other part stays bitwise unchanged."""
    images: Literal["real", "generated", "both"]
    """Distorted images on which classifier and evaluator are trained."""
    real_images: Literal["labelled", "procedural"] = "labelled"
    """Real images of the phase: the labelled ones; or, in their place and without their pixels, procedural distortions
    of the training part's references. Quality then falls evenly with strength over the range of the class's labels, so
    that a phase before the first one can teach the generator strengths. Classes without an order of strength make
    none."""
    conditions: Literal["paired", "empirical", "between", "uniform", "grid"] = "paired"
    """Class and quality requested from the generator: those of the real batch (paired); a class with qualities like its
    training labels (empirical); a class with a quality drawn evenly between its lowest and highest label, where
    data.pristine_fraction counts as 1 (between); evenly over the range of all labels (uniform); or a regular grid of
    both in random order (grid)."""
    generated_by: Literal["generator", "identity", "procedural", "real_crops"] = "generator"
    """Source of the generated images: the generator, or a control in phases that do not train it: the reference itself
    with the requested label (identity), procedural distortions, or further real crops with their own labels."""
    generated_from: Literal["labelled", "training", "extra"] = "labelled"
    """Pictures to distort: the references of the batch in the same windows; any reference of the training part; or any
    of these and of unlabelled photographs (tune.py --extra-references)."""
    extra_fingerprint: str | None = None
    """Sha256 of the unlabelled photographs in hex; filled in from the files."""
    generated_weight: float = Field(default=1.0, ge=0)
    """Weight of generated crops in L_C and L_E, relative to real crops, in phases that see both."""
    skip_unmatched: bool = False
    """Leave out distortion classes that have no procedure, instead of refusing them."""
    ranking: RankingConfig = RankingConfig()
    """The ranking term."""
    rate_factor: float = Field(default=1.0, gt=0)
    """Factor on all learning rates (the paper: 0.1 in phases 2 and 3)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.trains:
            raise ValueError(f"phase '{self.name}' trains nothing; name at least one of {', '.join(PARTS)}")
        if len(set(self.trains)) != len(self.trains):
            raise ValueError(f"phase '{self.name}' names a part twice in trains={self.trains}")
        if "generator" in self.trains and (self.images, self.conditions) != ("both", "paired"):
            raise ValueError(
                f"phase '{self.name}' trains the generator, which needs images='both' and conditions='paired' "
                f"(the L1 loss compares it with real distorted crops), got {self.images!r} and {self.conditions!r}"
            )
        if "generator" in self.trains and self.generated_by != "generator":
            raise ValueError(
                f"phase '{self.name}' trains the generator, so its images must be generated_by='generator', "
                f"got {self.generated_by!r}"
            )
        if self.generated_from != "labelled" and ("generator" in self.trains or not self.uses_references):
            raise ValueError(
                f"phase '{self.name}' distorts no references but those of the batch: it trains the generator, which is "
                f"compared with their true distortions, or distorts none; got generated_from={self.generated_from!r}"
            )
        if self.extra_fingerprint is not None and not self.uses_extra:
            raise ValueError(
                f"phase '{self.name}' names photographs in extra_fingerprint, which only generated_from='extra' or "
                f"ranking.references='extra' distorts, got {self.generated_from!r} and {self.ranking.references!r}"
            )
        if self.ranking.weight and "evaluator" not in self.trains:
            raise ValueError(f"phase '{self.name}' has a ranking term, which trains the evaluator; name it in trains")
        if self.skip_unmatched and self.procedural_images and self.conditions == "paired":
            raise ValueError(
                f"phase '{self.name}' leaves classes without a procedure out, so it cannot distort by the classes of "
                f"the real batch; choose other conditions than 'paired'"
            )
        if self.real_images == "procedural" and ("generator" not in self.trains or self.ranks):
            raise ValueError(
                f"phase '{self.name}' has procedural distortions for real images, which teach a generator strengths; "
                f"name the generator in trains and leave the ranking term out"
            )
        if "discriminator" in self.trains and self.images != "both":
            raise ValueError(f"phase '{self.name}' trains the discriminator, which needs images='both'")
        return self

    @property
    def adds_images(self) -> bool:
        """Whether the phase needs generated images, whatever makes them."""
        return self.images != "real"

    @property
    def ranks(self) -> bool:
        """Whether the phase has a ranking term."""
        return self.ranking.weight > 0

    @property
    def procedural_images(self) -> bool:
        """Whether procedures make the phase's generated images."""
        return self.adds_images and self.generated_by == "procedural"

    @property
    def uses_procedures(self) -> bool:
        """Whether procedures distort pictures for any purpose of the phase."""
        ranks = self.ranks and self.ranking.made_by == "procedural"
        return ranks or self.procedural_images or self.real_images == "procedural"

    @property
    def uses_extra(self) -> bool:
        """Whether the phase distorts photographs without labels."""
        return self.generated_from == "extra" or (self.ranks and self.ranking.references == "extra")

    @property
    def uses_references(self) -> bool:
        """Whether the phase needs the distorted images' references."""
        return self.ranks or (self.adds_images and self.generated_by != "real_crops")

    @property
    def uses_generator(self) -> bool:
        """Whether the phase needs the generator."""
        ranks = self.ranks and self.ranking.made_by == "generator"
        return ranks or (self.adds_images and self.generated_by == "generator")


class EvaluationConfig(Frozen):
    """The prediction of an image from its crops (section 4.2), and the learning curve."""

    crops: PositiveInt = 30
    """Test crops of each image."""
    placement: Literal["random", "even"] = "random"
    """Placement of the crops: random, or evenly spread over the image."""
    sampling: Literal["uniform", "saliency", "activity"] = "activity"
    """Density of random crops, from the image alone; as in training."""
    temperature: float = Field(default=0.5, gt=0)
    """Temperature of the sampling, as in training."""
    alignment: Alignment | None = None
    """Corners of the crops: aligned to the 8x8 JPEG grid, unaligned, or one of each in turn (mixed). None: as in
    training, and mixed where training is."""
    pooling: Literal["mean", "median", "inverse", "learned"] = "mean"
    """Prediction of an image from those of its crops: mean; median; mean weighted by inverse probability, which is
    unbiased for the mean over the image; or weighted by the evaluator (learned)."""
    weights: Literal["ema", "final"] = "ema"
    """Weights that are tested and published: the exponential moving average, or those of the final step."""
    independent_evaluator_steps: int = Field(default=0, ge=0)
    """Steps of the independent evaluator, a quality network that is trained on real crops of the same references and
    measures conditioning fidelity; 0 leaves it out."""
    curve_points: int = Field(default=10, ge=0)
    """Points of the learning curve in each phase; the last is its end."""
    curve_crops: PositiveInt = 4
    """Test crops of each image at the points of the curve."""


class TrainingConfig(Frozen):
    """One complete training and its evaluation."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    losses: LossConfig = LossConfig()
    rates: RateConfig = RateConfig()
    phases: tuple[PhaseConfig, ...] = Field(min_length=1)
    evaluation: EvaluationConfig = EvaluationConfig()
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the moving average of the weights, for each step. The average is tested, teaches the generator, and
    generates in phases that do not train the generator. 0 follows the latest weights."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of convolutions and linear layers; weights and losses stay in float32."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        least = {"gada": 1, "kang": 8, "diqam": 32}[self.model.network]
        if self.data.crop_px < least:
            raise ValueError(
                f"crop_px must be at least {least} for the network '{self.model.network}', got {self.data.crop_px}"
            )
        if self.model.network != "gada" and self.model.head != "gap":
            raise ValueError(f"head '{self.model.head}' is of the network 'gada'; '{self.model.network}' has its own")
        if self.model.network != "gada" and self.model.weighs_crops:
            raise ValueError(f"model.weighs_crops is of the network 'gada', not of '{self.model.network}'")
        if self.data.batch % self.data.crops_per_image:
            raise ValueError(
                f"data.batch must be a multiple of data.crops_per_image = {self.data.crops_per_image}, "
                f"got {self.data.batch}"
            )
        if self.model.weighs_crops and self.data.crops_per_image == 1:
            raise ValueError(
                "model.weighs_crops needs several crops of an image in a step: data.crops_per_image of 2 or more"
            )
        for phase in self.phases:
            if phase.real_images == "procedural" and (self.data.crops_per_image > 1 or self.data.pristine_fraction):
                raise ValueError(
                    f"phase '{phase.name}' draws each procedural distortion once; set data.crops_per_image to 1 and "
                    f"data.pristine_fraction to 0"
                )
        if self.evaluation.pooling == "learned" and not self.model.weighs_crops:
            raise ValueError("evaluation.pooling 'learned' needs model.weighs_crops = true")
        if self.evaluation.placement == "even" and self.evaluation.sampling != "uniform":
            raise ValueError(
                f"evaluation.sampling '{self.evaluation.sampling}' draws crops; placement 'even' spreads them without"
            )
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names):
            raise ValueError(f"phases need names of their own, got {names}")
        crop, halvings = self.data.crop_px, len(self.model.backbone_widths)
        if crop < 2 ** (halvings + 1):
            raise ValueError(
                f"crop_px must be at least {2 ** (halvings + 1)}, since the backbone halves it {halvings} times, "
                f"got {crop}"
            )
        for number, phase in enumerate(self.phases):
            taught = any("generator" in earlier.trains for earlier in self.phases[: number + 1])
            if phase.ranks and phase.ranking.made_by == "generator" and not taught:
                raise ValueError(
                    f"phase '{phase.name}' ranks images of a generator that no phase has trained by then; "
                    f"set ranking.made_by=procedural"
                )
            if phase.uses_generator and not taught:
                raise ValueError(
                    f"phase '{phase.name}' trains on images of a generator that no phase has trained by then; "
                    f"set images=real, or generated_by=procedural"
                )
        aligned = round(self.data.aligned_fraction * self.data.batch)
        if self.uses_generator and self.data.aligned_fraction and not aligned:
            raise ValueError(
                f"data.aligned_fraction must leave the generator at least one aligned crop of the {self.data.batch} in "
                f"a step, or be 0 so that it learns from unaligned crops, got {self.data.aligned_fraction}"
            )
        if self.losses.adversarial_weight:
            for phase in self.phases:
                if "generator" in phase.trains and "discriminator" not in phase.trains:
                    raise ValueError(
                        f"phase '{phase.name}' trains the generator without the discriminator, its adversary; "
                        f"name it in trains or set losses.adversarial_weight to 0"
                    )
                if self.uses_critic and "discriminator" in phase.trains and "generator" not in phase.trains:
                    raise ValueError(
                        f"phase '{phase.name}' trains a patch discriminator without the generator, its adversary; "
                        f"leave it out of trains or set model.discriminator to 'backbone'"
                    )
        generator_halvings = len(self.model.generator_widths)
        if self.uses_generator and crop % 2**generator_halvings:
            raise ValueError(
                f"crop_px must be a multiple of {2**generator_halvings}, since the generator halves it "
                f"{generator_halvings} times and doubles it again, got {crop}"
            )
        if self.uses_generator and crop < 2 ** (generator_halvings + 1):
            raise ValueError(
                f"crop_px must be at least {2 ** (generator_halvings + 1)}, so that the generator has more than one "
                f"location to normalise after halving it {generator_halvings} times, got {crop}"
            )
        return self

    @property
    def test_alignment(self) -> Alignment:
        """How test crops are aligned: as the evaluation says, else as in training."""
        if self.evaluation.alignment is not None:
            return self.evaluation.alignment
        whole: dict[float, Alignment] = {1.0: "aligned", 0.0: "unaligned"}
        return whole.get(self.data.aligned_fraction, "mixed")

    @property
    def uses_extra(self) -> bool:
        """Whether any phase distorts unlabelled photographs."""
        return any(phase.uses_extra for phase in self.phases)

    @property
    def uses_references(self) -> bool:
        """Whether any phase, or where its crops are taken, needs the distorted images' references."""
        data = self.data
        return (
            data.sampling == "difference" or data.pristine_fraction > 0 or any(p.uses_references for p in self.phases)
        )

    @property
    def uses_generator(self) -> bool:
        """Whether any phase needs the generator."""
        return any(phase.uses_generator for phase in self.phases)

    @property
    def uses_critic(self) -> bool:
        """Whether any phase trains a patch discriminator."""
        trained = any("discriminator" in phase.trains for phase in self.phases)
        return trained and self.model.discriminator == "patch" and self.losses.adversarial_weight > 0

    @property
    def steps(self) -> int:
        """Optimiser steps of all phases."""
        return sum(phase.steps for phase in self.phases)


class ConfigError(UserError, ValueError):
    """A configuration that cannot be: names the field, the rule, the value, and what to do."""


def flatten(config: TrainingConfig) -> dict[str, Any]:
    """Every leaf of a configuration by its dotted path; phases are addressed by name (`phases.gan.steps`)."""

    def walk(value: Any, path: str) -> Iterable[tuple[str, Any]]:
        if isinstance(value, Frozen):
            for name in type(value).model_fields:
                yield from walk(getattr(value, name), f"{path}.{name}" if path else name)
        elif path == "phases":
            for phase in value:
                for name in type(phase).model_fields:
                    if name != "name":
                        yield from walk(getattr(phase, name), f"{path}.{phase.name}.{name}")
        else:
            yield path, value

    return dict(walk(config, ""))


def with_values(config: TrainingConfig, values: Mapping[str, Any]) -> TrainingConfig:
    """A configuration with some fields changed, by dotted path.

    `phases` alone replaces the whole list of phases; `phases.NAME.field` changes one field of one phase. Replacement of
    `phases` happens first, so both can be given together.

    Raises:
        ConfigError: for an unknown path (with the nearest ones) or a value that breaks a rule.
    """
    tree = config.model_dump(mode="python")
    for path in sorted(values, key=lambda path: path != "phases"):
        value = values[path]
        if path == "phases":
            if not isinstance(value, (list, tuple)) or not all(isinstance(one, (PhaseConfig, dict)) for one in value):
                raise ConfigError(f"phases: needs a list of phases, each with its fields, got {value!r}")
            tree["phases"] = [phase.model_dump() if isinstance(phase, PhaseConfig) else phase for phase in value]
            continue
        *parents, leaf = path.split(".")
        node: Any = tree
        for parent in parents:
            if isinstance(node, (list, tuple)):
                node = next((item for item in node if item.get("name") == parent), None)
            else:
                node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf not in node or isinstance(node[leaf], dict):
            raise ConfigError(_unknown(path, config))
        node[leaf] = value
    try:
        return TrainingConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


def _unknown(path: str, config: TrainingConfig) -> str:
    """Message for a path that no configuration has."""
    import difflib

    known = list(flatten(config))
    near = difflib.get_close_matches(path, known, n=5, cutoff=0.4) or known
    return f"unknown field '{path}'; nearest: {', '.join(near)}"


def explain(error: ValidationError) -> str:
    """One line for a pydantic error: field, rule and value seen."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        seen = "" if isinstance(problem["input"], dict) or not where else f", got {problem['input']!r}"
        lines.append(f"{where}: {message}{seen}" if where else message)
    return "; ".join(lines)


def canonical(value: Any) -> str:
    """The one JSON text of a value of plain types: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def digest(value: Any) -> str:
    """The sha256 of a value of plain types, in hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
