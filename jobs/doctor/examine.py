"""All checks of a job, in the order in which they are shown. Knows the groups; knows nothing of what they try."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain

from dreamcache.core.config.job import JobSpec
from jobs.doctor import cluster, credentials, locations, marks, model
from jobs.doctor.check import Check, run_trials


def examine(spec: JobSpec, address: str | None = None) -> Iterator[Check]:
    """Every check as it ends. address: of a cluster, host:port of its head or http:// of its Jobs API.

    Nothing of the job is run, and nothing stays written.
    """
    reporter = cluster.Reporter(spec, address or os.environ.get("RAY_ADDRESS"))
    try:
        trials = chain(
            credentials.trials(spec),
            locations.trials(spec),
            model.trials(spec),
            marks.trials(spec),
            cluster.trials(spec, reporter),
        )
        yield from run_trials(trials)
    finally:
        reporter.close()
