from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import multiprocessing
import os
import shutil
import signal
import time
from multiprocessing.connection import Connection

import numpy as np
import pytest
import torch

import gada_ray.trials.store
from gada_ray import TrainingConfig, gada, gan, with_values
from gada_ray.config import flatten
from gada_ray.data.dataset import IqaDataset
from gada_ray.data.splits import Fold
from gada_ray.evaluation.metrics import image_blind
from gada_ray.system import devices
from gada_ray.training.phases import Phase
from gada_ray.trials.run import EndedError, Execution, Progress, Trial, run_trial
from gada_ray.trials.store import CHECKPOINT, RESULT, Folder, RefusedError, Result, Store
from tests.toy import tiny, toy_dataset, toy_trial

EAGER = Execution(checkpoint_every_s=0)
NUMBERS = ("predictions.csv", "curves.csv", "patches.npz", "worst.npz")


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    return store, run_trial(toy_trial(dataset), dataset, store)


def assert_same_numbers(one, other, files=NUMBERS):
    (store, result), (other_store, other_result) = one, other
    assert result.metrics == other_result.metrics
    assert result.phases == other_result.phases
    for name in files:
        assert store.read(result.signature, name) == other_store.read(other_result.signature, name), name


class Interrupted(Exception):
    pass


def test_the_same_trial_twice_gives_the_same_bits(dataset, undisturbed, tmp_path):
    store = Store(tmp_path)
    assert_same_numbers(undisturbed, (store, run_trial(toy_trial(dataset), dataset, store)))


def test_a_trial_whose_pixels_stay_on_the_host_says_so_and_has_the_same_bits(
    dataset, undisturbed, monkeypatch, tmp_path
):
    monkeypatch.setattr(devices, "leaves_on_host", lambda pixels, device: True)
    store = Store(tmp_path)
    reports: list[Progress] = []
    assert_same_numbers(undisturbed, (store, run_trial(toy_trial(dataset), dataset, store, report=reports.append)))
    (warning,) = (str(said["warning"]) for said in reports if "warning" in said)
    assert warning.startswith("toy takes ") and "stay in host memory" in warning


def test_a_result_holds_the_floor_under_its_scores(dataset, undisturbed):
    result = undisturbed[1]
    floor = image_blind(dataset.frame(), result.fold.train, result.fold.held_out)
    assert (result.metrics["image_blind_srocc"], result.metrics["image_blind_plcc"]) == (floor["srocc"], floor["plcc"])


@pytest.mark.parametrize("stop_at", [1, 4, 6, 8, 11, 13, 15])
def test_a_trial_interrupted_in_any_phase_ends_with_the_same_bits(dataset, undisturbed, tmp_path, stop_at):
    store, reports = Store(tmp_path), []

    def report(progress):
        reports.append(progress)
        if len(reports) == stop_at:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_trial(toy_trial(dataset), dataset, store, EAGER, report)
    assert store.result(toy_trial(dataset).signature) is None
    again: list[dict[str, float | int | str]] = []
    result = run_trial(toy_trial(dataset), dataset, store, EAGER, again.append)
    assert len(again) < len(reports) + 15 and (stop_at == 1 or int(again[0]["steps_done"]) > 1)
    assert_same_numbers(undisturbed, (store, result))
    assert store.read(result.signature, CHECKPOINT) is None


FEW_POINTS = ("gada_ray.trials.run.LOSS_POINTS", 2)
"""With these, a trial that is asked to end does so between two points, too."""


