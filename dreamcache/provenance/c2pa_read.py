"""Reading a file's C2PA manifest: is it there, is it intact, who signed it, and what was done.

    absent       no manifest
    unreadable   there is one, and the package c2pa is not installed here
    tampered     file, manifest or signature were changed after signing
    untrusted    intact, signed by a certificate that no anchor given here vouches for
    valid        intact, and an anchor vouches for it

Files are anyone's. Nothing is requested from addresses in them. Knows nothing of our jobs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dreamcache.provenance import c2pa_package
from dreamcache.provenance.c2pa_sign import ITEM_ASSERTION
from dreamcache.provenance.xmp import AI_SOURCE_TYPES

C2paState = Literal["absent", "unreadable", "tampered", "untrusted", "valid"]
MARKERS = {"png": b"caBX", "jpeg": b"jumb", "webp": b"C2PA"}
"""What stands before a manifest in a file of each format."""
MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class C2paFinding:
    """What a manifest says. by_operator: signed under the operator's own certificate, whatever else vouches for it.

    problems: C2PA's codes of what is wrong. source_type: of the action that created the image.
    """

    state: C2paState
    signer: str | None = None
    action: str | None = None
    source_type: str | None = None
    item_id: str | None = None
    job: str | None = None
    by_operator: bool = False
    problems: tuple[str, ...] = ()

    @property
    def is_ai(self) -> bool:
        """Whether an intact manifest says that a program generated the image."""
        term = (self.source_type or "").rstrip("/").rpartition("/")[2]
        return self.state in ("untrusted", "valid") and term in AI_SOURCE_TYPES


def has_manifest(data: bytes, file_format: str) -> bool:
    """Whether the file has the container of a manifest; whether that is intact is not looked at."""
    return MARKERS[file_format] in data


def read(data: bytes, file_format: str, *, anchors: str = "", operator: str = "") -> C2paFinding:
    """The finding of a file. anchors, operator: PEM certificates that others trust, and the operator's own chain."""
    if not has_manifest(data, file_format):
        return C2paFinding(state="absent")
    if not c2pa_package.is_installed():
        return C2paFinding(state="unreadable", problems=("package c2pa-python is not installed",))
    values = _read_json(data, file_format, anchors)
    if values is None:
        return C2paFinding(state="absent")
    if isinstance(values, str):
        return C2paFinding(state="tampered", problems=(values,))
    state, problems = _state_of(values)
    by_operator = False
    if operator and state in ("untrusted", "valid"):
        own = _read_json(data, file_format, operator)
        by_operator = isinstance(own, dict) and own.get("validation_state") == "Trusted"
    return C2paFinding(state=state, by_operator=by_operator, problems=problems, **_facts(values))


def _read_json(data: bytes, file_format: str, anchors: str) -> dict[str, Any] | str | None:
    """The package's report; a text when the manifest cannot be read, None when there is none."""
    import json

    c2pa = c2pa_package.load()
    try:
        mime = c2pa_package.MIME_TYPES[file_format]
        with c2pa.Reader(mime, io.BytesIO(data), context=c2pa_package.context(anchors)) as reader:
            values = json.loads(reader.json())
            return values if isinstance(values, dict) else "manifest is no object"
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        return str(error)[:MAX_TEXT]


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
    manifest = _mapping(_mapping(values.get("manifests")).get(str(values.get("active_manifest"))))
    signature = _mapping(manifest.get("signature_info"))
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
            facts |= {"item_id": _text(data.get("item_id")), "job": _text(data.get("job"))}
    return facts


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value[:MAX_TEXT] if isinstance(value, str) else None
