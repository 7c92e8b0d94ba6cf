"""`python -m gada_ray score`: a row for every good image, a message for every bad one, and the exit code."""

import csv
import os
import signal
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gada_ray.__main__ as program
from gada_ray.inference.scoring import save
from tests.toy import toy_scorer

RNG = np.random.default_rng(0)
COLUMNS = ["path", "quality", "score", "spread", "distortion"]


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    scorer = toy_scorer()
    save(folder, scorer.card, scorer.quality_network.state_dict())
    return folder


def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """The exit code and standard error of the command."""
    monkeypatch.setattr(sys, "argv", ["gada_ray", "score", *map(str, arguments)])
    with warnings.catch_warnings(), pytest.raises(SystemExit) as stop:
        program.run()
    return int(stop.value.code or 0), capfd.readouterr().err


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def good_images(folder: Path) -> set[str]:
    """One image of every kind that is taken; their names."""
    noise = RNG.integers(0, 256, (24, 40, 4), dtype=np.uint8)
    rgb = Image.fromarray(noise[..., :3])
    turned = Image.Exif()
    turned[0x0112] = 6
    rgb.save(folder / "turned.jpg", exif=turned)
    rgb.save(folder / "really a png.jpg", "png")
    rgb.save(folder / "no suffix", "bmp")
    rgb.save(folder / "jpeg2000.jp2")
    rgb.save(folder / "one frame.gif")
    rgb.save(folder / "camera.jpeg", "MPO", save_all=True, append_images=[rgb])
    rgb.convert("CMYK").save(folder / "print.jpg")
    rgb.convert("L").save(folder / "grey.png")
    rgb.convert("1").save(folder / "fax.tif")
    rgb.convert("P").save(folder / "palette.png")
    Image.fromarray(noise).save(folder / "alpha.png")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(noise[:16, :16, :3]).save(folder / "smallest.png")
    Image.fromarray(noise[..., :3]).save(os.fsencode(folder) + b"/\xff\xfe.png")
    return set(os.listdir(folder))


