"""The folder of Ray's sockets and logs: whose it is, and what makes it unusable."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from gada_ray.running import temporary
from gada_ray.running.slots import ResourceError
from gada_ray.running.temporary import temporary_folder


@pytest.fixture
def base(monkeypatch):
    """A temporary folder with a short path, which no variable names."""
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    place = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    shutil.rmtree(place)


def test_a_folder_of_another_user_is_not_used(base, monkeypatch):
    assert temporary_folder() == base / "ray"
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    assert temporary_folder() != base / "ray"
    monkeypatch.setattr(os, "getuid", lambda: me)
    (base / "ray").rmdir()
    (base / "ray").write_text("a file")
    assert temporary_folder() == base / f"ray-{me}"
    assert (base / f"ray-{me}").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_that_does_not_exist_is_refused_by_the_name_of_its_variable(base, monkeypatch, variable):
    monkeypatch.setenv(variable, str(base / "missing"))
    with pytest.raises(ResourceError, match=rf"{variable}={base}/missing is not a folder; .*set {variable} to another"):
        temporary_folder()


def test_a_folder_that_cannot_be_written_to_is_refused(base, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(base))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ResourceError, match=rf"TMPDIR={base} cannot be written to; .*set TMPDIR to another folder"):
        temporary_folder()


def test_a_full_disk_is_refused_with_its_room_and_what_ray_needs(base, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(base))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * 2**20))
    with pytest.raises(ResourceError, match=rf"TMPDIR={base} has 3 MB of room, and Ray needs 100 MB .*set TMPDIR"):
        temporary_folder()


def test_a_path_too_long_for_sockets_is_replaced_for_tmpdir_and_refused_for_rays_own_variable(base, monkeypatch):
    long, short = base / ("job" * 20), base / "s"
    long.mkdir()
    short.mkdir()
    monkeypatch.setattr(temporary, "SHORT", short)
    monkeypatch.setenv("TMPDIR", str(long))
    told: list[str] = []
    assert temporary_folder(told.append) == short / "ray"
    assert len(told) == 1 and f"TMPDIR={long} is too long" in told[0] and "RAY_TMPDIR changes it" in told[0]
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with pytest.raises(ResourceError, match=r"the path of RAY_TMPDIR=.* has \d+ bytes .* 41 are the limit"):
        temporary_folder()
