"""Compiled forward passes, as far as a CPU can tell: by a backend of torch.compile that traces and makes no kernels."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo import config as tracing
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch._dynamo.utils import counters
from torch._functorch import config as gradients
from torch.utils._python_dispatch import TorchDispatchMode

from gada_ray import recipe
from gada_ray.config import TrainingConfig
from gada_ray.model.critic import PatchDiscriminator
from gada_ray.model.generator import ModulatedGenerator
from gada_ray.model.quality_network import Gada, QualityNetwork
from gada_ray.system import devices
from gada_ray.training import compilation
from gada_ray.training.compilation import compile_forward_passes
from gada_ray.training.ema import ExponentialMovingAverage
from gada_ray.training.phases import Phase, build
from gada_ray.trials.run import EndedError, Execution, Progress, run_trial
from gada_ray.trials.store import CHECKPOINT, Store
from tests.toy import DISTORTIONS, tiny, toy_dataset, toy_source, toy_trial

# torch itself asks for it, and hides its own warning.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning")
BACKEND = "aot_eager"
STEPS = 3
COMPILED = Execution(compiler=BACKEND)


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


@pytest.fixture(scope="module", autouse=True)
def compiler() -> Iterator[None]:
    """Settings of torch.compile are those of before after the tests."""
    before = tracing.recompile_limit, gradients.donated_buffer
    yield
    tracing.recompile_limit, gradients.donated_buffer = before
    torch.compiler.reset()


def graphs() -> int:
    """Graphs that were compiled in this process so far."""
    return counters["stats"]["unique_graphs"]


def losses_of(dataset, config: TrainingConfig, backend: str) -> tuple[list[dict[str, float]], Gada]:
    """Losses of some steps of every phase, of which the first alone compiles; and the network."""
    network = build(config, len(DISTORTIONS), 7).to(memory_format=torch.channels_last)
    ema, found = ExponentialMovingAverage(network, config.ema_decay), []
    if backend:
        compile_forward_passes(network, ema.network, backend)
    for number in range(len(config.phases)):
        phase = Phase(network, toy_source(dataset), torch.arange(len(dataset)), config, number, ema)
        phase.prepare()
        counts = []
        for step in range(STEPS):
            found.append({name: float(value) for name, value in phase.step(step, 0).items()})
            counts.append(graphs())
        assert len(set(counts)) == 1, "a step after the first one of a phase was compiled again"
    return found, network


CASES = {
    "gada": tiny(),
    "gada, bfloat16": tiny({"precision": "bfloat16"}),
    "paper": tiny({"data.crop_px": 16, "data.batch": 4}, recipe("paper", 6, 5, 4)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_compiled_steps_have_the_losses_and_the_weights_of_others_and_are_compiled_once_a_phase(dataset, case):
    before = graphs()
    expected, plain = losses_of(dataset, CASES[case], "")
    assert graphs() == before
    found, compiled = losses_of(dataset, CASES[case], BACKEND)
    assert graphs() >= before + 3 and not counters["graph_break"]
    rough = CASES[case].precision == "bfloat16"
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=5e-2 if rough else 1e-3, abs=1e-2 if rough else 1e-4)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert all(part._compiled_call_impl is None for part in copy.deepcopy(compiled).modules()), "a copy is compiled"


class Killed(Exception):
    """Ends a training between two checkpoints, as far as its storage can tell."""


def kill_in_phase_2(progress: Progress) -> None:
    if int(progress["steps_done"]) == 9:
        raise Killed


def numbers(store: Store, signature: str) -> list[bytes | None]:
    return [store.read(signature, name) for name in ("predictions.csv", "curves.csv", "patches.npz", "weights.pt")]


@pytest.mark.slow
def test_a_compiled_trial_that_is_killed_ends_with_the_same_bits_and_its_tests_compile_nothing(dataset, tmp_path):
    trial, quiet, hit = toy_trial(dataset), Store(tmp_path / "quiet"), Store(tmp_path / "hit")
    counts: list[int] = []
    expected = run_trial(trial, dataset, quiet, COMPILED, lambda _: counts.append(graphs()))
    assert len(set(counts)) <= len(trial.config.phases) and counts[-1] == graphs()
    with pytest.raises(Killed):
        run_trial(trial, dataset, hit, Execution(compiler=BACKEND, checkpoint_every_s=0), kill_in_phase_2)
    assert hit.read(trial.signature, CHECKPOINT) is not None
    result = run_trial(trial, dataset, hit, COMPILED)
    assert result.status == "finished" and result.metrics == expected.metrics
    assert numbers(hit, trial.signature) == numbers(quiet, trial.signature)
    assert expected.run.compiled and result.run.compiled


@pytest.mark.slow
def test_a_trial_that_is_compiled_in_part_says_that_it_is_compiled(dataset, tmp_path):
    trial, store = toy_trial(dataset), Store(tmp_path)
    asked = itertools.count()
    with pytest.raises(EndedError):
        run_trial(trial, dataset, store, Execution(compiler=BACKEND, ending=lambda: next(asked) == 3))
    result = run_trial(trial, dataset, store)
    assert result.run.compiled
    other = Store(tmp_path / "other")
    plain = run_trial(trial, dataset, other)
    assert not plain.run.compiled and "compiled" not in plain.run.model_dump(), "as results of before"
    assert np.isfinite(list(result.metrics.values())).all()
    assert result.metrics["srocc"] == pytest.approx(plain.metrics["srocc"], abs=0.1)


def test_sizes_that_change_from_step_to_step_are_an_error_and_not_uncompiled_code(monkeypatch):
    torch.compiler.reset()
    monkeypatch.setattr(compilation, "MAX_VARIANTS", 1)
    critic = PatchDiscriminator(3)
    network = build(tiny(), len(DISTORTIONS), 0)
    network.critic = critic
    compile_forward_passes(network, network, "eager")

    def step(crops: int) -> Tensor:
        images = torch.rand(crops, 3, 16, 16)
        score: Tensor = critic(images, images, torch.zeros(crops, dtype=torch.long), torch.rand(crops))
        return score

    step(2)
    step(2)
    with pytest.raises(FailOnRecompileLimitHit):
        step(3)


class InFloat32(TorchDispatchMode):
    """Counts convolutions inside `devices.float32`."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = self.found = 0

    @contextlib.contextmanager
    def float32(self, device: torch.device) -> Iterator[None]:
        """Stands in for `devices.float32`."""
        self.depth += 1
        yield
        self.depth -= 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found += func.__name__.startswith("convolution") and self.depth > 0
        return func(*args, **(kwargs or {}))


def test_compiled_networks_have_no_convolution_whose_precision_would_have_to_change_on_the_way(monkeypatch):
    network, mode = build(tiny(), len(DISTORTIONS), 0), InFloat32()
    generator = network.generator
    assert isinstance(generator, ModulatedGenerator) and isinstance(network.quality_network, QualityNetwork)
    noise = generator.draw_noise(2, 16, torch.Generator())
    arguments = torch.rand(2, 3, 16, 16), torch.tensor([0, 1]), torch.rand(2)
    plain = generator(noise, *arguments)
    monkeypatch.setattr(devices, "float32", mode.float32)
    for compiling, inside in ((False, 2), (True, 0)):
        mode.found = 0
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)  # noqa: B023
        with mode:
            made = generator(noise, *arguments)
            network.quality_network(made)
        assert mode.found == inside
        torch.testing.assert_close(made, plain, rtol=0, atol=1.5 / 255)  # a coefficient may be rounded the other way
