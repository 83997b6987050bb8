"""What a sales channel wants of images and feed, as data: YAML files in `presets/`, or a file of the user's own.

Every rule names its source, with title, address and the day on which it was read. Knows the form of such a file; knows
nothing of images and measures nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from dreamcache.core.config import ImageFormat
from dreamcache.core.config.fields import AtLeastOne, Name
from dreamcache.core.config.rules import Most, Settings, require
from dreamcache.core.errors import SpecError, did_you_mean
from jobs.channels.patterns import compiled
from jobs.spec_file import SpecFile

FOLDER = Path(__file__).parent / "presets"
PRESETS: tuple[str, ...] = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
MAX_IMAGES = 100

Measure = Literal[
    "longest_side", "shortest_side", "megapixels", "aspect", "num_bytes", "frames", "format", "extension",
    "colour_space", "white_ring", "off_white", "fill", "ai_mark", "name_length", "name_characters",
]  # fmt: skip
TEXT_MEASURES = ("format", "extension", "colour_space", "ai_mark", "name_characters")
"""The others are numbers."""
REPORTS = ("report.csv", "report.json")
"""Written beside the feed."""
RSS_PREFIX = "g:"
"""Of Google's namespace, the only one that the file declares."""
XML_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
Level = Literal["required", "recommended"]
FeedFormat = Literal["csv", "tsv", "rss"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleSource(Settings):
    """Where a rule is published. title, url: of the page. read: the day on which it was read, '2026-11-27'; empty where
    it could not be read.

    note: what the page leaves open, and how the rule here settles it.
    """

    title: str
    url: str
    read: str
    note: str = ""

    def check(self) -> None:
        try:
            if self.read:
                date.fromisoformat(self.read)
        except ValueError:
            require(False, "read", "a day in quotes, such as '2026-11-27'", self.read)
        require(self.url.startswith("https://"), "url", "an https:// address", self.url)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelRule(Settings):
    """One rule: a measure, and the values that it may have.

    name: as the report calls it. measure: see docs/channels.md. min, max: of a number. one_of: of a text. level: a
    `required` rule refuses the image, a `recommended` one is reported. source: a key of `sources`.
    """

    name: Name
    measure: Measure
    min: float | None = None
    max: float | None = None
    one_of: tuple[str, ...] = ()
    level: Level = "required"
    source: str

    def check(self) -> None:
        bounds = self.min is not None or self.max is not None
        require(bounds != bool(self.one_of), "min, max, one_of", "either bounds or texts", self.name)
        is_text = self.measure in TEXT_MEASURES
        require(is_text == bool(self.one_of), "one_of", f"of {', '.join(TEXT_MEASURES)} alone", self.measure)
        if self.min is not None and self.max is not None:
            require(self.min <= self.max, "min", f"at most max, {self.max:g}", self.min)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame(Settings):
    """How images are prepared. side: the longest side aimed at, in pixels; pixels are only added with --upscale.

    background: `white` cleans a light plain background to pure white and centres the subject in a square; `keep`
    leaves scenes as they are. fill: longest side of the subject's box / side of the frame, on white only.
    """

    side: Annotated[int, Ge(1), Most(16_384)] = 2000
    background: Literal["white", "keep"] = "keep"
    fill: Annotated[float, Interval(ge=0.1, le=1)] = 0.9
    images: ImageFormat = ImageFormat(format="jpeg")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column(Settings):
    """A column of the feed. value: templates, of which the first one with a text counts; {url} is the image's address,
    {url_2} that of the subject's second image, {more_urls} those of all but the first, {position} counts from 1, and
    any column of the manifest may be named.

    required: without a text, the image is refused; a column that is not required and whose templates name no column
    of the manifest is left out. max_length: in characters. pattern: a regular expression of the whole text. one_of:
    the only texts. form: `handle` writes lower-case letters, digits and dashes. unique: no two subjects may share it.
    first_row_only: empty in the further rows of a subject.
    """

    name: str
    value: tuple[str, ...]
    required: bool = False
    max_length: AtLeastOne | None = None
    pattern: str | None = None
    one_of: tuple[str, ...] = ()
    form: Literal["text", "handle"] = "text"
    unique: bool = False
    first_row_only: bool = False

    def check(self) -> None:
        try:
            compiled(self.pattern or "")
        except ValueError as error:
            require(False, "pattern", str(error), self.pattern)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedSpec(Settings):
    """file: its name in the target. row_per: a row for each subject, or for each image. source: a key of `sources`."""

    file: Name
    format: FeedFormat
    row_per: Literal["subject", "image"]
    columns: tuple[Column, ...]
    source: str

    def check(self) -> None:
        require(self.file not in REPORTS, "file", f"none of {', '.join(REPORTS)}", self.file)
        names = [self.name_of(column) for column in self.columns]
        require(len(set(names)) == len(names), "columns", "of different names", names)
        wrong = [name for name in names if self.format == "rss" and not XML_NAME.fullmatch(name)]
        rule = "for rss names of XML elements, as image_link or g:image_link, without another prefix"
        require(not wrong, "columns", rule, wrong)

    def name_of(self, column: Column) -> str:
        """In the file. All elements of RSS items are of the namespace g, whether their names state it or not."""
        return column.name.removeprefix(RSS_PREFIX) if self.format == "rss" else column.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset(Settings):
    """A channel. layout: names of files, {position} counts a subject's images. max_images: of one subject; the first
    ones that pass, in the manifest's order. sources: pages that the rules come from, by a short name.
    """

    channel: Name
    title: str
    layout: str = "{subject_id}-{position}.{ext}"
    max_images: AtLeastOne = MAX_IMAGES
    frame: Frame = Frame()
    rules: tuple[ChannelRule, ...]
    feed: FeedSpec | None = None
    sources: Mapping[str, RuleSource] = field(default_factory=dict)

    def check(self) -> None:
        names = [rule.name for rule in self.rules]
        require(len(set(names)) == len(names), "rules", "of different names", names)
        used = [rule.source for rule in self.rules] + ([self.feed.source] if self.feed else [])
        unknown = sorted(set(used) - set(self.sources))
        require(not unknown, "source", f"one of {', '.join(self.sources) or 'the sources'}", unknown)
        require(self.max_images <= MAX_IMAGES, "max_images", f"at most {MAX_IMAGES}", self.max_images)

    def most(self, measure: Measure) -> float | None:
        """The least upper bound of the required rules on a measure."""
        bounds = [rule.max for rule in self.rules if rule.measure == measure and rule.level == "required"]
        return min((bound for bound in bounds if bound is not None), default=None)


_FILE = SpecFile(Preset, "preset", remedy=f"a preset is one of {', '.join(PRESETS)}, or a YAML file")


def load_preset(name: str) -> Preset:
    """A preset of the package by its name, or the one in a YAML file. Raises SpecError."""
    if name in PRESETS:
        return _FILE.load(FOLDER / f"{name}.yaml")
    if not name.endswith((".yaml", ".yml")):
        raise SpecError(
            f"--preset {name}: must be one of {', '.join(PRESETS)}, or a YAML file{did_you_mean(name, PRESETS)}"
        )
    return _FILE.load(name)