@pytest.fixture(scope="module")
def undisturbed_with_few_points(dataset, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("few"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*FEW_POINTS)
        return store, run_trial(toy_trial(dataset), dataset, store)


@pytest.mark.parametrize("steps", [0, 1, 5, 7, 14])
def test_a_trial_that_is_asked_to_end_writes_a_checkpoint_before_its_next_step(
    dataset, undisturbed, undisturbed_with_few_points, tmp_path, monkeypatch, steps
):
    store, asked = Store(tmp_path), itertools.count()
    monkeypatch.setattr(*FEW_POINTS)
    execution = Execution(ending=lambda: next(asked) == steps)
    with pytest.raises(EndedError):
        run_trial(toy_trial(dataset), dataset, store, execution)
    assert store.read(toy_trial(dataset).signature, CHECKPOINT) is not None
    done = itertools.count()
    result = run_trial(toy_trial(dataset), dataset, store, Execution(ending=lambda: next(done) < 0))
    assert next(done) == toy_trial(dataset).config.steps - steps
    assert_same_numbers(undisturbed_with_few_points, (store, result))
    assert result.metrics == undisturbed[1].metrics


def test_a_finished_trial_is_not_trained_again(dataset, undisturbed):
    store, result = undisturbed

    def never(_):
        raise AssertionError("trained again")

    assert run_trial(toy_trial(dataset), dataset, store, report=never) == result


@pytest.mark.parametrize("phases", [1, 2])
def test_a_trial_takes_over_its_first_phases_from_a_finished_one_with_the_same_bits(
    dataset, undisturbed, tmp_path, phases
):
    store, config = Store(tmp_path), tiny()
    first = run_trial(toy_trial(dataset, config.model_copy(update={"phases": config.phases[:phases]})), dataset, store)
    result = run_trial(toy_trial(dataset), dataset, store)
    assert result.run.reused == first.signature
    assert set(result.run.phase_seconds) == {phase.name for phase in config.phases[phases:]}
    assert_same_numbers(undisturbed, (store, result))


def test_damaged_weights_are_not_taken_over(dataset, undisturbed, tmp_path):
    store, config = Store(tmp_path), tiny()
    first = run_trial(toy_trial(dataset, config.model_copy(update={"phases": config.phases[:1]})), dataset, store)
    path = store.folder(first.signature) / "weights.pt"
    path.write_bytes(path.read_bytes()[:-100])
    result = run_trial(toy_trial(dataset), dataset, store)
    assert result.run.reused is None
    assert_same_numbers(undisturbed, (store, result))


def foreign_checkpoint(dataset, folder) -> bytes:
    """What another trial, of the same networks, left when it was interrupted."""
    store, trial = Store(folder), toy_trial(dataset, seed=1)

    def report(progress):
        if store.read(trial.signature, CHECKPOINT):
            raise Interrupted

    with pytest.raises(Interrupted):
        run_trial(trial, dataset, store, EAGER, report)
    return store.read(trial.signature, CHECKPOINT) or b""


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda *_: b"PK\x03\x04 half a file", "is cut off"),
        (lambda *_: b"", "is cut off"),
        (foreign_checkpoint, "belongs to another trial"),
    ],
    ids=["cut off", "empty", "foreign"],
)
def test_a_checkpoint_that_cannot_be_used_is_reported_by_name_and_the_trial_starts_again(
    dataset, undisturbed, tmp_path, capsys, broken, reason
):
    store, trial = Store(tmp_path / "store"), toy_trial(dataset)
    store.write(trial.signature, CHECKPOINT, broken(dataset, tmp_path / "other"))
    reports: list[Progress] = []
    result = run_trial(trial, dataset, store, report=reports.append)
    (told,) = [str(report["warning"]) for report in reports if "warning" in report]
    assert f"{store.folder(trial.signature) / CHECKPOINT} {reason}" in told
    assert told.endswith("; the trial starts again") and told in capsys.readouterr().err
    assert_same_numbers(undisturbed, (store, result))


def test_the_result_of_the_first_of_two_workers_on_a_trial_stands(dataset, tmp_path):
    store, trial = Store(tmp_path), toy_trial(dataset)
    rival: list[Result] = []
    written: dict[Folder, int] = {}

    def overtaken(progress):
        if not rival:
            rival.append(run_trial(trial, dataset, store))
            written.update({path: path.stat().st_mtime_ns for path in store.folder(trial.signature).iterdir()})

    result = run_trial(trial, dataset, store, EAGER, overtaken)
    assert result == rival[0]
    assert written == {path: path.stat().st_mtime_ns for path in store.folder(trial.signature).iterdir()}


