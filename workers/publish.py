"""The publisher: image object first, record after. Both are conditional writes, so repeating it changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dreamcache.core.errors import ImageError
from dreamcache.core.records import Blocked, Done, Failed, Outcome, Quality
from dreamcache.storage import s3_client
from dreamcache.storage.image_store import ImageStore, encode_image, stored_pixel_sha256
from dreamcache.storage.ledger import Ledger
from workers.context import JobContext
from workers.tables import OUTCOMES
from workers.telemetry import Telemetry


def publish(batch: pa.Table, context: JobContext) -> pa.Table:
    """Ray task. Commits the images of a batch and appends one ledger part with all its terminal records."""
    failures = context.spec.failures
    s3_client.be_patient(failures.storage_patience_s, failures.storage_timeout_s)
    telemetry = Telemetry(context.spec.output, "publisher")
    images = ImageStore(context.spec.output, context.spec.images)
    rows = batch.to_pylist()
    outcomes = [_outcome(row, context, images) for row in rows]
    Ledger(context.spec.output).append(outcomes)
    telemetry.published(outcomes)
    told = [
        {"item_id": o.item_id, "status": o.status, "code": getattr(o, "code", None), "note": row["note"]}
        for o, row in zip(outcomes, rows, strict=True)
    ]
    return pa.Table.from_pylist(told, schema=OUTCOMES)


def _outcome(row: dict[str, Any], context: JobContext, images: ImageStore) -> Outcome:
    attempts = row["attempts"] + 1
    if row["code"] is not None:
        why = {"item_id": row["item_id"], "code": row["code"], "message": row["message"]}
        if row["blocked"]:
            return Blocked(**why, attempts=attempts, quality=_quality(row))
        return Failed(**why, attempts=attempts)
    try:
        return _commit(row, context, images, attempts)
    except (ImageError, ValueError) as error:
        message = f"item {row['item_id'][:12]} at {images.key_of(row['item_id'])}: {error}; "
        message += "an object there that is none of ours must be deleted before a retry"
        return Failed(item_id=row["item_id"], code="publish_error", message=message, attempts=attempts)


def _commit(row: dict[str, Any], context: JobContext, images: ImageStore, attempts: int) -> Done:
    rgb = np.frombuffer(row["rgb"], np.uint8).reshape(row["height"], row["width"], 3)
    quality = _quality(row)
    tags = {name: str(row[name]) for name in ("item_id", "subject_id", "prompt", "seed")}
    if quality is not None:
        tags["seed"] = str(quality.seed)  # that of the try whose pixels these are
    data = encode_image(rgb, context.spec.images, {**tags, **context.provenance})
    key = images.key_of(row["item_id"])
    if not images.commit(row["item_id"], data):
        # An earlier attempt committed this object and died before its record: the record describes that one.
        data = images.read(key)
    return Done(
        item_id=row["item_id"],
        key=key,
        width=row["width"],
        height=row["height"],
        num_bytes=len(data),
        pixel_sha256=stored_pixel_sha256(data),
        attempts=attempts,
        seconds=row["seconds"],
        device=row["device"],
        quality=quality,
    )


def _quality(row: dict[str, Any]) -> Quality | None:
    return Quality(**row["quality"]) if row["quality"] is not None else None
