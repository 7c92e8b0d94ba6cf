"""Inputs of a plan: datasets, decoded once, and their splits."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gada_ray.config import RankingConfig, TrainingConfig, digest
from gada_ray.data import (
    DataError,
    IqaDataset,
    Split,
    check_crops,
    check_place,
    check_scores,
    choose_splits,
    load_dataset,
)
from gada_ray.data.cache import cache_folder
from gada_ray.data.dataset import Photographs
from gada_ray.data.doctor import check_usable
from gada_ray.data.labelled import labelled_rows
from gada_ray.data.split_files import validate_splits_option
from gada_ray.data.words import counted
from gada_ray.study.definition import Plan, Selection, StudyError, data_selections, selection
from gada_ray.trials.store import StoreError, write_whole


@dataclass(frozen=True)
class Data:
    """Datasets of a plan by selection, with their splits."""

    datasets: Mapping[Selection, IqaDataset]
    splits: Mapping[Selection, Sequence[Split]]

    @property
    def fingerprints(self) -> dict[Selection, str]:
        """By selection."""
        return {place: dataset.fingerprint for place, dataset in self.datasets.items()}

    @property
    def by_fingerprint(self) -> dict[str, IqaDataset]:
        """Datasets by fingerprint."""
        return {dataset.fingerprint: dataset for dataset in self.datasets.values()}

    @property
    def first(self) -> tuple[IqaDataset, Sequence[Split]]:
        """The first variant's data."""
        place = next(iter(self.datasets))
        return self.datasets[place], self.splits[place]


def validate_requests(plan: Plan, root: Path | None, requested: str | None = None) -> None:
    """Refuse wrong options before any image is read.

    Raises:
        DataError: for an unknown database, or a folder or file of splits that is not there.
    """
    check_place(plan.dataset, root)
    validate_splits_option(requested)


def source(root: Path | None, requested: str | None) -> tuple[str, ...]:
    """Absolute paths of data and splits, so that they do not depend on the current folder; empty for the defaults."""
    if root is None and requested is None:
        return ()
    file = requested is not None and Path(requested).exists()
    return str(root.resolve()) if root else "", str(Path(requested or "").resolve()) if file else requested or ""


def load_data(plan: Plan, root: Path | None, requested: str | None = None, extra: Photographs | None = None) -> Data:
    """Decode every image once, and divide the references: at random, by a file, or by its authors ("published").

    `extra` are unlabelled photographs; they are added to every dataset.

    Raises:
        DataError: for data or splits that cannot be used, fewer images than shall be labelled, and photographs that
            show what is tested on.
        StudyError: for variants that need references on data that has none; names those that do not.
    """
    datasets, splits = {}, {}
    configs = [config for variant in plan.variants for config in variant.possible]
    kinds = {c.data.sampling for c in configs} | {c.evaluation.sampling for c in configs}
    for place, config in data_selections(plan.variants).items():
        dataset = load_dataset(plan.dataset, root, config.data)
        dataset = datasets[place] = replace(dataset, extra=extra) if extra else dataset
        check_references(plan, dataset)
        check_procedures(plan, dataset)
        splits[place] = choose_splits(dataset, requested, plan.splits, plan.seed)
        for kind in sorted(kinds - {"uniform"}):
            from gada_ray.data import sampling

            sampling.maps(dataset, kind)
        check_crops(dataset, max(variant.largest_crop_px for variant in plan.variants))
        check_usable(dataset, splits[place])
        check_held_out(plan, dataset, splits[place])
        check_labelled(plan, dataset, splits[place])
        if extra:
            check_photographs(plan, extra, dataset, _tested(plan, splits[place]))
        assert dataset.fingerprint
    check_same_references(plan, datasets)
    return Data(datasets, splits)


def check_same_references(plan: Plan, datasets: Mapping[Selection, IqaDataset]) -> None:
    """Make sure that all variants have the same references, since comparisons are paired by split.

    Raises:
        StudyError: names the variants that have others than the first.
    """
    names = {place: set(dataset.references) for place, dataset in datasets.items()}
    first = names[selection(plan.variants[0].config)]
    others = [variant.name for variant in plan.variants if names[selection(variant.config)] != first]
    if others:
        raise StudyError(
            f"{'; '.join(others)} of study '{plan.study}' have other references than variant "
            f"'{plan.variants[0].name}', so that their splits cannot be compared with the others'; run them apart, in "
            f"another storage"
        )


def check_procedures(plan: Plan, dataset: IqaDataset) -> None:
    """Make sure that every class has a procedure where variants use procedural distortions.

    Raises:
        DataError: names the variant, the classes without one, and what to set.
    """
    using = [
        (variant.name, phase)
        for variant in plan.variants
        for phase in dict.fromkeys(phase for config in variant.possible for phase in config.phases)
        if phase.uses_procedures
    ]
    for variant, phase in using:
        from gada_ray.data.procedural import procedures

        try:
            procedures(dataset.distortions, dataset.name, skip=phase.skip_unmatched)
        except DataError as error:
            raise DataError(f"phase '{phase.name}' of variant '{variant}': {error}") from None


