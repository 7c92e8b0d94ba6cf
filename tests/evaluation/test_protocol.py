from __future__ import annotations

import numpy as np
import pytest
import torch

from gada_ray import with_values
from gada_ray.data.sampling import Sampler
from gada_ray.evaluation import pooling, protocol
from gada_ray.evaluation.pooling import CropScores
from gada_ray.training.phases import build
from tests.toy import tiny, toy_dataset, toy_source


@pytest.fixture(scope="module")
def setting():
    dataset = toy_dataset()
    config = tiny()
    source, quality_network = toy_source(dataset), build(config, 3, 0).quality_network
    quality_network(torch.rand(8, 3, 16, 16))  # running statistics of something
    return dataset, source, quality_network, config


def predict(setting, rows, crops=3, config=None):
    dataset, source, quality_network, default = setting
    config = config or default
    corners = protocol.windows(dataset, source, rows, config)
    return protocol.predict(quality_network, source, rows, corners, config, crops)


def alike(quality):
    """Scores of crops that count alike."""
    return CropScores(quality, torch.ones_like(quality))


def test_a_prediction_depends_neither_on_order_nor_on_the_other_images(setting):
    rows = torch.arange(12)
    together, backwards = predict(setting, rows).quality, predict(setting, rows.flip(0)).quality.flip(0)
    alone = torch.cat([predict(setting, row[None]).quality for row in rows])
    torch.testing.assert_close(together, backwards)
    torch.testing.assert_close(together, alone)


def test_batches_do_not_matter(setting, monkeypatch):
    rows = torch.arange(12)
    before = predict(setting, rows)
    monkeypatch.setattr(protocol, "CROPS_AT_ONCE", 5)
    torch.testing.assert_close(predict(setting, rows), before)


def test_predicting_changes_nothing_of_the_judge(setting):
    quality_network = setting[2]
    before = {name: value.clone() for name, value in quality_network.state_dict().items()}
    predict(setting, torch.arange(6))
    assert all(torch.equal(value, before[name]) for name, value in quality_network.state_dict().items())
    assert not quality_network.training


