"""Models in MLflow: a study's best variant is logged once, with its card, and found again by its URI.

MLflow and torch are loaded where they are used: a model that is there already is found without torch.
"""

from __future__ import annotations

import io
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gada_ray.config import TrainingConfig, digest
from gada_ray.errors import first_line
from gada_ray.inference.card import Card, ModelError, trial_fields
from gada_ray.inference.stored import quality_weights
from gada_ray.study.definition import Plan
from gada_ray.study.search import Configuration, Search
from gada_ray.study.summary import aggregate, configuration_key, metric_name, parameters, read_trial
from gada_ray.tracking.lookup import best as best
from gada_ray.tracking.lookup import fetch as fetch
from gada_ray.tracking.lookup import options_text
from gada_ray.tracking.uri import shown
from gada_ray.trials.store import Result, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from torch import Tensor

    from gada_ray.inference.scoring import Scorer

NAME = "quality"
"""The model's name in MLflow."""
LIBRARIES = ("mlflow", "numpy", "optuna", "pandas", "pillow", "pydantic", "scipy", "torch")
"""Packages that a served model needs."""
CHOSEN = (
    "The variant with the highest mean SROCC on test references over the study's splits, of {variants} that were "
    "trained on every split; the best of several scores is a little too good. The weights are those of the split with "
    "the lowest number, whatever its score."
)


def best_configuration(search: Search) -> Configuration | None:
    """The tested configuration with the highest mean SROCC over its splits, of those with a score on every split."""
    return max(_complete(search), key=lambda configuration: float(np.mean(configuration.scores)), default=None)


def _complete(search: Search) -> list[Configuration]:
    return [variant.tested for variant in search.variants if variant.tested and variant.tested.complete]


def make_card(configuration: Configuration, variants: int, result: Result, distortions: tuple[str, ...]) -> Card:
    """The card of one trial's weights; its configuration was chosen among some variants."""
    run = configuration.run
    results = [result for result in configuration.results.values() if result is not None]
    trials = [(one.status, one.metrics, len(one.fold.held_out) / len(one.fold.train)) for one in results]
    over_splits = aggregate(trials, [one.fold.held_out for one in results])
    return Card(
        study=run.study,
        question=run.question,
        preset=run.preset,
        variant=run.variant,
        chosen=CHOSEN.format(variants=variants),
        over_splits={name: value for name, value in over_splits.items() if name != "device_hours"},
        **trial_fields(result, distortions),
    )


def publish(
    uri: str,
    search: Search,
    store: Store,
    distortions: Callable[[TrainingConfig], tuple[str, ...]],
    scenes: Callable[[Result], bytes] = lambda result: b"",
) -> str | None:
    """Log a finished study's best variant to MLflow as a model; returns its URI. A model that is there is found again.

    `distortions` gives the names of the classes that a configuration is trained on, `scenes` a file by which the model
    recognises the scenes of its training (`evaluation.scenes`). None while the study is not finished, or if no variant
    has a score on every split.

    Raises:
        ModelError: for weights that are missing or damaged, or an MLflow that cannot be used.
    """
    best = best_configuration(search)
    if best is None or not search.finished:
        return None
    result = best.results[min(best.results)]
    assert result is not None and result.status == "finished"
    card = make_card(best, len(_complete(search)), result, distortions(result.config))
    key = configuration_key(best.run, read_trial(store.folder(result.signature)))
    from gada_ray.tracking.client import connect

    try:
        client = connect(uri)
        weights = partial(quality_weights, store, result)
        return _log(client, card, best, key, search.plan, weights, lambda: scenes(result))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"MLflow at {shown(uri)} did not take it ({first_line(error)[:300]}); run --sync when it does"
        ) from error


