import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gada_ray.data import DataError
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.images import Labelled, decode, load_images, upright
from gada_ray.data.photos import decode_photo
from tests.data.fakes import write_picture

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (9, 12), dtype=np.uint8)


def write_png16(path: Path, pixels: np.ndarray, colour_type: int) -> Path:
    """A PNG of 16 bits a channel; PIL reads colour of that depth but cannot write it."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def test_rgb_is_taken_as_it_is(tmp_path: Path) -> None:
    assert np.array_equal(decode(write_picture(tmp_path / "a.bmp", COLOUR)), COLOUR)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    assert np.array_equal(decode(write_picture(tmp_path / "a.png", GREY)), np.dstack([GREY] * 3))


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(GREY > 127).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png")[..., 1], np.where(GREY > 127, 255, 0))


def test_a_palette_image_has_the_colours_of_its_palette(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 4, mode=None).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    image.save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png"), 10 + 30 * (GREY % 4)[..., None] + np.array([0, 10, 20]))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)], ids=["grey", "rgb"])
def test_sixteen_bits_become_eight_by_the_high_byte_in_grey_and_in_colour(
    tmp_path: Path, colour_type: int, channels: int
) -> None:
    deep = RNG.integers(0, 65536, (9, 12, channels))
    expected = np.broadcast_to(deep >> 8, (9, 12, 3))
    assert np.array_equal(decode(write_png16(tmp_path / "a.png", deep, colour_type)), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_accepted_where_every_pixel_is_opaque_and_refused_otherwise(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    image.save(tmp_path / "opaque.png")
    assert np.array_equal(decode(tmp_path / "opaque.png"), np.asarray(image.convert("RGB")))
    image.putpixel((3, 4), (*image.getpixel((3, 4))[:-1], 254))  # type: ignore[index]
    image.save(tmp_path / "clear.png")
    with pytest.raises(DataError, match=r"clear\.png: has transparent pixels"):
        decode(tmp_path / "clear.png")


def test_a_palette_with_a_transparent_colour_in_use_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 4).convert("P")
    image.save(tmp_path / "a.png", transparency=2)
    with pytest.raises(DataError, match="transparent pixels"):
        decode(tmp_path / "a.png")


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "CMYK"), ("a.tif", "F"), ("a.tif", "I")])
def test_other_kinds_of_pixels_are_refused_by_name(tmp_path: Path, name: str, mode: str) -> None:
    Image.new(mode, (9, 9)).save(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: images of mode {mode} are refused; save it as 8-bit"):
        decode(tmp_path / name)


def test_an_animation_is_refused_with_its_number_of_frames(tmp_path: Path) -> None:
    frames = [Image.fromarray(RNG.integers(0, 256, (9, 9), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.gif: 3 frames"):
        decode(tmp_path / "a.gif")


@pytest.mark.parametrize("suffix", ["bmp", "png", "jpg", "jp2", "tif"])
@pytest.mark.parametrize("keep", [0.0, 0.05, 0.7])
def test_a_truncated_file_is_refused_by_name_wherever_it_ends(tmp_path: Path, suffix: str, keep: float) -> None:
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = write_picture(tmp_path / f"cut.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(DataError, match=re.escape(str(path))):
        decode(path)


def test_a_missing_file_a_folder_and_a_text_file_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    for name, reason in {"none": "no such file", "text": "not an image", "folder": "damaged or unreadable"}.items():
        with pytest.raises(DataError, match=rf"{name}\.png: {reason}"):
            decode(tmp_path / f"{name}.png")


@pytest.mark.parametrize("limit", [40, 80], ids=["above twice the limit", "above the limit"])
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_an_image_above_the_limit_is_refused_whatever_the_filter_of_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, action: str
) -> None:
    path = write_picture(tmp_path / "big.png", COLOUR)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with (
        warnings.catch_warnings(),
        pytest.raises(DataError, match=rf"big\.png: larger than the limit of {limit / 1e6:g} megapixels"),
    ):
        warnings.simplefilter(action)  # type: ignore[arg-type]
        decode(path)


def load(
    references: dict[str, Path], images: list[Labelled], workers: int | None = None, shorter_side: int | None = None
) -> IqaDataset:
    return load_images(
        name="mine",
        labels="MOS",
        direction="higher_is_better",
        score_range=(0, 1),
        references=references,
        images=images,
        distortions=("noise",),
        workers=workers,
        shorter_side=shorter_side,
    )


def random_files(root: Path) -> tuple[dict[str, Path], list[Labelled], dict[str, np.ndarray]]:
    """Three references of different sizes with two distorted images each, and all pixels by name."""
    references: dict[str, Path] = {}
    images: list[Labelled] = []
    pixels: dict[str, np.ndarray] = {}
    for r in (2, 0, 1):
        shape = (8 + r, 11 - r, 3)
        for name in (f"r{r}", f"r{r}_a", f"r{r}_b"):
            pixels[name] = RNG.integers(0, 256, shape, dtype=np.uint8)
            path = write_picture(root / f"{name}.png", pixels[name])
            if name == f"r{r}":
                references[name] = path
            else:
                images.append(Labelled(name, path, f"r{r}", "noise", 0.1 * len(images)))
    return references, images, pixels


def test_images_of_any_size_are_stored_in_order_with_any_number_of_threads(tmp_path: Path) -> None:
    references, images, pixels = random_files(tmp_path)
    one, three = load(references, images, workers=1), load(references, images, workers=3)
    assert one.fingerprint == three.fingerprint
    assert one.references == ("r0", "r1", "r2")
    assert one.images == tuple(image.name for image in images)
    for row, image in enumerate(images):
        assert np.array_equal(one.distorted_image(row), pixels[image.name])
        assert np.array_equal(one.reference_image(row), pixels[image.reference])
        assert one.score[row] == image.score


def test_all_problems_are_listed_one_on_each_line(tmp_path: Path) -> None:
    references, images, _ = random_files(tmp_path)
    images[0].path.unlink()
    images[1].path.write_bytes(images[1].path.read_bytes()[:80])
    write_picture(images[2].path, COLOUR)
    references["r1"].write_text("text")
    images[3] = images[3]._replace(score=float("nan"))
    images.append(images[4])
    with pytest.raises(DataError) as error:
        load(references, images)
    lines = str(error.value).splitlines()
    assert len(lines) == 6
    for name, reason in {
        images[0].path.name: "no such file",
        images[1].path.name: "damaged or unreadable",
        images[2].path.name: r"12x9 pixels, but its reference .*r0\.png has 11x8; they must agree",
        "r1.png": "not an image",
        images[3].name: "score nan is not a finite number",
        images[4].name: "listed 2 times",
    }.items():
        assert sum(bool(re.search(rf"{re.escape(name)}: {reason}", line)) for line in lines) == 1, (name, lines)


def test_problems_of_one_kind_are_counted_and_all_of_them_are_kept_in_the_error(tmp_path: Path) -> None:
    references, images, _ = random_files(tmp_path)
    missing = [Labelled(f"m{i}", tmp_path / f"m{i}.png", "r0", "noise", 0.5) for i in range(9)]
    with pytest.raises(DataError) as error:
        load(references, [*images, *missing, images[0], images[1]])
    lines = str(error.value).splitlines()
    assert [line.split(": ")[-1] for line in lines[:2]] == ["listed 2 times"] * 2
    assert [Path(line.split(": ")[0]).name for line in lines[2:5]] == ["m0.png", "m1.png", "m2.png"]
    assert lines[5:] == ["... and 6 more: files that do not exist (check --all lists every one)"]
    assert sum("no such file" in line for line in error.value.everything.splitlines()) == 9


def write_turned(path: Path, pixels: np.ndarray, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_database_and_scoring_turn_an_image_alike(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = write_turned(tmp_path / f"a.{suffix}", COLOUR, orientation)
    pixels = decode(path)
    assert pixels.shape == ((12, 9, 3) if orientation > 4 else (9, 12, 3))
    assert np.array_equal(pixels, decode_photo(path))
    if suffix != "jpg":
        assert np.array_equal(pixels, upright(COLOUR, orientation))


@pytest.mark.parametrize("shorter_side", [None, 7])
def test_turned_images_are_loaded_upright_and_named_in_a_note(tmp_path: Path, shorter_side: int | None) -> None:
    upright = np.rot90(COLOUR, -1)
    references = {"r": write_picture(tmp_path / "r.png", upright)}
    images = [
        Labelled("turned", write_turned(tmp_path / "turned.png", COLOUR, 6), "r", "noise", 0.5),
        Labelled("plain", write_picture(tmp_path / "plain.png", upright), "r", "noise", 0.5),
    ]
    dataset = load(references, images, shorter_side=shorter_side)
    assert np.array_equal(dataset.distorted_image(0), dataset.distorted_image(1))
    assert dataset.shapes.tolist() == [[12, 9] if shorter_side is None else [9, 7]] * 3
    assert dataset.notes[0] == "1 image is turned upright by an EXIF orientation: turned.png"


def test_a_size_that_differs_by_an_exif_orientation_alone_says_so(tmp_path: Path) -> None:
    references = {"r": write_picture(tmp_path / "r.png", COLOUR)}
    images = [Labelled("a", write_turned(tmp_path / "a.png", COLOUR, 6), "r", "noise", 0.5)]
    with pytest.raises(DataError, match=r"9x12 \(turned by its EXIF orientation\) pixels, but .*r\.png has 12x9"):
        load(references, images)


def test_a_large_image_is_converted_in_bands_to_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    palette = Image.fromarray(GREY).convert("P")
    palette.save(tmp_path / "a.png")
    whole = decode(tmp_path / "a.png")
    monkeypatch.setattr("gada_ray.data.images.BAND_PX", 24)
    assert np.array_equal(decode(tmp_path / "a.png"), whole)
    assert np.array_equal(decode(write_picture(tmp_path / "b.bmp", COLOUR)), COLOUR)


def test_a_database_without_distorted_images_is_refused() -> None:
    with pytest.raises(DataError, match="mine: no distorted images"):
        load({}, [])
