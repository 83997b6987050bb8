"""A development chain on disk, for tests that sign; and the settings that use it."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from dreamcache.core.config.provenance import C2paSettings, ProvenanceSettings
from dreamcache.provenance import c2pa_package
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


def signed_by_others(image: Image.Image, file_format: str) -> bytes:
    """A file as another generator writes it: signed, says that it is generated, no XMP. file_format: Pillow's name."""
    c2pa, chain, mime = c2pa_package.load(), development_chain("Another"), f"image/{file_format.lower()}"
    plain, out = io.BytesIO(), io.BytesIO()
    image.save(plain, file_format)
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain.chain, chain.key, None))
    claim = {"claim_generator_info": [{"name": "another", "version": "1"}], "format": mime, "assertions": []}
    with c2pa.Builder(claim, c2pa_package.context()) as builder:
        source = c2pa.C2paDigitalSourceType.TRAINED_ALGORITHMIC_MEDIA
        builder.set_intent(c2pa.C2paBuilderIntent.CREATE, source)
        builder.sign(signer, mime, io.BytesIO(plain.getvalue()), out)
    return out.getvalue()
