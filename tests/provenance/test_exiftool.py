"""An independent reader, exiftool 13, reads what was written in each format.

`npm install exiftool-vendored.pl` and DREAMCACHE_EXIFTOOL=node_modules/exiftool-vendored.pl/bin/exiftool, or exiftool
on the path. Debian's 12.57 does not know C2PA in WebP, so older ones are passed over.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dreamcache.core.config import ImageFormat
from dreamcache.provenance.marker import Marker
from tests.provenance.chain import signing, write_chain

EXIFTOOL = os.environ.get("DREAMCACHE_EXIFTOOL") or shutil.which("exiftool") or ""
AI = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
ITEM = "ab" * 32


def run(*arguments: str) -> str:
    if not EXIFTOOL or not Path(EXIFTOOL).is_file():
        return ""
    return subprocess.run([EXIFTOOL, *arguments], capture_output=True, text=True, timeout=60).stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_xmp_and_c2pa_are_read(tmp_path: Path, name: str) -> None:
    version = run("-ver").strip()
    if not version or int(version.partition(".")[0]) < 13:
        pytest.skip(f"needs exiftool 13, here is {version or 'none'}; see this file's first lines")
    write_chain(tmp_path)
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    file = tmp_path / f"image.{name}"
    tags = {"item_id": ITEM, "subject_id": "s", "prompt": "a secret"}
    file.write_bytes(Marker(signing(tmp_path), "autumn").encode(rgb, ImageFormat(format=name), tags))  # type: ignore[arg-type]
    [values] = json.loads(run("-j", "-G1", "-struct", str(file)))
    assert values["XMP-iptcExt:DigitalSourceType"] == AI
    assert values["JUMBF:JUMDLabel"] == "c2pa"
    actions = values["CBOR:Actions"]
    action = actions[0] if isinstance(actions, list) else actions
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", AI)
    assert values["CBOR:Item_id"] == ITEM and values["CBOR:Job"] == "autumn"
    assert "a secret" not in json.dumps(values) and "ExifTool:Warning" not in values
