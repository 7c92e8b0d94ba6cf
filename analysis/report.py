"""What a study's report holds: its verdict, protocol, tables and figures, from MLflow alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pandas as pd

from analysis import comparisons, figures, label_efficiency, load, paper, search_report, tables, worst
from analysis.load import Runs
from analysis.page import Drawing, Report, Section, Table, write
from analysis.verdict import protocol, verdict


def study_report(
    uri: str,
    study: str,
    out: Path,
    dataset: str | None = None,
    preset: str | None = None,
    where: Mapping[str, str] | None = None,
    keys: Collection[str] | None = None,
    command: str = "",
    progress: load.Progress = load.silent,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Read a study from MLflow and write its report into a folder; the files that were written, the page last.

    `dataset`, `preset`, `where` and `keys` choose among its runs, as for `load.read`. `tell` gets the verdict,
    a text for each of its paragraphs.

    Raises:
        LoadError: for a study that MLflow does not have, or not in one version.
    """
    runs = load.read(uri, study, dataset, preset, where, keys, progress)
    made = make(runs, command)
    for text in made.verdict:
        tell(text)
    return write(made, out, progress)


def make(runs: Runs, command: str = "") -> Report:
    """Reckon tables and draw figures. `command` is what makes the report again."""
    scores, pairs = tables.scores(tables.with_baselines(runs.splits, runs.brisque)), tables.pairs(runs.splits)
    contrasts = tables.contrasts(runs.splits, runs.contrasts)
    distortions = [name for name in scores["distortion"].unique() if name != tables.ALL]
    everything = tables.with_paper(scores, paper.numbers(runs.study, distortions))
    predictions = runs.predictions()
    questions = [text for text in runs.configurations["question"] if text]
    sections = [
        Section("Scores", [*_scores(everything), *_states(runs)], SCORES),
        label_efficiency.section(runs, predictions),
        comparisons.contrasts(contrasts),
        comparisons.comparisons(contrasts, pairs, runs.splits),
        Section("Trained here, tested there", _cross_dataset(runs.elsewhere), CROSS_DATASET),
        Section("Training and predictions", _training(runs, scores, predictions)),
        Section("The draw of the test crops", _draws(runs), DRAWS),
        worst.section(runs),
        Section("The generator", _generator(runs), GENERATOR),
        search_report.section(runs),
        Section("Cost", _cost(runs)),
    ]
    return Report(
        study=runs.study,
        question=questions[0] if questions else "",
        verdict=verdict(scores, pairs, contrasts, runs.contrasts),
        labels=str(runs.splits["labels"].iloc[0]),
        protocol=protocol(runs),
        sections=[section for section in sections if section.parts],
        command=command,
    )


CROSS_DATASET = (
    "The weights of every split’s training on the whole of another database: mean and, small, standard deviation over "
    "splits. Nothing was trained on it or chosen by it. The 4-parameter logistic is fitted on the whole database; RMSE "
    "is of quality in [0, 1], before any fit. Scenes that training shared with it are left out of the second row."
)
SCORES = (
    "Over splits: the mean, and below it the median. ALL is computed on all test images of a split and is no mean over "
    "distortions; the other columns are computed on the images of one distortion. The floor predicts the mean training "
    "score of an image’s distortion and never looks at the image; within one distortion it is constant and has no "
    "correlation. The paper’s numbers are quoted, not measured here; it does not say whether they are means or medians."
)
DRAWS = (
    "Other crops of the same images would have given other predictions: by how much, as a standard error in quality, "
    "root mean square over test images and splits. It falls with the square root of the number of crops, which gives "
    "how many of them a variant would need to be as steady as the first."
)
GENERATOR = (
    "Means over splits, on crops of held-out references, asked for the class and quality of truly distorted ones under "
    "the same windows. A quality network that was trained on real crops of the training references alone says what they show: "
    "the share that it puts in the class asked for, and the rank correlation of asked with judged quality; beside "
    "them, its figures on the truly distorted crops. Distances are those from the truth over the bare reference’s: a "
    "generator at 1 or above is no closer than doing nothing, but noise that is another draw is √2 away. The strength "
    "of the change is its standard deviation over the true one’s."
)
NAMES = {
    "shows_class": "shows the class",
    "real_class": "truth shows it",
    "shows_quality": "shows the quality",
    "real_quality": "truth shows it",
    "distance_l1": "L1 distance",
    "distance_mdsi": "MDSI distance",
    "change_sd": "strength",
    "obeys_mdsi": "follows the quality, by MDSI",
    "noise_sd": "effect of z on a pixel (sd)",
}


def _scores(everything: pd.DataFrame) -> list[Table]:
    found = []
    marks = {tables.OURS: "ours", tables.FLOOR: "image_blind"}
    for metric, name in (("srocc", "SROCC"), ("plcc", "PLCC")):
        columns, rows = tables.layout(everything, metric)
        cells = [
            [variant if source in marks else f"{variant}\n{source}", *("\n".join(cell).strip() for cell in cells)]
            for source, variant, cells in rows
        ]
        found.append(
            Table(
                f"scores-{metric}",
                f"{name} on test references",
                ["variant", *columns],
                cells,
                everything[everything["metric"] == metric],
                marks=[marks.get(source, "paper") for source, _, _ in rows],
            )
        )
    return found


