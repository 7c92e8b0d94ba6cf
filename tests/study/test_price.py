from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gada_ray import SMOKE, Choice, DataConfig, LogUniform, direct, gada, with_values
from gada_ray.data import load_dataset
from gada_ray.study import timing
from gada_ray.study.definition import make_plan
from gada_ray.study.price import Price, from_past, price, rest_kind, step_kind, work
from gada_ray.study.timing import probe
from gada_ray.system import devices
from gada_ray.training.procedural import prepare_for
from gada_ray.trials.run import Execution
from tests.study.test_search import result, search, study
from tests.toy import TINY, toy_dataset


@pytest.mark.parametrize("total_mb", [8_000, 24_000, 80_000])
@pytest.mark.parametrize("peak_mb", [100, 1_000, 5_000, 30_000, 90_000])
def test_shares_of_a_gpu_fit_its_memory_and_add_up_to_at_most_one(peak_mb, total_mb):
    share = devices.share(peak_mb, total_mb)
    trials = int(1 / share + 1e-3)
    assert 0 < share <= 1
    assert trials * share <= 1
    assert trials <= 8
    if trials > 1:
        assert trials * peak_mb < total_mb


def test_a_trial_too_large_for_sharing_gets_the_whole_gpu():
    assert devices.share(60_000, 80_000) == 1.0


def test_a_price_without_some_first_phases_is_lower():
    price = Price((10.0, 4.0, 2.0), 1.0)
    assert price.seconds() == pytest.approx(19.0)
    assert price.seconds(skipped=1) == pytest.approx(6.0 + 2.0)


def test_work_grows_with_steps_and_area_and_is_largest_for_phase_1():
    one = work(gada(10, 10, 10))
    assert work(gada(20, 10, 10)) > work(gada(10, 20, 10)) > work(gada(10, 10, 20)) > one
    assert work(gada(10, 10, 10), skipped=1) < one


def test_a_probe_times_every_kind_of_step_once_and_keeps_nothing():
    dataset = load_dataset("demo", None, DataConfig())
    config = with_values(gada(6, 4, 4), SMOKE)
    seconds = probe(config, dataset, 80, Execution())
    cost = price(config, seconds)
    assert cost and len(cost.phases) == 3 and min(cost.phases) > 0 and cost.rest > 0
    longer = with_values(config, {"phases.gan.steps": 600, "rates.evaluator": 1e-3})
    again = price(longer, seconds)
    assert again and again.phases[0] == pytest.approx(100 * cost.phases[0])
    assert probe(longer, dataset, 80, Execution(), seconds) == {}


def test_a_trials_memory_is_measured_by_the_steps_of_all_variants_with_the_largest_batch_that_is_searched(monkeypatch):
    variants = {"direct": {"phases": (direct(4),)}, "GADA": {}, "other rates": {"rates.generator": 1e-4}}
    batches = {"data.batch": Choice(2, 4, 6), "rates.evaluator": LogUniform(1e-4, 1e-3)}
    plan = make_plan("toy", study(variants, candidates=2, space=batches), "smoke", "toy", {})
    timed: list[str] = []

    def noted(*args):
        found = probe(*args)
        timed.extend(found)
        return found

    monkeypatch.setattr(timing, "probe", noted)
    monkeypatch.setattr(devices, "reserved_mb", lambda device: 100.0 * len(timed))
    dataset = toy_dataset()
    peak = timing.peak_mb([(one, dataset) for variant in plan.variants for one in variant.largest], Execution())
    six = [with_values(variant.config, {"data.batch": 6}) for variant in plan.variants]
    kinds = {step_kind(config, number) for config in six for number in range(len(config.phases))}
    assert len(kinds) == 4, "the baseline's, and those of three phases"
    assert sorted(timed) == sorted({*kinds, rest_kind(six[0])}), "each once"
    assert peak == 500.0


def test_photographs_and_the_pixels_of_an_independent_evaluator_count_in_a_trials_memory(monkeypatch):
    one = with_values(gada(4, 4, 4), TINY)
    other = with_values(one, {"phases.augmentation.generated_from": "training"})
    extra = with_values(one, {"phases.augmentation.generated_from": "extra"})
    assert step_kind(one, 1) == step_kind(other, 1) != step_kind(extra, 1)
    assert [step_kind(one, number) == step_kind(extra, number) for number in (0, 2)] == [True, True]
    monkeypatch.setattr(timing, "probe", lambda *_: {})
    monkeypatch.setattr(devices, "reserved_mb", lambda device: 100.0)
    dataset = toy_dataset()
    evaluated = with_values(one, {"evaluation.independent_evaluator_steps": 5})
    assert timing.peak_mb([(one, dataset)], Execution()) == 100.0
    assert timing.peak_mb([(evaluated, dataset)], Execution()) == 100.0 + dataset.pixels.nbytes / 2**20


def test_past_trials_price_steps_that_other_variants_share_and_not_those_of_other_devices():
    one = with_values(gada(10, 10, 10), TINY)
    two = with_values(one, {"phases": one.phases[:2], "phases.augmentation.steps": 30})
    (job, *_) = search(study(variants={"a": {}})).waiting
    record = result(job, 0.5).model_copy(update={"config": one})
    # Phase 1 was taken over, so that only another trial tells what it costs.
    run = record.run.model_copy(
        update={"seconds": 10.0, "phase_seconds": {"augmentation": 5.0, "finetuning": 1.0}, "reused": "f" * 64}
    )
    partial = record.model_copy(update={"run": run})
    seconds = from_past([partial], Execution())
    assert price(one, seconds) is None
    first = record.model_copy(
        update={
            "config": with_values(one, {"phases": one.phases[:1]}),
            "run": run.model_copy(update={"seconds": 22.0, "phase_seconds": {"gan": 20.0}}),
        }
    )
    cost = price(two, from_past([partial, first], Execution()))
    assert cost and cost.phases == pytest.approx((20.0, 15.0)) and cost.rest == pytest.approx(2.0)
    assert from_past([partial, first], Execution("cuda")) == {}
    assert from_past([partial, first], Execution("cpu", 2)) == {}
    assert from_past([partial, first], Execution(compiler="inductor")) == {}


def named(dataset):
    return replace(dataset, distortions=("jpeg", "gblur", "wn"))


def test_pixels_on_a_gpu_are_those_of_all_sets_that_it_holds_prepared_pictures_included(tmp_path):
    dataset = named(toy_dataset())
    plain = with_values(gada(3, 2, 1), {**TINY, "evaluation.independent_evaluator_steps": 0})
    ranked = with_values(plain, {"phases.finetuning.ranking.weight": 1.0})
    own = dataset.pixels.nbytes / 2**20
    assert timing.pixels_mb(plain, dataset, 80_000) == pytest.approx(own)
    made = prepare_for(ranked, dataset, tmp_path, torch.device("cpu"))
    assert made is not None
    (file,) = (tmp_path / "procedural").glob("*.uint8")
    assert timing.pixels_mb(ranked, dataset, 80_000) == pytest.approx(own + file.stat().st_size / 2**20)
    assert timing.pixels_mb(ranked, dataset, 3 * own) == 0  # larger than a quarter of the memory: on the host
