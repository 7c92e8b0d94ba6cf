"""`python -m gada_ray score`: the quality of any images as CSV."""

from __future__ import annotations

import csv
import itertools
import os
import queue
import statistics
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, BinaryIO

import typer
from rich.progress import track

from gada_ray.commands.options import MODEL_HELP, Device, TrackingUri
from gada_ray.commands.terminal import Terminal, end_by_closed_pipe, say
from gada_ray.data import DataError
from gada_ray.data.words import counted
from gada_ray.inference.card import ModelError, Score, place_of, read_card
from gada_ray.system import bytecode, devices
from gada_ray.tracking.lookup import fetch


def score(
    model: Annotated[str, typer.Option(help=f"{MODEL_HELP} 'tune.py --study NAME --best' prints a study's.")],
    paths: Annotated[list[str] | None, typer.Argument(help="Image files, and folders that are read in full.")] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--list", help="File with a path on every line; - for standard input, scored line by line."),
    ] = None,
    tracking_uri: TrackingUri = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write; standard output without it.")] = None,
    device: Device = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images in one batch; by default 8 on a GPU, one for each core on a CPU.")
    ] = None,
    crops: Annotated[
        int | None,
        typer.Option(
            min=1, help="Crops of an image, instead of the model's number; fewer are faster and less precise."
        ),
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Folder for a picture of every image beside its quality by location.")
    ] = None,
    max_megapixels: Annotated[
        float,
        typer.Option(min=0.001, help="Larger images are refused. Reading takes about 7 MB of memory a megapixel."),
    ] = 250,
) -> None:
    """Score images to CSV. Images that cannot be scored are named and left out; the exit code is 1 then."""
    if not paths and listed is None:
        raise ModelError("nothing to score; name files, folders or --list FILE")
    piped = str(listed) == "-"
    wanted = [*(paths or []), *(read_list(listed) if listed and not piped else [])]
    folder = fetch(model, tracking_uri)
    card = read_card(place_of(folder))
    bytecode.enable_cache()
    from gada_ray.data.images import TOO_LARGE
    from gada_ray.data.photos import find_photos

    set_image_limit(max_megapixels)
    named = list(find_photos(wanted))
    if not piped and not any(isinstance(one, str) for one in named):
        raise DataError("\n".join(map(str, named)) or f"nothing to score; --list {listed} names no file")
    console = Terminal(stderr=True)
    say(console, f"{card.variant} of study {card.study}; score: {card.scale}")
    usual = card.config.evaluation.crops
    used = crops or usual
    if used != usual:
        factor = (usual / used) ** 0.5
        say(
            console,
            f"{counted(used, 'crop')} instead of {usual}: the standard error of a quality is {factor:.2f} times",
        )
    from gada_ray.inference import scoring

    scorer = scoring.load(folder, device or devices.default(), crops)
    together = batch or devices.images_at_once(scorer.device)
    found = itertools.chain(named, find_photos(lines_of(sys.stdin.buffer))) if piped else named
    problems: list[str] = []
    spreads: list[float] = []

    def complain(problem: DataError) -> None:
        problems.append(str(problem))
        remedy = " or raise --max-megapixels" if problem.kind == TOO_LARGE else ""
        say(console, f"{problem}{remedy}", style="red")

    def files() -> Iterator[str | None]:
        for one in found:
            if isinstance(one, DataError):
                complain(one)
            else:
                yield one

    try:
        with ExitStack() as stack:
            file = stack.enter_context(out_file(out))
            writer = csv.writer(file)
            writer.writerow(("path", *Score._fields))
            if piped:
                file.flush()
            done = scorer.score_files(files(), together, workers=os.cpu_count() or 1)
            expected = None if piped else len(named)
            for path, result in track(done, "scoring", total=expected, console=console, transient=True, disable=piped):
                if isinstance(result, DataError):
                    complain(result)
                    continue
                writer.writerow((path, *(f"{value:.6f}" if isinstance(value, float) else value for value in result)))
                spreads.append(result.spread)
                if piped:
                    file.flush()
                if maps is not None:
                    from gada_ray.inference.maps import write_map

                    write_map(scorer, path, result, maps)
    except BrokenPipeError:
        end_by_closed_pipe()
    except OSError as error:
        place = f"--out {out}" if out else "standard output"
        raise DataError(f"{place} cannot be written ({error.strerror})") from None
    if spreads and used > 1:
        say(console, uncertainty(spreads, used, usual))
    if maps is not None and spreads:
        say(console, f"pictures of quality by location are in {maps}")
    if problems:
        images = counted(len(problems) + len(spreads), "image")
        say(console, f"{len(problems)} of {images} {'was' if len(problems) == 1 else 'were'} not scored", style="red")
        raise typer.Exit(1)


def set_image_limit(megapixels: float) -> None:
    """Let PIL read images up to a size, in this process, and keep its warnings of odd files to itself."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = int(megapixels * 1e6)
    # Files that cannot be read are named with their reason.
    warnings.filterwarnings("ignore", module="PIL")


def uncertainty(spreads: Sequence[float], crops: int, usual: int) -> str:
    """The standard error of a quality over an image's crops, as a median over images."""
    spread = statistics.median(spreads)
    number = counted(crops, "crop")
    here = f"standard error of a quality over its {number}: ±{spread / crops**0.5:.4f} (median of the images)"
    return here if crops == usual else f"{here}; ±{spread / usual**0.5:.4f} with the model's {usual}"


def read_list(path: Path) -> list[str]:
    """Read the paths on the lines of a file.

    Raises:
        DataError: for a file that cannot be read.
    """
    try:
        # Names of files need not be text.
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"--list {path} cannot be read ({error.strerror})") from None
    return [os.fsdecode(line) for line in data.splitlines() if line.strip()]


def lines_of(stream: BinaryIO) -> Iterator[str | None]:
    """The paths on the lines of a pipe as they arrive, and None whenever none is waiting."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, name="pipe", daemon=True).start()
    while True:
        if lines.empty():
            yield None
        line = lines.get()
        if not line:
            return
        if line.strip():
            yield os.fsdecode(line.rstrip(b"\r\n"))


def out_file(path: Path | None) -> IO[str]:
    """Open a CSV file, or standard output, for writing; names of files that are not text can be written.

    Raises:
        DataError: for a file that cannot be written.
    """
    try:
        target = sys.stdout.fileno() if path is None else path
        return open(target, "w", newline="", encoding="utf-8", errors="surrogateescape", closefd=path is not None)
    except OSError as error:
        raise DataError(f"--out {path} cannot be written ({error.strerror})") from None
