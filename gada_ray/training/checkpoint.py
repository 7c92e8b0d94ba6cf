"""Serialisation of a training's state, in a form that cannot execute code when it is read."""

from __future__ import annotations

import io
import pickle
import zipfile
from typing import Any

import torch

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be read: cut off, foreign, or of another version."""


def to_bytes(state: dict[str, Any]) -> bytes:
    """Serialise a state of tensors and plain values."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes, name: str) -> dict[str, Any]:
    """Read what `to_bytes` wrote, onto the CPU.

    Raises:
        CheckpointError: names the file and what is wrong with it.
    """
    if not data.startswith(b"PK"):  # what torch.save writes is a zip file
        raise CheckpointError(f"{name} is cut off or no checkpoint of this program")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CheckpointError(f"{name} is cut off or no checkpoint of this program ({reason})") from None
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{name} has checkpoint format {found!r}; this version reads {FORMAT}")
    state.pop("format")
    return dict(state)
