"""Parameters and metrics of a configuration and its trials, for tracking and reports.

Pure functions of the results of record, without a tracking service.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from gada_ray.config import PhaseConfig, TrainingConfig, digest
from gada_ray.data.dataset import DataError
from gada_ray.study.contrasts import Contrast
from gada_ray.trials.store import Folder, Result, Store

if TYPE_CHECKING:
    import pandas as pd

HEADLINE = ("srocc", "plcc")
OTHERS = ("krcc", "rmse", "plcc_fitted")
RATES = ("discriminator", "generator", "classifier", "evaluator")


Stage = Literal["start", "search", "test"]
"""Of a configuration: first phases that candidates of a search share, scored for nothing; or scored on validation
references to choose, or on test references to report."""


@dataclass(frozen=True)
class ConfigurationRun:
    """One configuration of a study, with the splits that are planned for it."""

    study: str
    preset: str
    dataset: str
    """Short name, as given on the command line."""
    variant: str
    """Name of the scientific variant, such as "64 px"."""
    stage: Stage
    number: int
    """Number of the candidate in its search; part of the name of a candidate."""
    values: Mapping[str, Any]
    """Everything that the study varies, by dotted path."""
    config: TrainingConfig
    splits: tuple[int, ...]
    """Planned splits; fewer than at first once the search has pruned the configuration."""
    scheme: str
    """Hash of the division of references. Splits of the same number are the same only within one scheme."""
    seed: int
    question: str = ""
    """The study's question."""
    contrasts: tuple[Contrast, ...] = ()
    """The contrasts that answer it."""
    place: int = 0
    """Position of the variant among all of the study."""
    recipe: str = "gada"
    """By which the base of all variants was made."""

    @property
    def name(self) -> str:
        """Such as "64 px", or "64 px #3" for a candidate of a search."""
        names = {"start": f"{self.variant}, first phases", "search": f"{self.variant} #{self.number}"}
        return names.get(self.stage, self.variant)


@dataclass(frozen=True)
class Trial:
    """One finished trial in the store."""

    folder: Folder
    result: Result

    def file(self, name: str) -> io.BytesIO | None:
        """A file of the trial, or None where it has none."""
        data = Store(self.folder.parents[1]).read(self.folder.name, name)
        return None if data is None else io.BytesIO(data)

    @property
    def digest(self) -> str:
        """The sha256, in hex, of the result without fields at their defaults, so that a new field changes none."""
        return digest(self.result.model_dump(mode="json", exclude_defaults=True))

    @property
    def ends_ms(self) -> tuple[int, int]:
        """Start and end, in milliseconds since 1970."""
        start = datetime.fromisoformat(self.result.run.started).timestamp()
        return round(start * 1000), round((start + self.result.run.seconds) * 1000)


def read_trial(folder: Folder) -> Trial:
    """Read a trial's result of record, `<storage>/trials/<signature>`.

    Raises:
        StoreError: for a result that cannot be trusted.
        DataError: where there is none.
    """
    result = Store(folder.parents[1]).result(folder.name)
    if result is None:
        raise DataError(f"no trial at {folder}: it has no result.json, so it is not finished; run the study")
    return Trial(folder, result)


def configuration_key(run: ConfigurationRun, trial: Trial) -> str:
    """Identity of a configuration run, whatever the candidate's number, the planned splits and the question."""
    return digest(
        {
            "study": run.study,
            "preset": run.preset,
            "dataset": [run.dataset, trial.result.dataset.fingerprint],
            "variant": run.variant,
            "stage": run.stage,
            # Without defaults, so that a new field orphans no run; CODE_VERSION stands for them.
            "config": run.config.model_dump(mode="json", exclude_defaults=True),
            "scheme": run.scheme,
            "seed": run.seed,
            "code_version": trial.result.code_version,
        }
    )


def varied(run: ConfigurationRun) -> dict[str, str]:
    """Variant and everything that the study varies, as text; without the prefixes `data.`, `model.` and `phases.`."""
    values = {re.sub(r"^(data|model|phases)\.", "", path): _text(value) for path, value in run.values.items()}
    return {"variant": run.variant} | values | {"seed": str(run.seed)}


