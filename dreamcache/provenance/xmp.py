"""The XMP packet of a generated image: IPTC DigitalSourceType, creator tool, item and job.

IPTC Photo Metadata Standard 2025.1. About 600 bytes. Anyone can write or remove such a packet: it is a statement, no
proof. Knows XML; knows nothing of image formats.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from importlib.metadata import version
from xml.sax.saxutils import quoteattr

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED = SOURCE_TYPES + "trainedAlgorithmicMedia"
AI_SOURCE_TYPES = (
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "algorithmicMedia",
    "algorithmicallyEnhanced",
)
"""Terms of IPTC's list by which a file is marked as the work of a program."""

VERSION = version("dreamcache")
CREATOR_TOOL = f"dreamcache {VERSION}"
MAX_BYTES = 1 << 20
MAX_PACKETS = 16
BEGIN, END = b"<x:xmpmeta", b"</x:xmpmeta>"
MAX_TEXT = 4000
"""Characters of one value: JPEG holds 65,502 bytes of XMP, and one character may take ten (&#x10FFFF;)."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OURS = "https://dreamcache.invalid/ns/1.0/"
_FIELDS = {
    "source_type": (_IPTC, "DigitalSourceType"),
    "creator_tool": (_XMP, "CreatorTool"),
    "item_id": (_OURS, "item"),
    "job": (_OURS, "job"),
    "subject_id": (_OURS, "subject"),
    "prompt": (_IPTC, "AIPromptInformation"),
}
_PREFIXES = {_XMP: "xmp", _IPTC: "Iptc4xmpExt", _OURS: "dreamcache"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """What a packet says of its image; None where it says nothing. source_type: a URI of IPTC's list."""

    source_type: str | None = None
    creator_tool: str | None = None
    item_id: str | None = None
    job: str | None = None
    subject_id: str | None = None
    prompt: str | None = None

    @property
    def is_ai(self) -> bool:
        """Whether it says that a program generated the image, or a part of it."""
        return (self.source_type or "").rstrip("/").rpartition("/")[2] in AI_SOURCE_TYPES


def generated(
    *, item_id: str, job: str, subject_id: str | None = None, prompt: str | None = None
) -> Statement:
    """The statement of an image that this program generated. subject_id, prompt: only where they may be published."""
    return Statement(
        source_type=TRAINED,
        creator_tool=CREATOR_TOOL,
        item_id=item_id,
        job=job,
        subject_id=subject_id,
        prompt=prompt,
    )


def packet(statement: Statement) -> bytes:
    """The XMP packet, UTF-8. Characters that XML does not have become U+FFFD; long values are cut."""
    attributes = []
    for field, (namespace, name) in _FIELDS.items():
        value = getattr(statement, field)
        if value is not None:
            text = _NOT_XML.sub("\ufffd", value[:MAX_TEXT])
            attributes.append(f" {_PREFIXES[namespace]}:{name}={_quoted(text)}")
    names = "".join(f' xmlns:{prefix}="{namespace}"' for namespace, prefix in _PREFIXES.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        f'<rdf:Description rdf:about=""{names}{"".join(attributes)}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def read(data: bytes) -> Statement | None:
    """What a packet of anyone says, as attributes or elements; None for data that are no XMP packet."""
    if len(data) > MAX_BYTES:
        return None
    text = data.decode("utf-8", errors="replace").strip("\0 \t\r\n\ufeff")
    if "<!" in text.replace("<!--", "").replace("<![CDATA[", ""):
        return None  # a document type: XMP has none, and its entities could grow without bound
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError):
        return None
    values: dict[str, str] = {}
    for description in root.iter(f"{{{_RDF}}}Description"):
        for field, (namespace, name) in _FIELDS.items():
            value = _value(description, f"{{{namespace}}}{name}")
            if value:
                values.setdefault(field, value[:MAX_TEXT])
    return Statement(**values)


def find(data: bytes) -> Statement | None:
    """What the packets in a file of any format say: the first that marks a program's work, else the first of all.

    Packets are found by their element, as the XMP standard provides for readers that do not know a format.
    """
    statements: list[Statement] = []
    place = 0
    while len(statements) < MAX_PACKETS and (begin := data.find(BEGIN, place)) >= 0:
        end = data.find(END, begin, begin + MAX_BYTES)
        # Without an end no other beginning within reach has one either.
        place = begin + MAX_BYTES if end < 0 else end + len(END)
        if end >= 0 and (statement := read(data[begin:place])) is not None:
            statements.append(statement)
    return next((one for one in statements if one.is_ai), statements[0] if statements else None)


def _value(description: ET.Element, name: str) -> str | None:
    """Of a property, written as an attribute, a text, a resource, or the first member of an array."""
    if (value := description.get(name)) is not None:
        return value
    element = description.find(name)
    if element is None:
        return None
    resource = element.get(f"{{{_RDF}}}resource")
    texts = (text.strip() for text in element.itertext())
    return resource or next((text for text in texts if text), None)


def _quoted(text: str) -> str:
    return quoteattr(text, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
