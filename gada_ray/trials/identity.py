"""The identity of a trial and its signature, and the way in which it is executed.

Nothing here loads torch, pandas or Ray, so a study whose trials are done is read back without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from gada_ray.config import CODE_VERSION, DataConfig, EvaluationConfig, ModelConfig, TrainingConfig, digest
from gada_ray.data.splits import Fold
from gada_ray.recipes import direct

RETEST = ("crops", "placement", "alignment", "sampling", "temperature", "pooling", "weights")
"""Fields of the evaluation that do not affect training: trials that differ only in them share one training."""
CROPPING = ("aligned_fraction", "crops_per_image", "sampling", "temperature")
"""Fields of the data that concern the crops of training."""
PRISTINE = ("pristine_fraction", "pristine_from")
"""Fields of the data that concern pristine references in training."""
INDEPENDENT_EVALUATOR_WIDTHS, INDEPENDENT_EVALUATOR_BATCH, INDEPENDENT_EVALUATOR_SEED = (32, 64, 64, 256), 32, 1_000_003
"""Of the independent evaluator: feature maps of its backbone, batch, and the offset of its seed from the trial's."""

Progress = dict[str, float | int | str]
Report = Callable[[Progress], None]


class EndedError(Exception):
    """A training was requested to end and has written a checkpoint."""


@dataclass(frozen=True)
class Trial:
    """One configuration on one split: all that determines its numbers."""

    config: TrainingConfig
    fold: Fold
    seed: int
    fingerprint: str

    def prefix(self, phases: int) -> str:
        """The signature of the trial that ends after the first `phases` phases of this one.

        Fields at their defaults are left out, so that a new field orphans no result; a changed default is a change of
        behaviour and raises CODE_VERSION.
        """
        config = self.config.model_dump(mode="json", exclude_defaults=True)
        config["phases"] = config["phases"][:phases]
        return digest(
            {
                "config": config,
                "fold": asdict(self.fold),
                "seed": self.seed,
                "data": self.fingerprint,
                "code": CODE_VERSION,
            }
        )

    @cached_property
    def signature(self) -> str:
        """The sha256, in hex, that names the trial everywhere."""
        return self.prefix(len(self.config.phases))

    @cached_property
    def starts(self) -> dict[str, int]:
        """Signatures of trials from whose weights this one can start, and the phases that it skips; most phases first.

        The trial that is tested in the usual way and else the same; where the last phase alone trains the generator,
        that without an independent evaluator, since the generator can still be measured; then those that end after
        some of its phases.
        """
        phases = self.config.phases
        usual: dict[str, Any] = {name: EvaluationConfig.model_fields[name].default for name in RETEST}
        changes = [usual]
        if ["generator" in phase.trains for phase in phases] == [False] * (len(phases) - 1) + [True]:
            unmeasured = {"independent_evaluator_steps": 0}
            changes += [unmeasured, usual | unmeasured]
        evaluations = [self.config.evaluation.model_copy(update=change) for change in changes]
        others = [self.config.model_copy(update={"evaluation": one}) for one in evaluations]
        retested = {replace(self, config=one).signature: len(phases) for one in others if one != self.config}
        return retested | {self.prefix(number): number for number in range(len(phases) - 1, 0, -1)}


def independent_evaluator(trial: Trial) -> Trial:
    """The trial of the independent evaluator: a quality network that never meets the generator it measures.

    A direct training on the same references, all of them labelled, and the same crop size, with initial weights of its
    own; the same for all configurations. It sees raw input beside the normalised one: local normalisation alone hides
    mean shifts and changes of contrast.
    """
    data = trial.config.data
    usual = {name: getattr(DataConfig(), name) for name in (*CROPPING, "labelled_images", "labelled_by", *PRISTINE)}
    values = {
        "data": data.model_copy(
            update=usual | {"batch": INDEPENDENT_EVALUATOR_BATCH, "aligned_fraction": data.generator_alignment}
        ),
        "model": ModelConfig(
            backbone_widths=INDEPENDENT_EVALUATOR_WIDTHS[:-1],
            feature_maps=INDEPENDENT_EVALUATOR_WIDTHS[-1],
            normalisation="both",
        ),
        "phases": (direct(trial.config.evaluation.independent_evaluator_steps),),
        "evaluation": EvaluationConfig(curve_points=0),
    }
    return replace(trial, config=TrainingConfig.model_validate(values), seed=trial.seed + INDEPENDENT_EVALUATOR_SEED)


@dataclass(frozen=True)
class Execution:
    """How a trial is executed; nothing here is part of its identity."""

    device: str = "cpu"
    """A torch device: "cpu", "cuda", "cuda:1", "mps"."""
    threads: int = 1
    """CPU threads."""
    checkpoint_every_s: float = 60.0
    study: str = ""
    """Name of the study that requested the trial, for its result."""
    node: str = ""
    """Name of the node in a cluster, for its result."""
    cache: str = ""
    """Folder of files that can be made again, such as prepared distortions; by default the user's cache folder."""
    compiler: str = ""
    """Backend of torch.compile for the forward passes of training steps; empty: they are not compiled."""
    deterministic: bool = False
    """Whether a GPU is limited to kernels that give the same bits again, where torch has them; for a CPU, all are."""
    ending: Callable[[], bool] = bool
    """Called before every step: whether to write a checkpoint and end. By default never, since `bool()` is False."""


ON_CPU = Execution()
"""One thread of a CPU."""
