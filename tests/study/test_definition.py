from __future__ import annotations

import re

import pytest

from gada_ray import Choice, Contrast, LogUniform, Preset, Study, finetuning, gada, gan
from gada_ray.config import ConfigError
from gada_ray.study.definition import StudyError, data_selections, make_plan
from studies import learning_rates
from tests.toy import TINY

RATE = {"rates.evaluator": LogUniform(1e-5, 1e-1)}
LEVELS = {"a": {}, "b": {"data.crop_px": 24}}


def plan(settings=None, levels=LEVELS, searched=None, preset="smoke", splits=None, **size):
    presets = {"smoke": Preset(cost="nothing", splits=2, values=TINY, **size)}
    of = Study(question="?", base=gada(3, 2, 1), levels=levels, searched=searched, presets=presets)
    return make_plan("toy", of, preset, "demo", settings or {}, splits)


def test_values_come_from_base_preset_settings_and_level_the_later_before_the_earlier():
    levels = plan({"data.batch": 6, "model.feature_maps": 5}).levels
    assert [level.config.data.crop_px for level in levels] == [TINY["data.crop_px"], 24]
    for level in levels:
        assert (level.config.data.batch, level.config.model.feature_maps) == (6, 5)
        assert level.config.model.trunk_widths == TINY["model.trunk_widths"]
        assert level.config.rates == gada(3, 2, 1).rates


def test_the_command_may_change_the_splits():
    assert (plan().splits, plan(splits=7).splits) == (2, 7)


def test_levels_that_are_not_searched_have_no_space_and_no_proposals():
    a, b = plan(space=RATE, proposals=3, searched=("b",)).levels
    assert (a.space, a.proposals) == ({}, 0)
    assert (b.space, b.proposals) == (RATE, 3)


def test_levels_may_be_a_function_of_the_base_and_see_settings():
    def levels(base):
        steps = base.phases[0].steps
        return {"gan alone": {"phases": (gan(2 * steps),)}, "fine-tuned": {"phases": (gan(steps), finetuning(steps))}}

    alone, tuned = plan({"phases.gan.steps": 8}, levels=levels).levels
    assert (alone.config.steps, tuned.config.steps) == (16, 16)


def test_a_setting_that_a_level_would_overwrite_whatever_it_is_is_refused_also_where_levels_are_a_function():
    def levels(base):
        return {"few": {"data.rated_images": 5}, "half": {"phases.gan.steps": base.phases[0].steps // 2}}

    assert plan({"phases.gan.steps": 8}, levels=levels).levels[1].config.phases[0].steps == 4
    assert [level.config.data.rated_images for level in plan({"data.rated_images": 5}, levels=levels).levels] == [5, 5]
    with pytest.raises(StudyError, match=r"varies data\.rated_images itself"):
        plan({"data.rated_images": 6}, levels=levels)


def test_the_rates_of_the_paper_are_those_of_section_4_2():
    found = make_plan("learning_rates", learning_rates.STUDY, "small", "demo", {}).levels[0]
    rates = found.config.rates
    assert found.name == "paper's rates"
    assert (rates.discriminator, rates.generator, rates.classifier, rates.evaluator) == (1e-4, 5e-4, 5e-4, 5e-4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "tiny"}, "study 'toy' has no preset 'tiny'; available: smoke"),
        ({"searched": ("c",)}, "study 'toy' has no level 'c'; available: a, b"),
        ({"settings": {"data.crop_px": 32}}, "varies data.crop_px itself"),
        ({"settings": {"rates.evaluator": 1e-3}, "space": RATE}, "varies rates.evaluator itself"),
        ({"splits": 0}, "--splits must be at least 1, got 0"),
        (
            {"space": {"rates.evalutor": LogUniform(1e-5, 1)}},
            "unknown field 'rates.evalutor'; nearest: rates.evaluator",
        ),
        ({"space": {"data.crop_px": Choice(16, 24)}}, "level 'b' of study 'toy' sets data.crop_px itself"),
        ({"space": {"model.norm": Choice("none", "instance")}}, "model.norm='batch'"),
        ({"space": {"rates.evaluator": LogUniform(1e-3, 1)}}, "rates.evaluator=0.0005"),
    ],
    ids=["preset", "searched", "varied", "searched and set", "splits", "field", "level's own", "choice", "range"],
)
def test_a_plan_that_cannot_be_names_the_rule_and_what_there_is(values, words):
    with pytest.raises(StudyError, match=re.escape(words)):
        plan(**values)


def test_a_preset_may_leave_levels_out_and_may_not_name_one_that_is_not_there():
    presets = {"few": Preset(cost="-", splits=1, levels=("b",)), "bad": Preset(cost="-", splits=1, levels=("a", "c"))}
    of = Study(question="?", base=gada(3, 2, 1), levels=LEVELS, presets=presets)
    assert [level.name for level in make_plan("toy", of, "few", "demo", {}).levels] == ["b"]
    with pytest.raises(StudyError, match="has no level 'c'; available: a, b"):
        make_plan("toy", of, "bad", "demo", {})


