"""Models in MLflow, found by their URIs. MLflow is loaded only when it has to be asked."""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gada_ray.errors import first_line
from gada_ray.inference.card import ModelError
from gada_ray.study.definition import Plan
from gada_ray.tracking import database
from gada_ray.tracking.uri import proxy_advice, shown, sqlite_path
from gada_ray.tracking.uri import tracking_uri as address_of


def options_text(plan: Plan) -> str:
    """The options on which a plan's numbers depend, for people; of `--set`, a hash says whether it was the same."""
    root, splits = (*plan.source, "", "")[:2]
    words = ["--preset", plan.preset, "--dataset", plan.dataset]
    words += ["--data-root", root] if root else []
    words += ["--splits", splits or str(plan.splits), "--seed", str(plan.seed)]
    variants = ", ".join(variant.name for variant in plan.variants)
    return f"{shlex.join(words)} (variants {variants}; settings {plan.key[:8]})"


def best(uri: str, plan: Plan) -> str:
    """The URI of the model that was logged for a plan.

    Raises:
        ModelError: if there is none, with the options that there are models for, or if MLflow does not answer.
    """
    _check_there(uri)
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(plan.study)
        models = client.search_logged_models([experiment.experiment_id]) if experiment else []
    except Exception as error:
        raise _unusable(uri, "cannot be used", error) from error
    found = [model for model in models if model.tags.get("best_of") == plan.key]
    if found:
        return f"models:/{found[0].model_id}"
    listed = dict.fromkeys(_made_for(model.tags) for model in models if "best_of" in model.tags)
    there = "; it has models for:\n" + "\n".join(listed) if listed else ""
    raise ModelError(
        f"MLflow at {shown(uri)} has no model of study '{plan.study}' for {options_text(plan)}; run the study with "
        f"these options to its end, or --sync if it has{there}"
    )


def _made_for(tags: dict[str, str]) -> str:
    """What a model was made for, as its tags say: options and version of the training code."""
    version = f"code version {tags['code_version']}" if "code_version" in tags else "code version not recorded"
    options = tags.get("made_for") or f"--preset {tags.get('preset', '?')} (other options not recorded)"
    return f"{options}, {version}"


def fetch(address: str, tracking_uri: str | None) -> Path:
    """The folder of a model: a folder itself, or a copy of what a URI in MLflow names.

    Raises:
        ModelError: for a URI that names no model, or an MLflow that does not answer.
        TrackingError: for an address of MLflow that cannot be used.
    """
    if not address.startswith(("runs:/", "models:/")):
        if not Path(address).is_dir():
            raise ModelError(f"--model {address} is neither a folder nor a model URI of MLflow (runs:/ or models:/)")
        return Path(address)
    uri = address_of(tracking_uri, Path("runs"))
    _check_there(uri)
    if (folder := _at_hand(uri, address)) is not None:
        return folder
    import mlflow

    # MLflow resolves model URIs only at its global tracking URI.
    before = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        mlflow.set_tracking_uri(uri)
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=address))
    except Exception as error:
        raise _unusable(uri, f"gives no model {address}", error) from error
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None forgets it


def _at_hand(uri: str, address: str) -> Path | None:
    """The folder of a model's files on this machine, read from the SQLite file: MLflow takes seconds to be loaded.

    None if MLflow has to be asked: for other URIs, other places, and whatever is not as expected.
    """
    number, path = address.removeprefix("models:/"), sqlite_path(uri)
    if path is None or not number.startswith("m-"):
        return None
    rule = "SELECT artifact_location FROM logged_models WHERE model_id = ? AND lifecycle_stage = 'active'"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            found = file.execute(rule, (number,)).fetchone()
    except sqlite3.Error:
        return None
    if found is None or not found[0].startswith("file://"):
        return None
    folder = Path(unquote(urlsplit(found[0]).path))
    return folder if folder.is_dir() else None


def _check_there(uri: str) -> None:
    """Check that a SQLite file is there, since MLflow would make one, and correct its paths if it was moved."""
    path = sqlite_path(uri)
    if path is None:
        return
    if not path.is_file():
        raise ModelError(f"there is no {path}; name MLflow's address by --tracking-uri")
    with suppress(sqlite3.Error):  # a file that may only be read; MLflow says what it misses
        database.relocate(uri)


def _unusable(uri: str, what: str, error: Exception) -> ModelError:
    return ModelError(f"MLflow at {shown(uri)} {what} ({first_line(error)[:300]}){proxy_advice(uri)}")
