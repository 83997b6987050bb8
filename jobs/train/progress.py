"""Progress of a training: the workers write status.json, the driver reads it and prints a line when it has changed.

So a line says the same as `dreamcache status`, and the workers need no way back to the driver. Knows no Ray.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.open_store import join, store_for
from jobs.train.spec import TrainSpec

POLL_INTERVAL_S = 2.0


class TrainProgress:
    """Reads status.json while the workers write it, and prints a line whenever it has changed."""

    def __init__(self, spec: TrainSpec, quiet: bool) -> None:
        self.place, self.quiet = join(spec.output, "status.json"), quiet
        self.store = store_for(spec.output)
        self.none_yet: dict[str, Any] = {
            "kind": "training",
            "job": spec.name,
            "step": 0,
            "steps": spec.train.steps,
            "loss": None,
            "images_per_s": 0.0,
            "eta_s": None,
        }
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> TrainProgress:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join(timeout=30)

    def read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.store.read(self.place)))
        except FileNotFoundError:
            return {}

    def mark(self, state: str, **more: Any) -> None:
        """Says in status.json how the run stands, for who reads it later; the workers write the rest."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        status = {**self.none_yet, **self.read(), "state": state, "updated_at": now, **more}
        self.store.write(self.place, (json.dumps(status, indent=1) + "\n").encode())

    def _watch(self) -> None:
        told = self.read().get("updated_at"), self.read().get("step")
        while True:
            last = self.ended.wait(POLL_INTERVAL_S)
            with suppress(DreamCacheError, ValueError):
                status = self.read()
                now = status.get("updated_at"), status.get("step")
                if status and now != told and not self.quiet:
                    told = now
                    print(progress_line(status), file=sys.stderr, flush=True)
            if last:
                return


def progress_line(status: dict[str, Any]) -> str:
    """E.g. "step 120/2000  loss 0.1345  38.2 images/s  ETA 0:12:03"."""
    loss, left = status.get("loss"), status.get("eta_s")
    eta = "-" if left is None else time.strftime("%H:%M:%S", time.gmtime(left % 86400))
    days = f"{int(left // 86400)} d " if left and left >= 86400 else ""
    parts = [
        f"step {status['step']}/{status['steps']}",
        f"loss {loss:.4f}" if loss is not None else "loss -",
        f"{status['images_per_s']:.1f} images/s",
        "ended" if status["state"] == "finished" else f"ETA {days}{eta}",
    ]
    return "  ".join(parts)
