"""A job that has run, with photos and images that a person can distinguish, and its gallery on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from dreamcache.core.config.job import JobSpec
from jobs.output.folder import OutputFolder
from jobs.spec import parse_spec
from tests.jobs.conftest import write_model
from tests.jobs.reviewed import generate

ATTACK = "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>\"'&"
SUBJECTS = ("mug", ATTACK, "=lamp", "chair")


def picture(number: int, side: int = 96) -> Image.Image:
    image = Image.new("HSV", (side, side), (number * 47 % 256, 110, 230)).convert("RGB")
    ImageDraw.Draw(image).ellipse(
        (side // 5, side // 4, side * 4 // 5, side * 3 // 4), fill=(40, number * 30 % 255, 90)
    )
    return image


def shop(folder: Path, *, samples: int = 1, subjects: tuple[str, ...] = SUBJECTS, **changes: Any) -> JobSpec:
    """Two prompts for each subject; the catalog's column `colour` is red and blue in turn."""
    folder.mkdir(exist_ok=True)
    rows = ["subject_id,image,class_name,colour"]
    for number, subject in enumerate(subjects):
        picture(number).save(folder / f"{number}.png")
        quoted = subject.replace('"', '""')
        rows.append(f'"{quoted}",{number}.png,{("teapot", "lamp")[number % 2]},{("red", "blue")[number % 2]}')
    (folder / "catalog.csv").write_text("\n".join(rows) + "\n")
    values = {
        "name": "autumn-shop",
        "catalog": str(folder / "catalog.csv"),
        "output": str(folder / "output"),
        "prompts": ["a {class_name} on sand", "a {class_name} in snow"],
        "samples": samples,
        "model": write_model(folder),
    }
    return parse_spec({**values, **changes})


def run(spec: JobSpec, *, keep_approved: bool = False) -> list[str]:
    """Ids of what was generated; the gallery is written anew."""
    return generate(spec, keep_approved=keep_approved, gallery=True)


def page_of(spec: JobSpec) -> str:
    return Path(OutputFolder(spec.output).at("gallery/index.html")).as_uri()
