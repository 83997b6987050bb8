"""Adapter folders that are damaged: `config.json` beside good weights, and weights beside a good config.

Each input damages the good adapter at `folder` in place. Every one is `bad_model`, when it is described or loaded.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.corpus.kind import Kind, Write

CONFIG, WEIGHTS = "config.json", "adapter.safetensors"


def changed(**values: Any) -> Write:
    def write(folder: Path) -> str:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **values}))
        return CONFIG

    return write


def without(name: str) -> Write:
    def write(folder: Path) -> str:
        config = json.loads((folder / CONFIG).read_text())
        del config[name]
        (folder / CONFIG).write_text(json.dumps(config))
        return CONFIG

    return write


def file_is(name: str, change: Callable[[bytes], bytes]) -> Write:
    def write(folder: Path) -> str:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        return name

    return write


def sparse(name: str, num_bytes: int) -> Write:
    def write(folder: Path) -> str:
        with (folder / name).open("r+b") as file:
            file.truncate(num_bytes)
        return name

    return write


def header(change: Callable[[dict[str, Any]], Any]) -> Write:
    """The header of the weights, changed; the data behind it stays."""

    def damage(data: bytes) -> bytes:
        [length] = struct.unpack("<Q", data[:8])
        text = json.dumps(change(json.loads(data[8 : 8 + length]))).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    return file_is(WEIGHTS, damage)


def first(values: dict[str, Any], **new: Any) -> dict[str, Any]:
    """The header with other values of its first tensor."""
    name = next(name for name in values if name != "__metadata__")
    return {**values, name: {**values[name], **new}}


VALUES: dict[str, Write] = {
    **{f"without {name}": without(name) for name in ("format", "base", "places", "integration", "step")},
    "base is a list": changed(base=["a"]),
    "base is a number": changed(base=5),
    "a fingerprint that is a number": changed(base={"name": "x", "fingerprint": 5}),
    "another base": changed(base={"name": "x", "fingerprint": "00" * 32}),
    "places are a text": changed(places="mid_block"),
    "places are numbers": changed(places=[1, 2]),
    "no place": changed(places=[]),
    "places are null": changed(places=None),
    "a step that is a text": changed(step="many"),
    "a step of 1e400": file_is(CONFIG, lambda data: data.replace(b'"step": ', b'"step": 1e400, "old": ')),
    "a step below 0": changed(step=-1),
    "training is a list": changed(training=[1]),
    "a reference that is a list": changed(training={"reference": 5}),
    "recommended is a list": changed(recommended=[1]),
    "recommended is a text": changed(recommended={"text_scale": "much"}),
    "recommended is NaN": changed(recommended={"text_scale": float("nan")}),
    "recommended has another name": changed(recommended={"magic": 1}),
    "another integration": changed(integration="magic"),
    "an integration that is a list": changed(integration=["a"]),
    "features of another kind": changed(features={"a": 1}),
    "a U-Net that is a text": changed(reference_unet="yes"),
    "a U-Net that is not there": changed(reference_unet={"sha256": "00" * 32}),
    "NaN somewhere": changed(extra=float("nan")),
    "format 99": changed(format=99),
    "nested 300 deep": changed(extra=json.loads("[" * 300 + "]" * 300)),
}
CONFIGS: dict[str, Write] = {
    "empty": file_is(CONFIG, lambda _: b""),
    "half": file_is(CONFIG, lambda data: data[: len(data) // 2]),
    "a list": file_is(CONFIG, lambda _: b"[]"),
    "a text": file_is(CONFIG, lambda _: b'"x"'),
    "null": file_is(CONFIG, lambda _: b"null"),
    "nested without end": file_is(CONFIG, lambda _: b'{"a":' * 50_000),
    "lists without end": file_is(CONFIG, lambda _: b"[" * 100_000),
    "UTF-16": file_is(CONFIG, lambda data: data.decode().encode("utf-16")[:-1]),
    "zeros": file_is(CONFIG, lambda data: bytes(len(data))),
    "a number of 5,000 digits": file_is(CONFIG, lambda _: b'{"step": ' + b"9" * 5000 + b"}"),
    "100 MB": file_is(CONFIG, lambda _: b" " * 100_000_000),
}
TENSORS: dict[str, Write] = {
    "empty": file_is(WEIGHTS, lambda _: b""),
    "a text": file_is(WEIGHTS, lambda _: b"weights"),
    "half": file_is(WEIGHTS, lambda data: data[: len(data) // 2]),
    "a byte too many": file_is(WEIGHTS, lambda data: data + b"x"),
    "a pickle": file_is(WEIGHTS, lambda _: b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x08os.system"),
    "a zip": file_is(WEIGHTS, lambda _: b"PK\x03\x04" + bytes(100)),
    "a header of 2**63 bytes": file_is(WEIGHTS, lambda data: struct.pack("<Q", 2**63) + data[8:]),
    "a header that is no JSON": file_is(WEIGHTS, lambda data: data[:8] + b"x" * 20 + data[28:]),
    "random bytes": file_is(WEIGHTS, lambda data: random.Random(1).randbytes(len(data))),
    "a tensor less": header(lambda h: {n: v for n, v in h.items() if n != max(h)}),
    "an unknown type": header(lambda h: first(h, dtype="F7")),
    "whole numbers": header(lambda h: first(h, dtype="I16")),
    "another shape": header(lambda h: first(h, shape=[1])),
    "a shape below 0": header(lambda h: first(h, shape=[-1])),
    "offsets outside": header(lambda h: first(h, data_offsets=[0, 2**62])),
    "offsets that overlap": header(lambda h: first(h, data_offsets=[2, 1])),
    "another name": header(lambda h: {f"x{n}" if n != "__metadata__" else n: v for n, v in h.items()}),
    "a sparse file of 1 TB": sparse(WEIGHTS, 1 << 40),
    "NaN": file_is(WEIGHTS, lambda data: data[:-2] + b"\xff\x7f"),
    "infinity": file_is(WEIGHTS, lambda data: data[:-2] + b"\x00\x7c"),
}


def _kind(name: str, inputs: dict[str, Write]) -> Kind:
    return Kind(
        name=f"adapter/{name}", door="adapter", code="bad_model", inputs=inputs, exit_code=1, s3=False
    )


KINDS = [_kind("values of its config", VALUES), _kind("its config", CONFIGS), _kind("its weights", TENSORS)]
