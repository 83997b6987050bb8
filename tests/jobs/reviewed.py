"""A job that has run, without a run: images, records and manifest of a plan, and review files over it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from dreamcache.core.config.job import JobSpec
from dreamcache.core.records import Done
from dreamcache.storage.image_store import ImageStore, encode_image
from dreamcache.storage.ledger import Ledger
from jobs.output.folder import OutputFolder
from jobs.output.publish_manifest import publish_manifest
from jobs.planning.planner import Plan, plan

HEADER = ("item_id", "verdict", "reviewer", "reason", "note", "decided_at")
AT = "2026-11-27T10:00:00Z"


def generate(spec: JobSpec, *, keep_approved: bool = False, gallery: bool = False) -> list[str]:
    """Ends a run of the job: an image for what has none, then the manifest. Returns the ids that it generated."""
    made, folder = plan(spec, keep_approved=keep_approved), OutputFolder(spec.output)
    folder.claim(spec)
    folder.write_plan(made.files, made.fingerprint)
    ledger, images = Ledger(spec.output), ImageStore(spec.output, spec.images)
    known = ledger.outcomes()
    new = [row for row in made.table.to_pylist() if row["item_id"] not in known]
    for row in new:
        pixels = np.full((16, 16, 3), row["seed"] % 251, np.uint8)
        data = encode_image(pixels, spec.images, {"item_id": row["item_id"]})
        images.commit(row["item_id"], data)
        record = Done(
            item_id=row["item_id"], key=images.key_of(row["item_id"]), width=16, height=16, num_bytes=len(data),
            pixel_sha256="f",
        )  # fmt: skip
        ledger.append([record], subjects={row["item_id"]: row["subject_id"]})
    publish(made, folder, gallery=gallery)
    return [row["item_id"] for row in new]


def publish(made: Plan, folder: OutputFolder, *, gallery: bool = False) -> None:
    publish_manifest(made, folder, gallery=gallery)


def review_file(folder: Path, *rows: tuple[str, ...] | dict[str, Any], name: str = "review.csv") -> str:
    """A file of rows, each (item, verdict, reviewer, reason, note, decided_at), the last ones left out."""
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(HEADER)
        for row in rows:
            cells = [row.get(name, "") for name in HEADER] if isinstance(row, dict) else list(row)
            lines.writerow([*cells, *[""] * (len(HEADER) - len(cells))])
    return str(path)
