from __future__ import annotations

import json
import os
import pickle

import pytest

from gada_ray.training import checkpoint
from gada_ray.trials.run import run_trial
from gada_ray.trials.state import TrainingState
from gada_ray.trials.store import RESULT, RunRecord, Store, StoreError, write_whole
from tests.toy import tiny, toy_dataset, toy_trial


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    dataset = toy_dataset()
    store = Store(tmp_path_factory.mktemp("store"))
    trial = toy_trial(dataset, tiny({"phases.gan.steps": 1, "phases.augmentation.steps": 1}))
    return store, run_trial(trial, dataset, store)


def damaged(finished, tmp_path, change):
    """A store whose result file was changed by `change(text) -> text`."""
    source, result = finished
    store = Store(tmp_path)
    text = (source.folder(result.signature) / RESULT).read_text()
    path = store.folder(result.signature) / RESULT
    path.parent.mkdir(parents=True)
    path.write_text(change(text))
    return store, result.signature, path


def edit(text, **values):
    return json.dumps(json.loads(text) | values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: len(text) // 2], "cut off"),
        (lambda text: "", "cut off"),
        (lambda text: "[1, 2]", "cut off or no result"),
        (lambda text: edit(text, seed=5), "edited"),
        (lambda text: text.replace('"srocc": 0', '"srocc": 1').replace('"srocc": -0', '"srocc": 0'), "edited"),
        (lambda text: edit(text, format=99), "format 99"),
    ],
    ids=["truncated", "empty", "foreign", "seed edited", "score edited", "future"],
)
def test_a_result_that_cannot_be_trusted_is_named_and_never_used(finished, tmp_path, change, words):
    store, signature, path = damaged(finished, tmp_path, change)
    with pytest.raises(StoreError, match=words) as caught:
        store.result(signature)
    assert str(path) in str(caught.value)


def test_another_trials_result_is_refused(finished, tmp_path):
    source, result = finished
    store = Store(tmp_path)
    other = store.folder("0" * 64)
    other.mkdir(parents=True)
    (other / RESULT).write_bytes((source.folder(result.signature) / RESULT).read_bytes())
    with pytest.raises(StoreError, match="belongs to trial"):
        store.result("0" * 64)


def test_a_result_reads_back_as_it_was_written(finished):
    store, result = finished
    assert store.result(result.signature) == result
    assert store.result("f" * 64) is None


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


class Payload:
    def __reduce__(self):
        return os.system, ("touch EXECUTED",)


def test_a_finished_trial_leaves_what_another_worker_is_writing(finished, tmp_path):
    store = Store(tmp_path)
    folder = tmp_path / "trials" / ("a" * 64)
    store.write(folder.name, "checkpoint.pt", b"1")
    young, old = folder / ".weights.pt.1", folder / ".weights.pt.2"
    for part in (young, old):
        part.touch()
    os.utime(old, times=(0, 0))
    store.forget(folder.name)
    assert [path.name for path in folder.iterdir()] == [young.name]


def test_a_checkpoint_cannot_execute_code(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "state": Payload()}, tmp_path / "evil.pt")
    for data in ((tmp_path / "evil.pt").read_bytes(), pickle.dumps(Payload())):
        with pytest.raises(checkpoint.CheckpointError, match=r"evil\.pt"):
            checkpoint.from_bytes(data, "evil.pt")
    assert not (tmp_path / "EXECUTED").exists()


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_a_cut_off_checkpoint_is_named(cut):
    import torch

    data = checkpoint.to_bytes({"weights": torch.rand(1000)})
    with pytest.raises(checkpoint.CheckpointError, match=r"here\.pt is cut off"):
        checkpoint.from_bytes(data[: int(len(data) * cut) if cut < 1 else cut], "here.pt")


def test_a_checkpoint_of_a_later_format_is_named(monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    data = checkpoint.to_bytes({})
    monkeypatch.undo()
    with pytest.raises(checkpoint.CheckpointError, match="format 2"):
        checkpoint.from_bytes(data, "x")


def test_a_result_of_before_says_that_nothing_was_compiled_or_limited_and_keeps_its_digest(finished):
    _, result = finished
    run = result.run.model_dump(mode="json")
    assert not {"compiled", "deterministic"} & set(run)
    later = RunRecord.model_validate(run | {"compiled": True, "deterministic": True})
    assert RunRecord.model_validate(later.model_dump(mode="json")) == later
    assert not RunRecord.model_validate(run).compiled and not RunRecord.model_validate(run).deterministic


@pytest.mark.parametrize(
    ("attempts", "compiled", "deterministic"),
    [
        ([(False, True)], False, True),
        ([(True, True), (False, True)], True, True),
        ([(False, True), (False, False)], False, False),
        ([(False, False), (True, True)], True, False),
    ],
)
def test_a_training_is_compiled_if_a_part_is_and_deterministic_if_all_of_it_is(attempts, compiled, deterministic):
    state = TrainingState(deterministic=None)
    for attempt in attempts:
        state.continued_by(*attempt)
    assert (state.compiled, state.deterministic) == (compiled, deterministic)
    of_before = TrainingState()  # read from a checkpoint that does not tell
    of_before.continued_by(False, True)
    assert not of_before.deterministic