def recipe_of(run: ConfigurationRun) -> str:
    """The recipe of a configuration: "regression" wherever a generator is trained without an adversary."""
    trains_generator = any("generator" in phase.trains for phase in run.config.phases)
    return "regression" if trains_generator and not run.config.losses.adversarial_weight else run.recipe


def parameters(run: ConfigurationRun) -> dict[str, str]:
    """What matters when configurations are compared: what varies, learning rates, phase lengths, scale and cost."""
    config = run.config
    fixed = {
        "dataset": run.dataset,
        "recipe": recipe_of(run),
        "stage": run.stage,
        "crop_px": config.data.crop_px,
        "batch": config.data.batch,
        "steps": config.steps,
        "precision": config.precision,
    }
    fixed |= {f"rates.{part}": config.rates.model_dump()[part] for part in RATES}
    fixed |= {f"{phase.name}.steps": phase.steps for phase in config.phases}
    return {name: str(value) for name, value in fixed.items()} | varied(run)


def final_metrics(trial: Trial) -> dict[str, float]:
    """Final agreement, agreement after every phase but the last (`until_gan/srocc`) and cost of one trial.

    The prefix sorts behind the final values' names.
    """
    run = trial.result.run
    metrics = dict(trial.result.metrics)
    for phase in trial.result.phases[:-1]:
        metrics |= {f"until_{phase.name}/{name}": value for name, value in phase.metrics.items() if "/" not in name}
    costs = {
        "seconds": run.seconds,
        "evaluation_seconds": run.evaluation_seconds,
        "peak_memory_mb": run.peak_memory_mb,
    }
    return metrics | costs | {f"phase_seconds/{name}": seconds for name, seconds in run.phase_seconds.items()}


def curve_values(trial: Trial) -> list[tuple[str, int, float]]:
    """Points of all learning curves: name, global step and value; losses by phase (`loss/gan/l1`, `curve/srocc`)."""
    curves = trial.file("curves.csv")
    if curves is None:
        return []
    import pandas as pd

    frame = pd.read_csv(curves)
    names = [
        f"loss/{phase}/{name.removeprefix('loss/')}" if name.startswith("loss/") else f"curve/{name}"
        for phase, name in zip(frame["phase"], frame["name"], strict=True)
    ]
    return list(zip(names, frame["global_step"].astype(int), frame["value"].astype(float), strict=True))


def read_predictions(file: str | Path | IO[bytes]) -> pd.DataFrame:
    """The predictions of a trial. Names are text: TID2013's class 01 is no number."""
    import pandas as pd

    return pd.read_csv(file, dtype=dict.fromkeys(("image", "reference", "distortion"), str))


def aggregate(
    trials: Sequence[tuple[str, Mapping[str, float], float]], held_out: Sequence[Any] | None = None
) -> dict[str, float]:
    """Mean, spread and cost of a configuration over its splits, SROCC first.

    Each trial is given by its status, its final metrics and its ratio of held-out to training references, and
    `held_out` as for `mean_over_splits`, for every trial. Means are
    over finished trials; by distortion there are those of SROCC and PLCC, `srocc_mean/jpeg`. From two splits on, there
    are a standard deviation and the 95 % interval of `interval`.
    """
    labels = range(len(trials)) if held_out is None else held_out
    finished = [(metrics, ratio) for status, metrics, ratio in trials if status == "finished"]
    parts = [part for part, (status, _, _) in zip(labels, trials, strict=True) if status == "finished"]
    diverged = float(sum(status == "diverged" for status, _, _ in trials))
    hours = sum(metrics.get("seconds", 0.0) for _, metrics, _ in trials) / 3600
    costs = {"n": float(len(finished)), "diverged": diverged, "device_hours": hours}
    if not finished:
        return costs
    ratio = float(np.mean([ratio for _, ratio in finished]))
    names = {name for metrics, _ in finished for name in metrics}
    summary: dict[str, float] = {}
    for head in HEADLINE + OTHERS:
        values = np.array([metrics[head] for metrics, _ in finished if head in metrics])
        if not len(values):
            continue
        summary[f"{head}_mean"] = float(values.mean())
        if head in HEADLINE:
            summary[f"{head}_median"] = float(np.median(values))
            if len(values) > 1:
                summary[f"{head}_sd"] = float(values.std(ddof=1))
                low, high = interval(values, ratio, parts if len(parts) == len(values) else None)
                if low == low:  # without spread there is no interval
                    summary[f"{head}_ci_low"], summary[f"{head}_ci_high"] = low, high
            for name in sorted(name for name in names if name.startswith(f"{head}/")):
                of_class = [metrics[name] for metrics, _ in finished if name in metrics]
                summary[name.replace("/", "_mean/", 1)] = float(np.mean(of_class))
    return summary | costs


