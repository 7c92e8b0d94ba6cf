from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gada_ray import Choice, Contrast, LogUniform, Preset, Study, finetuning, gada, gan
from gada_ray.config import ConfigError, with_values
from gada_ray.study.definition import StudyError, data_selections, make_plan
from gada_ray.study.space import SpaceError
from studies import learning_rates
from tests.toy import TINY

RATE = {"rates.evaluator": LogUniform(1e-5, 1e-1)}
LEVELS = {"a": {}, "b": {"data.crop_px": 24}}


STUDY = Study(
    question="?",
    base=gada(3, 2, 1),
    variants=LEVELS,
    presets={"smoke": Preset(cost="nothing", splits=2, values=TINY)},
)


def plan(settings=None, variants=LEVELS, searched=None, preset="smoke", splits=None, **size):
    presets = {"smoke": Preset(cost="nothing", splits=2, values=TINY, **size)}
    of = Study(question="?", base=gada(3, 2, 1), variants=variants, searched=searched, presets=presets)
    return make_plan("toy", of, preset, "demo", settings or {}, splits)


def test_values_come_from_base_preset_settings_and_variant_the_later_before_the_earlier():
    variants = plan({"data.batch": 6, "model.feature_maps": 5}).variants
    assert [variant.config.data.crop_px for variant in variants] == [TINY["data.crop_px"], 24]
    for variant in variants:
        assert (variant.config.data.batch, variant.config.model.feature_maps) == (6, 5)
        assert variant.config.model.backbone_widths == TINY["model.backbone_widths"]
        assert variant.config.rates == gada(3, 2, 1).rates


def test_the_command_may_change_the_splits():
    assert (plan().splits, plan(splits=7).splits) == (2, 7)


def test_variants_that_are_not_searched_have_no_space_and_no_candidates():
    a, b = plan(space=RATE, candidates=3, searched=("b",)).variants
    assert (a.space, a.candidates) == ({}, 0)
    assert (b.space, b.candidates) == (RATE, 3)


def test_variants_may_be_a_function_of_the_base_and_see_settings():
    def variants(base):
        steps = base.phases[0].steps
        return {"gan alone": {"phases": (gan(2 * steps),)}, "fine-tuned": {"phases": (gan(steps), finetuning(steps))}}

    alone, tuned = plan({"phases.gan.steps": 8}, variants=variants).variants
    assert (alone.config.steps, tuned.config.steps) == (16, 16)


def test_a_setting_that_a_variant_would_overwrite_whatever_it_is_is_refused_also_where_variants_are_a_function():
    def variants(base):
        return {"few": {"data.labelled_images": 5}, "half": {"phases.gan.steps": base.phases[0].steps // 2}}

    assert plan({"phases.gan.steps": 8}, variants=variants).variants[1].config.phases[0].steps == 4
    assert [
        variant.config.data.labelled_images for variant in plan({"data.labelled_images": 5}, variants=variants).variants
    ] == [5, 5]
    with pytest.raises(StudyError, match=r"varies data\.labelled_images itself"):
        plan({"data.labelled_images": 6}, variants=variants)


def test_the_rates_of_the_paper_are_those_of_section_4_2():
    found = make_plan("learning_rates", learning_rates.STUDY, "small", "demo", {}).variants[0]
    rates = found.config.rates
    assert found.name == "paper's rates"
    assert (rates.discriminator, rates.generator, rates.classifier, rates.evaluator) == (1e-4, 5e-4, 5e-4, 5e-4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "tiny"}, "study 'toy' has no preset 'tiny'; available: smoke"),
        ({"searched": ("c",)}, "study 'toy' has no variant 'c'; available: a; b"),
        ({"settings": {"data.crop_px": 32}}, "varies data.crop_px itself"),
        ({"settings": {"rates.evaluator": 1e-3}, "space": RATE}, "varies rates.evaluator itself"),
        ({"splits": 0}, "--splits must be at least 1, got 0"),
        (
            {"space": {"rates.evalutor": LogUniform(1e-5, 1)}},
            "unknown field 'rates.evalutor'; nearest: rates.evaluator",
        ),
        ({"space": {"data.crop_px": Choice(16, 24)}}, "variant 'b' of study 'toy' sets data.crop_px itself"),
        ({"space": {"model.norm": Choice("none", "instance")}}, "model.norm='batch'"),
        ({"space": {"rates.evaluator": LogUniform(1e-3, 1)}}, "rates.evaluator=0.0005"),
    ],
    ids=["preset", "searched", "varied", "searched and set", "splits", "field", "variant's own", "choice", "range"],
)
def test_a_plan_that_cannot_be_names_the_rule_and_what_there_is(values, words):
    with pytest.raises(StudyError, match=re.escape(words)):
        plan(**values)


