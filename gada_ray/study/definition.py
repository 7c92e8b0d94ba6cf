"""The definition of a study, and the plan that a preset, data and settings make of it."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import itertools
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gada_ray.config import ConfigError, TrainingConfig, digest, flatten, with_values
from gada_ray.errors import UserError, did_you_mean
from gada_ray.recipes import direct, with_recipe
from gada_ray.study.contrasts import MEASURES, Contrast
from gada_ray.study.racing import Racing
from gada_ray.study.space import Choice, Dimension, combinations, distribution

Values = Mapping[str, Any]
"""Values of a configuration by dotted path."""
Selection = tuple[Any, ...]
"""Values of `LOADED`, which decide what is loaded of a database; see `selection`."""
LOADED = ("include_reference_copies", "dmos", "drop_artificial_reference", "shorter_side", "demo_local")
"""Fields of `data` that decide which images and scores of a database are loaded."""
NOT_SEARCHED = (*LOADED, "labelled_images", "labelled_by", "pristine_from")
"""Fields of `data` that choose the images and scores of a training; candidates on others cannot be compared."""
MAX_COMBINATIONS = 16
"""Combinations of searched choices that are no numbers whose memory is measured; of more, one choice at a time."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One size of a study."""

    cost: str
    """Its cost, for people: trainings; time on which machine."""
    splits: int
    """Splits that every variant is trained and tested on."""
    values: Values = field(default_factory=dict)
    """Changes of the study's base."""
    variants: tuple[str, ...] | None = None
    """Variants that take part; all by default."""
    space: Mapping[str, Dimension] = field(default_factory=dict)
    """Space that Optuna searches for every variant by itself, on validation references inside the training part."""
    candidates: int = 0
    """Configurations that are searched for a variant, or all of its space where that has fewer; the first one is the
    variant's own."""
    first: tuple[Values, ...] = ()
    """Changes of the variant's own configuration that its search tries next, such as one value at a time."""
    generation: int = 4
    """Candidates that are proposed at once, after the first ten, which are random. A larger generation keeps a larger
    cluster busy, and its candidates are chosen with fewer results at hand. A study's candidates are the same whatever
    the number of workers."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question and the variants whose comparison answers it."""

    question: str
    base: TrainingConfig
    """Configuration that all variants change, before the values of `recipe`."""
    variants: Mapping[str, Values] | Callable[[TrainingConfig], Mapping[str, Values]]
    """Values of every variant, by its name; as a function where they depend on the base, such as its phase lengths."""
    presets: Mapping[str, Preset]
    """"smoke", "small" and "paper"."""
    recipe: str = "gada"
    """Recipe of the base, unless the command names another; a preset's values come after it. See `gada_ray.recipes`."""
    contrasts: tuple[Contrast, ...] = ()
    """The few comparisons that answer the question. The verdict is about them; all others are exploratory."""
    searched: tuple[str, ...] | None = None
    """Variants for which a preset's space is searched; all by default."""
    racing: Racing = field(default_factory=Racing)
    """When a candidate of the search is pruned before it is trained on every split."""


@dataclass(frozen=True)
class VariantPlan:
    """One variant: its configuration and its search."""

    name: str
    values: Values
    config: TrainingConfig
    space: Mapping[str, Dimension]
    candidates: int
    generation: int = 4
    """Candidates made at once."""
    place: int = 0
    """Position of the variant among all of the study."""
    first: tuple[Values, ...] = ()
    """Changes of its configuration that its search tries right after it."""

    @property
    def shared_phases(self) -> int:
        """How many first phases are the same for all candidates of the search, as no searched value affects them."""
        if self.candidates < 2:
            return 0
        places = {f"phases.{phase.name}.": place for place, phase in enumerate(self.config.phases)}
        affected = [next((at for name, at in places.items() if path.startswith(name)), 0) for path in self.space]
        return min(affected, default=0)

    @property
    def possible(self) -> tuple[TrainingConfig, ...]:
        """The variant's own configuration, and those that differ from it by one choice of the search."""
        choices = {path: dimension.values for path, dimension in self.space.items() if isinstance(dimension, Choice)}
        others = (with_values(self.config, {path: value}) for path, values in choices.items() for value in values)
        return tuple(dict.fromkeys((self.config, *others)))

    @property
    def largest(self) -> tuple[TrainingConfig, ...]:
        """Configurations of which one takes as much of a GPU's memory as any that the search may propose.

        Every number and every list of widths has its largest value, in all combinations with choices of another kind
        or, where these are many, with one of them at a time.
        """
        numbers: dict[str, Any] = {}
        kinds: dict[str, tuple[Any, ...]] = {}
        for path, dimension in self.space.items():
            if isinstance(dimension, Choice):  # whole numbers are searched as choices; rates take no memory
                if any(isinstance(value, (str, bool)) for value in dimension.values):
                    kinds[path] = dimension.values
                else:
                    numbers[path] = max(dimension.values, key=_size)
        if math.prod(map(len, kinds.values())) <= MAX_COMBINATIONS:
            chosen = [dict(zip(kinds, values, strict=True)) for values in itertools.product(*kinds.values())]
        else:
            chosen = [{path: value} for path, values in kinds.items() for value in values]
        found = []
        for values in chosen:
            with contextlib.suppress(ConfigError):  # a combination that no candidate can have
                found.append(with_values(self.config, numbers | values))
        return tuple(found) or (self.config,)

    @property
    def largest_crop_px(self) -> int:
        """The largest crops of the variant and of all candidates of its search."""
        return max(config.data.crop_px for config in self.largest)


