"""Databases that are larger than memory: their pixels are mapped from a file, with the same numbers."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from gada_ray.config import DataConfig
from gada_ray.data import DataError, IqaDataset, images, load_dataset, mapped, memory
from tests.data.fakes import write_noisy


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_noisy(tmp_path / "mine", references=6, levels=(2, 10, 30))


def load(root: Path, shorter_side: int | None = None) -> IqaDataset:
    return load_dataset("manifest", root, DataConfig(shorter_side=shorter_side))


def in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: 50_000)


def files(tmp_path: Path) -> list[str]:
    return sorted(path.suffix for path in (tmp_path / "cache/gada-ray/pixels").iterdir())


@pytest.mark.parametrize("shorter_side", [None, 20])
def test_pixels_that_do_not_fit_into_memory_are_mapped_with_the_same_numbers_and_decoded_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shorter_side: int | None
) -> None:
    plain = load(root, shorter_side)
    in_little_memory(monkeypatch)
    for _ in range(2):
        dataset = load(root, shorter_side)
        assert dataset.fingerprint == plain.fingerprint
        assert (dataset.image(3) == plain.image(3)).all() and not dataset.image(3).flags.writeable
        assert (dataset.bytes_in_memory, plain.bytes_in_memory) == (0, plain.pixels.nbytes)
        assert "are mapped from" in dataset.notes[0]
        assert files(tmp_path) == [".json", ".rgb"]
        monkeypatch.setattr(images, "_decoded", None)


def test_a_changed_image_is_decoded_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_little_memory(monkeypatch)
    before = load(root).fingerprint
    (root / "dist/r0_2.png").write_bytes((root / "dist/r0_10.png").read_bytes())
    assert load(root).fingerprint != before


def test_a_dataset_is_sent_without_its_pixels_and_finds_or_makes_their_file_where_it_arrives(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_little_memory(monkeypatch)
    dataset = load(root)
    assert dataset.fingerprint
    sent = pickle.dumps(dataset)
    assert len(sent) < dataset.pixels.nbytes / 5
    assert mapped.file_of(pickle.loads(sent).pixels) == mapped.file_of(dataset.pixels)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other node"))
    monkeypatch.setattr(memory, "free", lambda: 10**12)
    for path in (tmp_path / "cache/gada-ray/pixels").iterdir():
        path.unlink()
    arrived = pickle.loads(sent)
    file = mapped.file_of(arrived.pixels)
    assert file is not None and file.is_relative_to(tmp_path / "other node")
    assert (arrived.pixels == load(root).pixels).all()
    (root / "dist/r0_2.png").write_bytes((root / "dist/r0_10.png").read_bytes())
    file.unlink()
    with pytest.raises(DataError, match="holds other images or scores on this node than where the study began"):
        pickle.loads(sent)


def test_a_dataset_in_memory_is_sent_with_its_pixels(root: Path) -> None:
    dataset = load(root)
    assert (pickle.loads(pickle.dumps(dataset)).pixels == dataset.pixels).all()


def test_a_database_that_cannot_be_read_leaves_no_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_little_memory(monkeypatch)
    (root / "dist/r0_2.png").write_text("text")
    with pytest.raises(DataError, match="not an image"):
        load(root)
    assert files(tmp_path) == []


def test_a_database_that_fits_neither_into_memory_nor_on_the_disk_is_refused_before_it_is_decoded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_little_memory(monkeypatch)
    monkeypatch.setattr(mapped, "room", lambda path: 1000)
    monkeypatch.setattr(images, "_decoded", None)
    with pytest.raises(DataError, match=r"24 images take 0 MiB as pixels.* set XDG_CACHE_HOME to a disk"):
        load(root)
