"""Stage evaluate: a quick look at what the newest checkpoint keeps of subjects and of prompts.

Held-out designs in held-out scenes, drawn with the right reference, another one of the same class, and none. Measured
with the recipe's own CLIP model (trained on training designs only): a guide while training, not the benchmark.
"""

import json

import numpy as np
import torch
from torch import Tensor

from dreamcache.mini.world.captions import caption
from dreamcache.mini.world.design import CLASSES, design_from_seed
from dreamcache.mini.world.scenes import SCENES
from recipes.mini.dataset import draw_reference
from recipes.mini.make.clip import pixels
from recipes.mini.make.draw import Artist
from recipes.mini.make.settings import Settings

_SUBJECTS, _SCENES_EACH, _BATCH = 48, 2, 24


def run(settings: Settings) -> None:
    """Appends retrieval@1 among the references and scene accuracy of three arms to evaluate.jsonl."""
    artist = Artist(settings)
    seeds = [settings.held_out_from + 120 + i for i in range(_SUBJECTS)]
    references = np.stack([draw_reference(seed) for seed in seeds])
    subjects = artist.read(references)
    known = _image(artist, references)
    scenes = _text(artist, [f"a photo {caption('', scene)[2:].strip()}" for scene in SCENES])
    owner = np.repeat(np.arange(_SUBJECTS), _SCENES_EACH)
    place = np.random.default_rng(0).integers(len(SCENES), size=len(owner))
    prompts = [
        caption(design_from_seed(seeds[i]).class_name, SCENES[k]) for i, k in zip(owner, place, strict=True)
    ]
    report: dict[str, float | int | str] = {
        "stage": artist.stage,
        "step": artist.step,
        "chance": 1 / _SUBJECTS,
    }
    for arm, shift in (("right", 0), ("shuffled", len(CLASSES)), ("text only", None)):
        chosen = [None if shift is None else subjects[(i + shift) % _SUBJECTS] for i in owner]
        parts = [
            artist.draw(prompts[a : a + _BATCH], chosen[a : a + _BATCH], seed=a)
            for a in range(0, len(owner), _BATCH)
        ]
        drawn = _image(artist, np.concatenate(parts))
        report[f"{arm}: retrieval"] = float(((drawn @ known.T).argmax(dim=1).cpu().numpy() == owner).mean())
        report[f"{arm}: scene"] = float(((drawn @ scenes.T).argmax(dim=1).cpu().numpy() == place).mean())
    print("evaluate:", json.dumps(report), flush=True)
    with (settings.work / "evaluate.jsonl").open("a") as file:
        file.write(json.dumps(report) + "\n")


@torch.no_grad()
def _image(artist: Artist, pictures: np.ndarray) -> Tensor:
    made = artist.clip.visual_projection(
        artist.clip.vision_model(pixels(pictures, artist.device)).pooler_output
    )
    return torch.nn.functional.normalize(made, dim=-1)


@torch.no_grad()
def _text(artist: Artist, prompts: list[str]) -> Tensor:
    tokens = artist.tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids.to(artist.device)
    made = artist.clip.text_projection(artist.clip.text_model(tokens).pooler_output)
    return torch.nn.functional.normalize(made, dim=-1)
