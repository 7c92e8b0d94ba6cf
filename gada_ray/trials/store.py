"""Results of record: one folder for each trial, named by its signature. Everything else can be rebuilt from here.

    <storage>/trials/<signature>/result.json       the last file to be written; its presence means the trial is done
                                 predictions.csv   image, reference, distortion, target, prediction
                                 curves.csv        phase, step, global_step, name, value
                                 patches.npz       reference, generated and distorted patches, if a generator trained
                                 worst.npz         the worst-predicted image of each distortion with its test crops
                                 weights.pt        the trained network
                                 checkpoint.pt     only until the trial is done

A file is written under another name, flushed to the disk and renamed, so what has its name is whole. The storage may
also be `s3://bucket/prefix`, where an object appears whole or not at all by itself. Credentials, region and endpoint
come from the environment variables of AWS (AWS_ACCESS_KEY_ID, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, ...), or from the
machine's role.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import operator
import os
import re
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field, ValidationError

from gada_ray.config import Frozen, TrainingConfig, canonical, explain
from gada_ray.errors import UserError

if TYPE_CHECKING:
    from upath import UPath

    from gada_ray.data.dataset import IqaDataset

Folder: TypeAlias = "Path | UPath"
"""A folder or file on a disk or on S3: both are joined by `/` and read by `read_bytes`."""
FORMAT = 1
RESULT = "result.json"
CHECKPOINT = "checkpoint.pt"
ABANDONED_S = 3600.0
"""Age of a part of a file from which on its writer is taken to be dead."""
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class StoreError(UserError, ValueError):
    """A file in the store cannot be trusted; the message names it and the remedy."""


class RefusedError(StoreError):
    """The storage is full or access is denied; a retry is useless until that is mended."""


class FoldRecord(Frozen):
    """The references of a trial, by name."""

    split: int
    scored_on: Literal["validation", "test", "nothing"]
    train: tuple[str, ...]
    held_out: tuple[str, ...]


class DatasetRecord(Frozen):
    """The dataset of a trial."""

    name: str
    labels: str
    direction: str
    score_range: tuple[float, float]
    fingerprint: str
    images: int
    references: int
    has_references: bool = True
    """False for a database without references, whose `references` are the groups that splits keep together."""

    @classmethod
    def of(cls, dataset: IqaDataset) -> DatasetRecord:
        """The record of a dataset."""
        return cls(
            name=dataset.name,
            labels=dataset.labels,
            direction=dataset.direction,
            score_range=dataset.score_range,
            fingerprint=dataset.fingerprint,
            images=len(dataset),
            references=len(dataset.references),
            has_references=dataset.has_references,
        )


class PhaseResult(Frozen):
    """Metrics after a phase."""

    name: str
    steps: int
    metrics: dict[str, float]


class RunRecord(Frozen):
    """How a trial was executed; nothing here is part of its identity."""

    device: str
    threads: int
    host: str
    node: str = ""
    """Ray's name of the node, where Ray chose one."""
    started: str
    """ISO 8601, UTC."""
    seconds: float
    """Wall time of all attempts, as far as checkpoints recorded it."""
    phase_seconds: dict[str, float]
    """Training alone, by phase; phases of another trial that this one started from are missing. "independent_evaluator"
    is the training of that network."""
    evaluation_seconds: float
    peak_memory_mb: float
    """Of the device for a GPU, else of the process."""
    reused: str | None = None
    """Signature of the trial whose weights this one started from."""
    study: str = ""
    """Name of the study that it was trained for; other studies may use it."""
    # Left out where they are False, so that results of before they existed keep their digests.
    compiled: bool = Field(default=False, exclude_if=operator.not_)
    """Whether forward passes of its steps, or of some of them, were compiled."""
    deterministic: bool = Field(default=False, exclude_if=operator.not_)
    """Whether a GPU was limited to deterministic kernels in all steps. A CPU has no others."""
    versions: dict[str, str]


class Result(Frozen):
    """One trial's result.json."""

    format: int = FORMAT
    signature: str = Field(pattern=r"^[0-9a-f]{64}$")
    status: Literal["finished", "diverged"]
    cause: str | None = None
    config: TrainingConfig
    fold: FoldRecord
    seed: int
    dataset: DatasetRecord
    code_version: int
    metrics: dict[str, float]
    """After the last phase, and those of the image-blind baseline; empty unless finished."""
    phases: tuple[PhaseResult, ...]
    run: RunRecord
    files: dict[str, str]
    """Sha256 of the other files of the folder."""


