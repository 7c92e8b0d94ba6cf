"""The command `tune.py`: its options, messages and exit codes."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import shutil
import signal
import socket
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from PIL import Image

import tune
from gada_ray import DataConfig
from gada_ray.data.splits import Split, make_splits
from gada_ray.running import cluster, runner, session
from gada_ray.running.interrupt import Interruption
from gada_ray.running.lock import only_driver
from gada_ray.study import estimate, timing
from gada_ray.study.definition import StudyError, make_plan, selection
from gada_ray.study.inputs import Data
from gada_ray.study.settings import parse_settings
from gada_ray.study.virtual import Timeline, play
from gada_ray.tracking import models, runs
from studies.labels import PHOTOGRAPHS
from tests import inline
from tests.helpers_manifest import make_manifest

pytestmark = [
    pytest.mark.usefixtures("handlers"),
    # Inside MLflow's own code.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object, slots: int = 0
) -> tuple[int, str]:
    """Exit code and what was printed, with Ray out of reach; without `slots` nothing may be trained."""

    def connect(*_: object) -> int:
        assert slots, "training was about to start"
        return slots

    monkeypatch.setattr(cluster, "connect", connect)
    code, out, err = inline.command(monkeypatch, capsys, *arguments)
    return code, out + err


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object, says: tuple[str, ...]
) -> None:
    """Check that a command ends with exit code 2 and one message with these words."""
    code, text = command(monkeypatch, capsys, *arguments)
    assert code == 2, text
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, text
    for word in says:
        assert word in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), ("--study is missing", "patch_size")),
        (("--study", "patchsize"), ("unknown study 'patchsize'", "available", "did you mean patch_size?")),
        (("--study", "patch_size", "--preset", "big"), ("no preset 'big'", "smoke, small, paper")),
        (("--study", "patch_size", "--variant", "64px"), ("no variant '64px'", "did you mean 64 px?")),
        (("--study", "patch_size", "--dataset", "life"), ("unknown dataset 'life'", "live", "manifest")),
        (("--study", "patch_size", "--dataset", "live"), ("--data-root",)),
        (("--study", "patch_size", "--dataset", "live", "--data-root", "/nowhere"), ("/nowhere",)),
        (("--study", "patch_size", "--set", "data.crop=3"), ("unknown field 'data.crop'", "data.crop_px")),
        (("--study", "phases", "--set", "data.batch=many"), ("data.batch", "many")),
        (("--study", "phases", "--set", "data.batch"), ("--set needs", "data.batch")),
        (("--study", "patch_size", "--set", "data.crop_px=64"), ("varies data.crop_px itself",)),
        (("--study", "phases", "--set", "data.crop_px=36"), ("multiple of 8", "36")),
        (("--study", "phases", "--set", "data.crop_px=8"), ("at least 16", "8")),
        (("--study", "patch_size", "--splits", "0"), ("--splits", "0")),
        (("--study", "patch_size", "--splits", "/nowhere.json"), ("/nowhere.json",)),
        (("--study", "labels", "--extra-references", "/nowhere"), ("/nowhere", "no folder")),
        (
            ("--study", "labels", "--variant", "ranking of procedural + photographs, 10 labelled"),
            ("--extra-references",),
        ),
        (("--study", "patch_size", "--best"), ("there is no", "mlflow.db")),
        (("--study", "patch_size", "--simulate", "/nowhere.csv"), ("/nowhere.csv is not a table", "configuration")),
        (("--study", "patch_size", "--no-such-option"), ("no-such-option",)),
        (("--study", "patch_size", "--cpus-per-trial", "none"), ("cpus-per-trial",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_message_and_exit_code_2(monkeypatch, capsys, tmp_path, arguments, says):
    refused(monkeypatch, capsys, *arguments, "--storage", tmp_path, says=says)
    assert not any(tmp_path.iterdir()), "nothing may be written before the input is known to be good"


def test_a_gpu_that_is_not_there_is_refused_by_name(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    arguments = ("--study", "patch_size", "--preset", "smoke", "--gpus-per-trial", "0.5", "--storage", tmp_path)
    refused(monkeypatch, capsys, *arguments, says=("--gpus-per-trial 0.5", "no GPU"))


def test_compilation_on_a_cpu_is_refused_and_a_cpu_needs_no_deterministic_kernels(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    arguments = ("--study", "patch_size", "--preset", "smoke", "--storage", tmp_path)
    refused(monkeypatch, capsys, *arguments, "--compile", says=("--compile was requested", "--gpus-per-trial"))
    monkeypatch.setattr(session, "Session", lambda *_: SimpleNamespace(show_plan=lambda: None))
    code, text = command(monkeypatch, capsys, *arguments, "--plan", "--deterministic")
    assert code == 0 and "--deterministic changes nothing: trainings on a CPU" in text


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("missing", ("a_1.png",)),
        ("truncated", ("a_1.png",)),
        ("text", ("a_1.png",)),
        ("undeclared", ("scores.toml",)),
        ("small", ("64", "smallest")),
        ("few", ("at least 5 references",)),
    ],
)
def test_bad_data_is_one_message_with_the_file_and_exit_code_2(monkeypatch, capsys, tmp_path, damage, says):
    root = tmp_path / "data"
    make_manifest(root, references=3 if damage == "few" else 6, px=48 if damage == "small" else 80)
    image = root / "a_1.png"
    if damage == "missing":
        image.unlink()
    elif damage == "truncated":
        image.write_bytes(image.read_bytes()[:200])
    elif damage == "text":
        image.write_text("no image")
    elif damage == "undeclared":
        (root / "scores.toml").unlink()
    arguments = ("--study", "patch_size", "--preset", "smoke", "--dataset", "manifest", "--data-root", root)
    refused(monkeypatch, capsys, *arguments, "--storage", tmp_path / "runs", says=says)


def test_an_edited_result_is_named_and_nothing_is_trained(monkeypatch, capsys, tmp_path):
    code, _ = command(monkeypatch, capsys, "--study", "phases", "--preset", "smoke", "--plan", "--storage", tmp_path)
    assert code == 0
    dataset, splits = _demo()
    plan = make_plan("phases", tune.load_study("phases"), "smoke", "demo", {})
    from gada_ray.trials.run import Trial

    trial = Trial(plan.variants[0].config, splits[0].for_test(), 0, dataset.fingerprint)
    path = tmp_path / "trials" / trial.signature / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"format": 1')
    arguments = ("--study", "phases", "--preset", "smoke", "--storage", tmp_path)
    refused(monkeypatch, capsys, *arguments, says=(str(path), "cut off"))


@pytest.mark.parametrize("option", [(), ("--sync",)], ids=["run", "sync"])
def test_a_second_driver_of_a_study_on_one_storage_is_refused_by_the_name_of_the_first(
    monkeypatch, capsys, tmp_path, option
):
    make_manifest(tmp_path / "data")
    places = ("--dataset", "manifest", "--data-root", tmp_path / "data", "--storage", tmp_path / "runs")
    with only_driver(tmp_path / "runs", "normalisation"):
        refused(
            *(monkeypatch, capsys, "--study", "normalisation", "--preset", "smoke", *places, *option),
            says=("'normalisation' is being run", f"process {os.getpid()} on"),
        )
    assert not (tmp_path / "runs" / "mlflow.db").exists()


@pytest.mark.slow
def test_a_plan_prices_every_variant_and_trains_nothing(monkeypatch, capsys, tmp_path):
    arguments = ("--study", "patch_size", "--preset", "smoke", "--plan", "--storage", tmp_path)
    with only_driver(tmp_path, "patch_size"):  # which is no hindrance
        code, text = command(monkeypatch, capsys, *arguments)
    assert code == 0
    for words in ("32 px", "64 px", "probe", "2 trainings to do", "nothing was trained", "not human scores"):
        assert words in text
    assert "no training is done yet" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["locks", "plans"]


def test_a_plan_on_a_machine_without_a_gpu_says_that_its_times_are_of_the_cpu(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(timing, "probe", inline.constant)
    arguments = ("--study", "phases", "--preset", "paper", "--plan", "--storage", tmp_path)
    code, text = command(monkeypatch, capsys, *arguments)
    assert code == 0
    assert f"times are of the CPU of {socket.gethostname()}, which has no GPU" in text
    # Phase 1 is priced once for the three variants that it starts, and the baseline's first phase for two.
    assert "50 to do start from the weights of another" in text


@pytest.mark.slow
def test_a_spent_budget_ends_with_what_is_missing_and_the_next_run_takes_it_up(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(runner, "run", inline.train)
    monkeypatch.setattr(runs, "Tracker", MagicMock())
    monkeypatch.setattr(timing, "probe", inline.constant)
    monkeypatch.setattr(estimate, "WORTH_TIMING", 0.0)
    arguments = ("--study", "phases", "--preset", "smoke", "--storage", tmp_path)
    code, text = command(monkeypatch, capsys, *arguments, "--max-gpu-hours", "1e-9", slots=1)
    assert code == 75, text
    rows = {line.split("│")[1].strip(): line for line in text.split("What is missing")[1].splitlines() if "│" in line}
    assert len(rows) == 8
    assert sum(" 1 of 1 " in line for line in rows.values()) == 1
    assert "the budget of 1e-09 CPU-hours (--max-gpu-hours) is spent with 7 trainings to do" in text
    assert "so far" in text and "estimated" in text
    assert "nan" not in text

    code, text = command(monkeypatch, capsys, *arguments, "--plan")
    assert "1 training is done and not repeated (1 by this study)" in text
    code, text = command(monkeypatch, capsys, *arguments, slots=1)
    assert code == 0
    assert "missing" not in text
    assert "times as much" in text

    # A trial of another study that is the same is found by its signature.
    other = dataclasses.replace(tune.load_study("phases"), question="The same again?")
    monkeypatch.setattr(tune, "load_study", lambda name: other)
    monkeypatch.setattr(tune, "study_names", lambda: ["again"])
    code, text = command(monkeypatch, capsys, "--study", "again", *arguments[2:], "--plan")
    assert code == 0
    assert "8 trainings are done and not repeated (8 by study phases)" in text
    assert "0 trainings to do" in text


@pytest.mark.slow
def test_a_plan_prices_what_is_left_where_variants_are_done_by_another_study_and_start_from_its_weights(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(runner, "run", inline.train)
    monkeypatch.setattr(runs, "Tracker", MagicMock())
    monkeypatch.setattr(timing, "probe", inline.constant)
    arguments = ("--preset", "smoke", "--storage", tmp_path)
    # The other phases of "phases 1+2+3" are those of variants that the study of the generator does not have.
    code, text = command(monkeypatch, capsys, "--study", "phases", *arguments, slots=1)
    assert code == 0, text
    lines: list[Timeline] = []

    def kept_play(*of, **how):
        lines.append(play(*of, **how))
        return lines[-1]

    monkeypatch.setattr(session, "play", kept_play)
    code, text = command(monkeypatch, capsys, "--study", "generator", *arguments, "--plan", "--slots", 1)
    assert code == 0, text
    assert "3 trainings are done and not repeated (3 by study phases); 3 to do start from the weights" in text
    (kept,) = (tmp_path / "plans").glob("generator-*.json")
    variants = json.loads(kept.read_text())["variants"]
    assert {variant["variant"] for variant in variants if variant["source"]} == {
        *("reference itself", "procedural distortions", "real crops again")
    }
    # On one slot a study takes as long as its trainings without the phases that they share.
    (line,) = lines
    assert line.makespan == pytest.approx(3600 * sum(variant["device_hours"] for variant in variants))


@pytest.mark.slow
def test_the_study_of_labels_runs_with_photographs_and_refuses_those_that_show_a_test(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(runner, "run", inline.train)
    monkeypatch.setattr(runs, "Tracker", MagicMock())
    monkeypatch.setattr(timing, "probe", inline.constant)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_manifest(tmp_path / "data")
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.effect_noise((48, 40), 60).convert("RGB").save(photos / "one.png")
    few = [f"{method}, 10 labelled" for method in ("baseline", "GADA", PHOTOGRAPHS)]
    arguments = ("--study", "labels", "--preset", "smoke", "--dataset", "manifest", "--data-root", tmp_path / "data")
    options = (*(word for variant in few for word in ("--variant", variant)), "--extra-references", photos)
    code, text = command(monkeypatch, capsys, *arguments, *options, "--storage", tmp_path / "runs", slots=1)
    assert code == 0, text
    assert all(variant in text for variant in few)
    assert len(list((tmp_path / "runs" / "trials").iterdir())) == 3
    for letter in "abcdef":
        shutil.copy(tmp_path / "data" / f"{letter}.png", photos)
    refused(
        *(monkeypatch, capsys, *arguments, *options, "--storage", tmp_path / "others"),
        says=("must not show what is tested on", "(shows "),
    )
    assert not (tmp_path / "others").exists()


@pytest.mark.slow
def test_trainings_that_diverge_are_named_with_their_cause_and_not_tried_again(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(runner, "run", inline.train)
    monkeypatch.setattr(runs, "Tracker", MagicMock())
    monkeypatch.setattr(timing, "probe", inline.constant)
    make_manifest(tmp_path / "data")
    arguments = ("--study", "normalisation", "--preset", "smoke", "--dataset", "manifest", "--data-root")
    wild = ("--set", "rates.discriminator=1e30", "--set", "model.norm=none", "--storage", tmp_path / "runs")
    code, text = command(monkeypatch, capsys, *arguments, tmp_path / "data", *wild, slots=1)
    folders = sorted((tmp_path / "runs" / "trials").iterdir())
    code_again, again = command(monkeypatch, capsys, *arguments, tmp_path / "data", *wild)
    assert (code, code_again) == (1, 1), text + again
    for said in (text, again):
        assert said.count(": diverged (") >= 3 and "no longer finite" in said
        assert "no training of these variants has a score: none; mscn; both" in said
        assert "3 trainings have no score" in said and all(str(folder) in said for folder in folders)


def test_the_list_has_a_row_for_every_study_and_the_presets_of_one_that_is_named(monkeypatch, capsys):
    code, text = command(monkeypatch, capsys, "--list")
    rows = [line for line in text.splitlines() if line.split() and line.split()[0] in tune.study_names()]
    assert code == 0 and len(rows) == len(tune.study_names()) and len(text.splitlines()) < 2 * len(rows)
    code, text = command(monkeypatch, capsys, "--list", "--study", "phases")
    assert code == 0 and all(size.cost in text for size in tune.load_study("phases").presets.values())


def test_the_help_is_in_groups_has_three_examples_and_cuts_nothing(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    code, text = command(monkeypatch, capsys, "--help")
    assert code == 0 and "…" not in text
    assert [
        group for group in (tune.WHAT, tune.DATA, tune.RESOURCES, tune.BUDGET, tune.OUTPUT) if group not in text
    ] == []
    assert text.count("\n python tune.py --study") == 3


def test_the_list_shows_every_study_with_question_and_cost(monkeypatch, capsys):
    code, text = command(monkeypatch, capsys, "--list")
    assert code == 0
    flat = " ".join(text.replace("│", " ").split())
    for name in tune.study_names():
        assert name in flat
    assert {"patch_size", "learning_rates", "phase_lengths", "phases", "normalisation"} <= set(tune.study_names())
    assert {"paper_live", "paper_tid2013"} <= set(tune.study_names())


def test_a_signal_before_any_trial_says_how_to_resume(monkeypatch, capsys):
    monkeypatch.setattr(tune, "load_study", lambda name: os.kill(os.getpid(), signal.SIGTERM))
    code, text = command(monkeypatch, capsys, "--study", "patch_size")
    assert code == 75
    assert "run the same command to go on" in text


@pytest.mark.parametrize("name", tune.study_names())
def test_every_preset_of_every_study_makes_a_plan_and_fits_its_smoke_run(name):
    study = tune.load_study(name)
    assert {"smoke", "small", "paper"} <= set(study.presets)
    assert study.question.endswith("?")
    for preset, size in study.presets.items():
        plan = make_plan(name, study, preset, "demo", {})
        configs = [variant.config for variant in plan.variants]
        assert len({config.model_dump_json() for config in configs}) == len(configs) or size.space
        assert size.cost
        if preset == "smoke":
            assert max(config.steps for config in configs) <= 20


def test_the_papers_protocol_is_that_of_section_4_2():
    for name in ("paper_live", "paper_tid2013"):
        plan = make_plan(name, tune.load_study(name), "paper", "live", {})
        config = plan.variants[0].config
        assert plan.splits == 10
        assert (config.data.crop_px, config.data.batch, config.evaluation.crops) == (128, 64, 30)
        assert config.rates.discriminator == 1e-4
        assert {config.rates.generator, config.rates.classifier, config.rates.evaluator} == {5e-4}
        assert [phase.rate_factor for phase in config.phases] == [1.0, 0.1, 0.1]
        assert config.model.normalisation == "none"


def test_the_long_baseline_gets_the_steps_and_rates_of_all_three_phases():
    plan = make_plan("phases", tune.load_study("phases"), "small", "demo", {})
    variants = {variant.name: variant.config for variant in plan.variants}
    gada, baseline = variants["phases 1+2+3"], variants["baseline, all steps"]
    assert [phase.steps for phase in gada.phases] == [phase.steps for phase in baseline.phases]
    assert [phase.rate_factor for phase in gada.phases] == [phase.rate_factor for phase in baseline.phases]
    assert not baseline.uses_generator
    assert variants["phases 1+3"].steps == gada.steps


def test_a_setting_reaches_variants_that_are_a_function_of_the_base():
    plan = make_plan("phases", tune.load_study("phases"), "smoke", "demo", {"phases.gan.steps": 11})
    assert plan.variants[0].config.phases[0].steps == 11


def test_test_scores_cannot_be_searched_since_search_folds_hold_no_test_reference():
    split = make_splits([f"r{i}" for i in range(10)], 1)[0]
    fold = split.for_selection()
    assert not set(split.test) & (set(fold.train) | set(fold.held_out))


def test_a_foreign_split_file_without_validation_is_refused_for_a_search(monkeypatch, capsys, tmp_path):
    dataset, _ = _demo()
    names = list(dataset.references)
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"splits": [{"train": names[4:], "test": names[:4]}]}))
    arguments = ("--study", "learning_rates", "--preset", "smoke", "--splits", file, "--storage", tmp_path / "runs")
    refused(monkeypatch, capsys, *arguments, says=("validation references",))


def test_a_study_that_does_not_exist_lists_those_that_do():
    with pytest.raises(StudyError, match=r"available: .*phases"):
        tune.load_study("phase")


@pytest.mark.parametrize("error", [None, RuntimeError("no room\nfor it")])
def test_the_uri_of_the_best_model_is_printed_and_a_failure_to_log_it_is_a_message(monkeypatch, capsys, error):
    dataset, splits = _demo()
    config = make_plan("phases", tune.load_study("phases"), "smoke", "demo", {}).variants[0].config
    data = Data({selection(config): dataset}, {selection(config): splits})

    def publish(uri, search, store, distortions, scenes):
        if error:
            raise error
        assert distortions(config) == dataset.distortions
        return "models:/m-1"

    monkeypatch.setattr(models, "publish", publish)
    session.publish("sqlite:///none.db", MagicMock(), MagicMock(), data)
    printed = capsys.readouterr().out.strip()
    assert printed == ("the model is not logged: no room" if error else "model: models:/m-1")


def test_settings_are_json_or_text():
    assert parse_settings(["a.b=3", "c=true", "d=mscn", "e=[1, 2]"]) == {
        "a.b": 3,
        "c": True,
        "d": "mscn",
        "e": [1, 2],
    }


def _demo():
    from gada_ray.data import load_dataset

    dataset = load_dataset("demo", None, DataConfig())
    splits: tuple[Split, ...] = make_splits(dataset.references, 1, 0)
    return dataset, splits


@pytest.mark.slow
def test_a_study_without_a_score_has_no_report_and_says_so(monkeypatch, capsys, tmp_path):
    code, text = command(monkeypatch, capsys, "--study", "phases", "--preset", "smoke", "--sync", "--storage", tmp_path)
    assert code == 0, text
    (line,) = [line for line in text.splitlines() if "report" in line]
    assert line == "no report is made: no training has a score on test references yet"


@pytest.mark.slow
def test_runs_with_other_variants_have_reports_of_their_own(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(runner, "run", inline.train)
    monkeypatch.setattr(timing, "probe", inline.constant)
    arguments = ("--study", "phases", "--preset", "smoke", "--storage", tmp_path, "--variant", "baseline")
    both = (*arguments, "--variant", "phase 1")
    row = "\n| phase 1 | "
    code, first = command(monkeypatch, capsys, *both, slots=1)
    (page,) = tmp_path.glob("reports/phases-smoke-demo-*/report.md")
    assert code == 0 and row in page.read_text(), first
    made = page.stat().st_mtime_ns
    code, again = command(monkeypatch, capsys, *both)
    assert code == 0 and page.stat().st_mtime_ns == made, "made of the same"
    verdict = json.loads((page.parent / "verdict.json").read_text())["verdict"]
    assert verdict and all(line in first and line in again for line in verdict)
    command(monkeypatch, capsys, *arguments)
    (other,) = {*tmp_path.glob("reports/phases-smoke-demo-*/report.md")} - {page}
    assert row not in other.read_text()
    assert page.stat().st_mtime_ns == made and row in page.read_text()


@pytest.fixture
def trained_inline(monkeypatch, tmp_path):
    """Arguments of a small study that trains in this process, without MLflow."""
    monkeypatch.setattr(runner, "run", inline.train)
    monkeypatch.setattr(runs, "Tracker", MagicMock())
    monkeypatch.setattr(timing, "probe", inline.constant)
    make_manifest(tmp_path / "data")
    study = ("--study", "normalisation", "--preset", "smoke", "--dataset", "manifest", "--data-root", tmp_path / "data")
    return (*study, "--storage", tmp_path / "runs")


@pytest.mark.slow
def test_the_splits_of_a_file_are_counted_shown_and_logged_instead_of_the_presets(
    monkeypatch, capsys, tmp_path, trained_inline
):
    letters = "abcdef"
    splits = [{"train": [x for x in letters if x != one], "test": [one]} for one in "ab"]
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"splits": splits}))
    code, text = command(monkeypatch, capsys, *trained_inline, "--splits", file, "--plan")
    assert code == 0 and "2 splits, seed 0" in text and "6 trainings to do" in text
    logged = MagicMock()
    monkeypatch.setattr(session.Session, "_make_report", logged)
    code, text = command(monkeypatch, capsys, *trained_inline, "--splits", file, "--max-gpu-hours", 1e-9, slots=1)
    assert code == 75 and f"none, mscn, both on the splits of {file}" in text, text
    assert "0 of 2" in text and "1 splits" not in text
    assert "3 trainings of seconds" not in text, "what the preset's sentence says is not what runs"


def test_a_budget_without_gpus_counts_the_cpus_of_a_trial():
    this: Any = SimpleNamespace(
        _status=SimpleNamespace(hours=0.0, device_hours=0.5),
        resources=runner.Resources(cpus=4),
        _interruption=Interruption(),
        _lock=SimpleNamespace(lost=False),
    )
    for budget, over in ((1.9, True), (2.0, True), (2.1, False)):
        this.options = session.Options(max_gpu_hours=budget)
        assert session.Session._enough(this) is over
    assert session.Session._spent(this) == "the budget of 2.1 CPU-hours (--max-gpu-hours) is spent"


@pytest.mark.slow
def test_gpus_of_a_cluster_that_no_trial_uses_are_named(monkeypatch, capsys, trained_inline):
    monkeypatch.setattr(cluster, "gpus", lambda: 8.0)
    monkeypatch.setattr(session.Session, "_make_report", MagicMock())
    for options, said in (((), True), (("--gpus-per-trial", 0), False)):
        code, text = command(
            *(monkeypatch, capsys, *trained_inline, "--address", "10.0.0.1:6379", "--max-hours", 0, *options), slots=1
        )
        assert code == 75, text
        assert ("the cluster has 8 GPUs; --gpus-per-trial 1" in text) is said


class Full(io.StringIO):
    """A file on a full disk."""

    encoding = "ascii"

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_a_study_whose_output_cannot_be_written_goes_on_to_its_tables(monkeypatch, capsys, tmp_path, trained_inline):
    monkeypatch.setattr(sys, "stdout", Full())
    code, _ = command(monkeypatch, capsys, *trained_inline, slots=1)
    assert code == 0
    assert (tmp_path / "runs" / "tables" / "normalisation-smoke-data.csv").exists()
