"""What a file says of its origin: each layer by itself, then one verdict.

    bytes -> XMP statement, C2PA finding -> pixels -> invisible mark, nearest image of given ledgers -> Detection

"no mark found" never means that an image is a photo: every mark can be removed. Files are anyone's: what is wrong with
one is a value. Knows the layers; knows nothing of folders or the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import DreamCacheError
from dreamcache.core.images import decode_image, on_white
from dreamcache.core.images.formats import sniff
from dreamcache.provenance import c2pa_read, xmp
from dreamcache.provenance.c2pa_read import C2paFinding
from dreamcache.provenance.invisible import InvisibleMark, MarkFinding
from dreamcache.provenance.ledger_index import LedgerIndex, LedgerMatch
from dreamcache.provenance.xmp import Statement
from dreamcache.storage.json_object import JsonObject

Verdict = Literal["made by this operator", "marked as AI by others", "no mark found", "not readable"]
LIMITS = ImageLimits(min_side=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """Who is believed. anchors: PEM of authorities. operators: PEM chains of this operator, earlier ones too."""

    anchors: str = ""
    operators: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """The layers of one file.

    invisible: of the operator's mark that agrees most, None without one. nearest: None without ledgers. problem: why
    the pixels could not be read.
    """

    name: str
    xmp: Statement | None = None
    c2pa: C2paFinding = C2paFinding(state="absent")
    invisible: MarkFinding | None = None
    nearest: LedgerMatch | None = None
    problem: str | None = None

    @property
    def is_by_operator(self) -> bool:
        """Shown by a signature or by the pixels; what an XMP packet says anyone can write."""
        return (
            self.c2pa.by_operator
            or (self.invisible is not None and self.invisible.is_operators)
            or (self.nearest is not None and self.nearest.is_same)
        )

    @property
    def is_marked(self) -> bool:
        """Whether the file says that a program generated it. A broken signature still says so."""
        return (self.xmp is not None and self.xmp.is_ai) or self.c2pa.says_ai

    @property
    def verdict(self) -> Verdict:
        """One of four; never that an image is not generated."""
        if self.is_by_operator:
            return "made by this operator"
        if self.is_marked:
            return "marked as AI by others"
        return "not readable" if self.problem else "no mark found"

    def as_dict(self) -> JsonObject:
        return {**asdict(self), "verdict": self.verdict}


def detect(
    name: str,
    data: bytes,
    *,
    trust: Trust = Trust(),
    index: LedgerIndex | None = None,
    marks: Sequence[InvisibleMark] = (),
) -> Detection:
    """The detection of one file. marks: of this operator.

    Raises SigningError for an operator's certificate that is none, ModelError for networks of a mark.
    """
    kind = sniff(data)
    result = Detection(
        name=name,
        xmp=xmp.find(data),
        c2pa=c2pa_read.read(data, kind, anchors=trust.anchors, operators=trust.operators),
    )
    try:
        rgb = np.asarray(on_white(decode_image(data, where=name, limits=LIMITS)))
    except DreamCacheError as error:
        return replace(result, problem=str(error))
    findings = [mark.find(rgb) for mark in marks]
    return replace(
        result,
        invisible=max(findings, key=lambda one: one.agreeing) if findings else None,
        nearest=index.nearest(rgb) if index is not None else None,
    )


def exit_code(detections: Sequence[Detection]) -> int:
    """0 all by this operator; else 3 one not readable, 7 one tampered, 6 one without mark, 5 one of others."""
    verdicts = {one.verdict for one in detections}
    if "not readable" in verdicts:
        return 3
    if any(one.c2pa.state == "tampered" for one in detections):
        return 7
    if "no mark found" in verdicts:
        return 6
    return 5 if "marked as AI by others" in verdicts else 0