def test_a_preset_may_leave_variants_out_and_may_not_name_one_that_is_not_there():
    presets = {
        "few": Preset(cost="-", splits=1, variants=("b",)),
        "bad": Preset(cost="-", splits=1, variants=("a", "c")),
    }
    of = Study(question="?", base=gada(3, 2, 1), variants=LEVELS, presets=presets)
    assert [variant.name for variant in make_plan("toy", of, "few", "demo", {}).variants] == ["b"]
    with pytest.raises(StudyError, match="has no variant 'c'; available: a; b"):
        make_plan("toy", of, "bad", "demo", {})


def test_contrasts_are_those_of_the_preset_also_where_only_a_part_of_it_is_run():
    presets = {"all": Preset(cost="-", splits=1), "few": Preset(cost="-", splits=1, variants=("a", "c"))}
    named = (Contrast("a", "b", "Does a help?"), Contrast("c", "a", "Does c?"))
    of = Study(question="?", base=gada(3, 2, 1), variants={**LEVELS, "c": {}}, presets=presets, contrasts=named)
    assert make_plan("toy", of, "all", "demo", {}).contrasts == named
    assert make_plan("toy", of, "few", "demo", {}).contrasts == named[1:]
    assert make_plan("toy", of, "all", "demo", {}, only=["a", "b"]).contrasts == named


