"""Stage grid: held-out designs down, scenes across, generated with the newest checkpoint into grids/."""

import numpy as np
from PIL import Image

from dreamcache.mini.world.captions import caption
from dreamcache.mini.world.design import CLASSES, design_from_seed
from recipes.mini.dataset import render_reference
from recipes.mini.make.generate import Generator
from recipes.mini.make.settings import Settings

SCENES = ("beach", "snow", "wooden table", "jungle", "plain blue", "brick wall")
NAMES = ("mug", "t-shirt", "vase", "box", "backpack", "sneaker", "lamp", "teapot")
_ZOOM = 2


def run(settings: Settings, *, designs: int = len(NAMES), steps: int = 25) -> None:
    """Writes grids/step-<step>.png: reference | six scenes with it | one scene from text alone."""
    generator = Generator(settings)
    seeds = [settings.held_out_from + offset for offset in range(24, 36)]
    seeds = [seed for seed in seeds if design_from_seed(seed).class_name in NAMES][:designs]
    references = np.stack([render_reference(seed)[0] for seed in seeds])
    subjects = generator.read(references)
    rows = []
    for row, seed in enumerate(seeds):
        name = design_from_seed(seed).class_name
        prompts = [caption(name, scene) for scene in SCENES] + [caption(name, SCENES[row % len(SCENES)])]
        with_reference = [subjects[row]] * len(SCENES) + [None]
        pictures = generator.generate(prompts, with_reference, seed=1000 * row, steps=steps)
        rows.append(np.concatenate([references[row], *pictures], axis=1))
    sheet = Image.fromarray(np.concatenate(rows))
    path = settings.folder("grids") / f"step-{generator.step:06d}.png"
    sheet.resize((sheet.width * _ZOOM, sheet.height * _ZOOM), Image.Resampling.LANCZOS).save(path)
    print(f"grid: {len(CLASSES)} classes known, {len(seeds)} held-out designs: {path}", flush=True)
