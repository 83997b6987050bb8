"""What a scene, or a row of the catalog, sets otherwise than the job, and how it enters an item's id.

    job <- scene <- row: the later one wins --> the settings of one item

Knows settings only; nothing of prompts' placeholders, catalogs or plans.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from dreamcache.core import ids
from dreamcache.core.config import GenerationSettings
from dreamcache.core.config.fields import Name, Samples, Share, Side
from dreamcache.core.config.rules import Settings, require

GENERATION_NAMES = ("negative_prompt", "text_scale", "image_scale", "strength", "height", "width")
"""Settings of `generation` that a scene may have of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides(Settings):
    """Settings of one item that are not the job's; None for those that are."""

    negative_prompt: str | None = None
    text_scale: float | None = None
    image_scale: float | None = None
    strength: Share | None = None
    height: Side | None = None
    width: Side | None = None
    seed: int | None = None

    def over(self, below: Overrides) -> Overrides:
        """These values, and where there is none, those of `below`."""
        values = {} if self is NO_OVERRIDES else self._set_values()
        return replace(below, **values) if values else below

    def generation(self, job: GenerationSettings) -> GenerationSettings:
        """The item's settings: the job's with these in their place."""
        values: dict[str, Any] = {k: v for k, v in self._set_values().items() if k in GENERATION_NAMES}
        return replace(job, **values) if values else job

    def batch_key(self, per_image: frozenset[str]) -> tuple[tuple[str, object], ...]:
        """Equal for items that may share a batch. per_image: settings that may differ within one."""
        free = {*per_image, "seed"}
        return tuple((name, value) for name, value in self._set_values().items() if name not in free)

    def seed_over(self, job: int) -> int:
        """The item's seed, from which its noise derives."""
        return job if self.seed is None else self.seed

    def differing(self, job: GenerationSettings, seed: int) -> Overrides:
        """Without the values that the job has as well: the same settings have the same text and the same id."""
        of_job = {**{name: getattr(job, name) for name in GENERATION_NAMES}, "seed": seed}
        return Overrides(**{name: v for name, v in self._set_values().items() if v != of_job[name]})

    def text(self) -> str | None:
        """As a column of plan and manifest: a JSON object, None where nothing is set."""
        values = self._set_values()
        return ids.canonical_json(values) if values else None

    def _set_values(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value is not None}


NO_OVERRIDES = Overrides()


@lru_cache(maxsize=4096)
def overrides_of(text: str | None) -> Overrides:
    """Reads `Overrides.text`. Raises ValueError for a text that no plan wrote."""
    if text is None:
        return NO_OVERRIDES
    values = json.loads(text)
    require(isinstance(values, Mapping), "overrides", "a JSON object", values)
    unknown = sorted(set(values) - set(Overrides.__dataclass_fields__))
    require(not unknown, "overrides", f"of {', '.join(Overrides.__dataclass_fields__)}", unknown)
    negative = values.get("negative_prompt", "")
    require(isinstance(negative, str), "negative_prompt", "a text", negative)
    return Overrides(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene(Settings):
    """A prompt with settings of its own; what is not set is the job's.

    name: its value in the manifest's column `scene`; no part of an item's id. prompt: a template as in `prompts`.
    samples: images of every subject. seed: of the scene's noise. The other keys are those of `generation`.
    """

    name: Name
    prompt: str
    samples: Samples | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    height: Side | None = None
    width: Side | None = None
    text_scale: float | None = None
    image_scale: float | None = None
    strength: Share | None = None

    def check(self) -> None:
        # Prompts without a name are numbered in the same column.
        require(not self.name.isdigit(), "name", "more than digits", self.name)
        require(bool(self.prompt.strip()), "prompt", "a text", self.prompt)

    @property
    def overrides(self) -> Overrides:
        """What it sets otherwise than the job."""
        return Overrides(**{name: getattr(self, name) for name in Overrides.__dataclass_fields__})
