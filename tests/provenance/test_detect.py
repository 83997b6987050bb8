"""Detection: marks are found layer by layer, pixels find what was stripped, and nothing is ever called a photo."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps, features

from dreamcache.core.config.provenance import ProvenanceSettings
from dreamcache.provenance import c2pa_package, xmp
from dreamcache.provenance.detect import Trust, detect, exit_code
from dreamcache.provenance.hashes import Pixels
from dreamcache.provenance.ledger_index import SURE_DISTANCE, open_index
from jobs.detect import detect_all, open_sources
from tests.command import in_process
from tests.provenance.chain import signed_by_others, signing, write_chain
from tests.provenance.published import picture, publish_pictures

PICTURES = 6


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job") / "output"
    publish_pictures(folder, [picture(seed, 256) for seed in range(PICTURES)], ProvenanceSettings())
    return folder


def first_image(job: Path) -> Path:
    return sorted(job.glob("images/*/*.png"))[0]


def as_jpeg(image: Image.Image) -> bytes:
    """Another program's copy: nothing but pixels."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue()


def test_a_file_of_the_job_is_the_operators(job: Path) -> None:
    data = first_image(job).read_bytes()
    alone = detect("a.png", data)
    assert alone.verdict == "marked as AI by others"  # anyone can write XMP
    known = detect("a.png", data, index=open_index([str(job)]))
    assert known.verdict == "made by this operator"
    assert known.nearest is not None and (known.nearest.distance, known.nearest.decided_by) == (0, "hash")
    assert known.xmp is not None and known.xmp.item_id == known.nearest.item_id


def test_a_stripped_cropped_small_copy_is_found_by_its_pixels(job: Path) -> None:
    image = Image.open(first_image(job)).convert("RGB").crop((60, 10, 250, 200)).resize((140, 140))
    detection = detect("copy.jpg", as_jpeg(image), index=open_index([str(job)]))
    assert detection.xmp is None and detection.c2pa.state == "absent"
    assert detection.verdict == "made by this operator"
    assert detection.nearest is not None and detection.nearest.item_id == first_image(job).stem


@pytest.mark.parametrize(
    "change",
    [
        ImageOps.mirror,
        ImageOps.flip,
        lambda image: image.transpose(Image.Transpose.ROTATE_90),
        lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        lambda image: ImageOps.mirror(image).crop((0, 20, 192, 236)),
    ],
    ids=["mirrored", "upside down", "quarter turn", "mirrored quarter turn", "mirrored and cropped"],
)
def test_a_turned_or_mirrored_copy_is_found(job: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    out = io.BytesIO()
    change(Image.fromarray(picture(3, 256))).save(out, "PNG")
    found = detect("copy.png", out.getvalue(), index=open_index([str(job)]))
    assert found.verdict == "made by this operator"
    assert found.nearest is not None and int(found.nearest.item_id, 16) == 4


def packshot(colour: tuple[int, int, int], text: str) -> Pixels:
    """A box on white: all such share their outline, and so their hash."""
    image = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((70, 40, 190, 220), fill=colour)
    draw.rectangle((90, 90, 170, 140), fill="white")
    draw.text((100, 108), text, fill="black")
    return np.asarray(image)


def test_another_makers_product_of_the_same_outline_is_not_ours(tmp_path: Path) -> None:
    ours = [packshot((160, 40, 40), "ALMA"), packshot((40, 90, 60), "BIRK")]
    publish_pictures(tmp_path, ours, ProvenanceSettings())
    index = open_index([str(tmp_path)])
    other = index.nearest(packshot((60, 60, 170), "KORN"))
    assert other is not None and other.distance <= SURE_DISTANCE  # the hash alone would say that it is ours
    assert other.decided_by == "none"
    for number, pack in enumerate(ours, 1):
        for copy in (pack, pack[:, ::-1], np.rot90(pack)):
            own = index.nearest(np.ascontiguousarray(copy))
            assert own is not None and own.decided_by == "hash" and int(own.item_id, 16) == number


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_plain_picture_is_nobodys(value: int, tmp_path: Path) -> None:
    """Every plain picture has the same hash."""
    publish_pictures(
        tmp_path, [np.zeros((64, 64, 3), np.uint8), packshot((9, 9, 9), "A")], ProvenanceSettings()
    )
    found = open_index([str(tmp_path)]).nearest(np.full((80, 80, 3), value, np.uint8))
    assert found is not None and found.decided_by == "none"


def test_another_picture_has_a_distance_and_no_mark(job: Path) -> None:
    other = as_jpeg(Image.fromarray(picture(PICTURES + 11, 256)))
    detection = detect("photo.jpg", other, index=open_index([str(job)]))
    assert detection.verdict == "no mark found"
    assert detection.nearest is not None and detection.nearest.decided_by == "none"


def test_a_stored_image_that_is_gone_or_misnamed_is_passed_over(job: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(job, tmp_path / "copy"))
    image = Image.open(first_image(job)).convert("RGB").crop((60, 10, 250, 200))
    shutil.rmtree(copy / "images")
    assert detect("a.jpg", as_jpeg(image), index=open_index([str(copy)])).verdict == "no mark found"


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"\x89PNG\r\n\x1a\n" + b"\xff" * 50, b"\xff\xd8\xff\xeb\0\1JP"]
)
def test_files_that_are_no_images_are_values(data: bytes) -> None:
    detection = detect("x", data)
    assert (detection.verdict, exit_code([detection])) == ("not readable", 3)
    assert detection.problem


