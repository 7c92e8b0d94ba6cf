from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gada_ray import direct, gada
from gada_ray.config import ConfigError, TrainingConfig, flatten
from gada_ray.data import DataError
from gada_ray.data.crops import generator_for
from gada_ray.data.dataset import Photographs
from gada_ray.data.prepared import STRENGTHS
from gada_ray.data.procedural import procedures
from gada_ray.training.batches import Batches
from gada_ray.training.phases import Phase, build
from gada_ray.training.procedural import ProceduralSource
from gada_ray.training.ranking import Pairs, PairSource, ranking_loss
from gada_ray.trials.identity import Execution
from gada_ray.trials.run import run_trial
from gada_ray.trials.store import Store
from tests.toy import CPU, tiny, toy_dataset, toy_source, toy_trial

NAMES = ("jpeg", "contrast", "wn")
"""Classes for the toy dataset: the second one's strength has no order."""
BASE = TrainingConfig(phases=(direct(4),))


def ranked(values=None, config=None, phase="direct", **ranking):
    named = {f"phases.{phase}.ranking.{name}": value for name, value in {"weight": 1.0, "pairs": 6, **ranking}.items()}
    return tiny({**named, **(values or {})}, config or BASE)


@pytest.fixture(scope="module")
def dataset():
    random = np.random.default_rng(4)
    shapes = np.array([(40, 56), (64, 48)])
    pixels = random.integers(0, 256, int(3 * shapes.prod(1).sum()), dtype=np.uint8)
    extra = Photographs(("a.png", "b.png"), pixels, np.append(0, 3 * shapes.prod(1).cumsum()), shapes)
    return replace(toy_dataset(), distortions=NAMES, extra=extra)


@pytest.fixture(scope="module")
def made(dataset, tmp_path_factory):
    found = procedures(dataset.distortions, dataset.name)
    return ProceduralSource(dataset, found, tmp_path_factory.mktemp("cache"), 16, CPU, extra=True)


def start(dataset, config, made=None, number=0, rows=None):
    network = build(config, len(NAMES), 7)
    rows = torch.arange(len(dataset)) if rows is None else rows
    phase = Phase(network, toy_source(dataset), rows, config, number, procedural=made)
    phase.prepare()
    return network, phase


def states(dataset, config, made=None, steps=3):
    network, phase = start(dataset, config, made)
    terms = [phase.step(step, 0) for step in range(steps)]
    return network.state_dict(), terms


def test_the_hinge_is_that_of_the_definition():
    quality = torch.tensor([0.9, 0.5, 0.5, 0.8, 0.5, 0.6])  # better: .9 .5 .5; worse: .8 .5 .6
    margin = torch.tensor([0.03, 0.06, 0.09])
    pairs = Pairs(torch.empty(0), margin)
    assert ranking_loss(quality, pairs).item() == pytest.approx((0 + 0.06 + 0.19) / 3)
    some = pairs._replace(believed=torch.tensor([True, False, True]))
    assert ranking_loss(quality, some).item() == pytest.approx((0 + 0.19) / 2)
    assert ranking_loss(quality, pairs._replace(believed=torch.zeros(3, dtype=torch.bool))).item() == 0


def test_a_pair_that_is_apart_by_its_margin_has_no_gradient_and_any_other_the_same():
    quality = torch.tensor([0.9, 0.5, 0.8, 0.5], requires_grad=True)
    ranking_loss(quality, Pairs(torch.empty(0), torch.tensor([0.05, 0.05]))).backward()
    assert quality.grad is not None and quality.grad.tolist() == [0.0, -0.5, 0.0, 0.5]


