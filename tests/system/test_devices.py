"""What differs on a GPU, as far as a machine without one can tell."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from gada_ray.running import worker
from gada_ray.running.slots import Resources, on_node
from gada_ray.system import devices
from gada_ray.trials.identity import EndedError
from gada_ray.trials.store import Result
from tests.toy import toy_dataset, toy_trial

CPU = torch.device("cpu")


class OnGpu(SimpleNamespace):
    """Stands in for a tensor whose copy to a GPU is watched."""

    def pin_memory(self) -> OnGpu:
        self.calls.append("pinned")
        return self

    def to(self, device: torch.device, non_blocking: bool = False) -> str:
        self.calls.append(f"to {device}, {'not ' * non_blocking}waited for")
        return "there"


def test_a_gpu_takes_tensors_from_pinned_memory_without_being_waited_for() -> None:
    watched = OnGpu(calls=[])
    assert devices.to_device(watched, torch.device("cuda")) == "there"  # type: ignore[arg-type]
    assert watched.calls == ["pinned", "to cuda, not waited for"]


def test_on_a_cpu_a_tensor_is_itself() -> None:
    tensor = torch.rand(3)
    assert devices.to_device(tensor, CPU) is tensor


@pytest.mark.parametrize(("precision", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_autocast_computes_layers_as_asked_on_a_cpu_too(precision: str, expected: torch.dtype) -> None:
    with devices.autocast(CPU, precision):
        assert torch.nn.Linear(2, 2)(torch.rand(1, 2)).dtype == expected


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """Stands in for torch's settings and counters of a GPU."""
    made = MagicMock()
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", made.reset)
    made.cudnn = SimpleNamespace(benchmark=False, deterministic=False, conv=SimpleNamespace(fp32_precision="none"))
    monkeypatch.setattr(torch, "use_deterministic_algorithms", made.algorithms)
    monkeypatch.setattr(torch.backends, "cudnn", made.cudnn)
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(fp32_precision="none"))
    return made


def test_on_a_gpu_convolutions_take_tf32_matrix_products_do_not_and_memory_is_counted(backends: MagicMock) -> None:
    devices.configure_backend(CPU)
    assert not backends.reset.called and not backends.cudnn.benchmark
    devices.configure_backend(torch.device("cuda"))
    backends.reset.assert_called_once()
    assert backends.cudnn.benchmark
    assert backends.cudnn.conv.fp32_precision == "tf32"
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"


def test_a_gpu_is_limited_to_deterministic_kernels_if_that_was_asked_for_and_a_cpu_is_left_alone(
    backends: MagicMock,
) -> None:
    devices.configure_backend(CPU, deterministic=True)
    assert not backends.algorithms.called and not backends.cudnn.deterministic
    devices.configure_backend(torch.device("cuda"), deterministic=True)
    backends.algorithms.assert_called_once_with(True, warn_only=True)
    assert backends.cudnn.deterministic and not backends.cudnn.benchmark
    devices.configure_backend(torch.device("cuda"))  # another trial in the same process
    assert backends.algorithms.call_args.args == (False,)
    assert not backends.cudnn.deterministic and backends.cudnn.benchmark


def test_a_process_gets_the_workspace_of_deterministic_products_before_it_loads_torch() -> None:
    assert devices.environment("cuda", deterministic=True) == {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    assert devices.environment("cuda", deterministic=False) == {}
    for deterministic in (False, True):
        assert devices.environment("cpu", deterministic) == {"CUDA_VISIBLE_DEVICES": ""}


def test_float32_leaves_the_settings_of_a_gpu_alone_while_code_is_compiled(
    backends: MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices.configure_backend(torch.device("cuda"))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with devices.float32(torch.device("cuda")):
        assert backends.cudnn.conv.fp32_precision == "tf32"


def test_float32_takes_tf32_from_convolutions_and_gives_it_back(backends: MagicMock) -> None:
    devices.configure_backend(torch.device("cuda"))
    with pytest.raises(ZeroDivisionError), devices.float32(torch.device("cuda")):
        assert backends.cudnn.conv.fp32_precision == "ieee"
        raise ZeroDivisionError
    assert backends.cudnn.conv.fp32_precision == "tf32"


def test_noise_is_drawn_on_a_cpu_from_the_generator_of_the_step() -> None:
    steps = torch.Generator().manual_seed(3)
    assert devices.noise_generator(steps, CPU, 5) is steps


@pytest.mark.parametrize(("total_mb", "peak_mb"), [(80_000, 900), (24_000, 3_000), (11_000, 9_000), (8_000, 30_000)])
def test_shares_of_a_made_up_gpu_fit_its_memory_and_rays_counting(total_mb: float, peak_mb: float) -> None:
    share = devices.share(peak_mb, total_mb)
    trials = on_node({"CPU": 64, "GPU": 1}, 1, share)
    assert 1 <= trials <= devices.MAX_SHARING
    assert trials == 1 or trials * (peak_mb + devices.CONTEXT_MB) <= (1 - devices.SPARE) * total_mb
    assert Resources(gpus=share).execution.device == "cuda"


def test_without_a_driver_there_is_no_gpu_and_the_default_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert (devices.count(), devices.default()) == (0, "cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (devices.count(), devices.default()) == (2, "cuda")


def test_memory_and_name_of_a_cpu_are_those_of_the_process() -> None:
    assert devices.name(CPU) == "cpu"
    assert devices.peak_mb(CPU) > 50
    assert devices.reserved_mb(CPU) == 0


def test_a_gpu_holds_sets_of_pixels_of_up_to_a_quarter_of_its_memory() -> None:
    gib = 2**30
    assert devices.holds(5 * gib, 24_000) and not devices.holds(6 * gib, 24_000)
    assert devices.holds(22 * gib, 140_000)


def test_only_a_gpu_leaves_pixels_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "total_mb", lambda: 1.0)
    assert devices.leaves_on_host(2**20, torch.device("cuda")) and not devices.leaves_on_host(2**20, CPU)


def test_a_worker_frees_the_memory_of_a_gpu_and_drops_compiled_code_after_every_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emptied, reset = MagicMock(), MagicMock()
    ended: list[dict[str, bool]] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", emptied)
    monkeypatch.setattr(torch.compiler, "reset", reset)
    monkeypatch.setattr("ray.get_runtime_context", MagicMock())
    monkeypatch.setattr("ray.tune.report", ended.append)
    trial = toy_trial(toy_dataset())
    config = {
        "config": trial.config.model_dump(mode="json"),
        "fold": asdict(trial.fold),
        "seed": trial.seed,
        "fingerprint": trial.fingerprint,
    }
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the worker sets it for a CPU; restored after the test

    def train(*_: object) -> Result:
        raise EndedError

    for device, compiler, calls in (("cuda", "", 1), ("cpu", "", 1), ("cuda", "inductor", 2)):
        assert not reset.called
        execution = {"device": device, "compiler": compiler}
        worker.train_trial(config, {trial.fingerprint: toy_dataset()}, "", execution, train, MagicMock())
        assert emptied.call_count == calls
    reset.assert_called_once()
    assert ended == [{"ended": True}] * 3
