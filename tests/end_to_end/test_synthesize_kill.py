"""Training data from nothing and an adapter from it: the driver is killed among the images, counts stay exact."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.command import dreamcache
from tests.end_to_end.processes import RAY_AGENTS, running

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.turns(unit="module"),
    pytest.mark.timeout(900),
]

CAPTIONS, PART = 60, 4


def parts(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("part-*.parquet")}


def test_kill_9_among_the_images_then_train_on_what_was_made(tmp_path: Path) -> None:
    output = tmp_path / "out"
    synth = tmp_path / "synth.yaml"
    values = {
        "name": "killed",
        "output": str(output),
        "captions": {"count": CAPTIONS},
        "images": {"num_inference_steps": 4, "part_size": PART, "batch_size": PART},
        "dataset": {"shard_size": 16, "validation": 0.2},
    }
    synth.write_text(yaml.safe_dump(values))

    with running("synthesize", str(synth), extra={}, log=tmp_path / "log") as driver:
        images = output / "images"
        assert driver.wait_until(lambda: len(list(images.glob("part-*"))) >= 3), driver.log.read_text()
        assert driver.end(signal.SIGKILL) == -signal.SIGKILL
        driver.wait_alone(30, but=RAY_AGENTS)
        before = parts(output)
        assert not (output / "dataset/dataset.json").exists()
    left = sum(name.startswith("images/") for name in before)

    done = dreamcache("synthesize", str(synth), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["captions"] == report["kept"] + sum(report["dropped"].values()) == CAPTIONS
    assert report["images"] == report["kept"] and report["images_failed"] == 0
    assert report["masks"] + sum(report["no_mask"].values()) == report["images"]
    assert report["train"] + report["validation"] == report["masks"]
    total = -(-report["kept"] // PART)
    assert 3 <= left < total and report["parts"]["images"] == total - left, "killed too late to show anything"

    after = parts(output)
    assert {name: after[name] for name in before} == before
    for split in ("train", "validation"):
        rows = pq.read_table(output / "dataset" / split).to_pylist()
        assert len(rows) == len({row["item_id"] for row in rows}) == report[split] > 0
    generated = Counter(row for name in after if name.startswith("images/")
                    for row in pq.read_table(output / name)["item_id"].to_pylist())  # fmt: skip
    assert len(generated) == generated.total() == report["images"]

    train = tmp_path / "train.yaml"
    steps = {"data": {"path": str(output / "dataset/train"), "validation": str(output / "dataset/validation")},
             "steps": 2, "global_batch": 4, "micro_batch": 2}  # fmt: skip
    train.write_text(
        yaml.safe_dump(
            {"name": "adapter", "output": str(tmp_path / "t"), "model": {"base": "mini"}, "train": steps}
        )
    )
    trained = dreamcache("train", str(train), "--json")
    assert trained.returncode == 0, trained.stderr
    assert json.loads((tmp_path / "t/adapter/config.json").read_text())["step"] == 2
