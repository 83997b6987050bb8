"""Stage adapter: the base frozen as exported; the product trains the adapters further, as `dreamcache train` does.

Training starts from the jointly trained adapters; its result replaces them in the exported folder. Resumes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from dreamcache.storage.models.adapter import check_adapter_fits, describe_adapter
from dreamcache.storage.models.base import BaseInfo, describe_base
from jobs.train.runner import run_training
from jobs.train.spec import load_train_spec
from recipes.mini.dataset import write_training_data
from recipes.mini.make.compute import device_of
from recipes.mini.make.settings import Settings

VALIDATION = 48
_BATCH = 48


def run(settings: Settings) -> None:
    """Write samples and train.yaml, train, and put the adapter into the exported folder."""
    target, folder = settings.target.resolve(), settings.folder("adapter")
    base = describe_base(str(target))
    own = settings.folder(f"adapter/{base.fingerprint[:12]}")  # another base is another training
    _keep_start(target / "adapter", own / "start", base)
    write_training_data(folder / "samples", settings.adapter_designs)
    # One scene of each, so that another sample's reference is another design's.
    first = settings.held_out_from + settings.held_out
    write_training_data(folder / "validation", VALIDATION, first_seed=first, scenes=1)
    file = own / "train.yaml"
    file.write_text(yaml.safe_dump(training(settings), sort_keys=False), "utf-8")
    run_training(load_train_spec(file))
    trained = own / "trained" / "adapter"
    for path in (
        *trained.glob("*.safetensors"),
        trained / "config.json",
    ):  # last: without it there is no adapter
        shutil.copy(path, target / "adapter" / path.name)
    print(
        f"adapter: {settings.adapter_steps} steps by the product's trainer, in {target / 'adapter'}",
        flush=True,
    )


def training(settings: Settings) -> dict[str, Any]:
    """The training file; local paths are relative to its folder."""
    gpu = device_of(settings.device).type != "cpu"
    return {
        "name": "mini-adapter",
        "output": "trained",
        "model": {"base": str(settings.target.resolve()), "adapter": "start"},
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
            "loss": {"foreground": settings.unet_object_weight - 1},
            "optimizer": {
                "learning_rate": settings.adapter_lr,
                "warmup_steps": min(50, settings.adapter_steps // 4),
                "ema": 0.995,
            },
            "steps": settings.adapter_steps,
            "global_batch": _BATCH,
            "micro_batch": _BATCH // 2,
            "every": {"log": 20, "checkpoint": 100, "validate": 200, "levels": [300, 500, 700]},
        },
    }


def _keep_start(exported: Path, start: Path, base: BaseInfo) -> None:
    """Keeps a copy of the jointly trained adapters: the exported ones are replaced at the end."""
    trained_by = json.loads((exported / "config.json").read_text("utf-8"))["training"].get("stage")
    if trained_by == "unet":
        shutil.copytree(exported, start, dirs_exist_ok=True)
    if not start.exists():
        raise FileNotFoundError(f"{start}: no jointly trained adapter yet; run --stage export first")
    check_adapter_fits(describe_adapter(str(start), base), base)