def test_procedural_pairs_are_one_window_and_class_at_two_strengths_without_classes_that_have_no_order(dataset, made):
    config = ranked(pairs=40, margin=0.02)
    batches = Batches(toy_source(dataset), torch.arange(len(dataset)), config, 0)
    source = PairSource(batches, made)
    assert source.classes.tolist() == [0, 2]
    one, again, other = (source.draw(step, 3, None) for step in (1, 1, 2))
    assert torch.equal(one.images, again.images) and not torch.equal(one.images, other.images)
    assert one.images.shape == (80, 3, 16, 16) and one.images.min() >= 0 and one.images.max() <= 1
    steps = (one.margin / 0.02).round()
    assert set(steps.tolist()) <= set(range(1, STRENGTHS + 1)) and len(set(steps.tolist())) > 3
    better, worse = one.images.chunk(2)
    assert ((better - worse).abs().flatten(1).amax(1) > 0).float().mean() > 0.9
    # The toy's references are smooth squares with little noise: what is stronger has more noise, or coarser squares.
    assert (better - worse).abs().mean() > 0.005


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_worse_crop_may_show_another_picture_at_a_much_greater_strength(dataset, made, share, monkeypatch):
    asked = []
    gather = ProceduralSource.gather

    def recorded(self, pictures, distortion, steps, top, left, crop_px):
        asked.append((pictures, distortion, steps, top, left))
        return gather(self, pictures, distortion, steps, top, left, crop_px)

    monkeypatch.setattr(ProceduralSource, "gather", recorded)
    config = ranked(pairs=400, margin=0.02, other_picture=share)
    pairs = PairSource(Batches(toy_source(dataset), torch.arange(len(dataset)), config, 0), made).draw(1, 3, None)
    (better, of_better, weaker, *corner), (worse, of_worse, stronger, *other_corner) = asked
    assert torch.equal(of_better, of_worse)
    torch.testing.assert_close(pairs.margin, 0.02 * (stronger - weaker))
    other = torch.stack(corner).ne(torch.stack(other_corner)).any(0) | better.ne(worse)
    # Another picture may be the same one, in the same window, by chance.
    assert abs(float(other.float().mean()) - share) < 0.08
    assert (stronger - weaker)[other].min() >= STRENGTHS // 2 if share else not other.any()
    assert share == 1 or (stronger - weaker)[~other].min() == 1
    assert not share or len(worse[other].unique()) == len(better.unique())


def test_crops_are_gathered_in_any_order_of_pictures(dataset, made):
    pictures, zero = torch.tensor([0, 3, 6, 7, 2, 6]), torch.zeros(6, dtype=torch.int64)
    assert len(made.numbers) == 8
    order = torch.tensor([2, 0, 5, 4, 3, 1])
    crops = made.gather(pictures.sort().values, zero, zero + 2, zero, zero, 16)
    mixed = made.gather(pictures.sort().values[order], zero, zero + 2, zero, zero, 16)
    assert torch.equal(mixed, crops[order])


def test_step_0_is_the_picture_itself_and_more_is_further_from_it(dataset, made):
    pictures, n = torch.arange(3).repeat_interleave(2), 6
    distortion, zero = torch.tensor([0, 2] * 3), torch.zeros(n, dtype=torch.int64)
    crops = [made.gather(pictures, distortion, zero + step, zero, zero, 16) for step in range(STRENGTHS + 1)]
    references = toy_source(dataset).gather(made.numbers[pictures], zero, zero, 16)
    assert torch.equal(crops[0], references)
    errors = [float((crop - references).square().mean()) for crop in crops]
    assert errors == sorted(errors) and errors[1] > 0


@pytest.mark.parametrize("made_by", ["procedural", "generator"])
@pytest.mark.parametrize("references", ["labelled", "training", "extra"])
def test_pairs_are_of_the_pictures_that_are_asked_for(dataset, made, made_by, references):
    rows = torch.from_numpy(dataset.rows_of(["ref1", "ref3"]))
    values = {"phases.direct.extra_fingerprint": "ab"} if references == "extra" else {}
    config = ranked(values, references=references)
    batches = Batches(toy_source(dataset), rows, config, 0, torch.tensor([1, 3, 4]))
    source = PairSource(batches, made if made_by == "procedural" else None)
    assert source.references.tolist() == ([1, 3] if references == "labelled" else [1, 3, 4])
    assert source.extra == (references == "extra")
    if made_by == "procedural":
        numbers = made.numbers[source.pictures].tolist()
        assert numbers == source.references.tolist() + ([6, 7] if references == "extra" else [])