def test_signed_tampered_and_stripped_are_distinguished(tmp_path: Path) -> None:
    pytest.importorskip("c2pa", reason="c2pa-python is not installed")
    write_chain(tmp_path / "chain")
    chain = (tmp_path / "chain" / "chain.pem").read_text()
    [path] = publish_pictures(tmp_path / "job", [picture(1)], signing(tmp_path / "chain"))
    data, trust = path.read_bytes(), Trust(operators=(chain,))
    signed = detect("a", data, trust=trust)
    assert (signed.verdict, signed.c2pa.state) == ("made by this operator", "untrusted")
    broken = bytearray(data)
    broken[data.index(b"IDAT") - 12] ^= 1  # within the XMP packet
    tampered = detect("a", bytes(broken), trust=trust)
    assert (tampered.c2pa.state, tampered.verdict, exit_code([tampered])) == (
        "tampered",
        "marked as AI by others",
        7,
    )
    stripped = detect("a", as_jpeg(Image.open(path)), trust=trust)
    assert (stripped.c2pa.state, stripped.verdict, exit_code([stripped])) == ("absent", "no mark found", 6)
    sources = open_sources([str(tmp_path / "job")])
    [by_pixels] = detect_all(str(path), sources)
    assert by_pixels.is_by_operator and sources.trust.operators == (chain,)


@pytest.mark.parametrize("file_format", ["TIFF", "AVIF", "GIF"])
def test_manifests_of_others_are_read_in_every_format(file_format: str) -> None:
    pytest.importorskip("c2pa", reason="c2pa-python is not installed")
    if file_format == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow writes no AVIF here")
    image, plain = Image.fromarray(picture(2, 64)), io.BytesIO()
    image.save(plain, file_format)
    assert detect("plain", plain.getvalue()).c2pa.state == "absent"
    data = signed_by_others(image, file_format)
    found = detect("signed", data)
    assert (found.verdict, found.c2pa.state, found.xmp) == ("marked as AI by others", "untrusted", None)
    broken = bytearray(data)
    at = data.index(b"jumdc2pa")
    broken[at : at + 4] = b"xxxx"
    assert detect("broken", bytes(broken)).c2pa.state == "tampered"
    assert detect("cut", plain.getvalue()[:40]).c2pa.state == "unreadable", "it may have held one"


def test_a_manifest_elsewhere_is_not_fetched_and_without_the_package_nothing_is_excluded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("c2pa", reason="c2pa-python is not installed")
    packet = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
        xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
        xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="https://x.example/a.c2pa"/></rdf:RDF></x:xmpmeta>"""
    out, bmp = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, "TIFF", tiffinfo={700: packet})
    Image.new("RGB", (9, 9)).save(bmp, "BMP")
    assert detect("a.tiff", out.getvalue()).c2pa.state == "absent"
    monkeypatch.setattr(c2pa_package, "is_installed", lambda: False)
    found = detect("a.tiff", out.getvalue())
    assert found.c2pa.state == "unreadable" and found.c2pa.problems == (
        "package c2pa-python is not installed",
    )
    assert detect("a.bmp", bmp.getvalue()).c2pa.state == "absent"


def test_a_packet_alone_marks_any_format() -> None:
    out = io.BytesIO()
    packet = xmp.packet(xmp.Statement(source_type=xmp.SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"))
    Image.new("RGB", (9, 9)).save(out, "TIFF", tiffinfo={700: packet})
    assert detect("a.tiff", out.getvalue()).verdict == "marked as AI by others"


def test_the_command_names_each_file_and_ends_with_the_worst(job: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "ours.jpg").write_bytes(as_jpeg(Image.open(first_image(job)).convert("RGB")))
    (photos / "\x1b[31mother.jpg").write_bytes(as_jpeg(Image.fromarray(picture(40, 256))))
    (photos / "list.txt").write_text("no image")
    ended = in_process("detect", str(photos), "--job", str(job))
    assert ended.returncode == 6, ended
    assert "ours.jpg: made by this operator" in ended.stdout and "\x1b" not in ended.stdout
    ended = in_process("detect", str(photos / "ours.jpg"), "--job", str(job), "--json")
    assert ended.returncode == 0
    [values] = json.loads(ended.stdout)
    assert (values["verdict"], values["c2pa"]["state"]) == ("made by this operator", "absent")
    empty = in_process("detect", str(tmp_path / "none"), "--job", str(job))
    assert empty.returncode == 1 and "must be an image" in empty.stderr
