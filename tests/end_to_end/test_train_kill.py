"""A training whose output is on S3, and whose driver is killed: the same command resumes to an equal result."""

from __future__ import annotations

import json
import signal
from itertools import filterfalse
from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamcache import DreamCachePipeline
from dreamcache.storage.open_store import store_for
from dreamcache.training.checkpoints import TrainFolder
from tests.command import dreamcache
from tests.end_to_end.processes import RAY_AGENTS, running
from tests.s3_server import S3Server
from tests.tiny import save_base
from tests.train_samples import write_parquet

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.turns(unit="module"),
    pytest.mark.timeout(1800),
]

STEPS, EVERY = 16, 3
TRAIN: dict[str, Any] = {
    "data": {"path": "data", "validation": "data", "validation_samples": 3},
    "optimizer": {"learning_rate": 0.005, "warmup_steps": 2, "ema": 0.9},
    "every": {
        "log": 1,
        "checkpoint": EVERY,
        "validate": 4,
        "samples": 8,
        "sample_count": 1,
        "sample_steps": 2,
    },
    "steps": STEPS,
    "global_batch": 4,
    "micro_batch": 2,
    "size": 64,
    "precision": "float32",
}


def of_a_run(name: str) -> bool:
    """Whether a file is named by time and process."""
    return name.startswith(("tensorboard/", "events/"))


def test_kill_9_of_the_driver_with_output_on_s3(s3_server: S3Server, tmp_path: Path) -> None:
    save_base(tmp_path / "base")
    write_parquet(tmp_path / "data", 8, photos=True)
    file, calm = tmp_path / "train.yaml", tmp_path / "calm"
    file.write_text(
        yaml.safe_dump({"name": "boxes", "output": str(calm), "model": {"base": "base"}, "train": TRAIN})
    )
    extra, output = s3_server.environment(), f"{s3_server.make_bucket('training')}/{tmp_path.name}"
    with s3_server.use():
        folder = TrainFolder(output)

        def step() -> int:
            return int((folder.read_json("checkpoints/latest.json") or {}).get("step", 0))

        command = ("train", str(file), "--set", f"output={output}")
        with running(*command, extra=extra, log=tmp_path / "log") as driver:
            assert driver.wait_until(lambda: step() >= EVERY), driver.log.read_text()
            assert driver.end(signal.SIGKILL) == -signal.SIGKILL
            driver.wait_alone(60, but=RAY_AGENTS)
        killed_at = step()
        assert EVERY <= killed_at < STEPS, "killed too late to show anything"
        assert folder.read_json("adapter/config.json") is None

    again = dreamcache(*command, "--json", extra=extra)
    assert again.returncode == 0, again.stderr
    undisturbed = dreamcache("train", str(file), "--json", extra=extra)
    assert undisturbed.returncode == 0, undisturbed.stderr
    ours, theirs = json.loads(again.stdout), json.loads(undisturbed.stdout)
    assert ours["step"] == theirs["step"] == STEPS
    for a, b in zip(ours["validation"], theirs["validation"], strict=True):
        for name in ("right", "wrong", "none"):
            assert a[name] == pytest.approx(b[name], rel=0.01), name
    assert any(abs(a["right"] - a["none"]) > 1e-3 * a["none"] for a in ours["validation"]), (
        "nothing was learned"
    )

    with s3_server.use():
        curves = folder.read_json("curves.json")
        assert curves is not None and folder.read_json("status.json")["details"]["resumed_from"] == killed_at  # type: ignore[index]
        expected = json.loads((calm / "curves.json").read_text())
        assert [point["step"] for point in curves["train"]] == list(range(1, STEPS + 1))
        for point, other in zip(curves["train"], expected["train"], strict=True):
            assert point["loss"] == pytest.approx(other["loss"], rel=0.01)
        names = {info.uri.removeprefix(f"{output}/") for info in store_for(output).list(f"{output}/")}
        local = {str(path.relative_to(calm)) for path in calm.rglob("*") if path.is_file()}
        assert set(filterfalse(of_a_run, names)) == set(filterfalse(of_a_run, local))
        assert any(map(of_a_run, names))
        shown = dreamcache("status", output, "--json", extra=extra)
        assert json.loads(shown.stdout)["state"] == "finished"
        pipe = DreamCachePipeline.from_pretrained(str(tmp_path / "base"), adapter=ours["adapter"])
        assert pipe.adapter_info is not None and pipe.adapter_info.step == STEPS
