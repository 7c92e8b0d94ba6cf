"""The speed of scoring: `python -m benchmarks.scoring FOLDER --model MODEL`; all figures from one run on one machine.

(a) Images a second of `python -m gada_ray score`, from files to scores, decoding included; also relative to the upper
    bound of the machine: its cores, over the seconds that a single thread takes to decode and score an image.
(b) The same files, decoded in the same way, through the network of Kang et al. (CVPR 2014), "CNNIQA": on all patches as
    published, and on as many pixels as (a)'s crops have. It is written from the paper and untrained, for its speed
    alone.
(c) Whether the crops of an image can share one feature map: qualities and times of the quality network on crops, and on
    windows of the feature maps of the whole image.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from torch import Tensor, nn

from gada_ray.data import DataError
from gada_ray.data.crops import corners, generator_for, random_places
from gada_ray.data.photos import decode_photo, find_photos
from gada_ray.inference.scoring import Scorer, load
from gada_ray.model.quality_network import Backbone
from gada_ray.tracking.models import fetch

PATCH_PX = 32
ROUNDS = 5
console = Console()


class Kang2014(nn.Module):
    """Patches `[n, 1, 32, 32]`, normalised, to scores `[n]`: sections 3.1 to 3.3 of the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 50, 7)
        self.regression = nn.Sequential(
            nn.Linear(100, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(), nn.Dropout(), nn.Linear(800, 1)
        )

    def forward(self, patches: Tensor) -> Tensor:
        """The largest and the smallest value of each of the 50 maps, and two layers of 800."""
        maps = self.convolution(patches).flatten(2)
        scores: Tensor = self.regression(torch.cat([maps.amax(2), maps.amin(2)], dim=1))
        return scores.squeeze(1)


def kang_patches(image: np.ndarray) -> Tensor:
    """All patches `[n, 1, 32, 32]` of an image `[h, w, 3]` side by side, normalised in 7x7 windows with C = 10."""
    grey = torch.from_numpy(image @ np.array([0.299, 0.587, 0.114], np.float32))[None, None]
    padded = F.pad(grey, (3, 3, 3, 3), mode="reflect")
    mean = F.avg_pool2d(padded, 7, 1)
    deviation = (F.avg_pool2d(padded.square(), 7, 1) - mean.square()).clamp(min=0).sqrt()
    normalised = ((grey - mean) / (deviation + 10))[0, 0]
    patches = normalised.unfold(0, PATCH_PX, PATCH_PX).unfold(1, PATCH_PX, PATCH_PX)
    return patches.reshape(-1, 1, PATCH_PX, PATCH_PX)


@torch.inference_mode()
def kang_scores(network: Kang2014, paths: Sequence[Path], batch: int, limit: int | None) -> list[float]:
    """Scores of files, decoded in threads like ours, from at most `limit` patches of each."""
    scores = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        patches = pool.map(lambda path: kang_patches(decode_photo(path))[:limit], paths)
        while some := list(itertools.islice(patches, batch)):
            parts = network(torch.cat(some)).split([len(each) for each in some])
            scores += [float(part.mean()) for part in parts]
    return scores


@torch.inference_mode()
def shared_map(scorer: Scorer, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Qualities `[images]` from crops and from windows of whole images' feature maps, and the CPU seconds of each.

    Both use the same windows, with corners on the grid of the feature maps. Only networks that pool their feature maps
    can share them.
    """
    quality_network, config = scorer.quality_network, scorer.card.config
    px, step = config.data.crop_px, 2 ** len(config.model.backbone_widths)
    qualities, seconds = np.empty((2, len(images))), [0.0, 0.0]
    for number, image in enumerate(images):
        height, width = image.shape[:2]
        places = random_places(config.evaluation.crops, generator_for("score", height, width, px))
        top, left = corners(torch.tensor([[height, width]]), places, px, step)

        since = time.process_time()
        crops = np.stack([image[t : t + px, s : s + px] for t, s in zip(top.tolist(), left.tolist(), strict=True)])
        qualities[0, number] = quality_network.evaluate(_planes(crops))[0].mean()
        seconds[0] += time.process_time() - since

        since = time.process_time()
        whole = _planes(image[None, : height // step * step, : width // step * step])
        assert isinstance(quality_network.backbone, Backbone)
        maps = quality_network.backbone.last(
            quality_network.backbone.convolutions(quality_network.backbone.normalise(whole))
        )
        pooled = F.avg_pool2d(maps, px // step, stride=1)[0, :, top // step, left // step].T
        qualities[1, number] = quality_network.evaluator(pooled).mean()
        seconds[1] += time.process_time() - since
    return qualities[0], qualities[1], seconds[0], seconds[1]


def _planes(images: np.ndarray) -> Tensor:
    """Images uint8 `[n, h, w, 3]` as `[n, 3, h, w]` in [0, 1]."""
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float().div_(255)


def alternate(
    actions: Sequence[Callable[[Sequence[Path]], object]], paths: Sequence[Path]
) -> list[tuple[float, float]]:
    """Wall-clock and CPU seconds of each action for a path: medians over shares of the paths.

    The actions alternate, after a warm-up. Other processes on the machine affect wall-clock seconds more than CPU
    seconds.
    """
    shares = [paths[number::ROUNDS] for number in range(ROUNDS)]
    seconds: list[list[tuple[float, float]]] = [[] for _ in actions]
    for number, share in enumerate([shares[0][:8], *shares]):
        for action, times in zip(actions, seconds, strict=True):
            since, used = time.perf_counter(), time.process_time()
            action(share)
            if number:
                times.append(((time.perf_counter() - since) / len(share), (time.process_time() - used) / len(share)))
    return [(statistics.median(t for t, _ in times), statistics.median(cpu for _, cpu in times)) for times in seconds]


def bound(scorer: Scorer, paths: Sequence[Path]) -> float:
    """Images a second if every core only decoded and scored images, independently of the others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    for path in paths:
        since = time.perf_counter()
        scorer.score_crops([scorer.crops(decode_photo(path))])
        seconds.append(time.perf_counter() - since)
    torch.set_num_threads(threads)
    return cores() / statistics.median(seconds)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def fits(scorer: Scorer, path: Path) -> bool:
    """Whether a file is an image that can be scored."""
    try:
        scorer.crops(decode_photo(path))
    except DataError:
        return False
    return True


def main(
    folder: Annotated[Path, typer.Argument(help="Folder with images.")],
    model: Annotated[str, typer.Option(help="Model URI (runs:/ or models:/) in MLflow, or a model's folder.")],
    tracking_uri: Annotated[str | None, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server.")] = None,
    images: Annotated[int, typer.Option(min=5, help="Files to score; those of the folder, repeated.")] = 500,
    shared: Annotated[int, typer.Option(min=2, help="Images of (c).")] = 50,
    batch: Annotated[int | None, typer.Option(min=1, help="Images in a scoring batch; by default one a core.")] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of a network that scores a batch of several images.")
    ] = 2,
) -> None:
    """Time scoring on a CPU."""
    torch.set_num_threads(threads)
    scorer, network = load(fetch(model, tracking_uri)), Kang2014().eval()
    config = scorer.card.config
    px, crops = config.data.crop_px, config.evaluation.crops
    found = [Path(path) for path in find_photos([folder]) if isinstance(path, str)]
    usable = [path for path in found if fits(scorer, path)]
    paths = list(itertools.islice(itertools.cycle(usable), images))
    as_many = crops * px * px // PATCH_PX**2

    def ours(some: Sequence[Path]) -> object:
        return list(scorer.score_files(some, batch, os.cpu_count() or 1))

    seconds = alternate(
        (
            ours,
            lambda some: kang_scores(network, some, batch or 8, None),
            lambda some: kang_scores(network, some, batch or 8, as_many),
        ),
        paths,
    )
    upper = bound(scorer, usable[:: max(1, len(usable) // shared)][:shared])
    decoded = [decode_photo(path) for path in usable[:: max(1, len(usable) // shared)][:shared]]
    sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for image in decoded})
    which = f"{len(usable)} different, of {', '.join(sizes)} px"
    say(f"torch {torch.__version__}, CPU, {threads} threads, {images} files ({which})")
    names = (
        f"(a) gada_ray score, {crops} crops of {px} px, "
        + (f"batches of {batch} images" if batch else "an image at a time on each core"),
        f"(b) Kang 2014, all patches of {PATCH_PX} px",
        f"(b) Kang 2014, at most {as_many} patches",
    )
    for name, (each, cpu) in zip(names, seconds, strict=True):
        say(
            f"{name}: {1 / each:.1f} images/s, {1000 * cpu:.0f} ms of CPU time an image, "
            f"{cpu / seconds[0][1]:.2f} of (a)'s"
        )
    say(f"(a) is {1 / seconds[0][0] / upper:.2f} of the machine's bound, {upper:.1f} images/s on {cores()} cores")
    one, other, *times = shared_map(scorer, decoded)
    apart, (each, together) = np.abs(one - other), (spent / len(decoded) for spent in times)
    say(
        f"(c) {len(decoded)} images, crops against windows of one map: quality differs by {apart.mean():.4f} on "
        f"average, {apart.max():.4f} at most; {each:.3f} s against {together:.3f} s of CPU time an image"
    )


def say(text: str) -> None:
    """One line as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
