"""The photo index: unchanged photos are not read, changed ones are, whoever writes at the same time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dreamcache.core import ids
from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError
from dreamcache.storage import photo_index, photo_states
from dreamcache.storage.open_store import store_for
from dreamcache.storage.photo_contents import PhotoContents
from dreamcache.storage.photo_index import PhotoIndex, PhotoState
from dreamcache.storage.photo_states import Listings, state_of

LIMITS = ImageLimits()


def contents_of(folder: str, limits: ImageLimits = LIMITS, *, verify: bool = False) -> PhotoContents:
    return PhotoContents(limits, PhotoIndex(folder), verify=verify)


def read_all(
    folder: str, uris: list[str], limits: ImageLimits = LIMITS, *, verify: bool = False
) -> tuple[int, int]:
    """(known, read) of one plan; each content is what the bytes have."""
    contents = contents_of(folder, limits, verify=verify)
    for uri in uris:
        assert contents.sha256(uri, "a photo") == ids.of_bytes(store_for(uri).read(uri))
    contents.save()
    return contents.num_known, contents.num_read


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Files that were last changed long enough ago: the time of an inode's change cannot be set, only waited for."""
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]) * 100)
    time.sleep(photo_states.SETTLED_NS / 1e9 + 0.1)
    return [str(tmp_path / f"{number}.png") for number in range(5)]


def test_on_a_disk(photos: list[str], tmp_path: Path) -> None:
    index = str(tmp_path / "cache" / photo_index.FOLDER)
    assert read_all(index, photos) == (0, 5)
    assert read_all(index, photos) == (5, 0)
    assert read_all(index, photos, verify=True) == (0, 5)

    # Rewritten in place at the same size, with its times restored: only the inode's change time differs.
    before = os.stat(photos[2])
    with open(photos[2], "r+b") as file:
        file.write(b"x")
    os.utime(photos[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(photos[2])
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )
    assert read_all(index, photos) == (4, 1)
    assert read_all(index, photos) == (4, 1)  # just written, so not yet trusted

    (tmp_path / "new.png").write_bytes(b"other")
    os.replace(tmp_path / "new.png", photos[3])
    assert read_all(index, photos) == (3, 2)


def test_a_lower_limit_holds_for_known_photos(photos: list[str], tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    read_all(index, photos)
    with pytest.raises(ImageError) as raised:
        contents_of(index, ImageLimits(max_bytes=99)).sha256(photos[0], "a photo")
    assert raised.value.code == "too_large"


def test_what_is_no_photo_is_read_and_refused(tmp_path: Path) -> None:
    contents = contents_of(str(tmp_path / "index"))
    os.mkfifo(tmp_path / "pipe")
    for uri, code in (
        (str(tmp_path / "none.png"), "missing_image"),
        (str(tmp_path / "pipe"), "not_a_file"),
        (str(tmp_path), "missing_image"),
        ("ftp://a/b.png", "bad_image_uri"),
    ):
        with pytest.raises(ImageError) as raised:
            contents.sha256(uri, "a photo")
        assert raised.value.code == code


def test_a_damaged_part_costs_reading_and_is_noted(photos: list[str], tmp_path: Path) -> None:
    index = tmp_path / "index"
    read_all(str(index), photos)
    [part] = index.glob("part-*.parquet")
    part.write_bytes(part.read_bytes()[:-9] + b"?" * 9)
    loaded = PhotoIndex(str(index))
    assert len(loaded) == 0 and part.name in loaded.notes[0] and "read again" in loaded.notes[0]


def test_a_damaged_part_is_replaced(photos: list[str], place: str) -> None:
    """Its rows have its name, so it would else be in their way for ever."""
    index = f"{place}/index"
    read_all(index, photos)
    [part] = store_for(index).list(index)
    whole = store_for(index).read(part.uri)
    store_for(index).write(part.uri, whole[:-9] + b"?" * 9)
    assert read_all(index, photos) == (0, 5)
    assert PhotoIndex(index).notes == []
    assert store_for(index).read(part.uri) == whole
    assert read_all(index, photos) == (5, 0)


def test_two_planners_find_a_damaged_part(photos: list[str], place: str) -> None:
    index = f"{place}/index"
    read_all(index, photos)
    [part] = store_for(index).list(index)
    store_for(index).write(part.uri, store_for(index).read(part.uri)[:50])
    planners = [contents_of(index) for _ in range(3)]
    for planner in planners[:2]:
        for uri in photos:
            planner.sha256(uri, "a photo")
    for planner in planners:
        planner.save()  # the others find the part that the first has written, and leave it
    assert read_all(index, photos) == (5, 0)
    [part] = store_for(index).list(index)
    store_for(index).write(part.uri, b"")
    contents_of(index).save()  # a plan that reads no photo
    assert list(store_for(index).list(index)) == []


def test_two_planners_and_a_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_index, "MOST_SMALL_PARTS", 4)
    folder = str(tmp_path / "index")
    planners = [PhotoIndex(folder) for _ in range(2)]
    states = [PhotoState(uri=f"s3://b/{n}.png", num_bytes=n, stamp=f"e{n}:1") for n in range(40)]
    for number, state in enumerate(states):
        planner = planners[number % 2] if number < 8 else PhotoIndex(folder)
        planner.add(state, ids.of_bytes(str(number).encode()))
        planner.save()
        assert planner.notes == []
    loaded = PhotoIndex(folder)
    assert len(list((tmp_path / "index").glob("*.parquet"))) <= 5
    for number, state in enumerate(states):
        row = loaded.row(state)
        assert row is not None and loaded.sha256(row) == ids.of_bytes(str(number).encode())
        changed = PhotoState(uri=state.uri, num_bytes=state.num_bytes, stamp="other:1")
        assert loaded.row(changed) is None


def test_states_whose_keys_begin_alike_are_distinguished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_index, "_key", lambda state: (7, state.num_bytes))
    states = [PhotoState(uri=f"{n}.png", num_bytes=n, stamp="1:1") for n in range(5)]
    index = PhotoIndex(str(tmp_path))
    for state in states:
        index.add(state, ids.of_bytes(state.uri.encode()))
    index.save()
    loaded = PhotoIndex(str(tmp_path))
    rows = [loaded.row(state) for state in states]
    assert [loaded.sha256(row) for row in rows if row is not None] == [
        ids.of_bytes(s.uri.encode()) for s in states
    ]


