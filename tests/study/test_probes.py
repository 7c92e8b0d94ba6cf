"""Probes as on a GPU, in a process of their own, but of the CPU."""

from __future__ import annotations

import dataclasses
import math
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gada_ray import Choice, Preset, Study, TrainingConfig, gada, with_values
from gada_ray.data import make_splits
from gada_ray.running import session
from gada_ray.running.slots import Resources
from gada_ray.study import timing
from gada_ray.study.definition import data_selections, make_plan
from gada_ray.study.estimate import estimate
from gada_ray.study.inputs import Data
from gada_ray.study.price import price
from gada_ray.study.probes import ProbeError, Probes, on_one_gpu
from gada_ray.study.search import Search
from gada_ray.system import devices
from gada_ray.training.phases import Phase
from gada_ray.trials.identity import Execution
from tests import inline
from tests.toy import TINY, toy_dataset


def plan(space=None):
    size = Preset(cost="-", splits=2, values=TINY, space=space or {}, candidates=2 if space else 0)
    variants = {"a": {}, "b": {"data.batch": 8}}
    return make_plan(
        "toy", Study(question="?", base=gada(3, 2, 1), variants=variants, presets={"p": size}), "p", "toy", {}
    )


def data(of):
    dataset = toy_dataset(references=8, per_kind=6)
    places = data_selections(of.variants)
    return Data(dict.fromkeys(places, dataset), dict.fromkeys(places, make_splits(dataset.references, 2)))


def as_on_a_gpu(of, monkeypatch, here=True):
    """Probes that take the way of a GPU; `here`, without a process of their own."""
    probes = Probes(data(of), Execution())
    probes._on_gpu = True
    if here:
        monkeypatch.setattr(probes, "_call", lambda variant, function, *arguments: function(*arguments))
        monkeypatch.setattr(devices, "total_mb", lambda: 80_000.0)
    return probes


def process_of_the_probe(config, dataset, images, execution, known):
    """In place of `timing.probe`: where it ran."""
    return {"process": float(os.getpid()), "images": float(len(dataset))}


