from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gada_ray import augmentation, continued, direct, finetuning, gada, gan, recipe
from gada_ray.config import PARTS, ConfigError, TrainingConfig
from gada_ray.data import sampling
from gada_ray.model.generator import ModulatedGenerator
from gada_ray.model.layers import Views
from gada_ray.recipes import PAPER
from gada_ray.training import losses
from gada_ray.training.ema import ExponentialMovingAverage
from gada_ray.training.phases import Phase, build
from tests.toy import DISTORTIONS, tiny, toy_dataset, toy_source

GOLDEN = Path(__file__).parents[1] / "golden" / "losses.txt"
RECIPES = {"gan": gan, "augmentation": augmentation, "finetuning": finetuning, "direct": direct, "continued": continued}


def paper(values=None, config=None):
    """A tiny training with the paper's losses at their word; `tiny` is one with our defaults."""
    config = config or gada(6, 5, 4)
    named = {f"phases.{phase.name}." for phase in config.phases}
    own = {
        path: value
        for path, value in PAPER.items()
        if not path.startswith(("data.", "model.normalisation"))
        and (not path.startswith("phases.") or path.startswith(tuple(named)))
    }
    return tiny({**own, **(values or {})}, config)


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset()


def start(dataset, config, number=0, rows=None):
    """A phase of an untrained network, ready to step."""
    network = build(config, len(DISTORTIONS), 7)
    rows = torch.arange(len(dataset)) if rows is None else rows
    phase = Phase(network, toy_source(dataset), rows, config, number)
    phase.prepare()
    return network, phase


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(before, module):
    return all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def changed_parts(dataset, config, number=0, steps=1):
    """Names of the parts whose state a few steps change, buffers included."""
    network, phase = start(dataset, config, number)
    parts = [name for name in PARTS if name != "generator" or network.generator is not None]
    before = {name: state(network.part(name)) for name in parts}
    for step in range(steps):
        phase.step(step, 0)
    return {name for name in parts if not same(before[name], network.part(name))}


def with_earlier(recipe):
    """A phase of a recipe, after one that trains the generator where it needs one."""
    return (*([gan(3)] if recipe == "augmentation" else []), RECIPES[recipe](3))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_phase_changes_the_parts_that_it_trains_and_leaves_all_others_bitwise_unchanged(dataset, recipe):
    config = paper(config=TrainingConfig(phases=with_earlier(recipe)))
    assert changed_parts(dataset, config, len(config.phases) - 1, steps=3) == set(config.phases[-1].trains)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_three_phases_change_the_parts_that_the_paper_says(dataset, number):
    expected = [set(PARTS), {"backbone", "classifier", "evaluator"}, {"backbone", "evaluator"}][number]
    assert changed_parts(dataset, paper(), number, steps=2) == expected


@pytest.mark.parametrize(
    ("off", "still"),
    [
        ({"losses.quality_weight": 0.0}, {"generator", "backbone", "discriminator", "classifier"}),
        ({"losses.class_weight": 0.0}, {"generator", "backbone", "discriminator", "evaluator"}),
    ],
)
def test_a_loss_with_weight_0_changes_no_head(dataset, off, still):
    assert changed_parts(dataset, paper(off)) == still


def test_only_the_adversarial_loss_changes_the_discriminator_head(dataset):
    assert "discriminator" not in changed_parts(dataset, paper({"losses.adversarial_weight": 0.0}))


@pytest.mark.parametrize("weight", ["losses.adversarial_weight", "losses.l1_weight", "losses.generator_class_weight"])
def test_each_term_of_the_generators_loss_changes_it_and_nothing_else_does(dataset, weight):
    terms = ("adversarial_weight", "l1_weight", "generator_class_weight", "generator_quality_weight")
    none = {f"losses.{term}": 0.0 for term in terms}
    assert "generator" in changed_parts(dataset, paper({**none, weight: 1.0}))
    network, phase = start(dataset, paper(none))
    before = {name: p.clone() for name, p in network.generator.named_parameters()}
    phase.step(0, 0)
    assert all(torch.equal(p, before[name]) for name, p in network.generator.named_parameters())


