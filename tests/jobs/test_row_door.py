"""The door for rows: every row of the corpus stands in one catalog among good ones, and costs itself with its code.

The same on a disk and on S3; see `tests/corpus/rows.py`. Storage that fails as a whole, and what `plan` says of roots.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError, SpecError, StorageError
from dreamcache.storage.photo_faults import LIMIT, STORAGE_WIDE
from dreamcache.storage.photos import read_photo
from dreamcache.storage.roots import roots_of
from jobs.cli.plan import _outside, _outside_lines
from jobs.planning.outside import OutsideRoots, setting_line
from jobs.planning.planner import Plan, plan
from jobs.spec import parse_spec
from tests.corpus.kind import USED, Kind, case_id, cases
from tests.corpus.row_inputs import BUCKET, FOLDER, GOOD
from tests.jobs.conftest import write_model
from tests.s3_server import S3Server

NUM_GOOD = 40
SECONDS = 60
LOCAL = [one for one in cases("row") if not one[0].name.startswith("row-s3/")]
REMOTE = [one for one in cases("row") if one[0].s3]

Outcomes = dict[str, dict[str, Any]]
"""A row of the plan by its subject."""


def subject(kind: Kind, name: str) -> str:
    return f"{kind.name} {name}".encode("ascii", "backslashreplace").decode()[:150]


def catalog_of(folder: Path, inputs: list[tuple[Kind, str]]) -> Path:
    """The rows of all these inputs with good ones between them, and what they name."""
    (folder / "sub").mkdir(parents=True)
    (folder / GOOD).write_bytes(b"a photo")
    rows = []
    for number, (kind, name) in enumerate(inputs):
        cells = kind.inputs[name](folder)
        assert isinstance(cells, dict)
        rows.append({"image": GOOD, "subject_id": subject(kind, name), **cells})
        if number % (len(inputs) // NUM_GOOD) == 0:
            rows.append({"subject_id": f"good {number}", "image": GOOD})
    path = folder / "catalog.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def planned(catalog: str, place: Path, **changes: Any) -> tuple[Plan, Outcomes]:
    values = {"name": "j", "catalog": catalog, "output": str(place / "output"), "prompts": ["p"]}
    made = plan(parse_spec({**values, "model": write_model(place), **changes}))
    return made, {row["subject_id"]: row for row in made.table.to_pylist()}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    place = tmp_path_factory.mktemp("rows")
    began = time.monotonic()
    _, rows = planned(str(catalog_of(place / "catalog", LOCAL)), place)
    assert time.monotonic() - began < SECONDS
    return rows


@pytest.fixture(scope="module")
def remote(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    place = tmp_path_factory.mktemp("rows-s3")
    catalog = catalog_of(place / "catalog", REMOTE)
    s3_server.start()
    s3_server.make_bucket(BUCKET)
    for file in (catalog, catalog.parent / GOOD):
        s3_server.client().put_object(Bucket=BUCKET, Key=f"{FOLDER}/{file.name}", Body=file.read_bytes())
    with s3_server.use():
        _, rows = planned(f"s3://{BUCKET}/{FOLDER}/{catalog.name}", place)
    return rows


def check(rows: Outcomes, kind: Kind, name: str) -> None:
    row = rows[subject(kind, name)]
    assert (row["code"] or USED) == kind.code, row["message"]
    if kind.code != USED:
        assert row["message"].count("\n") == 0
        assert subject(kind, name)[:60] in row["message"] or "subject" in row["message"]


@pytest.mark.parametrize(("kind", "name"), LOCAL, ids=case_id)
def test_a_row_on_a_disk_has_its_outcome(kind: Kind, name: str, local: Outcomes) -> None:
    check(local, kind, name)


@pytest.mark.parametrize(("kind", "name"), REMOTE, ids=case_id)
def test_a_row_on_s3_has_its_outcome(kind: Kind, name: str, remote: Outcomes) -> None:
    check(remote, kind, name)


@pytest.mark.parametrize("where", ["local", "remote"])
def test_good_rows_among_them_are_planned(where: str, request: pytest.FixtureRequest) -> None:
    rows: Outcomes = request.getfixturevalue(where)
    good = [row for name, row in rows.items() if name.startswith("good ")]
    assert len(good) >= NUM_GOOD
    assert all(row["code"] is None for row in good)


def test_rows_outside_are_read_once_their_roots_are_named(tmp_path: Path) -> None:
    """And the line that `plan` prints names them: pasted, it lets the same job read all of them."""
    for name in ("catalog", "photos/a", "photos/b", "linked"):
        (tmp_path / name).mkdir(parents=True)
    rows = []
    for number, folder in enumerate(("photos/a", "photos/a", "photos/b", "linked")):
        photo = tmp_path / folder / f"{number}.png"
        photo.write_bytes(b"x")
        rows.append({"subject_id": str(number), "image": str(photo)})
    (tmp_path / "catalog" / "link.png").symlink_to(tmp_path / "linked" / "3.png")
    rows[3]["image"] = "link.png"
    (tmp_path / "catalog" / "catalog.jsonl").write_text("\n".join(map(json.dumps, rows)))
    catalog = str(tmp_path / "catalog" / "catalog.jsonl")
    made, before = planned(catalog, tmp_path / "place")
    assert [row["code"] for row in before.values()] == ["outside_roots"] * 4
    resolved = tmp_path.resolve()
    assert made.outside_roots == (
        (f"{resolved}/photos/a", 2),
        (f"{resolved}/linked", 1),
        (f"{resolved}/photos/b", 1),
    )
    line = _outside(made)["catalog_roots_line"]
    _, after = planned(catalog, tmp_path / "place", **yaml.safe_load(line))
    assert [row["code"] for row in after.values()] == [None] * 4


def test_plan_shows_roots_with_counts_and_the_line(tmp_path: Path) -> None:
    (tmp_path / "catalog.jsonl").write_text(
        "\n".join(json.dumps({"subject_id": str(n), "image": f"s3://shop/{n}.png"}) for n in range(3))
    )
    made, _ = planned(str(tmp_path / "catalog.jsonl"), tmp_path, catalog_roots=["/data"])
    assert _outside(made) == {
        "outside_roots": [{"root": "s3://shop", "photos": 3}],
        "catalog_roots_line": "catalog_roots: [/data, 's3://shop']",
    }


def test_many_folders_are_shown_by_what_is_above_them() -> None:
    outside = OutsideRoots()
    for number in range(5000):
        outside.add(f"/photos/{number % 70}/{number}")
    outside.add("s3://shop")
    assert outside.most() == (("/photos", 5000), ("s3://shop", 1))
    assert yaml.safe_load(setting_line(["/a: b"], ["s3://x", "/a: b"])) == {
        "catalog_roots": ["/a: b", "s3://x"]
    }


@pytest.mark.parametrize("root", ["", " ", "http://x/y", "s3://", "s3:///", "file://host/x", "a\0b"])
def test_a_root_that_is_no_location_is_refused(root: str) -> None:
    with pytest.raises(SpecError, match="catalog_roots: must be folders"):
        roots_of("catalog.csv", [root])


def test_a_prefix_is_no_other_prefix(tmp_path: Path) -> None:
    roots = roots_of("s3://shop/a.csv", ["s3://team/photos", str(tmp_path / "in")])
    allowed = ["s3://shop/x.png", "s3://team/photos/x.png", f"{tmp_path}/in/x.png"]
    refused = ["s3://shop2/x.png", "s3://team/photos-2/x.png", "s3://team/x.png", f"{tmp_path}/inner/x.png"]
    assert [roots.allows(uri) for uri in allowed + refused] == [True] * 3 + [False] * 4


def test_an_s3_row_without_credentials_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    rows = write_rows(tmp_path, ["good.png", "s3://shop/x.png", "good.png"])
    assert [row["code"] for row in rows.values()] == [None, "no_credentials", None]
    with pytest.raises(
        StorageError, match=r"50 photos in a row .*\(no_credentials\), beginning with product 2 "
    ) as caught:
        write_rows(tmp_path, ["good.png", *["s3://shop/x.png"] * 200])
    assert caught.value.code == "no_credentials"


def write_rows(place: Path, images: list[str]) -> Outcomes:
    (place / GOOD).write_bytes(b"a photo")
    lines = [json.dumps({"subject_id": str(n), "image": image}) for n, image in enumerate(images)]
    (place / "catalog.jsonl").write_text("\n".join(lines))
    return planned(str(place / "catalog.jsonl"), place, catalog_roots=["s3://shop", "/proc/self"])[1]


def test_a_file_with_an_io_error_costs_itself(tmp_path: Path) -> None:
    """The kernel answers EIO to whoever reads a process's memory at 0."""
    with pytest.raises(ImageError) as caught:
        read_photo("/proc/self/mem", "row 2", ImageLimits())
    assert caught.value.code == "io_error"
    assert caught.value.code in STORAGE_WIDE
    assert LIMIT == 50


