"""The table of attacks on marks at a tenth of its size, and a little of the mark in the pixels."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.config.provenance import InvisibleMarkSettings
from dreamcache.provenance.invisible import InvisibleMark
from dreamcache.provenance.ledger_index import open_index
from dreamcache.storage.models.onnx_file import has_runtime
from recipes.provenance.attacks import ATTACKS, BITS, COLUMNS, among_a_million, false_alarms, measure, publish

pytestmark = [pytest.mark.slow, pytest.mark.turns(unit="module")]
IMAGES = 10
MODELS = Path(os.environ.get("DREAMCACHE_MODELS", "models"))
CENTRED = ("none", "JPEG 90", "JPEG 75", "WebP 80", "resize 0.5", "crop 90 %", "crop 80 %", "crop 70 %")


def test_each_layer_under_each_attack(tmp_path: Path) -> None:
    files = publish(tmp_path / "job", IMAGES)
    index = open_index([str(tmp_path / "job")])
    table = measure(files, index)
    assert table.keys() == ATTACKS.keys() and len(ATTACKS) >= 15
    assert all(set(counts) == set(COLUMNS) for counts in table.values())
    assert table["none"]["c2pa_intact"] == IMAGES and table["none"]["xmp"] == IMAGES
    assert table["one byte changed"]["c2pa_tampered"] == IMAGES
    stripped = table["metadata stripped"]
    assert (stripped["xmp"], stripped["c2pa_intact"], stripped["c2pa_tampered"]) == (0, 0, 0)
    assert sum(counts["wrong"] for counts in table.values()) <= 1
    for name in CENTRED:
        assert table[name]["ledger"] == IMAGES, name
    million = among_a_million(files, 100_000)
    assert million["false by hash alone"] == 0 and million["bytes in memory"] < 5_000_000
    noise = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    for number, rgb in enumerate(noise):
        out = io.BytesIO()
        Image.fromarray(rgb).resize((300, 300), Image.Resampling.BICUBIC).save(out, "JPEG")
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(out.getvalue())
    alarms = false_alarms(tmp_path / "photos", index)
    assert {name: alarms[name] for name in ("photos", "xmp", "c2pa", "ledger")} == {
        "photos": 3, "xmp": 0, "c2pa": 0, "ledger": 0,
    }  # fmt: skip


def test_the_mark_in_the_pixels(tmp_path: Path) -> None:
    if not ((MODELS / "rivagan").is_dir() and has_runtime()):
        pytest.skip("needs 'make models' and the extra invisible")
    networks = str(MODELS / "rivagan")
    files = publish(tmp_path / "job", 2, networks)
    marks = [InvisibleMark(InvisibleMarkSettings(model=networks, bits=BITS))]
    some = {name: ATTACKS[name] for name in ("none", "JPEG 90")}
    table = measure(files, open_index([str(tmp_path / "job")]), marks, some)
    # Rendered pictures are flat: they carry fewer bits than photos.
    assert table["none"]["pixels"] >= 1 and table["none"]["c2pa_intact"] == 2