def test_the_generators_pairs_share_crop_class_and_noise_and_ask_for_two_qualities_of_the_class(dataset):
    asked = []

    class Recorder(torch.nn.Module):
        def draw_noise(self, n, crop_px, generator):
            return torch.randn(n, 2, generator=generator)

        def forward(self, noise, reference, distortion, quality):
            asked.append((noise, reference, distortion, quality))
            return reference * quality[:, None, None, None]

    config = ranked({"phases.gan.steps": 2}, gada(2, 2, 2), "augmentation", made_by="generator", pairs=30)
    rows = torch.arange(len(dataset))
    source = PairSource(Batches(toy_source(dataset), rows, config, 1), None)
    pairs = source.draw(0, 0, Recorder())  # type: ignore[arg-type]
    (noise, crop, distortion, better), (noise_2, crop_2, distortion_2, worse) = asked
    assert torch.equal(noise, noise_2) and torch.equal(crop, crop_2) and torch.equal(distortion, distortion_2)
    assert set(distortion.tolist()) == {0, 2} and (better >= worse).all()
    torch.testing.assert_close(pairs.margin, 0.5 * (better - worse))
    assert torch.equal(pairs.images, torch.cat([crop * better.view(-1, 1, 1, 1), crop * worse.view(-1, 1, 1, 1)]))
    for one in (0, 2):
        labels, here = dataset.quality[dataset.distortion == one], distortion == one
        assert labels.min() <= worse[here].min() and better[here].max() <= labels.max()


class Fading(torch.nn.Module):
    """A generator whose change grows as the requested quality falls, but for class 2, where it shrinks."""

    def draw_noise(self, n, crop_px, generator):
        return torch.randn(n, 2, generator=generator)

    def forward(self, noise, reference, distortion, quality):
        change = torch.where(distortion == 2, quality, 1 - quality)
        return reference + change[:, None, None, None]


def test_the_generators_pairs_may_be_far_apart_and_those_that_contradict_its_order_left_out(dataset):
    def drawn(**ranking):
        config = ranked({}, gada(2, 2, 2), "augmentation", made_by="generator", pairs=40, **ranking)
        source = PairSource(Batches(toy_source(dataset), torch.arange(len(dataset)), config, 1), None)
        return source, source.draw(0, 0, Fading())  # type: ignore[arg-type]

    source, usual = drawn()
    low, high = source.ranges.T
    assert usual.believed is None and usual.margin.min() < 0.25 * (high - low).min()
    _, apart = drawn(least_difference=0.5)
    assert apart.margin.min() >= 0.25 * (high - low).min() and apart.margin.max() <= 0.5 * (high - low).max()
    _, checked = drawn(only_stronger=True)
    assert torch.equal(checked.images, usual.images) and torch.equal(checked.margin, usual.margin)
    made = checked.believed
    assert made is not None and 0 < made.sum() < 40
    better, worse = checked.images.chunk(2)
    assert torch.equal(made, (worse - better).mean((1, 2, 3)) > 0)


def test_a_weight_of_0_changes_no_bit_and_draws_nothing(dataset, made):
    plain, terms = states(dataset, tiny(config=BASE))
    off, off_terms = states(dataset, ranked(weight=0.0), made)
    assert all(torch.equal(off[name], value) for name, value in plain.items())
    assert [list(one) for one in off_terms] == [list(one) for one in terms] == [["class", "quality"]] * 3
    on, on_terms = states(dataset, ranked(), made)
    assert list(on_terms[0]) == ["class", "quality", "ranking"]
    # The first step's other losses are before any update, from the same draws.
    assert on_terms[0]["quality"] == terms[0]["quality"] and on_terms[0]["class"] == terms[0]["class"]
    assert not all(torch.equal(on[name], value) for name, value in plain.items())


def test_the_term_leaves_running_statistics_alone_and_steers_no_part_but_backbone_and_evaluator(dataset, made):
    plain, ranking = (states(dataset, config, made, 1)[0] for config in (tiny(config=BASE), ranked()))
    kept = [name for name in plain if "running" in name or "num_batches" in name or ".classifier." in name]
    assert kept and all(torch.equal(plain[name], ranking[name]) for name in kept)
    moved = {name.split(".")[1] for name in plain if not torch.equal(plain[name], ranking[name])}
    assert moved == {"backbone", "evaluator"}


def test_training_on_pairs_alone_teaches_their_order(dataset, made):
    values = {"losses.quality_weight": 0.0, "losses.class_weight": 0.0, "data.batch": 8, "data.aligned_fraction": 1.0}
    config = ranked(values, weight=10.0, pairs=16)
    _, phase = start(dataset, config, made)
    losses = [float(phase.step(step, 0)["ranking"]) for step in range(60)]
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:10])


