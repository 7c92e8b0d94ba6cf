"""What one training is: a tree of frozen, validated values, and the signature that names it.

Everything that changes the numbers is here; nothing else is. Paths, workers, device and threads are not, so the same
training has the same signature on a laptop and on a cluster. Defaults that the paper leaves open are explained in
docs/protocol.md.
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
    """Which images take part, and how crops are taken from them (section 4.2)."""

    crop_px: PositiveInt = 64
    """Side of the square training and test crops, in pixels (the paper: 128; 64 in its Table 1)."""
    aligned_fraction: float = Field(default=1.0, ge=0, le=1)
    """Fraction of the crops whose corners are multiples of 8 pixels, as the blocks of a JPEG file are. Each crop is
    aligned with this probability; the others have any corner. 1.0: all crops are aligned; 0.0: none is."""
    batch: PositiveInt = 32
    """Crops of real distorted images in a step (the paper: 64)."""
    crops_per_image: PositiveInt = 1
    """Crops of one image in a step, of those in the batch."""
    sampling: Literal["uniform", "saliency", "activity", "difference"] = "uniform"
    """Where training crops are taken: anywhere alike; rather where the image is salient (spectral residual), where its
    local contrast is high, or where it differs from its reference."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling: the chance of a window goes with its mean in the map to the power 1 / temperature; more is nearer
    to uniform, less to the highest place alone. A tenth of the crops is taken anywhere in any case."""
    include_reference_copies: bool = False
    """LIVE only: keep the 203 undistorted copies of references among the distorted images (the paper's 982)."""
    dmos: Literal["original", "realigned"] = "original"
    """LIVE only: scores from dmos.mat or from dmos_realigned.mat."""
    drop_artificial_reference: bool = False
    """TID2013 only: leave out the computer-made reference i25."""
    shorter_side: PositiveInt | None = None
    """Shrink images, while they are read, to at most this many pixels on their shorter side; None leaves them."""
    demo_local: bool = False
    """Demo only: two local distortions besides the five, patches of another intensity and misplaced ones."""
    labelled_images: PositiveInt | None = None
    """Distorted images of the training part that training may use; None takes all. Fewer are among more, with every
    class as far as the number allows; of the others neither score nor pixels are used."""
    labelled_by: Literal["reference", "random"] = "reference"
    """Which images these are: all of one reference before the next one's, or any."""
    pristine_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of a step's real crops that show a reference, undistorted, with quality 1 and the class of the image in
    whose place they stand: what LIVE's copies, which the paper keeps, tell of references in any database."""
    pristine_from: Literal["labelled", "training"] = "labelled"
    """Which references these are: that of the image, under its window; or any of the training part."""


class ModelConfig(Frozen):
    """The network of section 3.3, or another's backbone and evaluator in the place of its own."""

    network: Literal["gada", "kang", "diqam"] = "gada"
    """Backbone and evaluator: the paper's; the CNN of Kang et al. (2014), which has one convolution; or DIQaM-NR of Bosse
    et al. (2018), which has ten. Fields of the paper's backbone do not concern the others', but for normalisation."""
    normalisation: Literal["none", "mscn", "both"] = "mscn"
    """The backbone's first, fixed operation: none, local mean and contrast normalisation, or both concatenated."""
    backbone_widths: tuple[PositiveInt, ...] = (64, 128, 128)
    """Feature maps of the backbone's stride-2 convolutions."""
    feature_maps: PositiveInt = 1024
    """Feature maps of the backbone's last, 1x1 convolution, shared by all heads."""
    head: Literal["gap", "valid", "flatten", "dense"] = "gap"
    """How heads see the maps: pooled; a convolution as large as the crop's maps; flattened; heads at every location."""
    head_units: PositiveInt = 128
    """Units of the first fully connected layer of classifier and evaluator."""
    weighs_crops: bool = False
    """The evaluator also says how much a crop counts, as in WaDIQaM (Bosse et al. 2018): L_E is that of the weighted
    mean over the crops of an image."""
    norm: Literal["batch", "instance", "none", "spectral"] = "batch"
    """Normalisation between convolutions, except after the first of each network."""
    generator: Literal["modulated", "plain"] = "modulated"
    """A change of the reference, modulated by class, quality and noise at every resolution; or the paper's auto-encoder
    that meets them at its bottleneck, to which alone the fields below belong but for embedding and noise_dim = 0."""
    generator_widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (64, 128, 128)
    """Feature maps of the generator's encoder; the decoder mirrors them."""
    embedding: PositiveInt = 32
    """Size of the embeddings of distortion class and, in a plain generator, of quality."""
    noise_dim: int = Field(default=96, ge=0)
    """Size of the Gaussian noise z of a plain generator; a modulated one has one for every pixel and colour. 0 leaves
    it out of either."""
    noise_map: bool = False
    """Draw z anew at every location of the bottleneck instead of once an image."""
    condition_at: Literal["bottleneck", "input", "both"] = "bottleneck"
    """Where the generator meets distortion class and quality."""
    skips: bool = True
    """U-Net connections from encoder to decoder at 1/4 and 1/2 resolution."""
    upsampling: Literal["transpose", "resize"] = "transpose"
    """Decoder: 4x4 transposed convolutions, or nearest-neighbour resizing followed by 3x3 convolutions."""
    output: Literal["image", "residual"] = "image"
    """What the decoder ends in: the distorted image, or a change that is added to the reference, at first none."""
    colour_transform: bool = True
    """Of a modulated generator: class and quality also choose a matrix and an offset of RGB, which can shift the mean
    and change contrast or saturation."""
    discriminator: Literal["patch", "backbone"] = "patch"
    """The adversary: a small network of its own that sees the reference beside the crop; or, as in the paper, a source
    head on the shared backbone."""


class LossConfig(Frozen):
    """Weights and forms of the losses (Eqs. 1-3 and the L1 term); the paper gives none."""

    adversarial: Literal["bce", "hinge", "lsgan"] = "hinge"
    """Form of L_S (Eq. 1)."""
    adversarial_weight: NonNegativeFloat = 0.1
    """Weight of L_S in both players' losses; 0 leaves the adversary out. A patch discriminator has no other loss."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over real and generated crops, of the two terms of L_S, L_C and L_E: their mean, or their sum as in the paper."""
    l1_weight: NonNegativeFloat = 6.0
    """Weight of |y - G(z, x, c, q)| for images in [0, 1]."""
    statistics_weight: NonNegativeFloat = 1.0
    """Weight of the difference of maps' statistics between generated and distorted crops."""
    spectrum_weight: NonNegativeFloat = 1.0
    """Weight of the difference of their cosine spectra."""
    class_weight: NonNegativeFloat = 1.0
    """Weight of L_C (Eq. 2) for backbone and classifier."""
    quality: Literal["mse", "l1", "huber"] = "mse"
    """Form of L_E (Eq. 3) on quality in [0, 1]."""
    quality_weight: NonNegativeFloat = 1.0
    """Weight of L_E (Eq. 3) for backbone and evaluator."""
    generator_class_weight: NonNegativeFloat = 0.1
    """Weight of L_C in the generator's loss."""
    generator_quality_weight: NonNegativeFloat = 3.0
    """Weight of L_E in the generator's loss."""
    generator_teacher: Literal["ema", "online"] = "ema"
    """Whose L_C and L_E the generator sees: the quality network's averaged weights', or those in training, as in the paper."""


class RateConfig(Frozen):
    """Adam and its four learning rates (section 4.2)."""

    discriminator: float = Field(default=5e-4, gt=0)
    """Backbone and discriminator head (the paper: 1e-4)."""
    generator: float = Field(default=1e-3, gt=0)
    classifier: float = Field(default=5e-4, gt=0)
    evaluator: float = Field(default=5e-4, gt=0)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    generator_beta2: float = Field(default=0.99, ge=0, lt=1)
    """Beta2 of the generator and of a patch discriminator."""
    patch_discriminator: float = Field(default=4e-4, gt=0)
    """A patch discriminator, in the place of the source head."""


class RankingConfig(Frozen):
    """The ranking term: of one picture distorted twice in the same way, the weaker distortion must be predicted better.

    Not in the paper; after RankIQA (Liu et al., 2017), as a term of the loss. It needs no labels.
    """

    weight: NonNegativeFloat = 0.0
    """Weight of mean(max(0, margin - (better - worse))) for backbone and evaluator; 0 leaves the term out."""
    pairs: PositiveInt = 16
    """Pairs of crops in a step."""
    margin: NonNegativeFloat = 0.03
    """Least difference of quality for a step of strength, of which procedures have six; the generator's pairs have
    half the difference of the qualities that were asked for."""
    made_by: Literal["procedural", "generator"] = "procedural"
    """What distorts: procedures (data/procedural.py), or the EMA generator asked for two qualities of the class."""
    references: Literal["labelled", "training", "extra"] = "training"
    """Pictures that are distorted: the references of the labelled images; all references of the training part; or these
    and photographs without labels (tune.py --extra-references)."""


class PhaseConfig(Frozen):
    """One phase of training: how long, which parts train, and which images feed them."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9_]+$")
    steps: PositiveInt
    """Optimiser steps."""
    trains: tuple[Part, ...]
    """Parts whose weights move; every other part stays bitwise unchanged."""
    images: Literal["real", "generated", "both"]
    """Distorted images that classifier and evaluator see."""
    conditions: Literal["paired", "empirical", "between", "uniform", "grid"] = "paired"
    """(c, q) asked of the generator: those of the real batch; a class with qualities like its training labels; a class
    with a quality drawn evenly between the worst and the best of them, where data.pristine_fraction counts as 1; with one
    drawn evenly over the range of all labels; or a regular grid of both, its cells in random order."""
    generated_by: Literal["generator", "identity", "procedural", "real_crops"] = "generator"
    """What makes the generated images: the generator, or, as controls in phases that do not train it, nothing (the
    reference itself, labelled as asked), procedural distortions, or further real crops with their own labels."""
    generated_from: Literal["labelled", "training", "extra"] = "labelled"
    """What is distorted: the references of the batch, under its windows; any reference of the training part, whether
    images of it are labelled or not; or any of these and of unlabelled photographs (tune.py --extra-references)."""
    extra_fingerprint: str | None = None
    """The sha256, in hex, of those photographs; filled in from the files."""
    generated_weight: float = Field(default=1.0, ge=0)
    """Weight of generated crops in L_C and L_E against 1 for real crops, in phases that see both."""
    skip_unmatched: bool = False
    """Leave distortion classes without a procedure out of procedural distortions, in place of refusing them."""
    ranking: RankingConfig = RankingConfig()
    """The ranking term."""
    rate_factor: float = Field(default=1.0, gt=0)
    """Factor on all learning rates (the paper: 1/10 in phases 2 and 3)."""

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
        return self.procedural_images or (self.ranks and self.ranking.made_by == "procedural")

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
    """How an image gets its prediction (section 4.2) and how often it is looked at in between."""

    crops: PositiveInt = 30
    """Random crops of each image."""
    placement: Literal["random", "even"] = "random"
    """Where crops are taken: at random, or spread evenly over the image."""
    sampling: Literal["uniform", "saliency", "activity"] = "uniform"
    """Where random crops are taken rather than elsewhere, by what the image alone shows; as in training."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling, as in training."""
    alignment: Alignment | None = None
    """Corners of test crops: multiples of 8 pixels ("aligned"), any pixel ("unaligned"), or one crop of each kind in
    turn ("mixed"). None: "aligned" or "unaligned" where all training crops are, else "mixed"."""
    pooling: Literal["mean", "median", "inverse", "learned"] = "mean"
    """How the predictions of the crops become one: their mean; their median; their mean weighted by the inverse of
    their chance, which is unbiased for the mean over the whole image; or weighted as the evaluator says."""
    weights: Literal["ema", "final"] = "ema"
    """What is tested and becomes a model: the moving average of the weights, or those of the last step."""
    independent_evaluator_steps: int = Field(default=0, ge=0)
    """Steps of a quality network of its own, trained on real crops of the same references, that says what generated crops show;
    0 leaves it out."""
    curve_points: int = Field(default=10, ge=0)
    """Points of the learning curve in a phase; the last one is its end."""
    curve_crops: PositiveInt = 4
    """Crops of each image at the points of the curve, the first of those of the test."""


class TrainingConfig(Frozen):
    """One complete training and its evaluation."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    losses: LossConfig = LossConfig()
    rates: RateConfig = RateConfig()
    phases: tuple[PhaseConfig, ...] = Field(min_length=1)
    evaluation: EvaluationConfig = EvaluationConfig()
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    """Decay a step of the moving average of the weights, which is tested, teaches the generator, and generates in
    phases that do not train it; 0 follows the last weights."""
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
                f"crop_px must be at least {2 ** (halvings + 1)}, as the backbone halves it {halvings} times, got {crop}"
            )
        for number, phase in enumerate(self.phases):
            taught = any("generator" in earlier.trains for earlier in self.phases[: number + 1])
            if phase.ranks and phase.ranking.made_by == "generator" and not taught:
                raise ValueError(
                    f"phase '{phase.name}' ranks images of a generator that no phase has trained by then; "
                    f"set ranking.made_by=procedural"
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
            if not isinstance(value, (list, tuple)):
                raise ConfigError(f"phases: needs a list of phases, got {value!r}")
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