def check_labelled(plan: Plan, dataset: IqaDataset, splits: Sequence[Split]) -> None:
    """Make sure that every training part has at least as many images as variants label.

    Raises:
        DataError: with what there is.
    """
    for variant in plan.variants:
        for split in splits:
            fold = split.for_selection() if variant.space else split.for_test()
            labelled_rows(dataset, fold.train, variant.config.data, plan.seed, split.index)


def check_held_out(plan: Plan, dataset: IqaDataset, splits: Sequence[Split]) -> None:
    """Make sure that every part that a trial is scored on has two images, which a correlation needs.

    Raises:
        DataError: names the split and the part.
    """
    searched = any(variant.space for variant in plan.variants)
    for split in splits:
        for part, names in (("test", split.test), ("validation", split.validation if searched else ())):
            count = len(dataset.rows_of(names))
            if names and count < 2:
                raise DataError(
                    f"{dataset.name}: the {part} part of split {split.index} has {counted(count, 'image')}, and a "
                    f"correlation needs two; hold out more, by a file of splits, or label more images"
                )


def _tested(plan: Plan, splits: Sequence[Split]) -> list[str]:
    """References on which any trial of a plan is scored."""
    searched = any(variant.space for variant in plan.variants)
    return sorted({name for split in splits for name in (*split.test, *(split.validation if searched else ()))})


def check_photographs(plan: Plan, extra: Photographs, dataset: IqaDataset, held_out: Sequence[str]) -> None:
    """Make sure that crops fit into unlabelled photographs, and that none shows one of some references.

    Pictures are compared once, which takes about a second for each photograph, and the outcome is kept beside the demo.

    Raises:
        DataError: names the photographs.
    """
    from gada_ray.evaluation import scenes

    crop_px = max(variant.largest_crop_px for variant in plan.variants if variant.config.uses_extra)
    small = [name for name, shape in zip(extra.names, extra.shapes, strict=True) if min(shape) < crop_px]
    if small:
        raise DataError(
            f"--extra-references: crops of {crop_px}x{crop_px} pixels do not fit into {_some(small)}; take them out"
        )
    key = digest([dataset.fingerprint, held_out, extra.fingerprint, extra.names])
    kept = cache_folder() / f"scenes-{scenes.VERSION}-{key[:32]}.json"
    try:
        found = json.loads(kept.read_text())
    except (OSError, ValueError):
        found = scenes.shown(scenes.scenes(dataset, held_out, always=True), extra)
        with contextlib.suppress(StoreError):
            write_whole(kept, json.dumps(found).encode())
    if found:
        shown = [f"{name} (shows {reference})" for name, reference in found.items()]
        raise DataError(
            f"--extra-references: a photograph must not show what is tested on, but these do: {_some(shown)}; "
            f"take them out"
        )


def _some(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def load_others(requests: Sequence[str], plan: Plan) -> dict[str, IqaDataset]:
    """Databases that are asked for as NAME=DIR, by name.

    Raises:
        DataError: for a request of another form, a name given twice, images that are smaller than the crops of a
            variant, and whatever is wrong with the data.
    """
    config, crop_px = plan.variants[0].config.data, max(variant.largest_crop_px for variant in plan.variants)
    found: dict[str, IqaDataset] = {}
    for requested in requests:
        name, _, root = requested.partition("=")
        if name in found:
            raise DataError(f"--also-test names {name} twice; a database of another folder needs a run of its own")
        found[name] = load_dataset(name, Path(root) if root else None, config)
        check_crops(found[name], crop_px)
        check_scores(found[name])
    return found


def check_references(plan: Plan, dataset: IqaDataset) -> None:
    """Make sure that no variant needs references which a dataset has not.

    Raises:
        StudyError: with the variants that can run.
    """
    needing = [v.name for v in plan.variants if any(config.uses_references for config in v.possible)]
    if dataset.has_references or not needing:
        return
    able = [variant.name for variant in plan.variants if variant.name not in needing]
    configs = [config for variant in plan.variants if variant.name in needing for config in variant.possible]
    if able:
        remedy = f"these can run: {' '.join(f'--variant {name!r}' for name in able)}"
    elif not any(without_ranking(config).uses_references for config in configs):
        remedy = "the ranking term needs them: leave it out by --no-ranking (train), or by ranking.weight=0 of a phase"
    else:
        remedy = "none can run; --set phases=direct trains every variant directly, where its variants are no phases"
    raise StudyError(
        f"{dataset.name} has no references, which {'; '.join(needing)} of study '{plan.study}' distort; {remedy}"
    )


def without_ranking(config: TrainingConfig) -> TrainingConfig:
    """A configuration whose phases have no ranking term."""
    phases = [phase.model_copy(update={"ranking": RankingConfig()}) for phase in config.phases]
    return config.model_copy(update={"phases": tuple(phases)})
