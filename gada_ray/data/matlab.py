"""Reading of MATLAB files of databases and splits; SciPy is loaded only then."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from gada_ray.data.dataset import DataError


def read_mat(path: Path) -> dict[str, Any]:
    """Read the variables of a file, by name.

    Raises:
        DataError: for a file that is damaged or not a MATLAB file.
        NotImplementedError: for a file of version 7.3, which is HDF5.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found: dict[str, Any] = loadmat(path)
    except (MatReadError, zlib.error, ValueError, OSError, TypeError) as error:
        raise DataError(f"{path}: not a MATLAB file that can be read ({error})") from None
    return found