def out_of_memory(*_):
    """In place of `timing.probe`, on a GPU that is too small."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 40.00 GiB.\nmore")


def test_a_sample_has_every_class_of_both_parts_and_pixels_of_its_own():
    dataset = toy_dataset(references=8, per_kind=6)
    fold = make_splits(dataset.references, 1)[0].for_test()
    few = timing.sample(dataset, fold)
    assert len(few) < len(dataset) and few.distortions == dataset.distortions
    for part in (fold.train, fold.held_out):
        rows = few.rows_of([name for name in part if name in few.references])
        assert set(few.distortion[rows]) == {0, 1, 2}
    for row, name in enumerate(few.images):
        was = dataset.images.index(name)
        assert np.array_equal(few.distorted_image(row), dataset.distorted_image(was))
        assert np.array_equal(few.reference_image(row), dataset.reference_image(was))
        assert few.score[row] == dataset.score[was]


def test_a_probe_on_a_sample_prices_a_training(monkeypatch):
    of = plan()
    config = of.variants[0].config
    with Probes(data(of), Execution(compiler="none")) as probes:  # an unknown one, since a probe compiles nothing
        probes._on_gpu = True
        monkeypatch.setattr(probes, "_call", lambda variant, function, *arguments: function(*arguments))
        found = probes.seconds("a", config)
    cost = price(config, found)
    assert cost and min(cost.phases) > 0 and cost.rest > 0


def test_a_step_on_a_sample_has_a_whole_batch(monkeypatch):
    class Noted(Phase):
        def step(self, number, seed):
            seen.append(self.batches.size)
            return super().step(number, seed)

    monkeypatch.setattr(timing, "Phase", Noted)
    seen: list[int] = []
    dataset, splits = data(plan()).first
    few = timing.sample(dataset, splits[0].for_test())
    batch = len(few) + 4
    timing.probe(with_values(gada(3, 2, 1), {**TINY, "data.batch": batch}), few, 4, Execution())
    assert set(seen) == {batch}


@pytest.mark.parametrize("use", [{"ranking.weight": 1.0}, {"generated_by": "procedural"}])
def test_a_probe_prices_phases_with_procedural_distortions_and_keeps_no_picture(monkeypatch, tmp_path, use):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    values = {**TINY, **{f"phases.augmentation.{path}": value for path, value in use.items()}}
    config = with_values(gada(3, 2, 1), {**values, "phases.augmentation.skip_unmatched": True})
    dataset, splits = data(plan()).first
    dataset = dataclasses.replace(dataset, distortions=("blur", *dataset.distortions[1:]))
    cost = price(config, timing.probe(config, timing.sample(dataset, splits[0].for_test()), 4, Execution()))
    assert cost and min(cost.phases) > 0
    assert not list(tmp_path.rglob("*.uint8"))


@pytest.mark.slow
def test_on_a_gpu_probes_run_in_a_process_that_ends(monkeypatch):
    of = plan()
    monkeypatch.setattr(timing, "probe", process_of_the_probe)
    with as_on_a_gpu(of, monkeypatch, here=False) as probes:
        found = probes.seconds("a", of.variants[0].config)
    assert found["process"] != os.getpid()
    assert found["images"] < len(data(of).first[0])
    with pytest.raises(ProcessLookupError):
        os.kill(int(found["process"]), 0)


@pytest.mark.slow
def test_too_little_memory_is_a_message_that_names_the_variant_and_what_to_do(monkeypatch):
    monkeypatch.setattr(timing, "probe", out_of_memory)
    of = plan()
    with (
        as_on_a_gpu(of, monkeypatch, here=False) as probes,
        pytest.raises(ProbeError, match=r"variant 'b' does not fit .*Tried to allocate 40.00 GiB\.\); .*data\.batch"),
    ):
        probes.seconds("b", of.variants[1].config)


def test_a_share_is_of_the_largest_that_may_be_trained_and_of_all_pixels(monkeypatch):
    of = plan({"model.feature_maps": Choice(16, 64)})
    asked: list[TrainingConfig] = []

    def noted(trainings, execution):
        asked.extend(config for config, _ in trainings)
        return 5_000.0

    monkeypatch.setattr(timing, "peak_mb", noted)
    with as_on_a_gpu(of, monkeypatch) as probes:
        assert probes.share(of.variants[:1]) == devices.share(5_000.0, 80_000.0)
        assert [config.model.feature_maps for config in asked] == [64]
        monkeypatch.setattr(timing, "pixels_mb", lambda config, dataset, total: 1_000.0 * len(dataset))
        many, few = len(data(of).first[0]), len(timing.sample(data(of).first[0], data(of).first[1][0].for_test()))
        monkeypatch.setattr(devices, "total_mb", lambda: 400_000.0)
        assert probes.share(of.variants[:1]) == devices.share(5_000.0 + 1_000.0 * (many - few), 400_000.0)
        monkeypatch.setattr(devices, "total_mb", lambda: 60_000.0)
        with pytest.raises(ProbeError, match=r"MiB of a GPU with 60000 MiB, .*shorter_side"):
            probes.share(of.variants[:1])


@pytest.mark.slow
def test_steps_of_two_trainings_are_timed_alone_and_together():
    dataset = toy_dataset()
    ratio = timing.together(with_values(gada(3, 2, 1), TINY), dataset, Execution())
    assert 0 < ratio < math.inf  # a busy machine may give any


def test_trials_that_share_a_gpu_are_slower_by_what_two_at_a_time_are(monkeypatch):
    monkeypatch.setattr(timing, "together", lambda *_: 1.25)
    of = plan()
    with Probes(data(of), Execution()) as probes:
        found = [probes.slowdown("a", of.variants[0].config, sharing) for sharing in (1, 2, 5)]
    assert found == [1.0, 1.25, 2.0]
    assert [on_one_gpu(gpus) for gpus in (0.0, 0.1999, 0.5, 1.0, 2.0)] == [1, 5, 2, 1, 1]


def test_nothing_is_probed_where_nothing_waits_and_only_what_waits_else(monkeypatch):
    of = plan()
    asked: list[str] = []

    def share(self, variants):
        asked.extend(variant.name for variant in variants)
        return 0.25

    monkeypatch.setattr(Probes, "share", share)
    this = object.__new__(session.Session)
    this.plan, this.data, this.options = of, data(of), session.Options()
    for waiting, share_of_a_gpu in (([], 1.0), (["b"], 0.25)):
        this.resources = Resources(gpus=1.0)
        this.search = SimpleNamespace(waiting=[SimpleNamespace(run=SimpleNamespace(variant=name)) for name in waiting])  # type: ignore[assignment]
        this._share_gpus()
        assert this.resources.gpus == share_of_a_gpu
    assert asked == ["b"]


def test_a_training_that_several_variants_need_is_counted_once(monkeypatch):
    size = Preset(cost="-", splits=2, values=TINY)
    variants: dict[str, dict[str, Any]] = {"a": {}, "the same": {"data.batch": 4}, "b": {"data.batch": 8}}
    of = make_plan(
        "toy", Study(question="?", base=gada(3, 2, 1), variants=variants, presets={"p": size}), "p", "toy", {}
    )
    here = data(of)
    monkeypatch.setattr(timing, "probe", inline.constant)
    monkeypatch.setattr(timing, "besides", lambda *_: 0.0)
    made = estimate(Search(of, here.splits, here.fingerprints, lambda _: None), here, Execution(), lambda _: None, True)
    assert made is not None and made.left == 4, "of six trials"
    assert [(one.planned, one.alike) for one in made.variants] == [(2, 0), (2, 2), (2, 0)]
    assert made.variants[1].device_hours == 0.0 < made.variants[2].device_hours


def test_the_test_of_a_search_is_priced_with_its_first_phases_unless_another_training_has_them(monkeypatch):
    monkeypatch.setattr(timing, "probe", inline.constant)
    monkeypatch.setattr(timing, "besides", lambda *_: 0.0)
    space = {"phases.finetuning.rate_factor": Choice(0.1, 0.3, 1.0)}
    size = Preset(cost="-", splits=2, values=TINY, space=space, candidates=2)
    base = gada(3, 2, 1)
    variants: dict[str, dict[str, Any]] = {"phases 1+2": {"phases": base.phases[:2]}, "searched": {}}
    study = Study(question="?", base=base, variants=variants, presets={"p": size}, searched=("searched",))
    hours = []
    for only in (("searched",), tuple(variants)):
        of = make_plan("toy", study, "p", "toy", {}, only=only)
        here = data(of)
        search = Search(of, here.splits, here.fingerprints, lambda _: None)
        made = estimate(search, here, Execution(), lambda _: None, True)
        assert made is not None
        hours.append({one.variant: one.device_hours for one in made.variants})
    alone, beside = hours
    # Two splits of phases 1 and 2, which the test of "searched" takes over where the other variant trains them.
    assert alone["searched"] > beside["searched"]
    assert alone["searched"] - beside["searched"] == pytest.approx(beside["phases 1+2"], rel=0.2)
