"""A network that cannot be loaded ends plan, run and doctor at their start, in one line with its path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.config import EncodeSettings
from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.provenance import InvisibleMarkSettings, ProvenanceSettings
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.errors import ModelError
from dreamcache.inference.networks import check_networks, check_segmenter, networks_of
from jobs.doctor.check import run_trials
from jobs.doctor.model import trials
from jobs.planning.planner import plan

NETWORK = "model: ONNX networks load"


def field(number: int, value: bytes | int | str) -> bytes:
    """A field of a protobuf message, shorter than 128 bytes."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(data)]) + data


def onnx(*ranks: int) -> bytes:
    """An ONNX file: inputs of so many dimensions, of which the first comes out again."""

    def tensor(name: str, rank: int) -> bytes:
        shape = b"".join(field(1, field(1, 1)) for _ in range(rank))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))

    inputs = b"".join(field(11, tensor(f"i{number}", rank)) for number, rank in enumerate(ranks))
    node = field(1, "i0") + field(2, "o") + field(4, "Identity")
    graph = field(1, node) + field(2, "g") + inputs + field(12, tensor("o", ranks[0]))
    length = bytes([len(graph) % 128 | 128, len(graph) // 128])
    return field(1, 8) + bytes([7 << 3 | 2]) + length + graph + field(8, field(2, 13))


def changed(folder: Path, kind: str) -> dict[str, Any]:
    """Settings of a job that use networks in this folder."""
    models = {"segmenter_models": {"u2net": str(folder / "u2net.onnx")}}
    cut, auto = MetricSettings(segmenter="u2net", **models), MetricSettings(segmenter="auto")
    return {
        "u2net": {"reference": EncodeSettings(segmenter="u2net", **models)},
        "auto": {"reference": EncodeSettings(**models)},
        "gate": {"quality": QualitySettings(measure=("colour",), metrics=cut)},
        "ocr": {"quality": QualitySettings(measure=("label",), ocr=str(folder), metrics=auto)},
        "mark": {
            "provenance": ProvenanceSettings(
                invisible=InvisibleMarkSettings(model=str(folder), bits="5ac1e97b")
            )
        },
    }[kind]


KINDS = {
    "u2net": ("segmenter_missing", {"u2net.onnx": (4,)}),
    "auto": ("segmenter_missing", {"u2net.onnx": (4,)}),
    "gate": ("segmenter_missing", {"u2net.onnx": (4,)}),
    "ocr": ("ocr_missing", {"a_det.onnx": (4,)}),
    "mark": ("mark_missing", {"rivagan_encoder.onnx": (5, 2), "rivagan_decoder.onnx": (5,)}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_or_another_network_ends_the_plan(
    kind: str, make_spec: Callable[..., JobSpec], tmp_path: Path
) -> None:
    code, files = KINDS[kind]
    folder = tmp_path / "networks"
    folder.mkdir()
    for name, ranks in files.items():
        (folder / name).write_bytes(onnx(*ranks))
    if kind == "ocr":
        (folder / "a_rec.onnx").write_bytes(onnx(4))  # its letters are missing
        wrong = "a_rec.onnx"
    else:
        check_networks(replace(make_spec(), **changed(folder, kind)))
        wrong = next(reversed(files))
    spec = replace(make_spec(), catalog=str(tmp_path / "absent.csv"), **changed(folder, kind))
    for content in (b"weights", onnx(3)):
        if kind != "ocr" or content == b"weights":
            (folder / wrong).write_bytes(content)
        with pytest.raises(ModelError) as caught:
            plan(spec)
        assert caught.value.code == code and str(folder / wrong) in str(caught.value)
        assert str(caught.value).endswith("fetch it again") and len(str(caught.value)) < 500
    checks = {check.name: check for check in run_trials(trials(spec))}
    assert checks[NETWORK].state == "fail" and wrong in checks[NETWORK].finding


def test_what_names_no_network_tries_none(make_spec: Callable[..., JobSpec]) -> None:
    spec = make_spec()
    assert not list(networks_of(spec))
    check_networks(spec)
    check_segmenter("grabcut", {})
    check_segmenter(None, {})
    checks = {check.name: check for check in run_trials(trials(spec))}
    assert checks[NETWORK].state == "skip"
