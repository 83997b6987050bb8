"""The publisher: image object first, record after. Both are conditional writes, so repeating it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from dreamcache.core.errors import ImageError, SigningError
from dreamcache.core.records import Blocked, Done, Failed, Outcome, Quality, settings_fingerprint
from dreamcache.inference.facts import check_after
from dreamcache.provenance import hashes
from dreamcache.provenance.marker import Marker, marker_of
from dreamcache.storage.image_store import ImageStore, decode_image, pixel_sha256
from dreamcache.storage.ledger import Ledger
from workers.batches import packed, unpacked
from workers.context import JobContext
from workers.storage_retries import set_storage_retries
from workers.tables import OUTCOMES
from workers.telemetry import Telemetry


def publish_block(block: pa.Table, context: JobContext) -> pa.Table:
    """Ray task. `publish` for Ray Data, see `workers.batches`."""
    return packed([publish(unpacked(block), context)])


def publish(batch: pa.Table, context: JobContext) -> pa.Table:
    """GENERATED in, OUTCOMES out. Commits the batch's images, then appends one ledger part with all its records."""
    spec, facts = context.spec, context.facts
    set_storage_retries(spec.failures)
    telemetry = Telemetry(spec.output, "publisher")
    rows = batch.to_pylist()
    contexts = {overrides: context.of_row(overrides) for overrides in {row["overrides"] for row in rows}}
    fingerprints = {
        overrides: settings_fingerprint(
            adapter_fingerprint=facts.adapter.fingerprint,
            settings=one.spec.generation,
            image_format=spec.images,
            noise=spec.noise,
            quality=facts.gate,
        )
        for overrides, one in contexts.items()
    }
    if spec.provenance.invisible is not None:
        check_after(spec, facts)
    images, marker = ImageStore(spec.output, spec.images), marker_of(spec.provenance, spec.name)
    outcomes = [
        with_run(outcome, fingerprints[row["overrides"]], spec.workers.generators.gpus)
        for row in rows
        for outcome in commit([row], images, contexts[row["overrides"]].provenance, marker)
    ]
    Ledger(spec.output).append(outcomes, subjects={row["item_id"]: row["subject_id"] for row in rows})
    telemetry.published(outcomes)
    reported = [
        {"item_id": o.item_id, "status": o.status, "code": getattr(o, "code", None), "note": row["note"]}
        for o, row in zip(outcomes, rows, strict=True)
    ]
    return pa.Table.from_pylist(reported, schema=OUTCOMES)


def with_run(outcome: Outcome, fingerprint: str, gpus: float) -> Outcome:
    """The outcome with what its run adds: the settings, and what the image has cost. gpus: declared, of a generator."""
    if isinstance(outcome, Done):
        outcome = replace(outcome, gpu_seconds=outcome.seconds * gpus)
    return replace(outcome, settings_fingerprint=fingerprint)


def commit(
    rows: Sequence[Mapping[str, Any]], images: ImageStore, provenance: Mapping[str, str], marker: Marker
) -> list[Outcome]:
    """The outcome of each row of GENERATED, its image marked and committed where it has one.

    provenance: goes into every image's metadata. An image that cannot be signed is failed, and the next run tries it
    again. StorageError when the output cannot be used.
    """
    return [_outcome(row, images, provenance, marker) for row in rows]


def _outcome(
    row: Mapping[str, Any], images: ImageStore, provenance: Mapping[str, str], marker: Marker
) -> Outcome:
    attempts = row["attempts"] + 1
    if row["code"] is not None:
        why = {"item_id": row["item_id"], "code": row["code"], "message": row["message"]}
        if row["blocked"]:
            note = row["segment_note"]
            return Blocked(**why, attempts=attempts, quality=_quality(row), segment_note=note)
        return Failed(**why, attempts=attempts)
    try:
        return _commit(row, images, provenance, marker, attempts)
    except SigningError as error:
        return Failed(item_id=row["item_id"], code=error.code, message=str(error), attempts=attempts)
    except (ImageError, ValueError) as error:
        message = f"item {row['item_id'][:12]} at {images.key_of(row['item_id'])}: {error}; "
        message += "an object there that is not one of our images must be deleted before a retry"
        return Failed(item_id=row["item_id"], code="publish_error", message=message, attempts=attempts)


def _commit(
    row: Mapping[str, Any],
    images: ImageStore,
    provenance: Mapping[str, str],
    marker: Marker,
    attempts: int,
) -> Done:
    rgb = np.frombuffer(row["rgb"], np.uint8).reshape(row["height"], row["width"], 3)
    quality = _quality(row)
    tags = {name: str(row[name]) for name in ("item_id", "subject_id", "prompt", "seed")}
    if quality is not None:
        tags["seed"] = str(quality.seed)  # that of the try whose pixels these are
    data = marker.encode(rgb, images.image_format, {**tags, **provenance})
    key = images.key_of(row["item_id"])
    if not images.commit(row["item_id"], data):
        # An earlier attempt committed this object and died before its record: the record describes that one, whose
        # signature, and marks if the settings have changed since, are others than this attempt's.
        data = images.read(key)
    stored = decode_image(data)
    return Done(
        item_id=row["item_id"],
        key=key,
        width=row["width"],
        height=row["height"],
        num_bytes=len(data),
        pixel_sha256=pixel_sha256(stored),
        attempts=attempts,
        seconds=row["seconds"],
        device=row["device"],
        quality=quality,
        segment_note=row["segment_note"],
        marks=marker.marks_of(data, images.image_format.format),
        perceptual_hash=hashes.as_text(hashes.hashes_of(stored)),
    )


def _quality(row: Mapping[str, Any]) -> Quality | None:
    return Quality(**row["quality"]) if row["quality"] is not None else None
