"""Databases without references: their layouts, groups, published parts, and what can be done with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

import studies.normalisation
import studies.patch_size
import studies.phases
from gada_ray.config import DataConfig
from gada_ray.data import DataError, IqaDataset, load_dataset, make_splits, mapped, memory, published_split
from gada_ray.data.doctor import examine
from gada_ray.study.definition import Plan, Study, StudyError, make_plan
from gada_ray.study.inputs import check_references, load_data
from tests.data.fakes import colour_of, entry_of, write_flat, write_picture

DECLARATION = 'name = "phones"\ndirection = "higher_is_better"\nrange = [0.0, 1.0]\n'


def write_own(root: Path, images: int, columns: str = "distorted,score", px: int = 40) -> Path:
    """A table without references; further columns get a value for every two images."""
    rng = np.random.default_rng(0)
    rows = [columns]
    for i in range(images):
        write_flat(root / f"{i}.png", (px + i, px), colour_of(i))
        given = {"distorted": f"{i}.png", "score": f"{rng.random():.3f}", "distortion": f"d{i % 2}"}
        rows.append(",".join(given.get(column, f"scene{i // 2}") for column in columns.split(",")))
    (root / "scores.csv").write_text("\n".join(rows) + "\n")
    (root / "scores.toml").write_text(DECLARATION)
    return root


@pytest.fixture
def own(tmp_path: Path) -> IqaDataset:
    return load_dataset("manifest", write_own(tmp_path, 12, "distorted,score,group"), DataConfig())


def test_images_without_references_are_numbered_from_zero_and_split_by_group(own: IqaDataset) -> None:
    assert (len(own), own.first, own.has_references) == (12, 0, False)
    assert own.references == tuple(f"scene{i}" for i in range(6))
    assert [entry_of(own.distorted_image(row)) for row in range(12)] == list(range(12))
    assert own.distortions == ("unspecified",)
    for split in make_splits(own.references, 3):
        train, test = (set(own.rows_of(part)) for part in (split.train + split.validation, split.test))
        assert not train & test and all((row ^ 1) in test for row in test)
    with pytest.raises(DataError, match="phones has no references"):
        own.reference_image(0)


def test_without_a_column_group_every_image_is_its_own(tmp_path: Path) -> None:
    dataset = load_dataset("manifest", write_own(tmp_path, 6, "score,distorted,distortion"), DataConfig())
    assert dataset.references == dataset.images
    assert dataset.distortions == ("d0", "d1")


def test_groups_and_the_lack_of_references_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    ones = load_dataset("manifest", write_own(tmp_path / "a", 6), DataConfig())
    twos = load_dataset("manifest", write_own(tmp_path / "b", 6, "distorted,score,group"), DataConfig())
    assert (ones.pixels == twos.pixels).all() and ones.fingerprint != twos.fingerprint


def test_without_references_the_direction_is_reported_as_unchecked(tmp_path: Path) -> None:
    report = examine("manifest", write_own(tmp_path, 12), DataConfig(crop_px=32))
    assert report.problems == ()
    assert "without references the direction of the scores cannot be checked" in report.warnings[0]


def biq(root: Path, train: int = 8, test: int = 4) -> Path:
    for i in range(train + test):
        write_flat(root / f"Images/ss01 ({i}).{'JPG' if i == 1 else 'jpg'}", (16, 16), (20 * i, 0, 0))
    lines = [f"ss01 ({i}).jpg,{i / 20:.4f}" for i in range(train + test)]
    head = "Image Name,MOS"
    training = "\n".join(f"{line},," for line in [head, *lines[:train]])
    (root / "Train (Images and MOS).csv").write_text(training + "\n")
    (root / "Test (Images and MOS).csv").write_text("\n".join([head, *lines[train:]]) + "\n")
    return root


def test_biq2021_is_read_in_its_authors_layout_with_their_parts(tmp_path: Path) -> None:
    dataset = load_dataset("biq2021", biq(tmp_path), DataConfig())
    assert (len(dataset), dataset.score_range, dataset.has_references) == (12, (0.0, 1.0), False)
    assert dataset.score[11] == 0.55
    split = published_split(dataset)
    assert split.test == tuple(sorted(f"ss01 ({i}).jpg" for i in range(8, 12)))
    assert len(split.validation) == 2 and len(split.train) == 6
    assert split.for_test().train == tuple(f"ss01 ({i}).jpg" for i in range(8))


def test_koniq10k_is_read_in_its_authors_layout_with_their_parts(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(9)]
    for i, name in enumerate(names):
        write_flat(tmp_path / "1024x768" / name, (16, 12), (20 * i, 0, 0))
    scores = pd.DataFrame({"image_name": names, "c1": 0, "MOS": np.linspace(1, 5, 9), "SD": 0.5, "MOS_zscore": 50.0})
    scores.to_csv(tmp_path / "koniq10k_scores_and_distributions.csv", index=False)
    dataset = load_dataset("koniq10k", tmp_path, DataConfig())
    assert (len(dataset), dataset.published, dataset.quality[8]) == (9, None, 1.0)
    with pytest.raises(DataError, match="KonIQ-10k, 1024x768 has no published parts"):
        published_split(dataset)
    sets = ["training"] * 5 + ["validation"] * 2 + ["test"] * 2
    frame = scores[["image_name"]].assign(set=sets)
    frame.to_csv(tmp_path / "koniq10k_distributions_sets.csv", index=False)
    split = published_split(load_dataset("koniq10k", tmp_path, DataConfig()))
    assert (split.train, split.validation, split.test) == (
        tuple(names[:5]),
        tuple(names[5:7]),
        tuple(names[7:]),
    )


def test_koniq10k_is_read_from_the_table_with_the_authors_parts_alone(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(9)]
    for i, name in enumerate(names):
        write_flat(tmp_path / "512x384" / name, (16, 12), (20 * i, 0, 0))
    sets = ["training"] * 5 + ["validation"] * 2 + ["test"] * 2
    frame = pd.DataFrame({"image_name": names, "c1": 0, "MOS": np.linspace(10, 90, 9), "SD": 0.5, "set": sets})
    with pytest.raises(DataError, match=r"koniq10k_distributions_sets\.csv.*koniq10k_scores_and_distributions\.csv"):
        load_dataset("koniq10k", tmp_path, DataConfig())
    frame.to_csv(tmp_path / "koniq10k_distributions_sets.csv", index=False)
    dataset = load_dataset("koniq10k", tmp_path, DataConfig())
    assert (dataset.score_range, dataset.quality[0], dataset.quality[8]) == (
        (0.0, 100.0),
        np.float32(0.1),
        np.float32(0.9),
    )
    assert published_split(dataset).test == tuple(names[7:])
    frame.assign(set="exam").to_csv(tmp_path / "koniq10k_distributions_sets.csv", index=False)
    with pytest.raises(
        DataError, match=r"line 2: set 'exam' is none of training(.|\n)*and 6 more: lines with an unknown set"
    ):
        load_dataset("koniq10k", tmp_path, DataConfig())


def test_a_picture_in_two_published_parts_is_kept_in_the_part_that_is_tested_on(tmp_path: Path) -> None:
    root = biq(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for number in (0, 2, 11):
        write_picture(root / f"Images/ss01 ({number}).jpg", noise)
    dataset = load_dataset("biq2021", root, DataConfig())
    split = published_split(dataset)
    assert split.test[0] == "ss01 (0).jpg" and len(split.test) == 4
    assert len(split.train) + len(split.validation) == 6
    assert dataset.notes[-1].startswith("the authors' parts divide ss01 (0).jpg, which this program keeps in the part")


def test_live_in_the_wild_is_read_in_its_authors_layout_without_the_practice_images(tmp_path: Path) -> None:
    names = [f"t{i}.bmp" for i in range(1, 8)] + [f"{i}.{'JPG' if i % 50 == 0 else 'bmp'}" for i in range(1162)]
    for i, name in enumerate(names[7:], 7):
        write_flat(tmp_path / "Images" / name, (8, 8), colour_of(i))
    (tmp_path / "Data").mkdir()
    cells = np.empty((1169, 1), dtype=object)
    cells[:, 0] = names
    savemat(tmp_path / "Data/AllImages_release.mat", {"AllImages_release": cells})
    savemat(tmp_path / "Data/AllMOS_release.mat", {"AllMOS_release": np.arange(1169.0)[None] / 12})
    dataset = load_dataset("clive", tmp_path, DataConfig())
    assert (len(dataset), dataset.images[0], dataset.score[0]) == (1162, "0.jpg", 7 / 12)


@pytest.mark.parametrize("place", [".", "Annotations"])
def test_spaq_is_read_in_its_authors_layout_and_shrunk_on_request(tmp_path: Path, place: str) -> None:
    for i in range(1, 7):
        write_flat(tmp_path / f"TestImage/{i:05}.jpg", (60, 40) if i % 2 else (40, 60), (20 * i, 0, 0))
    frame = pd.DataFrame({"Image name": [f"{i:05}.jpg" for i in range(1, 7)], "MOS": 50.5, "Brightness": 1.0})
    (tmp_path / place).mkdir(exist_ok=True)
    frame.to_excel(tmp_path / place / "MOS and Image attribute scores.xlsx", index=False)
    dataset = load_dataset("spaq", tmp_path, DataConfig(shorter_side=20))
    assert dataset.shapes.tolist() == [[20, 30], [30, 20]] * 3
    assert (dataset.score[0], dataset.pixels.size) == (50.5, 6 * 20 * 30 * 3)
    assert "6 of 6 images were shrunk to 20 pixels" in dataset.notes[-1]
    assert abs(int(dataset.distorted_image(0)[5, 5, 0]) - 20) <= 2


def test_images_are_shrunk_only_down_and_keep_their_proportions() -> None:
    shapes = np.array([[768, 1024], [300, 200], [64, 64]])
    assert memory.shrunk(shapes, 192).tolist() == [[192, 256], [288, 192], [64, 64]]
    assert memory.shrunk(shapes, None) is shapes


def test_a_refusal_names_the_shorter_side_with_which_ten_thousand_images_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = np.tile([768, 1024], (10_000, 1))
    monkeypatch.setattr(memory, "free", lambda: 22 * 2**30)
    monkeypatch.setattr(mapped, "room", lambda path: 9 * 2**20)
    with pytest.raises(
        DataError,
        match=r"10000 images take 22\.0 GiB as pixels, and 22\.0 GiB of memory and 9 MiB of /nowhere are free",
    ) as error:
        memory.check_disk("KonIQ", shapes, None, Path("/nowhere/pixels"))
    for words in (
        "--set data.shorter_side=512 of tune.py",
        "--shorter-side 512",
        "would take 19.5 GiB in a study (2 copies)",
    ):
        assert words in str(error.value)
    assert memory.fits(shapes, 512) and not memory.fits(shapes, 640)


def test_a_dataset_that_does_not_fit_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free", lambda: 50_000)
    monkeypatch.setattr(mapped, "room", lambda path: -1)
    report = examine("manifest", write_own(tmp_path, 12, px=100), DataConfig())
    (problem,) = report.problems
    assert "phones: 12 images take 0 MiB as pixels, and 0 MiB of memory and 0 MiB of" in problem


def plan_of(study: Study, only: tuple[str, ...] = (), dataset: str = "manifest", **settings: str) -> Plan:
    return make_plan("asked", study, "smoke", dataset, settings, only=only)


def test_variants_that_generate_images_are_refused_in_one_line_with_those_that_can_run(own: IqaDataset) -> None:
    with pytest.raises(StudyError, match="phones has no references, which phase 1; phases 1\\+2;") as error:
        check_references(plan_of(studies.phases.STUDY), own)
    assert "these can run: --variant 'baseline' --variant 'baseline, longer'" in str(error.value)
    assert "\n" not in str(error.value)
    check_references(plan_of(studies.phases.STUDY, ("baseline", "baseline, all steps")), own)


def test_a_study_that_only_generates_can_be_set_to_train_directly(own: IqaDataset) -> None:
    for study in (studies.patch_size.STUDY, studies.normalisation.STUDY):
        with pytest.raises(StudyError, match="none can run; --set phases=direct"):
            check_references(plan_of(study), own)
        direct = plan_of(study, phases="direct")
        check_references(direct, own)
        assert {variant.config.steps for variant in direct.variants} == {14}
    with pytest.raises(StudyError, match="makes its lists of phases itself"):
        plan_of(studies.phases.STUDY, phases="direct")


def test_a_study_takes_the_published_parts(tmp_path: Path) -> None:
    plan = plan_of(studies.patch_size.STUDY, ("32 px",), "biq2021", phases="direct")
    root = biq(tmp_path)
    with pytest.raises(DataError, match="crops of 32x32 pixels do not fit"):
        load_data(plan, root, "published")
    for number, path in enumerate((root / "Images").iterdir()):
        write_flat(path, (40, 40), (20 * number, 0, 0))
    (split,) = load_data(plan, root, "published").first[1]
    assert len(split.test) == 4
