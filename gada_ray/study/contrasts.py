"""Contrasts: the few comparisons of two variants that a study specifies before it runs, and its verdict is about."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass

MEASURES = {
    "srocc": "SROCC",
    "generator_class_accuracy": "the class accuracy of generated crops",
    "generator_quality_srocc": "the quality SROCC of generated crops",
}
"""Measures of a test that a contrast may be about, and their names for people; higher is better in each."""


@dataclass(frozen=True)
class Contrast:
    """Two variants and the question that their difference answers."""

    first: str
    second: str
    question: str
    """Question whose answer is yes if the first variant is better than the second."""
    measure: str = "srocc"
    """By what, of `MEASURES`; those of the generator are an independent evaluator (`gada_ray.evaluation.generated`)."""


def to_text(contrasts: Iterable[Contrast]) -> str:
    """Contrasts as JSON, for a tag of a tracking service."""
    return json.dumps([astuple(one) for one in contrasts], ensure_ascii=False)


def from_text(text: str) -> tuple[Contrast, ...]:
    """The contrasts of `to_text`, of this or an older version; none for an empty text."""
    return tuple(Contrast(*one) for one in json.loads(text or "[]"))
