"""The four YAML files: job, training, evaluation, synthesis."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.fuzz.target import Read, Target, only_our_errors

JOB = {
    "name": "mugs", "catalog": "catalog.csv", "output": "out", "prompts": ["a {class_name} on sand"], "samples": 2,
    "seed": 1, "model": {"base": "mini"}, "generation": {"num_inference_steps": 4, "scheduler": "ddim"},
    "limits": {"max_pixels": 100, "min_side": 8}, "workers": {"batch_size": 2, "generators": {"count": 1, "cpus": 1}},
    "budget": {"max_gpu_hours": 1.5}, "columns": {"subject_id": "sku"}, "failures": {"max_attempts": 2},
}  # fmt: skip
TRAIN = {
    "name": "t", "output": "out", "model": {"base": "mini"}, "hooks": ["tensorboard"], "workers": {"count": 1},
    "train": {"data": {"path": "shards", "loaders": 1}, "steps": 10, "transform": {"erase_area": [0.1, 0.2]}},
}  # fmt: skip
EVALUATE = {
    "name": "e", "output": "out", "dreambench": {"path": "dataset", "num_prompts": 2},
    "run": {"model": {"base": "mini"}},
    "methods": [{"name": "ours"}, {"name": "text only", "run": {"method": "text-only"}}],
}  # fmt: skip
SYNTHESIZE = {
    "name": "s", "output": "out", "seed": 3, "captions": {"count": 10}, "workers": {"images": {"cpus": 1}},
}  # fmt: skip
SAMPLES = {"job": JOB, "train": TRAIN, "evaluate": EVALUATE, "synthesize": SYNTHESIZE}
LOADERS = {
    "job": ("jobs.spec", "load_spec"),
    "train": ("jobs.train.spec", "load_train_spec"),
    "evaluate": ("jobs.evaluate.spec", "load_eval_spec"),
    "synthesize": ("jobs.synthesize.spec", "load_synth_spec"),
}
WORDS = (
    "&a [", "*a", "<<: *a", "!!python/object:os.system", "!!binary", "!!timestamp", ".nan", ".inf", "-.inf", "1e999",
    "0x7fffffffffffffffffff", "true", "null", "~", "? ", "- ", "|", ">", "2026-11-27", "{{",
    "\u202e", "samples", "seed",
)  # fmt: skip


def _reader(name: str) -> Callable[[Path], Read]:
    def reader(folder: Path) -> Read:
        module, function = LOADERS[name]
        load = getattr(importlib.import_module(module), function)
        path = folder / f"{name}.yaml"

        def read(data: bytes) -> None:
            path.write_bytes(data)
            with only_our_errors():
                load(path)

        return read

    return reader


def _seeds(name: str) -> Callable[[Path], list[bytes]]:
    text = yaml.safe_dump(SAMPLES[name], sort_keys=False)
    return lambda folder: [text.encode(), yaml.safe_dump(SAMPLES[name], default_flow_style=True).encode()]


TARGETS = [
    Target(name=f"yaml-{name}", seeds=_seeds(name), reader=_reader(name), words=WORDS, max_bytes=4096)
    for name in LOADERS
]
