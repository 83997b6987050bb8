"""Photos and catalogs at gs:// and az:// on real servers: what is read, and what is refused, each with its code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import ImageError, SpecError, StorageError
from dreamcache.storage import cloud
from dreamcache.storage.cloud import CloudStore
from dreamcache.storage.cloud_errors import answered
from dreamcache.storage.open_store import open_store, store_for
from dreamcache.storage.photo_faults import STORAGE_WIDE
from dreamcache.storage.photo_uri import check_uri, resolve
from dreamcache.storage.photos import read_photo
from dreamcache.storage.roots import roots_of
from jobs.planning.planner import plan
from tests.cloud_servers import AzureServer, CloudServer, GcsServer

MakeSpec = Callable[..., JobSpec]
SERVERS: dict[str, type[GcsServer] | type[AzureServer]] = {"gs": GcsServer, "az": AzureServer}
CI = os.environ.get("DREAMCACHE_CI") == "1"
slow = [pytest.mark.slow, pytest.mark.turns(unit="module")]
KEYS = ("p/a.png", "p/a#1?.png", "p/a*[b].png", "p/a::http:b.png", "p/100%2F.png", "p/é 面.png")


@pytest.fixture(scope="module", params=[pytest.param("gs", marks=slow), pytest.param("az", marks=slow)])
def running(request: pytest.FixtureRequest) -> Iterator[CloudServer]:
    kind = SERVERS[request.param]
    reason = kind.absent()
    if reason is not None and not (CI and kind is GcsServer):  # which the development extras bring
        pytest.skip(reason)
    with kind() as one:
        yield one


@pytest.fixture
def server(running: CloudServer, monkeypatch: pytest.MonkeyPatch) -> CloudServer:
    for name in list(os.environ):
        if name.startswith(cloud.SETTINGS):
            monkeypatch.delenv(name)
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    cloud.known_buckets.clear()
    return running


def code_of(uri: str, limits: ImageLimits = ImageLimits()) -> str:
    with pytest.raises(ImageError) as raised:
        read_photo(uri, "row 2", limits)
    assert uri in str(raised.value) or raised.value.code == "missing_image"
    return raised.value.code


def test_photos_are_read(server: CloudServer) -> None:
    for number, key in enumerate(KEYS):
        uri = server.put("shop", key, b"x" * number)
        assert read_photo(uri, "row 2", ImageLimits()) == b"x" * number
    listed = {info.uri: info for info in store_for(f"{server.scheme}shop/p").list(f"{server.scheme}shop/p")}
    assert set(listed) == {f"{server.scheme}shop/{key}" for key in KEYS}
    for uri, info in listed.items():
        stat = store_for(uri).stat(uri)
        assert stat is not None
        assert (stat.num_bytes, stat.etag, stat.modified) == (info.num_bytes, info.etag, info.modified)
        assert stat.etag and stat.modified.year > 2000


def test_what_is_about_one_photo_ends_one_item(server: CloudServer) -> None:
    server.put("shop", "p/a.png", b"x" * 100)
    scheme = server.scheme
    assert code_of(f"{scheme}shop/p/none.png") == "missing_image"
    assert code_of(f"{scheme}shop/p") == "missing_image"
    assert code_of(f"{scheme}nobucket/a.png") == "no_such_bucket"
    assert code_of(f"{scheme}shop/p/a.png", ImageLimits(max_bytes=99)) == "too_large"
    assert not {"missing_image", "no_such_bucket", "too_large"} & set(STORAGE_WIDE)
    with pytest.raises(StorageError) as raised:
        list(store_for(f"{scheme}nobucket/p").list(f"{scheme}nobucket/p"))
    assert raised.value.code == "no_such_bucket"
    assert list(store_for(f"{scheme}shop/none").list(f"{scheme}shop/none")) == []


def test_a_catalog_and_its_photos(server: CloudServer, make_spec: MakeSpec) -> None:
    scheme = server.scheme
    for name in "ab":
        server.put("feed", f"img/{name}.png", f"photo {name}".encode())
    server.put("other", "c.png", b"photo c")
    rows = f"a,img/a.png\nb,{scheme}feed/img/b.png\nc,{scheme}other/c.png\nd,/etc/hostname\ne,../e.png\n"
    catalog = server.put("feed", "catalog.csv", f"subject_id,image\n{rows}".encode())
    made = plan(job_of(make_spec, catalog))
    codes = {row["subject_id"]: row["code"] for row in made.table.to_pylist()}
    assert codes == {"a": None, "b": None, "c": "outside_roots", "d": "bad_image_uri", "e": "bad_image_uri"}
    assert made.outside_roots == ((f"{scheme}other", 1),)
    assert plan(job_of(make_spec, catalog)).photos.known == 2
    before = made.table["item_id"].to_pylist()[:2]
    server.put("feed", "img/a.png", b"photo A")
    after = plan(job_of(make_spec, catalog, catalog_roots=[f"{scheme}other"]))
    assert (after.photos.known, after.photos.read) == (1, 2)
    assert after.table["item_id"].to_pylist()[0] not in before
    assert [row["code"] for row in after.table.to_pylist()[:3]] == [None] * 3


def job_of(make_spec: MakeSpec, catalog: str, **changes: Any) -> JobSpec:
    return replace(make_spec(prompts=["x"], **changes), catalog=catalog)


def test_a_folder_of_photos(server: CloudServer, make_spec: MakeSpec) -> None:
    for name in ("mug.png", "lamp/1.png", "lamp/2.png", "notes.txt"):
        server.put("folder", f"photos/{name}", name.encode())
    made = plan(job_of(make_spec, f"{server.scheme}folder/photos"))
    assert made.table["subject_id"].to_pylist() == ["lamp", "mug"]
    assert made.num_unrunnable == 0


def test_a_server_that_is_down(
    make_spec: MakeSpec, server: CloudServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished items keep their ids, as those of web photos do."""
    monkeypatch.setattr(cloud, "ANSWER_S", 3.0)
    with type(server)() as own:
        for name, value in own.environment().items():
            monkeypatch.setenv(name, value)
        uri = own.put("down", "a.png", b"photo a")
        spec = make_spec(f"subject_id,image\na,{uri}\n", catalog_roots=[f"{own.scheme}down"])
        before = plan(spec).table["item_id"].to_pylist()
    after = plan(spec).table
    assert after["item_id"].to_pylist() == before
    assert set(after["code"].to_pylist()) == {"storage_unreachable"}


