import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gada_ray.__main__ import app
from gada_ray.config import DataConfig
from gada_ray.data import DataError, IqaDataset, Split, load_dataset, make_splits
from gada_ray.data.doctor import Report, check_usable, counts, examine
from tests.data.fakes import write_noisy, write_picture

LEVELS = (2, 10, 30)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_noisy(tmp_path / "mine", references=6, levels=LEVELS)


def look(root: Path, crop_px: int = 16, splits: Path | None = None) -> Report:
    return examine("manifest", root, DataConfig(crop_px=crop_px), str(splits) if splits else None)


def load(root: Path) -> IqaDataset:
    return load_dataset("manifest", root, DataConfig())


def write_unreferenced(root: Path, names: Sequence[str], blank: int = 0, header: str = "distorted,score") -> Path:
    """Pictures of noise in a table without references, the last ones black; a name occurs once a line."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        noise = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        write_picture(root / name, noise * (number < len(names) - blank))
    lines = [header, *(f"{name},{number % 5}" for number, name in enumerate(names))]
    (root / "scores.csv").write_text("\n".join(lines))
    (root / "scores.toml").write_text('name = "mine"\ndirection = "higher_is_better"\nrange = [0.0, 5.0]\n')
    return root


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


def test_a_direction_that_was_declared_wrongly_is_a_problem(tmp_path: Path) -> None:
    report = look(write_noisy(tmp_path, references=6, levels=LEVELS, direction="lower_is_better"))
    assert report.agreement < -0.8
    (problem,) = report.problems
    assert "the scores have the opposite direction to the declared lower_is_better" in problem


def test_scores_that_do_not_follow_the_pictures_are_warned_of(root: Path) -> None:
    lines = (root / "scores.csv").read_text().splitlines()
    shuffled = [f"{line.rsplit(',', 1)[0]},{i * 7 % 18 / 4}" for i, line in enumerate(lines[1:])]
    (root / "scores.csv").write_text("\n".join([lines[0], *shuffled]))
    assert ["do the scores belong to these files" in warning for warning in look(root).warnings] == [True]


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
        "1 image is an undistorted copy of a reference: dist/r1_2.png",
        "1 picture occurs more than once: dist/r2_2.png and dist/r2_10.png",
    )
    check_usable(load(root), report.splits)


@pytest.mark.parametrize("folder", ["ref", "dist"])
def test_one_picture_under_two_references_is_a_problem_because_splits_would_share_it(root: Path, folder: str) -> None:
    first, second = ("r1.png", "r2.png") if folder == "ref" else ("r1_2.png", "r2_2.png")
    (root / folder / second).write_bytes((root / folder / first).read_bytes())
    (problem,) = look(root).problems
    assert "have the same pixels under several references" in problem
    assert {Path(first).stem, Path(second).stem} <= set(re.findall(r"r\d(?:_2)?", problem))


def test_a_study_refuses_each_problem_with_the_sentence_of_check_and_again_from_its_cache(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "scores.csv"
    path.write_text(re.sub(r"noise,.*", "noise,3", path.read_text()))
    (root / "dist/r2_2.png").write_bytes((root / "dist/r1_2.png").read_bytes())
    report = look(root)
    assert len(report.problems) == 2
    dataset = load(root)
    for _ in range(2):
        with pytest.raises(DataError) as error:
            check_usable(dataset, report.splits)
        assert str(error.value).splitlines() == [f"noisy: {problem}" for problem in report.problems]
        monkeypatch.setattr("gada_ray.data.doctor._findings", None)


def test_a_study_accepts_what_check_only_warns_of(root: Path) -> None:
    path = root / "scores.toml"
    path.write_text(path.read_text().replace("[0.0, 5.0]", "[0.0, 4.8]"))
    report = look(root)
    assert report.warnings and not report.problems
    check_usable(load(root), report.splits)


def test_equal_pixels_under_two_references_are_a_problem_only_where_a_split_divides_them(root: Path) -> None:
    (root / "dist/r2_2.png").write_bytes((root / "dist/r1_2.png").read_bytes())
    dataset = load(root)
    together = Split(0, ("r0", "r1", "r2"), ("r3",), ("r4", "r5"))
    check_usable(dataset, [together])
    with pytest.raises(DataError, match=r"r1_2\.png, dist/r2_2\.png have the same pixels under several references, so"):
        check_usable(dataset, [together, Split(1, ("r0", "r1"), ("r3",), ("r2", "r4"))])


def test_equal_pixels_without_references_become_one_group_that_no_split_divides(tmp_path: Path) -> None:
    root = write_unreferenced(tmp_path / "mine", [f"{letter}.png" for letter in "abcdefgh"])
    for copy, original in (("c", "b"), ("g", "a"), ("h", "g")):
        (root / f"{copy}.png").write_bytes((root / f"{original}.png").read_bytes())
    report = look(root)
    assert not report.problems and report.dataset is not None
    dataset = report.dataset
    assert dataset.references == ("a.png", "b.png", "d.png", "e.png", "f.png")
    assert [dataset.references[group] for group in dataset.reference][-2:] == ["a.png", "a.png"]
    assert dataset.notes == (
        "2 pictures occur under several names, which splits keep together: a.png and g.png and h.png, b.png and c.png",
    )
    check_usable(dataset, make_splits(dataset.references))


def test_blank_pictures_are_one_problem_with_their_number_and_the_first_three(tmp_path: Path) -> None:
    root = write_unreferenced(tmp_path / "mine", [f"{number:02}.png" for number in range(60)], blank=44)
    (problem,) = look(root).problems
    assert problem == (
        "44 pictures are of one colour (16.png, 17.png, 18.png and 41 more) and show nothing; "
        "export them again, or leave them out of the table"
    )
    (problem,) = examine("manifest", root, DataConfig(crop_px=16), most=None).problems
    assert problem.count(".png") == 44
    code, output = check("--dataset", "manifest", "--data-root", root, "--crop-px", "16", "--all")
    assert code == 2 and "59.png" in output


def test_one_blank_picture_is_warned_of(tmp_path: Path) -> None:
    root = write_unreferenced(tmp_path / "mine", [f"{letter}.png" for letter in "abcdefgh"], blank=1)
    report = look(root)
    assert not report.problems
    assert any(warning.startswith("1 picture is of one colour (h.png)") for warning in report.warnings)


@pytest.mark.parametrize(
    ("names", "advised"),
    [
        ([f"{scene}_{number}.jpg" for scene in ("boat", "house", "tree") for number in (1, 2)], True),
        ([f"day/{scene}-{letter}.png" for scene in ("x1", "x2", "x3") for letter in "ab"], True),
        ([f"img_{number}.jpg" for number in range(8)], False),
        ([f"{number:05}.jpg" for number in range(8)], False),
        ([f"photo{number}.jpg" for number in range(8)], False),
    ],
)
def test_names_that_look_like_images_of_one_scene_get_one_line_of_advice(
    tmp_path: Path, names: list[str], advised: bool
) -> None:
    report = look(write_unreferenced(tmp_path / "mine", names))
    found = [warning for warning in report.warnings if "look like images of one scene" in warning]
    assert len(found) == advised and not report.problems
    if advised:
        assert f"{names[0]} and {names[1]}" in found[0] and "(3 such scenes)" in found[0]


def test_a_distortion_that_some_splits_never_train_on_is_warned_of(root: Path) -> None:
    path = root / "scores.csv"
    path.write_text(path.read_text().replace("dist/r3_2.png,noise", "dist/r3_2.png,rare"))
    report = look(root)
    expected = [split.index for split in report.splits if "r3" not in split.train]
    assert expected
    assert report.warnings == (
        f"splits {', '.join(map(str, expected))}: the training part has no image of distortion 'rare'",
    )


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
            "unknown dataset 'koniq'; did you mean koniq10k? available: demo, live, tid2013, csiq, kadid10k, biq2021, ",
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
