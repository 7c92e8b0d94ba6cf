"""The verdict of a study: one sentence for each pre-specified contrast, the ranking, and the classical baseline.

Terminal, MLflow and report show the same `statements`, so that they cannot contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from analysis import tables
from analysis.load import Runs
from analysis.statistics import ALPHA, MIN_SPLITS, SMALLEST_EFFECT
from analysis.tables import ALL, BASELINE, BRISQUE, OURS, between, number, p_value, signed
from gada_ray.study.contrasts import MEASURES, Contrast

SHORT = {"srocc": "SROCC", "plcc": "PLCC"}
MAX_RANKED = 8
"""Variants that the ranking lists by name."""

BETTER, WORSE, INCONCLUSIVE = "better", "worse", "inconclusive"
NO_GAIN = f"gain of {SMALLEST_EFFECT:.2f} or more ruled out"
NO_LOSS = f"loss of {SMALLEST_EFFECT:.2f} or more ruled out"
EQUIVALENT = f"equivalent within ±{SMALLEST_EFFECT:.2f}"
SAME = "the same training"


class Statement(NamedTuple):
    """One sentence of a verdict, in parts, so that a page can emphasise the conclusion."""

    question: str
    conclusion: str
    detail: str

    @property
    def text(self) -> str:
        """The whole sentence."""
        start = f"{self.question} {self.conclusion}".strip()
        return f"{start}: {self.detail}" if start else self.detail


def statements(
    scores: pd.DataFrame, pairs: pd.DataFrame, contrasts: pd.DataFrame, named: Sequence[Contrast], brisque: pd.DataFrame
) -> tuple[Statement, ...]:
    """The verdict on every contrast, the ranking, and the comparison with the classical baseline.

    The frames are those of `tables`: `scores`, `pairs`, `contrasts` and `against_brisque`. A study without contrasts
    has a statement about its best variant instead.
    """
    rest = [Statement("", "", ranking(scores, pairs))]
    if len(brisque):
        rest.append(Statement("", "", classical(scores, brisque)))
    return (*(verdict(contrasts, named) if named else (best(scores, pairs),)), *rest)


def verdict(contrasts: pd.DataFrame, named: Sequence[Contrast]) -> tuple[Statement, ...]:
    """One statement for each of a study's contrasts; those that were not run are counted in the last."""
    decisive = tables.decisive(contrasts)
    rows = {(row["first"], row["second"], row["metric"]): row for _, row in decisive.iterrows()}
    found = [rows.get((one.first, one.second, one.measure)) for one in named]
    answers = [answer(row, len(named)) for row in found if row is not None]
    missing = sum(row is None for row in found)
    if missing and not answers:
        nothing = "no contrast of the study has two or more splits with scores of both variants."
        answers.append(Statement("", INCONCLUSIVE.capitalize(), nothing))
    elif missing:
        have = "has" if missing == 1 else "have"
        text = (
            f"{missing} of the study’s {len(named)} contrasts {have} not been run; p values are adjusted for all "
            f"{len(named)}."
        )
        answers.append(Statement("", "", text))
    return tuple(answers)


def conclusion(row: pd.Series[Any]) -> str:
    """What a contrast comes to, by Holm's p values: BETTER, WORSE, EQUIVALENT, NO_GAIN, NO_LOSS, INCONCLUSIVE or SAME.

    NO_GAIN: the first variant is not better by `SMALLEST_EFFECT` or more. NO_LOSS: it is not worse by as much.
    EQUIVALENT: both.
    """
    if row["same"]:
        return SAME
    if row["p_holm"] < ALPHA:
        return BETTER if row["difference"] > 0 else WORSE
    no_gain, no_loss = (row[name] < ALPHA / 2 for name in ("p_gain_holm", "p_loss_holm"))
    if no_gain and no_loss:
        return EQUIVALENT
    return NO_GAIN if no_gain else NO_LOSS if no_loss else INCONCLUSIVE


