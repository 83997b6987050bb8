"""Stage adapter: the base frozen as exported, the adapters go on, trained by the product: `dreamcache train`.

The jointly trained adapters are where it starts; what it exports replaces them in the package. Resumes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from dreamcache.storage.models.adapter import check_adapter_fits, describe_adapter
from dreamcache.storage.models.base import BaseInfo, describe_base
from dreamcache.storage.models.lookup import MINI, mini_folder
from recipes.mini.command import dreamcache
from recipes.mini.dataset import write_training_data
from recipes.mini.make.settings import Settings

VALIDATION = 48
_BATCH = 48


def run(settings: Settings) -> None:
    """Writes samples and train.yaml, trains, and puts the adapter into dreamcache/mini/weights/adapter."""
    folder, base = settings.folder("adapter"), describe_base(MINI)
    own = settings.folder(f"adapter/{base.fingerprint[:12]}")  # another base is another training
    _keep_start(own / "start", base)
    write_training_data(folder / "samples", settings.designs)
    # One scene of each, so that another sample's reference is another design's.
    first = settings.held_out_from + settings.held_out
    write_training_data(folder / "validation", VALIDATION, first_seed=first, scenes=1)
    file = own / "train.yaml"
    file.write_text(yaml.safe_dump(training(settings), sort_keys=False), "utf-8")
    dreamcache("train", str(file))
    made, shipped = own / "trained" / "adapter", mini_folder() / "adapter"
    for path in (*made.glob("*.safetensors"), made / "config.json"):  # last: without it there is no adapter
        shutil.copy(path, shipped / path.name)
    print(f"adapter: {settings.adapter_steps} steps by dreamcache train, in {shipped}", flush=True)


def training(settings: Settings) -> dict[str, Any]:
    """The training file; local paths are relative to its folder."""
    gpu = settings.device != "cpu"
    return {
        "name": "mini-adapter",
        "output": "trained",
        "model": {"base": MINI, "adapter": "start"},
        "workers": {
            "count": 1 if gpu else settings.processes,
            "cpus": settings.threads if gpu else max(1, settings.threads // settings.processes),
            "gpus": int(gpu),
        },
        "train": {
            "data": {
                "path": "../samples",
                "validation": "../validation",
                "validation_samples": VALIDATION,
            },
            # The packshot is another picture than the target: there is nothing to be hidden from the adapter.
            "transform": {"erase_p": 0.0, "jitter_p": 0.0},
            "reference": {"timestep": 1, "every": 1},
            # No min-SNR weighting: in v it would silence the high noise, where colours and layout are decided.
            "loss": {"foreground": 1.0},
            "optimizer": {"learning_rate": settings.adapter_lr, "warmup_steps": 50, "ema": 0.995},
            "steps": settings.adapter_steps,
            "global_batch": _BATCH,
            "micro_batch": _BATCH // 2,
            "every": {"log": 20, "checkpoint": 100, "validate": 200, "levels": [300, 500, 700]},
        },
    }


def _keep_start(start: Path, base: BaseInfo) -> None:
    """Keeps a copy of the jointly trained adapters: those in the package are replaced at the end."""
    shipped = mini_folder() / "adapter"
    trained_with = json.loads((shipped / "config.json").read_text("utf-8"))["training"].get("stage")
    if trained_with == "unet":
        shutil.copytree(shipped, start, dirs_exist_ok=True)
    if not start.exists():
        raise FileNotFoundError(f"{start}: no jointly trained adapter yet; run --stage export first")
    check_adapter_fits(describe_adapter(str(start), base), base)
