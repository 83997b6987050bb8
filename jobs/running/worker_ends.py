"""Which workers' processes have ended, by Ray's table of actors: what has ended costs nothing, and is not idle.

    Ray's actors of this job --every LOOK_S--> AttemptBook.leave(worker, restarts)

Ray Data ends an operator's workers once its inputs are consumed, and idle ones above their least number; a worker that
died may wait for a machine. Knows Ray and the attempt book's actor handle; knows nothing of items.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from workers.guard import AttemptBookActor

LOOK_S = 3.0
ANSWER_S = 5.0

Actors = Mapping[str, Mapping[str, Any]]
"""By their id."""


class WorkerEnds:
    """Reports each end to the book once. actors: reads the table."""

    def __init__(self, book: AttemptBookActor, actors: Callable[[], Actors] | None = None) -> None:
        self._book, self._actors = book, actors or actors_of_this_job
        self._reported: dict[str, int | None] = {}
        self._due = 0.0

    def look(self) -> None:
        """To be called often: reads the table now and then. Raises what Ray raises; the next look reports it again."""
        import ray

        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOK_S
        ends = dict(ended(self._actors()).items() - self._reported.items())
        ray.get([self._book.leave.remote(*end) for end in ends.items()], timeout=ANSWER_S)
        self._reported |= ends


def ended(actors: Actors) -> dict[str, int | None]:
    """Of each actor whose first process has ended: how often Ray has started it again, None for one that is dead."""
    return {
        actor: None if facts["State"] == "DEAD" else int(facts["NumRestarts"])
        for actor, facts in actors.items()
        if facts["State"] == "DEAD" or facts["NumRestarts"]
    }


def actors_of_this_job() -> Actors:
    """Ray's table. The public list of actors needs the dashboard, which a cluster need not have."""
    import ray
    from ray._private import state

    job = ray.JobID(bytes.fromhex(ray.get_runtime_context().get_job_id()))
    actors: Actors = state.actors(job_id=job)
    return actors
