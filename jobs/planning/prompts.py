"""Prompt templates: `a photo of a {color} {class_name} on a beach`, filled from a subject's columns.

Only plain {names}: a template comes from a file others may write, so it reaches no attribute of any object.
"""

from __future__ import annotations

from functools import lru_cache
from string import Formatter

from dreamcache.core.errors import DreamCacheError, did_you_mean
from dreamcache.core.records import Subject


class TemplateError(DreamCacheError):
    """A template that cannot be filled for this subject."""

    code = "bad_prompt"


def fill(template: str, subject: Subject) -> str:
    """The prompt for this subject. Raises TemplateError: unknown placeholder, empty value, broken braces."""
    values = {"class_name": subject.class_name, "subject_id": subject.subject_id, **subject.attributes}
    try:
        parts = _parse(template)
    except ValueError as error:
        where = _where(template, subject)
        raise TemplateError(f"{where}: {error}; write {{{{ and }}}} for plain braces") from error
    prompt = ""
    for text, name, spec, conversion in parts:
        prompt += text
        if name is None:
            continue
        if name not in values:
            raise TemplateError(
                f"{_where(template, subject)}: unknown placeholder {{{name}}}{did_you_mean(name, values)}; "
                f"known are {', '.join(values)}",
                code="unknown_placeholder",
            )
        if spec or conversion:
            where = _where(template, subject)
            raise TemplateError(f"{where}: placeholder {{{name}}} must be a plain name, without '!' or ':'")
        if not values[name]:
            raise TemplateError(
                f"{_where(template, subject)}: {{{name}}} has no value for this subject; fill the column",
                code="empty_placeholder",
            )
        prompt += values[name]
    if not prompt.strip():
        raise TemplateError(f"{_where(template, subject)}: must not be empty")
    return " ".join(prompt.split())


@lru_cache(maxsize=1024)
def _parse(template: str) -> list[tuple[str, str | None, str | None, str | None]]:
    return list(Formatter().parse(template))


def _where(template: str, subject: Subject) -> str:
    return f"subject '{subject.subject_id}': prompt '{template[:80]}'"