@pytest.mark.parametrize(
    ("contrasts", "words"),
    [
        ([("a", "d", "Is d?")], "contrast 'Is d?' of study 'toy' names a variant 'd'; available: a, b"),
        (
            [("a", "b", "Is a?", "plcc")],
            "contrast 'Is a?' of study 'toy' is about an unknown measure 'plcc'; available: srocc, generator_",
        ),
        ([("a", "a", "Is a?")], "contrast 'Is a?' of study 'toy' compares variant 'a' with itself"),
        ([("a", "b", "Is a?"), ("b", "a", "Is b?")], "contrast 'Is b?' of study 'toy' compares 'b' and 'a' a second"),
    ],
)
def test_a_contrast_that_cannot_be_is_named(contrasts, words):
    presets = {"few": Preset(cost="-", splits=1, variants=("a",))}
    named = tuple(Contrast(*one) for one in contrasts)
    of = Study(question="?", base=gada(3, 2, 1), variants=LEVELS, presets=presets, contrasts=named)
    with pytest.raises(StudyError, match=re.escape(words)):
        make_plan("toy", of, "few", "demo", {})


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ({"bad": {"data.crop_pxx": 16}}, "variant 'bad' of study 'toy': unknown field 'data.crop_pxx'; nearest: "),
        ({"bad": {"data.crop_px": 20}}, "variant 'bad' of study 'toy': crop_px must be a multiple of 8"),
        ({"bad": {"phases.warmup.steps": 1}}, "unknown field 'phases.warmup.steps'"),
    ],
)
def test_a_variant_that_cannot_be_is_named_with_field_and_rule(variants, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        plan(variants=variants)


def test_variants_on_the_same_images_share_a_selection_of_the_database():
    of = plan(variants={**LEVELS, "realigned": {"data.dmos": "realigned"}, "both": {"data.dmos": "realigned"}})
    assert len(data_selections(of.variants)) == 2
    of = plan(variants={**LEVELS, "local": {"data.demo_local": True}})
    assert len(data_selections(of.variants)) == 2


EXTRA = {"with photographs": {"phases.augmentation.generated_from": "extra"}}
OF_PHOTOGRAPHS = (Contrast("with photographs", "a", "Do they help?"), Contrast("b", "a", "Is b?"))


def with_photographs(extra, only=(), settings=None, variants=None):
    presets = {"p": Preset(cost="-", splits=1, values={"data.crop_px": 16})}
    variants = {"a": {}, "b": {}, **EXTRA} if variants is None else variants
    contrasts = OF_PHOTOGRAPHS if len(variants) > 1 else ()
    of = Study(question="?", base=gada(3, 2, 1), variants=variants, presets=presets, contrasts=contrasts)
    return make_plan("toy", of, "p", "demo", settings or {}, only=only, extra=extra)


def test_variants_that_distort_photographs_take_part_where_there_are_some_and_name_them():
    without = with_photographs(None)
    assert [variant.name for variant in without.variants] == ["a", "b"]
    assert without.contrasts == OF_PHOTOGRAPHS[1:]
    made = with_photographs("f" * 64)
    assert [variant.name for variant in made.variants] == ["a", "b", "with photographs"]
    assert made.contrasts == OF_PHOTOGRAPHS
    named = [[phase.extra_fingerprint for phase in variant.config.phases] for variant in made.variants]
    assert named == [[None] * 3, [None] * 3, [None, "f" * 64, None]]
    one, _, other = (variant.config for variant in made.variants)
    assert one.phases[0] == other.phases[0]  # so that phase 1 is trained once


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"extra": None, "only": ["with photographs"]},
            "variant 'with photographs' of study 'toy' distorts unlabelled photographs",
        ),
        (
            {"extra": "f", "only": ["a"]},
            "--extra-references: no variant of study 'toy' distorts unlabelled photographs",
        ),
        ({"extra": None, "variants": EXTRA}, "all variants of study 'toy' distort unlabelled photographs; give"),
    ],
)
def test_photographs_that_are_missing_or_not_wanted_are_named(arguments, words):
    with pytest.raises(StudyError, match=re.escape(words)):
        with_photographs(**arguments)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"data.dmos": Choice("original", "realigned")}, "searches data.dmos, which selects data"),
        ({"data.shorter_side": Choice(32, 64)}, "searches data.shorter_side, which selects data"),
        ({"data.labelled_images": Choice(5, 10)}, "searches data.labelled_images, which selects data"),
        ({"phases.augmentation.generated_from": Choice("labelled", "extra")}, "with 'extra'"),
        ({"data.crops_per_image": Choice(1, 3)}, "holds data.crops_per_image=3: data.batch must be a multiple"),
        (
            {"data.batch": Choice(4, 6), "data.crops_per_image": Choice(1, 2, 4)},
            "holds data.batch=6 with data.crops_per_image=4: data.batch must be a multiple",
        ),
        ({"ema_decay": LogUniform(0.5, 1.5)}, "holds ema_decay=1.5: ema_decay: Input should be less than 1, got 1.5"),
    ],
)
def test_a_space_that_selects_data_or_breaks_a_rule_is_refused_by_name(space, words):
    with pytest.raises(StudyError, match=re.escape(words)):
        plan(variants={"a": {}}, space=space, candidates=2)


def test_a_space_with_fewer_combinations_than_candidates_plans_as_many_as_there_are():
    norms = {"model.norm": Choice("batch", "instance")}
    assert plan(variants={"a": {}}, space=norms, candidates=8).variants[0].candidates == 2
    assert plan(variants={"a": {}}, space={**norms, **RATE}, candidates=8).variants[0].candidates == 8


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((("a", "b"),), "Choice('a', 'b'), got one tuple, ('a', 'b')"),
        ((["a"],), "got one tuple"),
        (("a", "b", "a"), "names a value twice"),
        ((), "at least one value"),
    ],
)
def test_a_choice_by_mistake_is_named(values, words):
    with pytest.raises(SpaceError, match=re.escape(words)):
        Choice(*values)


