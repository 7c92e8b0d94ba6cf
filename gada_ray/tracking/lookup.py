"""Models in MLflow by their addresses. MLflow is loaded once an address is known to be worth asking for."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gada_ray.config import digest
from gada_ray.errors import first_line
from gada_ray.inference.card import ModelError
from gada_ray.study.definition import Plan
from gada_ray.study.space import distribution
from gada_ray.tracking.uri import SQLITE, default_uri


def plan_key(plan: Plan) -> str:
    """Names what was asked for on the command line, so that its winner can be found without a look at the data."""
    variants = [
        [
            variant.name,
            variant.config.model_dump(mode="json"),
            {path: str(distribution(dimension)) for path, dimension in variant.space.items()},
            variant.candidates,
        ]
        for variant in plan.variants
    ]
    return digest([plan.study, plan.preset, plan.dataset, plan.splits, plan.seed, variants, *plan.source])


def best(uri: str, plan: Plan) -> str:
    """The address of the model that was logged for a plan.

    Raises:
        ModelError: where there is none, or MLflow does not answer.
    """
    _check_there(uri)
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(plan.study)
        places = [experiment.experiment_id] if experiment else []
        found = places and client.search_logged_models(places, f"tags.best_of = '{plan_key(plan)}'")
    except Exception as error:
        raise ModelError(f"MLflow at {uri} cannot be used ({first_line(error)[:300]})") from error
    if not found:
        raise ModelError(
            f"MLflow at {uri} has no model of study '{plan.study}', preset {plan.preset}, on {plan.dataset} with these "
            f"options; run the study with them to its end, or --sync if it has"
        )
    return f"models:/{found[0].model_id}"


def fetch(address: str, tracking_uri: str | None) -> Path:
    """The folder of a model: a folder itself, or a copy of what an address in MLflow names.

    Raises:
        ModelError: for an address that names no model, or an MLflow that does not answer.
    """
    if not address.startswith(("runs:/", "models:/")):
        if not Path(address).is_dir():
            raise ModelError(f"--model {address} is neither a folder nor an address in MLflow (runs:/ or models:/)")
        return Path(address)
    uri = tracking_uri or default_uri(Path("runs"))
    _check_there(uri)
    if (folder := _at_hand(uri, address)) is not None:
        return folder
    import mlflow

    # MLflow looks addresses of models up at its global address alone.
    before = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        mlflow.set_tracking_uri(uri)
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=address))
    except Exception as error:
        raise ModelError(f"MLflow at {uri} gives no model {address} ({first_line(error)[:300]})") from error
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None forgets it


def _at_hand(uri: str, address: str) -> Path | None:
    """Where a model's files lie on this machine, from a sqlite file itself: MLflow takes seconds to be loaded.

    None where MLflow has to be asked: for other addresses, other places, and whatever is not as expected.
    """
    number = address.removeprefix("models:/")
    if not uri.startswith(SQLITE) or not number.startswith("m-"):
        return None
    path = Path(uri.removeprefix(SQLITE)).resolve()
    rule = "SELECT artifact_location FROM logged_models WHERE model_id = ? AND lifecycle_stage = 'active'"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute(rule, (number,)).fetchone()
    except sqlite3.Error:
        return None
    if found is None or not found[0].startswith("file://"):
        return None
    folder = Path(unquote(urlsplit(found[0]).path))
    return folder if folder.is_dir() else None


def _check_there(uri: str) -> None:
    """MLflow would make a database where there is none."""
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise ModelError(f"there is no {uri.removeprefix(SQLITE)}; name MLflow's address by --tracking-uri")
