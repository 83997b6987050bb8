"""The door for an output folder: forged names in it read, copy and delete nothing outside.

See `tests/corpus/forged.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from dreamcache.core.errors import DreamCacheError
from dreamcache.core.records import Done
from dreamcache.evaluation.scores import RealPhoto
from dreamcache.storage.compaction import compact
from dreamcache.storage.image_store import ImageStore, encode_image
from dreamcache.storage.ledger import Ledger
from jobs.evaluate.plan import plan_method
from jobs.evaluate.spec import EvalSpec, MethodSpec
from jobs.export import export_outputs
from jobs.output.folder import OutputFolder
from jobs.output.publish_gallery import publish_gallery
from jobs.output.publish_manifest import publish_manifest
from jobs.output.reader import first_outputs
from jobs.output.replay import _check_roots, find_planned
from jobs.planning.planner import plan
from jobs.reconcile.prune import finish_prunes
from jobs.spec import parse_spec
from tests.corpus.forged import CANARY, read
from tests.corpus.kind import USED, Kind, case_id, cases
from tests.jobs.conftest import write_model
from workers.context import request_of

SUBJECTS = "abcd"
CASES = [one for one in cases("output") if one[0].name.startswith("forged/")]
SECRET = (7, 99, 201)
"""The canary's colour, which no image of the job has."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """place/output as a run leaves it, place/catalog, and the canary beside them."""
    place = tmp_path_factory.mktemp("forged")
    (place / "catalog").mkdir()
    Image.new("RGB", (64, 64), SECRET).save(place / CANARY)
    for name in SUBJECTS:
        Image.new("RGB", (64, 64), "white").save(place / "catalog" / f"{name}.png")
    rows = "".join(f"{name},{name}.png\n" for name in SUBJECTS)
    (place / "catalog" / "catalog.csv").write_text("subject_id,image\n" + rows)
    values = {
        "name": "job",
        "catalog": str(place / "catalog" / "catalog.csv"),
        "output": str(place / "output"),
    }
    spec = parse_spec({**values, "prompts": ["p"], "model": write_model(place / "model")})
    made, folder, images = plan(spec), OutputFolder(spec.output), ImageStore(spec.output, spec.images)
    folder.claim(spec)
    folder.write_plan(made.files, made.fingerprint)
    data = encode_image(np.zeros((8, 8, 3), np.uint8), spec.images, {})
    size = {"width": 8, "height": 8, "num_bytes": len(data), "pixel_sha256": "f"}
    for item in made.table["item_id"].to_pylist():
        images.commit(item, data)
        Ledger(spec.output).append([Done(item_id=item, key=images.key_of(item), **size)])
    publish_manifest(made, folder, gallery=False)
    return place


@pytest.fixture(scope="module")
def outside(good: Path) -> dict[str, bytes]:
    """What lies beside the good output."""
    return others(good)


@pytest.fixture
def output(good: Path, outside: dict[str, bytes], tmp_path: Path) -> Iterator[Path]:
    """A copy, whose catalog stays where it was; afterwards everything outside it is as it was."""
    place = tmp_path / "place"
    shutil.copytree(good, place)
    before = others(place)
    yield place / "output"
    assert (others(place), others(good)) == (before, outside)


def others(place: Path) -> dict[str, bytes]:
    inside = (place / "output", place / "output-cache", place / "target")
    return {
        str(path): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not any(path.is_relative_to(folder) for folder in inside)
    }


def export(output: Path) -> str:
    """Every form of export loses exactly the one image, and copies nothing of the canary."""
    canary = (output.parent / CANARY).read_bytes()
    for form in ("folder", "hf", "webdataset"):
        target = output.parent / "target" / form
        report = export_outputs(str(output), str(target), form=form, quiet=True)
        assert (report.num_lost, report.written) == (1, len(SUBJECTS) - 1)
        assert all(canary not in path.read_bytes() for path in target.rglob("*") if path.is_file())
    return "lost"


def ledger(output: Path) -> str:
    Ledger(str(output)).outcomes()
    compact(Ledger(str(output)))
    return USED


