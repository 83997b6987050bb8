"""Which files of a model decide its output."""

from __future__ import annotations

from pathlib import Path

from dreamcache.storage.models.files import hash_files


def test_weights_configs_and_vocabularies_count_and_nothing_else(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "vocab.txt", ".cache.json", "README.md", "model.bin"):
        (tmp_path / name).write_text(name)
    paths = sorted(tmp_path.iterdir())
    before = hash_files(tmp_path, paths)
    assert list(before) == ["config.json", "model.safetensors", "vocab.txt"]
    (tmp_path / "model.safetensors").write_text("other weights")
    after = hash_files(tmp_path, paths)
    assert [name for name in before if before[name] != after[name]] == ["model.safetensors"]
