"""boto3 clients from the usual AWS settings: one per process and set of settings, created when first used.

    AWS_ENDPOINT_URL_S3 / AWS_ENDPOINT_URL / profile -> endpoint (then path-style, unless the profile says)
    AWS_REGION / AWS_DEFAULT_REGION / profile        -> region
    AWS_ACCESS_KEY_ID.. / AWS_PROFILE / role         -> credentials, refreshed by botocore
    AWS_RETRY_MODE, AWS_MAX_ATTEMPTS                 -> retries, else RETRY_MODE and MAX_ATTEMPTS

Above botocore's retries is this process's `retry_budget`.

Clients are thread-safe but must not cross a fork, so a child creates its own. Credentials stay in the process.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

from dreamcache.core.errors import StorageError
from dreamcache.storage.retry_budget import retry_budget

# "adaptive" would learn a rate near zero from a store that refuses one request in five.
RETRY_MODE = "standard"
MAX_ATTEMPTS = 3
CONNECT_SECONDS = 10
CONNECTIONS = 32
DEFAULT_REGION = "us-east-1"

_Key = tuple[int, float, tuple[tuple[str, str], ...]]
_clients: dict[_Key, Any] = {}
_lock = threading.Lock()


def client() -> Any:
    """The S3 client of this process for the AWS settings as they are now. botocore errors pass through."""
    key = (
        os.getpid(),
        retry_budget()[1],
        tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))),
    )
    known = _clients.get(key)
    if known is None:
        with _lock:
            known = _clients.get(key)
            if known is None:
                known = _clients[key] = _new_client()
    return known


def custom_endpoint() -> str | None:
    """The endpoint in force when it is not Amazon's own."""
    endpoint = str(client().meta.endpoint_url)
    return endpoint if _is_custom(endpoint) else None


def region() -> str:
    """The region in force."""
    return str(client().meta.region_name)


def config_options() -> dict[str, Any]:
    """Settings for `botocore.config.Config`, shared with s3fs so that both behave alike."""
    return {
        # Several S3-compatible servers refuse the checksums that newer clients add on their own.
        "request_checksum_calculation": os.environ.get("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"),
        "response_checksum_validation": os.environ.get("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required"),
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": retry_budget()[1],
        "max_pool_connections": CONNECTIONS,
    }


def _new_client() -> Any:
    core = botocore.session.Session()
    session = boto3.session.Session(botocore_session=core)
    options = config_options()
    options["retries"] = {
        "mode": RETRY_MODE if _is_default(core, "retry_mode") else core.get_config_variable("retry_mode"),
        "total_max_attempts": int(core.get_config_variable("max_attempts") or MAX_ATTEMPTS),
    }
    chosen = os.environ.get("AWS_REGION") or core.get_config_variable("region") or DEFAULT_REGION
    try:
        new = session.client("s3", region_name=chosen, config=Config(**options))
    except ValueError as error:
        raise StorageError(
            f"AWS settings: a valid endpoint is needed, got '{error}'; correct AWS_ENDPOINT_URL"
        ) from error
    wanted_style = core.get_scoped_config().get("s3")
    style_is_set = isinstance(wanted_style, dict) and "addressing_style" in wanted_style
    if _is_custom(new.meta.endpoint_url) and not style_is_set:
        new = session.client(
            "s3", region_name=chosen, config=Config(**options, s3={"addressing_style": "path"})
        )
    return new


def _is_default(core: Any, name: str) -> bool:
    return core.get_config_variable(name) in (None, "legacy")


def _is_custom(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return not host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _clients.clear()


os.register_at_fork(after_in_child=_after_fork)