@pytest.mark.parametrize("name", [CHECKPOINT, "weights.pt", RESULT])
def test_a_disk_that_is_full_ends_a_trial_by_name_and_the_next_run_has_the_same_bits(
    dataset, undisturbed, tmp_path, monkeypatch, name
):
    store, trial = Store(tmp_path), toy_trial(dataset)
    write = gada_ray.trials.store._write

    def full(path: Folder, data: bytes) -> None:
        if path.name == name and (store.folder(trial.signature) / CHECKPOINT).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(gada_ray.trials.store, "_write", full)
    with pytest.raises(RefusedError, match=rf"{name} cannot be used \(.*No space left .* run the same command again"):
        run_trial(trial, dataset, store, EAGER)
    assert store.result(trial.signature) is None
    assert store.read(trial.signature, CHECKPOINT) is not None
    monkeypatch.setattr(gada_ray.trials.store, "_write", write)
    assert_same_numbers(undisturbed, (store, run_trial(trial, dataset, store)))


def test_what_is_left_of_files_that_were_cut_off_in_being_written_goes_when_the_trial_is_done(dataset, tmp_path):
    store, trial = Store(tmp_path), toy_trial(dataset)
    folder = tmp_path / "trials" / trial.signature
    folder.mkdir(parents=True)
    for name in (CHECKPOINT, RESULT):
        (folder / f".{name}.0123").write_bytes(b"half a file")
        os.utime(folder / f".{name}.0123", times=(0, 0))
    run_trial(trial, dataset, store)
    assert {path.name for path in folder.iterdir()} == {RESULT, *NUMBERS, "weights.pt", "patches.npz"}


