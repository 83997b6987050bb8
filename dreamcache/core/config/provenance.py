"""Settings of the marks that say of an image that it is generated. Parsed from YAML by `jobs.spec`.

    provenance: off                      no marks; must be written out, and is stated in manifest.json
    provenance: {c2pa: {certificate: chain.pem, key: key.pem}}
    provenance: {invisible: {model: models/rivagan, bits: 5ac1e97b}}

Knows nothing of files, images or signatures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import StringConstraints, model_validator

from dreamcache.core.config.rules import RuleText, Settings, require
from dreamcache.core.locations import Location

Bits = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$"), RuleText("8 hexadecimal digits")]
Algorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]


@dataclass(frozen=True, kw_only=True, slots=True)
class C2paSettings(Settings):
    """A signed C2PA manifest in every image; needs `pip install 'dreamcache[c2pa]'`.

    certificate: PEM file of the signer's chain, its own certificate first. key: PEM file of its private key. signer: a
    command with its arguments instead of a key: it reads what is to be signed on stdin and writes the bare signature
    on stdout, e.g. of a key management service. algorithm: of the key. timestamp: URL of an RFC 3161 service; null for
    none, and then the signature counts only as long as the certificate does.
    """

    certificate: Location
    key: Location | None = None
    signer: tuple[str, ...] = ()
    algorithm: Algorithm = "es256"
    timestamp: str | None = None

    def check(self) -> None:
        require(
            (self.key is None) == bool(self.signer), "key, signer", "one of the two", (self.key, self.signer)
        )
        url = self.timestamp
        require(
            url is None or url.startswith(("http://", "https://")), "timestamp", "a http or https URL", url
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class InvisibleMarkSettings(Settings):
    """An imperceptible mark in the pixels, which other encodings of the image keep; needs the extra `invisible`.

    It changes pixels, and so item ids. model: folder with `rivagan_encoder.onnx` and `rivagan_decoder.onnx`, which
    'make models' fetches. bits: the operator's own 32 bits, as 8 hexadecimal digits, the same in all images.
    """

    model: Location
    bits: Bits

    def check(self) -> None:
        ones = int(self.bits, 16).bit_count()
        require(8 <= ones <= 24, "bits", "random: with 8 to 24 ones among the 32", self.bits)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvenanceSettings(Settings):
    """What every image says of its origin. `provenance: off` is the same as `{marking: off}`.

    marking: on, or off for images without any mark. prompt: whether images hold prompt and subject id; otherwise
    these are in the manifest only. c2pa: the signature; null for none. invisible: a mark in the pixels; null for none.
    """

    marking: Literal["on", "off"] = "on"
    prompt: bool = False
    c2pa: C2paSettings | None = None
    invisible: InvisibleMarkSettings | None = None

    def check(self) -> None:
        if self.marking == "off":
            named = [name for name in ("c2pa", "invisible") if getattr(self, name) is not None]
            require(not named, "marking: off", "without c2pa and invisible", named)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the marks of each new image, in the order in which they are applied."""
        if self.marking == "off":
            return ()
        chosen = (("invisible", self.invisible), ("xmp", True), ("c2pa", self.c2pa))
        return tuple(name for name, is_on in chosen if is_on)

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, values: Any) -> Any:
        # YAML reads a bare `off` as false, and `on` as true.
        names = {False: "off", True: "on", "off": "off", "on": "on"}
        if isinstance(values, bool | str) and values in names:
            return {"marking": names[values]}
        if isinstance(values, dict) and isinstance(values.get("marking"), bool):
            return {**values, "marking": names[values["marking"]]}
        return values


@dataclass(frozen=True, slots=True)
class _OrOff:
    """In a JSON schema: the settings, or `off`."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        return {"anyOf": [handler(schema), {"enum": ["on", "off", True, False]}]}


Provenance = Annotated[ProvenanceSettings, _OrOff()]
"""ProvenanceSettings, or in a settings file also `off`."""
