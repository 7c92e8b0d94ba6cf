"""The comparisons that a study's verdict is about: few, each of two variants, and named before anything is run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass

MEASURES = {
    "srocc": "SROCC",
    "generator_class_accuracy": "the share of generated crops that show their class",
    "generator_quality_srocc": "the rank correlation of asked and shown quality",
}
"""What a contrast may be about, of what a test run measures, in words; more is better in each."""


@dataclass(frozen=True)
class Contrast:
    """Two variants, and the question that their difference answers."""

    first: str
    second: str
    question: str
    """In words, such that "yes" means that the first variant reaches more than the second."""
    measure: str = "srocc"
    """By what, of `MEASURES`; those of the generator are an independent evaluator (`gada_ray.evaluation.generated`)."""


def to_text(contrasts: Iterable[Contrast]) -> str:
    """Contrasts as JSON, for a tracking service to keep."""
    return json.dumps([astuple(one) for one in contrasts], ensure_ascii=False)


def from_text(text: str) -> tuple[Contrast, ...]:
    """The contrasts of `to_text`, of this or an older version; none for an empty text."""
    return tuple(Contrast(*one) for one in json.loads(text or "[]"))
