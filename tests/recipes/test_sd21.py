"""The three files of recipes/sd21, from nothing to a table, on tiny models of the real classes.

Each command runs on the file as it is: --set gives what a user replaces, models and folders, and what makes it small.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command import dreamcache
from tests.evaluation.bench import write_bench
from tests.evaluation.encoders import save_clip, save_dino
from tests.synthesis.models import save_llama, save_sdxl
from tests.tiny import save_base

FOLDER = Path(__file__).parents[2] / "recipes" / "sd21"
PROMPT = "write {count} of {category}"
LINES = [
    {"object": "mug", "caption": "a red mug on a shelf"},
    {"object": "kite", "caption": "a kite over the sea"},
    {"object": "lamp", "caption": "an old lamp in the hall"},
]
ONE_CORE = {"count": 1, "cpus": 1, "gpus": 0}

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.turns(unit="module"), pytest.mark.timeout(1800)]


def run(verb: str, name: str, **changes: Any) -> dict[str, Any]:
    """The verb on a file of the recipe with changed keys ("a__b" is a.b); its report."""
    options = [
        part
        for key, value in changes.items()
        for part in ("--set", f"{key.replace('__', '.')}={json.dumps(value)}")
    ]
    done = dreamcache(verb, str(FOLDER / name), *options, "--json", seconds=900)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_three_files_lead_from_nothing_to_a_table(tmp_path: Path) -> None:
    synthesize(tmp_path)
    base = save_base(tmp_path / "base")
    train(tmp_path, base)
    evaluate(tmp_path, base)


def synthesize(tmp_path: Path) -> None:
    asked = PROMPT.format(count=3, category="things")
    llama = save_llama(
        tmp_path / "llama", "\n".join(map(json.dumps, LINES)), steps=260, question=f"<s>{asked}"
    )
    workers = dict.fromkeys(("captions", "images", "masks", "dataset"), ONE_CORE)
    data = run(
        "synthesize",
        "synthesize.yaml",
        output=str(tmp_path / "data"),
        captions__model=str(llama),
        captions__count=3,
        captions__prompt=PROMPT,
        captions__categories={"things": ["mug"]},
        captions__per_request=3,
        captions__max_new_tokens=230,
        captions__temperature=0.05,
        images__model=str(save_sdxl(tmp_path / "sdxl")),
        images__dtype="float32",
        images__num_inference_steps=2,
        images__samples=6,
        masks__segmenter="none",  # random weights generate no subject: its frame is the mask
        masks__max_area=1.0,
        masks__min_area=0.0,
        dataset__validation=0.34,
        workers=workers,
    )
    assert data["kept"] == 3 and data["images"] == 18
    assert data["train"] > 4 and data["validation"] > 0


def train(tmp_path: Path, base: Path) -> None:
    trained = run(
        "train",
        "train.yaml",
        output=str(tmp_path / "training"),
        model__base=str(base),
        train__data__path=str(tmp_path / "data/dataset/train"),
        train__data__validation=str(tmp_path / "data/dataset/validation"),
        train__size=64,
        train__steps=2,
        train__global_batch=4,
        train__micro_batch=2,
        train__every={
            "log": 1,
            "checkpoint": 1,
            "validate": 2,
            "samples": 2,
            "sample_count": 1,
            "sample_steps": 2,
        },
        workers={"count": 2, "cpus": 1, "gpus": 0},
    )
    assert trained["step"] == 2 and len(trained["validation"]) == 4
    written = yaml.safe_load((tmp_path / "training/train.yaml").read_text())["train"]
    assert written["recipe"] == "published" and written["posterior"] == "sample"
    assert written["optimizer"]["schedule"] == "constant"


def evaluate(tmp_path: Path, base: Path) -> None:
    bench = write_bench(tmp_path / "bench", 2)
    run(
        "evaluate",
        "evaluate.yaml",
        output=str(tmp_path / "evaluation"),
        dreambench__path=str(bench),
        dreambench__samples=1,
        run__model={"base": str(base), "adapter": str(tmp_path / "training/adapter"), "dtype": "float32"},
        run__generation__num_inference_steps=2,
        run__workers={"encoders": ONE_CORE, "generators": ONE_CORE},
        metrics={
            "clip": str(save_clip(tmp_path / "clip")),
            "dino": str(save_dino(tmp_path / "dino")),
            "segmenter": "grabcut",
        },
        workers__scorers=ONE_CORE,
    )
    report = (tmp_path / "evaluation" / "report.md").read_text()
    assert "DreamCache" in report and "text only" in report and "CLIP-I" in report and "DINO" in report
