"""Jobs whose base has LoRAs, from the disk and from S3, and one on a base that they were fused into, in one table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from dreamcache import DreamCachePipeline
from dreamcache.core.config.job import ModelSpec
from dreamcache.inference.facts import ModelFacts, describe_models
from jobs.output.replay import replay
from tests.command import TWO_STEPS, dreamcache
from tests.end_to_end.photos import write_catalog, write_photos
from tests.evaluation.encoders import save_clip
from tests.lora_file import write_lora
from tests.s3_server import S3Server

pytest.importorskip("peft")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module"), pytest.mark.timeout(1800)]
SUBJECTS = 2
METHODS = ("loras", "fused")
SECONDS = 1200
"""For the command, on a machine that does other things."""
WEIGHTS = (0.8, -0.5)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """report: what `evaluate --json` printed; outputs: of each method's job."""

    report: dict[str, Any]
    outputs: dict[str, Path]

    def rows(self, method: str) -> list[dict[str, Any]]:
        return pq.read_table(self.outputs[method] / "manifest.parquet").to_pylist()

    def manifest(self, method: str) -> dict[str, Any]:
        """manifest.json of the method's job."""
        return json.loads((self.outputs[method] / "manifest.json").read_text())


@pytest.fixture(scope="module")
def evaluated(
    tiny_model: dict[str, str], s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Evaluated:
    """Run once. The noise is the scene's, so that only the base differs."""
    folder, base = tmp_path_factory.mktemp("loras"), Path(tiny_model["base"])
    files = [write_lora(folder / f"{seed}.safetensors", base, seed=seed) for seed in (1, 2)]
    bucket = s3_server.make_bucket("loras")
    name = bucket.removeprefix("s3://")
    s3_server.client().put_object(Bucket=name, Key="styles/brand.safetensors", Body=files[1].read_bytes())
    fused = DreamCachePipeline.from_pretrained(
        str(base),
        adapter=tiny_model["adapter"],
        loras=list(zip(map(str, files), WEIGHTS, strict=True)),
    )
    fused.base.save_pretrained(folder / "fused", safe_serialization=True)
    uris = (str(files[0]), f"{bucket}/styles/brand.safetensors")
    loras = [{"path": uri, "weight": weight} for uri, weight in zip(uris, WEIGHTS, strict=True)]
    models = {
        "loras": {**tiny_model, "loras": loras},
        "fused": {**tiny_model, "base": str(folder / "fused"), "allow_other_base": True},
    }
    values = {
        "name": "styles", "output": str(folder / "output"),
        "run": {
            "catalog": write_catalog(folder, write_photos(folder, SUBJECTS)), "prompts": ["a {class_name} on sand"],
            "noise": "scene", "generation": TWO_STEPS, "workers": {"batch_size": 2},
        },
        "methods": [{"name": name, "run": {"model": models[name]}} for name in METHODS],
        "metrics": {"clip": str(save_clip(folder / "clip")), "dino": None, "segmenter": None},
    }  # fmt: skip
    (folder / "eval.yaml").write_text(yaml.safe_dump(values))
    done = dreamcache(
        "evaluate", str(folder / "eval.yaml"), "--json", seconds=SECONDS, extra=s3_server.environment()
    )
    assert done.returncode == 0, done.stderr
    outputs = {name: folder / "output/jobs" / name for name in METHODS}
    return Evaluated(report=json.loads(done.stdout), outputs=outputs)


@pytest.fixture(scope="module")
def plain(tiny_model: dict[str, str]) -> ModelFacts:
    """The base without LoRAs."""
    return describe_models("dreamcache", ModelSpec(**tiny_model))


def test_both_are_scored(evaluated: Evaluated) -> None:
    assert [row["num_scored"] for row in evaluated.report["methods"]] == [SUBJECTS] * len(METHODS)


def test_each_base_has_ids_of_its_own(evaluated: Evaluated, plain: ModelFacts) -> None:
    rows = {method: evaluated.rows(method) for method in METHODS}
    assert {row["status"] for each in rows.values() for row in each} == {"done"}
    assert len({row["item_id"] for each in rows.values() for row in each}) == SUBJECTS * len(METHODS)
    prints = [evaluated.manifest(method)["base"]["fingerprint"] for method in METHODS]
    assert len({*prints, plain.base.fingerprint}) == len(METHODS) + 1


def test_a_fused_base_generates_what_the_loras_do(evaluated: Evaluated) -> None:
    pixels = {
        method: {row["subject_id"]: row["pixel_sha256"] for row in evaluated.rows(method)}
        for method in METHODS
    }
    assert pixels["loras"] == pixels["fused"]
    assert len(set(pixels["loras"].values())) == SUBJECTS


def test_the_manifest_states_what_was_put_on_the_base(evaluated: Evaluated, plain: ModelFacts) -> None:
    loras = evaluated.manifest("loras")["base"]["loras"]
    assert [lora["weight"] for lora in loras] == list(WEIGHTS)
    assert [lora["file"] for lora in loras] == ["1.safetensors", "brand.safetensors"]
    assert len({lora["sha256"] for lora in loras}) == 2
    trained_on = evaluated.manifest("fused")["adapter"]["trained_on"]
    assert trained_on["fingerprint"] == plain.base.fingerprint
    assert "trained_on" not in evaluated.manifest("loras")["adapter"]


def test_an_image_with_loras_is_replayed_to_the_bit(evaluated: Evaluated, s3_server: S3Server) -> None:
    with s3_server.use():
        output = evaluated.outputs["loras"]
        assert replay(str(output), evaluated.rows("loras")[0]["item_id"]).max_difference == 0
