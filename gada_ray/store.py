"""Results of record: one folder a trial, named by its signature. Everything else can be rebuilt from here.

    <storage>/trials/<signature>/result.json       the last file to be written; its presence means the trial is done
                                 predictions.csv   image, reference, distortion, target, prediction
                                 curves.csv        phase, step, global_step, name, value
                                 patches.npz       reference, generated and distorted patches, if a generator trained
                                 weights.pt        the trained network
                                 checkpoint.pt     only until the trial is done

A file is written under another name, flushed to the disk and renamed, so what has its name is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from gada_ray.config import Frozen, TrainingConfig, canonical, explain
from gada_ray.errors import UserError

FORMAT = 1
RESULT = "result.json"
CHECKPOINT = "checkpoint.pt"


class StoreError(UserError, ValueError):
    """A file in the store that cannot be trusted; names it and says what to do."""


class FoldRecord(Frozen):
    """The references that a trial saw, by name."""

    split: int
    scored_on: Literal["validation", "test"]
    train: tuple[str, ...]
    held_out: tuple[str, ...]


class DatasetRecord(Frozen):
    """Which data a trial saw."""

    name: str
    labels: str
    direction: str
    score_range: tuple[float, float]
    fingerprint: str
    images: int
    references: int


class PhaseResult(Frozen):
    """Agreement with people after a phase."""

    name: str
    steps: int
    metrics: dict[str, float]


class RunRecord(Frozen):
    """How a trial ran; nothing here is part of its identity."""

    device: str
    threads: int
    host: str
    started: str
    """ISO 8601, UTC."""
    seconds: float
    """Wall time of all attempts, as far as checkpoints know it."""
    phase_seconds: dict[str, float]
    """Training alone; a phase taken over from another trial is missing."""
    evaluation_seconds: float
    peak_memory_mb: float
    """Of the device for a GPU, else of the process."""
    reused: str | None = None
    """Signature of the trial whose weights this one started from."""
    versions: dict[str, str]


class Result(Frozen):
    """One trial's result.json."""

    format: int = FORMAT
    signature: str = Field(pattern=r"^[0-9a-f]{64}$")
    status: Literal["finished", "diverged", "oom"]
    cause: str | None = None
    config: TrainingConfig
    fold: FoldRecord
    seed: int
    dataset: DatasetRecord
    code_version: int
    metrics: dict[str, float]
    """After the last phase; empty unless finished."""
    phases: tuple[PhaseResult, ...]
    run: RunRecord
    files: dict[str, str]
    """Sha256 of the other files of the folder."""


class Store:
    """The trials under one storage folder, on a local disk or one that all nodes share."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().resolve()

    def folder(self, signature: str) -> Path:
        """Where a trial's files are, whether or not it exists."""
        return self.root / "trials" / signature

    def read(self, signature: str, name: str) -> bytes | None:
        """A file of a trial, or None where there is none."""
        try:
            return (self.folder(signature) / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, signature: str, name: str, data: bytes) -> None:
        """Write a file of a trial so that it is there whole or not at all."""
        write_whole(self.folder(signature) / name, data)

    def commit(self, result: Result) -> None:
        """Write result.json, which makes the trial done, and drop its checkpoint."""
        record = result.model_dump(mode="json")
        record["sha256"] = hashlib.sha256(canonical(record).encode()).hexdigest()
        self.write(result.signature, RESULT, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
        (self.folder(result.signature) / CHECKPOINT).unlink(missing_ok=True)

    def result(self, signature: str) -> Result | None:
        """The result of a trial, or None if it is not done.

        Raises:
            StoreError: for a result that is cut off, edited, another trial's, or of a later version.
        """
        data = self.read(signature, RESULT)
        if data is None:
            return None
        path = self.folder(signature) / RESULT
        remedy = "delete its folder to train the trial again"
        try:
            record: dict[str, Any] = json.loads(data)
            seal = record.pop("sha256")
        except (ValueError, AttributeError, KeyError, TypeError):
            raise StoreError(f"{path} is cut off or no result file; {remedy}") from None
        if record.get("format") != FORMAT:
            raise StoreError(
                f"{path} has result format {record.get('format')!r}, this version reads {FORMAT}; "
                f"use the version that wrote it, or {remedy}"
            )
        if hashlib.sha256(canonical(record).encode()).hexdigest() != seal:
            raise StoreError(f"{path} was edited after it was written; {remedy}")
        try:
            result = Result.model_validate(record)
        except ValidationError as error:
            raise StoreError(f"{path}: {explain(error)}; {remedy}") from None
        if result.signature != signature:
            raise StoreError(f"{path} belongs to trial {result.signature}; {remedy}")
        return result


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name, flush it to the disk and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
