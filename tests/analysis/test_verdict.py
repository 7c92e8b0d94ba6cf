"""The verdict: one statement for each contrast, which is wrong as rarely as it claims."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis import comparisons, figures, load, statistics, tables
from analysis.page import Table
from analysis.verdict import conclusion, notices, statements
from gada_ray.study.contrasts import MEASURES, Contrast, from_text, to_text

A, B = "GADA", "baseline"
NAMED = (Contrast(A, B, "Does GADA help?"),)


def frame(differences, test=4, train=16):
    """Two variants whose scores differ by the given amounts, one for each split."""
    sides = {"references_held_out": test, "references_train": train, "plcc": 0.5}
    rows = [
        {"variant": variant, "split": split, "srocc": 0.8 + (difference if variant == A else 0), **sides}
        for variant in (B, A)
        for split, difference in enumerate(differences)
    ]
    return pd.DataFrame(rows)


def said(splits, named=NAMED, brisque=None):
    """The sentences about some splits."""
    splits = tables.with_baselines(splits, brisque)
    found = statements(
        tables.scores(splits),
        tables.pairs(splits),
        tables.contrasts(splits, named),
        named,
        tables.against_brisque(splits),
    )
    return [one.text for one in found]


@pytest.mark.parametrize(
    ("middle", "noise", "words"),
    [
        (0.03, 0.004, ["Better: GADA − baseline, Δ SROCC +0.030, 95% CI [0.0", "p < 0.001 (not adjusted), 10 splits."]),
        (0.004, 0.0005, ["Better, by less than 0.01: "]),
        (-0.004, 0.0005, ["Worse, by less than 0.01: "]),
        (-0.03, 0.004, ["Worse: GADA − baseline, Δ SROCC −0.030, 95% CI [−0.0"]),
        (-0.009, 0.012, ["Gain of 0.01 or more ruled out: "]),
        (
            -0.0002,
            0.004,
            ["Equivalent within ±0.01 (gain of 0.01 or more ruled out): ", "Δ SROCC −0.0002, 95% CI [−0.00"],
        ),
        (0.008, 0.012, ["Loss of 0.01 or more ruled out: ", "; detecting 0.01 is not attainable with these"]),
        (0.005, 0.006, ["Loss of 0.01 or more ruled out: ", "; detecting 0.01 requires ", " splits."]),
        (0.008, 0.03, ["Inconclusive: ", "(80% power): 0.0", "; detecting 0.01 is not attainable with these"]),
    ],
)
def test_a_verdict_answers_the_question_in_the_fixed_terms(middle, noise, words):
    random = np.random.default_rng(0).normal(0, 1, 10)
    text = said(frame(middle + noise * (random - random.mean()) / random.std(ddof=1)))[0]
    assert text.startswith("Does GADA help? ")
    for word in words:
        assert word in text, text


def test_two_splits_or_differences_without_spread_are_inconclusive():
    for differences, why in (([-0.478, -0.478], "fewer than 3 splits"), ([0.03] * 4, "differences that do not vary")):
        text = said(frame(differences))[0]
        assert text.startswith("Does GADA help? Inconclusive: GADA − baseline, Δ SROCC ")
        assert why in text and "p " not in text.partition("Inconclusive")[2].replace("split", "")


def test_variants_with_equal_signatures_are_the_same_training_and_not_a_finding():
    splits = frame([0.0] * 5)
    splits["signature"] = splits["split"].astype(str)
    text = said(splits)[0]
    assert "The same training: GADA and baseline have equal signatures on all 5 splits; nothing to test." in text
    runs = SimpleNamespace(splits=splits.assign(device="cpu"))
    assert notices(runs, tables.pairs(splits)) == [  # type: ignore[arg-type]
        "baseline and GADA are the same training: equal signatures on all 5 splits."
    ]


def test_a_comparison_that_mixes_devices_is_named():
    splits = frame([0.01, 0.012, 0.02, 0.015])
    splits["device"] = np.where(splits["variant"] == A, "NVIDIA H200", "cpu")
    assert "The two were trained on different devices or by different kernels (NVIDIA H200, cpu)." in said(splits)[0]
    (text,) = notices(SimpleNamespace(splits=splits), tables.pairs(splits))  # type: ignore[arg-type]
    assert "different devices or by different kernels (4 on cpu, 4 on NVIDIA H200)" in text


def test_a_comparison_that_mixes_compiled_trainings_and_others_is_named():
    splits = frame([0.01, 0.012, 0.02, 0.015])
    gpu = {"device": "NVIDIA H200", "deterministic": "False"}
    of = {name: load._device(gpu | {"compiled": str(name == A)}) for name in (A, B)}
    splits["device"] = splits["variant"].map(of)
    assert "different kernels (NVIDIA H200, NVIDIA H200 (compiled))." in said(splits)[0]
    (text,) = notices(SimpleNamespace(splits=splits), tables.pairs(splits))  # type: ignore[arg-type]
    assert "(4 on NVIDIA H200, 4 on NVIDIA H200 (compiled))" in text
    assert load._device({"device": "cpu"}) == "cpu", "runs of before do not tell"
    assert load._device(gpu | {"compiled": "True", "deterministic": "True"}) == "NVIDIA H200 (compiled, deterministic)"


def test_contrasts_are_kept_as_text_also_as_they_were_before_they_had_a_measure():
    named = (*NAMED, Contrast(A, B, "Does quality show?", "generator_quality_srocc"))
    assert from_text(to_text(named)) == named
    assert from_text('[["GADA", "baseline", "Does GADA help?"]]') == NAMED and from_text("") == ()


def test_a_best_variant_with_one_split_so_far_is_inconclusive():
    splits = pd.concat([frame([0.0, 0.1]), frame([0.0]).query("variant == @A").assign(variant="best", srocc=0.99)])
    assert said(splits, ())[0] == "Inconclusive: best has the highest mean, but one split allows no comparison."


def test_one_split_is_inconclusive_and_ranks_nothing():
    first, ranking = said(frame([0.1]))
    assert first.startswith("Inconclusive: no contrast of the study has two or more splits")
    assert ranking == "Mean test SROCC over 1 split: GADA 0.900, baseline 0.800. One split cannot rank them."


def test_contrasts_that_were_not_run_count_in_the_adjustment_and_are_counted():
    named = (*NAMED, Contrast("photographs", A, "Do photographs help?"))
    first, second, _ = said(frame([0.03, 0.031, 0.029, 0.032]), named)
    assert "(adjusted for 2 contrasts)" in first
    assert second == "1 of the study’s 2 contrasts has not been run; p values are adjusted for all 2."


def test_the_ranking_is_one_sentence_with_the_baselines():
    splits = frame([0.0, 0.02, -0.01, 0.01]).assign(image_blind_srocc=0.2, image_blind_plcc=0.2)
    brisque = pd.DataFrame({"split": range(4), "srocc": [0.7, 0.71, 0.72, 0.7], "plcc": 0.7})
    _, ranking, classical = said(splits, brisque=brisque)
    assert ranking == (
        "Mean test SROCC over 4 splits: GADA 0.805, baseline 0.800; image-blind baseline 0.200; classical baseline "
        "(BRISQUE) 0.708. These splits cannot rank them: the two variants do not differ significantly (p < 0.05, "
        "adjusted)."
    )
    assert classical.startswith(
        "Compared with the classical baseline (BRISQUE) on the same splits, 2 of 2 variants better and 0 worse"
    )
    assert "The best variant, GADA: Δ SROCC +0.098, 95% CI [" in classical
    assert "(adjusted for 2 variants), 4 splits." in classical


def test_the_ranking_counts_repetitions_of_a_split_once():
    splits = frame([0.02, 0.03, 0.01, 0.02, 0.03, 0.01])
    repeated = splits.assign(held_out=[(split % 3,) for split in splits["split"]])
    assert any(text.startswith("Mean test SROCC over 3 splits of 2 trainings each: ") for text in said(repeated))
    assert any(text.startswith("Mean test SROCC over 6 splits: ") for text in said(splits))


def test_the_verdict_is_adjusted_for_contrasts_alone_and_pairs_for_all_pairs():
    splits = pd.concat(
        [frame([0.011, 0.008, 0.012, 0.007, 0.01])]
        + [frame([0, 0.01, -0.01, 0, 0.01]).query("variant == @A").assign(variant=f"other {n}") for n in range(4)]
    )
    contrasts, pairs = tables.contrasts(splits, NAMED), tables.pairs(splits)
    own = contrasts[contrasts["metric"] == "srocc"].iloc[0]
    assert own["p_holm"] == own["p"]
    same = pairs[(pairs["metric"] == "srocc") & (pairs["first"] == B) & (pairs["second"] == A)].iloc[0]
    assert same["p"] == pytest.approx(own["p"])
    other = tables.exploratory(pairs, contrasts)
    assert len(other) == len(pairs) - 2
    assert not ((other["first"] == B) & (other["second"] == A)).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("true", "wrong"),
    [
        (0.0, ("better", "worse")),
        (0.01, ("gain of 0.01 or more ruled out", "equivalent within ±0.01", "worse")),
        (-0.004, ("better",)),
        (-0.01, ("loss of 0.01 or more ruled out", "equivalent within ±0.01", "better")),
    ],
)
def test_of_three_contrasts_rarely_one_is_answered_wrongly(true, wrong):
    """29 references, 6 tested, 10 splits: every reference has an effect of its own on each difference.

    The corrected t is an approximation: of 2,500 such studies without any difference 7% answered one of three wrongly,
    and 6% a single one.
    """
    random, studies, mistakes = np.random.default_rng(2), 300, 0
    named = tuple(Contrast(variant, "base", "?") for variant in "abc")
    for _ in range(studies):
        tests = [random.permutation(29)[:6] for _ in range(10)]
        columns = {"base": np.zeros(10)}
        for variant in "abc":
            effect = random.normal(true, 0.012, 29)
            columns[variant] = np.array([effect[test].mean() for test in tests])
        splits = pd.DataFrame(columns).rename_axis("split").reset_index().melt("split", var_name="variant")
        splits = splits.rename(columns={"value": "srocc"}).assign(references_held_out=6, references_train=23, plcc=0.0)
        mistakes += any(conclusion(row) in wrong for _, row in statistics.contrasts(splits, named).iterrows())
    assert mistakes / studies <= 0.08


def test_a_contrast_may_be_about_what_a_generator_shows_and_holm_then_spans_the_measures():
    about = Contrast(A, B, "Does quality show?", "generator_quality_srocc")
    splits = frame([0.02, 0.025, 0.03, 0.02, 0.022])
    splits["generator_quality_srocc"] = splits["srocc"] - 0.3 + (splits["variant"] == A) * splits["split"] / 100
    named = (*NAMED, about)
    pairs, found = tables.pairs(splits), tables.contrasts(splits, named)
    assert list(found["metric"]) == ["srocc", "generator_quality_srocc", "plcc"]
    own = tables.decisive(found)
    assert own["p_holm"].max() == pytest.approx(max(own["p"].max(), 2 * own["p"].min()))
    first, second, _ = said(splits, named)
    assert first.startswith("Does GADA help? Better: GADA − baseline, Δ SROCC +0.023")
    assert second.startswith(
        f"Does quality show? Better: GADA − baseline, Δ {MEASURES[about.measure]} +0.043, 95% CI ["
    )
    assert "(adjusted for 2 contrasts)" in second
    other = tables.exploratory(pairs, found[found["metric"] == about.measure])
    assert set(other["metric"]) == {"srocc", "plcc"}, "the pair is a contrast by another measure alone"
    table = next(part for part in comparisons.contrasts(found).parts if isinstance(part, Table))
    names = [row[0].partition("\n")[0].rpartition(", by ")[2] for row in table.rows]
    assert names == ["SROCC", MEASURES[about.measure]]
    texts = [text.get_text() for text in figures.forest(own).axes[0].texts]
    assert texts[0] == "GADA − baseline" and texts[1].startswith("GADA − baseline, ")


def test_a_measure_that_no_run_recorded_is_inconclusive():
    text = said(frame([0.1, 0.2]), named=(Contrast(A, B, "Does its class show?", "generator_class_accuracy"),))[0]
    assert text.startswith("Inconclusive: no contrast")


def test_without_contrasts_the_verdict_is_about_the_best_variant():
    text = said(frame([0.03, 0.031, 0.029, 0.032]), named=())[0]
    assert text.startswith("GADA is better than the other variant: GADA − baseline, Δ SROCC +0.03")
