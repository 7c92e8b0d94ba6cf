"""What a study shows of its results."""

from __future__ import annotations

from pathlib import Path

import pytest

from gada_ray.running import views
from gada_ray.study.definition import make_plan
from gada_ray.tracking.uri import default_uri, option
from tests.study.test_search import study


@pytest.mark.parametrize(("value", "text"), [(0.00012345, "0.000123"), (64, "64"), ("instance", "instance")])
def test_a_searched_value_is_shown_whatever_its_type(value, text):
    assert views.short(value) == text


def test_commands_that_are_printed_name_an_mlflow_that_is_not_found_by_itself_and_no_password(capsys, tmp_path):
    plan = make_plan("toy", study({"a": {}}), "smoke", "manifest", {})
    views.show_next(plan, "models:/m-1", f"sqlite:///{tmp_path}/mlflow.db")
    assert f"--model models:/m-1 --tracking-uri sqlite:///{tmp_path}/mlflow.db" in capsys.readouterr().out
    views.show_next(plan, "models:/m-1", default_uri(Path("runs")))
    assert "--tracking-uri" not in capsys.readouterr().out
    assert option("https://me:secret@lab:5000") == " --tracking-uri https://lab:5000"
