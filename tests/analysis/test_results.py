from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis import load, results
from gada_ray.data.splits import make_splits
from gada_ray.store import Store
from gada_ray.trial import Trial, run_trial
from gada_ray.tuning import tracking
from gada_ray.tuning.summary import ConfigurationRun
from tests.toy import tiny, toy_dataset

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """Two levels on two splits, trained, and written to MLflow."""
    root = tmp_path_factory.mktemp("tracked")
    dataset, store = toy_dataset(), Store(root)
    entries = []
    for level, batch in (("batch 4", 4), ("batch 8", 8)):
        config = tiny({"data.batch": batch})
        run = ConfigurationRun(
            study="toy", preset="smoke", dataset="toy", level=level, stage="test", number=0,
            values={"data.batch": batch}, config=config, splits=(0, 1), scheme="s", seed=0,
        )  # fmt: skip
        for split in make_splits(dataset.references, 2):
            result = run_trial(Trial(config, split.for_test(), 0, dataset.fingerprint), dataset, store)
            entries.append((run, store.folder(result.signature)))
    uri = tracking.default_uri(root)
    tracking.sync(uri, "toy", entries)
    return uri, store


def test_the_frame_holds_every_split_run_with_its_scores(tracked):
    uri, store = tracked
    frame = load.split_runs(uri, "toy")
    assert sorted(zip(frame["level"], frame["split"], strict=True)) == [
        (level, split) for level in ("batch 4", "batch 8") for split in (0, 1)
    ]
    stored = [store.result(folder.name) for folder in (store.root / "trials").iterdir()]
    assert sorted(frame["srocc"]) == pytest.approx(sorted(r.metrics["srocc"] for r in stored if r))


def test_curves_have_every_point_of_every_run(tracked):
    uri, _ = tracked
    frame = load.split_runs(uri, "toy")
    curve = load.curve(uri, frame, "curve/srocc")
    assert set(curve["step"]) >= {6, 11, 15}
    assert len(curve.groupby(["level", "split"])) == 4


def test_tables_and_pictures_are_written(tracked, tmp_path):
    written = results.write(tracked[0], "toy", tmp_path)
    names = {path.name for path in written}
    assert names == {f"toy-{n}" for n in ("levels.csv", "paired.csv", "splits.png", "curves.png", "figure1.png")} | {
        "toy.md"
    }
    assert all(path.stat().st_size > 100 for path in written)
    levels = pd.read_csv(tmp_path / "toy-levels.csv")
    assert levels["n"].tolist() == [2, 2]
    assert "strength of the distortion" in (tmp_path / "toy.md").read_text()


def test_an_unknown_study_names_those_that_there_are(tracked):
    with pytest.raises(load.LoadError, match=r"no study 'tyo'; available: .*toy"):
        load.split_runs(tracked[0], "tyo")


def test_a_dataset_without_runs_is_named(tracked):
    with pytest.raises(load.LoadError, match="LIVE"):
        load.split_runs(tracked[0], "toy", dataset="LIVE")


def test_analysis_loads_neither_torch_nor_ray():
    code = "import sys, analysis.__main__, analysis.results; sys.exit(any(n in sys.modules for n in ('torch', 'ray')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0
