"""Any image file becomes upright 8-bit RGB by a stated rule, or is refused by name."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gada_ray.data import DataError
from gada_ray.data.photos import decode_photo, find_photos
from tests.data.fakes import write_picture

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, COLOUR),
        (2, COLOUR[:, ::-1]),
        (3, COLOUR[::-1, ::-1]),
        (4, COLOUR[::-1]),
        (5, COLOUR.transpose(1, 0, 2)),
        (6, np.rot90(COLOUR, -1)),
        (7, COLOUR[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(COLOUR)),
    ],
)
def test_an_exif_orientation_is_applied(tmp_path: Path, orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(decode_photo(tmp_path / "a.png"), upright)


@pytest.mark.parametrize("unit", [b"", b"about 300"])
def test_an_orientation_is_applied_beside_invalid_metadata(tmp_path: Path, unit: bytes) -> None:
    # Tags: orientation 6 (a SHORT), and XResolution as text where a fraction belongs.
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x011A, 2, len(unit) + 1, 38)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0) + unit + b"\0"
    flat = Image.new("RGB", (16, 8), (200, 30, 40))
    flat.save(tmp_path / "a.jpg", exif=exif)
    assert decode_photo(tmp_path / "a.jpg").shape == (16, 8, 3)


def test_transparent_pixels_are_laid_on_white(tmp_path: Path) -> None:
    alpha = np.full((9, 12, 1), 255, np.uint8)
    alpha[0, 0], alpha[0, 1] = 0, 51
    Image.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "a.png")
    expected = COLOUR.astype(float)
    expected[0, 0] = 255
    expected[0, 1] = 0.2 * expected[0, 1] + 0.8 * 255
    assert np.abs(decode_photo(tmp_path / "a.png") - expected).max() <= 1


def test_a_palette_colour_that_is_transparent_is_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(108, dtype=np.uint8).reshape(9, 12) % 4).convert("P")
    image.putpalette([10, 20, 30] * 4)
    image.save(tmp_path / "a.png", transparency=2)
    decoded = decode_photo(tmp_path / "a.png")
    assert (decoded[0, 2] == 255).all()
    assert decoded[0, 1].tolist() == [10, 20, 30]


def test_cmyk_becomes_rgb_by_the_plain_formula(tmp_path: Path) -> None:
    Image.new("CMYK", (9, 9), (255, 51, 0, 0)).save(tmp_path / "a.tif")
    assert decode_photo(tmp_path / "a.tif")[4, 4].tolist() == [0, 204, 255]


def test_the_main_picture_of_a_camera_file_of_several_pictures_is_taken(tmp_path: Path) -> None:
    main, preview = (Image.new("RGB", (16, 16), colour) for colour in ("white", "black"))
    main.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview])
    assert decode_photo(tmp_path / "a.jpg").min() > 250


@pytest.mark.parametrize(("suffix", "frames"), [("gif", 3), ("png", 3), ("tif", 3), ("webp", 3)])
def test_an_animation_and_several_pages_are_refused(tmp_path: Path, suffix: str, frames: int) -> None:
    first, *others = (Image.fromarray(RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)) for _ in range(frames))
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=others)
    with pytest.raises(DataError, match=rf"a\.{suffix}: 3 frames or pages"):
        decode_photo(tmp_path / f"a.{suffix}")


def test_a_large_photograph_is_converted_in_bands_to_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = np.dstack([COLOUR, RNG.integers(0, 256, (9, 12), dtype=np.uint8)])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(alpha).save(tmp_path / "alpha.png", exif=exif)
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "print.tif")
    whole = [decode_photo(tmp_path / name) for name in ("alpha.png", "print.tif")]
    monkeypatch.setattr("gada_ray.data.images.BAND_PX", 24)
    monkeypatch.setattr("gada_ray.data.photos.LARGE_PX", 24)
    for name, expected in zip(("alpha.png", "print.tif"), whole, strict=True):
        assert np.array_equal(decode_photo(tmp_path / name), expected)


def test_bytes_are_read_like_a_file_and_named_as_asked(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", COLOUR)
    assert np.array_equal(decode_photo(path.read_bytes()), COLOUR)
    with pytest.raises(DataError, match="image 3: not an image"):
        decode_photo(b"text", "image 3")


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match="not a regular file"):
        decode_photo(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_other_kinds_of_pixels_are_refused_by_name(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (9, 9)).save(buffer, "tiff")
    with pytest.raises(DataError, match=f"images of mode {mode} are refused"):
        decode_photo(buffer.getvalue(), "a.tif")


def test_folders_are_read_in_full_by_name_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/c/1.png", "a.png", ".hidden.png", ".cache/3.png", "b/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [Path(path).relative_to(tmp_path).as_posix() for path in find_photos([tmp_path]) if isinstance(path, str)]
    assert found == ["a.png", "b/1.txt", "b/2.png", "b/c/1.png"]


def test_files_that_are_named_are_kept_in_order_whether_they_exist_or_not() -> None:
    assert list(find_photos(["b.png", Path("a.png")])) == ["b.png", "a.png"]


def test_paths_are_kept_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").touch()
    monkeypatch.chdir(tmp_path)
    written = ["./photos/../photos/a.png", "./photos", "photos//", "."]
    expected = ["./photos/../photos/a.png", "./photos/a.png", "photos//a.png", "./photos/a.png"]
    assert [next(find_photos([path])) for path in written] == expected


def test_a_folder_without_files_and_an_address_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder, address = find_photos([tmp_path, "https://example.org/a.png"])
    assert str(folder) == f"{tmp_path}: no images in this folder"
    assert str(address) == "https://example.org/a.png: an address on the network; download the file and give its path"


def test_a_link_back_to_a_folder_ends_there_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.png").touch()
    (tmp_path / "deep/up").symlink_to(tmp_path)
    first, second = find_photos([tmp_path])
    assert first == str(tmp_path / "deep/a.png")
    assert str(tmp_path / "deep/up") in str(second)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    (problem,) = find_photos([tmp_path])
    assert str(problem) == f"{tmp_path}: cannot be listed (Permission denied)"
