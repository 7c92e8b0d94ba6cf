"""Splits as others share them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from gada_ray.config import DataConfig
from gada_ray.data import DataError, IqaDataset, Split, load_dataset, load_splits, make_splits
from gada_ray.data.split_files import to_json, validate_splits_option
from tests.data.fakes import write_noisy, write_picture


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IqaDataset:
    """Ten references r0 to r9 with two images each, such as dist/r0_5.png."""
    return load_dataset("manifest", write_noisy(tmp_path_factory.mktemp("noisy"), 10, (5, 10)), DataConfig())


def whole(split: Split, dataset: IqaDataset) -> None:
    assert sorted(split.train + split.validation + split.test) == list(dataset.references)
    assert split.validation


@pytest.mark.parametrize(
    "names", ["r3\nR7.bmp\n", "refs/r3.png\r\n\r\nr7", "\ufeffr3_5.png\nr3_10.PNG\ndist\\r7_5.png\nr7_10.png"]
)
def test_the_rest_of_a_list_of_test_names_is_the_training_part(tmp_path: Path, dataset: IqaDataset, names: str) -> None:
    (tmp_path / "test.txt").write_text(names)
    (split,) = load_splits(tmp_path / "test.txt", dataset)
    assert split.test == ("r3", "r7")
    whole(split, dataset)


def test_a_list_that_divides_a_reference_or_has_an_unknown_name_is_refused(tmp_path: Path, dataset: IqaDataset) -> None:
    (tmp_path / "test.txt").write_text("r3_5.png\nr11\n")
    with pytest.raises(DataError) as error:
        load_splits(tmp_path / "test.txt", dataset)
    unknown, torn = str(error.value).splitlines()
    assert "noisy has no reference r11" in unknown
    assert "only some images of r3 are in a part" in torn


def meta(dataset: IqaDataset, **columns: list[str]) -> pd.DataFrame:
    names = [name.removeprefix("dist/") for name in dataset.images]
    return pd.DataFrame({"ref_name": "?", "dist_name": names, "dmos": 1.0, **columns})


def test_split_columns_of_a_table_of_meta_information_are_splits(tmp_path: Path, dataset: IqaDataset) -> None:
    first = ["test" if r in (0, 1) else "val" if r == 2 else "train" for r in dataset.reference]
    second = ["val" if r in (4, 5) else "train" for r in dataset.reference]
    numbers = ["2" if r == 9 else "0" for r in dataset.reference]
    frame = meta(dataset, official_split=numbers, ratio802_seed123_split_01=first, ratio802_seed123_split_02=second)
    frame.to_csv(tmp_path / "meta_info.csv", index=False)
    official, one, two = load_splits(tmp_path / "meta_info.csv", dataset)
    assert official.test == ("r9",)
    assert (one.test, one.validation) == (("r0", "r1"), ("r2",))
    assert two.test == ("r4", "r5")
    for split in (official, one, two):
        whole(split, dataset)


def test_a_split_column_that_shares_content_is_refused(tmp_path: Path, dataset: IqaDataset) -> None:
    meta(dataset, split_1=["train", "test"] * 10).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(DataError, match=r"r0, r1, .* in two parts, so content would be on both sides"):
        load_splits(tmp_path / "m.csv", dataset)
    meta(dataset, split_1=["left"] * 20).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(DataError, match="line 2: split_1 'left' is none of train"):
        load_splits(tmp_path / "m.csv", dataset)
    meta(dataset).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(DataError, match="columns such as official_split"):
        load_splits(tmp_path / "m.csv", dataset)


@pytest.mark.parametrize("rows", [True, False])
def test_permutations_of_a_mat_file_are_splits_of_which_the_requested_number_is_taken(
    tmp_path: Path, dataset: IqaDataset, rows: bool
) -> None:
    index = np.stack([np.random.default_rng(i).permutation(10) + 1 for i in range(1000)])
    savemat(tmp_path / "index.mat", {"index": index if rows else index.T})
    splits = load_splits(tmp_path / "index.mat", dataset, most=3)
    assert len(splits) == 3 and len(load_splits(tmp_path / "index.mat", dataset)) == 1000
    for split, order in zip(splits, index, strict=False):
        assert split.test == tuple(sorted(f"r{i - 1}" for i in order[8:]))
        assert split.validation == tuple(sorted(f"r{i - 1}" for i in order[6:8]))
        whole(split, dataset)


def save_numbers(folder: Path, dataset: IqaDataset, order: list[list[int]]) -> Path:
    """ARNIQA's three files: of each order of references 6 train, 2 validate and 2 test; rows are padded."""
    parts = {"train": slice(0, 6), "val": slice(6, 8), "test": slice(8, 10)}
    for name, part in parts.items():
        rows = [np.flatnonzero(np.isin(dataset.reference, references[part])) for references in order]
        padded = np.full((len(rows), max(map(len, rows)) + 3), -1)
        for row, found in zip(padded, rows, strict=True):
            row[: len(found)] = found
        np.save(folder / f"{name}.npy", padded)
    return folder / "test.npy"


