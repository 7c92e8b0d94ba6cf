"""Where the databases' real label files lie, for the tests that want them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("GADA_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.fixture(scope="session")
def real_labels() -> Callable[[str], Path]:
    """The folder of a database's real label files, which this repository may not hold; skips where there is none."""

    def folder(database: str) -> Path:
        path = SHARED / "metadata" / database
        if not path.is_dir():
            pytest.skip(f"no real label files in {path}; GADA_SHARED may name the folder that holds metadata/")
        return path

    return folder