@pytest.mark.parametrize("sampling", ["uniform", "activity"])
def test_mixed_crops_are_those_of_the_unaligned_test_with_every_other_one_aligned(setting, sampling):
    dataset, source, _, config = setting
    values = {"evaluation.crops": 8, "evaluation.sampling": sampling}
    top, left, mixed = {}, {}, with_values(config, {**values, "data.aligned_fraction": 0.5})
    assert mixed.test_alignment == "mixed"
    for name, each in (("mixed", mixed), ("unaligned", with_values(config, {**values, "data.aligned_fraction": 0.0}))):
        top[name], left[name], _ = protocol.windows(dataset, source, torch.arange(6), each)
    for corner in (top, left):
        assert (corner["mixed"][:, ::2] == corner["unaligned"][:, ::2] // 8 * 8).all()
        assert (corner["mixed"][:, 1::2] == corner["unaligned"][:, 1::2]).all()


def test_the_prediction_of_an_image_pools_those_of_its_crops(setting):
    dataset, source, quality_network, config = setting
    row = torch.tensor([4])
    top, left, _ = protocol.windows(dataset, source, row, config)
    images = source.distorted(row).repeat(3)
    crops = source.gather(images, top[0], left[0], 16)
    with torch.no_grad():
        each, _ = quality_network.eval().evaluate(crops)
    scores = predict(setting, row)
    torch.testing.assert_close(scores, alike(each[None]))
    for kind, expected in (("mean", each.mean()), ("median", each.median())):
        pooled = protocol.table(dataset, row, scores, kind)["prediction"].item()
        assert pooled == pytest.approx(expected.item(), abs=1e-6)


def test_the_median_of_an_even_number_of_crops_is_the_mean_of_the_middle_two(setting):
    frame = protocol.table(setting[0], torch.tensor([4]), alike(torch.tensor([[0.9, 0.1, 0.4, 0.2]])), "median")
    assert frame["prediction"].item() == pytest.approx(0.3, abs=1e-6)


def test_an_images_crops_depend_on_its_name_only(setting):
    dataset, source, _, config = setting
    few, many = torch.tensor([7]), torch.tensor([2, 7, 9])
    for alone, among in zip(
        protocol.windows(dataset, source, few, config),
        protocol.windows(dataset, source, many, config),
        strict=True,
    ):
        assert torch.equal(alone[0], among[1])


def test_the_table_names_every_image_with_target_and_prediction(setting):
    dataset = setting[0]
    rows = torch.tensor([3, 20])
    frame = protocol.table(dataset, rows, alike(torch.tensor([[0.1, 0.3, 0.35], [0.5, 0.5, 0.5]])), "mean")
    assert frame["prediction"].tolist() == pytest.approx([0.25, 0.5])
    middle = protocol.table(dataset, rows, alike(torch.tensor([[0.1, 0.3, 0.35], [0.5, 0.5, 0.5]])), "median")
    assert middle["prediction"].tolist() == pytest.approx([0.3, 0.5])
    assert list(frame.columns) == ["image", "reference", "distortion", "target", "prediction"]
    assert frame["image"].tolist() == [dataset.images[3], dataset.images[20]]
    assert frame["target"].tolist() == pytest.approx(dataset.quality[[3, 20]].tolist())


def test_inverse_chances_give_the_mean_of_the_whole_image_and_a_plain_mean_does_not():
    random = np.random.default_rng(1)
    cells = random.integers(1, 255, (6, 7)).astype(np.uint8) // np.array([[9], [9], [9], [1], [1], [1]], np.uint8)
    sampler = Sampler([cells], [(48, 56)], crop_px=16, grid=8, temperature=0.5)
    quality = torch.linspace(0, 1, 5)[:, None].expand(5, 6)  # of every window, the lower the better
    draws = torch.rand(40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    windows = sampler.windows(torch.zeros(len(draws), dtype=torch.long), draws)
    scores = CropScores(quality[windows.top // 8, windows.left // 8][None], windows.weight.float()[None])
    error = pooling.spread(scores, "inverse").item()
    assert pooling.pooled(scores, "inverse").item() == pytest.approx(0.5, abs=4 * error)
    assert pooling.pooled(scores, "mean").item() > 0.5 + 20 * error


def test_learned_weights_and_their_spread():
    scores = CropScores(torch.tensor([[0.2, 0.8], [0.4, 0.4]]), torch.tensor([[3.0, 1.0], [1.0, 5.0]]))
    assert pooling.pooled(scores, "learned").tolist() == pytest.approx([0.35, 0.4])
    random = torch.Generator().manual_seed(0)
    quality = torch.rand(4000, 30, generator=random)
    many = CropScores(quality, 0.5 + quality + torch.rand(4000, 30, generator=random))
    for kind in ("mean", "learned"):
        actual = pooling.pooled(many, kind).std().item()
        assert pooling.spread(many, kind).mean().item() == pytest.approx(actual, rel=0.05)


def test_sampling_in_a_test_is_alike_for_all_configurations_and_keeps_to_the_grid(setting):
    dataset, source, _, config = setting
    sampled = with_values(config, {"evaluation.crops": 40, "evaluation.alignment": "aligned"})
    assert sampled.evaluation.sampling == "activity"
    first = protocol.windows(dataset, source, torch.arange(6), sampled)
    again = protocol.windows(
        dataset, source, torch.arange(3, 6), with_values(sampled, {"evaluation.pooling": "inverse"})
    )
    assert all(torch.equal(one[3:], two) for one, two in zip(first, again, strict=True))
    assert not ((first.top % 8).any() or (first.left % 8).any())
    assert first.weight.std() > 0.1