def _log(
    client: MlflowClient,
    card: Card,
    best: Configuration,
    key: str,
    plan: Plan,
    weights: Callable[[], dict[str, Tensor]],
    scenes: Callable[[], bytes],
) -> str:
    """The model's URI. Weights and scenes are read only if it is not there yet."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    from gada_ray.tracking.client import search_key

    experiment = client.get_experiment_by_name(card.study)
    if experiment is None:
        raise ModelError(f"MLflow has no experiment {card.study}")
    place = experiment.experiment_id
    # Cards of before lack the device, and are cards of the same model.
    identity = digest(card.model_dump(mode="json", exclude={"device"}))
    same = client.search_logged_models([place], f"tags.card = '{identity}'")
    for half in same:
        if half.status != LoggedModelStatus.READY:
            client.delete_logged_model(half.model_id)
    model = next((model for model in same if model.status == LoggedModelStatus.READY), None)
    if model is None:
        state = weights()
        runs = [run for run in search_key(client, place, key) if run.data.tags["kind"] == "configuration"]
        run_id = runs[0].info.run_id if runs else None
        tags = {"card": identity, "variant": card.variant, "preset": card.preset, "signature": card.signature}
        tags |= {"code_version": str(card.code_version), "mlflow.note.content": description(card)}
        model = client.create_logged_model(place, NAME, run_id, tags, parameters(best.run), "image quality")
        with tempfile.TemporaryDirectory() as name:
            _save(Path(name) / "model", card, state, scenes(), run_id, model.model_id)
            client.log_model_artifacts(model.model_id, str(Path(name) / "model"))
        if run_id:
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            _log_scores(client, run_id, model.model_id, card)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    for other in client.search_logged_models([place], f"tags.best_of = '{plan.key}'"):
        if other.model_id != model.model_id:
            client.delete_logged_model_tag(other.model_id, "best_of")
    _register(client, card, model)
    client.set_logged_model_tags(model.model_id, {"best_of": plan.key, "made_for": options_text(plan)})
    return f"models:/{model.model_id}"


def description(card: Card) -> str:
    """A model in a few sentences: its scores, how it was chosen, what its numbers are, and how images are scored."""
    scores = ", ".join(
        f"{name.upper()} {card.over_splits[f'{name}_mean']:.3f}"
        for name in ("srocc", "plcc")
        if f"{name}_mean" in card.over_splits
    )
    return (
        f"Image quality network of study {card.study}, variant {card.variant}, preset {card.preset}, trained on "
        f"{card.dataset.name}, split {card.fold.split}. Test {scores} (mean of {card.over_splits['n']:.0f} splits). "
        f"{card.chosen}\n\n{card.arithmetic} It scores whole images; score: {card.scale}."
    )


def _log_scores(client: MlflowClient, run_id: str, model_id: str, card: Card) -> None:
    """Give a model its variant's scores, and the dataset that they were measured on."""
    from mlflow.entities import Metric

    data, now = card.dataset, int(time.time() * 1000)
    dataset = {"dataset_name": data.name, "dataset_digest": data.fingerprint[:36]}
    metrics = [
        Metric(metric_name(name), value, now, 0, model_id=model_id, run_id=run_id, **dataset)
        for name, value in card.over_splits.items()
        if math.isfinite(value)
    ]
    client.log_batch(run_id, metrics=metrics, synchronous=True)


def _register(client: MlflowClient, card: Card, model: LoggedModel) -> None:
    """Register a model under its study's name; the version that was published last has the alias "best"."""
    name = card.study
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=f"The best variants of study {name}: {card.question}")
    place = model.artifact_location  # MLflow resolves model URIs only at its global tracking URI
    version = next((v for v in client.search_model_versions(f"name = '{name}'") if v.source == place), None)
    if version is None:
        version = client.create_model_version(
            name,
            place,
            model.source_run_id,
            {"variant": card.variant, "preset": card.preset, "dataset": card.dataset.name},
            description=description(card),
            model_id=model.model_id,
        )
    if "best" not in version.aliases:
        client.set_registered_model_alias(name, "best", version.version)


def _save(folder: Path, card: Card, state: dict[str, Tensor], scenes: bytes, run_id: str | None, model_id: str) -> None:
    """Write an MLflow model: code, card and weights, a signature, and an example of its input."""
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    from gada_ray.inference import scoring

    numbers = [ColSpec(DataType.double, name) for name in ("quality", "score", "spread")]
    signature = ModelSignature(
        Schema([ColSpec(DataType.binary, "image")]), Schema([*numbers, ColSpec(DataType.string, "distortion")])
    )
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own code
        scoring.save(Path(name) / "model", card, state, scenes)
        pyfunc.save_model(
            folder,
            python_model=Path(__file__).with_name("served_model.py"),
            artifacts={"model": str(Path(name) / "model")},
            code_paths=[str(Path(scoring.__file__).parents[1])],
            mlflow_model=Model(run_id=run_id, model_id=model_id),
            signature=signature,
            input_example=pd.DataFrame({"image": [example(card.config.data.crop_px)]}),
            pip_requirements=[f"{library}=={version(library).partition('+')[0]}" for library in LIBRARIES],
            metadata={"scale": card.scale, "chosen": card.chosen},
        )


def example(crop_px: int) -> bytes:
    """A PNG of a synthetic texture that is just large enough for a crop."""
    from PIL import Image

    from gada_ray.data.demo_images import clouds

    texture = clouds(0, exponent=1.3, contrast=0.15)
    repeats = [-(-crop_px // side) for side in texture.shape[:2]]
    buffer = io.BytesIO()
    Image.fromarray(np.tile(texture, (*repeats, 1))[:crop_px, :crop_px]).save(buffer, "png")
    return buffer.getvalue()


def scorer(store: Store, result: Result, distortions: tuple[str, ...], device: str = "cpu") -> Scorer:
    """A finished trial's network, whether or not a study chose it; its card says no more than the trial does.

    Raises:
        ModelError: for weights that are missing or damaged.
    """
    from gada_ray.inference.scoring import Scorer

    card = Card(
        study=result.run.study,
        question="",
        preset="",
        variant=result.signature,
        chosen="not chosen",
        over_splits={},
        **trial_fields(result, distortions),
    )
    weights = {name: tensor.cpu().numpy() for name, tensor in quality_weights(store, result).items()}
    return Scorer(card, weights, device)
