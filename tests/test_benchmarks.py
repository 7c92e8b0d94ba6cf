"""The speed benchmark runs, and times what it says."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import speed

MANIFEST = """name = "two scenes"
description = "made-up scores"
direction = "higher_is_better"
range = [0, 1]
"""


def test_the_median_is_of_the_repeats_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 100.0, 0.0, 50.0, 0.0, 1.0, 0.0, 2.0, 0.0, 9.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    numbers: list[int] = []
    assert speed.median_seconds(numbers.append, torch.device("cpu"), repeats=3, warm_up=2) == 2.0
    assert numbers == [0, 1, 2, 3, 4]


def test_every_phase_and_the_prediction_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    rows = ["reference,distorted,distortion,score"]
    for scene in "ab":
        for name in (scene, f"{scene}_noise", f"{scene}_blur"):
            Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
        rows += [f"{scene}.png,{scene}_{kind}.png,{kind},{score}" for kind, score in (("noise", 0.3), ("blur", 0.6))]
    (tmp_path / "scores.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "scores.toml").write_text(MANIFEST)
    threads = torch.get_num_threads()
    speed.main("manifest", tmp_path, threads=threads, crop_px=16, batch=4, crops=2, images=2, repeats=1, warm_up=1)
    printed = capsys.readouterr().out
    for row in ("direct", "gan", "augmentation", "finetuning", "prediction, 2 crops an image"):
        assert row in printed
    assert "images of 24x20 to 24x20 pixels; crops of 16x16, batch 4" in printed
