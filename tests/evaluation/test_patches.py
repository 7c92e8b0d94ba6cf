from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from gada_ray.config import DataConfig
from gada_ray.evaluation import generated, patches
from gada_ray.model.generator import ModulatedGenerator
from gada_ray.training.phases import build
from tests.toy import DISTORTIONS, tiny, toy_dataset, toy_source


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


@pytest.mark.parametrize("rows", [[0], [0, 1]], ids=["one image", "one class"])
def test_patches_of_a_test_part_with_one_class_hold_one_image(dataset, rows):
    held_out = torch.tensor(rows)
    arrays = shown(dataset, held_out)
    assert arrays["reference"].shape[0] == arrays["distortion"].shape[0] == arrays["quality"].shape[0] == 1
    assert arrays["requested"].shape == arrays["by_quality"].shape[:2] == (1, len(rows))


def shown(dataset, held_out):
    network = build(tiny(), len(DISTORTIONS), 3)
    assert isinstance(network.generator, ModulatedGenerator)
    file = patches.patches(network.generator, toy_source(dataset), dataset, held_out, DataConfig(crop_px=32))
    return np.load(io.BytesIO(file))


def test_generated_patches_are_for_the_qualities_of_real_ones_of_the_same_reference_and_window(dataset):
    held_out = torch.from_numpy(dataset.rows_of(["ref1", "ref4"]))[1:]  # one class of one reference has one image less
    arrays = shown(dataset, held_out)
    requested = arrays["requested"]
    assert requested.shape[0] == len(DISTORTIONS)
    assert (np.diff(requested, axis=1)[~np.isnan(requested[:, 1:])] > 0).all()
    for row, name in enumerate(arrays["distortion"]):
        first = dataset.images.index(str(arrays["image"][row]))
        same = (dataset.reference == dataset.reference[first]) & (dataset.distortion == dataset.distortion[first])
        of_class = np.sort(dataset.quality[[n for n in held_out.numpy() if same[n]]])
        assert DISTORTIONS[dataset.distortion[first]] == name
        assert np.array_equal(requested[row][~np.isnan(requested[row])], of_class[: patches.SHOWN])
        # The image of Figure 1 is one of them, in the same window.
        place = int(np.flatnonzero(requested[row] == arrays["quality"][row])[0])
        assert np.array_equal(arrays["real_by_quality"][row, place], arrays["distorted"][row])
        assert np.array_equal(arrays["by_quality"][row, place], arrays["generated"][row])


class OnDevice(torch.Tensor):
    """A tensor with data that acts like one of a GPU: NumPy reads it after `cpu` alone."""

    def numpy(self, *, force=False):
        raise TypeError("can't convert a tensor of a device to NumPy")

    def cpu(self, memory_format=torch.preserve_format):
        return self.as_subclass(torch.Tensor)


def test_patches_of_a_device_are_copied_from_it(dataset, monkeypatch):
    held_out = torch.from_numpy(dataset.rows_of(["ref1"]))
    expected, triples = shown(dataset, held_out), generated.triples
    monkeypatch.setattr(patches, "triples", lambda *args: tuple(one.as_subclass(OnDevice) for one in triples(*args)))
    arrays = shown(dataset, held_out)
    assert all(np.array_equal(arrays[name], expected[name], equal_nan=name == "requested") for name in expected.files)