def test_the_generators_step_does_not_change_the_quality_network(dataset):
    """Whatever the generator's loss weighs, backbone and heads move by their own loss alone."""
    own = {"losses.generator_class_weight": 9.0, "losses.generator_quality_weight": 9.0, "losses.l1_weight": 1.0}
    states = []
    for values in ({}, own):
        network, phase = start(dataset, paper(values))
        phase.step(0, 0)
        states.append((state(network.quality_network), state(network.generator)))
    (quality_network, generator), (other_quality_network, other_generator) = states
    assert all(torch.equal(quality_network[name], other_quality_network[name]) for name in quality_network)
    assert any(not torch.equal(generator[name], other_generator[name]) for name in generator)


@pytest.mark.parametrize(
    ("term", "weight"),
    [
        ("generator_source", "losses.adversarial_weight"),
        ("reconstruction", "losses.l1_weight"),
        ("generator_class", "losses.generator_class_weight"),
        ("generator_quality", "losses.generator_quality_weight"),
    ],
)
def test_the_generator_lowers_each_of_its_losses_against_a_frozen_quality_network(dataset, term, weight):
    """The source, reconstruction, class and quality losses of the generator all fall."""
    off = {f"losses.{name}": 0.0 for name in ("adversarial_weight", "l1_weight")}
    off |= {f"losses.generator_{name}_weight": 0.0 for name in ("class", "quality")}
    slow = {"rates.discriminator": 1e-12, "rates.classifier": 1e-12, "rates.evaluator": 1e-12, "rates.generator": 1e-2}
    _, phase = start(dataset, paper({**off, **slow, weight: 1.0, "model.normalisation": "none", "data.batch": 16}))
    terms = [float(phase.step(step, 0)[term]) for step in range(40)]
    assert np.mean(terms[-5:]) < np.mean(terms[:5])


@pytest.mark.parametrize("recipe", ["gan", "augmentation"])
def test_running_statistics_come_from_real_images_only(dataset, recipe):
    config = paper({"model.norm": "batch"}, TrainingConfig(phases=(gan(2), augmentation(2))))
    number = ["gan", "augmentation"].index(recipe)
    network, phase = start(dataset, config, number)
    reference, real_only = start(dataset, paper(config=TrainingConfig(phases=(direct(2), continued(2)))), number)
    phase.step(0, 3)
    real_only.step(0, 3)
    statistics = {n: b for n, b in network.quality_network.backbone.named_buffers() if "running" in n}
    expected = dict(reference.quality_network.backbone.named_buffers())
    assert statistics
    for name, value in statistics.items():
        torch.testing.assert_close(value, expected[name])


def test_every_part_has_its_learning_rate_times_the_factor_of_the_phase(dataset):
    config = paper({"rates.discriminator": 1e-3, "rates.classifier": 2e-3, "rates.evaluator": 3e-3})
    _, phase = start(dataset, config, 1)
    rates = [group["lr"] for group in phase.optimisers["quality_network"].param_groups]
    assert rates == pytest.approx([1e-4, 2e-4, 3e-4])
    assert set(phase.optimisers) == {"quality_network"}
    _, first = start(dataset, config, 0)
    assert first.optimisers["generator"].param_groups[0]["lr"] == config.rates.generator


def test_an_epoch_uses_every_training_image_once(dataset):
    rows = torch.arange(0, 12)
    _, phase = start(dataset, paper(config=TrainingConfig(phases=(direct(3),))), rows=rows)
    seen = []
    for step in range(3):
        batch = phase.batches.real(step, 0, torch.Generator().manual_seed(0))
        seen += batch.quality.tolist()
    np.testing.assert_allclose(sorted(seen), sorted(dataset.quality[:12]))


