"""What MLflow runs to serve a model, as a file that it copies into the model: images in, scores out.

Loading needs no pickle: this file, a JSON file and plain arrays are all that there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from gada_ray.inference import scoring


class ServedModel(PythonModel):
    """Takes a frame with a column `image`, the bytes of image files, and gives quality, score, spread, distortion."""

    def load_context(self, context: Any) -> None:
        """Read the model."""
        self.scorer = scoring.load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row an image, in the order given; an image that cannot be scored is an error that says its number."""
        return pd.DataFrame(self.scorer.score_bytes(model_input["image"]), columns=scoring.Score._fields)


set_model(ServedModel())
