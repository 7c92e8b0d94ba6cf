"""A study's report: its verdict, tables and figures, and the protocol, from MLflow alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pandas as pd

from analysis import (
    beside_paper,
    budget,
    comparisons,
    figures,
    generator,
    label_efficiency,
    load,
    paper,
    search_report,
    tables,
    worst,
)
from analysis.load import Runs
from analysis.page import Drawing, Report, Section, Table, write
from analysis.protocol import protocol, recipes
from analysis.verdict import notices, statements
from gada_ray.tracking.uri import PAGE, option, where_to_look


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

    `dataset`, `preset`, `where` and `keys` choose among its runs, as for `load.read`. `tell` is called with each
    sentence of the verdict. `command` makes the report again.

    Raises:
        LoadError: for a study that MLflow does not have, or not in one version.
    """
    runs = load.read(uri, study, dataset, preset, where, keys, progress)
    made = make(runs, command)
    for statement in made.verdict:
        tell(statement.text)
    return write(made, out, progress)


def make(runs: Runs, command: str = "") -> Report:
    """Compute the tables and draw the figures. `command` makes the report again."""
    splits = tables.with_baselines(runs.splits, runs.brisque)
    scores, pairs, brisque = tables.scores(splits), tables.pairs(runs.splits), tables.against_brisque(splits)
    contrasts = tables.contrasts(runs.splits, runs.contrasts)
    distortions = [name for name in scores["distortion"].unique() if name != tables.ALL]
    quoted = paper.numbers(runs.study, str(splits["dataset"].iloc[0]), distortions)
    everything = tables.with_paper(scores, quoted)
    predictions = runs.predictions()
    questions = [text for text in runs.configurations["question"] if text]
    sections = [
        comparisons.contrasts(contrasts),
        Section("Scores", [*_scores(everything), *_by_split(splits), *_states(runs)], _score_text(everything)),
        beside_paper.section(str(splits["dataset"].iloc[0]), scores),
        label_efficiency.section(runs, predictions),
        budget.section(runs),
        comparisons.classical(brisque),
        Section("Other databases", _cross_dataset(runs.cross_dataset), CROSS_DATASET),
        Section("Training", _curves(runs)),
        Section("Predictions", [*_predictions(predictions, scores), *worst.parts(runs, predictions), *_draws(runs)]),
        generator.section(runs),
        search_report.section(runs),
        Section("Cost", _cost(runs)),
        comparisons.pairs(contrasts, pairs),
        Section("Runs", [_runs(runs)], folded=True),
    ]
    return Report(
        study=runs.study,
        question=questions[0] if questions else "",
        verdict=statements(scores, pairs, contrasts, runs.contrasts, brisque),
        labels=str(runs.splits["labels"].iloc[0]),
        recipe=recipes(runs),
        notices=notices(runs, pairs),
        lead=_splits(splits, scores),
        sections=[section for section in sections if section.parts],
        origin=_origin(runs, command),
        protocol=protocol(runs),
    )


CROSS_DATASET = (
    "The weights of every split on the whole of another database: mean and, small, standard deviation over splits. "
    "Nothing was trained on it or chosen by it. The 4-parameter logistic is fitted on the whole database; RMSE is of "
    "quality in [0, 1], before any fit. Scenes that training shared with it are left out of the second row."
)


def _score_text(everything: pd.DataFrame) -> str:
    """What the table of scores holds, and nothing that it does not hold."""
    sources = everything["source"]
    names = {name.partition(" (images")[0] for name in everything.loc[sources == tables.BASELINE, "variant"]}
    text = "Means over splits, and below them the medians."
    if (everything["distortion"] != tables.ALL).any():
        text += (
            " ALL is computed on all test images of a split and is no mean over distortions; the other columns are "
            "computed on the images of one distortion."
        )
    text += " The 95% CI is of the mean and allows for splits that overlap."
    if tables.BASELINES["image_blind"] in names:
        text += (
            " The image-blind baseline predicts the mean training score of an image’s distortion without the image; "
            "within one distortion it is constant and has no correlation."
        )
    if tables.BRISQUE in names:
        text += " BRISQUE is trained and tested on the same splits."
    if sources.str.startswith(tables.PAPER).any():
        text += " The paper’s numbers are quoted; it does not say whether they are means or medians."
    return text