def prune(output: Path) -> str:
    finish_prunes(Ledger(str(output)))
    return USED


def checkpoint(output: Path) -> str:
    from dreamcache.training.checkpoints import Checkpoint, TrainFolder

    folder = TrainFolder(str(output))
    with pytest.raises(DreamCacheError) as caught:
        folder.save(Checkpoint(step=2, tensors={}), {}, keep=1)
    assert caught.value.code == "unsafe_name"
    folder.newest({})
    return USED


def training(output: Path) -> str:
    from dreamcache.training.sources import open_source

    open_source(str(output), "folder").open(0)[0]
    return USED


def gallery(output: Path) -> str:
    """A photo outside the job's roots has no thumbnail; the others have theirs."""
    folder = OutputFolder(str(output))
    rows, _ = first_outputs(folder.uri, 100)
    publish_gallery(folder.read_json("manifest.json"), rows, folder)
    shown = list((output / "gallery" / "references").iterdir())
    assert len(shown) == len(SUBJECTS) - 1
    for path in shown:
        assert np.asarray(Image.open(path).convert("RGB")).min() > 200, "a white photo"
    [first, *_] = evaluated(output)
    assert first.request.real == ()
    return USED


def evaluation(output: Path) -> str:
    """The image that is scored is the one under the item's key, whatever the column `uri` says."""
    for image in evaluated(output):
        assert Path(image.request.image).is_relative_to(output / "images")
        assert all(isinstance(photo, RealPhoto) for photo in image.request.real)
    return USED


def evaluated(output: Path) -> list[Any]:
    method = MethodSpec(name="m", job=str(output))
    spec = EvalSpec(name="e", output=str(output.parent / "target"), methods=(method,))
    planned, missing = plan_method(spec, method, None, None)
    assert missing == 0
    return planned


def replayed(output: Path) -> str:
    """The plan's row names the photo; job.yaml says whether it may be read."""
    folder = OutputFolder(str(output))
    row = find_planned(folder, read(output / "plan" / "part-00000.parquet")[0]["item_id"])
    _check_roots(parse_spec(yaml.safe_load((output / "job.yaml").read_text())), request_of(row))
    return USED


def planned_again(output: Path) -> str:
    """A shorter plan replaces the parts; files that are not parts of a plan stay."""
    before = {path for path in (output / "plan").rglob("*") if path.is_file()}
    folder = OutputFolder(str(output))
    (output / "plan" / "part-00007.parquet").write_bytes(b"of an earlier plan")
    again = plan(parse_spec(yaml.safe_load((output / "job.yaml").read_text())))
    folder.write_plan(again.files, again.fingerprint)
    assert {path for path in (output / "plan").rglob("*") if path.is_file()} == before
    return USED


ACTIONS: dict[str, Callable[[Path], str]] = {
    "manifest-key": export,
    "manifest-key-of-no-image": export,
    "manifest-item-id": export,
    "manifest-other-items-key": export,
    "image-is-a-link": export,
    "ledger-key": ledger,
    "ledger-item-id": ledger,
    "prune-key": prune,
    "prune-of-no-image": prune,
    "checkpoint-newest": checkpoint,
    "checkpoint-to-delete": checkpoint,
    "training-picture": training,
    "manifest-photo": gallery,
    "manifest-uri": evaluation,
    "plan-photo": replayed,
    "plan-of-others": planned_again,
    "ledger-of-others": ledger,
}


@pytest.mark.parametrize(("kind", "name"), CASES, ids=case_id)
def test_a_forged_file_reaches_nothing_outside(kind: Kind, name: str, output: Path) -> None:
    path = Path(str(kind.inputs[name](output)))
    inside = {file for file in output.rglob("*") if file.is_file()}
    try:
        code, message = ACTIONS[kind.name.removeprefix("forged/")](output), ""
    except DreamCacheError as error:
        code, message = error.code, str(error)
    assert code == kind.code, message
    assert "\n" not in message
    assert path.exists() or path.is_symlink()
    gone = inside - {file for file in output.rglob("*") if file.is_file()}
    assert not gone, "nothing of the folder was deleted either"
