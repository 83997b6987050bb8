"""Records what a change of the code must not change: a job, an evaluation and a training on the embedded model.

    python -m tests.pinned.record before.json      # on the old code
    python -m tests.pinned.record after.json       # on the new code
    python -m tests.pinned.record --compare before.json after.json

Uses the command line and files only, so that the same script runs before and after any move of the code. Pixels and
losses depend on the machine: compare records of one machine. Ids and keys do not: `ids.json` holds those, and
`test_ids.py` compares them in each run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from tests.command import dreamcache
from tests.pinned.sd_folder import write_adapter, write_base

TIMES = ("seconds", "uri", "image", "recorded_at")
"""Columns of the manifest that differ between two runs of the same job."""

GENERATION = {"num_inference_steps": 4, "text_scale": 3.0, "image_scale": 3.5}
JOB: dict[str, Any] = {
    "name": "pinned",
    "catalog": "catalog.csv",
    "output": "job",
    "cache": "cache",
    "prompts": ["a photo of a {class_name} on the beach", "a {color} {class_name} in the snow"],
    "samples": 2,
    "seed": 3,
    "model": {"base": "mini"},
    "generation": GENERATION,
    "workers": {"batch_size": 3},
}
EVALUATION: dict[str, Any] = {
    "name": "pinned",
    "output": "evaluation",
    "run": {
        "catalog": "catalog.csv",
        "prompts": ["a photo of a {class_name} on green grass"],
        "model": {"base": "mini"},
        "generation": GENERATION,
    },
    "metrics": {"clip": "mini", "dino": None, "segmenter": "grabcut"},
    "methods": [{"name": "ours", "run": {}}, {"name": "text only", "run": {"method": "text-only"}}],
}
TRAINING: dict[str, Any] = {
    "name": "pinned",
    "output": "training",
    "model": {"base": "mini"},
    "train": {
        "data": {"path": "data", "validation": "data", "validation_samples": 2},
        "every": {"log": 1, "checkpoint": 4, "validate": 2, "levels": [500]},
        "steps": 4,
        "global_batch": 4,
        "micro_batch": 2,
        "size": 64,
        "precision": "float32",
    },
}


def plan_rows(file: Path) -> list[dict[str, Any]]:
    """Item id, cache key and seed of each planned image, in the plan's order."""
    import jobs

    rows = jobs.plan(jobs.load_spec(file)).table.to_pylist()
    names = ("item_id", "subject_id", "reference_id", "cache_key", "prompt", "sample", "seed")
    return [{name: row[name] for name in names} for row in rows]


def record_ids(folder: Path) -> dict[str, Any]:
    """Plans on `mini` and on a Stable Diffusion folder of fixed bytes: plain, of a scene's noise, behind a gate."""
    _run("init", str(folder), "--sample", "3")
    base, adapter = write_base(folder / "sd"), write_adapter(folder / "sd-adapter", folder / "sd")
    sd = {"model": {"base": str(base), "adapter": str(adapter), "dtype": "bfloat16"}, "generation": {}}
    gate = {"min_text": 0.1, "metrics": {"clip": "mini", "dino": None, "segmenter": None}}
    jobs_by_name: dict[str, dict[str, Any]] = {
        "mini": JOB,
        "mini, noise of a scene": {**JOB, "noise": "scene"},
        "mini, gated": {**JOB, "quality": gate},
        "mini, checked": {**JOB, "quality": {"min_contrast": 2}},
        "mini, text only": {**JOB, "method": "text-only"},
        "sd": {**JOB, **sd},
        "sd, other settings": {
            **JOB,
            **sd,
            "reference": {"segmenter": "grounded-sam", "text": "a {class_name}", "timestep": 150},
            "generation": {"guidance": "joint", "scheduler": "unipc", "negative_prompt": "blurry"},
            "images": {"format": "webp", "quality": 80},
        },
    }
    return {name: plan_rows(_write(folder / "plan.yaml", values)) for name, values in jobs_by_name.items()}


def record_all(folder: Path) -> dict[str, Any]:
    """Ids, and a job, an evaluation and a training that have run."""
    found: dict[str, Any] = {"ids": record_ids(folder)}
    _run("run", str(_write(folder / "job.yaml", JOB)))
    manifest = pq.read_table(folder / "job" / "manifest.parquet")
    found["columns"] = [[field.name, str(field.type)] for field in manifest.schema]
    found["manifest"] = [
        {name: value for name, value in row.items() if name not in TIMES} for row in manifest.to_pylist()
    ]
    found["files"] = {
        row["key"]: hashlib.sha256((folder / "job" / row["key"]).read_bytes()).hexdigest()
        for row in manifest.to_pylist()
    }
    found["cache"] = sorted(
        str(p.relative_to(folder / "cache")) for p in (folder / "cache").rglob("*.parquet")
    )
    _run("evaluate", str(_write(folder / "evaluate.yaml", EVALUATION)))
    images = pq.read_table(folder / "evaluation" / "images.parquet").to_pylist()
    found["evaluation"] = [{name: v for name, v in row.items() if name not in TIMES} for row in images]
    _training_data(folder / "data")
    _run("train", str(_write(folder / "train.yaml", TRAINING)))
    curves = json.loads((folder / "training" / "curves.json").read_text())
    found["training"] = [[point["step"], point["loss"]] for point in curves["train"]]
    found["validation"] = curves["validation"]
    return found


def _training_data(folder: Path) -> None:
    from tests.train_samples import write_folder

    write_folder(folder, 8)


def _run(*args: str) -> None:
    done = dreamcache(*args, seconds=900)
    if done.returncode:
        raise SystemExit(
            f"dreamcache {' '.join(args)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        )


def _write(path: Path, values: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Each value that differs. Columns and keys that only `after` has are no difference."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for key in before
            for line in (
                differences(before[key], after[key], f"{where}/{key}")
                if key in after
                else [f"{where}/{key}: gone"]
            )
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for number, (a, b) in pairs for line in differences(a, b, f"{where}/{number}")]
    return [] if before == after else [f"{where}: {before!r} -> {after!r}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--ids", action="store_true", help="ids and keys only")
    args = parser.parse_args()
    if args.compare:
        before, after = (json.loads(path.read_text()) for path in args.files)
        before.pop("columns"), after.pop("columns")
        lines = differences(before, after)
        print("\n".join(lines[:50]) or "equal")
        raise SystemExit(bool(lines))
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = record_ids(Path(folder)) if args.ids else record_all(Path(folder))
    args.files[0].write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
