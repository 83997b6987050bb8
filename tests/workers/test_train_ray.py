"""`dreamcache train` on a real Ray: one and two workers, a worker killed half way, and errors of the user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamcache import DreamCachePipeline
from dreamcache.core.errors import DreamCacheError
from jobs.train.runner import TrainReport, run_training
from jobs.train.spec import load_train_spec
from tests.tiny import save_base
from tests.train_samples import write_tars

# Four groups of workers start, each imports torch.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.turns(unit="module"),
    pytest.mark.timeout(1500),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training file beside a base model and eight samples in two tars."""
    root = tmp_path_factory.mktemp("training")
    save_base(root / "base")
    write_tars(root / "data", 8)
    values: dict[str, Any] = {
        "name": "boxes",
        "output": "out",
        "model": {"base": "base"},
        "train": {
            "data": {"path": "data", "validation": "data", "validation_samples": 3},
            "optimizer": {"learning_rate": 0.001, "warmup_steps": 2, "ema": 0.9},
            "every": {"log": 1, "checkpoint": 2, "validate": 3, "levels": [500]},
            "steps": 6,
            "global_batch": 4,
            "micro_batch": 2,
            "size": 96,
            "precision": "float32",
        },
    }
    (root / "train.yaml").write_text(yaml.safe_dump(values))
    return root


def train(root: Path, output: str, **changes: Any) -> tuple[TrainReport, dict[str, Any]]:
    spec = load_train_spec(root / "train.yaml", {"output": output, **changes})
    report = run_training(spec, quiet=True)
    return report, json.loads((root / output / "curves.json").read_text())


@pytest.fixture(scope="module")
def alone(cluster: None, root: Path) -> tuple[TrainReport, dict[str, Any]]:
    """A finished training by one worker, in the folder "one"."""
    return train(root, "one")


def test_one_worker_and_two_of_which_one_dies_give_the_same_curve(
    alone: tuple[TrainReport, dict[str, Any]], root: Path
) -> None:
    report, one = alone
    hooks = ["tensorboard", "tests.workers.dies_once:DiesOnce"]
    again, two = train(root, "two", **{"workers.count": 2, "workers.max_failures": 1, "hooks": hooks})
    assert (root / "two" / "has-died").exists()
    assert report.step == again.step == 6
    assert [point["step"] for point in two["train"]] == [1, 2, 3, 4, 5, 6]
    for a, b in zip(one["train"], two["train"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
    assert len({round(point["loss"], 6) for point in one["train"]}) == 6
    for a, b in zip(one["validation"], two["validation"], strict=True):
        assert a["step"] == b["step"] and b["right"] == pytest.approx(a["right"], rel=1e-4)
    status = json.loads((root / "two" / "status.json").read_text())
    assert (status["state"], status["exit_reason"]) == ("finished", None)
    assert (status["details"]["workers"], status["details"]["resumed_from"]) == (2, 2)
    assert list((root / "two" / "tensorboard").iterdir())
    pipe = DreamCachePipeline.from_pretrained(str(root / "base"), adapter=again.adapter)
    assert pipe.adapter_info is not None and pipe.adapter_info.step == 6


def test_a_users_error_is_one_line(alone: tuple[TrainReport, dict[str, Any]], root: Path) -> None:
    with pytest.raises(DreamCacheError, match=r"loss.drop_both was 0.0, is 0.5.*the same command") as caught:
        train(root, "one", **{"train.loss.drop_both": 0.5, "workers.max_failures": 0})
    assert "\n" not in str(caught.value)
    with pytest.raises(DreamCacheError, match="belongs to training 'boxes'"):
        train(root, "one", name="other")