def test_a_phase_1_with_the_generators_pairs_takes_the_averaged_generator(dataset):
    config = ranked({"ema_decay": 0.0}, gada(3, 2, 2), "gan", made_by="generator")
    _, phase = start(dataset, config)
    terms = [phase.step(step, 0) for step in range(2)]
    assert all(torch.isfinite(value) for one in terms for value in one.values()) and "ranking" in terms[0]
    later = start(dataset, ranked({}, gada(3, 2, 2), "finetuning", made_by="generator"), number=2)[1]
    assert "ranking" in later.step(0, 0)


def test_what_cannot_rank_is_refused():
    with pytest.raises(ConfigError, match="phase 'direct' ranks images of a generator that no phase has trained"):
        ranked(made_by="generator")
    with pytest.raises(ConfigError, match="phase 'gan' has a ranking term, which trains the evaluator"):
        ranked({"phases.gan.trains": ("generator", "backbone", "discriminator", "classifier")}, gada(2, 2, 2), "gan")
    only_contrast = replace(toy_dataset(), distortions=("contrast", "meanshift", "contrast change"))
    with pytest.raises(DataError, match="toy has no class whose strength has an order"):
        PairSource(Batches(toy_source(only_contrast), torch.arange(len(only_contrast)), ranked(), 0), None)


def test_the_term_is_a_field_of_every_phase_and_its_defaults_are_in_no_signature(dataset):
    assert flatten(ranked(margin=0.05))["phases.direct.ranking.margin"] == 0.05
    plain, off, on = (toy_trial(dataset, one) for one in (tiny(config=BASE), ranked(weight=0.0, pairs=16), ranked()))
    assert plain.signature == off.signature != on.signature


def test_a_trial_prepares_its_pictures_and_gives_the_same_numbers_again(dataset, tmp_path):
    config = ranked(weight=1.2)
    scores = []
    for name in ("one", "two"):
        execution = Execution(cache=str(tmp_path / "cache"))
        scores.append(run_trial(toy_trial(dataset, config), dataset, Store(tmp_path / name), execution).metrics)
    assert scores[0] == scores[1]
    assert len(list((tmp_path / "cache" / "procedural").glob("*.uint8"))) == 1


def test_phase_2_takes_prepared_strengths_for_asked_qualities(dataset, made):
    values = {"phases.augmentation.generated_by": "procedural", "phases.augmentation.conditions": "uniform"}
    config = tiny(values, gada(3, 2, 2))
    _, phase = start(dataset, config, made, number=1)
    random = generator_for(0)
    real = phase.batches.real(0, 5, random)
    batch = phase._generate(real, 0, 5, random)
    assert batch.images.shape == real.images.shape and set(batch.distortion.tolist()) <= {0, 1, 2}
    low, high = dataset.quality.min(), dataset.quality.max()
    steps = (high - batch.quality) / (high - low) * STRENGTHS
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert "quality" in phase.step(0, 0)
    with pytest.raises(ConfigError, match="choose other conditions than 'paired'"):
        tiny(
            {"phases.augmentation.generated_by": "procedural", "phases.augmentation.skip_unmatched": True,
             "phases.augmentation.conditions": "paired"},
            gada(3, 2, 2),
        )  # fmt: skip


def test_procedural_images_without_a_labelled_class_that_has_a_procedure_are_refused(made):
    dataset = replace(toy_dataset(), distortions=("other", "contrast", "wn"))
    known = procedures(dataset.distortions, dataset.name, skip=True)
    values = {
        "phases.augmentation.generated_by": "procedural", "phases.augmentation.conditions": "uniform",
        "phases.augmentation.skip_unmatched": True,
    }  # fmt: skip
    rows = torch.from_numpy(np.flatnonzero(dataset.distortion == 0))
    made_for = SimpleNamespace(procedure=torch.tensor([-1 if one is None else 0 for one in known]))
    with pytest.raises(DataError, match="no labelled image of toy is of a class with a procedure, which phase 'aug"):
        start(dataset, tiny(values, gada(3, 2, 2)), made_for, number=1, rows=rows)
