"""Sample catalogs: packshots of held-out procedural products and the table that lists them.

Knows the world and the columns of a catalog. Must not know models or jobs.
"""

import csv
from pathlib import Path

from PIL import Image

from dreamcache.mini.world.design import CLASSES, HELD_OUT_FROM, design_from_seed
from dreamcache.mini.world.render import pose_from_seed, render

COLUMNS = ("subject_id", "class_name", "image", "color", "pattern")


def write_sample_catalog(
    folder: Path | str, num_subjects: int, *, size: int = 256, first_seed: int = HELD_OUT_FROM
) -> Path:
    """Write images/<subject_id>.png and catalog.csv; returns the path of catalog.csv.

    Consecutive seeds walk through the classes, so they are spread evenly. Same arguments, same bytes.
    """
    if num_subjects < 1:
        raise ValueError(f"sample catalog: {num_subjects} subjects: must be at least 1")
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    table = folder / "catalog.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for seed in range(first_seed, first_seed + num_subjects):
            writer.writerow(_write_subject(folder, seed, size))
    return table


def _write_subject(folder: Path, seed: int, size: int) -> dict[str, str]:
    design = design_from_seed(seed)
    subject_id = f"{design.class_name}-{seed}"
    picture, _ = render(design, pose=pose_from_seed(seed, centered=True), scene=None, size=size)
    Image.fromarray(picture).save(folder / "images" / f"{subject_id}.png")
    return {
        "subject_id": subject_id,
        "class_name": design.class_name,
        "image": f"images/{subject_id}.png",
        "color": design.color_names[0],
        "pattern": design.pattern,
    }


def is_of_this_world(subject_id: str, class_name: str) -> bool:
    """Whether a subject has the id and class of a sample, as `write_sample_catalog` names them."""
    name, _, digits = subject_id.rpartition("-")
    if name != class_name or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        return False
    return CLASSES[int(digits) % len(CLASSES)] == class_name
