from __future__ import annotations

import os
import time
from pathlib import Path

from gada_ray.data.cache import UNUSED_DAYS, mark_used, remove_unused
from gada_ray.data.prepared import prepare
from gada_ray.data.procedural import procedures
from tests.toy import toy_dataset

LONG_AGO = time.time() - (UNUSED_DAYS + 1) * 24 * 3600


def old(path: Path) -> Path:
    """A file that nobody used for long."""
    path.write_bytes(b"pixels")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_files_that_nobody_used_for_long_are_removed_and_locks_stay(tmp_path):
    unused, used, lock = (old(tmp_path / name) for name in ("unused.rgb", "used.rgb", "unused.lock"))
    mark_used(used)
    remove_unused(tmp_path)
    assert not unused.exists() and used.exists() and lock.exists()


def test_preparing_pictures_removes_unused_ones_and_a_use_of_them_counts(tmp_path):
    dataset = toy_dataset()
    images, found = [dataset.image(0)], [one for one in procedures(("jpeg", "gblur"), "live") if one]
    first = prepare(images, found, tmp_path, 16)
    (file,) = (path for path in (tmp_path / "procedural").iterdir() if path.suffix == ".uint8")
    os.utime(file, (LONG_AGO, LONG_AGO))
    again = prepare(images, found, tmp_path, 16)
    assert file.stat().st_mtime > LONG_AGO and (again.pixels == first.pixels).all()
    os.utime(file, (LONG_AGO, LONG_AGO))
    prepare(images, found[:1], tmp_path, 16)
    assert not file.exists() and first.pixels.size, "mapped pixels stay readable"