def test_contrasts_are_of_levels_that_take_part():
    presets = {"all": Preset(cost="-", splits=1), "few": Preset(cost="-", splits=1, levels=("a", "c"))}
    named = (Contrast("a", "b", "Does a help?"), Contrast("c", "a", "Does c?"))
    of = Study(question="?", base=gada(3, 2, 1), levels={**LEVELS, "c": {}}, presets=presets, contrasts=named)
    assert make_plan("toy", of, "all", "demo", {}).contrasts == named
    assert make_plan("toy", of, "few", "demo", {}).contrasts == named[1:]
    assert make_plan("toy", of, "all", "demo", {}, only=["a", "b"]).contrasts == named[:1]


@pytest.mark.parametrize(
    ("contrasts", "words"),
    [
        ([("a", "d", "Is d?")], "contrast 'Is d?' of study 'toy' names a level 'd'; available: a, b"),
        (
            [("a", "b", "Is a?", "lcc")],
            "contrast 'Is a?' of study 'toy' is about an unknown measure 'lcc'; available: srocc, generator_",
        ),
        ([("a", "a", "Is a?")], "contrast 'Is a?' of study 'toy' compares level 'a' with itself"),
        ([("a", "b", "Is a?"), ("b", "a", "Is b?")], "contrast 'Is b?' of study 'toy' compares 'b' and 'a' a second"),
    ],
)
def test_a_contrast_that_cannot_be_is_named(contrasts, words):
    presets = {"few": Preset(cost="-", splits=1, levels=("a",))}
    named = tuple(Contrast(*one) for one in contrasts)
    of = Study(question="?", base=gada(3, 2, 1), levels=LEVELS, presets=presets, contrasts=named)
    with pytest.raises(StudyError, match=re.escape(words)):
        make_plan("toy", of, "few", "demo", {})


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ({"bad": {"data.crop_pxx": 16}}, "level 'bad' of study 'toy': unknown field 'data.crop_pxx'; nearest: "),
        ({"bad": {"data.crop_px": 20}}, "level 'bad' of study 'toy': crop_px must be a multiple of 8"),
        ({"bad": {"phases.warmup.steps": 1}}, "unknown field 'phases.warmup.steps'"),
    ],
)
def test_a_level_that_cannot_be_is_named_with_field_and_rule(levels, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        plan(levels=levels)


def test_levels_on_the_same_images_share_a_selection_of_the_database():
    of = plan(levels={**LEVELS, "realigned": {"data.dmos": "realigned"}, "both": {"data.dmos": "realigned"}})
    assert len(data_selections(of.levels)) == 2
    of = plan(levels={**LEVELS, "local": {"data.demo_local": True}})
    assert len(data_selections(of.levels)) == 2


EXTRA = {"with photographs": {"phases.augmentation.generated_from": "extra"}}
OF_PHOTOGRAPHS = (Contrast("with photographs", "a", "Do they help?"), Contrast("b", "a", "Is b?"))


def with_photographs(extra, only=(), settings=None, levels=None):
    presets = {"p": Preset(cost="-", splits=1, values={"data.crop_px": 16})}
    levels = {"a": {}, "b": {}, **EXTRA} if levels is None else levels
    contrasts = OF_PHOTOGRAPHS if len(levels) > 1 else ()
    of = Study(question="?", base=gada(3, 2, 1), levels=levels, presets=presets, contrasts=contrasts)
    return make_plan("toy", of, "p", "demo", settings or {}, only=only, extra=extra)


def test_levels_that_distort_photographs_take_part_where_there_are_some_and_name_them():
    without = with_photographs(None)
    assert [level.name for level in without.levels] == ["a", "b"]
    assert without.contrasts == OF_PHOTOGRAPHS[1:]
    made = with_photographs("f" * 64)
    assert [level.name for level in made.levels] == ["a", "b", "with photographs"]
    assert made.contrasts == OF_PHOTOGRAPHS
    named = [[phase.extra_fingerprint for phase in level.config.phases] for level in made.levels]
    assert named == [[None] * 3, [None] * 3, [None, "f" * 64, None]]
    one, _, other = (level.config for level in made.levels)
    assert one.phases[0] == other.phases[0]  # so that phase 1 is trained once


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"extra": None, "only": ["with photographs"]}, "level 'with photographs' of study 'toy' distorts photographs"),
        ({"extra": "f", "only": ["a"]}, "--extra-references: no level of study 'toy' distorts photographs"),
        ({"extra": None, "levels": EXTRA}, "all levels of study 'toy' distort photographs that nobody rated; give"),
    ],
)
def test_photographs_that_are_missing_or_not_wanted_are_named(arguments, words):
    with pytest.raises(StudyError, match=re.escape(words)):
        with_photographs(**arguments)
