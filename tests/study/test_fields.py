"""Every field of the configuration is used: set or varied by a study, recipe or benchmark, or described for users."""

from __future__ import annotations

import re
from pathlib import Path

from gada_ray import gada
from gada_ray.config import PhaseConfig, RankingConfig, flatten

ROOT = Path(__file__).parents[2]
FILLED_IN = {"phases.extra_fingerprint"}
"""Values that no user gives."""


def test_what_no_study_recipe_benchmark_or_page_uses_is_no_field():
    files = [
        *ROOT.glob("studies/*.py"),
        ROOT / "gada_ray/recipes.py",
        *ROOT.glob("benchmarks/*.py"),
        *ROOT.glob("docs/*.md"),
    ]
    text = "\n".join(path.read_text() for path in files)
    phases = {f"phases.{name}" for name in PhaseConfig.model_fields if name not in ("name", "ranking")}
    ranking = {f"ranking.{name}" for name in RankingConfig.model_fields}
    paths = {path for path in flatten(gada(1, 1, 1)) if not path.startswith("phases.")} | phases | ranking
    unused = []
    for path in sorted(paths - FILLED_IN):
        group, _, name = path.rpartition(".")
        dotted = rf"{group}\.(\w+\.)*{name}\b" if group else rf"\b{name}\b"
        keyword = rf"\b{name}=" if group in ("phases", "ranking") else r"(?!)"  # as recipes set them
        if f"`{group}.*`" not in text and not re.search(f"{dotted}|{keyword}|`{name}`", text):
            unused.append(path)
    assert not unused, "take these fields out, or let a study use them"
