"""What the studies of the project promise: equal steps where they say so, and parts that sum to the whole."""

from __future__ import annotations

import pytest

import tune
from gada_ray.study.definition import Plan, make_plan
from studies import labels

PHOTOS = "0" * 64


def plan(name: str, preset: str = "small", extra: str | None = None) -> Plan:
    return make_plan(name, tune.load_study(name), preset, "demo", {}, extra=extra)


@pytest.mark.parametrize("preset", ["smoke", "small", "paper"])
def test_methods_of_the_study_of_labels_have_equal_steps_and_differ_in_images_and_ranking_alone(preset):
    variants = [one for one in plan("labels", preset, PHOTOS).variants if not one.name.startswith("phase 1")]
    assert len({one.config.steps for one in variants}) == 1
    assert len({tuple(phase.rate_factor for phase in one.config.phases) for one in variants}) == 1
    for one in variants:
        ranks = [phase.ranks for phase in one.config.phases]
        assert any(ranks) == ("ranking" in one.name), one.name
        assert one.config.uses_extra == ("photographs" in one.name)
        assert one.config.uses_generator == ("GADA" in one.name or "generated" in one.name)
        assert one.config.data.labelled_by == "random"


def test_a_setting_of_the_ranking_term_reaches_all_variants_that_rank():
    study = tune.load_study("labels")
    settings = {"phases.augmentation.ranking.margin": 0.05, "phases.augmentation.ranking.pairs": 7}
    made = make_plan("labels", study, "small", "demo", settings)
    terms = [phase.ranking for one in made.variants for phase in one.config.phases if phase.ranks]
    assert {one.pairs for one in terms} == {7} and {one.made_by for one in terms} == {"procedural", "generator"}
    # The generator's pairs have margins of their own.
    assert all((one.margin == 0.05) == (one.made_by == "procedural") for one in terms)


def test_the_study_of_labels_has_every_number_of_labels_for_every_method():
    variants = plan("labels", "paper", PHOTOS).variants
    assert len(variants) == 7 * len(labels.NUMBERS)


def test_the_parts_of_the_gain_in_table_1_sum_to_it_and_are_of_equal_steps():
    study, made = tune.load_study("phases"), plan("phases")
    steps = {one.name: one.config.steps for one in made.variants}
    longer, tuned, generated, same = study.contrasts
    assert (longer.second, longer.first, tuned.first) == ("baseline", tuned.second, generated.second)
    assert generated.first == same.first == "phases 1+2+3"
    for one in (tuned, generated, same):
        assert steps[one.first] == steps[one.second]


def test_methods_of_the_study_of_the_budget_have_equal_steps_for_every_share_and_end_in_fine_tuning():
    steps: dict[str, set[int]] = {}
    for one in plan("budget").variants:
        steps.setdefault(one.name.split(", ")[1], set()).add(one.config.steps)
        assert one.config.phases[-1].trains == ("backbone", "evaluator")
    assert sorted(number for numbers in steps.values() for number in numbers) == [1000, 2000, 4000, 8000]


def test_variants_of_the_study_of_defaults_have_equal_steps_and_mixed_test_crops_but_for_two():
    variants = plan("defaults").variants
    assert {one.config.steps for one in variants} == {2500}
    others = [one.name for one in variants if one.config.test_alignment != "mixed"]
    assert others == ["previous defaults, aligned test", "defaults, aligned test"]