def test_numbers_of_images_padded_with_minus_one_are_splits(tmp_path: Path, dataset: IqaDataset) -> None:
    order = [np.random.default_rng(i).permutation(10).tolist() for i in range(3)]
    path = save_numbers(tmp_path, dataset, order)
    splits = load_splits(path, dataset)
    assert load_splits(tmp_path / "train.npy", dataset) == splits
    for split, references in zip(splits, order, strict=True):
        assert split.test == tuple(sorted(f"r{i}" for i in references[8:]))
        assert split.validation == tuple(sorted(f"r{i}" for i in references[6:8]))
        assert split.train == tuple(sorted(f"r{i}" for i in references[:6]))
    path.rename(tmp_path / "mine.npy")
    alone = load_splits(tmp_path / "mine.npy", dataset)
    assert [split.test for split in alone] == [split.test for split in splits]
    whole(alone[0], dataset)


def test_numbers_that_do_not_fit_are_refused_with_the_order_that_is_meant(tmp_path: Path, dataset: IqaDataset) -> None:
    path = tmp_path / "test.npy"
    order = r"order of the database's table \(scores of scores.csv\): 0 is dist/r0_5\.png, 19 is dist/r9_10\.png"
    for numbers, message in (
        (np.array([[0, 1, 20]]), rf"reach from 0 to 20, but noisy has 20 images; numbers follow the {order}"),
        (
            np.array([[0, 1, 2]]),
            rf"only some images of r1 are in a part[\s\S]*{order}; is the file's order another one",
        ),
        (np.array([0.5]), "whole numbers, a row a split, are needed"),
    ):
        np.save(path, numbers)
        with pytest.raises(DataError, match=message):
            load_splits(path, dataset)
    path.write_text("text")
    with pytest.raises(DataError, match=r"test\.npy: not a \.npy file of numbers"):
        load_splits(path, dataset)


def test_a_picture_under_two_names_that_a_file_divides_is_kept_in_the_part_that_is_tested_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (12, 12, 3), dtype=np.uint8) for _ in range(7)]
    for number, picture in enumerate([*pictures, pictures[1]]):
        write_picture(tmp_path / f"{number}.png", picture)
    (tmp_path / "scores.csv").write_text("distorted,score\n" + "".join(f"{n}.png,{n}\n" for n in range(8)))
    (tmp_path / "scores.toml").write_text('name = "mine"\ndirection = "higher_is_better"\nrange = [0.0, 7.0]\n')
    dataset = load_dataset("manifest", tmp_path, DataConfig())
    for name, numbers in {"train": [1, 2, 3, 4], "val": [5], "test": [0, 6, 7]}.items():
        np.save(tmp_path / f"{name}.npy", [numbers])
    (split,) = load_splits(tmp_path / "test.npy", dataset)
    assert (split.train, split.validation) == (("2.png", "3.png", "4.png"), ("5.png",))
    assert split.test == ("0.png", "1.png", "6.png")


def test_a_folder_of_splits_is_refused_with_what_is_accepted(tmp_path: Path, dataset: IqaDataset) -> None:
    for refused in (validate_splits_option, lambda given: load_splits(Path(given), dataset)):
        with pytest.raises(DataError, match="is a folder; --splits takes a number, published or a file: JSON"):
            refused(str(tmp_path))


def test_all_entries_that_name_no_part_are_counted(tmp_path: Path, dataset: IqaDataset) -> None:
    meta(dataset, split_1=["left", "right"] * 10).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(DataError) as error:
        load_splits(tmp_path / "m.csv", dataset)
    assert "and 17 more: entries of split_1 that name no part" in str(error.value)


def test_a_mat_file_may_name_the_references_that_it_numbers(tmp_path: Path, dataset: IqaDataset) -> None:
    names = np.empty((1, 10), dtype=object)
    names[0] = [f"R{9 - i}.bmp" for i in range(10)]
    savemat(tmp_path / "index.mat", {"index": np.arange(1, 11)[None], "ref_names": names})
    (split,) = load_splits(tmp_path / "index.mat", dataset)
    assert split.test == ("r0", "r1")


