"""The methods that a job may choose, registered by the families of models; `core` itself knows none of them.

dreamcache.inference.families (at import) --register_method--> names --> the type `Method` of `JobSpec.method`
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from dreamcache.core.config.rules import Rule

_METHODS: dict[str, None] = {}


def register_method(name: str) -> None:
    """Makes a method known to job files. Must happen before the first job file is read."""
    _METHODS[name] = None


def methods() -> tuple[str, ...]:
    """The registered names, in alphabetical order."""
    return tuple(sorted(_METHODS))


class RegisteredMethod:
    """Marks a setting that must be a registered method; without any registration every name passes."""

    @property
    def rule(self) -> Rule:
        """For values that are constructed in Python; see `rules`."""
        text = f"one of {', '.join(methods())}" if _METHODS else "a registered method"
        return Rule(text=text, holds=lambda name: not _METHODS or name in _METHODS)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(methods())) if _METHODS else handler(source)


Method = Annotated[str, RegisteredMethod()]
