"""The code with which MLflow serves a model: images in, scores out. MLflow copies this file into the model.

Loading needs no pickle: a model is this file, a JSON file and plain arrays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from gada_ray.inference import scoring


class ServedModel(PythonModel):
    """Takes a frame with a column `image`, the bytes of image files; returns quality, score, spread, distortion."""

    def load_context(self, context: Any) -> None:
        """Read the model."""
        self.scorer = scoring.load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score images, one row each, in the given order. One that cannot be scored is an error with its number."""
        return pd.DataFrame(self.scorer.score_bytes(model_input["image"]), columns=scoring.Score._fields)


set_model(ServedModel())