class Mean(NamedTuple):
    """A mean over random splits that overlap, with its standard error."""

    mean: float
    splits: int
    """J, splits of different references; repeated ones count once."""
    repeats: float
    """Trainings on a split, as a mean."""
    variance: float
    """Variance of the means of splits; NaN for a single one."""
    ratio: float
    """Test over training references."""

    def error(self, splits: int | None = None) -> float:
        """Standard error of the mean, or that with another number of splits."""
        return math.sqrt(self.variance * (1 / (splits or self.splits) + self.ratio))


def mean_over_splits(values: np.ndarray, ratio: float, held_out: Sequence[Any] | None = None) -> Mean:
    """Mean and standard error of one value for each split.

    The error of J splits is that of Nadeau and Bengio (2003), `sd * sqrt(1 / J + ratio)`: splits share test images, so
    that `sd / sqrt(J)` would be far too small.

    `held_out` are labels of the references that a split holds out. Splits that hold out the same ones are repetitions,
    with other labelled images, weights and crops: their mean is the value of the split.
    """
    values = np.asarray(values, dtype=np.float64)
    means = np.array([np.mean(group) for group in by_split(values, held_out)])
    variance = float(means.var(ddof=1)) if len(means) > 1 else math.nan
    return Mean(float(means.mean()), len(means), len(values) / len(means), variance, ratio)


def by_split(values: np.ndarray, held_out: Sequence[Any] | None = None) -> list[list[float]]:
    """Values of splits, those of repetitions of a split together; `held_out` as for `mean_over_splits`."""
    groups: dict[Any, list[float]] = {}
    for label, value in zip(range(len(values)) if held_out is None else held_out, values, strict=True):
        groups.setdefault(label, []).append(float(value))
    return list(groups.values())


def interval(values: np.ndarray, ratio: float, held_out: Sequence[Any] | None = None) -> tuple[float, float]:
    """95% confidence interval for the mean of a correlation over random splits that overlap, inside [-1, 1].

    The standard error is that of `mean_over_splits`, with J - 1 degrees of freedom. The interval is made on the scale
    of Fisher's z at the mean (delta method) and transformed back. NaN for a single split, or where all splits have the
    same value.
    """
    from scipy.special import stdtrit

    found = mean_over_splits(values, ratio, held_out)
    if not found.variance > 1e-24:
        return math.nan, math.nan
    half = float(stdtrit(found.splits - 1, 0.975)) * found.error() / (1 - found.mean**2)
    return math.tanh(math.atanh(found.mean) - half), math.tanh(math.atanh(found.mean) + half)


def metric_name(name: str) -> str:
    """A name with only the letters that a tracking service accepts, for distortions with odd names."""
    return re.sub(r"[^\w\-. /]", "_", name)


def _text(value: Any) -> str:
    """A value as a short text: phases by their names, lists joined."""
    if isinstance(value, PhaseConfig):
        return value.name
    if isinstance(value, Mapping):
        return str(value.get("name", dict(value)))
    if isinstance(value, Iterable) and not isinstance(value, str):
        items = list(value)
        return ("+" if any(isinstance(item, (PhaseConfig, Mapping)) for item in items) else "-").join(map(_text, items))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
