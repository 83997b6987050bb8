"""botocore's errors as `StorageError`s with stable codes: what, where, rule, got, remedy."""

from __future__ import annotations

from botocore import exceptions as aws

from dreamcache.core.errors import StorageError

NO_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.ProfileNotFound,
    aws.TokenRetrievalError,
    aws.SSOError,
)
MISSING_KEY = ("NoSuchKey", "404", "NotFound")
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired")
DENIED = (
    "AccessDenied",
    "403",
    "Forbidden",
    "AllAccessDisabled",
    "AccountProblem",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    *EXPIRED,
)
BUSY = (
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "ThrottlingException",
    "Throttling",
)

BAD_NAMES = ("KeyTooLongError", "InvalidBucketName", "InvalidURI", "XMinioInvalidObjectName")
"""Names that no bucket or object can have, by the server's own words."""
BAD_NAME = ("bad_uri", "the names of a bucket and of a key are needed", "correct the URI")

ROLE = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"


def http_status(error: aws.ClientError) -> int:
    """The status of the answer, 0 if it had none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_code(error: aws.ClientError) -> str:
    """The storage's own name for the error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing_key(error: aws.ClientError) -> bool:
    """True for an absent object; in answers to HEAD, for an absent bucket too."""
    return error_code(error) in MISSING_KEY


def is_conflict(error: aws.BotoCoreError | aws.ClientError) -> bool:
    """True when another conditional write to the same key is under way (409): ask again."""
    return isinstance(error, aws.ClientError) and http_status(error) == 409


def is_unknown_outcome(error: aws.BotoCoreError | aws.ClientError) -> bool:
    """True when the server may have carried the request out although no good answer came."""
    if isinstance(error, aws.ClientError):
        return http_status(error) >= 500
    return isinstance(error, aws.HTTPClientError) and not isinstance(error, aws.EndpointConnectionError)


def is_transient(error: aws.BotoCoreError | aws.ClientError) -> bool:
    """True when the same request may well succeed later: no answer, a cut one, 5xx, SlowDown."""
    return _explain("", error)[0] == "storage_unreachable"


def storage_error(uri: str, action: str, error: aws.BotoCoreError | aws.ClientError) -> StorageError:
    """The error a user can act on. `action` is a verb: read, write, list, delete."""
    code, rule, remedy = _explain(uri, error)
    got = " ".join(str(error).split())
    return StorageError(f"{uri}: cannot {action}: {rule}, got '{got}'; {remedy}", code=code)


def _explain(uri: str, error: aws.BotoCoreError | aws.ClientError) -> tuple[str, str, str]:
    if isinstance(error, NO_CREDENTIALS):
        return "no_credentials", "AWS credentials are needed", ROLE
    if isinstance(error, (aws.HTTPClientError, aws.ConnectionError, aws.IncompleteReadError)):
        remedy = "check AWS_ENDPOINT_URL, AWS_REGION and the network, then run the same command again"
        return "storage_unreachable", "the storage must answer", remedy
    if isinstance(error, aws.ParamValidationError):
        return BAD_NAME
    if not isinstance(error, aws.ClientError):
        return "storage", "valid AWS settings are needed", "check the AWS_* variables and the profile"
    return _of_object(error) or _of_server(uri, error)


def _of_object(error: aws.ClientError) -> tuple[str, str, str] | None:
    """What is wrong with this one object; None where its bucket or the server is meant."""
    code = error_code(error)
    if code in BAD_NAMES:
        return BAD_NAME
    if code == "InvalidObjectState":
        remedy = "restore it (aws s3api restore-object), or copy it to a storage class that is read at once"
        return "archived_object", "an object that is not archived is needed", remedy
    if code.startswith("KMS."):
        return (
            "encrypted_object",
            "the object's KMS key must be in force",
            "enable the key, or copy the object",
        )
    return None


def _of_server(uri: str, error: aws.ClientError) -> tuple[str, str, str]:
    code = error_code(error)
    bucket = uri.removeprefix("s3://").split("/", 1)[0]
    if code == "NoSuchBucket":
        return (
            "no_such_bucket",
            f"bucket '{bucket}' must exist",
            "create it, or correct the name or the endpoint",
        )
    if code in EXPIRED:
        return "expired_credentials", "credentials must be in force", f"renew them ({ROLE})"
    if code in DENIED:
        remedy = "check the keys, and allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
        return "access_denied", f"the right to use bucket '{bucket}' is needed", remedy
    if code in BUSY or http_status(error) >= 500:
        return (
            "storage_unreachable",
            "the storage must answer",
            "it is overloaded or down; run the same command again",
        )
    return "storage", "a request the storage accepts is needed", "check bucket, key, region and endpoint"
