"""The encoding-timestep ablation (docs/method.md section 7, Supp S3): one adapter for each t, all else the same.

    parquet samples -> dreamcache train, once for each t -> pictures of held-out designs -> similarity to image and text

Training is the product's command, called as a user would; it goes on from its checkpoints, as pictures do from their
files. Knows the command's name and its YAML; must not import jobs.
"""

import json
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from dreamcache.core.config import EncodeSettings
from dreamcache.mini.world import HELD_OUT_FROM
from recipes.mini.command import dreamcache
from recipes.mini.dataset import write_training_data
from recipes.mini.measure.drawing import Artist
from recipes.mini.measure.features import ClipFeatures, ImageNetFeatures
from recipes.mini.measure.objects import cut_out, find_objects
from recipes.mini.measure.questions import SIDE, Group, all_classes, photo
from recipes.mini.measure.scenes import scene_hits, text_similarity
from recipes.mini.measure.statistics import interval, ranks

TIMESTEPS = (1, 150, 300)
_DESIGNS, _VALIDATION = 4_000, 48
_BATCH = 48


def run(
    work: Path, *, steps: int, subjects: int = 50, dtype: str = "float32", until: float = float("inf")
) -> dict[str, object]:
    """Trains what is missing, draws what is missing, writes ablation.json and ablation.md; returns the report.

    dtype: of drawing. Raises OutOfTimeError.
    """
    write_training_data(work / "samples", _DESIGNS)
    # One scene of each: the wrong reference of a validation sample is then another design's.
    write_training_data(work / "validation", _VALIDATION, first_seed=HELD_OUT_FROM + 600, scenes=1)
    for timestep in TIMESTEPS:
        _train(work, timestep, steps)
    report = _measure(work, steps, all_classes(subjects, 4), dtype, until)
    (work / "ablation.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    (work / "ablation.md").write_text(markdown(report), "utf-8")
    return report


def training(timestep: int, steps: int, output: str) -> dict[str, object]:
    """The training file for one timestep."""
    return {
        "name": f"mini-t{timestep}",
        "output": output,
        "model": {"base": "mini"},
        "workers": {"count": 1, "cpus": 1},
        "hooks": [],
        "train": {
            "data": {"path": "samples", "validation": "validation", "validation_samples": _VALIDATION},
            # The packshot is another picture than the target: there is nothing to be hidden from the adapter.
            "transform": {"erase_p": 0.0, "jitter_p": 0.0},
            "reference": {"timestep": timestep, "every": 1},
            "loss": {"foreground": 1.0},
            "optimizer": {"learning_rate": 1e-3, "warmup_steps": min(30, steps // 4), "ema": 0.99},
            "steps": steps,
            "global_batch": _BATCH,
            "micro_batch": _BATCH,
            "every": {"log": 10, "checkpoint": 50, "validate": 100, "levels": [300, 500, 700]},
        },
    }


def _train(work: Path, timestep: int, steps: int) -> None:
    output = f"t{timestep:03d}-{steps}"
    done = work / output / "adapter" / "config.json"
    if done.exists() and json.loads(done.read_text("utf-8"))["step"] == steps:
        return
    file = work / f"{output}.yaml"
    file.write_text(yaml.safe_dump(training(timestep, steps, output), sort_keys=False), "utf-8")
    dreamcache("train", str(file))


def _measure(work: Path, steps: int, group: Group, dtype: str, until: float) -> dict[str, object]:
    torch.set_num_threads(1)
    imagenet, clip = ImageNetFeatures(), ClipFeatures()
    shots = [cut_out(*photo(seed, SIDE)) for seed in group.seeds]
    gallery = imagenet(shots), clip.images(shots)
    rows: dict[str, dict[str, object]] = {}
    kept: dict[str, dict[str, np.ndarray]] = {}
    for timestep in TIMESTEPS:
        adapter = str(work / f"t{timestep:03d}-{steps}" / "adapter")
        encode = EncodeSettings(timestep=timestep)
        artist = Artist(work, adapter=adapter, encode=encode, dtype=dtype, until=until)
        arms = {f"t = {timestep}": artist.with_reference(group.questions)}
        if timestep == TIMESTEPS[0]:
            arms["no reference"] = artist.text_only(group.questions)
        for name, pictures in arms.items():
            kept[name] = _similarities(group, pictures, gallery, imagenet, clip)
    first = f"t = {TIMESTEPS[0]}"
    for name, values in kept.items():
        each = {key: value.reshape(len(group.seeds), -1) for key, value in values.items()}
        rows[name] = {key: interval(value).as_list() for key, value in each.items()}
        rows[name]["difference to t = 1"] = {
            key: interval(value - kept[first][key].reshape(value.shape)).as_list()
            for key, value in each.items()
        }
    return {
        "steps": steps,
        "batch": _BATCH,
        "dtype": dtype,
        "subjects": len(group.seeds),
        "scenes": group.scenes,
        "rows": rows,
    }


def _similarities(
    group: Group,
    pictures: list[Image.Image],
    gallery: tuple[torch.Tensor, torch.Tensor],
    imagenet: ImageNetFeatures,
    clip: ClipFeatures,
) -> dict[str, np.ndarray]:
    """One number per question and measure."""
    owners = group.owners
    objects = [cut_out(picture, mask) for picture, mask in zip(pictures, find_objects(pictures), strict=True)]
    scores = (imagenet(objects) @ gallery[0].T).numpy()
    return {
        "EfficientNet-I": scores[np.arange(len(owners)), owners],
        "CLIP-I": (clip.images(objects) * gallery[1][owners]).sum(dim=1).numpy(),
        "retrieval@1": (ranks(scores, owners) == 1).astype(float),
        "CLIP-T": text_similarity(clip, group.questions, pictures),
        "scene accuracy": scene_hits(clip, group.questions, pictures),
    }


def markdown(report: dict[str, object]) -> str:
    """The table as in Supp S3, with intervals."""
    rows = report["rows"]
    assert isinstance(rows, dict)
    names = [name for name in next(iter(rows.values())) if not name.startswith("difference")]
    lines = ["| encoding | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(_cell(row[key]) for key in names) + " |")
        if name != f"t = {TIMESTEPS[0]}":
            gaps = row["difference to t = 1"]
            lines.append("| difference to t = 1 | " + " | ".join(_cell(gaps[key]) for key in names) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    return f"{values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f})"
