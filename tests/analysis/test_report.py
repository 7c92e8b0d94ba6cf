"""Reports of small studies that were trained and written to MLflow."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from axe_core_python.selenium import Axe
from mlflow import MlflowClient

from analysis import load, page, report, tables
from analysis.plans import LoadError
from analysis.protocol import protocol
from gada_ray import TrainingConfig, direct
from gada_ray.data.splits import make_splits
from gada_ray.study import baselines
from gada_ray.study.contrasts import Contrast
from gada_ray.study.summary import ConfigurationRun, read_trial
from gada_ray.tracking import runs
from gada_ray.tracking.uri import PAGE
from gada_ray.trials.run import Trial, run_trial
from gada_ray.trials.store import Store
from tests import ui
from tests.toy import tiny, toy_dataset

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]
VARIANTS = {"batch 4": 4, "batch <8> & more": 8}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two variants on two splits: what is needed to write them to MLflow."""
    dataset, store = toy_dataset(), Store(tmp_path_factory.mktemp("trained"))
    entries = []
    for variant, batch in VARIANTS.items():
        config = tiny({"data.batch": batch})
        run = ConfigurationRun(
            study="toy", preset="smoke", dataset="toy", variant=variant, stage="test", number=0,
            values={"data.batch": batch}, config=config, splits=(0, 1), scheme="s", seed=0, question="Which batch?",
        )  # fmt: skip
        for split in make_splits(dataset.references, 2):
            result = run_trial(Trial(config, split.for_test(), 0, dataset.fingerprint), dataset, store)
            entries.append((run, store.folder(result.signature)))
    return store, entries


@pytest.fixture(scope="module")
def uri(trained, tmp_path_factory, database):
    place = database(tmp_path_factory.mktemp("tracked"))
    runs.sync(place, "toy", trained[1])
    return place


@pytest.fixture(scope="module")
def written(uri, tmp_path_factory):
    files = report.study_report(uri, "toy", tmp_path_factory.mktemp("report"), command="the command")
    return {path.name: path for path in files}


def test_a_report_has_the_scores_of_brisque_on_the_same_images_and_no_others(trained, database, tmp_path):
    place = database(tmp_path / "db")
    runs.sync(place, "toy", trained[1])
    assert load.read(place, "toy").brisque is None
    client = MlflowClient(tracking_uri=place)
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    study = client.create_run(experiment.experiment_id, tags={"kind": "study", "splits_hash": "s"})
    rows = [(0, 0.9, toy_dataset().fingerprint), (1, 0.8, toy_dataset().fingerprint), (0, 0.1, "other images")]
    frame = pd.DataFrame(rows, columns=["split", "srocc", "fingerprint"]).assign(plcc=0.5)
    frame.to_csv(tmp_path / baselines.FILE, index=False)
    client.log_artifact(study.info.run_id, str(tmp_path / baselines.FILE))
    files = {path.name: path for path in report.study_report(place, "toy", tmp_path / "out")}
    scores = pd.read_csv(files["scores-srocc.csv"])
    found = scores[(scores["variant"] == tables.BRISQUE) & (scores["distortion"] == "ALL")]
    assert found["mean"].tolist() == pytest.approx([0.85])
    by_split = pd.read_csv(files["splits.csv"]).set_index("variant")
    assert by_split.loc[[tables.BRISQUE]].to_numpy()[0] == pytest.approx([0.9, 0.8])
    assert {*VARIANTS, "image-blind baseline"} < set(by_split.index)
    assert pd.read_csv(files["brisque.csv"])["first"].tolist() == list(VARIANTS)