def _states(runs: Runs) -> list[Table]:
    frame = tables.states(runs.configurations)
    rows = [[str(value) for value in row] for row in frame.itertuples(index=False)]
    title = "Variants that are not complete"
    return [
        Table("incomplete", title, ["variant", "finished", "planned", "diverged", "out of memory"], rows, frame)
    ] * bool(rows)


def _training(runs: Runs, scores: pd.DataFrame, predicted: pd.DataFrame) -> list[Table | Drawing]:
    parts: list[Table | Drawing] = []
    curve = runs.curve("curve/srocc")
    if len(curve):
        ends = {variant: _ends(config) for variant, config in runs.of_variants.items()}
        caption = (
            "Thin: every split; thick: the median. All points are measured on the same few crops of an image, and none "
            "was used to choose anything."
        )
        parts.append(Drawing("curves", "Learning curves by phase", caption, figures.learning(curve, ends)))
    if len(predicted):
        caption = "Every test image of every split; an image stands in for as many dots as splits held it out."
        parts.append(Drawing("predictions", "Prediction against target", caption, figures.predictions(predicted)))
    if (scores["distortion"] != tables.ALL).any():
        caption = "Mean test SROCC within each distortion, and on all images together."
        parts.append(Drawing("distortions", "SROCC by distortion", caption, figures.heat_map(scores)))
    return parts


def _ends(config: Mapping[str, object]) -> dict[str, int]:
    """The last step of every phase, counted from the first phase's start."""
    steps = {path.split(".")[1]: int(str(value)) for path, value in config.items() if path.endswith(".steps")}
    total = pd.Series(steps, dtype="int64").cumsum()
    return {str(name): int(end) for name, end in total.items()}


def _draws(runs: Runs) -> list[Table | Drawing]:
    crops = {variant: int(config.get("evaluation.crops", 0)) for variant, config in runs.of_variants.items()}
    frame = tables.crop_draws(runs.splits, crops)
    rows = [
        [str(row["variant"]), f"{row['crops']}", tables.number(row["spread"], 4), tables.number(row["crops_needed"], 1)]
        for row in frame.to_dict("records")
    ]
    columns = ["variant", "crops of an image", "spread", "crops for the first variant’s spread"]
    return [Table("crop-draws", "Predictions by other crops", columns, rows, frame)] * bool(rows)


def _generator(runs: Runs) -> list[Table | Drawing]:
    frame = tables.generator(runs.splits)
    if frame.empty:
        return []
    measured = [str(name) for name in frame.columns[3:]]
    rows = [
        [str(row["variant"]), str(row["distortion"]), str(row["n"]), *(tables.number(row[name]) for name in measured)]
        for _, row in frame.iterrows()
    ]
    columns = ["variant", "images", "n", *(NAMES[name] for name in measured)]
    parts: list[Table | Drawing] = [Table("generator", "The generator on held-out references", columns, rows, frame)]
    made = runs.splits[runs.splits["variant"].isin(frame["variant"])]
    best = made[made["variant"] == made.groupby("variant")["srocc"].mean().idxmax()].iloc[0]
    of = f"“{best['variant']}”, the variant of the highest SROCC, split {best['split']}"
    pictures = {
        "figure1": ("Figure 1 of the paper, from this study", f"A row a distortion, from {of}; references held out."),
        "generated_by_quality": ("The same references, asked for other qualities", f"From {of}; a row a distortion."),
    }
    for name, (title, caption) in pictures.items():
        data = runs.picture(str(best["run_id"]), f"{name}.png")
        if data is not None:
            parts.append(Drawing(name, title, caption, data))
    return parts


def _cross_dataset(found: pd.DataFrame | None) -> list[Table | Drawing]:
    if found is None:
        return []
    columns = ["tested on", "variant", "images", "splits", "SROCC", "PLCC", "PLCC after logistic", "KRCC", "RMSE"]
    measures = ("srocc", "plcc", "plcc_fitted", "krcc", "rmse")
    rows = [
        [
            *(str(row[name]) for name in ("tested_on", "variant", "images", "splits")),
            *(f"{tables.number(row[f'{m}_mean'])}\n{tables.number(row[f'{m}_sd'])}" for m in measures),
        ]
        for row in found.to_dict("records")
    ]
    return [Table("elsewhere", "Other databases", columns, rows, found)]


def _cost(runs: Runs) -> list[Table | Drawing]:
    frame = tables.cost(runs.configurations)
    order = {variant: place for place, variant in enumerate(runs.variants)}
    frame = frame.sort_values("variant", key=lambda variants: variants.map(order), kind="stable").reset_index(drop=True)
    searched = bool(frame["candidates"].any())
    names = ["test", "search", "saved", "candidates", "pruned"] if searched else ["test"]
    total = frame[names].sum()
    rows = [
        [str(row["variant"]), *(f"{row[n]:.0f}" if n in names[3:] else f"{row[n]:.2f}" for n in names)]
        for _, row in pd.concat([frame, pd.DataFrame([{"variant": "all", **total}])]).iterrows()
    ]
    heads = ["training and test", "search", "saved by racing", "candidates", "of these pruned"]
    note = "Of all runs that MLflow holds. A variant that starts from another’s weights pays only for the rest."
    return [
        Drawing("cost", "Device-hours by variant", note, figures.device_hours(frame)),
        Table("cost", "Device-hours", ["variant", *heads[: len(names)]], rows, frame),
    ]
