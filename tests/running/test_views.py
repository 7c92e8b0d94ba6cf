"""What a study shows of its results."""

from __future__ import annotations

import pytest

from gada_ray.running import views


@pytest.mark.parametrize(("value", "text"), [(0.00012345, "0.000123"), (64, "64"), ("instance", "instance")])
def test_a_searched_value_is_shown_whatever_its_type(value, text):
    assert views.short(value) == text
