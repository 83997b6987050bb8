"""What gcsfs and adlfs raise, as `StorageError`s with the codes of S3: what, where, rule, got, remedy.

Knows errors by their names, statuses and texts, so that neither package is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dreamcache.core.errors import DreamCacheError, StorageError
from dreamcache.core.locations import GS_SCHEME

NO_CREDENTIALS = ("DefaultCredentialsError", "CredentialUnavailableError")
EXPIRED = ("RefreshError", "ReauthFailError")
NO_ANSWER = (
    "FSTimeoutError",
    "ServiceRequestError",
    "ServiceResponseError",
    "IncompleteReadError",
    "TransportError",
)
NO_ANSWER_MODULES = ("aiohttp", "requests", "urllib3")
BUSY = (408, 409, 429)
ROLES = {
    True: "set GOOGLE_APPLICATION_CREDENTIALS, or give the machine a service account",
    False: "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with a key or an identity",
}


@contextmanager
def answered(uri: str, action: str) -> Iterator[None]:
    """What a file system raises in this block becomes a StorageError; ours pass, and so do FileNotFoundError (404)
    and FileExistsError, of a precondition that does not hold (412)."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, DreamCacheError):
        raise
    except Exception as error:
        code, rule, remedy = _explain(uri, action, error)
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise StorageError(f"{uri}: cannot {action}: {rule}, got '{got}'; {remedy}", code=code) from error


def no_bucket(uri: str, action: str, bucket: str) -> StorageError:
    """The error of an object whose bucket or container is not there."""
    return StorageError(
        f"{uri}: cannot {action}: '{bucket}' must exist, got no such bucket; create it, or correct the name or account",
        code="no_such_bucket",
    )


def _explain(uri: str, action: str, error: Exception) -> tuple[str, str, str]:
    kind, status, text = type(error).__name__, _status(error), str(error)
    role = ROLES[uri.startswith(GS_SCHEME)]
    if str(getattr(error, "error_code", "")).endswith("BlobArchived"):
        remedy = "rehydrate it, or copy it to a tier that is read at once"
        return "archived_object", "an object that is not archived is needed", remedy
    lacks_account = isinstance(error, ValueError) and "connection_string" in text
    if kind in NO_CREDENTIALS or lacks_account or "failed to retrieve a token" in text:
        return "no_credentials", "credentials are needed", role
    if kind in EXPIRED:
        return "expired_credentials", "credentials must be in force", f"renew them ({role})"
    if status in (401, 403) or isinstance(error, PermissionError) or text.startswith("Forbidden"):
        return "access_denied", f"the right to {action} is needed", f"check it, and the account ({role})"
    is_silent = kind in NO_ANSWER or isinstance(error, TimeoutError | ConnectionError)
    if is_silent or status in BUSY or status >= 500 or type(error).__module__.startswith(NO_ANSWER_MODULES):
        return (
            "storage_unreachable",
            "the storage must answer",
            "check the network, then run the same command again",
        )
    return "storage", "a request the storage accepts is needed", "check bucket, key and account"


def _status(error: Exception) -> int:
    for name in ("status_code", "status", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int | str) and str(value).isdigit():
            return int(value)
    return 0
