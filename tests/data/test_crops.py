from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gada_ray.data.crops import CropSource, align, generator_for, seed_for
from gada_ray.data.sampling import sampler
from gada_ray.system import devices
from tests.toy import toy_dataset, toy_source


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


def test_crops_are_the_pixels_of_their_windows_for_images_of_differing_sizes(dataset):
    source = toy_source(dataset)
    images = torch.arange(len(dataset.references) + len(dataset))
    top, left = source.windows(images, 24, generator_for(1))
    crops = source.gather(images, top, left, 24)
    assert crops.shape == (len(images), 3, 24, 24)
    for number, crop in enumerate(crops):
        y, x = int(top[number]), int(left[number])
        expected = dataset.image(number)[y : y + 24, x : x + 24].transpose(2, 0, 1) / np.float32(255)
        np.testing.assert_array_equal(crop.numpy(), expected)


def test_pixels_too_large_for_a_gpu_stay_on_the_host_and_give_the_same_crops_from_pinned_memory(dataset, monkeypatch):
    source = toy_source(dataset)
    images = torch.arange(len(dataset))
    top, left = source.windows(images, 24, generator_for(1))
    expected = source.gather(images, top, left, 24)
    copied = []

    def to_device(tensor, device):
        copied.append((tensor.dtype, tuple(tensor.shape), device.type))
        return tensor

    monkeypatch.setattr(devices, "total_mb", lambda: 0.01)
    monkeypatch.setattr(devices, "to_device", to_device)
    on_host = CropSource(dataset, torch.device("cuda"))  # nothing is moved to the GPU, which does not exist here
    assert on_host.on_host and not source.on_host
    assert torch.equal(on_host.gather(images, top, left, 24), expected)
    assert copied == [(torch.uint8, (len(images), 24, 24, 3), "cuda")]
    assert on_host.pixels.data_ptr() == dataset.pixels.ctypes.data  # one copy, however many trials read it


@pytest.mark.parametrize("kind", ["uniform", "activity", "difference"])
def test_one_image_of_one_class_is_cropped_like_several(dataset, kind):
    first, labels = dataset.first + 1, ("images", "reference", "distortion", "score", "distortions")
    one = dataclasses.replace(
        dataset,
        shapes=dataset.shapes[:first],
        offsets=dataset.offsets[: first + 1],
        **{name: getattr(dataset, name)[:1] for name in labels},
    )
    source = toy_source(one)
    rows = torch.tensor([0])
    if kind == "uniform":
        top, left = source.windows(source.distorted(rows), 16, generator_for(3))
    else:
        draws = torch.tensor([0.5], dtype=torch.float64)
        top, left, _ = sampler(one, [0], kind, 16, 1, 1.0).windows(rows, draws)
    crops = source.gather(source.distorted(rows), top, left, 16)
    assert crops.shape == (1, 3, 16, 16)
    assert source.quality[rows].shape == source.distortion[rows].shape == (1,)


def test_an_image_and_its_reference_share_a_window(dataset):
    source = toy_source(dataset)
    rows = torch.arange(len(dataset))
    dark = rows[torch.from_numpy(dataset.distortion == 1)]
    top, left = source.windows(source.distorted(dark), 16, generator_for(2))
    distorted = source.gather(source.distorted(dark), top, left, 16)
    reference = source.gather(source.reference[dark], top, left, 16)
    for d, r in zip(distorted, reference, strict=True):
        factor = float(d.sum() / r.sum())
        assert factor < 1
        assert (d - factor * r).abs().max() < 1.5 / 255 * 2


@pytest.mark.parametrize(("aligned_fraction", "grid"), [(0.0, 1), (1.0, 8)])
def test_corners_lie_on_the_grid_inside_the_image_and_reach_both_borders(dataset, aligned_fraction, grid):
    source = toy_source(dataset)
    images = torch.zeros(4000, dtype=torch.int64)
    top, left = source.windows(images, 16, generator_for(3), aligned_fraction)
    height, width = (int(side) for side in dataset.shapes[0])
    for corner, side in ((top, height), (left, width)):
        assert (corner % grid == 0).all()
        assert corner.min() == 0
        assert corner.max() == (side - 16) // grid * grid


@pytest.mark.parametrize("aligned_fraction", [0.25, 0.5])
def test_a_fraction_of_the_corners_is_aligned_and_the_others_are_anywhere(dataset, aligned_fraction):
    source = toy_source(dataset)
    images = torch.zeros(8000, dtype=torch.int64)
    top, left = source.windows(images, 16, generator_for(3), aligned_fraction)
    height, width = (int(side) for side in dataset.shapes[0])
    assert min(top.min(), left.min()) >= 0 and top.max() <= height - 16 and left.max() <= width - 16
    on_grid = (top % 8 == 0) & (left % 8 == 0)
    # One unaligned crop in 64, or a few more in small images, is on the grid by chance.
    expected = aligned_fraction + (1 - aligned_fraction) / 64
    assert abs(float(on_grid.float().mean()) - expected) < 0.03
    offsets = torch.stack([top % 8, left % 8], dim=1)[~on_grid].unique(dim=0)
    assert len(offsets) == 63


def test_aligned_crops_are_moved_by_less_than_a_block_and_the_others_not_at_all():
    top, left = torch.tensor([0, 7, 8, 21]), torch.tensor([3, 16, 15, 30])
    which = torch.tensor([True, True, False, True])
    new_top, new_left = align(top, left, which)
    assert new_top.tolist() == [0, 0, 8, 16]
    assert new_left.tolist() == [0, 16, 15, 24]


def test_a_crop_as_large_as_the_image_is_the_image(dataset):
    source = toy_source(dataset)
    image = torch.tensor([0])
    side = int(dataset.shapes[0].min())
    top, left = source.windows(image, side, generator_for(4))
    assert source.gather(image, top, left, side).shape == (1, 3, side, side)


def test_seeds_depend_on_every_part_and_are_the_same_everywhere():
    assert seed_for("training", 0, 1) == 705956552042112438
    assert seed_for("evaluation", "jp2k/img3.bmp", 64) == 1680830563827221800
    parts: list[tuple[int | str, ...]] = [("a", 0), ("a", 1), ("b", 0), (0, "a"), ("a", 1, 1)]
    seeds = [seed_for(*each) for each in parts]
    assert len(set(seeds)) == len(seeds)


def test_pixels_may_be_read_only_memory(dataset):
    view = dataset.pixels[:]
    view.flags.writeable = False
    shared = dataclasses.replace(dataset, pixels=view)
    source = toy_source(shared)
    image = torch.tensor([1])
    assert source.gather(image, torch.tensor([0]), torch.tensor([0]), 16).isfinite().all()


@pytest.mark.parametrize("count", [1, 4, 9, 30])
def test_spread_crops_cover_an_image_more_evenly_than_random_ones_and_stay_inside(count):
    dataset = toy_dataset()
    source = toy_source(dataset)
    images = torch.full((count,), 3)
    top, left = source.spread(images, 16)
    height, width = (int(side) - 16 for side in source.shapes[3])
    assert top.min() >= 0 and left.min() >= 0 and top.max() <= height and left.max() <= width
    assert len({*zip(top.tolist(), left.tolist(), strict=True)}) == count
    if count == 30:
        for quarter in (top < height / 2, top >= height / 2, left < width / 2, left >= width / 2):
            assert 13 <= int(quarter.sum()) <= 17
    grid_top, grid_left = source.spread(images, 16, 8)
    assert (grid_top % 8 == 0).all() and (grid_left % 8 == 0).all()