def _size(value: Any) -> float:
    """Size of a number, or of a list of widths: their sum."""
    return float(sum(value)) if isinstance(value, tuple) else float(value)


@dataclass(frozen=True)
class Plan:
    """A study before it runs: everything is decided but the results."""

    study: str
    preset: str
    dataset: str
    """Short name, as on the command line."""
    question: str
    variants: tuple[VariantPlan, ...]
    splits: int
    seed: int
    racing: Racing | None
    """None trains every candidate on every split."""
    recipe: str = "gada"
    """Recipe of the base of all variants."""
    contrasts: tuple[Contrast, ...] = ()
    """Those of the study's preset, including those whose variants `only` leaves out."""
    source: tuple[str, ...] = ()
    """Where data and splits come from: the database's folder, and a file of splits or "published"."""
    as_defined: bool = True
    """Whether variants, splits, seed and settings are the study's own."""

    @property
    def key(self) -> str:
        """The digest of what was requested on the command line; the data are not looked at."""
        return digest([self.study, self.preset, self.dataset, *self._options, *self.source])

    @property
    def name(self) -> str:
        """The name of its table, report and estimate in a storage: study, preset and data.

        A run with other variants, splits, seed or settings than the study's own also has a digest of them, so that it
        overwrites nothing. Data with scores.csv are named after their folder.
        """
        root, splits = (*self.source, "", "")[:2]
        data = self.dataset if self.dataset != "manifest" or not root else Path(root).resolve().name
        words = [self.study, self.preset, re.sub(r"[^\w.-]+", "_", data)]
        if not self.as_defined or splits:
            words.append(digest([*self._options, splits])[:8])
        return "-".join(words)

    @property
    def _options(self) -> list[Any]:
        """Splits, seed and variants, for a digest."""
        variants = [
            [
                variant.name,
                variant.config.model_dump(mode="json"),
                {path: str(distribution(dimension)) for path, dimension in variant.space.items()},
                variant.candidates,
            ]
            for variant in self.variants
        ]
        # How many splits a file or a database's authors define is not known without a look at the data.
        return [None if any(self.source[1:]) else self.splits, self.seed, variants]

    @property
    def trials(self) -> int:
        """Trials of all variants and candidates, at most: a race may leave some out."""
        return self.splits * sum(variant.candidates + 1 for variant in self.variants)


class StudyError(UserError, ValueError):
    """A study, preset or setting that does not exist or is not possible; names what is available."""


def size_of(name: str, study: Study, preset: str) -> Preset:
    """A preset of a study.

    Raises:
        StudyError: for an unknown preset; names the known ones.
    """
    if preset not in study.presets:
        near = did_you_mean(preset, study.presets)
        raise StudyError(f"study '{name}' has no preset '{preset}'; available: {', '.join(study.presets)}{near}")
    return study.presets[preset]


