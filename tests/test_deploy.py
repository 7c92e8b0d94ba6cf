"""Files of deploy/ are what the tools that read them accept, and commands of docs/cluster.md exist."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from packaging.version import Version

import tune
from gada_ray.trials.store import Store

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
CLUSTER = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
JOB = yaml.safe_load((DEPLOY / "kuberay-rayjob.yaml").read_text())
PAGE = (ROOT / "docs" / "cluster.md").read_text()
OPTIONS = {name for parameter in typer.main.get_command(tune.app).params for name in parameter.opts}


def locked(name: str) -> str:
    found = re.search(rf"^{name}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]


def commands(text: str) -> list[list[str]]:
    """Every command line of a page's console blocks that a `$` begins, continuations joined."""
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [shlex.split(line[2:], comments=True) for line in blocks.splitlines() if line.startswith("$ ")]


def options_of_tune(words: list[str]) -> dict[str, str | None]:
    """Options after tune.py with their values."""
    words = words[words.index("tune.py") + 1 :]
    values = [*words[1:], None]
    return {word: value for word, value in zip(words, values, strict=True) if word.startswith("--")}


TUNE_COMMANDS = [words for words in commands(PAGE) if "tune.py" in words] + [shlex.split(JOB["spec"]["entrypoint"])]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_ray_accepts_the_cluster_of_ray_up(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(CLUSTER)
    validate_config(prepared)
    assert set(CLUSTER) <= set(prepared)
    assert not any(
        "pip install" in line for name in prepared if name.endswith("setup_commands") for line in prepared[name]
    )


def test_workers_of_ray_up_are_gpus_on_spot_from_none_and_the_head_trains_nothing():
    head, gpu = CLUSTER["available_node_types"]["head"], CLUSTER["available_node_types"]["gpu"]
    assert head["resources"]["CPU"] == 0 and "InstanceMarketOptions" not in head["node_config"]
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert (gpu["min_workers"], gpu["max_workers"], gpu["resources"]["GPU"]) == (0, CLUSTER["max_workers"], 1)


JOB_FIELDS: dict[str, set[str]] = {
    "spec": {"entrypoint", "runtimeEnvYAML", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit",
             "rayClusterSpec", "submissionMode", "activeDeadlineSeconds", "suspend"},
    "rayClusterSpec": {"rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec",
                       "workerGroupSpecs"},
    "headGroupSpec": {"rayStartParams", "template"},
    "workerGroupSpec": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}  # fmt: skip
"""Fields that KubeRay's v1 API knows, of those that make sense here."""


def test_the_rayjob_has_the_fields_that_kuberay_demands_and_no_unknown_ones():
    spec = JOB["spec"]
    cluster = spec["rayClusterSpec"]
    assert (JOB["apiVersion"], JOB["kind"]) == ("ray.io/v1", "RayJob") and JOB["metadata"]["name"]
    assert set(spec) <= JOB_FIELDS["spec"] and set(cluster) <= JOB_FIELDS["rayClusterSpec"]
    assert set(cluster["headGroupSpec"]) == JOB_FIELDS["headGroupSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert set(group) == JOB_FIELDS["workerGroupSpec"]
    assert group["minReplicas"] == 0 < group["maxReplicas"]
    for part in (cluster["headGroupSpec"], group):
        assert all(isinstance(value, str) for value in part["rayStartParams"].values()), "Kubernetes takes text only"
        (container,) = part["template"]["spec"]["containers"]
        assert container["name"] and container["resources"]["limits"] == container["resources"]["requests"]
        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert mounts == {volume["name"] for volume in part["template"]["spec"].get("volumes", [])}
    assert yaml.safe_load(spec["runtimeEnvYAML"])["working_dir"] == dockerfile()["WORKDIR"]


def dockerfile() -> dict[str, str]:
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(" ", 1) for line in lines)


def test_images_and_lock_have_the_same_ray():
    image, tag = dockerfile()["FROM"].split(":")
    assert image == "rayproject/ray"
    assert tag == f"{locked('ray')}-py311-gpu" and JOB["spec"]["rayClusterSpec"]["rayVersion"] == locked("ray")
    containers = [CLUSTER["docker"]["image"]]
    for group in (JOB["spec"]["rayClusterSpec"]["headGroupSpec"], *JOB["spec"]["rayClusterSpec"]["workerGroupSpecs"]):
        containers += [container["image"] for container in group["template"]["spec"]["containers"]]
    assert set(containers) == {f"YOUR-REGISTRY/gada-ray:{Version(project_version())}"}


def project_version() -> str:
    import tomllib

    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


@pytest.mark.parametrize("words", TUNE_COMMANDS, ids=" ".join)
def test_commands_name_options_studies_and_storage_that_exist(words: list[str]):
    options = options_of_tune(words)
    assert set(options) <= OPTIONS
    assert options["--study"] in tune.study_names()
    assert options.get("--preset", "small") in tune.load_study(str(options["--study"])).presets
    if options.get("--storage"):
        Store(str(options["--storage"]).replace("YOUR-BUCKET", "bucket"))
    if "--address" in options:
        assert "--gpus-per-trial" in options, "the driver's machine may have no GPU, so that the default would be none"


def test_files_that_the_page_names_exist():
    for name in re.findall(r"deploy/[\w.-]+", PAGE + (DEPLOY / "ray-cluster.yaml").read_text()):
        assert (ROOT / name).exists(), name
    assert {path.name for path in DEPLOY.iterdir()} == set(re.findall(r"deploy/([\w.-]+)", PAGE))


def answer(port: int, path: str, **headers: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (urllib.error.URLError, OSError):
        return 0


@pytest.mark.slow
def test_the_mlflow_server_wants_a_password_and_serves_only_the_hosts_of_its_list(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment: dict[str, Any] = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": str(tmp_path / "files"),
        "ALLOWED_HOSTS": "mlflow.lab:5000",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "a-long-password",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_WORKERS": "1",
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            ["bash", str(DEPLOY / "mlflow-server.sh")], cwd=tmp_path, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        end = time.monotonic() + 180
        while answer(port, "/health") != 200:
            assert server.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.5)
        search = "/api/2.0/mlflow/experiments/search?max_results=1"
        assert answer(port, search) == 401
        login = {"Authorization": "Basic YWRtaW46YS1sb25nLXBhc3N3b3Jk"}  # admin:a-long-password
        assert answer(port, search, **login) == 200
        assert answer(port, search, Host="mlflow.lab:5000", **login) == 200
        assert answer(port, search, Host="elsewhere.example", **login) == 403
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
