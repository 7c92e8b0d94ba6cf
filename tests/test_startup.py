"""What is loaded when: an answer that needs no heavy library does not wait for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gada_ray.inference.scoring import save
from gada_ray.system import bytecode
from tests.toy import toy_scorer

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "pandas", "scipy", "optuna", "ray", "mlflow", "matplotlib", "sklearn", "skimage"}
REPORT = """
import atexit, json, os, runpy, sys
atexit.register(lambda: print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr))
sys.path.insert(0, os.getcwd())
sys.argv = sys.argv[1:]
if sys.argv[0] == '-m':
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
else:
    runpy.run_path(sys.argv[0], run_name='__main__')
"""


def loaded(*command: object, stdin: str = "") -> tuple[int, str, set[str]]:
    """Exit code and output of a command, and the heavy libraries that it had loaded at its end."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        input=stdin,
        env=environment,
    )
    *lines, modules = done.stderr.splitlines()
    return done.returncode, "\n".join([done.stdout, *lines]), HEAVY & set(json.loads(modules))


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (("tune.py", "--help"), 0, "--study"),
        (("tune.py", "--list"), 0, "patch_size"),
        (("tune.py",), 2, "--study is missing"),
        (("tune.py", "--no-such-option"), 2, "no-such-option"),
        (("tune.py", "--study", "patchsize"), 2, "unknown study 'patchsize'"),
        (("tune.py", "--study", "patch_size", "--preset", "big"), 2, "no preset 'big'"),
        (("tune.py", "--study", "phases", "--set", "data.batch=many"), 2, "data.batch"),
        (("tune.py", "--study", "learning_rates", "--set", "rates.generator=9"), 2, "rates.generator"),
        (("tune.py", "--study", "patch_size", "--dataset", "life"), 2, "unknown dataset 'life'"),
        (("tune.py", "--study", "patch_size", "--dataset", "live", "--data-root", "/nowhere"), 2, "/nowhere"),
        (("tune.py", "--study", "patch_size", "--splits", "/nowhere.json"), 2, "/nowhere.json"),
        (("tune.py", "--study", "patch_size", "--best", "--storage", "/nowhere"), 2, "mlflow.db"),
        (("-m", "gada_ray", "--help"), 0, "score"),
        (("-m", "gada_ray", "score", "--help"), 0, "--crops"),
        (("-m", "gada_ray", "score", "a.png"), 2, "Missing option '--model'"),
        (("-m", "gada_ray", "score", "no-images", "--model", "tests"), 2, "holds no model"),
        (("-m", "gada_ray", "score", "a.png", "--model", "/nowhere"), 2, "neither a folder nor a model URI"),
        (("-m", "gada_ray", "score", "a.png", "--model", "tests"), 2, "holds no model"),
        (("-m", "gada_ray", "score", "--model", "tests"), 2, "nothing to score"),
        (("-m", "gada_ray", "test", "--model", "tests", "--dataset", "life"), 2, "unknown dataset 'life'"),
        (("-m", "gada_ray", "check", "--dataset", "life"), 2, "unknown dataset 'life'; did you mean live?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_help_lists_and_refusals_load_no_heavy_library(command: tuple[str, ...], code: int, says: str) -> None:
    found, text, heavy = loaded(*command)
    assert (found, heavy) == (code, set()), text
    assert says in text


def test_a_gpu_that_is_not_there_is_refused_without_torch() -> None:
    hidden = (
        "import gada_ray.system.devices as d, sys; d._driver = lambda: False; print(d.count(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["0", "False"]


@pytest.mark.slow
def test_scoring_with_a_folder_loads_torch_and_nothing_else_that_is_heavy(tmp_path: Path) -> None:
    scorer = toy_scorer()
    save(tmp_path / "model", scorer.card, scorer.quality_network.state_dict())
    code, text, heavy = loaded("-m", "gada_ray", "score", tmp_path / "none.png", "--model", tmp_path / "model")
    assert code == 1 and "none.png" in text
    assert heavy <= {"torch"}


@pytest.mark.slow
def test_what_a_worker_loads_for_a_training_holds_no_search_and_no_tracking() -> None:
    others = {"mlflow", "optuna", "matplotlib", "skimage"}
    code = f"{bytecode.WORKER}; import sys; print(*({others} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []


def test_bytecode_is_kept_whatever_the_environment_says(tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import gada_ray.running, made_here"
    (tmp_path / "made_here.py").write_text("value = 1\n")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPYCACHEPREFIX", None)
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=ROOT, env=environment)
    assert list((tmp_path / "__pycache__").glob("made_here.*.pyc"))


def test_bytecode_of_packages_that_cannot_be_written_to_goes_to_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "unset me")
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    monkeypatch.setattr(bytecode, "compiled", lambda: False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    bytecode.enable_cache()
    assert sys.pycache_prefix == os.environ["PYTHONPYCACHEPREFIX"] == str(tmp_path / "gada-ray" / "bytecode")


def test_workers_modules_are_compiled_beside_other_work_only_where_nothing_did_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: commands.append(command))
    monkeypatch.setattr(bytecode, "compiled", lambda: True)
    bytecode.compile_for_workers()
    assert commands == []
    monkeypatch.setattr(bytecode, "compiled", lambda: False)
    bytecode.compile_for_workers()
    while not commands:
        time.sleep(0.01)
    assert commands == [[sys.executable, "-c", bytecode.WORKER]]
