"""What only the local store has to show: paths, crashes, rights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dreamcache.core.errors import StorageError
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import join, store_for


def test_uri_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    spaced = (tmp_path / "a b").as_uri()
    assert "%20" in spaced
    for uri, path in [("~/x", "x"), ("y/z", "y/z"), (spaced, "a b")]:
        store_for(uri).write(uri, b"data")
        assert (tmp_path / path).read_bytes() == b"data"
        assert store_for(uri).read(uri) == b"data"
    assert [info.uri for info in store_for("y").list("y")] == ["y/z"]
    assert local_path("~/x") == tmp_path / "x"


@pytest.mark.parametrize("action", ["write", "create", "replace"])
def test_no_temporary_stays_and_none_is_listed(tmp_path: Path, action: str) -> None:
    """A writer killed after its temporary file is written leaves it; no listing shows it."""
    code = f"""
import os, sys
from dreamcache.storage import local
os.replace = os.link = lambda *_: os._exit(9)
local.LocalStore().{action}(sys.argv[1], b"half", *({{"replace": (None,)}}.get({action!r}, ())))
"""
    uri = join(str(tmp_path), "x")
    assert subprocess.run([sys.executable, "-c", code, uri], timeout=60).returncode == 9
    assert len(os.listdir(tmp_path)) == 1
    store = store_for(uri)
    assert list(store.list(str(tmp_path))) == []
    store.write(uri, b"whole")
    assert [info.uri for info in store.list(str(tmp_path))] == [uri]
    assert not store.create(uri, b"late") and store.create(uri + "y", b"first")
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize("action", ["write", "create"])
def test_a_place_that_cannot_be_written(tmp_path: Path, action: str) -> None:
    """Below a regular file nobody can write, root included."""
    (tmp_path / "file").write_bytes(b"")
    uri = join(str(tmp_path), "file", "below", "x")
    with pytest.raises(StorageError, match="a writable folder is needed, got 'Not a dir") as caught:
        getattr(store_for(uri), action)(uri, b"")
    assert caught.value.code == "read_only"
    assert str(caught.value).startswith(uri)
    assert "\n" not in str(caught.value)
    assert store_for(uri).stat(uri) is None
    assert list(store_for(uri).list(uri)) == []
    with pytest.raises(FileNotFoundError):
        store_for(uri).read(uri)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError) as caught:
        store_for(str(tmp_path)).write(join(str(tmp_path), "x"), b"")
    assert caught.value.code == "read_only"


def test_reading_a_folder_is_an_error_of_storage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        store_for(str(tmp_path)).read(str(tmp_path))
    assert store_for(str(tmp_path)).stat(str(tmp_path)) is None


def test_no_module_of_storage_loads_torch_or_ray() -> None:
    code = """
import importlib, pkgutil, sys
import dreamcache.storage as package
for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
assert not {"torch", "ray"} & set(sys.modules), "loaded"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_links_that_lead_in_a_circle_end_at_themselves(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.png"):
        (tmp_path / name).write_bytes(b"x")
    for link, target in {"all": ".", "sub/up": "..", "self": "self", "sub/again": "../sub"}.items():
        (tmp_path / link).symlink_to(target)
    listed = sorted(info.uri.removeprefix(f"{tmp_path}/") for info in store_for("x").list(str(tmp_path)))
    assert listed == ["a.png", "sub/b.png"]


def test_a_file_uri_is_a_path(tmp_path: Path) -> None:
    for uri, path in {
        "file:///photos/a#1.png": "/photos/a#1.png",
        "file:///a?b.png": "/a?b.png",
        "file:///a%20b%23.png": "/a b#.png",
        "file://localhost/a.png": "/a.png",
        "~nobody-of-that-name/a.png": "~nobody-of-that-name/a.png",
    }.items():
        assert str(local_path(uri)) == path
