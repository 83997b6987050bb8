"""Signed manifests: pixels stay, what was changed is distinguished from what was stripped, and who signed is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from dreamcache.core.config import ImageFormat
from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.provenance import C2paSettings, ProvenanceSettings
from dreamcache.core.errors import SigningError
from dreamcache.core.records import Done
from dreamcache.provenance import c2pa_read
from dreamcache.provenance.marker import Marker, check_marks, marks_in
from dreamcache.storage.image_store import (
    ImageStore,
    decode_image,
    encode_image,
    pixel_sha256,
    read_metadata,
    read_xmp,
)
from tests.provenance.chain import signing, write_chain
from tests.workers.test_commit import ITEM, row_of
from workers.publish import commit

pytest.importorskip("c2pa", reason="c2pa-python is not installed")

RGB = np.random.default_rng(3).integers(0, 255, (40, 56, 3), np.uint8)
METADATA = {"item_id": "ab" * 32, "subject_id": "mug", "prompt": "on sand", "seed": "5"}
FORMATS = ["png", "jpeg", "webp"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    write_chain(folder)
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_a_signed_file_is_intact_and_has_its_pixels(chain: Path, name: str) -> None:
    file_format = ImageFormat(format=name)
    data = Marker(signing(chain), "autumn").encode(RGB, file_format, METADATA)
    plain = encode_image(RGB, file_format, {})
    assert pixel_sha256(decode_image(data)) == pixel_sha256(decode_image(plain))
    assert marks_in(data, name) == "xmp,c2pa" and marks_in(plain, name) == ""
    root, own = (chain / "root.pem").read_text(), (chain / "chain.pem").read_text()
    found = c2pa_read.read(data, name, operators=[own])
    assert (found.state, found.action, found.by_operator) == ("untrusted", "c2pa.created", True)
    assert found.is_ai and found.item_id == "ab" * 32 and found.job == "autumn"
    assert found.signer == "development signer, not trusted, Test Operator"
    assert c2pa_read.read(data, name, anchors=root).state == "valid"
    assert c2pa_read.read(plain, name).state == "absent"


@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_file_is_tampered(chain: Path, name: str) -> None:
    data = bytearray(Marker(signing(chain), "autumn").encode(RGB, ImageFormat(format=name), METADATA))
    data[bytes(data).index(b"trainedAlgorithmicMedia")] ^= 1  # a letter of the XMP packet
    found = c2pa_read.read(bytes(data), name, operators=[(chain / "chain.pem").read_text()])
    assert (found.state, found.is_ai, found.by_operator) == ("tampered", False, False)
    assert found.problems


def test_another_operators_chain_is_not_ours(chain: Path, tmp_path: Path) -> None:
    other = write_chain(tmp_path)
    data = Marker(signing(chain), "autumn").encode(RGB, ImageFormat(), METADATA)
    found = c2pa_read.read(data, "png", operators=[other.chain.decode()])
    assert (found.state, found.by_operator) == ("untrusted", False)


def test_a_signer_command_signs(chain: Path) -> None:
    script = chain / "sign.py"
    script.write_text(
        "import sys\n"
        "from cryptography.hazmat.primitives import hashes, serialization\n"
        "from cryptography.hazmat.primitives.asymmetric import ec, utils\n"
        f"key = serialization.load_pem_private_key(open({str(chain / 'key.pem')!r}, 'rb').read(), None)\n"
        "pair = utils.decode_dss_signature(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256())))\n"
        "sys.stdout.buffer.write(b''.join(n.to_bytes(32, 'big') for n in pair))\n"
    )
    c2pa = C2paSettings(certificate=str(chain / "chain.pem"), signer=(sys.executable, str(script)))
    data = Marker(ProvenanceSettings(c2pa=c2pa), "autumn").encode(RGB, ImageFormat(), METADATA)
    assert c2pa_read.read(data, "png").state == "untrusted"


@pytest.mark.parametrize("command", [("false",), ("/nowhere/sign",), ("yes",), ("true",)])
def test_a_command_that_does_not_sign_ends_in_one_line(
    chain: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamcache.provenance.c2pa_sign.TRIES", 1)
    monkeypatch.setattr("dreamcache.provenance.c2pa_sign.COMMAND_TIMEOUT_S", 0.5)
    c2pa = C2paSettings(certificate=str(chain / "chain.pem"), signer=command)
    with pytest.raises(SigningError, match=r"signer .*must write a signature") as caught:
        Marker(ProvenanceSettings(c2pa=c2pa), "autumn").encode(RGB, ImageFormat(), METADATA)
    assert caught.value.code == "not_signed"


@pytest.mark.parametrize(
    "files",
    [
        {"certificate": "none.pem"},
        {"key": "none.pem"},
        {"key": "chain.pem"},
        {"certificate": "key.pem"},
        {"key": "other/key.pem"},
    ],
)
def test_wrong_files_are_named_before_anything_is_generated(chain: Path, files: dict[str, str]) -> None:
    names = {"certificate": "chain.pem", "key": "key.pem"} | files
    write_chain(chain / "other")
    c2pa = C2paSettings(**{name: str(chain / file) for name, file in names.items()})
    spec = JobSpec(name="autumn", catalog="c.csv", output="out", provenance=ProvenanceSettings(c2pa=c2pa))
    with pytest.raises(SigningError, match=r"provenance\.c2pa|must be signed") as caught:
        check_marks(spec)
    assert caught.value.code in ("bad_certificate", "not_signed")


def test_prompt_and_subject_are_published_only_when_asked(chain: Path) -> None:
    for asked in (False, True):
        data = Marker(signing(chain, prompt=asked), "autumn").encode(RGB, ImageFormat(), METADATA)
        assert (b"on sand" in data, b"mug" in data) == (asked, asked)
        assert ("prompt" in read_metadata(data)) == asked


def test_off_leaves_no_mark() -> None:
    data = Marker(ProvenanceSettings(marking="off"), "autumn").encode(RGB, ImageFormat(), METADATA)
    assert read_xmp(data) is None and marks_in(data, "png") == ""


def test_after_a_kill_the_record_is_of_the_object_that_is_there(chain: Path, tmp_path: Path) -> None:
    """Two signatures of one image are never the same bytes: the one that was committed first counts."""
    images, marker = ImageStore(str(tmp_path), ImageFormat()), Marker(signing(chain), "autumn")
    row = row_of(RGB)
    unsigned = Marker(ProvenanceSettings(), "autumn")
    [first], [second] = commit([row], images, {}, marker), commit([row], images, {}, unsigned)
    data = images.read(images.key_of(ITEM))
    assert marker.encode(RGB, ImageFormat(), METADATA) != marker.encode(RGB, ImageFormat(), METADATA)
    assert isinstance(first, Done) and first == second
    assert (first.num_bytes, first.marks) == (len(data), "xmp,c2pa")
    assert c2pa_read.read(data, "png").state == "untrusted"