def make_plan(
    name: str,
    study: Study,
    preset: str,
    dataset: str,
    settings: Values,
    splits: int | None = None,
    seed: int = 0,
    racing: bool = True,
    only: Sequence[str] = (),
    extra: str | None = None,
    recipe: str | None = None,
) -> Plan:
    """Decide everything but the results.

    The base gets the values of the recipe (the study's own, where `recipe` is None), of the preset and of `settings`,
    in this order. Settings cannot change what the study compares or searches; phases="direct" is the baseline with all
    steps of the base, which needs no references. `only` names the variants that take part, where not all shall.
    `extra` is the fingerprint of unlabelled photographs; without it, variants that distort them are left out.

    Raises:
        StudyError: for an unknown preset or variant, a setting that the study varies itself, a space that cannot be
            searched, a contrast of unknown variants, or photographs that are missing or of no use.
        ConfigError: for an unknown field or recipe, or an invalid value.
    """
    size = size_of(name, study, preset)
    as_defined = not (only or settings or seed or extra) and recipe in (None, study.recipe)
    study = dataclasses.replace(study, recipe=recipe or study.recipe)
    study = dataclasses.replace(study, base=with_recipe(study.base, study.recipe))
    base = _base(name, study, size, settings)
    variants = study.variants(base) if callable(study.variants) else study.variants
    unknown = [
        variant for variant in (*only, *(size.variants or ()), *(study.searched or ())) if variant not in variants
    ]
    if unknown:
        near = did_you_mean(unknown[0], variants)
        raise StudyError(f"study '{name}' has no variant '{unknown[0]}'; available: {'; '.join(variants)}{near}")
    _check_contrasts(name, study.contrasts, variants)
    chosen = {variant: variants[variant] for variant in only or size.variants or variants}
    varied = {path for values in chosen.values() for path in values} | set(size.space)
    clash = sorted(varied & set(settings))
    if callable(study.variants):
        base_of = partial(_base, name, study, size)
        clash = [path for path in clash if path in size.space or _overwritten(path, study, base_of, settings, chosen)]
    if clash:
        raise StudyError(f"study '{name}' varies {', '.join(clash)} itself, so it cannot be set")
    if size.generation < 1:
        raise StudyError(f"preset '{preset}' of study '{name}' needs a generation of at least 1, got {size.generation}")
    if splits is not None and splits < 1:
        raise StudyError(f"--splits must be at least 1, got {splits}")
    plans = []
    places = {variant: place for place, variant in enumerate(variants)}
    for variant, values in chosen.items():
        searched = bool(size.space) and (study.searched is None or variant in study.searched)
        try:
            config = with_values(base, values)
        except ConfigError as error:
            raise ConfigError(f"variant '{variant}' of study '{name}': {error}") from None
        if config.uses_extra:
            if extra is None and variant not in only:
                continue
            config = _with_photographs(f"variant '{variant}' of study '{name}'", config, extra)
        if searched:
            _check_space(f"variant '{variant}' of study '{name}'", size, values, config)
        plans.append(
            VariantPlan(
                variant,
                values,
                config,
                size.space if searched else {},
                int(min(size.candidates, combinations(size.space.values()))) if searched else 0,
                size.generation,
                places[variant],
                size.first if searched else (),
            )
        )
    _check_photographs(name, plans, extra)
    # `only` runs a part of the study, whose verdict is still adjusted for all of the study's contrasts.
    whole = {variant: variants[variant] for variant in (*(size.variants or variants), *chosen)}
    taking_part = {variant for variant, values in whole.items() if _can_run(base, values, extra)}
    return Plan(
        name,
        preset,
        dataset,
        study.question,
        tuple(plans),
        splits or size.splits,
        seed,
        study.racing if racing else None,
        study.recipe,
        tuple(one for one in study.contrasts if {one.first, one.second} <= taking_part),
        as_defined=as_defined and splits in (None, size.splits),
    )


def _can_run(base: TrainingConfig, values: Values, extra: str | None) -> bool:
    """Whether a variant is possible with these settings and the photographs that are there."""
    try:
        return extra is not None or not with_values(base, values).uses_extra
    except ConfigError:
        return False


def _overwritten(
    path: str,
    study: Study,
    base_of: Callable[[Values], TrainingConfig],
    settings: Values,
    variants: Mapping[str, Values],
) -> bool:
    """Whether a variant that is a function of the base ignores a setting."""
    assert callable(study.variants)
    left_out = study.variants(base_of({other: settings[other] for other in settings if other != path}))
    own = [(values[path], left_out[variant].get(path)) for variant, values in variants.items() if path in values]
    return any(value != settings[path] and value == otherwise for value, otherwise in own)


def _base(name: str, study: Study, size: Preset, settings: Values) -> TrainingConfig:
    """The study's base with the values of preset and settings."""
    if settings.get("phases") != "direct":
        return with_values(study.base, {**size.values, **settings})
    if callable(study.variants):
        raise StudyError(f"study '{name}' makes its lists of phases itself, so phases=direct cannot be set")
    given = with_values(study.base, size.values)
    return with_values(given, {**settings, "phases": (direct(given.steps),)})