@pytest.mark.parametrize("conditions", ["empirical", "between", "uniform", "grid"])
def test_every_class_is_requested_with_qualities_of_the_training_range(dataset, conditions):
    config = paper({"phases.augmentation.conditions": conditions})
    rows = torch.arange(0, 27)
    _, phase = start(dataset, config, 1, rows)
    distortion, quality = phase.batches.conditions(300, torch.Generator().manual_seed(0))
    assert set(distortion.tolist()) == {0, 1, 2}
    counts = torch.bincount(distortion)
    assert counts.min() > 60
    known = dataset.quality[:27]
    for c in range(3):
        of_class = known[dataset.distortion[:27] == c]
        labels = of_class if conditions in ("empirical", "between") else known
        low, high = labels.min(), labels.max()
        asked = quality[distortion == c]
        assert low - 1e-6 <= asked.min() and asked.max() <= high + 1e-6
        assert asked.max() - asked.min() > 0.5 * (high - low)


@pytest.mark.parametrize("conditions", ["empirical", "between", "uniform", "grid"])
def test_batches_smaller_than_the_number_of_classes_request_all_of_them_over_steps(dataset, conditions):
    config = paper({"phases.augmentation.conditions": conditions, "data.batch": 2})
    _, phase = start(dataset, config, 1)
    random = torch.Generator().manual_seed(0)
    asked = [phase.batches.conditions(2, random) for _ in range(100)]
    distortion, quality = (torch.cat(parts) for parts in zip(*asked, strict=True))
    for c in range(3):
        here = quality[distortion == c]
        assert len(here) > 30
        assert here.max() - here.min() > 0.7 * np.ptp(dataset.quality)


def test_a_grid_that_fills_the_batch_requests_every_class_at_evenly_spaced_qualities(dataset):
    _, phase = start(dataset, paper({"phases.augmentation.conditions": "grid"}), 1)
    distortion, quality = phase.batches.conditions(30, torch.Generator().manual_seed(0))
    for c in range(3):
        expected = np.linspace(dataset.quality.min(), dataset.quality.max(), 10)
        np.testing.assert_allclose(quality[distortion == c].sort().values, expected, rtol=1e-5)


def test_classes_that_the_training_part_lacks_are_not_requested(dataset):
    rows = torch.from_numpy(np.flatnonzero(dataset.distortion != 1))
    _, phase = start(dataset, paper(), 1, rows)
    distortion, _ = phase.batches.conditions(50, torch.Generator().manual_seed(0))
    assert set(distortion.tolist()) == {0, 2}


