"""The network of a finished trial, from the store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gada_ray.inference.card import ModelError
from gada_ray.trials.store import Result, Store

if TYPE_CHECKING:
    from torch import Tensor


def quality_weights(store: Store, result: Result) -> dict[str, Tensor]:
    """The quality network's state from a trial's stored weights.

    Raises:
        ModelError: for weights that are missing or damaged.
    """
    from gada_ray.training import checkpoint

    place = store.folder(result.signature) / "weights.pt"
    data = store.read(result.signature, "weights.pt")
    if data is None or hashlib.sha256(data).hexdigest() != result.files["weights.pt"]:
        raise ModelError(f"{place} is missing or not what the trial wrote; delete its folder to train it again")
    saved = checkpoint.from_bytes(data, str(place))
    network = (saved if result.config.evaluation.weights == "final" else saved["ema"])["network"]
    return {
        name.removeprefix("quality_network."): value
        for name, value in network.items()
        if name.startswith("quality_network.")
    }
