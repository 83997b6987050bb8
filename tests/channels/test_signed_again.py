"""Exports sign again what this operator signed about that very item, and nothing else."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamcache.core.config.provenance import C2paSettings
from dreamcache.core.errors import SigningError
from dreamcache.provenance import c2pa_read, xmp
from dreamcache.provenance.c2pa_sign import ManifestSigner
from dreamcache.storage.image_store import encode_image, pixel_sha256, stored_pixel_sha256
from jobs.channels import ChannelExport, export_channel
from jobs.channels.marks import Signer, marks_of
from tests.channels.pictures import STORED, make_output, product
from tests.channels.test_export_channel import OPTIONS, small
from tests.provenance.chain import signing, write_chain

pytest.importorskip("c2pa", reason="c2pa-python is not installed")

Row = dict[str, Any]
NOISE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


@pytest.fixture
def settings(tmp_path: Path) -> C2paSettings:
    write_chain(tmp_path / "chain")
    found = signing(tmp_path / "chain").c2pa
    assert found is not None
    return found


def signed(data: bytes, settings: C2paSettings, item_id: str, **more: str) -> bytes:
    return ManifestSigner(settings).sign(data, "png", xmp.generated(item_id=item_id, job="job", **more))


def output_with(folder: Path, change: Callable[[bytes, Row], bytes]) -> Row:
    """A job's output of one image, changed as given; its record has the changed file's size and pixels."""
    [row] = make_output(f"{folder}/output", [("mug", product())])
    path = folder / "output" / row["key"]
    data = change(path.read_bytes(), row)
    path.write_bytes(data)
    row |= {"num_bytes": len(data)}
    row.setdefault("pixel_sha256", stored_pixel_sha256(data))
    pq.write_table(pa.Table.from_pylist([row]), folder / "output/manifest.parquet")
    return row


def exported(folder: Path, target: str, settings: C2paSettings | None, **options: Any) -> ChannelExport:
    options_ = replace(OPTIONS, c2pa=settings, **options)
    return export_channel(f"{folder}/output", f"{folder}/{target}", small("shopify"), options=options_)


def test_what_was_signed_is_signed_again(tmp_path: Path, settings: C2paSettings) -> None:
    row = output_with(
        tmp_path, lambda data, row: signed(data, settings, row["item_id"], subject_id="mug", prompt="p" * 300)
    )
    with pytest.raises(SigningError, match="name the job file") as caught:
        exported(tmp_path, "none", None)
    assert caught.value.code == "bad_certificate"
    assert exported(tmp_path, "new", settings).accepted == 1
    chain = Path(settings.certificate).read_text()
    found = c2pa_read.read((tmp_path / "new/mug-1.jpg").read_bytes(), "jpeg", operators=[chain])
    assert found.is_ai and found.by_operator
    assert (found.item_id, found.job, found.subject_id) == (row["item_id"], "job", "mug")
    assert found.prompt == "p" * 300
    assert exported(tmp_path, "plain", settings, unsigned=True).accepted == 1
    assert c2pa_read.read((tmp_path / "plain/mug-1.jpg").read_bytes(), "jpeg").state == "absent"


def forged(data: bytes, row: Row) -> bytes:
    """Anyone's pixels and XMP, with an empty C2PA chunk."""
    about = xmp.packet(xmp.generated(item_id="FORGED", job="not yours", prompt="slander"))
    mine = encode_image(NOISE, STORED, {}, about)
    chunk = struct.pack(">I", 0) + b"caBX" + struct.pack(">I", zlib.crc32(b"caBX"))
    return mine[:33] + chunk + mine[33:]


def changed(data: bytes) -> bytes:
    """One letter of the PNG's text is another, with the checksum of its chunk corrected."""
    at = data.index(b"tEXt")
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
    chunk = data[at : end - 1] + b" "
    return data[:at] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[end + 4 :]


def by_another(data: bytes, row: Row, folder: Path) -> bytes:
    write_chain(folder / "other", "Somebody Else")
    other = signing(folder / "other").c2pa
    assert other is not None
    return signed(data, other, row["item_id"])


def of_other_pixels(data: bytes, row: Row) -> bytes:
    row["pixel_sha256"] = pixel_sha256(NOISE)
    return data


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("forged", "a C2PA container whose manifest is"),
        ("changed", "a C2PA container whose manifest is tampered"),
        ("by another", "a manifest signed by 'development signer, not trusted, Somebody Else'"),
        ("of another item", "the signed image of item abababababab"),
        ("of other pixels", "other pixels than its record"),
    ],
)
def test_what_this_operator_did_not_sign_is_refused(
    tmp_path: Path, settings: C2paSettings, kind: str, message: str
) -> None:
    kinds: dict[str, Callable[[bytes, Row], bytes]] = {
        "forged": forged,
        "changed": lambda data, row: changed(signed(data, settings, row["item_id"])),
        "by another": lambda data, row: by_another(data, row, tmp_path),
        "of another item": lambda data, row: signed(data, settings, "ab" * 32),
        "of other pixels": lambda data, row: of_other_pixels(signed(data, settings, row["item_id"]), row),
    }
    output_with(tmp_path, kinds[kind])
    done = exported(tmp_path, "target", settings)
    assert (done.accepted, done.refused, done.breaches) == (0, 1, {"c2pa": 1})
    assert f"c2pa: must be signed by this operator, got {message}" in done.first[0]
    assert not list((tmp_path / "target").glob("*.jpg"))


def test_an_image_that_was_never_signed_is_not_signed(tmp_path: Path, settings: C2paSettings) -> None:
    output_with(tmp_path, lambda data, row: data)
    assert exported(tmp_path, "target", settings).accepted == 1
    assert c2pa_read.read((tmp_path / "target/mug-1.jpg").read_bytes(), "jpeg").state == "absent"


def test_a_signer_signs_no_marks_in_doubt(settings: C2paSettings) -> None:
    data = encode_image(NOISE, STORED, {})
    marks = replace(marks_of(forged(data, {}), "png"), doubt="why")
    with pytest.raises(SigningError, match="why"):
        Signer(settings, unsigned=False).sign(data, marks, "png")
