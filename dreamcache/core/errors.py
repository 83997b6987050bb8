"""Errors a user can act on: what, where, rule, got, remedy, in one line and with a stable reason code.

Knows nothing of models, storage or Ray. Every layer raises these; the job records `code` and the text. Every text
passes `one_line`, so a value from a catalog or file can neither steer a terminal nor fill a log.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from dreamcache.core.texts import one_line

CODE_NOTE = "code: "
"""Begins the line after an error of ours in a traceback."""


class DreamCacheError(Exception):
    """Base of all errors that a user can fix. `code` is stable and may be matched by scripts."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(one_line(message))
        if code is not None:
            self.code = code
        # A traceback ends with it, which is often all that arrives of an error in another process.
        self.add_note(f"{CODE_NOTE}{self.code}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), str(self), self.code)


def _rebuild(kind: type[DreamCacheError], message: str, code: str) -> DreamCacheError:
    return kind(message, code=code)


class SpecError(DreamCacheError):
    """The job file or a command's arguments break a rule. Nothing has been run."""

    code = "bad_spec"


class CatalogError(DreamCacheError):
    """A catalog as a whole cannot be read. A single bad row is a failed subject instead."""

    code = "bad_catalog"


class ImageError(DreamCacheError):
    """One photo or mask cannot be used; only its subject is lost."""

    code = "bad_image"


class StorageError(DreamCacheError):
    """A location cannot be read or written as it is: credentials, bucket, permission."""

    code = "storage"


class CacheError(DreamCacheError):
    """A cached feature file is damaged or of another origin. The caller encodes again and never uses it."""

    code = "bad_cache"


class ModelError(DreamCacheError):
    """Base model, adapter and settings do not fit together."""

    code = "bad_model"


class SigningError(DreamCacheError):
    """Images cannot be signed, or a signature cannot be read, with the certificates and packages that are here."""

    code = "not_signed"


NO_ITEMS_FAULT = (StorageError, ModelError)
"""Errors that every item would meet: they end a run, which the same command resumes once they are fixed."""


MAX_WORD = 100


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'x'?)" for the closest known word, or an empty string."""
    if len(word) > MAX_WORD:
        return ""  # the comparison takes time that grows with the square of the length
    close = get_close_matches(word, [name for name in known if len(name) <= MAX_WORD], n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
