"""Which file segmenter `u2net` uses, and that its content decides cache keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ModelError
from dreamcache.core.records import cache_key
from dreamcache.segment.factory import create_segmenter
from dreamcache.segment.u2net_file import find_u2net, network_of, with_segmenter_id


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    return tmp_path


def test_the_content_of_the_file_is_in_the_key_and_its_place_is_not(folder: Path) -> None:
    keys = []
    for name, content in (("a/u2netp.onnx", b"one"), ("b/u2netp.onnx", b"one"), ("c/u2netp.onnx", b"two")):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(content)
        settings = EncodeSettings(segmenter="u2net", segmenter_models={"u2net": str(folder / name)})
        keys.append(cache_key("r", "b", with_segmenter_id(settings), "mug"))
    assert keys[0] == keys[1] != keys[2]


def test_auto_uses_it_only_where_the_settings_name_a_file(folder: Path) -> None:
    """What a machine happens to have decides no id."""
    before = cache_key("r", "b", EncodeSettings(), "mug")
    (folder / "u2netp.onnx").write_bytes(b"weights")
    assert cache_key("r", "b", with_segmenter_id(EncodeSettings()), "mug") == before
    named = EncodeSettings(segmenter_models={"u2net": str(folder / "u2netp.onnx")})
    found = with_segmenter_id(named)
    assert found.segmenter_id and cache_key("r", "b", found, "mug") != before
    assert with_segmenter_id(replace(named, segmenter_id="")).segmenter_id == "", "switched off"
    assert with_segmenter_id(replace(named, segmenter="grabcut")).segmenter_id == ""


def test_another_file_than_the_planned_one_is_refused(folder: Path) -> None:
    (folder / "u2netp.onnx").write_bytes(b"weights")
    with pytest.raises(ModelError, match="another one here than where the job was planned"):
        create_segmenter("u2net", weights="0" * 64)


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"needs an ONNX file of rembg.*segmenter_models"):
        with_segmenter_id(EncodeSettings(segmenter="u2net"))
    with pytest.raises(ModelError, match=r"'none.onnx' must be a readable ONNX file"):
        find_u2net({"u2net": "none.onnx"})
    assert [network_of(stem) for stem in ("u2netp", "isnet-general-use", "birefnet-general-lite")] == [
        "u2net",
        "isnet",
        "birefnet",
    ]
