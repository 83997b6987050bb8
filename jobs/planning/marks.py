"""What a job's images will be marked with, as `plan` and `doctor` state it. Knows settings and certificates."""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core.config.provenance import ProvenanceSettings
from dreamcache.core.errors import SigningError
from dreamcache.provenance.certificate import certificate_facts
from dreamcache.storage.json_object import JsonObject


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """layers: that are on. signer: whose certificate. problem: what stands against it. is_broken: it cannot sign."""

    layers: tuple[str, ...]
    signer: str | None = None
    problem: str | None = None
    is_broken: bool = False

    def as_dict(self) -> JsonObject:
        return {"layers": list(self.layers), "signer": self.signer, "problem": self.problem}

    def line(self) -> str:
        """E.g. "marks: xmp; c2pa off; invisible off"."""
        if not self.layers:
            return "marks: off; images do not say that they are generated"
        shown = []
        for name in ("xmp", "c2pa", "invisible"):
            state = "" if name in self.layers else " off"
            if name == "c2pa" and not state:
                facts = (f"of {self.signer}" if self.signer else "", self.problem or "")
                state = " " + ": ".join(one for one in facts if one)
            shown.append(f"{name}{state}")
        return f"marks: {'; '.join(shown)}"


def marks_of(settings: ProvenanceSettings) -> Marks:
    """Of a job. A certificate that cannot be read is stated, not raised."""
    if settings.c2pa is None:
        return Marks(layers=settings.layers)
    try:
        facts = certificate_facts(settings.c2pa.certificate)
    except SigningError as error:
        return Marks(layers=settings.layers, problem=str(error), is_broken=error.code != "no_c2pa")
    return Marks(
        layers=settings.layers, signer=facts.name, problem=facts.problem(), is_broken=not facts.is_valid
    )
