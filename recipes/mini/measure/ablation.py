"""The encoding-timestep ablation (docs/method.md section 7, Supp S3): one adapter for each t, all else the same.

    parquet samples -> dreamcache train, once for each t -> pictures of held-out designs -> similarity to image and text

The product trains; a stopped training resumes from its checkpoints, generation from the pictures on disk.
"""

import json
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from dreamcache.core.config import EncodeSettings
from dreamcache.mini.world import HELD_OUT_FROM
from jobs.train.runner import run_training
from jobs.train.spec import load_train_spec
from recipes.mini.dataset import write_training_data
from recipes.mini.measure.features import ClipFeatures, ImageNetFeatures
from recipes.mini.measure.generate import Generator
from recipes.mini.measure.objects import FINDERS, Masks, cut_out, finder
from recipes.mini.measure.queries import SIDE, Group, all_classes, photo
from recipes.mini.measure.report import cell
from recipes.mini.measure.scenes import scene_hits, text_similarity
from recipes.mini.measure.statistics import interval, ranks

TIMESTEPS = (1, 150, 300)
_DESIGNS, _VALIDATION = 4_000, 48
_BATCH = 48


def run(
    work: Path, *, steps: int, subjects: int = 50, dtype: str = "float32", until: float = float("inf")
) -> dict[str, object]:
    """Train and generate what is missing, write ablation.json and ablation.md; returns the report.

    dtype: of generation. Raises OutOfTimeError.
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
    run_training(load_train_spec(file))


def _measure(work: Path, steps: int, group: Group, dtype: str, until: float) -> dict[str, object]:
    torch.set_num_threads(1)
    imagenet, clip = ImageNetFeatures(), ClipFeatures()
    shots = [cut_out(*photo(seed, SIDE)) for seed in group.seeds]
    gallery = imagenet(shots), clip.images(shots)
    rows: dict[str, dict[str, object]] = {}
    measured: dict[str, dict[str, np.ndarray]] = {}
    find = finder(FINDERS[0], work / "tools")
    for timestep in TIMESTEPS:
        adapter = str(work / f"t{timestep:03d}-{steps}" / "adapter")
        encode = EncodeSettings(timestep=timestep)
        generator = Generator(work, adapter=adapter, encode=encode, dtype=dtype, until=until)
        arms = {f"t = {timestep}": generator.with_reference(group.queries)}
        if timestep == TIMESTEPS[0]:
            arms["no reference"] = generator.text_only(group.queries)
        for name, pictures in arms.items():
            measured[name] = _similarities(group, pictures, find(pictures), gallery, imagenet, clip)
    first = f"t = {TIMESTEPS[0]}"
    for name, values in measured.items():
        each = {key: value.reshape(len(group.seeds), -1) for key, value in values.items()}
        rows[name] = {key: interval(value) for key, value in each.items()}
        rows[name]["difference to t = 1"] = {
            key: interval(value - measured[first][key].reshape(value.shape)) for key, value in each.items()
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
    masks: Masks,
    gallery: tuple[torch.Tensor, torch.Tensor],
    imagenet: ImageNetFeatures,
    clip: ClipFeatures,
) -> dict[str, np.ndarray]:
    """One number per query and measure."""
    owners = group.owners
    objects = [cut_out(picture, mask) for picture, mask in zip(pictures, masks, strict=True)]
    scores = (imagenet(objects) @ gallery[0].T).numpy()
    return {
        "EfficientNet-I": scores[np.arange(len(owners)), owners],
        "CLIP-I": (clip.images(objects) * gallery[1][owners]).sum(dim=1).numpy(),
        "retrieval@1": (ranks(scores, owners) == 1).astype(float),
        "CLIP-T": text_similarity(clip, group.queries, pictures),
        "scene accuracy": scene_hits(clip, group.queries, pictures),
    }


def markdown(report: dict[str, object]) -> str:
    """The table as in Supp S3, with intervals."""
    rows = report["rows"]
    assert isinstance(rows, dict)
    names = [name for name in next(iter(rows.values())) if not name.startswith("difference")]
    lines = ["| encoding | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(cell(row[key]) for key in names) + " |")
        if name != f"t = {TIMESTEPS[0]}":
            gaps = row["difference to t = 1"]
            lines.append("| difference to t = 1 | " + " | ".join(cell(gaps[key]) for key in names) + " |")
    return "\n".join(lines) + "\n"
