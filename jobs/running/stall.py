"""A run that commits nothing reports it, with the state of its workers and resources in Ray, and keeps waiting.

Machines may take long to start, so waiting is right; but a worker that can never start looks the same from here.
Knows Ray's tables of actors, nodes and resources; knows nothing of items.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from jobs.running.worker_ends import actors_of_this_job

STATES = {
    "DEPENDENCIES_UNREADY": "pending",
    "PENDING_CREATION": "pending",
    "ALIVE": "alive",
    "RESTARTING": "restarting",
    "DEAD": "dead",
}
SHOWN = ("CPU", "GPU")
CHECK = (
    "pending workers: does a node have their cpus, gpus, memory_bytes, resources, accelerator_type and label_selector "
    "(or does one come), and can they start there (packages, model files; see 'python-core-worker' and 'worker' in "
    "Ray's logs); alive ones: see their logs for a long download or batch. The run keeps waiting"
)


class StallNotice:
    """Use as a context manager around the work; call `progressed` at each sign of life.

    on_note: called after `after_s` without progress, and again whenever that time has doubled; from another
    thread. misfits: what does not fit on the cluster's nodes now, for the note. Raises nothing.
    """

    def __init__(
        self,
        after_s: float,
        on_note: Callable[[str], None],
        misfits: Callable[[], Sequence[str]] = lambda: (),
    ) -> None:
        self.after_s, self.on_note, self.misfits = after_s, on_note, misfits
        self._last = time.monotonic()
        self._next = after_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall", daemon=True)

    def progressed(self) -> None:
        """Something was committed."""
        self._last, self._next = time.monotonic(), self.after_s

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self.after_s / 4)):
            quiet = time.monotonic() - self._last
            if quiet >= self._next:
                self._next *= 2
                self.on_note(
                    f"nothing was committed for {quiet:.0f} s; {_state_in_ray()}; {self._misfits()}check {CHECK}"
                )

    def _misfits(self) -> str:
        """What does not fit, each with a semicolon after it."""
        with suppress(Exception):  # whatever is wrong with the cluster, the run itself meets it
            return "".join(f"{text}; " for text in self.misfits())
        return ""


def _state_in_ray() -> str:
    """Actors of this job by class and state, and what is free of the cluster's resources."""
    import ray

    if not ray.is_initialized():  # a request for its actors would start a cluster
        return "Ray is not connected"
    try:
        actors = _actors(actors_of_this_job())
        free, all_of = ray.available_resources(), ray.cluster_resources()
        alive = sum(node["Alive"] for node in ray.nodes())
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the cluster, the run itself meets it
        return f"Ray does not answer ({type(error).__name__}: {str(error).strip()[:200]})"
    resources = ", ".join(
        f"{free.get(name, 0):.4g} of {all_of[name]:.4g} {name}" for name in SHOWN if name in all_of
    )
    return f"workers: {actors}; free: {resources or 'nothing'}, on {alive} nodes"


def _actors(table: Mapping[str, Mapping[str, Any]]) -> str:
    counts = Counter(
        (
            str(actor["ActorClassName"]).removeprefix("MapWorker(MapBatches(").rstrip(")"),
            STATES.get(actor["State"], "?"),
        )
        for actor in table.values()
        if "Worker" in str(actor["ActorClassName"])
    )
    return (
        ", ".join(f"{number} {name} {state}" for (name, state), number in sorted(counts.items()))
        or "none requested"
    )
