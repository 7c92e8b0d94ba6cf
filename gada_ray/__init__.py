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
    FEW_LABELS,
    FEW_LABELS_GADA,
    MEDIUM,
    NARROW,
    RANKING_WEIGHT,
    RECIPES,
    SHORT,
    SHORT_BASELINE,
    SMOKE,
    SMOKE_BASELINE,
    augmentation,
    baseline,
    continued,
    direct,
    few_labels,
    finetuning,
    gada,
    gan,
    real_only,
    recipe,
    with_recipe,
)
from gada_ray.study.contrasts import Contrast
from gada_ray.study.definition import Preset, Study
from gada_ray.study.space import Choice, LogUniform, Uniform

__all__ = [
    "FEW_LABELS",
    "FEW_LABELS_GADA",
    "MEDIUM",
    "NARROW",
    "RANKING_WEIGHT",
    "RECIPES",
    "SHORT",
    "SHORT_BASELINE",
    "SMOKE",
    "SMOKE_BASELINE",
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
    "baseline",
    "continued",
    "direct",
    "few_labels",
    "finetuning",
    "gada",
    "gan",
    "real_only",
    "recipe",
    "with_recipe",
    "with_values",
]
