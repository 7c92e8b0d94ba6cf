from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gada_ray import Choice, LogUniform, Preset, Study, direct, finetuning, gada
from gada_ray.config import TrainingConfig
from gada_ray.data.splits import make_splits
from gada_ray.study.definition import StudyError, data_selections, make_plan
from gada_ray.study.proposals import FAILED
from gada_ray.study.racing import Racing
from gada_ray.study.results import same_trainings, table, write_tables
from gada_ray.study.search import Configuration, Job, Search
from gada_ray.trials.store import DatasetRecord, FoldRecord, Result, RunRecord
from tests.toy import TINY, toy_dataset

REFERENCES = [f"r{number:02d}" for number in range(15)]


def study(variants=None, candidates=0, space=None, splits=3, first=(), **more):
    size = Preset(cost="nothing", splits=splits, values=TINY, space=space or {}, candidates=candidates, first=first)
    variants = variants or {"a": {}, "b": {"data.batch": 8}}
    return Study(question="?", base=gada(3, 2, 1), variants=variants, presets={"smoke": size}, **more)


def search(of, known=lambda signature: None, racing=True, **callbacks):
    plan = make_plan("toy", of, "smoke", "toy", {}, racing=racing)
    places = list(data_selections(plan.variants))
    splits = {place: make_splits(REFERENCES, plan.splits) for place in places}
    return Search(plan, splits, dict.fromkeys(places, "f" * 64), known, **callbacks)


def result(job, score, status="finished"):
    trial, metrics = job.trial, {"srocc": score, "plcc": score} if status == "finished" else {}
    record = DatasetRecord(
        name="t", labels="t", direction="lower_is_better", score_range=(0, 1), fingerprint="f", images=1, references=1
    )
    run = RunRecord(
        device="cpu", threads=1, host="h", started="2026-01-01T00:00:00+00:00", seconds=1.0, phase_seconds={},
        evaluation_seconds=0.0, peak_memory_mb=1.0, versions={},
    )  # fmt: skip
    return Result(
        signature=trial.signature, status=status, config=trial.config,
        fold=FoldRecord(**dataclasses.asdict(trial.fold)),
        seed=0, dataset=record, code_version=1, metrics=metrics, phases=(), run=run, files={},
    )  # fmt: skip


def quality(job):
    """A score that depends on the evaluator's rate and the split, the same for every run."""
    rate = np.log10(job.trial.config.rates.evaluator)
    noise = int(job.trial.signature[:6], 16) / 16**6
    return float(0.9 - 0.1 * (rate + 3.5) ** 2 + 0.01 * job.trial.fold.split + 0.002 * noise)


def play(of, workers=1, pick=0, score=quality, known=None, racing=True, **callbacks):
    """Run a search with some workers; `pick` decides which of the running jobs ends first. All jobs, in order."""
    store = dict(known or {})
    running: list[Job] = []
    done: list[Job] = []
    searching = search(of, store.get, racing, **callbacks)
    while not searching.finished:
        while len(running) < workers and (job := searching.next()):
            running.append(job)
        assert running, "nothing runs, and nothing can start"
        job = running.pop(pick % len(running))
        outcome = score(job)
        value = result(job, outcome) if isinstance(outcome, float) else result(job, 0.0, outcome) if outcome else None
        if value is not None:
            store[job.trial.signature] = value
        done.append(job)
        searching.done(job, value)
    return searching, done, store


RATE = {"rates.evaluator": LogUniform(1e-5, 1e-1)}


def test_a_grid_trains_every_variant_on_every_split_once():
    _, done, _ = play(study(), workers=2)
    assert sorted((job.run.variant, job.trial.fold.split) for job in done) == [
        (variant, split) for variant in "ab" for split in range(3)
    ]
    assert {job.trial.fold.scored_on for job in done} == {"test"}


def test_the_store_is_asked_once_for_every_trial_however_many_wait():
    asked: list[str] = []

    def known(signature: str) -> None:
        asked.append(signature)

    of = study({str(variant): {"losses.l1_weight": 1.0 + variant} for variant in range(10)}, splits=6)
    searching, todo = search(of, known), []
    while (job := searching.next()) is not None:
        searching.done(job, result(job, 0.5))
        todo.append(job.trial.signature)
    assert searching.finished and len(todo) == 60
    assert sorted(asked) == sorted(todo)


