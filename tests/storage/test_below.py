"""Names in our own files, and keys of items: what may be joined to a folder, and what may not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage.below import below
from dreamcache.storage.item_keys import image_key_of, is_item_id, is_key_of, wrong_key
from dreamcache.storage.open_store import open_store

GOOD = (
    "a",
    "a/b",
    "images/ab/ab12.png",
    "part-0.parquet",
    "...",
    "a..b",
    ".hidden",
    "~",
    "été/杯.png",
    "a b",
    "ab:c",
    "%2e%2e",
)
BAD = (
    "", ".", "..", "/", "/etc/passwd", "../x", "a/../../x", "a/..", "a//b", "a/", "./a", "a\\b", "..\\x", "C:x", "c:/x",
    "a\0b", "a\nb", "\x7f", "s3://b/x", "file:///x", "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("root", ["out", "/out/", "s3://bucket/job"])
def test_names_below_a_folder(root: str) -> None:
    for name in GOOD:
        assert below(root, name) == f"{root.rstrip('/')}/{name}"
    for name in BAD:
        with pytest.raises(StorageError, match="must be read and written by a name below") as caught:
            below(root, name)
        assert caught.value.code == "unsafe_name"
        str(caught.value).encode()


def test_a_bound_store_stays_below_its_root(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    store = open_store(str(tmp_path / "root"))
    actions = (store.read, store.stat, store.delete, store.list, lambda key: store.write(key, b""))
    for action in actions:
        with pytest.raises(StorageError, match="must be read and written by a name"):
            action("../secret")
    assert (tmp_path / "secret").read_bytes() == b"x"
    assert list(store.list()) == []


def test_a_key_is_that_of_its_item() -> None:
    ident = "ab" * 32
    assert is_key_of(image_key_of(ident, "png"), ident)
    assert not is_key_of(image_key_of(ident, "exe"), ident)
    assert not is_key_of(image_key_of("cd" * 32, "png"), ident)
    assert [is_item_id(name) for name in (ident, "a-1_b", "", "a/b", "..", "a\n", "a" * 129, None)] == [
        True, True, False, False, False, False, False, False,
    ]  # fmt: skip


def test_columns_are_checked_as_single_keys_are() -> None:
    ids = ["ab" * 32, "cd" * 32, "ef" * 32, "gone"]
    for extensions in (("png",) * 4, ("png", "jpg", "webp", "png"), ("jpg", "png", "png", "png")):
        keys = [image_key_of(ident, extension) for ident, extension in zip(ids, extensions, strict=True)]
        assert wrong_key(pa.table({"item_id": ids, "key": keys})) is None
        assert wrong_key(pa.table({"item_id": ids, "key": [*keys[:3], None]})) is None
        for wrong in ("../x.png", keys[0], keys[3] + "\n", "images/go/gone.exe", ""):
            assert "which is not that item's key" in (
                wrong_key(pa.table({"item_id": ids, "key": [*keys[:3], wrong]})) or ""
            )
    assert wrong_key(pa.table({"item_id": ["a/b"], "key": [image_key_of("a/b", "png")]})) is not None
    assert (
        wrong_key(pa.table({"item_id": pa.array([], pa.string()), "key": pa.array([], pa.string())})) is None
    )
