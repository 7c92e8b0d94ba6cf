"""A study's tables and pictures as files, for docs and papers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis import figures, load, statistics


def levels_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a level: n, mean, standard deviation and median of SROCC and LCC, and mean SROCC by distortion."""
    rows = []
    kinds = [name for name in frame.columns if name.startswith("srocc/")]
    for level, runs in frame.groupby("level", sort=False):
        row: dict[str, object] = {"level": level, "n": len(runs)}
        for metric in ("srocc", "lcc"):
            spread = runs[metric].std(ddof=1) if len(runs) > 1 else float("nan")
            row |= {
                f"{metric} mean": runs[metric].mean(),
                f"{metric} sd": spread,
                f"{metric} median": runs[metric].median(),
            }
        rows.append(row | {name: runs[name].mean() for name in kinds})
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """A frame as a Markdown table, numbers with three decimals."""

    def cell(value: object) -> str:
        return ("" if value != value else f"{value:.3f}") if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines) + "\n"


def write(uri: str, study: str, out: Path, dataset: str | None = None, preset: str | None = None) -> list[Path]:
    """Write NAME-levels.csv, -paired.csv, .md, -splits.png, -curves.png and -figure1.png; the files that were written.

    Raises:
        LoadError: for a study that MLflow does not have.
    """
    frame = load.split_runs(uri, study, dataset, preset)
    out.mkdir(parents=True, exist_ok=True)
    first = frame.iloc[0]
    levels, pairs = levels_table(frame), statistics.comparisons(frame)
    title = (
        f"{study}: {first['dataset']}, preset {first['preset']}, {frame['split'].nunique()} splits, {first['device']}"
    )
    written = []
    for name, table in (("levels", levels), ("paired", pairs)):
        written.append(out / f"{study}-{name}.csv")
        table.to_csv(written[-1], index=False)
    text = f"{title}. Labels: {first['labels']}.\n\n{markdown(levels)}"
    if len(pairs):
        text += (
            f"\nPaired by split, corrected t (Nadeau and Bengio), Holm over {len(pairs)} pairs:\n\n{markdown(pairs)}"
        )
    written.append(out / f"{study}.md")
    written[-1].write_text(text)
    pictures = {
        "splits": figures.effects(frame, "srocc", title),
        "curves": figures.learning(load.curve(uri, frame, "curve/srocc"), title),
    }
    for name, picture in pictures.items():
        written.append(out / f"{study}-{name}.png")
        picture.savefig(written[-1])
    for run in frame[::-1].itertuples():
        found = load.artifact(uri, str(run.run_id), "figure1.png", out)
        if found is not None:
            written.append(found.rename(out / f"{study}-figure1.png"))
            break
    return written