def test_the_largest_configurations_have_the_largest_of_every_number_and_all_kinds():
    space = {
        "data.batch": Choice(4, 12, 8),
        "data.crop_px": Choice(16, 32),
        "model.feature_maps": Choice(16, 64),
        "model.backbone_widths": Choice((4, 8, 8), (16, 16, 16)),
        "model.norm": Choice("batch", "instance"),
        "model.skips": Choice(True, False),
        **RATE,
    }
    (variant,) = plan(variants={"a": {}}, space=space, candidates=2).variants
    sizes = {
        (c.data.batch, c.data.crop_px, c.model.feature_maps, c.model.backbone_widths, c.rates.evaluator)
        for c in variant.largest
    }
    assert sizes == {(12, 32, 64, (16, 16, 16), variant.config.rates.evaluator)}
    assert len({(c.model.norm, c.model.skips) for c in variant.largest}) == 4
    assert variant.largest_crop_px == 32
    kinds = {"model.norm": Choice("batch", "instance", "none", "spectral"), "model.output": Choice("image", "residual")}
    many = {**kinds, "model.upsampling": Choice("transpose", "resize"), "model.skips": Choice(True, False)}
    (variant,) = plan(variants={"a": {}}, space=many, candidates=2).variants
    assert len(variant.largest) == 4 + 2 + 2 + 2, "of 32 combinations"


def test_what_will_run_is_counted_for_the_splits_and_variants_of_the_command():
    assert (plan().trials, plan(splits=1).trials) == (4, 2)
    assert plan(space=RATE, candidates=3, searched=("b",)).trials == 2 + 8


def test_the_base_gets_the_values_of_recipe_preset_and_settings_in_this_order():
    size = Preset(cost="-", splits=1, values={"data.batch": 8})
    of = Study(question="?", base=gada(3, 2, 1), variants={"a": {}}, presets={"p": size}, recipe="paper")
    paper = make_plan("toy", of, "p", "demo", {"losses.l1_weight": 7.0})
    config = paper.variants[0].config
    assert paper.recipe == "paper"
    assert (config.data.crop_px, config.data.batch, config.losses.l1_weight) == (128, 8, 7.0)
    ours = make_plan("toy", of, "p", "demo", {}, recipe="regression")
    assert ours.recipe == "regression"
    assert ours.variants[0].config == with_values(gada(3, 2, 1), {"data.batch": 8, "losses.adversarial_weight": 0.0})
    with pytest.raises(ConfigError, match="unknown recipe 'gan'; available: gada, paper, regression"):
        make_plan("toy", of, "p", "demo", {}, recipe="gan")


def test_files_are_named_after_the_data_and_only_a_run_with_other_options_has_a_digest():
    a, b = "/data/tid8", "/data/my pictures"
    assert plan().name == "toy-smoke-demo"
    assert plan(splits=2).name == "toy-smoke-demo"
    of = replace(plan(), dataset="manifest")
    assert [replace(of, source=(root, "")).name for root in (a, b)] == ["toy-smoke-tid8", "toy-smoke-my_pictures"]
    others = [
        plan(splits=3),
        plan({"data.batch": 6}),
        plan({"data.batch": 7}),
        replace(plan(), source=("", "/splits.json")),
        make_plan("toy", STUDY, "smoke", "demo", {}, seed=1),
        make_plan("toy", STUDY, "smoke", "demo", {}, only=("b",)),
    ]
    names = [one.name for one in others]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"toy-smoke-demo-[0-9a-f]{8}", name) for name in names), names
    assert replace(others[0], dataset="manifest", source=(a, "")).name.startswith("toy-smoke-tid8-")