class Store:
    """The trials under one storage: a folder, on a disk that all nodes share where there are several, or a place on S3.

    Raises:
        StoreError: for an address of another kind, or for S3 without the packages that speak to it.
    """

    def __init__(self, root: Folder | str) -> None:
        self.root = _place(str(root))

    @property
    def empty(self) -> bool:
        """Whether no trial was ever started here.

        Raises:
            StoreError: if the storage does not answer or refuses.
        """
        try:
            return next(iter((self.root / "trials").iterdir()), None) is None
        except (FileNotFoundError, NotADirectoryError):  # a place on S3 is a folder once something is in it
            return True
        except Exception as error:  # botocore's errors share no base class with those of files
            raise unusable(self.root, error) from error

    def check(self) -> None:
        """Make sure that a bucket exists and may be read, before anything is trained. Folders are made when needed.

        Raises:
            StoreError: with the cause.
        """
        if isinstance(self.root, Path):
            return
        bucket, _, prefix = self.root.path.partition("/")
        try:
            self.root.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except Exception as error:
            raise unusable(self.root, error) from error

    def folder(self, signature: str) -> Folder:
        """Where a trial's files are, whether or not it exists."""
        return self.root / "trials" / signature

    def read(self, signature: str, name: str) -> bytes | None:
        """A file of a trial, or None where there is none.

        Raises:
            StoreError: if the storage does not answer or refuses.
        """
        try:
            return read_whole(self.folder(signature) / name)
        except FileNotFoundError:
            return None
        except Exception as error:  # botocore's errors share no base class with those of files
            raise unusable(self.root, error) from error

    def write(self, signature: str, name: str, data: bytes) -> None:
        """Write a file of a trial atomically.

        Raises:
            StoreError: if the storage does not answer or refuses.
        """
        write_whole(self.folder(signature) / name, data)

    def commit(self, result: Result) -> None:
        """Write result.json, which makes the trial done, and drop its checkpoint."""
        record = result.model_dump(mode="json")
        record["sha256"] = hashlib.sha256(canonical(record).encode()).hexdigest()
        self.write(result.signature, RESULT, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
        self.forget(result.signature)

    def forget(self, signature: str) -> None:
        """Delete the checkpoint of a trial that is done, and the remains of interrupted writes.

        Younger parts of files are left: another worker may be writing the same trial.
        """
        folder = self.folder(signature)
        parts = folder.glob(".*.*") if isinstance(folder, Path) else ()
        try:
            (folder / CHECKPOINT).unlink(missing_ok=True)
            for path in parts:
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > ABANDONED_S:
                        path.unlink()
        except Exception as error:
            raise unusable(self.root, error) from error

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


def _place(root: str) -> Folder:
    if "://" not in root:
        return Path(root).expanduser().resolve()
    if not re.match("s3://[^/]", root):
        raise StoreError(f"the storage '{root}' is neither a folder nor s3://bucket/prefix")
    try:
        import s3fs  # noqa: F401  UPath would miss it only at the first file
        from upath import UPath
    except ImportError as error:
        raise StoreError(
            f"the storage {root} needs {error.name}; pip install '.[s3]', in the repository, on every node"
        ) from None
    return UPath(root.rstrip("/"), use_listings_cache=False)


def unusable(place: Folder, error: Exception) -> StoreError:
    """The error to raise for one of a disk or of S3."""
    if isinstance(error, PermissionError) or getattr(error, "errno", None) in REFUSALS:
        return RefusedError(
            f"{place} cannot be used ({error}); make room there, or obtain write permission, then run the same "
            "command again: nothing that is done is lost"
        )
    hint = "" if isinstance(place, Path) else " check its name and the AWS_ environment variables, then"
    return StoreError(f"{place} cannot be used ({error});{hint} run the same command again")


def read_whole(path: Folder) -> bytes:
    """A file's bytes; on S3 by one request, so that they belong to one version."""
    if isinstance(path, Path):
        return path.read_bytes()
    data: bytes = path.fs.cat_file(path.path)
    return data


def write_whole(path: Folder, data: bytes) -> None:
    """Write a file atomically: under another name, flushed and renamed; on S3 by one request.

    Raises:
        StoreError: if the storage does not answer or refuses; the file is then as it was.
    """
    try:
        _write(path, data)
    except Exception as error:
        raise unusable(path, error) from error


def _write(path: Folder, data: bytes) -> None:
    if not isinstance(path, Path):
        path.fs.pipe_file(path.path, data)  # a stream that breaks off would leave a part of the data
        return
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
