"""The invisible mark: its settings, its chance, its place in item ids; with its networks also what it survives."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.provenance import InvisibleMarkSettings, ProvenanceSettings
from dreamcache.core.errors import ImageError, ModelError
from dreamcache.inference.facts import check_after, identity_after, plan_facts
from dreamcache.mini.world.design import design_from_seed
from dreamcache.mini.world.render import pose_from_seed, render
from dreamcache.provenance.detect import Detection, detect
from dreamcache.provenance.invisible import InvisibleMark, MarkFinding, chance_of
from dreamcache.provenance.marker import Marker, check_marks
from dreamcache.storage.image_store import decode_image
from dreamcache.storage.models.onnx_file import has_runtime

BITS = "5ac1e97b"
MODELS = Path(os.environ.get("DREAMCACHE_MODELS", "models")) / "rivagan"
with_networks = pytest.mark.skipif(
    not (MODELS.is_dir() and has_runtime()), reason="needs 'make models' and the extra invisible"
)


def networks(folder: Path) -> str:
    for part in ("encoder", "decoder"):
        (folder / f"rivagan_{part}.onnx").write_bytes(part.encode())
    return str(folder)


def job(folder: Path, **provenance: object) -> JobSpec:
    settings = ProvenanceSettings(**provenance)  # type: ignore[arg-type]
    return JobSpec(name="j", catalog="c.csv", output=str(folder / "out"), provenance=settings)


def test_settings() -> None:
    for bits in ("5AC1E97B", "5ac1", "zzzzzzzz", "00000000", "ffffffff", "00000007"):
        with pytest.raises(ValueError, match="bits"):
            InvisibleMarkSettings(model="m", bits=bits)
    mark = InvisibleMarkSettings(model="m", bits=BITS)
    assert ProvenanceSettings(invisible=mark).layers == ("invisible", "xmp")
    with pytest.raises(ValueError, match="without c2pa and invisible"):
        ProvenanceSettings(marking="off", invisible=mark)


def test_the_chance_of_agreement() -> None:
    assert chance_of(32) == 2**-32 and chance_of(0) == 1.0
    assert chance_of(28) == pytest.approx(9.7e-6, rel=0.01)
    assert chance_of(30, 3) == pytest.approx(3 * 1.23e-7, rel=0.01)
    near = MarkFinding(bits=BITS, operator=BITS, agreeing=27, chance=chance_of(27))
    assert Detection(name="x", invisible=near).verdict == "no mark found"
    sure = replace(near, agreeing=28)
    assert Detection(name="x", invisible=sure).verdict == "made by this operator"


def test_only_a_job_that_is_marked_has_other_ids(tmp_path: Path) -> None:
    model = networks(tmp_path)
    plain, marked = job(tmp_path), job(tmp_path, invisible=InvisibleMarkSettings(model=model, bits=BITS))
    assert identity_after(plain) is None
    names = {identity_after(marked)}
    names.add(identity_after(job(tmp_path, invisible=InvisibleMarkSettings(model=model, bits="5ac1e97c"))))
    facts = plan_facts(marked)
    check_after(marked, facts)
    (tmp_path / "rivagan_encoder.onnx").write_bytes(b"another")
    names.add(identity_after(marked))
    assert len(names) == 3
    with pytest.raises(ModelError, match="same files"):
        check_after(marked, facts)
    (tmp_path / "rivagan_decoder.onnx").unlink()
    with pytest.raises(ModelError, match=r"must hold one readable file rivagan_decoder.onnx.*make models"):
        check_marks(marked)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    mark = InvisibleMark(InvisibleMarkSettings(model=networks(tmp_path), bits=BITS))
    with pytest.raises(ModelError, match=r"must be an ONNX network|needs onnxruntime"):
        mark.open()
    with pytest.raises(ImageError, match="at least 64 pixels"):
        mark.apply(np.zeros((32, 200, 3), np.uint8))


@with_networks
@pytest.mark.slow
def test_marked_pixels_are_reproducible_and_read_in_copies(tmp_path: Path) -> None:
    settings = InvisibleMarkSettings(model=str(MODELS), bits=BITS)
    rgb = render(design_from_seed(3), pose=pose_from_seed(3), scene="beach", scene_seed=3, size=256)[0]
    spec = job(tmp_path, invisible=settings)
    check_marks(spec)
    marker = Marker(spec.provenance, spec.name)
    tags = {"item_id": "0" * 64, "subject_id": "s", "prompt": "p"}
    data = marker.encode(rgb, spec.images, tags)
    assert data == Marker(spec.provenance, spec.name).encode(rgb, spec.images, tags)
    assert marker.marks_of(data, "png") == "invisible,xmp"
    stored = decode_image(data)
    assert 0 < np.abs(stored.astype(int) - rgb).mean() < 3
    copy, plain = io.BytesIO(), io.BytesIO()
    Image.fromarray(stored).save(copy, "JPEG", quality=75)
    Image.fromarray(rgb).save(plain, "PNG")
    mark = InvisibleMark(settings)
    found, other = (detect(name, file.getvalue(), marks=[mark]) for name, file in (("c", copy), ("p", plain)))
    assert found.invisible is not None and other.invisible is not None
    # A small rendered picture carries fewer bits than a photo of 512 px, which carries all.
    assert found.invisible.agreeing >= 24 > other.invisible.agreeing
    assert (found.verdict == "made by this operator") == (found.invisible.agreeing >= 28)
    assert other.verdict == "no mark found"
