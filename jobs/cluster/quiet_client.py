"""Ray's client for jobs without its own log lines."""

from __future__ import annotations

import logging
import os

from jobs.cluster.ray_cluster import VERBOSE

CHATTER = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray's client, whose reports are of no use to who submits a job."""


def quiet_client() -> None:
    """Ray's client sets its own level when it is imported, and reports uploads and closed connections."""
    if os.environ.get(VERBOSE, "") in ("", "0"):
        for name in CHATTER:
            logging.getLogger(name).setLevel(logging.WARNING)
