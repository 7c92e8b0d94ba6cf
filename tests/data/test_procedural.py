from __future__ import annotations

import itertools

import numpy as np
import pytest

from gada_ray.data import DataError, csiq, kadid10k, live, prepared, tid2013
from gada_ray.data.demo_images import WITH_LOCAL
from gada_ray.data.prepared import STRENGTHS, prepare
from gada_ray.data.procedural import KADID10K, NAMED, TID2013, find, lab, ordered, procedures, rgb_of_lab

EVERY = list({id(one): one for one in (*TID2013.values(), *KADID10K.values(), *NAMED.values())}.values())


def picture(seed: int = 0, height: int = 96, width: int = 128) -> np.ndarray:
    """Smooth shapes in colour, with edges and a little texture."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / random.uniform(6, 20) + columns / random.uniform(6, 20) + c) for c in range(3)]
    image = 128 + 50 * np.stack(waves, axis=-1)
    image[24:64, 40:90] = (200, 90, 60)
    return np.clip(image + random.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def error(procedure, strength, images, seed=3):
    made = [procedure.distort(image, strength, seed + n).astype(float) for n, image in enumerate(images)]
    return np.mean([np.square(one - image).mean() for one, image in zip(made, images, strict=True)])


@pytest.mark.parametrize("procedure", EVERY, ids=lambda one: one.name)
def test_the_squared_error_grows_with_the_strength_from_nothing_and_is_the_same_again(procedure):
    images = [picture(seed, 192, 256) for seed in range(3)]
    errors = [error(procedure, step / 5, images) for step in range(6)]
    assert errors[0] == 0 and errors[1] > 0
    # Local distortions of few places, and rounding, may be equal at neighbouring strengths.
    assert all(more >= 0.85 * less for less, more in itertools.pairwise(errors)), errors
    assert errors[5] > 1.5 * errors[1]
    one, again, other = (procedure.distort(images[0], 0.7, seed) for seed in (5, 5, 6))
    assert one.dtype == np.uint8 and one.shape == images[0].shape and np.array_equal(one, again)
    assert images[0].flags.writeable and np.array_equal(images[0], picture(0, 192, 256)) and other.shape == one.shape


def test_the_parameter_is_a_level_at_five_strengths_and_interpolated_between_them():
    jpeg = TID2013[10]
    assert [jpeg.parameter(step / 5) for step in range(6)] == pytest.approx([100, 80, 60, 23, 8, 4])
    assert jpeg.parameter(0.5) == pytest.approx((60 + 23) / 2) and jpeg.parameter(0.1) == pytest.approx(90)
    with pytest.raises(ValueError, match=r"strength must be in \[0, 1\], got 1.1"):
        jpeg.distort(picture(), 1.1, 0)


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_levels_of_the_noises_of_tid2013_have_the_psnr_of_its_rule(number, level):
    grey = np.full((128, 128, 3), 128, np.uint8)
    psnr = 10 * np.log10(255**2 / error(TID2013[number], (level + 1) / 5, [grey]))
    assert psnr == pytest.approx(33 - 3 * level, abs=0.3)


def test_every_class_of_the_databases_has_the_procedure_of_its_number_but_those_that_are_named():
    for names, database, table, without in (
        (tid2013.DISTORTIONS, "TID2013", TID2013, {"13_jpeg2000_transmission", "20_comfort_noise"}),
        (kadid10k.DISTORTIONS, "KADID-10k", KADID10K, set()),
    ):
        for number, name in enumerate(names, 1):
            assert find(name, database) is table.get(number)
            assert find(f"{number:02d}", database.lower() + " subset") is table.get(number)
        assert {name for name in names if find(name, database) is None} == without
    assert [name for name in live.DISTORTIONS if find(name, "LIVE release 2") is None] == ["ff"]
    assert all(find(name, "CSIQ") for name in csiq.DISTORTIONS) and all(find(name, "demo") for name in WITH_LOCAL)
    assert ordered(["contrast"], "CSIQ") == (True,) and ordered(["contrast"], "mine") == (False,)
    assert find("JPEG 2000", "mine") is find("jp2k", "live20") and find("Gaussian blur", "x") is find("gblur", "y")


def test_a_class_without_a_procedure_is_refused_by_name_and_a_number_without_a_database_is_nobodys():
    with pytest.raises(DataError, match=r"LIVE release 2: no procedure distorts as ff \(there is one for: jp2k, jpeg"):
        procedures(live.DISTORTIONS, "LIVE release 2")
    assert [one is None for one in procedures(live.DISTORTIONS, "LIVE release 2", skip=True)] == [False] * 4 + [True]
    assert find("07", "mine") is None and find("25", "TID2013") is None and find("motion", "mine") is None
    with pytest.raises(DataError, match="no procedure distorts as unspecified"):
        procedures(["unspecified"], "mine", skip=True)


def test_only_classes_that_change_in_both_directions_have_no_order():
    without = {name for name in tid2013.DISTORTIONS if not ordered([name], "TID2013")[0]}
    assert without == {"16_mean_shift", "17_contrast"}
    without = {name for name in kadid10k.DISTORTIONS if not ordered([name], "KADID-10k")[0]}
    assert without == {"18_mean_shift", "25_contrast"}


def test_lab_is_that_of_another_implementation_and_comes_back():
    from skimage.color import rgb2lab

    image = picture().astype(float)
    np.testing.assert_allclose(lab(image), rgb2lab(image / 255), atol=0.05)
    np.testing.assert_allclose(rgb_of_lab(lab(image)), image, atol=1e-3)


@pytest.fixture
def chosen():
    return [TID2013[1], TID2013[17], TID2013[10]]


def test_prepared_pictures_are_those_of_the_procedures_and_made_once(tmp_path, monkeypatch, chosen):
    images = [picture(0), picture(1, 80, 200)]
    made = prepare(images, chosen, tmp_path, 32)
    assert made.ordered == (True, False, True) and made.pictures.tolist() == [0, 1]
    assert len(made.shapes) == 2 * 3 * (STRENGTHS + 1) and made.offsets[-1] == len(made.pixels)
    for number, image in enumerate(images):
        for place, procedure in enumerate(chosen):
            for step in range(STRENGTHS + 1):
                at = (number * 3 + place) * (STRENGTHS + 1) + step
                pixels = made.pixels[made.offsets[at] : made.offsets[at + 1]].reshape(*made.shapes[at], 3)
                assert np.array_equal(pixels, procedure.distort(image, step / STRENGTHS, number))
    monkeypatch.setattr(prepared, "_write", lambda *_: pytest.fail("made again"))
    again = prepare(images, chosen, tmp_path, 32, workers=2)
    assert np.array_equal(again.pixels, made.pixels)


def test_other_pictures_or_procedures_are_another_file_and_half_a_file_is_made_again(tmp_path, chosen):
    prepare([picture(0)], chosen, tmp_path, 32)
    prepare([picture(1)], chosen, tmp_path, 32)
    prepare([picture(0)], chosen[:2], tmp_path, 32)
    files = sorted((tmp_path / "procedural").glob("*.uint8"))
    assert len(files) == 3
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:100])
    for images, some in (([picture(0)], chosen), ([picture(1)], chosen), ([picture(0)], chosen[:2])):
        prepare(images, some, tmp_path, 32, workers=2)
    assert files[0].read_bytes() == whole
    assert not [path for path in files[0].parent.iterdir() if path.name.startswith(".")]


def test_pictures_are_cut_to_their_centre_and_left_out_where_the_budget_says_so(tmp_path, monkeypatch, chosen):
    monkeypatch.setattr(prepared, "BUDGET", 3 * 3 * (STRENGTHS + 1) * 2 * 48**2)
    monkeypatch.setattr(prepared, "SMALLEST_PX", 40)
    image = picture()
    made = prepare([image, image], chosen, tmp_path, 32)
    assert made.shapes.tolist() == [[48, 48]] * len(made.shapes)
    assert np.array_equal(made.pixels[: made.offsets[1]].reshape(48, 48, 3), image[24:72, 40:88])
    made = prepare([picture(seed) for seed in range(6)], chosen, tmp_path, 32)
    assert len(made.pictures) == 2 and made.pictures.tolist() == [0, 3]
    assert len(made.pixels) <= prepared.BUDGET
    made = prepare([picture(seed) for seed in range(6)], chosen, tmp_path, 32, every=True)
    assert len(made.pictures) == 6 and made.shapes[0].tolist() == [40, 40]


def test_what_cannot_be_prepared_is_refused(tmp_path, chosen):
    with pytest.raises(DataError, match="pictures of at least 112x112 pixels"):
        prepare([picture()], chosen, tmp_path, 112)
    with pytest.raises(DataError, match="at least one picture"):
        prepare([], chosen, tmp_path, 16)
    (tmp_path / "procedural").write_text("a file")
    with pytest.raises(DataError, match="cannot be kept there"):
        prepare([picture()], chosen, tmp_path, 16)
