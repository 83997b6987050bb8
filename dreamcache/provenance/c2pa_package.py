"""The package `c2pa`, loaded when it is needed, and how it is set up: no network, no thumbnails.

Knows the package's settings; knows nothing of our images.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType

from dreamcache.core.errors import SigningError

MIME_TYPES = {name: f"image/{name}" for name in ("png", "jpeg", "webp", "tiff", "avif", "gif", "heic")}
"""Formats that it reads and `detect` takes; BMP holds no manifest."""
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    # A manifest that lies elsewhere, and a certificate's state now, would be requested from addresses in the file.
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


def is_installed() -> bool:
    """Whether C2PA manifests can be written and read here."""
    try:
        load()
    except SigningError:
        return False
    return True


@lru_cache(maxsize=1)
def load() -> ModuleType:
    """The package. Raises SigningError `no_c2pa` when it is not installed."""
    try:
        import c2pa
    except (ImportError, OSError) as error:  # OSError: its library is of another platform
        raise SigningError(
            f"C2PA: needs the package c2pa-python, which cannot be imported here ({error}); "
            "pip install 'dreamcache[c2pa]'",
            code="no_c2pa",
        ) from error
    package: ModuleType = c2pa
    return package


@lru_cache(maxsize=8)
def context(anchors: str = "") -> object:
    """The package's settings. anchors: PEM certificates whose signatures count as trusted."""
    c2pa = load()
    trust = {"trust": {"user_anchors": anchors}} if anchors else {}
    return c2pa.Context(c2pa.Settings.from_dict({**_SETTINGS, **trust}))
