"""How long a worker's process waits for a storage that does not answer. Knows the job's settings for failures."""

from __future__ import annotations

import math

from dreamcache.core.config.failures import FailurePolicy
from dreamcache.storage.retry_budget import set_retry_budget


def set_storage_retries(policy: FailurePolicy, most_s: float = math.inf) -> None:
    """Of this process. most_s: less than the job allows, where something else would be blamed for the wait."""
    set_retry_budget(min(policy.storage_patience_s, most_s), policy.storage_timeout_s)
