"""Whether a scene is known again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from gada_ray.evaluation import scenes
from tests.toy import toy_dataset


@pytest.fixture(scope="module")
def here() -> list[scenes.Scene]:
    photographs = {"astronaut": data.astronaut(), "coffee": data.coffee(), "cat": data.chelsea()}
    return [scenes.scene(name, image) for name, image in photographs.items()]


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    size = round(image.shape[1] * factor), round(image.shape[0] * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def test_the_same_pixels_a_crop_and_a_resized_crop_are_known_again_and_other_pictures_are_not(here) -> None:
    astronaut, coffee = data.astronaut(), data.coffee()
    there = {
        "same": astronaut,
        "crop": astronaut[60:444, 40:424],
        "resized crop": resized(coffee[20:380, 80:560], 0.6),
        "resized": resized(coffee, 0.4),
        "rocket": data.rocket(),
        "mirrored": np.ascontiguousarray(coffee[:, ::-1]),
    }
    found = scenes.shared(here, [scenes.scene(name, image) for name, image in there.items()])
    assert found == {"same": "astronaut", "crop": "astronaut", "resized crop": "coffee", "resized": "coffee"}


def test_pictures_without_features_are_known_again_by_their_pixels_alone() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    one, same, other = (scenes.scene(n, i) for n, i in (("one", flat), ("same", flat.copy()), ("other", flat + 1)))
    assert len(one.places) == 0
    assert scenes.shared([one], [same, other]) == {"same": "one"}
    assert not scenes.compared([one], [same, other])


def test_scenes_come_back_from_a_file(here) -> None:
    flat = scenes.scene("flat", np.zeros((8, 8, 3), np.uint8))
    back = scenes.from_bytes(scenes.to_bytes([flat, *here]))
    for one, other in zip([flat, *here], back, strict=True):
        assert (one.name, one.digest) == (other.name, other.digest)
        assert (one.places == other.places).all() and (one.features == other.features).all()


def test_scenes_of_a_dataset_are_its_references() -> None:
    dataset = toy_dataset()
    found = scenes.scenes(dataset, dataset.references[:2])
    assert [one.name for one in found] == ["ref0", "ref1"]
    assert scenes.shared(found, scenes.scenes(dataset, dataset.references)).keys() >= {"ref0", "ref1"}
