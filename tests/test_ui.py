"""MLflow's pages show a study's results, followed from the first page on, click by click, in a real browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mlflow import MlflowClient

from gada_ray.study.definition import make_plan
from gada_ray.study.summary import configuration_key, read_trial
from gada_ray.tracking import runs
from tests import ui
from tests.study.test_search import study
from tests.tracking.test_runs import configuration, write_trial

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.mark.slow
@pytest.mark.skipif(not (ui.BROWSER and ui.DRIVER), reason="chromium and chromedriver are not installed")
def test_verdict_variants_searches_curves_and_predictions_are_a_few_clicks_from_the_first_page(tmp_path, database):
    uri = database(tmp_path)
    entries = []
    for number, variant in enumerate(("32 px", "64 px")):
        of = configuration("sizes", variant=variant, splits=(0, 1), preset="smoke")
        entries += [
            (of, write_trial(tmp_path / variant, split, 0.7 + 0.05 * number + 0.003 * split)) for split in (0, 1)
        ]
    for number, rate in enumerate((1e-4, 1e-3)):
        values = {"rates.generator": rate, "rates.evaluator": 2 * rate}
        of = configuration(
            "sizes", variant="64 px", stage="search", number=number, values=values, splits=(0,), preset="smoke"
        )
        of = replace(
            of, config=of.config.model_copy(update={"rates": of.config.rates.model_copy(update={"generator": rate})})
        )
        entries.append((of, write_trial(tmp_path / f"search {number}", 0, 0.6 + 0.1 * number)))
    runs.sync(uri, "sizes", entries)
    plan = make_plan(
        "sizes", study(variants={"32 px": {}, "64 px": {"data.batch": 8}}), "smoke", "manifest", {}, seed=7
    )
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<h1>The report of sizes</h1>")
    keys = {configuration_key(of, read_trial(folder)) for of, folder in entries}
    verdict = ["64 px is better than 32 px: Δ SROCC +0.050."]
    runs.log_study(uri, plan, "s1", ["f"], keys, tmp_path / "report", over=True, verdict=verdict)

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("sizes")
    assert experiment is not None
    place = experiment.experiment_id
    (of_study,) = client.search_runs([place], "tags.kind = 'study'")
    variants = client.search_runs([place], "tags.kind = 'configuration' and tags.stage = 'test'")
    candidates = client.search_runs([place], "tags.kind = 'configuration' and tags.stage = 'search'")
    assert (len(variants), len(candidates)) == (2, 2)
    splits = client.search_runs([place], f"tags.`mlflow.parentRunId` = '{variants[0].info.run_id}'")
    with ui.served(uri) as address, ui.browsing(address, "sizes") as pages:
        ui.banner(pages, verdict[0])
        ui.variants_side_by_side(pages, variants)
        ui.table_of_variants(pages, variants)
        ui.without_saved_view(pages, of_study, variants)
        ui.report(pages, "The report of sizes")
        ui.parallel_coordinates(pages, of_study, "64 px", candidates)
        ui.learning_curves(pages, variants[0], splits)
        ui.predictions(pages, variants[0], splits[0], "0.bmp")