ANSWERS = {
    "archived": (403, "InvalidObjectState", "archived_object"),
    "key disabled": (400, "KMS.DisabledException", "encrypted_object"),
    "key pending deletion": (400, "KMS.KMSInvalidStateException", "encrypted_object"),
    "key gone": (400, "KMS.NotFoundException", "encrypted_object"),
    "key too long": (400, "KeyTooLongError", "bad_uri"),
    "no such name": (400, "XMinioInvalidObjectName", "bad_uri"),
    "no such bucket name": (400, "InvalidBucketName", "bad_uri"),
    "needs a customer key": (400, "InvalidRequest", "storage"),
    "another region": (301, "PermanentRedirect", "storage"),
    "denied": (403, "AccessDenied", "access_denied"),
    "gone bucket": (404, "NoSuchBucket", "no_such_bucket"),
    "a word of its own": (418, "Teapot", "storage"),
    "expired": (400, "ExpiredToken", "expired_credentials"),
}


@pytest.fixture(scope="module")
def answering() -> Iterator[str]:
    """A server that answers a GET of <bucket>/<status>/<code> with that error, as S3 words it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, status, code = self.path.split("/")
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode()
            self.send_response(int(status))
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/xml")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "answer", "code"), ANSWERS.values(), ids=ANSWERS)
def test_what_a_server_says_of_one_object_costs_its_row(
    status: int, answer: str, code: str, answering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", answering)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(ImageError, match="row 2") as caught:
        read_photo(f"s3://shop/{status}/{answer}", "row 2", ImageLimits())
    assert caught.value.code == code


def test_the_lines_of_plan_name_the_roots(tmp_path: Path) -> None:
    """For people: each root with its photos, then the line alone, to be pasted."""
    (tmp_path / "catalog.jsonl").write_text(json.dumps({"subject_id": "a", "image": "s3://shop/a.png"}))
    made, _ = planned(str(tmp_path / "catalog.jsonl"), tmp_path)
    assert _outside_lines(made)[1:] == [
        "  s3://shop  1",
        "if these locations are yours, put this line into the job file:",
        "catalog_roots: ['s3://shop']",
    ]


def test_what_a_terminal_would_obey_is_shown_as_text(tmp_path: Path) -> None:
    """A merchant's row may name a folder with an escape sequence, or letters that turn the line around."""
    folders = ["/data/\x1b]52;c;eA==\x07", "/data/\u202egnp", "/data/caf\u00e9"]
    rows = [
        json.dumps({"subject_id": str(n), "image": f"{folder}/x.png"}) for n, folder in enumerate(folders)
    ]
    (tmp_path / "catalog.jsonl").write_text("\n".join(rows))
    made, _ = planned(str(tmp_path / "catalog.jsonl"), tmp_path)
    lines = _outside_lines(made)
    assert all(line.isprintable() for line in lines)
    assert yaml.safe_load(lines[-1]) == {"catalog_roots": [root for root, _ in made.outside_roots]}
    assert set(folders) == {root for root, _ in made.outside_roots}


def test_a_message_shows_the_ends_of_a_long_location(tmp_path: Path) -> None:
    rows = write_rows(tmp_path, ["n" * 1_000_000 + ".png", "s3://" + "b" * 1_000_000])
    assert all(len(row["message"]) < 1000 for row in rows.values())


def test_a_folder_that_is_named_like_a_table_stands_beside_its_photos(tmp_path: Path) -> None:
    for name in ("c.parquet", "photos"):
        (tmp_path / name).mkdir()
    assert roots_of(f"{tmp_path}/c.parquet/").allows(f"{tmp_path}/photos/a.png")
    assert not roots_of(f"{tmp_path}/photos").allows(f"{tmp_path}/c.parquet/part-0.parquet")