def _with_photographs(variant: str, config: TrainingConfig, extra: str | None) -> TrainingConfig:
    """The configuration with the fingerprint of the photographs that it distorts."""
    if extra is None:
        raise StudyError(f"{variant} distorts unlabelled photographs; give a folder of them, --extra-references DIR")
    phases = [phase.name for phase in config.phases if phase.uses_extra]
    return with_values(config, {f"phases.{phase}.extra_fingerprint": extra for phase in phases})


def _check_photographs(name: str, variants: Sequence[VariantPlan], extra: str | None) -> None:
    """Make sure that photographs are given where all variants distort them, and of use where they are given."""
    if not variants:
        raise StudyError(
            f"all variants of study '{name}' distort unlabelled photographs; give a folder of them, "
            f"--extra-references DIR"
        )
    if extra is not None and not any(variant.config.uses_extra for variant in variants):
        raise StudyError(
            f"--extra-references: no variant of study '{name}' distorts unlabelled photographs; leave them out, "
            f"or --set phases.augmentation.generated_from=extra"
        )


def _check_contrasts(name: str, contrasts: Sequence[Contrast], variants: Collection[str]) -> None:
    """Make sure that contrasts are of two different, known variants, each pair once for a measure."""
    pairs = set()
    for one in contrasts:
        what = f"contrast '{one.question}' of study '{name}'"
        for variant in (one.first, one.second):
            if variant not in variants:
                raise StudyError(f"{what} names a variant '{variant}'; available: {', '.join(variants)}")
        if one.first == one.second:
            raise StudyError(f"{what} compares variant '{one.first}' with itself; name two variants")
        if one.measure not in MEASURES:
            raise StudyError(f"{what} is about an unknown measure '{one.measure}'; available: {', '.join(MEASURES)}")
        pair = frozenset((one.first, one.second)), one.measure
        if pair in pairs:
            raise StudyError(f"{what} compares '{one.first}' and '{one.second}' a second time; name a pair once")
        pairs.add(pair)


def _check_space(variant: str, size: Preset, values: Values, config: TrainingConfig) -> None:
    """Make sure that a search can start from a variant's own values and that all of its candidates can be compared.

    It must leave alone what makes the variant and what selects data, and propose nothing that breaks a rule.
    """
    own, space = flatten(config), size.space
    for change in size.first:
        for path, value in change.items():
            if path not in space or not space[path].holds(value):
                raise StudyError(
                    f"{variant} first tries {path}={value!r}, which its space does not contain; add it to the space of "
                    f"the preset"
                )
    for path, dimension in space.items():
        if path in values:
            raise StudyError(f"{variant} sets {path} itself, so its preset cannot search it; take it out of either")
        if path not in own:
            near = difflib.get_close_matches(path, own, n=5, cutoff=0.4) or own
            raise StudyError(f"{variant} searches an unknown field '{path}'; nearest: {', '.join(near)}")
        group, _, field_name = path.rpartition(".")
        if (group == "data" and field_name in NOT_SEARCHED) or field_name == "extra_fingerprint":
            raise StudyError(
                f"{variant} searches {path}, which selects data, so that its candidates could not be compared; take it "
                f"out of the space, and make one variant for each value"
            )
        if field_name == "generated_from" and dimension.holds("extra"):
            raise StudyError(
                f"{variant} searches {path} with 'extra'; photographs belong to a variant of their own, not to a search"
            )
        if not dimension.holds(own[path]):
            raise StudyError(
                f"{variant} starts its search from its own {path}={own[path]!r}, which {dimension} does not contain; "
                f"widen the space or change the preset's values"
            )
    ends = [(path, value) for path, dimension in space.items() for value in dimension.ends]
    for (one, first), (two, second) in itertools.combinations_with_replacement(ends, 2):
        if one == two and first != second:
            continue
        try:
            with_values(config, {one: first, two: second})
        except ConfigError as error:
            what = f"{one}={first!r}" + (f" with {two}={second!r}" if one != two else "")
            raise StudyError(f"{variant} searches a space that holds {what}: {error}") from None


def data_selections(variants: Sequence[VariantPlan]) -> dict[Selection, TrainingConfig]:
    """The selections of the database that variants train on, each with one of their configurations."""
    return {selection(variant.config): variant.config for variant in variants}


def selection(config: TrainingConfig) -> Selection:
    """The fields of a configuration that determine which images and scores are loaded."""
    return tuple(getattr(config.data, name) for name in LOADED)
