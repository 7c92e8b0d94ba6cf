from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gada_ray import gada, real_only, with_values
from gada_ray.config import ConfigError, TrainingConfig
from gada_ray.data import DataError
from gada_ray.data.crops import generator_for
from gada_ray.data.prepared import STRENGTHS
from gada_ray.data.procedural import procedures
from gada_ray.training.batches import Batch, Batches
from gada_ray.training.phases import Phase, build
from gada_ray.training.procedural import ProceduralSource
from gada_ray.training.strengths import StrengthSource
from gada_ray.trials.identity import Execution
from gada_ray.trials.run import run_trial
from gada_ray.trials.store import Store
from tests.toy import CPU, tiny, toy_dataset, toy_source, toy_trial

NAMES = ("jpeg", "contrast", "wn")
"""Classes for the toy dataset: the second one's strength has no order."""


def first_strengths(values=None, **more) -> TrainingConfig:
    """A phase on procedural distortions, and after it the three phases."""
    base = tiny(config=gada(6, 5, 4))
    fields = {"name": "strengths", "real_images": "procedural", "skip_unmatched": True, **more}
    start = base.phases[0].model_copy(update=fields)
    return with_values(base, {"phases": (start, *base.phases), **(values or {})})


@pytest.fixture(scope="module")
def dataset():
    return replace(toy_dataset(), distortions=NAMES)


@pytest.fixture(scope="module")
def made(dataset, tmp_path_factory):
    found = procedures(dataset.distortions, dataset.name)
    return ProceduralSource(dataset, found, tmp_path_factory.mktemp("cache"), 16, CPU, extra=False)


def shows(picture, crop) -> bool:
    """Whether a crop `[3, c, c]` is anywhere in a picture `[h, w, 3]`."""
    red = np.round(255 * crop[0].numpy()).astype(np.uint8)
    return bool((np.lib.stride_tricks.sliding_window_view(picture[..., 0], red.shape) == red).all((2, 3)).any())


def drawn(dataset, made, rows, references=None, values=None, seed=0):
    batches = Batches(toy_source(dataset), rows, first_strengths(values), 0, references)
    return StrengthSource(batches, made), StrengthSource(batches, made).draw(generator_for(seed, 0, 0))


def test_quality_falls_evenly_with_strength_within_the_labels_of_the_class(dataset, made):
    rows = torch.arange(len(dataset))
    source, batch = drawn(dataset, made, rows, values={"data.batch": 64})
    assert source.classes.tolist() == [0, 2] and set(batch.distortion.tolist()) == {0, 2}
    labels = toy_source(dataset).quality
    for one in (0, 2):
        here = batch.distortion == one
        own = labels[torch.from_numpy(dataset.distortion) == one]
        worst, best = own.min(), own.max()
        steps = (best - batch.quality[here]) / (best - worst) * STRENGTHS
        assert torch.allclose(steps, steps.round(), atol=1e-4)
        assert len(set(steps.round().tolist())) > 3 and steps.min() >= -1e-4 and steps.max() <= STRENGTHS + 1e-4
        change = (batch.images[here] - batch.undistorted[here]).square().flatten(1).mean(1)
        assert (change[steps.round() == 0] == 0).all(), "strength 0 is the reference itself"
        assert change[steps.round() >= 5].mean() > change[(steps.round() > 0) & (steps.round() < 3)].mean()


def test_crops_are_of_the_training_references_alone_and_the_aligned_ones_of_any_of_them(dataset, made):
    rows = torch.from_numpy(dataset.rows_of(["ref1", "ref3"]))
    values = {"data.batch": 200, "data.aligned_fraction": 0.5, "data.labelled_images": 18}
    source, batch = drawn(dataset, made, rows, torch.tensor([1, 3, 4]), values)
    assert made.numbers[source.pictures].tolist() == [1, 3, 4]
    assert batch.images.shape == (200, 3, 16, 16)
    first = batch.first(100)
    assert first.undistorted.shape == first.images.shape == (100, 3, 16, 16)
    assert torch.equal(first.undistorted, batch.undistorted[:100])
    # The aligned crops are the first ones; each reference has some of them, whatever its number.
    pictures = {number: dataset.image(number) for number in (1, 3, 4)}
    found = [number for crop in first.undistorted for number, picture in pictures.items() if shows(picture, crop)]
    assert {number: found.count(number) > 15 for number in pictures} == dict.fromkeys(pictures, True)


def test_draws_repeat_with_their_seed_alone(dataset, made):
    rows = torch.arange(len(dataset))
    one, again, other = (drawn(dataset, made, rows, seed=seed)[1] for seed in (0, 0, 1))
    assert torch.equal(one.images, again.images) and not torch.equal(one.images, other.images)


def test_the_generator_distorts_the_crops_that_the_procedures_distorted(dataset, made, monkeypatch):
    config = first_strengths()
    phase = Phase(build(config, 3, 7), toy_source(dataset), torch.arange(len(dataset)), config, 0, procedural=made)
    phase.prepare()
    seen: list[Batch] = []

    def kept(make):
        def call(*args):
            seen.append(make(*args))
            return seen[-1]

        return call

    monkeypatch.setattr(phase, "_real", kept(phase._real))
    monkeypatch.setattr(phase, "_generate", kept(phase._generate))
    terms = phase.step(0, 0)
    real, generated = seen
    n = len(generated.images)
    assert generated.undistorted is not None and real.undistorted is not None
    assert torch.equal(generated.undistorted, real.undistorted[:n])
    assert torch.equal(generated.quality, real.quality[:n]) and torch.equal(generated.distortion, real.distortion[:n])
    assert {"reconstruction", "generator_quality", "source"} <= terms.keys()


def test_labelled_images_take_part_by_class_and_range_of_quality_alone(dataset, made):
    """Pixels of labelled images do not matter in the phase."""
    config = first_strengths({"evaluation.curve_points": 0})
    states = []
    for factor in (1, 3):
        pixels = dataset.pixels.copy()
        first = dataset.offsets[dataset.first]
        pixels[first:] = pixels[first:] // factor
        source = toy_source(replace(dataset, pixels=pixels))
        network = build(config, 3, 7)
        phase = Phase(network, source, torch.arange(len(dataset)), config, 0, procedural=made)
        phase.prepare()
        for step in range(3):
            phase.step(step, 0)
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_trial_with_such_a_phase_runs_and_its_phases_go_on_from_it(dataset, tmp_path):
    config = first_strengths({"evaluation.curve_points": 1})
    result = run_trial(toy_trial(dataset, config), dataset, Store(tmp_path), Execution("cpu"))
    assert -1 <= result.metrics["srocc"] <= 1
    assert [phase.name for phase in result.phases] == ["strengths", "gan", "augmentation", "finetuning"]


def test_a_dataset_without_an_order_of_strength_is_refused(dataset, made):
    rows = torch.from_numpy(dataset.distortion == 1).nonzero()[:, 0]
    with pytest.raises(DataError, match=r"no class whose strength has an order.*phase 'strengths'"):
        drawn(dataset, made, rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trains": ("backbone", "evaluator")}, "name the generator in trains"),
        ({"values": {"data.crops_per_image": 2}}, "draws each procedural distortion once"),
        ({"values": {"data.pristine_fraction": 0.5}}, "draws each procedural distortion once"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        first_strengths(**change)


def test_the_control_starts_from_the_same_phase():
    base = first_strengths()
    control = with_values(base, {"phases": (base.phases[0], *real_only(base.phases[1:]))})
    assert control.phases[0] == base.phases[0] and not any(phase.uses_generator for phase in control.phases[1:])