def answer(row: pd.Series[Any], family: int) -> Statement:
    """The answer to a contrast's question, with difference, interval, adjusted p and the power where it is open."""
    found = conclusion(row)
    words = found[0].upper() + found[1:]
    if found == SAME:
        text = f"{row['first']} and {row['second']} have equal signatures on all {row['n']} splits; nothing to test."
        return Statement(row["question"], words, text)
    if found in (BETTER, WORSE) and row["p_gain_holm" if found == BETTER else "p_loss_holm"] < ALPHA / 2:
        words += f", by less than {SMALLEST_EFFECT:.2f}"
    if found == EQUIVALENT:
        words += f" ({NO_GAIN})"
    text = f"{row['first']} − {row['second']}, {effect(row, family)}."
    if found in (INCONCLUSIVE, NO_GAIN, NO_LOSS):
        text = f"{text} {power_of(row)}".rstrip()
    if row["devices"]:
        text += f" The two were trained on different devices or by different kernels ({row['devices']})."
    return Statement(row["question"], words, text)


def trainings(row: pd.Series[Any]) -> str:
    """How many trainings of each variant a split has, where it has several."""
    return f" of {row['repeats']:.3g} trainings each" if row.get("repeats", 1) > 1 else ""


def effect(row: pd.Series[Any], family: int, of: str = "contrasts", sign: int = 1) -> str:
    """The difference with its interval and p, adjusted over a family of comparisons."""
    measure = SHORT.get(row["metric"]) or MEASURES[row["metric"]]
    start = f"Δ {measure} {signed(sign * row['difference'])}"
    if row["p"] != row["p"]:
        lack = f"fewer than {MIN_SPLITS} splits" if row["n"] < MIN_SPLITS else "differences that do not vary"
        return f"{start}, {row['n']} splits, no interval ({lack})"
    low, high = sorted((sign * row["low"], sign * row["high"]))
    p = p_value(row["p_holm"])
    adjusted = f"adjusted for {family} {of}" if family > 1 else "not adjusted"
    return (
        f"{start}, 95% CI {between(low, high)}, p {p if p.startswith('<') else '= ' + p} ({adjusted}), "
        f"{row['n']} splits{trainings(row)}"
    )


def power_of(row: pd.Series[Any]) -> str:
    """The minimum detectable difference, and the splits that the smallest relevant one takes."""
    if row["detectable"] != row["detectable"]:
        return ""
    needed = row["splits_required"]
    more = "is not attainable with these references" if math.isinf(needed) else f"requires {needed:.0f} splits"
    return (
        f"Minimum detectable difference (80% power): {number(row['detectable'])}; "
        f"detecting {SMALLEST_EFFECT:.2f} {more}."
    )