def test_nothing_of_ours_is_written_at_az() -> None:
    uri = "az://shop/out"
    with pytest.raises(StorageError, match=r"must be on a disk, at s3:// or at gs://") as raised:
        open_store(uri)
    assert raised.value.code == "bad_uri"
    for write in (
        lambda store: store.write(uri, b""),
        lambda store: store.create(uri, b""),
        lambda store: store.replace(uri, b"", None),
        lambda store: store.delete(uri),
    ):
        with pytest.raises(StorageError, match="must be on a disk"):
            write(CloudStore("az://"))


@pytest.mark.parametrize(
    ("scheme", "module", "extra"), [("gs", "gcsfs.core", "gs"), ("az", "adlfs", "azure")]
)
def test_a_package_that_is_missing(
    scheme: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "_filesystems", {})
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError, match=rf"pip install 'dreamcache\[{extra}\]'") as raised:
        read_photo(f"{scheme}://shop/a.png", "row 2", ImageLimits())
    assert raised.value.code == "no_package" and "no_package" in STORAGE_WIDE


def test_locations_follow_the_rules_of_s3() -> None:
    assert resolve("../img/a.png", "gs://shop/cat") == "gs://shop/img/a.png"
    assert resolve("../../a.png", "az://shop/cat") == "az://shop/cat/../../a.png"
    for bad in (
        "gs://shop",
        "az://shop/",
        "gs:///a.png",
        "az://me@host/a.png",
        "gs://shop/../a.png",
        "gcs://a/b.png",
    ):
        with pytest.raises(ImageError) as raised:
            check_uri(bad, "row 2")
        assert raised.value.code == "bad_image_uri"
    roots = roots_of("gs://shop/c.csv", ["az://img/2026"])
    assert roots.allows("gs://shop/x/a.png") and roots.allows("az://img/2026/a.png")
    for other in ("s3://shop/a.png", "gs://shopping/a.png", "az://img/2025/a.png", "/a.png"):
        assert not roots.allows(other)
    with pytest.raises(SpecError):
        roots_of("c.csv", ["gs://"])


class HttpResponseError(Exception):
    """As azure's: a status and a code of the service."""

    def __init__(self, status_code: int, error_code: str = "") -> None:
        super().__init__(f"status {status_code}")
        self.status_code, self.error_code = status_code, error_code


class DefaultCredentialsError(Exception):
    """As google.auth's."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HttpResponseError(403), "access_denied"),
        (HttpResponseError(401), "access_denied"),
        (HttpResponseError(429), "storage_unreachable"),
        (HttpResponseError(503), "storage_unreachable"),
        (HttpResponseError(409, "BlobArchived"), "archived_object"),
        (HttpResponseError(400), "storage"),
        (OSError("Forbidden: b/shop/o/a.png"), "access_denied"),
        (ConnectionResetError("reset"), "storage_unreachable"),
        (TimeoutError("late"), "storage_unreachable"),
        (DefaultCredentialsError("none"), "no_credentials"),
        (
            ValueError("Must provide either a connection_string or account_name with credentials!!"),
            "no_credentials",
        ),
        (KeyError("size"), "storage"),
    ],
)
def test_errors_have_the_codes_of_s3(error: Exception, code: str) -> None:
    with pytest.raises(StorageError) as raised, answered("gs://shop/a.png", "read"):
        raise error
    assert raised.value.code == code and "gs://shop/a.png: cannot read: " in str(raised.value)
