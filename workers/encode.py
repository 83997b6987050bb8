"""The encoder worker: puts the features of each row's subject into the feature cache."""

from __future__ import annotations

import time

import pyarrow as pa

from dreamcache.core.errors import NO_ITEMS_FAULT, DreamCacheError
from dreamcache.core.records import Request
from dreamcache.storage.photo_faults import PhotoFaults
from workers.batches import packed, unpacked
from workers.context import JobContext, request_of
from workers.guard import Watch
from workers.tables import ENCODED
from workers.telemetry import Telemetry


class EncodeWorker:
    """Ray actor. A batch in, the same rows out, as ENCODED; those of a subject that cannot be encoded carry its
    error."""

    def __init__(self, context: JobContext, watch: Watch) -> None:
        telemetry = Telemetry(context.spec.output, "encoder")
        self.watch = watch
        self.watch.join("encoder")
        self.references = context.open_session().references
        self.references.on_features = telemetry.features
        self.references.on_refused = watch.refuse
        self.faults = PhotoFaults()
        telemetry.warmed()
        watch.ready()

    def __call__(self, block: pa.Table) -> pa.Table:
        """`encode` for Ray Data, see `workers.batches`."""
        return packed([self.encode(unpacked(block))])

    def encode(self, batch: pa.Table) -> pa.Table:
        """PLANNED in, ENCODED out."""
        rows = batch.to_pylist()
        with self.watch.shutdown.batch():
            quarantined = self.watch.sort(sorted({row["cache_key"] for row in rows})).quarantined
            errors: dict[tuple[str, str], DreamCacheError | None] = {}
            notes: dict[str, str | None] = {}
            for row in rows:
                verdict = quarantined.get(row["cache_key"])
                # Subjects with the same photo share a cache key, but each error names its own subject.
                key = row["subject_id"], row["cache_key"]
                if verdict is not None:
                    errors[key] = verdict.error(f"subject '{row['subject_id']}': encoding its photo")
                    row["attempts"] += verdict.attempts - 1
                elif key not in errors:
                    errors[key] = self._error_of(request_of(row))
                    # At once: the next subject may take its place in memory.
                    notes[row["cache_key"]] = self.references.segment_note(request_of(row))
                error = errors[key]
                row["segment_note"] = notes.get(row["cache_key"])
                if error is not None:
                    row.update(code=error.code, message=str(error))
        return pa.Table.from_pylist(rows, schema=ENCODED)

    def _error_of(self, request: Request) -> DreamCacheError | None:
        """Raises StorageError once so many photos in a row cannot be read that the storage is at fault."""
        if self.references.has(request):
            return None
        started = time.monotonic()
        error = self._encoding_error(request)
        self.faults.observe(error, started=started)
        return error

    def _encoding_error(self, request: Request) -> DreamCacheError | None:
        try:
            with self.watch.attempt([request.cache_key]):
                self.references.ensure(request)
        except NO_ITEMS_FAULT:
            raise
        except DreamCacheError as error:
            return error
        except Exception as error:  # a photo no reader foresaw costs its own subject only
            from dreamcache.model.device_errors import (
                is_device_lost,  # torch, which the driver must not import
            )

            if is_device_lost(error):
                raise  # nothing in this process can encode any more
            message = f"subject '{request.subject_id}': {type(error).__name__}: {str(error)[:500]}"
            return DreamCacheError(message, code="encode_error")
        return None
