"""Stage evaluate: a quick look at what the newest checkpoint keeps of subjects and of prompts.

Held-out designs, generated with the right reference, another one of the same class, and none. Measured
with the recipe's own CLIP model (trained on training designs only): a guide while training, not the benchmark.
"""

import json

import numpy as np
import torch
from torch import Tensor

from dreamcache.mini.world.captions import caption
from dreamcache.mini.world.design import CLASSES, design_from_seed
from dreamcache.mini.world.scenes import SCENES
from recipes.mini.dataset import render_reference
from recipes.mini.make.clip import pixels
from recipes.mini.make.generate import Generator
from recipes.mini.make.settings import Settings

_SUBJECTS, _SCENES_EACH, _BATCH = 48, 2, 24


def run(settings: Settings) -> None:
    """Appends retrieval@1 among the references and scene accuracy of three arms to evaluate.jsonl."""
    generator = Generator(settings)
    seeds = [settings.held_out_from + 120 + i for i in range(_SUBJECTS)]
    references = np.stack([render_reference(seed)[0] for seed in seeds])
    subjects = generator.read(references)
    known = _image(generator, references)
    scenes = _text(generator, [f"a photo {caption('', scene)[2:].strip()}" for scene in SCENES])
    owner = np.repeat(np.arange(_SUBJECTS), _SCENES_EACH)
    scene_index = np.random.default_rng(0).integers(len(SCENES), size=len(owner))
    prompts = [
        caption(design_from_seed(seeds[i]).class_name, SCENES[k])
        for i, k in zip(owner, scene_index, strict=True)
    ]
    report: dict[str, float | int | str] = {
        "step": generator.step,
        "chance": 1 / _SUBJECTS,
    }
    for arm, shift in (("right", 0), ("shuffled", len(CLASSES)), ("text only", None)):
        chosen = [None if shift is None else subjects[(i + shift) % _SUBJECTS] for i in owner]
        parts = [
            generator.generate(prompts[a : a + _BATCH], chosen[a : a + _BATCH], seed=a)
            for a in range(0, len(owner), _BATCH)
        ]
        images = _image(generator, np.concatenate(parts))
        report[f"{arm}: retrieval"] = float(((images @ known.T).argmax(dim=1).cpu().numpy() == owner).mean())
        report[f"{arm}: scene"] = float(
            ((images @ scenes.T).argmax(dim=1).cpu().numpy() == scene_index).mean()
        )
    print("evaluate:", json.dumps(report), flush=True)
    with (settings.work / "evaluate.jsonl").open("a") as file:
        file.write(json.dumps(report) + "\n")


@torch.no_grad()
def _image(generator: Generator, pictures: np.ndarray) -> Tensor:
    features = generator.clip.visual_projection(
        generator.clip.vision_model(pixels(pictures, generator.device)).pooler_output
    )
    return torch.nn.functional.normalize(features, dim=-1)


@torch.no_grad()
def _text(generator: Generator, prompts: list[str]) -> Tensor:
    tokens = generator.tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids.to(
        generator.device
    )
    features = generator.clip.text_projection(generator.clip.text_model(tokens).pooler_output)
    return torch.nn.functional.normalize(features, dim=-1)