def test_a_training_that_runs_out_of_memory_stores_no_result_and_is_tried_again(dataset, tmp_path, monkeypatch):
    def step(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(Phase, "step", step)
    store, trial = Store(tmp_path), toy_trial(dataset)
    with pytest.raises(torch.OutOfMemoryError):
        run_trial(trial, dataset, store)
    assert store.result(trial.signature) is None
    monkeypatch.undo()
    assert run_trial(trial, dataset, store).status == "finished"


def test_a_test_part_with_one_class_is_tested(dataset, tmp_path):
    one_class = single_class(dataset)
    result = run_trial(toy_trial(one_class), one_class, Store(tmp_path))
    assert result.status == "finished" and np.isfinite(result.metrics["srocc"])


def single_class(dataset: IqaDataset) -> IqaDataset:
    """The images of a dataset's first class alone."""
    rows = np.flatnonzero(dataset.distortion == 0)
    numbers = [*range(len(dataset.references)), *(dataset.first + rows)]
    sizes = [dataset.offsets[n + 1] - dataset.offsets[n] for n in numbers]
    return dataclasses.replace(
        dataset,
        pixels=np.concatenate([dataset.image(n).ravel() for n in numbers]),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        shapes=dataset.shapes[numbers],
        images=tuple(dataset.images[row] for row in rows),
        reference=dataset.reference[rows],
        distortions=dataset.distortions[:1],
        distortion=dataset.distortion[rows],
        score=dataset.score[rows],
    )


def test_a_diverged_training_is_a_result_with_its_cause(dataset, tmp_path):
    config = tiny({"rates.discriminator": 1e30, "model.norm": "none"})
    result = run_trial(toy_trial(dataset, config), dataset, Store(tmp_path))
    assert result.status == "diverged"
    assert result.cause and "quality" in result.cause and "no longer finite in phase 'gan'" in result.cause
    assert result.metrics == {}


def test_another_dataset_is_refused(dataset, tmp_path):
    other = toy_dataset(per_kind=4)
    with pytest.raises(ValueError, match="toy is"):
        run_trial(toy_trial(dataset), other, Store(tmp_path))


def test_the_result_says_what_was_trained_and_tested_on(dataset, undisturbed):
    _, result = undisturbed
    assert [phase.name for phase in result.phases] == ["gan", "augmentation", "finetuning"]
    assert not set(result.fold.train) & set(result.fold.held_out)
    assert {"srocc", "plcc", "srocc/noise"} <= set(result.metrics)
    assert {
        "generator_distance_l1",
        "generator_distance_mdsi/noise",
        "generator_mdsi_srocc",
        "generator_noise_sd",
    } <= set(result.phases[0].metrics)
    assert set(result.files) == {"predictions.csv", "curves.csv", "patches.npz", "worst.npz", "weights.pt"}


def test_the_signature_depends_on_everything_that_changes_the_numbers_and_on_nothing_else(dataset):
    trial = toy_trial(dataset)
    others = [
        dataclasses.replace(trial, seed=1),
        dataclasses.replace(trial, fingerprint="0" * 64),
        dataclasses.replace(trial, fold=dataclasses.replace(trial.fold, split=1)),
        dataclasses.replace(trial, fold=dataclasses.replace(trial.fold, held_out=trial.fold.train)),
        dataclasses.replace(trial, fold=dataclasses.replace(trial.fold, scored_on="validation")),
    ]
    changed = {
        "data.crop_px": 24, "data.aligned_fraction": 0.25, "data.batch": 5, "data.include_reference_copies": True,
        "data.dmos": "realigned", "data.drop_artificial_reference": True, "data.shorter_side": 40,
        "data.demo_local": True, "data.crops_per_image": 4,
        "data.sampling": "saliency", "evaluation.sampling": "uniform",
        "model.weighs_crops": {"model.weighs_crops": True, "data.crops_per_image": 2},
        "data.labelled_images": 9, "data.labelled_by": "random", "data.pristine_from": "training",
        "model.network": "kang", "model.normalisation": "none",
        "model.backbone_widths": (4, 8, 9), "model.feature_maps": 17, "model.head": "dense", "model.head_units": 9,
        "model.norm": "none", "model.generator_widths": (4, 8, 9), "model.condition_at": "both",
        "model.embedding": 5, "model.noise_dim": 5, "model.noise_map": True, "model.skips": False,
        "model.upsampling": "resize", "losses.adversarial": "bce", "losses.quality": "mse", "precision": "bfloat16",
        "losses.reduction": "sum", "model.colour_transform": False, "model.discriminator": "backbone",
        "model.output": "residual",
        "evaluation.placement": {"evaluation.placement": "even", "evaluation.sampling": "uniform"},
        "evaluation.alignment": "mixed",
        "evaluation.pooling": "median", "evaluation.weights": "final", "model.generator": "plain",
        "losses.generator_teacher": "online", "phases.gan.images": None, "phases.gan.conditions": None,
    }  # fmt: skip
    for path, value in flatten(trial.config).items():
        new = changed.get(path, 0.77 if isinstance(value, float) else value + 1 if isinstance(value, int) else None)
        if path.startswith("phases.") and not isinstance(value, (int, float)):
            continue
        assert new is not None, path
        values = new if isinstance(new, dict) else {path: new}
        others.append(dataclasses.replace(trial, config=with_values(trial.config, values)))
    others.append(toy_trial(dataset, tiny(config=TrainingConfig(phases=(gan(6),)))))
    signatures = [other.signature for other in [trial, *others]]
    assert len(set(signatures)) == len(signatures)
    assert toy_trial(toy_dataset()).signature == trial.signature


def test_the_signature_of_one_trial_is_kept():
    """Whoever changes how trials are named orphans every result in every store; raise CODE_VERSION to mean it."""
    fold = Fold(split=3, scored_on="validation", train=("a", "b"), held_out=("c",))
    trial = Trial(tiny(config=gada(10, 6, 4)), fold, 1, "f" * 64)
    assert trial.signature == "25cfb3494e09d9d53696b353462f18831aed81a80eda3d5b92d035bb2c53f168"
    assert trial.prefix(1) == Trial(tiny(config=TrainingConfig(phases=(gan(10),))), fold, 1, "f" * 64).signature


LONGER = tiny(config=gada(50, 50, 50))
CHILDREN = multiprocessing.get_context("forkserver")
# Imports take seconds; each child is a fork of a process that has made them.
CHILDREN.set_forkserver_preload(["gada_ray.trials.run", "tests.toy"])


def train_and_tell(root: str, told: Connection) -> None:
    """What a child does: train, with a checkpoint after every step, and send the phase that it is in."""
    dataset = toy_dataset()
    run_trial(toy_trial(dataset, LONGER), dataset, Store(root), EAGER, lambda progress: told.send(progress["phase"]))


@pytest.mark.slow
def test_a_process_killed_in_every_phase_ends_with_the_same_bits(dataset, tmp_path):
    quiet, hit = Store(tmp_path / "quiet"), Store(tmp_path / "hit")
    expected = run_trial(toy_trial(dataset, LONGER), dataset, quiet)
    for phase in ("gan", "augmentation", "finetuning", None):
        here, there = CHILDREN.Pipe(duplex=False)
        child = CHILDREN.Process(target=train_and_tell, args=(str(hit.root), there))
        child.start()
        there.close()
        with contextlib.suppress(EOFError):
            while here.recv() != phase:
                pass
            time.sleep(0.05)
            child.kill()
        child.join()
        assert child.exitcode == (-signal.SIGKILL if phase else 0)
        assert (hit.result(expected.signature) is None) == bool(phase)
    result = hit.result(expected.signature)
    assert_same_numbers((quiet, expected), (hit, result))


MANY_CROPS = {"evaluation.crops": 30}


@pytest.fixture(scope="module")
def tested_as_usual(dataset, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("usual"))
    return store, run_trial(toy_trial(dataset, tiny(MANY_CROPS)), dataset, store)


@pytest.mark.parametrize(
    "retest",
    [
        {"evaluation.crops": 2},
        {"evaluation.pooling": "median"},
        {"evaluation.placement": "even", "evaluation.sampling": "uniform"},
        {"evaluation.alignment": "unaligned"},
        {"evaluation.weights": "final"},
    ],
)
def test_a_trial_that_is_tested_in_another_way_is_not_trained_again_and_has_the_numbers_of_one_that_is(
    dataset, tested_as_usual, tmp_path, retest
):
    usual, first = tested_as_usual
    shutil.copytree(usual.root, tmp_path / "one")
    store, config = Store(tmp_path / "one"), tiny({**MANY_CROPS, **retest})
    result = run_trial(toy_trial(dataset, config), dataset, store)
    assert result.run.reused == first.signature and result.run.phase_seconds == {}
    other = Store(tmp_path / "other")
    trained = run_trial(toy_trial(dataset, config), dataset, other)
    assert trained.run.reused is None
    assert result.metrics == trained.metrics and first.metrics != result.metrics
    for taken_over, measured in zip(result.phases, trained.phases, strict=True):
        assert taken_over.metrics.items() <= measured.metrics.items(), "none of another protocol's"
    name = "predictions.csv"
    assert store.read(result.signature, name) == other.read(trained.signature, name)


MEASURED = {"evaluation.independent_evaluator_steps": 3}
PHASE_1 = TrainingConfig(phases=(gan(6),))


@pytest.mark.parametrize("retest", [MEASURED, {**MEASURED, "evaluation.crops": 2}, {"evaluation.weights": "final"}])
def test_the_generator_of_a_trained_phase_1_is_measured_without_another_training(dataset, tmp_path, retest):
    store, plain = Store(tmp_path / "one"), {"evaluation.independent_evaluator_steps": 0}
    first = run_trial(toy_trial(dataset, tiny({**MANY_CROPS, **plain}, PHASE_1)), dataset, store)
    trial = toy_trial(dataset, tiny({**MANY_CROPS, **plain, **retest}, PHASE_1))
    result = run_trial(trial, dataset, store)
    assert result.run.reused == first.signature and "gan" not in result.run.phase_seconds
    trained = run_trial(trial, dataset, Store(tmp_path / "other"))
    assert trained.run.reused is None
    assert result.metrics == trained.metrics
    assert ("generator_class_accuracy" in result.metrics) == (MEASURED.items() <= retest.items())
    assert "generator_class_accuracy" not in first.metrics
    assert result.metrics["generator_distance_l1"] == result.phases[0].metrics["generator_distance_l1"]


def test_a_generator_that_is_not_trained_last_is_not_measured_afterwards(dataset):
    plain = {"evaluation.independent_evaluator_steps": 0}
    last, earlier = (toy_trial(dataset, tiny(MEASURED, config)) for config in (PHASE_1, None))
    assert toy_trial(dataset, tiny(plain, PHASE_1)).signature in last.starts
    assert toy_trial(dataset, tiny(plain)).signature not in earlier.starts
