import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gada_ray.config import DataConfig
from gada_ray.data import DataError, IqaDataset, load_dataset, load_splits, make_splits, save_splits, splits_hash
from tests.data.fakes import write_noisy

NAMES = [f"scene{i:02}" for i in range(29)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IqaDataset:
    root = write_noisy(tmp_path_factory.mktemp("noisy"), references=6, levels=(5,))
    return load_dataset("manifest", root, DataConfig())


def write(path: Path, *splits: object, **more: object) -> Path:
    path.write_text(json.dumps({"splits": splits, **more}))
    return path


def test_the_parts_of_a_split_are_disjoint_and_together_all_references() -> None:
    for split in make_splits(NAMES):
        assert sorted(split.train + split.validation + split.test) == NAMES


@pytest.mark.parametrize(
    ("references", "train", "validation", "test"), [(29, 18, 5, 6), (25, 16, 4, 5), (81, 52, 13, 16)]
)
def test_parts_have_a_fifth_for_the_test_and_a_fifth_of_the_rest_for_validation(
    references: int, train: int, validation: int, test: int
) -> None:
    for split in make_splits([f"r{i}" for i in range(references)]):
        assert (len(split.train), len(split.validation), len(split.test)) == (train, validation, test)


@pytest.mark.slow
def test_splits_depend_on_names_and_seed_only_not_on_order_count_or_hash_seed() -> None:
    splits = make_splits(NAMES)
    assert make_splits(NAMES[::-1] + NAMES[:3]) == splits
    assert make_splits(NAMES, count=3) == splits[:3]
    assert make_splits(NAMES, seed=1) != splits
    assert len({split.test for split in splits}) == 10
    command = f"from gada_ray.data import *; print(splits_hash(make_splits(set({NAMES}))))"
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, env=environment)
        assert done.stdout.strip() == splits_hash(splits), done.stderr


def test_selection_does_not_use_the_test_part_and_the_test_trains_on_all_the_rest() -> None:
    for split in make_splits(NAMES):
        selection, final = split.for_selection(), split.for_test()
        assert not set(split.test) & {*selection.train, *selection.held_out}
        assert (selection.held_out, selection.scored_on) == (split.validation, "validation")
        assert (final.held_out, final.scored_on) == (split.test, "test")
        assert sorted(final.train + final.held_out) == NAMES
        assert not set(final.train) & set(final.held_out)


def test_without_validation_references_selection_is_refused() -> None:
    (split,) = make_splits(NAMES, count=1, validation_fraction=0)
    assert split.validation == ()
    with pytest.raises(DataError, match="split 0 has no validation references"):
        split.for_selection()


def test_fewer_than_five_references_are_too_few() -> None:
    assert len(make_splits("abcde")) == 10
    with pytest.raises(DataError, match="at least 5 references, got 4: a, b, c, d"):
        make_splits("abcd")


def test_saved_splits_come_back_the_same(tmp_path: Path, dataset: IqaDataset) -> None:
    splits = make_splits(dataset.references)
    save_splits(splits, tmp_path / "s.json", dataset)
    assert load_splits(tmp_path / "s.json", dataset) == splits


def test_an_edited_split_file_is_noticed_by_its_hash(tmp_path: Path, dataset: IqaDataset) -> None:
    path = tmp_path / "s.json"
    splits = make_splits(dataset.references)
    save_splits(splits, path, dataset)
    record = json.loads(path.read_text())
    moved = record["splits"][0]["train"].pop()
    record["splits"][0]["test"].append(moved)
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=f"its hash is {splits_hash(splits)[:12]}.*it was edited"):
        load_splits(path, dataset)


def test_json_splits_need_only_train_and_test_and_ignore_case_folder_and_suffix(
    tmp_path: Path, dataset: IqaDataset
) -> None:
    path = write(tmp_path / "s.json", {"train": ["R1.bmp", "refimgs/r0.PNG"], "test": ["r5", "R3.png"]}, author="x")
    (split,) = load_splits(path, dataset)
    assert (split.index, split.train, split.validation, split.test) == (0, ("r0", "r1"), (), ("r3", "r5"))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([{"train": ["r0", "r7"], "test": ["r1"]}], "split 0: noisy has no reference r7"),
        ([{"train": ["r0", "r1"], "test": ["r1"]}], "split 0: r1 in two parts"),
        ([{"train": ["r0"], "validation": ["R1"], "test": ["r1.bmp"]}], "split 0: r1 in two parts"),
        ([{"train": ["r0"], "test": []}], "split 0 has no training or no test reference"),
        ([{"train": ["r0"]}], "split 0 needs lists of names 'train' and 'test'"),
        ([{"train": ["r0"], "test": ["r1"], "index": 1}, {"train": ["r0"], "test": ["r2"]}], "have the same index"),
        ([], "no splits in it"),
    ],
)
def test_a_split_file_that_breaks_a_rule_is_refused_with_the_split_and_the_rule(
    tmp_path: Path, dataset: IqaDataset, splits: list[object], message: str
) -> None:
    with pytest.raises(DataError, match=rf"s\.json: .*{re.escape(message)}"):
        load_splits(write(tmp_path / "s.json", *splits), dataset)


def test_all_broken_rules_of_a_split_file_are_listed(tmp_path: Path, dataset: IqaDataset) -> None:
    path = write(tmp_path / "s.json", {"train": ["r0"], "test": ["r0"]}, {"train": ["r8"], "test": ["r1"]})
    with pytest.raises(DataError) as error:
        load_splits(path, dataset)
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", "no json"])
def test_a_file_without_splits_is_refused_by_name(tmp_path: Path, dataset: IqaDataset, content: str) -> None:
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(DataError, match=r"s\.json is not a split file"):
        load_splits(tmp_path / "s.json", dataset)
    with pytest.raises(DataError, match=r"no split file at .*none\.json"):
        load_splits(tmp_path / "none.json", dataset)
