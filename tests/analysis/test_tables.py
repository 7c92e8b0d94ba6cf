"""Tables of a report, from frames alone."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis import paper, tables


def test_crops_are_counted_for_the_first_variants_standard_error() -> None:
    splits = pd.DataFrame({"variant": ["a", "a", "b", "b"], "crop_spread": [0.01, 0.01, 0.012, 0.016]})
    frame = tables.crop_draws(splits, {"a": 30, "b": 15})
    assert frame["variant"].tolist() == ["a", "b"]
    assert frame["spread"].tolist() == pytest.approx([0.01, 0.0002**0.5])
    assert frame["crops_needed"].tolist() == pytest.approx([30, 30])


def of_two_numbers() -> pd.DataFrame:
    """Two variants with different numbers of labelled images, whose image-blind baselines differ."""
    rows = [
        (variant, split, baseline)
        for split in (0, 1)
        for variant, baseline in (("5 labelled", 0.1), ("20 labelled", 0.2 + split))
    ]
    return pd.DataFrame(rows, columns=["variant", "split", "image_blind_srocc"]).assign(
        references_held_out=4, references_train=16, srocc=0.9, plcc=0.9, brisque_srocc=0.95, brisque_plcc=0.9
    )


def test_a_baseline_stands_once_or_once_for_every_variant_that_has_another() -> None:
    splits = of_two_numbers()
    found = tables.scores(splits).query("source == 'baseline' and metric == 'srocc'").set_index("variant")["mean"]
    name, brisque = "image-blind baseline (images as in {})", "classical baseline (BRISQUE)"
    wanted = {name.format("5 labelled"): 0.1, name.format("20 labelled"): 0.7, brisque: 0.95}
    assert found.to_dict() == pytest.approx(wanted)
    assert found.index.tolist() == list(wanted), "in the order of the variants"
    shared = pd.concat([splits, splits[splits["variant"] == "5 labelled"].assign(variant="1st, 5 labelled")])
    assert tables.scores(shared).query("source == 'baseline'")["variant"].iloc[0] == name.format("5 labelled")
    same = tables.scores(splits.assign(image_blind_srocc=0.1)).query("source == 'baseline' and metric == 'srocc'")
    assert same["variant"].tolist() == ["image-blind baseline", brisque]


def test_the_image_blind_baseline_of_one_distortion_class_is_left_out() -> None:
    """Its predictions are constant, which was shown as 0.000 ± 0.000."""
    splits = of_two_numbers().assign(image_blind_srocc=0.0)
    assert list(tables.baselines(splits, "srocc")) == ["classical baseline (BRISQUE)"]


def test_variants_and_both_baselines_are_given_split_by_split() -> None:
    frame = tables.by_split(of_two_numbers().assign(image_blind_srocc=0.1))
    assert frame["variant"].tolist() == [
        "5 labelled",
        "20 labelled",
        "image-blind baseline",
        "classical baseline (BRISQUE)",
    ]
    assert frame[["split 0", "split 1"]].to_numpy().tolist() == [[0.9] * 2, [0.9] * 2, [0.1] * 2, [0.95] * 2]


def test_brisque_has_a_score_by_distortion_where_the_baseline_kept_it() -> None:
    splits = of_two_numbers().drop(columns=["brisque_srocc", "brisque_plcc"]).assign(**{"srocc/jpeg": 0.8})
    kept = pd.DataFrame({"split": [0, 1], "srocc": 0.9, "plcc": 0.9, "krcc": 0.7, "krcc/jpeg": 0.6})
    found = tables.scores(tables.with_baselines(splits, kept.assign(**{"srocc/jpeg": [0.5, 0.7]})))
    brisque = found[found["variant"] == tables.BRISQUE].set_index(["metric", "distortion"])["mean"]
    assert brisque.to_dict() == pytest.approx({("srocc", "ALL"): 0.9, ("srocc", "jpeg"): 0.6, ("plcc", "ALL"): 0.9})
    before = tables.scores(tables.with_baselines(splits, kept))
    assert before.loc[before["variant"] == tables.BRISQUE, "distortion"].tolist() == ["ALL", "ALL"]


def test_variants_are_compared_with_brisque_by_split_and_adjusted_for_their_number() -> None:
    rows = [(v, s, 0.9 + s / 50 + n / 100) for n, v in enumerate("ab") for s in range(4)]
    splits = pd.DataFrame(rows, columns=["variant", "split", "srocc"]).assign(
        references_held_out=4, references_train=16, brisque_srocc=lambda f: 0.95 + f["split"] ** 2 / 100
    )
    table = tables.against_brisque(splits)
    assert table["first"].tolist() == ["a", "b"] and set(table["second"]) == {tables.BRISQUE}
    wanted = statistics_of(splits, "a")
    assert table["difference"][0] == pytest.approx(wanted)
    assert (table["p_holm"] >= table["p"]).all() and table["p_holm"].max() > table["p"].min()
    assert tables.against_brisque(splits.drop(columns="brisque_srocc")).empty


def statistics_of(splits: pd.DataFrame, variant: str) -> float:
    """The mean difference of a variant from BRISQUE."""
    own = splits[splits["variant"] == variant]
    return float((own["srocc"] - own["brisque_srocc"]).mean())


def test_results_from_before_the_standard_error_was_recorded_have_no_table() -> None:
    assert tables.crop_draws(pd.DataFrame({"variant": ["a"]}), {"a": 30}).empty


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.937, "0.937"), (-0.003, "−0.003"), (-0.0002, "−0.0002"), (0.0, "0.000"), (-0.0, "0.000"), (2e-16, "0.000"),
     (-3e-6, "−0.000003"), (float("nan"), "")],
)  # fmt: skip
def test_numbers_have_a_leading_zero_and_are_never_a_signed_zero(value: float, text: str) -> None:
    assert tables.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.009, "+0.009"), (-0.009, "−0.009"), (0.0, "0.000"), (0.00021, "+0.0002")]
)
def test_differences_have_a_sign(value: float, text: str) -> None:
    assert tables.signed(value) == text


def test_p_values_intervals_and_durations_are_written_for_people() -> None:
    assert [tables.p_value(p) for p in (0.0321, 0.78, 0.0001, 1.0)] == ["0.032", "0.78", "< 0.001", "1.00"]
    assert tables.between(-0.003, 0.002) == "[−0.003, 0.002]" and tables.between(float("nan"), 1.0) == ""
    assert [tables.duration(h) for h in (0.01, 0.03, 0.5, 2.25)] == ["36 s", "1.8 min", "30.0 min", "2.2 h"]


def test_the_papers_numbers_stand_only_beside_its_own_databases() -> None:
    classes = ["jp2k", "jpeg", "wn", "gblur"]
    assert set(paper.numbers("phases", "LIVE release 2", classes)["source"]) == {"Table 1, LIVE"}
    for other in ("live20", "demo", "LIVE release 2, regenerated subset", "TID2013, regenerated subset"):
        assert paper.numbers("phases", other, [*classes, "01_gaussian_noise"]).empty
    assert set(paper.numbers("phases", "TID2013", ["01_gaussian_noise"])["source"]) == {"Table 3, TID2013"}


def test_the_generators_measures_are_found_by_the_names_under_which_they_are_recorded() -> None:
    splits = pd.DataFrame(
        {"variant": ["a", "a"], "generator_class_accuracy": [0.8, 0.9], "after_gan/generator_mdsi_srocc": [0.5, 0.7]}
    )
    table = tables.generator(splits)
    assert table[["class_accuracy", "mdsi_srocc"]].to_numpy()[0] == pytest.approx([0.85, 0.6])