@pytest.mark.parametrize(("workers", "pick"), [(1, 0), (3, 0), (3, 2), (20, 7)])
def test_candidates_depend_neither_on_the_workers_nor_on_which_trial_ends_first(workers, pick):
    of = study({"a": {}}, candidates=9, space=RATE, splits=5)
    first, _, _ = play(of)
    other, _, _ = play(of, workers, pick)
    for one, two in zip(first.configurations(), other.configurations(), strict=True):
        assert (one.run.values, one.results.keys(), one.pruned) == (two.run.values, two.results.keys(), two.pruned)


@pytest.mark.parametrize("pick", [1, 3, 7])
def test_the_table_does_not_depend_on_which_trial_ends_first_to_the_last_bit(pick):
    def score(job):
        return float(np.random.default_rng(job.trial.fold.split).random())

    first, _, _ = play(study(splits=10), workers=10, score=score)
    other, _, _ = play(study(splits=10), workers=10, score=score, pick=pick)
    pd.testing.assert_frame_equal(table(first.configurations()), table(other.configurations()), check_exact=True)


def test_a_job_that_broke_off_is_the_next_to_start():
    searching = search(study())
    first = searching.next()
    assert first and searching.next()
    searching.again(first)
    assert not searching.finished and searching.next() is first


def test_an_interrupted_search_goes_on_with_the_same_candidates_and_trains_nothing_twice():
    of = study({"a": {}}, candidates=6, space=RATE)
    whole, done, store = play(of)
    half = dict(list(store.items())[: len(store) // 2])
    again, rest, _ = play(of, workers=3, known=half)
    assert len(rest) == len(done) - len(half)
    assert [c.run.values for c in again.configurations()] == [c.run.values for c in whole.configurations()]
    nothing, trained, _ = play(of, known=store)
    assert not trained and nothing.variants[0].tested and nothing.variants[0].tested.complete


def test_a_search_scores_on_validation_references_and_never_sees_a_test_reference():
    _, done, _ = play(study({"a": {}}, candidates=3, space=RATE))
    tests = {split.index: set(split.test) for split in make_splits(REFERENCES, 3)}
    for job in done:
        seen = set(job.trial.fold.train) | set(job.trial.fold.held_out)
        if job.run.stage == "search":
            assert job.trial.fold.scored_on == "validation"
            assert not seen & tests[job.trial.fold.split]
        else:
            assert set(job.trial.fold.held_out) == tests[job.trial.fold.split]


def test_the_first_candidate_is_the_variants_own_configuration_and_the_best_one_is_tested():
    searching, done, _ = play(study({"a": {}}, candidates=12, space=RATE), racing=False)
    variant = searching.variants[0]
    assert variant.proposed[0].run.config.rates.evaluator == 5e-4
    best = max(variant.proposed, key=lambda c: c.mean)
    tested = [job for job in done if job.run.stage == "test"]
    assert {job.trial.config for job in tested} == {best.run.config}
    assert len(tested) == 3


def test_variants_that_are_not_searched_keep_their_values():
    _, done, _ = play(study(candidates=2, space=RATE, searched=("b",)))
    assert {job.run.stage for job in done if job.run.variant == "a"} == {"test"}
    assert {job.run.stage for job in done if job.run.variant == "b"} == {"test", "search"}


def test_optuna_learns_that_a_diverged_candidate_is_the_worst_and_it_is_never_the_best():
    def score(job):
        return "diverged" if job.trial.config.rates.evaluator > 1e-3 else quality(job)

    searching, _, _ = play(study({"a": {}}, candidates=8, space=RATE), score=score)
    variant = searching.variants[0]
    failed = [c.run.number for c in variant.proposed if c.failed]
    assert failed and [number for number, value in enumerate(variant.told) if value == FAILED] == failed
    assert variant.best and variant.best.run.config.rates.evaluator <= 1e-3


def test_where_half_of_a_range_diverges_later_candidates_avoid_it_and_the_best_one_is_good():
    def score(job):
        return "diverged" if job.trial.config.rates.evaluator > 1e-3 else quality(job)

    def optimum(rate):
        return 0.1 * (np.log10(rate) + 3.5) ** 2

    of = study({"a": {}}, candidates=30, space={"rates.evaluator": LogUniform(1e-5, 1e-1)}, splits=5)
    searching, _, _ = play(of, score=score)
    variant = searching.variants[0]
    random, proposed = variant.proposed[:10], variant.proposed[10:]
    assert sum(c.failed for c in random) >= 3, "about half of what is drawn at random"
    assert sum(c.failed for c in proposed) <= len(proposed) / 4
    assert variant.best and optimum(variant.best.run.config.rates.evaluator) < 0.005


def test_changes_that_a_study_names_are_tried_right_after_its_own_values():
    space = {"model.norm": Choice("batch", "instance"), "rates.evaluator": LogUniform(1e-5, 1e-1)}
    first = ({"model.norm": "instance"}, {"rates.evaluator": 1e-2}, *({"rates.evaluator": 10**-x} for x in range(2, 5)))
    searching, _, _ = play(study({"a": {}}, candidates=12, space=space, first=first))
    tried = [(c.run.config.model.norm, c.run.config.rates.evaluator) for c in searching.variants[0].proposed]
    # The second 1e-2 is no new candidate.
    assert tried[:5] == [("batch", 5e-4), ("instance", 5e-4), ("batch", 1e-2), ("batch", 1e-3), ("batch", 1e-4)]
    assert len(set(tried)) == len(tried) == 12


def test_more_changes_than_a_generation_has_room_for_are_all_tried():
    first = tuple({"rates.evaluator": 1e-5 * number} for number in range(2, 15))
    searching, _, _ = play(study({"a": {}}, candidates=14, space={"rates.evaluator": LogUniform(1e-5, 1)}, first=first))
    tried = [c.run.config.rates.evaluator for c in searching.variants[0].proposed]
    assert tried == [5e-4, *(change["rates.evaluator"] for change in first)]


def test_a_change_outside_the_space_is_refused():
    with pytest.raises(StudyError, match=r"first tries rates.evaluator=2.*does not contain"):
        search(
            study(
                {"a": {}}, candidates=3, space={"rates.evaluator": LogUniform(1e-5, 1)}, first=({"rates.evaluator": 2},)
            )
        )
    with pytest.raises(StudyError, match=r"first tries data.batch=8.*does not contain"):
        search(study({"a": {}}, candidates=3, space=RATE, first=({"data.batch": 8},)))


def test_a_candidate_is_proposed_once_however_small_the_space():
    of = study({"a": {}}, candidates=8, space={"model.norm": Choice("batch", "instance")})
    searching, done, _ = play(of)
    variant = searching.variants[0]
    assert [c.run.values["model.norm"] for c in variant.proposed] == ["batch", "instance"]
    assert len(done) == 3 * 2 + 3 == searching.planned


def test_all_combinations_of_choices_are_candidates_before_the_search_ends():
    space = {"data.batch": Choice(2, 4, 6), "model.norm": Choice("batch", "instance", "none", "spectral")}
    searching, _, _ = play(study({"a": {}}, candidates=40, space=space, splits=1))
    values = [tuple(c.run.values[path] for path in space) for c in searching.variants[0].proposed]
    assert len(values) == len(set(values)) == 12


def test_widths_of_layers_can_be_searched():
    space = {"model.backbone_widths": Choice((4, 8, 8), (8, 8, 8))}
    searching, _, _ = play(study({"a": {}}, candidates=2, space=space))
    assert {c.run.config.model.backbone_widths for c in searching.variants[0].proposed} == {(4, 8, 8), (8, 8, 8)}


def test_a_variant_whose_candidates_all_failed_stays_in_the_table_without_a_score(tmp_path):
    of = study(candidates=3, space=RATE, searched=("b",))
    searching, _, _ = play(of, score=lambda job: quality(job) if job.run.stage == "test" else "diverged")
    dataset = toy_dataset()
    splits = make_splits(dataset.references, 3)
    _, found = write_tables(tmp_path, searching.plan, searching.configurations(), dataset, splits)
    rows = found[found["stage"] == "test"].set_index("variant")
    assert (rows.loc["b", "n"], rows.loc["b", "planned"]) == (0, 3)
    assert (rows.loc["a", "n"], rows.loc["a", "planned"]) == (3, 3)
    assert rows["srocc_mean"].isna()["b"] and not rows["srocc_mean"].isna()["a"]


def test_variants_that_are_the_same_training_are_named():
    def score(job):
        return 0.9 if job.trial.config.rates.evaluator == 5e-4 else 0.5

    searching, _, _ = play(
        study({"own": {}, "searched": {}}, candidates=4, space=RATE, searched=("searched",)), score=score
    )
    assert same_trainings(searching.configurations()) == [("own", "searched")]
    assert same_trainings(play(study())[0].configurations()) == []


def test_a_candidate_without_a_score_on_one_split_is_never_the_best():
    def score(job):
        if job.run.stage == "search" and job.run.number == 2:
            return None if job.trial.fold.split == 1 else 0.999
        return quality(job)

    searching, done, _ = play(study({"a": {}}, candidates=6, space=RATE), score=score, racing=False)
    variant = searching.variants[0]
    assert max(variant.proposed[2].scores) == 0.999 and variant.proposed[2].failed
    assert variant.best is not None and variant.best.run.number != 2
    assert {job.trial.config for job in done if job.run.stage == "test"} == {variant.best.run.config}


def test_a_variant_whose_candidates_all_failed_has_no_best_one_and_its_search_ends():
    searching, done, _ = play(study({"a": {}}, candidates=3, space=RATE), score=lambda job: None)
    assert searching.finished and searching.variants[0].best is None and searching.variants[0].failed
    assert searching.planned == len(done)
    assert {job.run.stage for job in done} == {"search"}


def test_a_lost_race_stops_a_candidate_and_optuna_is_told_comparable_values():
    """The first splits in the order are the easiest: plain means would put losers first."""
    pruned: list[Configuration] = []
    of = study({"a": {}}, candidates=12, space=RATE, splits=10)
    order = [job.trial.fold.split for job in search(of).variants[0].proposed[0].jobs]

    def score(job):
        return quality(job) - 0.02 * order.index(job.trial.fold.split)

    searching, done, _ = play(of, score=score, on_pruned=pruned.append)
    full, everything, _ = play(of, score=score, racing=False)
    assert pruned and len(done) < len(everything)
    variant = searching.variants[0]
    for configuration in pruned:
        assert 4 <= len(configuration.results) < 10
        assert configuration.run.splits == tuple(
            job.trial.fold.split for job in configuration.jobs[: len(configuration.results)]
        )
    best = variant.best
    assert best and best.complete and not best.pruned
    assert variant.told[best.run.number] == max(variant.told) == pytest.approx(best.mean)
    plain = [float(np.mean(c.scores)) for c in variant.proposed]
    assert plain[best.run.number] < max(plain), "what a loser's plain mean would have been told as"
    assert not any(configuration.pruned for configuration in full.configurations())
    assert searching.planned == len(done)


def test_all_candidates_see_the_splits_in_one_order():
    searching, _, _ = play(study({"a": {}}, candidates=5, space=RATE, splits=8))
    orders = {tuple(job.trial.fold.split for job in c.jobs) for c in searching.variants[0].proposed}
    assert len(orders) == 1


def test_a_trial_waits_for_one_that_trains_its_first_phases():
    one, two = direct(3), finetuning(2)
    variants = {"short": {"phases": (one,)}, "long": {"phases": (one, two)}}
    searching = search(dataclasses.replace(study(variants, splits=1), base=TrainingConfig(phases=(one,))))
    short = searching.next()
    assert short is not None and short.run.variant == "short"
    assert searching.next() is None and not searching.finished
    searching.done(short, result(short, 0.5))
    following = searching.next()
    assert following is not None and following.run.variant == "long"


def test_two_variants_that_are_the_same_trial_train_it_once():
    _, done, store = play(study({"a": {}, "b": {"data.batch": 4}}), workers=4, known={})
    assert len(store) == 3
    assert len(done) == 3


def test_choices_can_be_searched():
    _, done, _ = play(study({"a": {}}, candidates=4, space={"model.norm": Choice("batch", "instance")}))
    assert {job.trial.config.model.norm for job in done} == {"batch", "instance"}


def test_a_setting_that_the_study_varies_is_refused():
    for values in ({"data.batch": 5}, {"rates.evaluator": 1e-3}):
        with pytest.raises(StudyError, match="itself"):
            make_plan("toy", study(candidates=1, space=RATE), "smoke", "toy", values)


def test_racing_can_be_set_by_the_study():
    strict = study({"a": {}}, candidates=12, space=RATE, splits=10, racing=Racing(first=8))
    searching, _, _ = play(strict)
    assert all(len(c.results) >= 8 for c in searching.variants[0].proposed)


LATER = {"phases.finetuning.rate_factor": LogUniform(1e-2, 1.0)}


def later_quality(job):
    return quality(job) + 0.01 * np.log10(job.trial.config.phases[-1].rate_factor)


@pytest.mark.parametrize("workers", [1, 3])
def test_candidates_that_differ_in_later_phases_alone_train_the_first_ones_once_a_split(workers):
    of = study({"a": {}}, candidates=4, space=LATER, splits=3)
    seen = []
    searching, done, store = play(of, workers, score=later_quality, on_done=lambda job, *_: seen.append(job.run.stage))
    starts = [job for job in done if job.run.stage == "start"]
    assert [phase.name for phase in starts[0].trial.config.phases] == ["gan", "augmentation"]
    assert len(starts) == 3 and len({job.trial.fold.split for job in starts}) == 3
    places = {job.trial.signature: place for place, job in enumerate(done)}
    candidates = [job for job in done if job.run.stage == "search"]
    assert len(candidates) >= 8
    for job in candidates:
        (start,) = places.keys() & job.trial.starts.keys() & {one.trial.signature for one in starts}
        assert places[start] < places[job.trial.signature]
    # No candidate: nothing is told or shown of it, and it is on validation references.
    assert all(c.run.stage != "start" for c in searching.configurations())
    assert len(searching.configurations()) == 5 and len(searching.variants[0].told) == 4
    assert set(searching.started) == {job.trial.signature for job in starts}
    assert all(job.trial.fold.scored_on == "validation" for job in starts)
    assert searching.planned == len(done) - 3 - searching.discarded[0]
    assert seen.count("start") == 3

    plain, *_ = play(of, score=later_quality)
    assert [c.run.values for c in plain.configurations()] == [c.run.values for c in searching.configurations()]
    _, again, _ = play(of, known=store, score=later_quality)
    assert not again, "what is done needs no first phases"


def test_only_values_of_later_phases_leave_first_phases_to_share():
    spaces = {
        2: LATER,
        1: {**LATER, "phases.augmentation.rate_factor": LogUniform(1e-2, 1.0)},
        0: {**LATER, "rates.evaluator": LogUniform(1e-5, 1e-1)},
    }
    for shared, space in spaces.items():
        (variant,) = make_plan("toy", study({"a": {}}, 4, space), "smoke", "toy", {}).variants
        assert variant.shared_phases == shared
    (variant,) = make_plan("toy", study({"a": {}}, 1, LATER), "smoke", "toy", {}).variants
    assert variant.shared_phases == 0, "one candidate shares with none"
    (variant,) = make_plan("toy", study({"a": {}}), "smoke", "toy", {}).variants
    assert variant.shared_phases == 0


def test_first_phases_that_cannot_be_trained_leave_candidates_to_train_from_nothing():
    of = study({"a": {}}, candidates=2, space=LATER, splits=2)
    searching, done, _ = play(of, score=lambda job: None if job.run.stage == "start" else later_quality(job))
    assert searching.variants[0].best is not None
    assert {job.run.stage for job in done} == {"start", "search", "test"}
