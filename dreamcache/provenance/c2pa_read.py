"""Reading a file's C2PA manifest: is it there, is it intact, who signed it, and what was done.

    absent       no manifest in the file; one that lies elsewhere is never fetched
    unreadable   there is one, or may be one, and it cannot be read: the package c2pa is not installed here, or cannot
                 take the file apart
    tampered     file, manifest or signature were changed after signing
    untrusted    intact, signed by a certificate that no anchor given here vouches for
    valid        intact, and an anchor vouches for it

Files are anyone's. Nothing is requested from addresses in them. Knows nothing of our jobs.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from dreamcache.core.errors import SigningError
from dreamcache.provenance import c2pa_package
from dreamcache.provenance.c2pa_container import FORMATS, has_manifest
from dreamcache.provenance.c2pa_sign import ITEM_ASSERTION
from dreamcache.provenance.xmp import AI_SOURCE_TYPES

C2paState = Literal["absent", "unreadable", "tampered", "untrusted", "valid"]
MAX_TEXT = 200
MAX_PROMPT = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class C2paFinding:
    """What a manifest says. by_operator: signed under the operator's own certificate, whatever else vouches for it.

    problems: C2PA's codes of what is wrong. source_type: of the action that created the image; of a tampered file, what
    its manifest says all the same. subject_id, prompt: where the operator publishes them.
    """

    state: C2paState
    signer: str | None = None
    action: str | None = None
    source_type: str | None = None
    item_id: str | None = None
    job: str | None = None
    subject_id: str | None = None
    prompt: str | None = None
    by_operator: bool = False
    problems: tuple[str, ...] = ()

    @property
    def says_ai(self) -> bool:
        """Whether the manifest, intact or not, says that a program generated the image."""
        return (self.source_type or "").rstrip("/").rpartition("/")[2] in AI_SOURCE_TYPES

    @property
    def is_ai(self) -> bool:
        """Whether an intact manifest says so."""
        return self.state in ("untrusted", "valid") and self.says_ai


def read(data: bytes, file_format: str, *, anchors: str = "", operators: Sequence[str] = ()) -> C2paFinding:
    """The finding of a file.

    anchors: PEM certificates of authorities that are trusted. operators: PEM chains of the operator, each with the
    signer's own certificate first. Raises SigningError `bad_certificate` for a chain that is none.
    """
    if file_format not in c2pa_package.MIME_TYPES or (
        file_format in FORMATS and not has_manifest(data, file_format)
    ):
        return C2paFinding(state="absent")
    if not c2pa_package.is_installed():
        return C2paFinding(state="unreadable", problems=("package c2pa-python is not installed",))
    values = _read_json(data, file_format, anchors)
    if isinstance(values, C2paFinding):
        return values
    state, problems = _state_of(values)
    by_operator = state in ("untrusted", "valid") and any(
        _is_signed_by(data, file_format, chain) for chain in operators
    )
    return C2paFinding(state=state, by_operator=by_operator, problems=problems, **_facts(values))


def _is_signed_by(data: bytes, file_format: str, chain: str) -> bool:
    """Whether the signer's certificate is the chain's first: the chain vouches for it, and the serial number is its.

    The chain alone would do for all customers of an authority, the number alone for anyone who writes it.
    """
    serial = _serial_of(chain)
    values = _read_json(data, file_format, chain)
    if not isinstance(values, dict) or values.get("validation_state") != "Trusted":
        return False
    return _active(values)[1].get("cert_serial_number") == serial


@lru_cache(maxsize=64)
def _serial_of(chain: str) -> str:
    from cryptography import x509

    try:
        return str(x509.load_pem_x509_certificates(chain.encode())[0].serial_number)
    except ValueError as error:
        raise SigningError(
            f"operator's certificate: must be a PEM chain, got '{error}'; give the file of provenance.c2pa.certificate",
            code="bad_certificate",
        ) from error


def _read_json(data: bytes, file_format: str, anchors: str) -> dict[str, Any] | C2paFinding:
    """The package's report, or the finding when there is no manifest or it cannot be read."""
    c2pa = c2pa_package.load()
    try:
        mime = c2pa_package.MIME_TYPES[file_format]
        with c2pa.Reader(mime, io.BytesIO(data), context=c2pa_package.context(anchors)) as reader:
            values = json.loads(reader.json())
            if isinstance(values, dict):
                return values
            return C2paFinding(state="tampered", problems=("manifest is no object",))
    except c2pa.C2paError.ManifestNotFound:
        return C2paFinding(state="absent")
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        return _failure(error, file_format)


def _failure(error: Exception, file_format: str) -> C2paFinding:
    """Where the container shows no manifest, errors of the file itself may come before one was found."""
    errors, problems = c2pa_package.load().C2paError, (str(error)[:MAX_TEXT],)
    if file_format not in FORMATS:
        if str(error).startswith("Remote"):  # the package has no class for it
            return C2paFinding(state="absent")
        if isinstance(error, (errors.Io, errors.Other, errors.NotSupported)):
            return C2paFinding(state="unreadable", problems=problems)
    return C2paFinding(state="tampered", problems=problems)


def _state_of(values: Mapping[str, Any]) -> tuple[C2paState, tuple[str, ...]]:
    failures = [
        str(entry.get("code")) for entry in values.get("validation_status") or [] if isinstance(entry, dict)
    ]
    match values.get("validation_state"):
        case "Trusted":
            return "valid", ()
        case "Valid":
            return "untrusted", tuple(failures)
        case _:
            changes = [code for code in failures if code != "signingCredential.untrusted"]
            return "tampered", tuple(changes or failures)


def _facts(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Signer, action and item of the active manifest; every value in it may be of any type."""
    manifest, signature = _active(values)
    names = [_text(signature.get(name)) for name in ("common_name", "issuer")]
    facts: dict[str, str | None] = {"signer": ", ".join(name for name in names if name) or None}
    for assertion in manifest.get("assertions") or []:
        label, data = _text(_mapping(assertion).get("label")) or "", _mapping(_mapping(assertion).get("data"))
        if label.startswith("c2pa.actions"):
            actions = data.get("actions")
            for action in map(_mapping, actions if isinstance(actions, list) else []):
                facts.setdefault("action", _text(action.get("action")))
                facts["source_type"] = facts.get("source_type") or _text(action.get("digitalSourceType"))
        elif label == ITEM_ASSERTION:
            facts |= {name: _text(data.get(name)) for name in ("item_id", "job", "subject_id")}
            facts["prompt"] = _text(data.get("prompt"), MAX_PROMPT)
    return facts


def _active(values: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """(the active manifest, its signature's facts)."""
    manifest = _mapping(_mapping(values.get("manifests")).get(str(values.get("active_manifest"))))
    return manifest, _mapping(manifest.get("signature_info"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object, most: int = MAX_TEXT) -> str | None:
    return value[:most] if isinstance(value, str) else None
