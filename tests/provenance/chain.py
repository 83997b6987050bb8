"""A development chain on disk, for tests that sign; and the settings that use it."""

from __future__ import annotations

from pathlib import Path

from dreamcache.core.config.provenance import C2paSettings, ProvenanceSettings
from dreamcache.provenance.development import DevelopmentChain, development_chain


def write_chain(folder: Path, operator: str = "Test Operator") -> DevelopmentChain:
    """chain.pem, root.pem and key.pem in `folder`."""
    chain = development_chain(operator)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("chain", "root", "key"):
        (folder / f"{name}.pem").write_bytes(getattr(chain, name))
    return chain


def signing(folder: Path, **values: bool) -> ProvenanceSettings:
    """Settings that sign with the chain of `write_chain`."""
    c2pa = C2paSettings(certificate=str(folder / "chain.pem"), key=str(folder / "key.pem"))
    return ProvenanceSettings(c2pa=c2pa, **values)
