"""The seal of a shared cache: who wrote these features. A checksum shows damage; it proves no origin.

A secret in DREAMCACHE_CACHE_KEY_SECRET seals what this process writes (HMAC-SHA256), and what it reads must carry the
seal. Knows stored features; knows no files and nothing of what a job asks for.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

from dreamcache.core import ids
from dreamcache.core.errors import CacheError, StorageError
from dreamcache.storage.stored_features import StoredFeatures

SECRET_VARIABLE = "DREAMCACHE_CACHE_KEY_SECRET"
LEAST_SECRET = 16
UNSEALED = "unsealed_cache"
"""Code of features that are sound and do not carry this process's seal."""


def secret() -> bytes | None:
    """The secret of this process, None where there is none. Raises StorageError for one that is easily guessed."""
    value = os.environ.get(SECRET_VARIABLE, "")
    if value and len(value) < LEAST_SECRET:
        raise StorageError(
            f"{SECRET_VARIABLE}: must have at least {LEAST_SECRET} characters, got {len(value)}; take a random one",
            code="bad_secret",
        )
    return value.encode() or None


def signature(features: StoredFeatures, key: bytes) -> str:
    """The seal: HMAC-SHA256 over all that the features say and hold, in hex."""
    content: dict[str, Any] = {
        "cache_key": features.cache_key,
        "reference_id": features.reference_id,
        "base": features.base_fingerprint,
        "settings": features.settings,
        "note": features.segment_note,
        "maps": [
            [place, raw.dtype, list(raw.shape), ids.of_bytes(raw.data)]
            for place, raw in features.maps.items()
        ],
    }
    return hmac.new(key, ids.canonical_json(content).encode(), hashlib.sha256).hexdigest()


def check_signature(features: StoredFeatures, stated: str | None, where: str) -> None:
    """Raises CacheError `unsealed_cache` where this process has a secret and the features do not carry its seal."""
    key = secret()
    if key is None or hmac.compare_digest(signature(features, key), stated or ""):
        return
    got = "none" if not stated else "that of another secret, or of other features"
    raise CacheError(
        f"{where}: must carry the seal of {SECRET_VARIABLE}, got {got}; the reference must be encoded again",
        code=UNSEALED,
    )
