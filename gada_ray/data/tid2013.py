"""TID2013 (Ponomarenko et al.): 3,000 images, 25 references, 24 types of distortion at 5 levels.

The level is not a label of quality: for some types (14 to 18) it does not even order the images.
"""

from __future__ import annotations

import re
from pathlib import Path

from gada_ray.config import DataConfig
from gada_ray.data.dataset import DataError, IqaDataset
from gada_ray.data.files import find_database
from gada_ray.data.images import Labelled, load_images

DISTORTIONS = (
    "01_gaussian_noise",
    "02_color_noise",
    "03_correlated_noise",
    "04_masked_noise",
    "05_high_frequency_noise",
    "06_impulse_noise",
    "07_quantization_noise",
    "08_gaussian_blur",
    "09_denoising",
    "10_jpeg",
    "11_jpeg2000",
    "12_jpeg_transmission",
    "13_jpeg2000_transmission",
    "14_non_eccentricity",
    "15_local_blocks",
    "16_mean_shift",
    "17_contrast",
    "18_saturation",
    "19_multiplicative_noise",
    "20_comfort_noise",
    "21_noisy_compression",
    "22_color_quantization",
    "23_chromatic_aberration",
    "24_sparse_sampling",
)
ENTRIES = 3000
ARTIFICIAL = "i25"
_NAME = re.compile(r"(i\d\d)_(\d\d)_[1-5]\.bmp")


def load_tid2013(root: Path, config: DataConfig) -> IqaDataset:
    """Load TID2013: 3,000 distorted images, or 2,880 with `config.drop_artificial_reference`.

    Quality is MOS / 9; the nominal scale is 0 to 9, higher is better.

    Raises:
        DataError: for missing, damaged or inconsistent files; see `load_images`.
    """
    index = find_database(root, "TID2013", ["mos_with_names.txt", "distorted_images", "reference_images"])
    path = index["mos_with_names.txt"]
    lines = path.read_text(encoding="ascii", errors="replace").split("\n")
    entries = [line.split() for line in lines if line.strip()]
    images, problems = [], []
    for number, entry in enumerate(entries, 1):
        match = _NAME.fullmatch(entry[-1].lower())
        if len(entry) != 2 or not match or not 1 <= int(match[2]) <= len(DISTORTIONS):
            text = f"{path}: entry {number} is {' '.join(entry)!r}; '<MOS> iRR_TT_L.bmp' is expected"
            problems.append(DataError(text, "entries that are not TID2013's"))
            continue
        try:
            score = float(entry[0])
        except ValueError:
            text = f"{path}: entry {number} has the score {entry[0]!r}, which is not a number"
            problems.append(DataError(text, "scores that are not numbers"))
            continue
        file = index[f"distorted_images/{match[0]}"]
        images.append(Labelled(match[0], file, match[1], DISTORTIONS[int(match[2]) - 1], score))
    if len(entries) != ENTRIES:
        problems.append(DataError(f"{path}: {len(entries)} entries, TID2013 has {ENTRIES}"))
    if problems:
        raise DataError.of(problems)
    notes = []
    if config.drop_artificial_reference:
        kept = [image for image in images if image.reference != ARTIFICIAL]
        notes = [f"{len(images) - len(kept)} images of the artificial reference {ARTIFICIAL} are left out"]
        images = kept
    references = sorted({image.reference for image in images})
    return load_images(
        name="TID2013",
        labels="MOS of mos_with_names.txt",
        direction="higher_is_better",
        score_range=(0.0, 9.0),
        references={reference: index[f"reference_images/{reference}.bmp"] for reference in references},
        images=images,
        distortions=DISTORTIONS,
        notes=notes,
        shorter_side=config.shorter_side,
    )
