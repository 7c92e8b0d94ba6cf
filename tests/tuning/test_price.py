from __future__ import annotations

import pytest

from gada_ray import SMOKE, DataConfig, gada, with_values
from gada_ray.data import load_dataset
from gada_ray.trial import Execution
from gada_ray.tuning.price import Price, gpu_share, probe, work


@pytest.mark.parametrize("total_mb", [8_000, 24_000, 80_000])
@pytest.mark.parametrize("peak_mb", [100, 1_000, 5_000, 30_000, 90_000])
def test_shares_of_a_gpu_fit_its_memory_and_add_up_to_at_most_one(peak_mb, total_mb):
    share = gpu_share(peak_mb, total_mb)
    trials = int(1 / share + 1e-3)
    assert 0 < share <= 1
    assert trials * share <= 1
    assert trials <= 8
    if trials > 1:
        assert trials * peak_mb < total_mb


def test_a_trial_too_large_for_sharing_gets_the_whole_gpu():
    assert gpu_share(60_000, 80_000) == 1.0


def test_a_price_without_the_phases_that_are_taken_over_is_lower():
    price = Price((10.0, 4.0, 2.0), 3.0, "probe")
    assert price.seconds() == pytest.approx(19.0)
    assert price.seconds(skipped=1) == pytest.approx(6.0 + 2.0)


def test_work_grows_with_steps_and_area_and_is_largest_for_phase_1():
    one = work(gada(10, 10, 10))
    assert work(gada(20, 10, 10)) > work(gada(10, 20, 10)) > work(gada(10, 10, 20)) > one
    assert work(gada(10, 10, 10), skipped=1) < one


def test_a_probe_times_every_phase_and_keeps_nothing():
    dataset = load_dataset("demo", None, DataConfig())
    price = probe(with_values(gada(6, 4, 4), SMOKE), dataset, 80, Execution())
    assert len(price.phases) == 3 and min(price.phases) > 0 and price.evaluation > 0
    assert price.peak_mb == 0
