"""What an export for a channel is asked for, and how it ended. Knows values; opens nothing but a segmenter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from PIL import Image

from dreamcache.core.config.provenance import C2paSettings
from dreamcache.core.errors import SpecError
from dreamcache.core.web_url import parse_web
from dreamcache.storage.json_object import JsonObject
from jobs.channels.facts import Mask

CutOut = Callable[[Image.Image, str], Mask | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelExport:
    """How an export for a channel ended. feed_rows: None where no feed was written. first: refusals, for people."""

    target: str
    channel: str
    accepted: int
    refused: int
    surplus: int
    lost: int
    feed: str | None
    feed_rows: int | None
    breaches: dict[str, int] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    num_bytes: int = 0
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was refused or lost."""
        return not (self.refused or self.lost)

    def as_dict(self) -> JsonObject:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelOptions:
    """base_url: where the target's files will be published; None writes no feed. cut_out: finds the subject of a
    scene. c2pa: to sign again. dry_run: nothing but the report is written."""

    base_url: str | None = None
    upscale: bool = False
    cut_out: CutOut | None = None
    c2pa: C2paSettings | None = None
    unsigned: bool = False
    dry_run: bool = False
    quiet: bool = False


def published(base_url: str | None) -> str | None:
    """The address with what it may not hold escaped. Raises SpecError."""
    if base_url is None:
        return None
    try:
        return str(parse_web(base_url))
    except ValueError as error:
        raise SpecError(
            f"--base-url {base_url}: {error}; name the address of the published folder"
        ) from error


def segmenter(name: str) -> CutOut:
    """Finds the subject of a picture by the segmenter of that name; None where it finds none."""
    from dreamcache.segment.factory import create_segmenter

    segment = create_segmenter(name)

    return lambda image, class_name: segment(image, class_name).mask