def huge(width: int, height: int) -> bytes:
    """The header of a PNG of some size, with hardly any pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def bad_inputs(folder: Path) -> set[str]:
    """Forty inputs that cannot be scored; their names."""
    noise = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    rgb = Image.fromarray(noise)
    kinds = ("png", "jpg", "jp2", "tif", "bmp", "gif", "webp")
    for kind in kinds:
        rgb.save(folder / f"half.{kind}")
        whole = (folder / f"half.{kind}").read_bytes()
        (folder / f"half.{kind}").write_bytes(whole[: len(whole) // 2])
        (folder / f"header.{kind}").write_bytes(whole[:20])
        (folder / f"empty.{kind}").touch()
    for kind in ("gif", "png", "tif", "webp"):
        rgb.save(folder / f"moving.{kind}", save_all=True, append_images=[Image.fromarray(255 - noise)])
    (folder / "bomb.png").write_bytes(huge(20_000, 20_000))
    (folder / "largest.png").write_bytes(huge(2**31 - 1, 2**31 - 1))
    (folder / "above the limit.png").write_bytes(huge(10_000, 9_000))
    (folder / "text.png").write_text("no picture")
    (folder / "table.csv").write_text("path,quality\n")
    (folder / "page.html").write_text("<img src='a.png'>")
    (folder / "zeros.jpg").write_bytes(bytes(4096))
    (folder / "loop.png").symlink_to(folder / "loop back.png")
    (folder / "loop back.png").symlink_to(folder / "loop.png")
    (folder / "to nowhere.png").symlink_to(folder / "nothing.png")
    (folder / "up").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    Image.fromarray(noise[:15]).save(folder / "small.png")
    Image.fromarray(noise[..., 0].astype(np.float32)).save(folder / "float.tif")
    rgb.save(folder / "locked.png")
    return set(os.listdir(folder))


def test_forty_bad_inputs_are_each_named_and_every_good_image_is_scored(monkeypatch, capfd, tmp_path, model):
    folder = tmp_path / "inputs"
    folder.mkdir()
    bad = bad_inputs(folder)
    assert len(bad) == 40
    good = good_images(folder) - bad
    opened = Image.open

    def guarded(file, *arguments):
        # The tests may run as a user whom no permission stops.
        if str(file).endswith("locked.png"):
            raise PermissionError(13, "Permission denied")
        return opened(file, *arguments)

    monkeypatch.setattr(Image, "open", guarded)
    code, told = command(monkeypatch, capfd, folder, "--model", model, "--out", tmp_path / "out.csv", "--batch", 4)
    assert code == 1
    scored = rows(tmp_path / "out.csv")
    assert list(scored[0]) == COLUMNS
    assert {Path(row["path"]).name for row in scored} == good
    assert len(scored) == len(good)
    for row in scored:
        assert all(np.isfinite(float(row[name])) for name in COLUMNS[1:4]), row
        assert row["distortion"] in ("blocks", "dark", "noise")
    lines = [line for line in told.splitlines() if line.startswith(str(folder))]
    assert {line.removeprefix(f"{folder}/").split(": ")[0] for line in lines} == bad
    assert f"40 of {40 + len(good)} images were not scored" in told
    assert "Traceback" not in told and "Warning" not in told


def test_good_images_alone_end_with_exit_code_0_and_the_scale_of_the_score(monkeypatch, capfd, tmp_path, model):
    good_images(tmp_path)
    code, told = command(monkeypatch, capfd, tmp_path, "--model", model, "--out", tmp_path / ".out.csv")
    assert code == 0
    assert "strength of the distortion, 0 to 100, lower is better" in told
    for row in rows(tmp_path / ".out.csv"):
        assert float(row["score"]) == pytest.approx(100 * (1 - float(row["quality"])), abs=1e-3)


def test_a_list_of_paths_is_scored_in_its_order_and_printed(monkeypatch, capfd, tmp_path, model):
    good = good_images(tmp_path)
    listed = tmp_path / "list.txt"
    paths = [os.fsencode(tmp_path / name) for name in sorted(good, reverse=True)]
    listed.write_bytes(b"\n".join(paths) + b"\n\n")
    printed = tmp_path / "printed.csv"
    with printed.open("wb") as file:
        monkeypatch.setattr(sys, "stdout", file)
        code, _ = command(monkeypatch, capfd, "--list", listed, "--model", model)
    assert code == 0
    assert [os.fsencode(row["path"]) for row in rows(printed)] == paths


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("a.png",), "Missing option '--model'"),
        (("EMPTY", "--model", "MODEL"), "no images in this folder"),
        (("--list", "EMPTY/list", "--model", "MODEL"), "names no file"),
        (("https://example.org/a.png", "--model", "MODEL"), "https://example.org/a.png: an address on the network"),
        (("a.png", "--model", "MODEL", "--out", "/dev/full"), "--out /dev/full cannot be written (No space left"),
        (("--model", "."), "nothing to score"),
        (("a.png", "--model", "/nowhere"), "--model /nowhere is neither a folder nor a model URI"),
        (("a.png", "--model", "."), "no card.json"),
        (
            ("a.png", "--model", "models:/m-1", "--tracking-uri", "sqlite:////nowhere/mlflow.db"),
            "no /nowhere/mlflow.db",
        ),
        (("--list", "/nowhere", "--model", "."), "--list /nowhere cannot be read"),
        (("a.png", "--model", "MODEL", "--out", "/nowhere/out.csv"), "--out /nowhere/out.csv cannot be written"),
        (("a.png", "--model", "MODEL", "--device", "gpu"), "--device"),
    ],
)
def test_bad_options_are_one_message_and_exit_code_2(monkeypatch, capfd, tmp_path, model, arguments, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/.list").touch()
    places = {"MODEL": str(model), "EMPTY": str(tmp_path / "empty"), "EMPTY/list": str(tmp_path / "empty/.list")}
    given = [places.get(argument, argument) for argument in arguments]
    code, told = command(monkeypatch, capfd, *given)
    assert code == 2
    assert says in told
    assert "Traceback" not in told


def test_other_numbers_of_crops_are_used_and_their_standard_error_is_printed(monkeypatch, capfd, tmp_path, model):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        noise = RNG.integers(0, 256, (48, 56, 3), dtype=np.uint8)
        Image.fromarray(noise).save(images / f"{number}.png")
    told = {}
    for crops in (1, 2, 3, 12):
        out = tmp_path / f"{crops}.csv"
        code, told[crops] = command(monkeypatch, capfd, images, "--model", model, "--out", out, "--crops", crops)
        assert code == 0 and len(rows(out)) == 3
    assert {row["spread"] for row in rows(tmp_path / "1.csv")} == {"0.000000"}
    assert "instead of" not in told[3], "the model's own number"
    assert "1 crop instead of 3: the standard error of a quality is 1.73 times" in told[1]
    assert "12 crops instead of 3: the standard error of a quality is 0.50 times" in told[12]
    spread = np.median([float(row["spread"]) for row in rows(tmp_path / "12.csv")])
    assert f"over its 12 crops: ±{spread / 12**0.5:.4f} (median of the images)" in told[12]
    assert f"±{spread / 3**0.5:.4f} with the model's 3" in told[12]


def test_the_first_image_is_scored_alone_and_the_others_in_full_batches_in_the_order_given(tmp_path):
    scorer = toy_scorer()
    sizes, judged = [], scorer.score_crops
    scorer.score_crops = lambda crops: sizes.append(len(crops)) or judged(crops)  # type: ignore[method-assign, func-returns-value]
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    for path in paths:
        Image.fromarray(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    found = [path for path, _ in scorer.score_files(paths, batch=4, workers=2)]
    assert found == paths
    assert sizes == [1, 4, 4]


def test_paths_in_the_table_are_as_they_were_typed(monkeypatch, capfd, tmp_path, model):
    (tmp_path / "photos").mkdir()
    Image.fromarray(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / "photos/a.png")
    monkeypatch.chdir(tmp_path)
    typed = ["./photos/a.png", "./photos", "photos//a.png", "photos/../photos/a.png"]
    code, _ = command(monkeypatch, capfd, *typed, "--model", model, "--out", "out.csv")
    assert code == 0
    assert [row["path"] for row in rows(Path("out.csv"))] == ["./photos/a.png", "./photos/a.png", *typed[2:]]


def test_large_images_are_scored_up_to_an_option_that_the_refusal_names(monkeypatch, capfd, tmp_path, model):
    noise = RNG.integers(0, 256, (60, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # the command replaces PIL's own limit
    monkeypatch.setattr("gada_ray.data.photos.LARGE_PX", 1000)
    monkeypatch.setattr("gada_ray.data.images.BAND_PX", 400)
    arguments = (tmp_path / "a.png", "--model", model, "--out", tmp_path / "out.csv")
    assert command(monkeypatch, capfd, *arguments)[0] == 0
    code, told = command(monkeypatch, capfd, *arguments, "--max-megapixels", "0.002")
    assert code == 1
    assert "a.png: larger than the limit of 0.002 megapixels; save it smaller or raise --max-megapixels" in told


@pytest.mark.slow
def test_a_closed_pipe_ends_the_command_in_silence_by_its_signal(tmp_path, model):
    Image.fromarray(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "list").write_text(f"{tmp_path / 'a.png'}\n" * 400)
    for arguments in (["score", "--list", str(tmp_path / "list"), "--model", str(model)], ["check"]):
        with subprocess.Popen(
            [sys.executable, "-m", "gada_ray", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout and process.stderr
            process.stdout.close()
            told = process.stderr.read()
        assert process.returncode == -signal.SIGPIPE
        assert "Traceback" not in told and "Error" not in told


@pytest.mark.slow
def test_a_terminal_that_cannot_print_a_character_gets_it_replaced(tmp_path, model):
    Image.fromarray(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    score = ["score", str(tmp_path / "a.png"), "--model", str(model)]
    for arguments, text in ((score, "quality over its 3 crops: ?0."), (["check"], "no problems found")):
        done = subprocess.run(
            [sys.executable, "-m", "gada_ray", *arguments], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert text in done.stdout + done.stderr


@pytest.mark.slow
def test_a_pipe_gets_a_row_for_each_path_before_the_next_path_arrives(tmp_path, model):
    for name in "ab":
        Image.fromarray(RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    arguments = ["-m", "gada_ray", "score", "--list", "-", "--model", str(model)]
    with subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        stop = threading.Timer(120, process.kill)  # rather than wait for ever
        stop.start()
        assert process.stdout.readline().strip().split(",") == COLUMNS
        for name in ("a.png", "b.png"):
            process.stdin.write(f"{tmp_path / name}\n\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith(f"{tmp_path / name},")
        process.stdin.write(f"{tmp_path / 'none.png'}\n")
        process.stdin.close()
        assert process.stdout.read() == ""
        assert "1 of 3 images was not scored" in process.stderr.read()
        stop.cancel()
    assert process.returncode == 1


@pytest.mark.slow
def test_maps_show_every_scored_image_and_only_those(tmp_path, model, monkeypatch, capfd):
    photos = tmp_path / "photos"
    photos.mkdir()
    good = good_images(photos)
    (photos / "broken.png").write_bytes(b"no image")
    maps = tmp_path / "maps"
    monkeypatch.chdir(tmp_path)
    code, err = command(
        monkeypatch, capfd, "photos", "--model", model, "--out", tmp_path / "scores.csv", "--maps", "maps"
    )
    assert code == 1 and "pictures of quality by location are in maps" in err
    assert set(os.listdir(maps / "photos")) == {f"{name}.png" for name in good}