def test_a_folder_that_cannot_be_written_is_named(uri, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(page.PageError, match=r"reports, --out .*file/out, cannot be written \(Not a directory\)"):
        report.study_report(uri, "toy", tmp_path / "file/out")


class Page(HTMLParser):
    """Everything of a page that could be fetched, and whether its elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open: list[str] = []
        self.addresses, self.ids, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        for name, value in attributes:
            if name in ("href", "src", "xlink:href", "srcset", "data", "action", "poster"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_runs_hold_every_split_with_its_scores_and_baseline(uri, trained):
    runs = load.read(uri, "toy")
    assert runs.variants == list(VARIANTS)
    assert sorted(zip(runs.splits["variant"], runs.splits["split"], strict=True)) == [
        (variant, split) for variant in VARIANTS for split in (0, 1)
    ]
    stored = [trained[0].result(folder.name) for folder in (trained[0].root / "trials").iterdir()]
    for name in ("srocc", "image_blind_srocc", "plcc"):
        assert sorted(runs.splits[name]) == pytest.approx(sorted(r.metrics[name] for r in stored if r))
    assert runs.of_variants["batch 4"]["data.batch"] == 4


def test_curves_and_predictions_have_every_point_of_every_run(uri):
    runs = load.read(uri, "toy")
    curve, predictions = runs.curve("curve/srocc"), runs.predictions()
    assert set(curve["step"]) >= {6, 11, 15}
    assert len(curve.groupby(["variant", "split"])) == len(predictions.groupby(["variant", "split"])) == 4


def test_a_report_is_a_page_with_figures_and_tables_beside_it(written):
    figures = {"splits", "curves", "predictions", "distortions", "cost"}
    names = {"scores-srocc", "scores-plcc", "pairs-srocc", "pairs-plcc", "crop-draws", "generator", "cost"}
    names |= {"splits", "runs"}
    expected = {f"{name}.{suffix}" for name in figures for suffix in ("svg", "png")}
    expected |= {f"{name}.csv" for name in names}
    expected |= {"worst_images.png", "figure1.png", "generated_by_quality.png", "report.html", "report.md"}
    assert set(written) == expected
    folders = {".svg": "figures", ".png": "figures", ".csv": "tables"}
    top = written["report.html"].parent
    assert all(path.parent == top / folders.get(path.suffix, "") for path in written.values())
    for name, path in written.items():
        start = {".png": b"\x89PNG", ".svg": b"<?xml", ".html": b"<!doctype html>"}.get(path.suffix)
        assert path.read_bytes().startswith(start or b""), name
    scores = pd.read_csv(written["scores-srocc.csv"])
    assert set(scores["source"]) == {"this study", "baseline"}


def test_a_page_fetches_nothing_and_is_whole(written):
    text = written["report.html"].read_text()
    found = Page(text)
    fetched = [address for address in found.addresses if not address.startswith(("#", "data:"))]
    assert all(address.startswith(PAGE) for address in fetched), "links to runs, on a click"
    assert text.count(PAGE + "/#/") == text.count(f'<a href="{PAGE}/#/') == 4
    assert "src=" not in text.replace('src="data:', "") and "@import" not in text and "fetch(" not in text
    assert not re.search(r"url\((?!#)", text)
    assert len(found.ids) == len(set(found.ids))
    assert {address[1:] for address in found.addresses if address.startswith("#")} <= set(found.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(found.ids)


def test_a_page_says_question_verdict_labels_and_protocol_and_escapes_names(written):
    text = written["report.html"].read_text()
    words = " ".join("".join(Page(text).text).split())
    for expected in (
        "Which batch?",
        "batch <8> & more",
        "strength of the distortion",
        "the command",
        "2 splits",
        "Recipe: ",
    ):
        assert expected in words
    assert "batch <8>" not in text
    for name in (
        "Fingerprint",
        "Hash of the splits",
        "Undistorted copies",
        "Crops in the test",
        "Selection",
        "Versions",
    ):
        assert name in words


@pytest.fixture(scope="module")
def driver():
    with ui.browser() as one:
        yield one


@pytest.mark.skipif(not (ui.BROWSER and ui.DRIVER), reason="chromium and chromedriver are not installed")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_finds_nothing_to_complain_of_on_a_page_from_the_disk(written, driver, theme, width):
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    theme_of_people = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", theme_of_people)
    for kind in ("browser", "performance"):
        driver.get_log(kind)  # empties it
    driver.get(written["report.html"].as_uri())

    assert driver.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    fetched = {m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"}
    assert {address.split(":")[0] for address in fetched} <= {"file", "data"}
    assert sum(address.startswith("file:") for address in fetched) == 1
    assert driver.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches") == (theme == "dark")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    driver.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = Axe().run(driver)
    assert found["passes"]
    assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found["violations"]] == []


@pytest.mark.skipif(not (ui.BROWSER and ui.DRIVER), reason="chromium and chromedriver are not installed")
def test_the_first_screen_has_question_answer_and_figure_and_links_scroll_inside_mlflows_frame(
    written, driver, tmp_path
):
    screen = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    driver.get(written["report.html"].as_uri())
    for part in ("h1", ".verdict", "#figure-splits", "nav"):
        ends = "return document.querySelector(arguments[0]).getBoundingClientRect()"
        assert driver.execute_script(ends, part)["bottom"] <= 800, part
    assert not driver.execute_script("return document.getElementById('protocol').open")
    page = html.escape(written["report.html"].read_text())
    frame = f'<iframe sandbox="allow-scripts" width="1200" height="700" srcdoc="{page}"></iframe>'
    (tmp_path / "viewer.html").write_text(f"<!doctype html><meta charset=utf-8>{frame}")
    driver.get((tmp_path / "viewer.html").as_uri())
    driver.switch_to.frame(0)
    driver.execute_script("document.querySelector('nav a[href=\"#protocol\"]').click()")
    assert driver.execute_script("return document.getElementById('protocol').open && scrollY > 500")
    driver.switch_to.default_content()


@pytest.mark.skipif(not (ui.BROWSER and ui.DRIVER), reason="chromium and chromedriver are not installed")
def test_on_a_phone_the_decisive_column_is_seen_tables_say_that_they_scroll_and_figures_fit(written, driver):
    screen = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    driver.get(written["report.html"].as_uri())
    sides = "return [...document.querySelectorAll(arguments[0])].map((one) => one.getBoundingClientRect().right)"
    assert max(driver.execute_script(sides, "section .table td:nth-child(2)")) <= 400
    assert max(driver.execute_script(sides, "figure svg, figure img")) <= 400
    wide = (
        "return [...document.querySelectorAll('section .table')].filter((one) => one.scrollWidth > one.clientWidth + 1)"
    )
    shown = ".map((one) => getComputedStyle(one.nextElementSibling).display)"
    found = driver.execute_script(wide + shown)
    assert found and set(found) == {"block"}


def test_figures_follow_the_theme_of_the_page_and_stand_alone_as_files(written):
    text, file = written["report.html"].read_text(), written["splits.svg"].read_text()
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert "fill: var(--ink)" in text and "#222222" in file and "var(" not in file


def test_the_same_runs_give_the_same_files(uri, written, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    again = {path.name: path for path in report.study_report(uri, "toy", tmp_path, command="the command")}
    for name, path in written.items():
        if name != "report.html":
            assert again[name].read_bytes() == path.read_bytes(), name
    assert "1970-01-01" in again["report.html"].read_text()


def test_a_variant_that_was_run_twice_is_refused_with_the_way_to_choose(trained, uri):
    one = [entry for entry in trained[1] if entry[0].variant == "batch 4"]
    fewer = [(replace(run, scheme="t", splits=(0,)), folder) for run, folder in one[:1]]
    runs.sync(uri, "twice", [*one, *fewer])
    with pytest.raises(LoadError, match=r"'batch 4' of study 'twice' .* in 2 configurations") as refused:
        load.read(uri, "twice")
    assert {"--where splits=1", "--where splits=2"} <= set(re.split(r" or |; |choose with ", str(refused.value)))
    assert load.read(uri, "twice", where={"splits": "1"}).splits["split"].tolist() == [0]
    other_seed = [(replace(run, seed=3), folder) for run, folder in one]
    runs.sync(uri, "twice", other_seed)
    with pytest.raises(LoadError, match=r"several values of seed.* --where seed=0 or --where seed=3"):
        load.read(uri, "twice")
    assert len(load.read(uri, "twice", where={"seed": "3"}).splits) == 2


def test_trials_that_mlflow_lacks_are_counted_so_that_no_report_is_made_of_a_part(trained, uri):
    """A report of a part, kept as the study's, would be shown in place of the whole one's."""
    runs.sync(uri, "part", trained[1][:3])
    trials = [(run, read_trial(folder)) for run, folder in trained[1]]
    assert runs.missing(uri, "part", trials) == 1
    assert runs.missing(uri, "toy", [(replace(run, study="toy"), trial) for run, trial in trials]) == 0


def test_variants_with_few_labelled_images_get_a_figure_and_are_named_in_the_protocol(tmp_path):
    dataset, store = toy_dataset(), Store(tmp_path / "store")
    variants: dict[str, dict[str, object]] = {
        f"{method}, {number or 'all'} labelled": {**values, "data.labelled_images": number}
        for number in (6, None)
        for method, values in (("batch 4", {}), ("batch 8", {"data.batch": 8, "rates.discriminator": 1e-3}))
    }
    contrast = Contrast("batch 8, 6 labelled", "batch 4, 6 labelled", "Are larger batches better for few?")
    entries = []
    # The last is trained first: the report has the study's order.
    for number, (variant, values) in reversed(list(enumerate(variants.items()))):
        config = tiny({**values, "evaluation.curve_points": 0}, direct_only())
        run = ConfigurationRun(
            study="few", preset="smoke", dataset="toy", variant=variant, stage="test", number=0, values=values,
            config=config, splits=(0, 1), scheme="s", seed=0, contrasts=(contrast,), place=number,
        )  # fmt: skip
        for split in make_splits(dataset.references, 2):
            result = run_trial(Trial(config, split.for_test(), 0, dataset.fingerprint), dataset, store)
            entries.append((run, store.folder(result.signature)))
    place = runs.default_uri(tmp_path)
    runs.sync(place, "few", entries)
    files = {path.name: path for path in report.study_report(place, "few", tmp_path / "out")}
    table = pd.read_csv(files["labelled.csv"])
    found = zip(table["method"], table["labelled"], table["difference"].notna(), strict=True)
    assert sorted(found) == [(f"batch {n}", labelled, n == 8) for n in (4, 8) for labelled in (6, 45)]
    words = " ".join("".join(Page(files["report.html"].read_text()).text).split())
    assert "6, chosen reference by reference (batch 4, 6 labelled, batch 8, 6 labelled)" in words
    assert list(pd.read_csv(files["scores-srocc.csv"])["variant"].drop_duplicates())[:4] == list(variants)
    assert "all of the training part" in words
    assert {"labelled.svg", "labelled.png", "contrasts-srocc.csv"} <= set(files)
    protocol = files["report.md"].read_text().split("| protocol |")[1]
    assert protocol.count("; discriminator 0.001") == 1 and all(line.endswith("|") for line in protocol.splitlines())


def direct_only():
    return TrainingConfig(phases=(direct(6),))


def test_one_split_gives_a_report_that_is_inconclusive(trained, uri, tmp_path):
    runs.sync(uri, "short", [entry for number, entry in enumerate(trained[1]) if number % 2 == 0])
    made = report.make(load.read(uri, "short"))
    assert made.verdict[0].conclusion == "Inconclusive"
    files = {path.name for path in page.write(made, tmp_path / "out")}
    assert not {"pairs-srocc.csv"} & files and "splits.csv" in files


def test_a_report_answers_the_contrasts_of_its_study_and_calls_all_else_exploratory(trained, uri, tmp_path):
    contrast = Contrast("batch <8> & more", "batch 4", "Are batches of eight & more better?")
    entries = [(replace(run, contrasts=(contrast,)), folder) for run, folder in trained[1]]
    runs.sync(uri, "asked", trained[1])
    runs.sync(uri, "asked", entries)  # named later: the same runs
    assert load.read(uri, "asked").contrasts == (contrast,)
    told: list[str] = []
    files = {path.name: path for path in report.study_report(uri, "asked", tmp_path, tell=told.append)}
    assert {"contrasts-srocc.csv", "contrasts-plcc.csv", "contrasts.svg"} <= set(files)
    assert not {"pairs-srocc.csv", "pairs-plcc.csv"} & set(files)
    text, ranking = told
    assert ranking.startswith("Mean test SROCC over 2 splits: ")
    assert text.startswith(contrast.question) and text in files["report.md"].read_text()
    words = " ".join("".join(Page(files["report.html"].read_text()).text).split())
    assert text in words and "Contrasts by SROCC" in words and "splits required for 0.01" in words
    table = pd.read_csv(files["contrasts-srocc.csv"])
    assert list(table[["first", "second", "n"]].iloc[0]) == ["batch <8> & more", "batch 4", 2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"study": "tyo"}, r"no study 'tyo'; available: .*toy"),
        ({"study": "toy", "dataset": "LIVE"}, "no finished test runs of study 'toy', dataset 'LIVE'"),
        ({"study": "toy", "where": {"sead": "1"}}, "a field 'sead'; nearest: .*seed"),
        ({"study": "toy", "where": {"seed": "9"}}, "has seed '9'; available: 0"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(uri, arguments, says):
    with pytest.raises(LoadError, match=says):
        load.read(uri, **arguments)


def test_a_store_that_is_not_there_is_named_and_not_made(tmp_path):
    with pytest.raises(LoadError, match="no MLflow file"):
        load.read(f"sqlite:///{tmp_path / 'mlflow.db'}", "toy")
    assert not any(tmp_path.iterdir())


def test_the_command_ends_with_one_message_and_exit_code_2(uri):
    arguments = ["report", "--study", "tyo", "--tracking-uri", uri]
    done = subprocess.run(
        [sys.executable, "-m", "analysis", *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "error: " in done.stderr and "available" in done.stderr and "Traceback" not in done.stderr


def test_analysis_loads_neither_torch_nor_ray():
    code = "import sys, analysis.__main__, analysis.report; sys.exit(any(n in sys.modules for n in ('torch', 'ray')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_protocol_of_images_without_references_speaks_of_groups(uri):
    runs = load.read(uri, "toy")
    with_references = protocol(runs)
    assert (
        "references for training and test" in with_references["Splits"] and "references" in with_references["Dataset"]
    )
    without = protocol(replace(runs, splits=runs.splits.assign(divided_by="group")))
    assert without["Splits"].startswith("2, by group; ") and "references" not in without["Splits"]
    assert "images without references in " in without["Dataset"]
