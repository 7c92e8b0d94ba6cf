"""Scores by distortion beside the paper's Tables 2 and 3."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis import beside_paper, paper, tables
from analysis.page import Section, Table


def section(dataset: str, distortions: list[str]) -> Section:
    """The section of a study with two splits, one variant, and BRISQUE."""
    of_types = {f"{metric}/{name}": [0.75, 0.85] for metric in tables.METRICS for name in distortions}
    own = pd.DataFrame({"split": [0, 1], "srocc": 0.9, "plcc": 0.9} | of_types)
    splits = own.assign(variant="GADA", references_train=16, references_held_out=4)
    brisque = own.assign(**{f"srocc/{name}": 0.4 for name in distortions})
    return beside_paper.section(dataset, tables.scores(tables.with_baselines(splits, brisque)))


def cells(table: Table) -> dict[str, list[str]]:
    """The cells of every row, by its method."""
    return {row[0]: row[1:] for row in table.rows}


def test_a_part_of_tid2013_stands_beside_its_types_of_table_3() -> None:
    found = section("tid8", ["01", "17"])
    (table,) = found.parts
    assert isinstance(table, Table)
    assert table.columns == ["method", "01 gaussian noise", "17 contrast"]
    rows = cells(table)
    assert rows["HOSA\nthe paper, Table 3, TID2013"] == ["0.853", "0.294"]
    assert rows["GADA\nthe paper, Table 3, TID2013"] == ["0.932", "–"], "of type 17 our copy has no legible value"
    assert rows["GADA\nthis study, tid8"] == ["0.800\n0.800"] * 2
    assert rows[f"{tables.BRISQUE}\nthis study, tid8"] == ["0.400\n0.400"] * 2
    assert list(table.marks) == ["paper"] * len(paper.TABLE_3) + ["ours", "baseline"]
    assert set(table.frame["distortion"]) == {"01", "17"}, "without ALL, which is of other types"
    assert "tid8 is not TID2013: our rows are not comparable with results on TID2013. GADA’s values" in table.note


def test_a_part_of_live_stands_beside_its_types_of_table_2_by_both_metrics() -> None:
    found = section("live20", ["gblur", "wn"])
    by_srocc, by_plcc = found.parts
    assert isinstance(by_srocc, Table) and isinstance(by_plcc, Table)
    assert cells(by_srocc)["GADA\nthe paper, Table 2, LIVE"] == ["0.958", "0.991"]
    assert cells(by_plcc)["GADA\nthe paper, Table 2, LIVE"] == ["0.968", "0.994"]
    assert not any(row.startswith("PQR") for row in cells(by_srocc)), "it has no value by distortion"
    assert by_srocc.note == by_plcc.note == "live20 is not LIVE: our rows are not comparable with results on LIVE."


def test_the_whole_database_is_not_called_a_part() -> None:
    for dataset, distortion in (("LIVE release 2", "ff"), ("TID2013", "01_gaussian_noise")):
        found = section(dataset, [distortion])
        assert found.parts and not any("not comparable" in part.note for part in found.parts if isinstance(part, Table))


@pytest.mark.parametrize(
    ("dataset", "distortions"),
    [("demo", ["jpeg"]), ("LIVE in the Wild", ["unspecified"]), ("KADID-10k", ["07_color_saturation"]), ("tid8", [])],
)
def test_other_classes_and_databases_have_no_section(dataset: str, distortions: list[str]) -> None:
    assert not section(dataset, distortions).parts


def test_types_are_found_by_number_or_by_the_distortion_that_they_name() -> None:
    assert paper.types("tid8", ["07", "18_saturation", "25", "noise", "ALL"]) == {"07": "07", "18_saturation": "18"}
    names = {"JPEG 2000": "jp2k", "blur": "gblur", "ff": "ff"}
    assert paper.types("live_own", [*names, "contrast", "ALL"]) == names
