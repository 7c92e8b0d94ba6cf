"""Numbers, names and lines as people read them."""

from __future__ import annotations

import pytest

from gada_ray.running import words


def test_one_thing_is_singular():
    assert [words.count(number, "split") for number in (0, 1, 2)] == ["0 splits", "1 split", "2 splits"]


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0, "0 min"), (4.1e-5, "<1 min"), (0.02, "1 min"), (0.5, "30 min"), (3.44, "3.4 h"), (1234, "1,234 h")],
)
def test_device_time_has_the_unit_of_its_size(hours, text):
    assert words.device_time(hours) == text


def test_names_with_commas_are_separated_by_semicolons():
    assert words.names(["16 px", "32 px"]) == "16 px, 32 px"
    assert words.names(["baseline, all steps", "phase 1"]) == "baseline, all steps; phase 1"


def test_words_are_not_broken_and_paths_stay_whole():
    path = "/a/very/long/path/of-a-table/with-hyphens.csv"
    text = words.wrap(f"demo data of thirty pictures\ntable: {path}", 20)
    assert text.split("\n") == ["demo data of thirty", "pictures", "table:", path]