def ranking(scores: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Mean test SROCC of the variants, the best first, and of the baselines, and whether the order is significant."""
    part = scores[(scores["metric"] == "srocc") & (scores["distortion"] == ALL)]
    own = part[part["source"] == OURS].sort_values("mean", ascending=False, kind="stable")
    listed = [f"{row['variant']} {number(row['mean'])}" for _, row in own.iterrows()]
    separator = "; " if any("," in text for text in listed) else ", "
    if len(listed) > MAX_RANKED:
        listed = [*listed[: MAX_RANKED - 1], f"… {len(listed) - MAX_RANKED} others", listed[-1]]
    others = [f"{row['variant']} {number(row['mean'])}" for _, row in part[part["source"] == BASELINE].iterrows()]
    n = sorted(set(own["n"].astype(int)))
    over = f"{n[0]} split{'s' * (n[0] > 1)}" if len(n) == 1 else f"{n[0]} to {n[-1]} splits"
    if len(pairs) and (row := pairs.iloc[0])["repeats"] > 1:
        over = f"{row['n']} splits{trainings(row)}"
    text = f"Mean test SROCC over {over}: {'; '.join([separator.join(listed), *others])}."
    if len(own) == 1:
        return text
    family = pairs[(pairs["metric"] == "srocc") & ~pairs["same"]] if len(pairs) else pairs
    if not len(family) or family["p_holm"].isna().all():
        return f"{text} {'One split' if n[-1] == 1 else f'{n[-1]} splits'} cannot rank them."
    count, different = len(family), int((family["p_holm"] < ALPHA).sum())
    if not different:
        which = "the two variants do not differ" if count == 1 else f"none of {count} pairs of variants differs"
        return f"{text} These splits cannot rank them: {which} significantly (p < 0.05, adjusted)."
    which = "The two variants differ" if count == 1 else f"{different} of {count} pairs of variants differ"
    return f"{text} {which} significantly (p < 0.05, adjusted)."


def classical(scores: pd.DataFrame, brisque: pd.DataFrame) -> str:
    """How the variants compare with BRISQUE on the same splits, in a sentence about the best of them."""
    means = _means(scores)
    top = brisque.set_index("first").loc[next(name for name in means.index if name in set(brisque["first"]))]
    counts = {
        word: int(((brisque["p_holm"] < ALPHA) & (brisque["difference"] * sign > 0)).sum())
        for word, sign in (("better", 1), ("worse", -1))
    }
    total = f"{len(brisque)} variant{'s' * (len(brisque) > 1)}"
    return (
        f"Compared with the {BRISQUE} on the same splits, {counts['better']} of {total} better and {counts['worse']} "
        f"worse (p < 0.05, adjusted). The best variant, {top.name}: {effect(top, len(brisque), 'variants')}."
    )


def best(scores: pd.DataFrame, pairs: pd.DataFrame) -> Statement:
    """The best variant, how far it is above the next, and whether that is significant, by SROCC on all images.

    `scores` and `pairs` are those of `tables`. The best one is chosen after the test, so that Holm's p over all pairs
    decides, not the interval.
    """
    means = _means(scores)
    top = str(means.index[0])
    if len(means) == 1:
        own = scores[(scores["source"] == OURS) & (scores["metric"] == "srocc") & (scores["distortion"] == ALL)]
        ci = between(*own.iloc[0][["low", "high"]])
        return Statement("", "", f"{top} is the only variant{f'; 95% CI of its mean test SROCC {ci}' if ci else ''}.")
    family = pairs[pairs["metric"] == "srocc"] if len(pairs) else pairs
    rivals = {str(row["second" if row["first"] == top else "first"]): row for row in _with(family, top)}
    if not rivals:
        return Statement("", "Inconclusive", f"{top} has the highest mean, but one split allows no comparison.")
    next_best = next(str(variant) for variant in means.index[1:] if variant in rivals)
    row = rivals[next_best]
    worse = sum(
        rival["p_holm"] < ALPHA and (rival["difference"] > 0) == (rival["first"] == top) for rival in rivals.values()
    )
    against = f"{top} − {next_best}, {effect(row, len(family), 'pairs', 1 if row['first'] == top else -1)}."
    if worse == len(rivals):
        others = "the other variant" if worse == 1 else f"all {worse} other variants"
        return Statement("", f"{top} is better than {others}", against)
    start = f"{top} has the highest mean" + (f" and is better than {worse} of {len(rivals)} others" if worse else "")
    return Statement("", "Inconclusive", f"{start}; {against} {power_of(row)}".rstrip())


def _means(scores: pd.DataFrame) -> pd.Series[float]:
    """Mean test SROCC by variant, the highest first."""
    own = scores[(scores["source"] == OURS) & (scores["metric"] == "srocc") & (scores["distortion"] == ALL)]
    return own.set_index("variant")["mean"].sort_values(ascending=False, kind="stable")


def _with(family: pd.DataFrame, variant: str) -> list[pd.Series[Any]]:
    if not len(family):
        return []
    return [row for _, row in family[(family["first"] == variant) | (family["second"] == variant)].iterrows()]


def notices(runs: Runs, pairs: pd.DataFrame) -> list[str]:
    """What a reader must know before comparing: devices or kernels that differ, variants that are the same training."""
    found = []
    devices = runs.splits["device"].value_counts(sort=False)
    if len(devices) > 1:
        counts = ", ".join(f"{count} on {device}" for device, count in devices.items())
        found.append(
            f"The trainings ran on different devices or by different kernels ({counts}). Arithmetic differs between "
            "them, so that a comparison across them also contains that difference."
        )
    if len(pairs):
        same = pairs[pairs["same"] & (pairs["metric"] == "srocc")]
        found += [
            f"{row['first']} and {row['second']} are the same training: equal signatures on all {row['n']} splits."
            for _, row in same.iterrows()
        ]
    return found
