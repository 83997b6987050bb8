"""A job's output as the publisher leaves it, without cluster and model: rendered pictures, marked and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.provenance import ProvenanceSettings
from dreamcache.core.records import Done
from dreamcache.mini.world.design import design_from_seed
from dreamcache.mini.world.render import pose_from_seed, render
from dreamcache.mini.world.scenes import SCENES
from dreamcache.provenance.hashes import Pixels
from dreamcache.provenance.marker import Marker
from dreamcache.storage.image_store import ImageStore
from dreamcache.storage.ledger import Ledger
from jobs.output.folder import JOB_MARK
from jobs.spec import dump_spec
from tests.workers.test_commit import row_of
from workers.publish import commit


def picture(seed: int, side: int = 128) -> Pixels:
    """A product in a scene, uint8 [side, side, 3]."""
    scene = SCENES[seed % len(SCENES)]
    return render(design_from_seed(seed), pose=pose_from_seed(seed), scene=scene, scene_seed=seed, size=side)[
        0
    ]


def publish_pictures(
    folder: Path, pictures: Sequence[Pixels], provenance: ProvenanceSettings, name: str = "autumn"
) -> list[Path]:
    """Files of the images, in order. The folder holds job.yaml, images and ledger."""
    spec = JobSpec(name=name, catalog=str(folder / "c.csv"), output=str(folder), provenance=provenance)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.yaml").write_text(JOB_MARK + dump_spec(spec))
    rows = [row_of(rgb, item_id=f"{seed:064x}") for seed, rgb in enumerate(pictures, 1)]
    outcomes = commit(rows, ImageStore(str(folder), spec.images), {}, Marker(provenance, name))
    Ledger(str(folder)).append(outcomes)
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    return [folder / outcome.key for outcome in outcomes if isinstance(outcome, Done)]
