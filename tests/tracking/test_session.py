"""What a finished study does with an MLflow that lacks something, or cannot be used. Nothing is trained here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from analysis.report import study_report
from gada_ray import Preset, Study
from gada_ray.data.splits import make_splits
from gada_ray.running.session import Options, Session
from gada_ray.study.contrasts import Contrast
from gada_ray.study.definition import Plan, data_selections, make_plan
from gada_ray.study.inputs import Data
from gada_ray.study.search import Search
from gada_ray.tracking import client, links, runs, study_run
from gada_ray.tracking.client import RESULT
from gada_ray.tracking.uri import TrackingError
from gada_ray.trials.run import run_trial
from gada_ray.trials.store import Store
from tests.toy import tiny, toy_dataset

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

DATASET = toy_dataset()


def plan_of() -> Plan:
    question = "Are 24 px better than 16 px?"
    study = Study(
        question=question,
        base=tiny(),
        variants={"16 px": {}, "24 px": {"data.crop_px": 24}},
        presets={"smoke": Preset(cost="", splits=2)},
        contrasts=(Contrast("24 px", "16 px", question),),
    )
    return make_plan("toys", study, "smoke", "toy", {})


@pytest.fixture(scope="module")
def data() -> Data:
    places = list(data_selections(plan_of().variants))
    return Data(dict.fromkeys(places, DATASET), dict.fromkeys(places, make_splits(DATASET.references, 2)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Path:
    """A storage in which every trial of the plan is done."""
    store = Store(tmp_path_factory.mktemp("trained"))
    search = Search(plan_of(), data.splits, data.fingerprints, store.result)
    while job := search.next():
        search.done(job, run_trial(job.trial, DATASET, store))
    assert isinstance(store.root, Path)
    return store.root


@pytest.fixture
def storage(trained: Path, tmp_path: Path, database: Callable[[Path], str]) -> Path:
    """A storage of the test's own, with an MLflow file that is still empty."""
    database(tmp_path / "runs")
    (tmp_path / "runs" / "trials").symlink_to(trained / "trials")
    return tmp_path / "runs"


def session(storage: Path, data: Data, **options: Any) -> Session:
    return Session(plan_of(), data, Options(storage=str(storage), gpus=0, **options), study_report)


def experiment_of(storage: Path) -> tuple[MlflowClient, str]:
    mlflow = MlflowClient(runs.default_uri(storage))
    found = mlflow.get_experiment_by_name("toys")
    assert found is not None
    return mlflow, found.experiment_id


def test_a_finished_studys_run_has_verdict_scores_links_and_its_true_duration(storage, data, capsys):
    assert session(storage, data).run() == 0
    out = capsys.readouterr().out
    mlflow, place = experiment_of(storage)
    (of_study,) = mlflow.search_runs([place], "tags.kind = 'study'")
    splits = mlflow.search_runs([place], "tags.kind = 'split'")
    verdict = json.loads((storage / "reports/toys-smoke-toy/verdict.json").read_text())["verdict"]
    assert verdict and all(text in out for text in verdict)
    note = of_study.data.tags[client.NOTE]
    assert all(text in note for text in verdict) and "| variant | splits | SROCC, mean ± sd | PLCC, mean ± sd |" in note
    assert f"[Report](#/experiments/{place}/runs/{of_study.info.run_id}/artifacts/report.html)" in note
    assert set(of_study.data.metrics) == {"srocc_mean/16 px", "srocc_mean/24 px"}
    assert of_study.info.start_time == min(run.info.start_time for run in splits)
    assert of_study.info.end_time == max(run.info.end_time for run in splits)
    tags = mlflow.get_experiment(place).tags
    assert all(text in tags[client.NOTE] for text in verdict)
    (view,) = (json.loads(value) for key, value in tags.items() if key.startswith(links.VIEW))
    assert view["orderByKey"] == "metrics.`srocc_mean`" and view["selectedColumns"][0] == "metrics.`srocc_mean`"
    files = {file.path for file in mlflow.list_artifacts(of_study.info.run_id)}
    assert "report.html" in files


def test_a_description_that_a_person_wrote_above_the_runs_is_kept(storage, data):
    assert session(storage, data).run() == 0
    mlflow, place = experiment_of(storage)
    mlflow.set_experiment_tag(place, client.NOTE, "ours")
    session(storage, data).sync()
    assert mlflow.get_experiment(place).tags[client.NOTE] == "ours"


def test_a_report_is_made_only_if_mlflow_has_every_trial(storage, data, capsys, monkeypatch):
    write = runs.Tracker._write
    skipped: list[str] = []

    def write_but_one(self: runs.Tracker, run: Any, folder: Any) -> Exception | None:
        skipped[:] = skipped or [folder.name]
        return OSError("disk on fire") if folder.name == skipped[0] else write(self, run, folder)

    monkeypatch.setattr(runs.Tracker, "_write", write_but_one)
    session(storage, data).run()
    out = capsys.readouterr().out
    assert "no report is made: MLflow is without 1 of 4 trials; run the same command with --sync" in out
    assert not (storage / "reports").exists()
    monkeypatch.undo()
    session(storage, data).sync()
    assert (storage / "reports/toys-smoke-toy/report.html").exists()


def test_a_half_written_run_counts_as_missing(storage, data, capsys):
    assert session(storage, data).run() == 0
    mlflow, place = experiment_of(storage)
    split = mlflow.search_runs([place], "tags.kind = 'split'")[0]
    mlflow.set_tag(split.info.run_id, RESULT, "another")
    this = session(storage, data)
    capsys.readouterr()
    this._make_report()
    assert "MLflow is without 1 of 4 trials" in capsys.readouterr().out


def test_the_table_of_a_finished_study_is_shown_where_mlflow_cannot_be_used(storage, data, capsys):
    with closing(sqlite3.connect(storage / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'bd07f7e963c5'")
    with pytest.raises(TrackingError, match="mlflow db upgrade"):
        session(storage, data).run()
    out = capsys.readouterr().out
    assert "16 px" in out and "SROCC" in out and "MLflow:" not in out
    with pytest.raises(TrackingError, match=r"\./mlruns is a folder"):
        session(storage, data, tracking_uri="./mlruns").run()
    assert "16 px" in capsys.readouterr().out


def test_without_any_score_there_is_no_report_and_no_command_for_one(storage, data, capsys):
    this = session(storage, data)
    for configuration in this.search.configurations():
        for split, result in configuration.results.items():
            assert result is not None
            configuration.results[split] = result.model_copy(update={"status": "diverged", "metrics": {}})
    this._make_report()
    out = capsys.readouterr().out
    assert "no report is made: no training has a score" in out and "analysis report" not in out


def test_descriptions_keep_whole_links_whatever_the_number_of_variants(storage, data):
    session(storage, data).run()
    mlflow, place = experiment_of(storage)
    tested = mlflow.search_runs([place], "tags.kind = 'configuration'")
    variants = {f"{number} px, of a name with many letters": tested[0] for number in range(300)}
    found = study_run._Configurations(variants, dict.fromkeys(variants, tested * 20))
    text = links.fitted(study_run._note(place, "r" * 32, "key", found, ["A verdict."]), client.MAX_NOTE)
    assert len(text) <= client.MAX_NOTE and "A verdict." in text
    assert text.endswith("more are not listed: MLflow limits descriptions.)")
    assert text.count("](") == text.count("[") - text.count("[]")
