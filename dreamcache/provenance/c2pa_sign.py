"""Signing a file's C2PA manifest: intent "create", source type trainedAlgorithmicMedia, and our item's assertion.

The signature covers the whole file, so it comes last: whatever is written into the file later breaks it. Signing adds
about 3 kB and is not reproducible; pixels stay as they are. Knows certificates, keys and signer commands.
"""

from __future__ import annotations

import io
import subprocess
import time
from typing import Any

from dreamcache.core.config.provenance import C2paSettings
from dreamcache.core.errors import DreamCacheError, SigningError
from dreamcache.provenance import c2pa_package
from dreamcache.provenance.xmp import VERSION, Statement
from dreamcache.storage.open_store import read_bounded

ITEM_ASSERTION = "org.dreamcache.item"
COMMAND_TIMEOUT_S = 60
MAX_PEM = 1 << 20
MAX_SIGNATURE = 1 << 14
TRIES = 3
"""Of a signature: time stamps and key services are requests to other machines."""


class ManifestSigner:
    """Signs files with one certificate. For one thread at a time. chain: its PEM.

    Raises SigningError: `no_c2pa`, `bad_certificate`.
    """

    def __init__(self, settings: C2paSettings) -> None:
        self.settings = settings
        self._c2pa = c2pa_package.load()
        self._failure: SigningError | None = None
        chain = _read("certificate", settings.certificate)
        try:
            self._signer = self._open(chain)
            self.chain = chain.decode()
        except (self._c2pa.C2paError, ValueError, UnicodeDecodeError) as error:
            raise SigningError(
                f"provenance.c2pa: certificate '{settings.certificate}' and its {self._key_name} must fit together as "
                f"{settings.algorithm}, got '{error}'; correct them, or 'dreamcache provenance init' creates a chain",
                code="bad_certificate",
            ) from error

    @property
    def _key_name(self) -> str:
        return f"key '{self.settings.key}'" if self.settings.key else "signer"

    def _open(self, chain: bytes) -> Any:
        settings, c2pa = self.settings, self._c2pa
        if settings.key is not None:
            key = _read("key", settings.key)
            # The address must be None where there is none: an empty one fails.
            info = c2pa.C2paSignerInfo(
                settings.algorithm.encode(), chain, key, (settings.timestamp or "").encode() or None
            )
            return c2pa.Signer.from_info(info)
        algorithm = c2pa.C2paSigningAlg[settings.algorithm.upper()]
        return c2pa.Signer.from_callback(self._by_command, algorithm, chain.decode(), settings.timestamp)

    def sign(self, data: bytes, file_format: str, statement: Statement) -> bytes:
        """The file with a signed manifest. file_format: png, jpeg or webp. Raises SigningError `not_signed`."""
        for remaining in reversed(range(TRIES)):
            try:
                return self._sign(data, file_format, statement)
            except SigningError:
                if not remaining:
                    raise
                time.sleep(0.5 * (TRIES - remaining))
        raise AssertionError  # pragma: no cover - the last try returns or raises

    def _sign(self, data: bytes, file_format: str, statement: Statement) -> bytes:
        c2pa, mime, out = self._c2pa, c2pa_package.MIME_TYPES[file_format], io.BytesIO()
        self._failure = None
        try:
            with c2pa.Builder(_manifest(statement, mime), c2pa_package.context()) as builder:
                builder.set_intent(
                    c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType.TRAINED_ALGORITHMIC_MEDIA
                )
                builder.sign(self._signer, mime, io.BytesIO(data), out)
        except c2pa.C2paError as error:
            if self._failure is not None:
                raise self._failure from None
            raise SigningError(
                f"image of item {(statement.item_id or '')[:12]}: must be signed with certificate "
                f"'{self.settings.certificate}', got '{error}'; check its dates, key and timestamp service",
                code="not_signed",
            ) from error
        return out.getvalue()

    def _by_command(self, data: bytes) -> bytes:
        """The signature of the operator's own command."""
        command = list(self.settings.signer)
        try:
            ended = subprocess.run(
                command, input=data, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
            )
            why = ended.stderr.decode(errors="replace").strip()[-300:] if ended.returncode else ""
            if not ended.returncode and 0 < len(ended.stdout) <= MAX_SIGNATURE:
                return ended.stdout
            problem = f"exit code {ended.returncode}, {len(ended.stdout)} bytes {why}"
        except (OSError, subprocess.SubprocessError) as error:
            problem = str(error)
        self._failure = SigningError(
            f"provenance.c2pa.signer {command[0]!r}: must write a signature to stdout, got {problem}; "
            "run it by hand with some bytes on stdin",
            code="not_signed",
        )
        raise self._failure


def _manifest(statement: Statement, mime: str) -> dict[str, Any]:
    item = {
        name: value
        for name in ("item_id", "job", "subject_id", "prompt")
        if (value := getattr(statement, name)) is not None
    }
    return {
        "claim_generator_info": [{"name": "dreamcache", "version": VERSION}],
        "title": f"{(statement.item_id or 'image')[:12]}",
        "format": mime,
        "assertions": [{"label": ITEM_ASSERTION, "data": item}],
    }


def _read(name: str, location: str) -> bytes:
    try:
        return read_bounded(location, MAX_PEM)
    except (OSError, DreamCacheError, ValueError) as error:
        raise SigningError(
            f"provenance.c2pa.{name} '{location}': must be a readable PEM file, got '{error}'; it must be visible to "
            "driver and workers alike",
            code="bad_certificate",
        ) from error
