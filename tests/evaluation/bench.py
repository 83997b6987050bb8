"""A rendered benchmark in DreamBench's layout: products of the embedded model's world in scenes, and a cat's folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from dreamcache.mini.world.design import HELD_OUT_FROM, design_from_seed
from dreamcache.mini.world.render import pose_from_seed, render
from dreamcache.mini.world.scenes import SCENES

TEXT = """Classes

subject_name,class
{classes}

Prompts

Object Prompts

prompt_list = [
'a {{0}} {{1}} in the jungle'.format(unique_token, class_token),
'a {{0}} {{1}} on top of a mirror'.format(unique_token, class_token),
"a red {{0}} {{1}}, the owner's".format(unique_token, class_token)
]

Live Subject Prompts

prompt_list = [
'a {{0}} {{1}} in the jungle'.format(unique_token, class_token),
'a {{0}} {{1}} wearing a red hat'.format(unique_token, class_token)
]
"""


def write_text(folder: Path, classes: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"{subject},{name}" for subject, name in classes.items())
    (folder / "prompts_and_classes.txt").write_text(TEXT.format(classes=lines))
    return folder


def write_bench(folder: Path, subjects: int, *, photos: int = 2) -> Path:
    """`subjects` rendered products with `photos` each; the first photo is a packshot, the others in scenes."""
    classes = {}
    for number in range(subjects):
        design = design_from_seed(HELD_OUT_FROM + number)
        name = f"{design.class_name}_{number}"
        classes[name] = design.class_name
        (folder / name).mkdir(parents=True)
        for photo in range(photos):
            scene = None if photo == 0 else SCENES[(number + photo) % len(SCENES)]
            pose = pose_from_seed(number * 10 + photo, centered=photo == 0)
            picture, _ = render(design, pose=pose, scene=scene, size=64)
            Image.fromarray(picture).save(folder / name / f"{photo:02d}.png")
    return write_text(folder, {**classes, "not_there": "cat"})
