"""The XMP packet: what IPTC's readers look for, and packets of anyone."""

from __future__ import annotations

import numpy as np
import pytest

from dreamcache.core.config import ImageFormat
from dreamcache.provenance import xmp
from dreamcache.storage.image_store import decode_image, encode_image, pixel_sha256, read_xmp

RGB = np.random.default_rng(3).integers(0, 255, (40, 56, 3), np.uint8)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_a_packet_is_read_back_from_every_format(name: str) -> None:
    said = xmp.generated(
        item_id="ab" * 32, job="autumn", subject_id='a"<&>\n', prompt="on\x00 sand \U0001f3d6"
    )
    file_format = ImageFormat(format=name)
    plain, marked = (encode_image(RGB, file_format, {}, packet) for packet in (None, xmp.packet(said)))
    packet = read_xmp(marked)
    assert packet is not None and read_xmp(plain) is None
    assert len(marked) - len(plain) < 1200
    expected = {"subject_id": 'a"<&>\n', "prompt": "on\ufffd sand \U0001f3d6"}
    statement = xmp.read(packet)
    assert statement is not None and statement.is_ai
    assert {name: getattr(statement, name) for name in expected} == expected
    assert (statement.item_id, statement.job) == ("ab" * 32, "autumn")
    assert pixel_sha256(decode_image(marked)) == pixel_sha256(decode_image(plain))


def test_prompt_and_subject_are_absent_unless_given() -> None:
    packet = xmp.packet(xmp.generated(item_id="a", job="j"))
    assert b"AIPromptInformation" not in packet and b"subject" not in packet
    assert b"trainedAlgorithmicMedia" in packet


def test_the_longest_texts_fit_into_a_jpeg() -> None:
    said = xmp.generated(item_id="a", job="j" * 100, subject_id="&" * 100_000, prompt='"' * 100_000)
    packet = xmp.packet(said)
    assert read_xmp(encode_image(RGB, ImageFormat(format="jpeg"), {}, packet)) == packet


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
ELEMENTS = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description><a:DigitalSourceType xmlns:a="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia</a:DigitalSourceType>"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("text", ["", "<", BOMB, "<a>" * 100_000, "\ud800", "x" * (2 << 20)])
def test_what_is_no_packet_says_nothing(text: str) -> None:
    assert xmp.read(text.encode(errors="surrogatepass")) is None


def test_packets_of_other_programs_are_read() -> None:
    statement = xmp.read(ELEMENTS.encode())
    assert statement is not None and statement.is_ai and statement.item_id is None
    camera = xmp.read(ELEMENTS.replace("compositeWithTrainedAlgorithmicMedia", "digitalCapture").encode())
    assert camera is not None and not camera.is_ai
