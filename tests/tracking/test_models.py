"""A study's best variant becomes one model in MLflow, by a stated rule, and gives the same scores everywhere."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient, pyfunc
from PIL import Image

from gada_ray import Preset, Study
from gada_ray.config import CODE_VERSION
from gada_ray.data.splits import make_splits
from gada_ray.inference.scoring import ModelError, Score, load
from gada_ray.study.definition import Plan, data_selections, make_plan
from gada_ray.study.search import Configuration, Search
from gada_ray.tracking import lookup, models, runs
from gada_ray.training import checkpoint
from gada_ray.trials.run import run_trial
from gada_ray.trials.store import Store
from tests.toy import tiny, toy_dataset

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 deprecates.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]

DATASET = toy_dataset()


def plan_of(splits: int = 2, **settings: object) -> Plan:
    study = Study(
        question="?",
        base=tiny(),
        variants={"16 px": {}, "24 px": {"data.crop_px": 24}},
        presets={"smoke": Preset(cost="", splits=splits)},
    )
    return make_plan("toys", study, "smoke", "toy", settings)


def search_of(store: Store, plan: Plan, train: bool = True) -> tuple[Search, list[Any]]:
    entries: list[Any] = []
    places = list(data_selections(plan.variants))
    search = Search(
        plan,
        dict.fromkeys(places, make_splits(DATASET.references, plan.splits)),
        dict.fromkeys(places, DATASET.fingerprint),
        store.result,
        lambda job, result, known: entries.append((job.run, store.folder(job.trial.signature))),
    )
    while train and (job := search.next()):
        search.done(job, run_trial(job.trial, DATASET, store))
    return search, entries


@pytest.fixture(scope="module")
def trained(tmp_path_factory, database):
    """A finished study of two variants and two splits, in the store and in MLflow."""
    store = Store(tmp_path_factory.mktemp("storage"))
    search, entries = search_of(store, plan_of())
    uri = database(store.root)
    runs.sync(uri, "toys", entries)
    return SimpleNamespace(store=store, search=search, entries=entries, uri=uri, client=MlflowClient(tracking_uri=uri))


def publish(trained, search: Search | None = None) -> str | None:
    return models.publish(trained.uri, search or trained.search, trained.store, lambda config: DATASET.distortions)


@pytest.fixture(scope="module")
def address(trained):
    return publish(trained)


def winner_of(search: Search) -> Configuration:
    found = models.best_configuration(search)
    assert found is not None
    return found


def images(folder: Path, count: int = 3) -> list[Path]:
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(random.integers(0, 256, (40 + number, 30, 3), dtype=np.uint8)).save(path)
    return paths


def logged(trained) -> list[Any]:
    place = trained.client.get_experiment_by_name("toys").experiment_id
    return list(trained.client.search_logged_models([place]))


def test_the_winner_has_the_highest_mean_over_splits_and_its_weights_are_of_the_first_one(trained, address):
    means = {c.run.variant: np.mean(c.scores) for c in trained.search.configurations()}
    card = load(models.fetch(address, trained.uri)).card
    assert card.variant == max(means, key=lambda variant: means[variant])
    assert card.over_splits["srocc_mean"] == pytest.approx(means[card.variant])
    assert (card.over_splits["n"], card.fold.split) == (2, 0)
    first = winner_of(trained.search).results[0]
    assert first is not None and card.signature == first.signature
    assert "of 2 that were trained on every split" in card.chosen
    assert card.distortions == DATASET.distortions


def test_a_variant_that_lacks_a_split_does_not_win(trained):
    search, _ = search_of(trained.store, plan_of())
    best = winner_of(search)
    best.results[1] = None
    other = winner_of(search)
    assert other.run.variant != best.run.variant
    other.results[0] = None
    assert models.best_configuration(search) is None
    assert publish(trained, search) is None


def test_nothing_is_logged_before_the_study_is_finished(trained):
    search, _ = search_of(trained.store, plan_of(splits=3), train=False)
    assert not search.finished
    assert publish(trained, search) is None


def test_weights_are_those_of_the_trial_and_nothing_of_the_model_is_a_pickle(trained, address):
    folder = models.fetch(address, trained.uri)
    scorer = load(folder)
    data = trained.store.read(scorer.card.signature, "weights.pt")
    network = checkpoint.from_bytes(data, "weights.pt")["ema"]["network"]
    for name, value in scorer.quality_network.state_dict().items():
        assert (value == network[f"quality_network.{name}"]).all(), name
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".npz", ".py", ".txt", ".yaml", ""}


def test_again_the_same_model_is_found_and_it_belongs_to_its_configurations_run(trained, address):
    assert publish(trained) == address
    (model,) = logged(trained)
    run = trained.client.get_run(model.source_run_id)
    assert run.data.tags["kind"] == "configuration"
    assert run.data.tags["variant"] == model.tags["variant"]
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert run.info.status == "FINISHED"


def test_a_run_and_the_name_of_its_model_lead_to_the_same_files(trained, address):
    (model,) = logged(trained)
    by_run = models.fetch(f"runs:/{model.source_run_id}/{model.name}", trained.uri)
    by_model = models.fetch(address, trained.uri)
    files, others = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (by_model, by_run)
    )
    others.pop(Path("registered_model_meta"), None)  # MLflow's own note of the address that it was asked for
    assert files and files == others
    assert load(by_run).card == load(by_model).card


def test_a_model_on_this_machine_is_found_without_mlflow(trained, address, monkeypatch):
    found = lookup._at_hand(trained.uri, address)
    (model,) = logged(trained)
    for other in (f"runs:/{model.source_run_id}/{model.name}", "models:/m-1", "models:/quality/1"):
        assert lookup._at_hand(trained.uri, other) is None
    assert lookup._at_hand("http://127.0.0.1:9", address) is None
    monkeypatch.setattr(lookup, "_at_hand", lambda uri, address: None)
    assert found is not None and found == models.fetch(address, trained.uri)


def test_a_half_written_model_is_replaced(trained, address):
    (model,) = logged(trained)
    place = trained.client.get_experiment_by_name("toys").experiment_id
    half = trained.client.create_logged_model(place, "quality", tags={"card": model.tags["card"]})
    assert publish(trained) == address
    assert half.model_id not in {model.model_id for model in logged(trained)}


def test_the_best_is_that_of_the_same_options_and_a_new_winner_takes_its_place(trained, address):
    assert models.best(trained.uri, plan_of()) == address
    with pytest.raises(ModelError, match=r"no model of study 'toys' for --preset smoke --dataset toy .*--sync"):
        models.best(trained.uri, plan_of(**{"data.batch": 5}))
    search, _ = search_of(trained.store, plan_of())
    winner_of(search).results[1] = None
    second = publish(trained, search)
    assert second != address
    assert models.best(trained.uri, plan_of()) == second
    assert publish(trained) == address
    assert models.best(trained.uri, plan_of()) == address


def test_the_best_on_one_folder_or_file_of_splits_is_not_that_on_another():
    plan = plan_of()
    keys = [replace(plan, source=source).key for source in ((), ("/a", ""), ("/b", ""), ("/a", "/s.json"))]
    assert len(set(keys)) == 4 and keys[0] == plan.key


def test_without_a_model_the_options_folders_and_versions_that_there_are_models_of_are_listed(trained, address):
    other = replace(plan_of(), source=("/data/mine", "/data/splits.json"))
    with pytest.raises(ModelError) as caught:
        models.best(trained.uri, other)
    first, *there = str(caught.value).splitlines()
    assert "--data-root /data/mine --splits /data/splits.json" in first and first.endswith("it has models for:")
    (line,) = there
    assert line.startswith("--preset smoke --dataset toy --splits 2 --seed 0 (variants 16 px, 24 px; settings ")
    assert f"code version {CODE_VERSION}" in line


def test_a_model_shows_its_scores_parameters_and_dataset_and_is_registered_under_its_study(trained, address):
    (model,) = (one for one in logged(trained) if f"models:/{one.model_id}" == address)
    card = load(models.fetch(address, trained.uri)).card
    scores = {metric.key: metric.value for metric in model.metrics}
    assert scores["srocc_mean"] == pytest.approx(card.over_splits["srocc_mean"])
    assert {metric.dataset_name for metric in model.metrics} == {DATASET.name}
    assert model.params["variant"] == card.variant and "rates.generator" in model.params
    text = model.tags["mlflow.note.content"]
    assert f"variant {card.variant}" in text and f"SROCC {card.over_splits['srocc_mean']:.3f}" in text
    assert f"\n\n{card.arithmetic} It scores" in text and card.arithmetic.startswith("Trained on cpu: the same bits")
    registry = MlflowClient(tracking_uri=trained.uri, registry_uri=trained.uri)
    version = registry.get_model_version_by_alias("toys", "best")
    assert (version.source, version.tags["variant"]) == (model.artifact_location, card.variant)
    count = len(registry.search_model_versions("name = 'toys'"))
    assert publish(trained) == address
    assert len(registry.search_model_versions("name = 'toys'")) == count


def test_models_of_a_storage_that_was_moved_are_found(trained, address, tmp_path):
    shutil.copytree(trained.store.root, tmp_path / "moved")
    moved = runs.default_uri(tmp_path / "moved")
    for found in (models.fetch(address, moved), models.fetch("models:/toys@best", moved)):
        assert load(found).card == load(models.fetch(address, trained.uri)).card
    assert models.fetch(address, moved).is_relative_to(tmp_path / "moved")


def test_mlflow_that_cannot_be_used_is_one_error_that_says_what_to_do(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ModelError, match=r"did not take it .*; run --sync"):
        models.publish("http://127.0.0.1:9", trained.search, trained.store, lambda config: DATASET.distortions)
    missing = f"sqlite:///{tmp_path}/none.db"
    for ask in (lambda: models.best(missing, plan_of()), lambda: models.fetch("models:/m-1", missing)):
        with pytest.raises(ModelError, match="name MLflow's address by --tracking-uri"):
            ask()
    assert not any(tmp_path.iterdir())
    with pytest.raises(ModelError, match="gives no model models:/m-1"):
        models.fetch("models:/m-1", trained.uri)


def test_damaged_weights_are_not_logged(trained, database, monkeypatch, tmp_path):
    trained = SimpleNamespace(**{**vars(trained), "uri": database(tmp_path)})  # where the model is not yet
    runs.sync(trained.uri, "toys", trained.entries)
    monkeypatch.setattr(trained.store, "read", lambda signature, name: b"PK damaged")
    with pytest.raises(ModelError, match=r"weights\.pt is missing or not what the trial wrote"):
        publish(trained)


@pytest.mark.filterwarnings("ignore")  # MLflow warns of its own code
def test_mlflow_loads_the_model_without_pickle_and_gives_the_same_scores(trained, address, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder, paths = models.fetch(address, trained.uri), images(tmp_path)
    model = pyfunc.load_model(str(folder))
    frame = model.predict(pd.DataFrame({"image": [path.read_bytes() for path in paths]}))
    wanted = [score for _, score in load(folder).score_files(paths, batch=1, workers=1)]
    assert [Score(*row) for row in frame.itertuples(index=False)] == wanted
    example = model.predict(model.input_example)
    assert np.isfinite(example["quality"]).all()
    with pytest.raises(Exception, match="image 1: not an image"):
        model.predict(pd.DataFrame({"image": [paths[0].read_bytes(), b"text"]}))


WITHOUT_THE_LIBRARY = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in f"{finder}".lower()]
sys.path[:] = [path for path in sys.path if path and "editable" not in path]
from mlflow import pyfunc
model = pyfunc.load_model(sys.argv[1])
assert len(model.predict(model.input_example)) == 1
import gada_ray
print(gada_ray.__file__)
"""


def test_a_model_holds_the_library_that_it_needs(trained, address, tmp_path):
    folder = models.fetch(address, trained.uri)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = (sys.executable, "-W", "ignore", "-c", WITHOUT_THE_LIBRARY, str(folder))
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_relative_to(folder)


def test_a_served_model_gives_the_same_scores(trained, address, tmp_path):
    folder, paths = models.fetch(address, trained.uri), images(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = (sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--model-uri", str(folder))
    # Nothing but the model's own copy of the code is at hand.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    server = subprocess.Popen(
        (*serve, "--port", str(port), "--host", "127.0.0.1"),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        body = {"dataframe_split": {"columns": ["image"], "data": [[_base64(path)] for path in paths]}}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        answer = _answer(request, server)
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
    served = [Score(**row) for row in answer["predictions"]]
    assert served == [score for _, score in load(folder).score_files(paths, batch=1, workers=1)]


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _answer(
    request: urllib.request.Request, server: subprocess.Popen[bytes], patience_s: float = 120
) -> dict[str, Any]:
    """The answer of a server that is just starting."""
    until = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.5)