@pytest.mark.parametrize("conditions", ["between", "uniform", "grid"])
def test_qualities_up_to_1_are_requested_where_training_uses_pristine_references(dataset, conditions):
    """One image of each class is known: between it and the reference lies all that can be asked of its class."""
    config = paper({"phases.augmentation.conditions": conditions, "data.pristine_fraction": 0.5})
    rows = torch.tensor([1, 4, 7])
    _, phase = start(dataset, config, 1, rows)
    distortion, quality = phase.batches.conditions(300, torch.Generator().manual_seed(0))
    known = torch.from_numpy(dataset.quality)[rows]
    for c, label in enumerate(known):
        low = label if conditions == "between" else known.min()
        asked = quality[distortion == c]
        assert low - 1e-6 <= asked.min() < low + 0.1 and 0.9 < asked.max() <= 1.0
    assert phase.batches.severity(torch.tensor([1.0, float(known.min())])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("crops_per_image", [1, 2])
@pytest.mark.parametrize("references", ["labelled", "training"])
def test_pristine_crops_have_quality_1_and_the_class_of_the_image_that_they_replace(
    dataset, references, crops_per_image
):
    values = {"data.batch": 8, "data.crops_per_image": crops_per_image}
    pristine = {"data.pristine_fraction": 0.5, "data.pristine_from": references}
    rows = torch.arange(9)  # all of reference 0
    plain, phase = (start(dataset, paper({**values, **more}), 0, rows)[1] for more in ({}, pristine))
    phase.batches.references = torch.tensor([0, 3, 5])
    shown = []
    for step in range(20):
        before = plain.batches.real(step, 0, torch.Generator().manual_seed(step))
        after = phase.batches.real(step, 0, torch.Generator().manual_seed(step))
        replaced = after.quality == 1
        assert torch.equal(after.distortion, before.distortion)
        assert torch.equal(after.images[~replaced], before.images[~replaced])
        assert torch.equal(after.quality[~replaced], before.quality[~replaced])
        assert torch.equal(after.images[replaced], phase.source.gather(*after.references, 16)[replaced])
        assert torch.equal(replaced[::crops_per_image].repeat_interleave(crops_per_image), replaced)
        shown += after.references[0][replaced].tolist()
    assert 50 < len(shown) < 110
    assert set(shown) == ({0} if references == "labelled" else {0, 3, 5})


@pytest.mark.slow
def test_the_generator_learns_that_quality_1_is_the_reference_itself(dataset):
    values = {"data.pristine_fraction": 0.5, "data.batch": 8, "losses.generator_class_weight": 0.0}
    config = tiny({**values, "losses.generator_quality_weight": 0.0, "losses.statistics_weight": 0.0})
    network, phase = start(dataset, config)
    for step in range(100):
        phase.step(step, 0)
    network.eval()
    random = torch.Generator().manual_seed(0)
    crops = phase.source.gather(*phase.batches.real(0, 0, random).references, 16)
    n, kinds = len(crops), torch.arange(len(crops)) % 3
    noise = network.generator.draw_noise(n, 16, random)
    changes = []
    with torch.no_grad():
        for quality in (0.1, 0.5, 1.0):
            changes.append((network.generator(noise, crops, kinds, torch.full((n,), quality)) - crops).abs().mean())
    assert changes[0] > changes[1] > changes[2]


def test_paired_conditions_generate_from_the_reference_under_the_same_window(dataset):
    """With the L1 loss alone a generator comes near the distorted crops of its batch."""
    config = paper(
        {
            "losses.adversarial_weight": 0.0,
            "losses.generator_class_weight": 0.0,
            "losses.generator_quality_weight": 0.0,
            "rates.generator": 5e-3,
            "data.aligned_fraction": 1.0,
        }
    )
    _, phase = start(dataset, config)
    terms = [phase.step(step, 0)["reconstruction"].item() for step in range(120)]
    assert np.mean(terms[-10:]) < 0.6 * np.mean(terms[:10])


def test_direct_training_lowers_the_losses_of_quality_and_class(dataset):
    values = {"rates.discriminator": 3e-3, "rates.evaluator": 3e-3, "rates.classifier": 3e-3, "data.batch": 16}
    config = paper({**values, "model.backbone_widths": (16, 16), "model.normalisation": "none"})
    _, phase = start(dataset, config.model_copy(update={"phases": (direct(200),)}))
    terms = [phase.step(step, 0) for step in range(200)]
    for name, share in (("quality", 0.85), ("class", 0.7)):
        values_of = [float(term[name]) for term in terms]
        assert np.mean(values_of[-50:]) < share * np.mean(values_of[:20]), name


def test_a_step_depends_on_its_number_and_seed_alone(dataset):
    first = start(dataset, paper())[1].step(4, 9)
    again = start(dataset, paper())[1].step(4, 9)
    other = start(dataset, paper())[1].step(5, 9)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_generator_that_the_phases_do_not_use_is_not_built():
    config = paper(config=TrainingConfig(phases=(direct(1),)))
    network = build(config, 3, 0)
    assert network.generator is None
    with pytest.raises(ValueError, match="without a generator"):
        network.part("generator")


def test_initial_weights_of_the_quality_network_do_not_depend_on_a_generator():
    with_generator = build(paper(), 3, 5).quality_network.state_dict()
    without = build(paper(config=TrainingConfig(phases=(direct(1),))), 3, 5).quality_network.state_dict()
    assert all(torch.equal(with_generator[name], without[name]) for name in without)


def test_bfloat16_trains_with_finite_losses_near_those_of_float32(dataset):
    exact = start(dataset, paper())[1].step(0, 0)
    rough = start(dataset, paper({"precision": "bfloat16"}))[1].step(0, 0)
    for name, value in exact.items():
        assert rough[name].item() == pytest.approx(value.item(), rel=0.1, abs=0.02)


NAMES = (
    "quality",
    "class",
    "source",
    "reconstruction",
    "generator_source",
    "statistics",
    "spectrum",
    "generator_quality",
)


def losses_of_20_steps(dataset) -> np.ndarray:
    """Losses of "regression", "paper" (without its data and normalisation) and "gada", one below the other."""
    regression, ours = (tiny(config=recipe(name, 10, 6, 4)) for name in ("regression", "gada"))
    configs = (regression, paper(config=gada(10, 6, 4)), ours)
    return np.concatenate([losses_of(dataset, config) for config in configs])


def losses_of(dataset, config) -> np.ndarray:
    rows = []
    network = build(config, len(DISTORTIONS), 7)
    ema = ExponentialMovingAverage(network, config.ema_decay)
    for number, settings in enumerate(config.phases):
        phase = Phase(network, toy_source(dataset), torch.arange(len(dataset)), config, number, ema)
        phase.prepare()
        for step in range(settings.steps):
            terms = phase.step(step, 0)
            rows.append([float(terms.get(name, 0.0)) for name in NAMES])
    return np.array(rows)


def test_the_golden_curve_of_20_steps_is_kept(dataset):
    """A refactor keeps it. A change of behaviour re-makes it and raises CODE_VERSION.

    Our defaults round coefficients, so that what two kinds of CPU add in another order (weights changed by 1e-7 do
    the same) is 2.5 % of a loss six steps later; the paper's losses have no such place.

    python -c "import numpy, torch, tests.training.test_phases as t; from tests.toy import toy_dataset as d;
    torch.set_num_threads(1); numpy.savetxt(t.GOLDEN, t.losses_of_20_steps(d()), fmt='%.6f')"
    """
    golden = np.loadtxt(GOLDEN)
    exact = np.ones(len(golden), dtype=bool)
    exact[2:20] = exact[42:60] = False
    losses = losses_of_20_steps(dataset)
    np.testing.assert_allclose(losses[exact], golden[exact], rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(losses[~exact], golden[~exact], rtol=5e-2, atol=2.5e-3)


@pytest.mark.parametrize("made_by", ["identity", "real_crops"])
def test_a_control_replaces_the_generator_in_phase_2_and_changes_nothing_else(dataset, made_by):
    values = {"phases.augmentation.generated_by": made_by}
    network, phase = start(dataset, paper(values), 1)
    before = state(network.part("generator"))
    random = torch.Generator().manual_seed(0)
    real = phase.batches.real(0, 5, random)
    made = phase._generate(real, 0, 5, random)
    assert made.images.shape == real.images.shape and not made.images.requires_grad
    references = phase.source.gather(*real.references, 16)
    if made_by == "identity":
        assert torch.equal(made.images, references)
    else:
        rows, _, _ = phase.batches.windows(0, 5, "further crops", torch.Generator())
        assert torch.equal(made.quality, phase.source.quality[rows])
        assert torch.equal(made.distortion, phase.source.distortion[rows])
        assert not torch.equal(made.images, real.images)
    assert changed_parts(dataset, paper(values), 1, steps=2) == {"backbone", "classifier", "evaluator"}
    phase.step(0, 0)
    assert same(before, network.part("generator"))


def test_a_phase_that_trains_the_generator_with_images_of_a_control_is_refused():
    with pytest.raises(ConfigError, match="phase 'gan' trains the generator, so its images must be generated_by"):
        paper({"phases.gan.generated_by": "identity"})


def test_a_generator_of_residuals_starts_at_the_reference_and_learns_to_change_it(dataset):
    _, phase = start(dataset, paper({"model.output": "residual"}))
    real = phase.batches.real(0, 0, torch.Generator().manual_seed(0))
    references = phase.source.gather(*real.references, 16)
    made = phase._generate(real, 0, 0, torch.Generator().manual_seed(0)).images
    assert torch.equal(made, references)
    for step in range(3):
        phase.step(step, 0)
    made = phase._generate(real, 0, 0, torch.Generator().manual_seed(0)).images
    assert not torch.equal(made, references) and made.min() >= 0 and made.max() <= 1


@pytest.mark.parametrize("recipe", ["gan", "augmentation"])
def test_the_default_recipes_train_every_part_that_a_phase_names(dataset, recipe):
    config = tiny(config=TrainingConfig(phases=with_earlier(recipe)))
    assert changed_parts(dataset, config, len(config.phases) - 1, steps=3) == set(config.phases[-1].trains)


TERMS = {
    "reconstruction": "losses.l1_weight",
    "statistics": "losses.statistics_weight",
    "spectrum": "losses.spectrum_weight",
    "generator_class": "losses.generator_class_weight",
    "generator_quality": "losses.generator_quality_weight",
    "generator_source": "losses.adversarial_weight",
}


@pytest.mark.parametrize("term", TERMS)
def test_each_term_alone_changes_the_generator_and_is_reported(dataset, term):
    values = {**dict.fromkeys(TERMS.values(), 0.0), TERMS[term]: 1.0}
    network, phase = start(dataset, tiny(values))
    before = state(network.part("generator"))
    terms = phase.step(0, 0)
    assert not same(before, network.part("generator"))
    # A term of weight 0 may be reported where it costs nothing, and moves nothing.
    assert term in terms


@pytest.mark.slow
def test_the_statistics_and_spectrum_losses_of_the_generator_fall(dataset):
    others = {"losses.l1_weight": 0.0, "losses.generator_class_weight": 0.0, "losses.generator_quality_weight": 0.0}
    _, phase = start(dataset, tiny({**others, "rates.generator": 5e-3, "data.batch": 16}))
    terms = [phase.step(step, 0) for step in range(80)]
    for name in ("statistics", "spectrum"):
        values = [float(term[name]) for term in terms]
        assert np.mean(values[-10:]) < 0.9 * np.mean(values[:10]), name


def test_the_ema_quality_network_teaches_the_generator_and_is_not_trained_by_its_crops(dataset):
    """Whatever it makes, the quality network learns from real crops alone in phase 1 of our defaults."""
    states = []
    for rate in (1e-9, 1e-2):
        network, phase = start(dataset, tiny({"rates.generator": rate}))
        for step in range(3):
            phase.step(step, 0)
        states.append(state(network.quality_network))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_phase_that_does_not_train_the_generator_uses_its_ema_weights(dataset):
    config = tiny()
    network = build(config, len(DISTORTIONS), 7)
    ema = ExponentialMovingAverage(network, config.ema_decay)
    assert isinstance(ema.network.generator, ModulatedGenerator)
    torch.nn.init.normal_(ema.network.generator.to_pixels.weight)
    phase = Phase(network, toy_source(dataset), torch.arange(len(dataset)), config, 1, ema)
    phase.prepare()
    real = phase.batches.real(0, 0, torch.Generator().manual_seed(0))
    made = phase._generate(real, 0, 0, torch.Generator().manual_seed(0)).images
    assert real.references is not None
    assert not torch.equal(made, phase.source.gather(*real.references, 16))


def test_a_phase_that_trains_the_generator_must_train_its_adversary():
    parts = ("generator", "backbone", "classifier", "evaluator")
    alone = tiny({"phases.gan.trains": parts, "losses.adversarial_weight": 0.0})
    assert alone.phases[0].trains == parts
    with pytest.raises(ConfigError, match="phase 'gan' trains the generator without the discriminator, its adversary"):
        paper({"phases.gan.trains": parts})


def test_several_crops_of_an_image_are_consecutive_with_different_windows(dataset):
    _, phase = start(dataset, tiny({"data.crops_per_image": 2}))
    rows, top, left = phase.batches.windows(0, 0, "epoch", torch.Generator().manual_seed(0))
    assert len(rows) == 4
    assert torch.equal(rows[::2], rows[1::2]) and len(set(rows.tolist())) == 2
    assert not torch.equal(top[::2] * 100 + left[::2], top[1::2] * 100 + left[1::2])


def test_sampled_crops_are_those_of_the_training_rows_maps(dataset):
    rows = torch.arange(4, len(dataset))
    busy = sampling.maps(dataset, "difference")
    means = []
    for kind in ("uniform", "difference"):
        values = {"data.sampling": kind, "data.temperature": 0.05, "data.aligned_fraction": 1.0}
        _, phase = start(dataset, tiny(values), rows=rows)
        seen = []
        for step in range(40):
            chosen, top, left = phase.batches.windows(step, 0, "epoch", torch.Generator().manual_seed(step))
            assert not (top % 8).any() and set(chosen.tolist()) <= set(rows.tolist())
            for row, t, s in zip(chosen.tolist(), (top // 8).tolist(), (left // 8).tolist(), strict=True):
                seen.append(busy[row][t : t + 2, s : s + 2].mean() / busy[row].mean())
        means.append(float(np.mean(seen)))
    assert means[1] > 1.04 * means[0]


def test_weighed_crops_learn_from_their_images_and_weights_move_by_that_alone(dataset):
    values = {"data.crops_per_image": 2, "model.weighs_crops": True, "losses.class_weight": 0.0}
    config = tiny(values, TrainingConfig(phases=(direct(3),)))
    network, phase = start(dataset, config)
    last = network.quality_network.evaluator[-1]
    before = last.weight.clone()
    terms = phase.step(0, 0)
    assert (last.weight[1] != before[1]).any(), "the weights learn"
    quality, weight = torch.tensor([0.1, 0.5, 0.2, 0.2]), torch.tensor([1.0, 3.0, 1.0, 1.0])
    assert losses.weighted_quality(quality, weight, 2).tolist() == pytest.approx([0.4, 0.2])
    assert terms["quality"].isfinite()


def test_generated_crops_have_unweighted_losses_where_crops_are_weighed(dataset):
    values = {"data.crops_per_image": 2, "model.weighs_crops": True, "evaluation.pooling": "learned"}
    assert changed_parts(dataset, tiny(values), number=1, steps=2) == {"backbone", "classifier", "evaluator"}


def test_a_mixed_step_has_as_many_aligned_crops_as_its_fraction_says_and_the_generator_learns_from_those(dataset):
    config = tiny({"data.aligned_fraction": 0.5})
    _, phase = start(dataset, config)
    batch = phase.batches.real(0, 0, torch.Generator().manual_seed(0))
    _, top, left = batch.references
    assert (top[:2] % 8 == 0).all() and (left[:2] % 8 == 0).all()
    assert phase.batches.paired == 2 and len(batch.first(2).images) == 2
    seen = []
    generator = phase.network.generator
    generator.register_forward_hook(lambda module, given, made: seen.append(given[1]))
    phase.step(0, 0)
    assert [len(references) for references in seen] == [2]
    assert start(dataset, tiny({"data.aligned_fraction": 0.0}))[1].batches.paired == 4


def test_views_of_the_first_crops_are_those_of_all_crops():
    views = Views(torch.rand(4, 3, 16, 16))
    assert torch.equal(views.first(2).contrast, views.contrast[:2])
    assert torch.equal(views.first(2).contrast, Views(views.images[:2]).contrast)
