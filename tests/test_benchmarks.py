"""The benchmarks run, and measure what they say."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import ceiling, gpu, photographs, scoring, speed
from gada_ray.inference.scoring import save
from tests.toy import tiny, toy_dataset, toy_scorer

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


def test_kangs_network_has_the_layers_of_the_paper_and_takes_every_whole_patch() -> None:
    network = scoring.Kang2014()
    weights = sum(parameter.numel() for parameter in network.parameters())
    assert weights == 50 * (49 + 1) + 800 * (100 + 1) + 800 * (800 + 1) + 801
    patches = scoring.kang_patches(np.zeros((70, 100, 3), np.uint8))
    assert patches.shape == (2 * 3, 1, 32, 32)
    assert network(patches).shape == (6,)
    flat = scoring.kang_patches(np.full((32, 32, 3), 90, np.uint8))
    assert flat.abs().max() < 1e-3


def test_windows_of_a_shared_feature_map_agree_with_a_crop_that_is_the_whole_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    crops, windows, *_ = scoring.shared_map(toy_scorer(), [image])
    assert windows == pytest.approx(crops, abs=1e-6)


def test_scoring_is_timed_together_with_kangs_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scorer = toy_scorer(tiny({"data.crop_px": 32}))
    save(tmp_path / "model", scorer.card, scorer.quality_network.state_dict())
    random = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    scoring.main(tmp_path, str(tmp_path / "model"), images=6, shared=2, batch=2, threads=1)
    printed = capsys.readouterr().out
    for words in (
        "6 files (3 different, of 50x40 px)",
        "gada_ray score, 3 crops of 32 px",
        "of the machine's bound",
        "all patches",
        "(c) 2 images",
    ):
        assert words in printed


def test_the_gpu_table_replaces_the_text_between_its_markers_and_nothing_else() -> None:
    text = gpu.TABLE.read_text(encoding="utf-8")
    before, after = text.split(gpu.BEGIN)[0], text.split(gpu.END)[1]
    new = gpu.filled(text, gpu.table([("step", "64 px", "9 steps/s", "1.00")], "A GPU:"))
    assert new.startswith(before) and new.endswith(after)
    assert "| step | 64 px | 9 steps/s | 1.00 |" in new
    assert gpu.filled(new, "again").count("9 steps/s") == 0


@pytest.mark.slow
def test_steps_scoring_and_memory_are_measured_for_the_gpu_table_on_a_cpu_too() -> None:
    dataset, device = toy_dataset(), torch.device("cpu")
    rows = [*gpu.step_rows(dataset, device, quick=True), *gpu.scoring_rows(device, quick=True)]
    rows += [*gpu.memory_rows(dataset, device, quick=True), *gpu.protocol_rows(dataset, device, quick=True)]
    rows += gpu.curve_rows(dataset, device, quick=True)
    names = [name for name, *_ in rows]
    for phase in ("gan", "augmentation", "finetuning"):
        assert names.count(f"step, {phase}") == 2
    assert {"score, from decoded pixels", "score, from files", "memory of a trial"} <= set(names)
    assert names[-3:] == ["LIVE's protocol, ten splits"] * 2 + ["recipe paper on toy"]
    *measured, (_, _, end, curve) = rows
    assert all(float(value.split()[0]) > 0 for _, _, value, _ in measured)
    assert end.startswith("SROCC ") and "SROCC by step: " in curve and ", 14: " in curve


@pytest.mark.slow
# torch itself asks for it, and hides its own warning.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning")
def test_compiled_steps_are_measured_beside_others() -> None:
    rows = list(gpu.compiled_rows(toy_dataset(), torch.device("cpu"), quick=True))
    torch.compiler.reset()
    phases = ("gan", "augmentation", "finetuning")
    assert [name for name, *_ in rows] == [f"step, {phase}, compiled (aot_eager)" for phase in phases]
    assert all(float(value.split()[0]) > 0 and " of not compiled; " in note for _, _, value, note in rows)


@pytest.mark.slow
def test_colour_photographs_are_written_whole_and_at_most_768_px_wide(tmp_path: Path) -> None:
    photographs.main(tmp_path)
    sizes = {}
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            sizes[path.stem] = image.size
    assert len(sizes) == 9 and sizes["coffee"] == (600, 400) and sizes["retina"] == (768, 768)
    assert not {"brick", "camera", "coins", "grass", "gravel"} & set(sizes)


def test_the_oracle_of_the_demo_data_ranks_a_class_by_strength_within_the_qualities_of_training_rows() -> None:
    dataset = toy_dataset()
    rows = np.arange(len(dataset))
    train, test = rows[::2], rows[1::2]
    found = ceiling.predicted(dataset, 1 - dataset.quality, train, test)
    for distortion in range(len(dataset.distortions)):
        here = dataset.distortion[test] == distortion
        order = np.argsort(dataset.quality[test][here])
        assert (np.diff(found[here][order]) >= 0).all()
        seen = dataset.quality[train][dataset.distortion[train] == distortion]
        assert (found[here] >= seen.min()).all() and (found[here] <= seen.max()).all()
