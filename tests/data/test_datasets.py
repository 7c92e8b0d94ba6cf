import subprocess
import sys
from pathlib import Path

import pytest

from gada_ray.config import DataConfig
from gada_ray.data import DATASETS, DataError, check_crops, load_dataset
from tests.data.fakes import write_noisy


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        DataError, match=r"unknown dataset 'LIVE'; did you mean live\? available: demo, live, tid2013, csiq, kadid10k"
    ):
        load_dataset("LIVE", None, DataConfig())


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "demo"])
def test_every_dataset_on_disk_asks_for_its_root_and_refuses_one_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"dataset '{name}' needs --data-root"):
        load_dataset(name, None, DataConfig())
    with pytest.raises(DataError, match=r"no folder .*none; --data-root must name the folder"):
        load_dataset(name, tmp_path / "none", DataConfig())
    with pytest.raises(DataError, match="--data-root must name the folder that holds"):
        load_dataset(name, tmp_path, DataConfig())


def test_crops_must_fit_the_smallest_image(tmp_path: Path) -> None:
    dataset = load_dataset("manifest", write_noisy(tmp_path, references=2, levels=(5,)), DataConfig())
    check_crops(dataset, 32)
    with pytest.raises(DataError, match="crops of 33x33 pixels do not fit into its smallest image, r0 with 40x32"):
        check_crops(dataset, 33)


def test_importing_the_data_package_imports_no_library_that_only_the_demo_or_the_doctor_needs() -> None:
    heavy = {"torch", "piq", "skimage", "sklearn", "matplotlib"}
    command = f"import sys, gada_ray.data, gada_ray.data.doctor; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == ""