def test_a_mat_file_without_permutations_of_these_references_is_refused(tmp_path: Path, dataset: IqaDataset) -> None:
    path = tmp_path / "index.mat"
    for content, message in (
        ({"perm": np.arange(10)}, "no variable 'index' with permutations; it has perm"),
        ({"index": np.ones((5, 29), int)}, "permutations of 10 references are needed"),
        ({"index": np.zeros((5, 10), int)}, "entry 0 of 'index' is not a permutation of the numbers 1 to 10"),
    ):
        savemat(path, content)
        with pytest.raises(DataError, match=message):
            load_splits(path, dataset)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\0" * 400)
    with pytest.raises(DataError, match="not a MATLAB file that can be read"):
        load_splits(path, dataset)


def test_a_mat_file_of_version_7_3_is_read_as_well(tmp_path: Path, dataset: IqaDataset) -> None:
    path = tmp_path / "info.mat"
    index = np.stack([np.random.default_rng(i).permutation(10) + 1 for i in range(1000)])
    with h5py.File(path, "w", userblock_size=512) as file:
        file["index"] = index.astype(float)  # 10 x 1,000 in MATLAB
        cells = file.create_dataset("ref_names", (10, 1), dtype=h5py.ref_dtype)
        for i in range(10):
            file[f"#refs#/{i}"] = np.array([[ord(letter)] for letter in f"r{9 - i}.bmp"], dtype=np.uint16)
            cells[i, 0] = file[f"#refs#/{i}"].ref
    header = b"MATLAB 7.3 MAT-file, by a test".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header + path.read_bytes()[len(header) :])
    first, second = load_splits(path, dataset, most=2)
    assert first.test == tuple(sorted(f"r{10 - i}" for i in index[0, 8:]))
    whole(second, dataset)


def test_splits_of_any_form_can_be_written_as_json(tmp_path: Path, dataset: IqaDataset) -> None:
    (tmp_path / "test.txt").write_text("r3\n")
    splits = load_splits(tmp_path / "test.txt", dataset)
    (tmp_path / "ours.json").write_text(to_json(splits, dataset))
    assert load_splits(tmp_path / "ours.json", dataset) == splits


def test_the_command_writes_the_splits_of_a_study_and_those_of_others(tmp_path: Path, dataset: IqaDataset) -> None:
    from typer.testing import CliRunner

    from gada_ray.__main__ import app

    root = write_noisy(tmp_path / "noisy", 10, (5, 10))
    out = tmp_path / "splits.json"
    arguments = ["splits", "--dataset", "manifest", "--data-root", str(root), "--out", str(out)]
    said = CliRunner().invoke(app, [*arguments, "--count", "3", "--seed", "5"])
    assert said.exit_code == 0, said.output
    assert "3 splits of noisy" in said.output
    assert load_splits(out, dataset) == make_splits(dataset.references, 3, 5)
    (tmp_path / "test.txt").write_text("r3\n")
    assert CliRunner().invoke(app, [*arguments, "--from", str(tmp_path / "test.txt")]).exit_code == 0
    assert load_splits(out, dataset)[0].test == ("r3",)


def test_the_command_divides_training_parts_so_that_choices_never_see_the_test_references(
    tmp_path: Path, dataset: IqaDataset
) -> None:
    from typer.testing import CliRunner

    from gada_ray.__main__ import app

    root, out = write_noisy(tmp_path / "noisy", 10, (5, 10)), tmp_path / "inside.json"
    arguments = ["splits", "--dataset", "manifest", "--data-root", str(root), "--out", str(out), "--count", "3"]
    said = CliRunner().invoke(app, [*arguments, "--inside-training"])
    assert said.exit_code == 0, said.output
    for inner, outer in zip(load_splits(out, dataset), make_splits(dataset.references, 3), strict=True):
        assert inner.test == outer.validation
        assert not {*inner.train, *inner.validation, *inner.test} & {*outer.test}
    with pytest.raises(DataError, match="split 0 has no validation references"):
        make_splits(dataset.references, 1, validation_fraction=0)[0].inside_training()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"splits": 3}, "is not a split file; accepted are"),
        ({"splits": [], "hash": 5}, "is not a split file; accepted are"),
        ([1], "is not a split file; accepted are"),
        ({"splits": [{"train": 3, "test": ["r1"]}]}, "split 0 needs lists of names 'train' and 'test'"),
        ({"splits": [{"train": "r0", "test": ["r1"]}]}, "split 0 needs lists of names 'train' and 'test'"),
        ({"splits": [{"train": ["r0"], "test": ["r1"], "index": "a"}]}, "may have .* a whole number 'index'"),
    ],
)
def test_a_json_file_of_another_form_is_refused(tmp_path: Path, dataset: IqaDataset, record: Any, message: str) -> None:
    (tmp_path / "s.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=message):
        load_splits(tmp_path / "s.json", dataset)
