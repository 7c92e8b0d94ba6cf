import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gada_ray.__main__ import app
from gada_ray.config import DataConfig
from gada_ray.data.doctor import Report, counts, examine
from tests.data.fakes import write_noisy

LEVELS = (2, 10, 30)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_noisy(tmp_path / "mine", references=6, levels=LEVELS)


def look(root: Path, crop_px: int = 16, splits: Path | None = None) -> Report:
    return examine("manifest", root, DataConfig(crop_px=crop_px), str(splits) if splits else None)


def check(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_healthy_dataset_has_neither_problems_nor_warnings(root: Path) -> None:
    report = look(root)
    assert (report.problems, report.warnings) == ((), ())
    assert report.agreement > 0.8
    assert len(report.splits) == 10
    assert report.dataset is not None
    assert counts(report.dataset, "reference")["count"].tolist() == [3] * 6
    assert counts(report.dataset, "distortion").to_numpy().tolist()[0] == [18, 3.5, pytest.approx(4.3), 4.9]


def test_a_direction_that_was_declared_the_wrong_way_round_is_a_problem(tmp_path: Path) -> None:
    report = look(write_noisy(tmp_path, references=6, levels=LEVELS, direction="lower_is_better"))
    assert report.agreement < -0.8
    (problem,) = report.problems
    assert "the scores go the other way than the declared lower_is_better" in problem


def test_scores_that_do_not_follow_the_pictures_are_warned_of(root: Path) -> None:
    lines = (root / "scores.csv").read_text().splitlines()
    shuffled = [f"{line.rsplit(',', 1)[0]},{i * 7 % 18 / 4}" for i, line in enumerate(lines[1:])]
    (root / "scores.csv").write_text("\n".join([lines[0], *shuffled]))
    assert ["do the scores belong to these files?" in warning for warning in look(root).warnings] == [True]


@pytest.mark.parametrize(
    ("declared", "message"),
    [("[0.0, 1.0]", "reach from 3.5 to 4.9, the declared range is 0 to 1"), ("[0.0, 100.0]", "cannot be the range")],
)
def test_a_range_that_cannot_be_that_of_the_scores_is_a_problem(root: Path, declared: str, message: str) -> None:
    path = root / "scores.toml"
    path.write_text(path.read_text().replace("[0.0, 5.0]", declared))
    assert [message in problem for problem in look(root).problems] == [True]


def test_scores_a_little_outside_their_range_are_warned_of_with_their_number(root: Path) -> None:
    path = root / "scores.toml"
    path.write_text(path.read_text().replace("[0.0, 5.0]", "[0.0, 4.8]"))
    report = look(root)
    assert report.problems == ()
    assert ["6 of 18 lie outside and are not clipped" in warning for warning in report.warnings] == [True]


def test_equal_scores_are_a_problem(root: Path) -> None:
    path = root / "scores.csv"
    path.write_text(re.sub(r"noise,.*", "noise,3", path.read_text()))
    assert any("all scores are 3" in problem for problem in look(root).problems)


def test_crops_that_do_not_fit_are_a_problem_that_names_the_smallest_image(root: Path) -> None:
    assert look(root, crop_px=32).problems == ()
    (problem,) = look(root, crop_px=33).problems
    assert re.search(r"crops of 33x33 pixels .* r0 with 40x32; choose a crop_px of at most 32", problem)


def test_too_few_references_for_splits_are_a_problem(tmp_path: Path) -> None:
    (problem,) = look(write_noisy(tmp_path, references=4, levels=LEVELS)).problems
    assert "need at least 5 references, got 4: r0, r1, r2, r3" in problem


def test_a_split_file_that_does_not_fit_is_a_problem(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    path.write_text('{"splits": [{"train": ["r0", "r1"], "test": ["r1", "r9"]}]}')
    problems = look(root, splits=path).problems
    assert len(problems) == 2
    assert "has no reference r9" in problems[0] and "r1 in two parts" in problems[1]


def test_copies_of_references_and_repeated_pictures_are_warned_of(root: Path) -> None:
    (root / "dist/r1_2.png").write_bytes((root / "ref/r1.png").read_bytes())
    (root / "dist/r2_2.png").write_bytes((root / "dist/r2_10.png").read_bytes())
    report = look(root)
    assert report.problems == ()
    assert report.warnings == (
        "1 images are undistorted copies of their references, such as dist/r1_2.png",
        "1 pictures are in it more than once, such as dist/r2_2.png and dist/r2_10.png",
    )


@pytest.mark.parametrize("folder", ["ref", "dist"])
def test_one_picture_under_two_references_is_a_problem_because_splits_would_share_it(root: Path, folder: str) -> None:
    first, second = ("r1.png", "r2.png") if folder == "ref" else ("r1_2.png", "r2_2.png")
    (root / folder / second).write_bytes((root / folder / first).read_bytes())
    (problem,) = look(root).problems
    assert "are one picture under several references" in problem
    assert {Path(first).stem, Path(second).stem} <= set(re.findall(r"r\d(?:_2)?", problem))


def test_a_distortion_that_some_splits_never_train_on_is_warned_of(root: Path) -> None:
    path = root / "scores.csv"
    path.write_text(path.read_text().replace("dist/r3_2.png,noise", "dist/r3_2.png,rare"))
    report = look(root)
    expected = [split.index for split in report.splits if "r3" not in split.train]
    assert expected
    assert report.warnings == (f"splits {expected} train without any image of distortion 'rare'",)


def test_too_few_images_leave_the_direction_unchecked_and_say_so(tmp_path: Path) -> None:
    report = look(write_noisy(tmp_path, references=6, levels=(5,)))
    assert np.isnan(report.agreement)
    assert any("could not be checked" in warning for warning in report.warnings)


def test_the_command_describes_a_healthy_dataset_and_exits_with_0(root: Path) -> None:
    code, output = check("--dataset", "manifest", "--data-root", root, "--crop-px", "16")
    assert code == 0
    for text in ("noisy", "18 distorted, 6 references", "40x32", "higher is better", "no problems found"):
        assert text in output


def test_the_command_lists_every_problem_and_exits_with_2(root: Path) -> None:
    (root / "dist/r0_2.png").unlink()
    (root / "dist/r1_2.png").write_text("text")
    Image.new("RGB", (20, 20)).save(root / "dist/r2_2.png")
    code, output = check("--dataset", "manifest", "--data-root", root)
    assert code == 2
    assert output.count("problem: ") == 3
    for name in ("r0_2.png: no such file", "r1_2.png: not an image", "r2_2.png: 20x20 pixels, but"):
        assert name in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--dataset", "koniq"),
            "unknown dataset 'koniq'; available: demo, live, tid2013, csiq, kadid10k, biq2021, koniq10k, clive, spaq, ",
        ),
        (("--dataset", "live"), "dataset 'live' needs --data-root"),
        (("--dataset", "csiq", "--data-root", "/nonexistent"), "csiq: no folder /nonexistent"),
    ],
)
def test_the_command_turns_wrong_requests_into_one_message_and_exit_code_2(
    arguments: tuple[str, ...], message: str
) -> None:
    code, output = check(*arguments)
    assert code == 2
    assert output.count("problem: ") == 1 and message in output