def _splits(splits: pd.DataFrame, scores: pd.DataFrame) -> Drawing:
    """The figure of the first screen: every split of every variant, and of the baselines."""
    part = scores[(scores["metric"] == "srocc") & (scores["distortion"] == tables.ALL)]
    rows = [
        f"{row['variant']} {tables.number(row['mean'])} (sd {tables.number(row['sd'])})" for _, row in part.iterrows()
    ]
    # The image-blind baseline lies so far below that the variants would not be apart.
    baselines = {name: values for name, values in tables.baselines(splits, "srocc").items() if name == tables.BRISQUE}
    caption = "A dot is one split, a grey line joins the variants on one split, a bar is a mean."
    drawn = figures.splits(splits, baselines)
    return Drawing("splits", "Test SROCC by split", caption, drawn, f"Mean test SROCC over splits: {'; '.join(rows)}.")


def _scores(everything: pd.DataFrame) -> list[Table]:
    found = []
    marks = {tables.OURS: "ours", tables.BASELINE: "baseline"}
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


def _by_split(splits: pd.DataFrame) -> list[Table]:
    frame = tables.by_split(splits)
    own = set(splits["variant"])
    rows = [[str(row[0]), *map(tables.number, row[1:])] for row in frame.itertuples(index=False)]
    columns = ["variant", *(str(name).removeprefix("split ") for name in frame.columns[1:])]
    marks = ["ours" if row[0] in own else "baseline" for row in rows]
    return [Table("splits", "Test SROCC by split", columns, rows, frame, marks=marks)]


def _states(runs: Runs) -> list[Table]:
    frame = tables.states(runs.configurations)
    rows = [[str(value) for value in row] for row in frame.itertuples(index=False)]
    columns = ["variant", "finished", "planned", "diverged", "missing"]
    return [Table("incomplete", "Variants without a score on every split", columns, rows, frame)] * bool(rows)


def _curves(runs: Runs) -> list[Table | Drawing]:
    curve = runs.curve("curve/srocc")
    if curve.empty:
        return []
    ends = {variant: _ends(config) for variant, config in runs.of_variants.items()}
    crops = dict.fromkeys(str(config.get("evaluation.curve_crops", "few")) for config in runs.of_variants.values())
    caption = (
        f"Thin: every split; thick: the median. Phases: {figures.phase_key(ends)}. Points use the first "
        f"{' or '.join(crops)} crops of an image and can differ from the test scores; none was used for selection."
    )
    last = curve.sort_values("step").groupby(["variant", "split"], sort=False)["value"].last()
    medians = last.groupby("variant", sort=False).median()
    alt = "; ".join(f"{variant} {tables.number(value)}" for variant, value in medians.items())
    drawn = figures.learning(curve, ends)
    return [
        Drawing("curves", "Learning curves by phase", caption, drawn, f"Median SROCC at the end of training: {alt}.")
    ]


def _predictions(predicted: pd.DataFrame, scores: pd.DataFrame) -> list[Table | Drawing]:
    parts: list[Table | Drawing] = []
    part = scores[(scores["source"] == tables.OURS) & (scores["metric"] == "srocc")]
    if len(predicted):
        caption = "Every test image of every split; an image has as many dots as splits that test it."
        figure, hover = figures.predictions(predicted)
        means = part[part["distortion"] == tables.ALL]
        alt = "; ".join(f"{row['variant']} {tables.number(row['mean'])}" for _, row in means.iterrows())
        title = "Prediction against target"
        parts.append(Drawing("predictions", title, caption, figure, f"Mean SROCC of the predictions: {alt}.", hover))
    if (part["distortion"] != tables.ALL).any():
        caption = "Mean test SROCC on all images together (ALL) and within each distortion."
        cells = [f"{row['variant']}, {row['distortion']} {tables.number(row['mean'], 2)}" for _, row in part.iterrows()]
        drawn = figures.heat_map(scores)
        parts.append(Drawing("distortions", "SROCC by distortion", caption, drawn, f"Mean SROCC: {'; '.join(cells)}."))
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
        [str(row["variant"]), tables.number(row["spread"], 4), f"{row['crops']}", tables.number(row["crops_needed"], 1)]
        for row in frame.to_dict("records")
    ]
    columns = ["variant", "standard error", "crops per image", "crops for the first variant’s standard error"]
    note = (
        "How much a prediction depends on the draw of its test crops: its standard error in quality, as a root mean "
        "square over test images and splits. It falls with the square root of the number of crops."
    )
    return [Table("crop-draws", "Standard error by the draw of crops", columns, rows, frame, note)] * bool(rows)