def test_on_s3_a_folder_is_listed_once_it_pays(bucket: str) -> None:
    folder = f"{bucket}/photos"
    uris = [f"{folder}/{number:04}.png" for number in range(60)]
    for uri in uris:
        store_for(uri).write(uri, uri.encode())
    index = f"{bucket}/index"
    assert read_all(index, uris) == (0, 60)
    assert read_all(index, uris) == (60, 0)

    loaded = PhotoIndex(index)
    listings = Listings(loaded.row)
    rows = [listings.row(uri) for uri in uris]
    assert rows[:20] == [None] * 20 and all(row is not None for row in rows[21:])
    assert listings.num_pages == 1
    assert [loaded.sha256(row) for row in rows if row is not None] == [
        ids.of_bytes(uri.encode()) for uri, row in zip(uris, rows, strict=True) if row is not None
    ]

    store_for(uris[30]).write(uris[30], uris[30].encode().replace(b"photos", b"PHOTOS"))
    assert read_all(index, uris) == (59, 1)


def test_a_state_by_head_is_that_of_the_listing(bucket: str) -> None:
    uri = f"{bucket}/photos/a b.png"
    store_for(uri).write(uri, b"a photo")
    [listed] = store_for(f"{bucket}/photos").list(f"{bucket}/photos")
    assert state_of(uri) == photo_states._of_info(listed)
