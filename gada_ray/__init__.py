"""GADA: generative adversarial data augmentation for image quality assessment, and studies of it.

The names here are those that a study file needs; none of them loads torch, pandas, SciPy, Optuna, Ray or MLflow.
"""

from gada_ray.config import (
    DataConfig,
    EvaluationConfig,
    LossConfig,
    ModelConfig,
    PhaseConfig,
    RateConfig,
    TrainingConfig,
    with_values,
)
from gada_ray.recipes import (
    LITERAL,
    MEDIUM,
    NARROW,
    SHORT,
    SMOKE,
    augmentation,
    continued,
    direct,
    finetuning,
    gada,
    gan,
    literal,
    real_only,
)
from gada_ray.study.contrasts import Contrast
from gada_ray.study.definition import Preset, Study
from gada_ray.study.space import Choice, LogUniform, Uniform

__all__ = [
    "LITERAL",
    "MEDIUM",
    "NARROW",
    "SHORT",
    "SMOKE",
    "Choice",
    "Contrast",
    "DataConfig",
    "EvaluationConfig",
    "LogUniform",
    "LossConfig",
    "ModelConfig",
    "PhaseConfig",
    "Preset",
    "RateConfig",
    "Study",
    "TrainingConfig",
    "Uniform",
    "augmentation",
    "continued",
    "direct",
    "finetuning",
    "gada",
    "gan",
    "literal",
    "real_only",
    "with_values",
]