def _cross_dataset(found: pd.DataFrame | None) -> list[Table | Drawing]:
    if found is None:
        return []
    measures = {"srocc": "SROCC", "plcc": "PLCC", "plcc_fitted": "PLCC after logistic", "krcc": "KRCC", "rmse": "RMSE"}
    rows = [
        [
            f"{row['variant']}\n{row['tested_on']}, {row['images']}",
            *(f"{tables.number(row[f'{m}_mean'])}\n{tables.number(row[f'{m}_sd'])}" for m in measures),
            str(row["splits"]),
        ]
        for row in found.to_dict("records")
    ]
    columns = ["variant, tested on", *measures.values(), "splits"]
    return [Table("cross-dataset", "Trained here, tested on other databases", columns, rows, found)]


def _cost(runs: Runs) -> list[Table | Drawing]:
    frame = tables.cost(runs.configurations)
    order = {variant: place for place, variant in enumerate(runs.variants)}
    frame = frame.sort_values("variant", key=lambda variants: variants.map(order), kind="stable").reset_index(drop=True)
    searched = bool(frame["candidates"].any())
    names = ["test", "search", "saved", "candidates", "pruned"] if searched else ["test"]
    total = frame[names].sum()
    rows = [
        [
            str(row["variant"]),
            *("–" if not row[n] else f"{row[n]:.0f}" if n in names[3:] else tables.duration(row[n]) for n in names),
        ]
        for _, row in pd.concat([frame, pd.DataFrame([{"variant": "all", **total}])]).iterrows()
    ]
    heads = ["training and test", "search", "saved by racing", "candidates", "of these pruned"]
    note = (
        "The time of one device for all runs in MLflow. A variant that starts from the weights of another one counts "
        "its own part only."
    )
    alt = "Device time: " + "; ".join(f"{row[0]} {row[1]}" for row in rows) + "."
    return [
        Drawing("cost", "Device time by variant", note, figures.device_hours(frame), alt),
        Table("cost", "Device time", ["variant", *heads[: len(names)]], rows, frame),
    ]


def _runs(runs: Runs) -> Table:
    """Every test run with the address of its page."""
    frame = runs.splits[["variant", "split", "run_id", "device", "srocc", "signature"]]
    frame = frame.assign(page=[runs.origin.page(run_id) for run_id in frame["run_id"]])
    rows = [
        [
            f"{row['variant']}, split {row['split']}",
            tables.number(row["srocc"]),
            *(str(row[name]) for name in ("run_id", "device")),
            str(row["signature"])[:12],
        ]
        for _, row in frame.iterrows()
    ]
    links = dict(zip(frame["run_id"], frame["page"], strict=True))
    local = f", while the command under “Use and repeat” shows MLflow at {PAGE}"
    note = f"Links open a run’s page in MLflow{local * runs.origin.is_file}."
    columns = ["run", "SROCC", "MLflow run", "device", "signature"]
    return Table("runs", "Test runs", columns, rows, frame, note, links=links)


def _origin(runs: Runs, command: str) -> dict[str, str]:
    """How to use the study's model, and how to repeat report and study."""
    uri = runs.origin.uri
    found = {"MLflow": where_to_look(uri), "Report": command, "Commit": runs.origin.commit}
    if runs.origin.model:
        score = f"python -m gada_ray score FOLDER --model {runs.origin.model}{option(uri)}"
        found |= {"Model": runs.origin.model, "Score images": score}
    return {name: text for name, text in found.items() if text}
