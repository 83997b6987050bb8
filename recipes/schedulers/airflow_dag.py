"""Airflow 3: generates the images of a job, then exports them for a channel. Put it into the dags folder.

A retry resumes the job. What no retry changes (wrong settings, a limit that is reached) fails at once.
"""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from typing import Any

from airflow.exceptions import AirflowException, AirflowFailException
from airflow.sdk import dag, task

USELESS_TO_RETRY = (2, 4)


def dreamcache(*words: str) -> dict[str, Any]:
    """The command's JSON."""
    done = subprocess.run(["dreamcache", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode in USELESS_TO_RETRY:
        raise AirflowFailException(
            f"dreamcache {words[0]} ended with exit code {done.returncode}; see the log"
        )
    if done.returncode:
        raise AirflowException(
            f"dreamcache {words[0]} ended with exit code {done.returncode}; a retry resumes"
        )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@dag(
    schedule=None,
    catchup=False,
    params={"job": "job.yaml", "target": "shop", "base_url": "https://cdn.example/shop"},
)
def dreamcache_job() -> None:
    """Images of every product, and the feed of a shop."""

    @task(retries=3, retry_delay=timedelta(minutes=2), execution_timeout=timedelta(days=1))
    def generate(params: dict[str, str] | None = None) -> dict[str, Any]:
        assert params is not None
        return dreamcache("run", params["job"], "--ok-with-failures", "--json", "--quiet")

    @task(retries=3, retry_delay=timedelta(minutes=2))
    def export(report: dict[str, Any], params: dict[str, str] | None = None) -> dict[str, Any]:
        assert params is not None
        return dreamcache(
            "export", params["job"], params["target"], "--preset", "google-merchant",
            "--base-url", params["base_url"], "--ok-with-failures", "--json",
        )  # fmt: skip

    export(generate())


DAG = dreamcache_job()
