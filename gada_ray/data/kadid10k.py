"""KADID-10k (Lin et al.): 10,125 images, 81 references, 25 types of distortion at 5 levels.

Its scores are named DMOS, although higher is better.
"""

from __future__ import annotations

import re
from pathlib import Path

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.files import find_database
from gada_ray.data.images import Labelled, load_images
from gada_ray.data.tables import read_table

DISTORTIONS = (
    "01_gaussian_blur",
    "02_lens_blur",
    "03_motion_blur",
    "04_color_diffusion",
    "05_color_shift",
    "06_color_quantization",
    "07_saturation_hsv",
    "08_saturation_lab",
    "09_jpeg2000",
    "10_jpeg",
    "11_white_noise",
    "12_white_noise_ycbcr",
    "13_impulse_noise",
    "14_multiplicative_noise",
    "15_denoising",
    "16_brighten",
    "17_darken",
    "18_mean_shift",
    "19_jitter",
    "20_non_eccentricity",
    "21_pixelate",
    "22_quantization",
    "23_color_block",
    "24_sharpen",
    "25_contrast",
)
ENTRIES = 10_125
_NAME = re.compile(r"(i\d\d)_(\d\d)_0[1-5]\.png")


def load_kadid10k(root: Path, config: DataConfig) -> IqaDataset:
    """Load KADID-10k: 10,125 distorted images; of `config`, `shorter_side` applies.

    Quality is (score - 1) / 4: the raters' scale is 1 to 5.

    Raises:
        DataError: for missing, damaged or inconsistent files; see `load_images`.
    """
    index = find_database(root, "KADID-10k", ["dmos.csv", "images"])
    path = index["dmos.csv"]
    rows = read_table(path, ("dist_img", "ref_img", "dmos"))
    images, problems = [], []
    for (name, reference), score in rows:
        match = _NAME.fullmatch(name.lower())
        if not match or not 1 <= int(match[2]) <= len(DISTORTIONS) or Path(reference).stem.lower() != match[1]:
            text = f"{path}: {name!r} of {reference!r}; IRR_TT_LL.png of IRR.png is expected"
            problems.append(DataError(text, "names that are not KADID-10k's"))
            continue
        images.append(Labelled(match[0], index[f"images/{match[0]}"], match[1], DISTORTIONS[int(match[2]) - 1], score))
    if len(rows) != ENTRIES:
        problems.append(DataError(f"{path}: {len(rows)} entries, KADID-10k has {ENTRIES}"))
    if problems:
        raise DataError.of(problems)
    return load_images(
        name="KADID-10k",
        labels="DMOS of dmos.csv (higher is better)",
        direction="higher_is_better",
        score_range=(1.0, 5.0),
        references={name: index[f"images/{name}.png"] for name in sorted({image.reference for image in images})},
        images=images,
        distortions=DISTORTIONS,
        shorter_side=config.shorter_side,
    )
