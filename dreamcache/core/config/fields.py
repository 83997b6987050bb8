"""The types that many settings share: numbers with bounds, sizes in pixels, names. `rules` checks them."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Interval, Lt, MultipleOf
from pydantic import StringConstraints

from dreamcache.core.config.rules import Most, RuleText

AtLeastOne = Annotated[int, Ge(1)]
ZeroOrMore = Annotated[int, Ge(0)]
Samples = Annotated[int, Ge(1), Most(10_000)]
"""Images of one subject and prompt: each is a row of the plan."""

Seed = Annotated[int, Ge(0), Most(2**63 - 1)]
"""Of random numbers, for numpy and torch alike."""

BatchSize = Annotated[int, Ge(1), Most(10_000)]
MAX_PHOTOS = 4
"""Of one subject, unless a job says otherwise."""

PhotoCount = Annotated[int, Ge(1), Most(64)]
WorkerCount = Annotated[int, Ge(1), Most(100_000)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
"""From 0 to 1, both included: a probability, a strength."""

PositiveShare = Annotated[float, Interval(gt=0, le=1)]
ShareBelowOne = Annotated[float, Ge(0), Lt(1)]
Score = Annotated[float, Interval(ge=-1, le=1)]
"""A cosine."""

Side = Annotated[int, Ge(0), MultipleOf(8), Most(16_384), RuleText("0 or a multiple of 8 pixels")]
GroundVectors = Annotated[int, Interval(ge=0, le=255)]
Timestep = Annotated[int, Interval(ge=0, le=999)]
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"),
    RuleText("1-100 letters, digits, '.', '_' or '-'"),
]
ShortName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$"),
    RuleText("1-60 letters, digits, '.', '_' or '-'"),
]
