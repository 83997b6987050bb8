"""Dagster: a job's images as an asset, and their export for a channel as another. `dagster dev -f dagster_assets.py`.

A retry resumes the job. What no retry changes (wrong settings, a limit that is reached) fails at once.
"""

import json
import os
import subprocess
from typing import Any

import dagster as dg

JOB = os.environ.get("DREAMCACHE_JOB", "job.yaml")
TARGET = os.environ.get("DREAMCACHE_TARGET", "shop")
BASE_URL = os.environ.get("DREAMCACHE_BASE_URL", "https://cdn.example/shop")
USELESS_TO_RETRY = (2, 4)
RETRIES = dg.RetryPolicy(max_retries=3, delay=120)


def dreamcache(*words: str) -> dict[str, Any]:
    """The command's JSON."""
    done = subprocess.run(["dreamcache", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise dg.Failure(
            f"dreamcache {words[0]} ended with exit code {done.returncode}",
            allow_retries=done.returncode not in USELESS_TO_RETRY,
        )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@dg.asset(retry_policy=RETRIES)
def product_images() -> dg.MaterializeResult:
    """Images of every product of the catalog."""
    report = dreamcache("run", JOB, "--ok-with-failures", "--json", "--quiet")
    shown = ("output", "gallery", "total", "done", "failed", "blocked", "generated", "seconds")
    return dg.MaterializeResult(metadata={name: report[name] for name in shown if report[name] is not None})


@dg.asset(deps=[product_images], retry_policy=RETRIES)
def merchant_feed() -> dg.MaterializeResult:
    """The images as Google Merchant Center takes them, with their feed."""
    report = dreamcache(
        "export",
        JOB,
        TARGET,
        "--preset",
        "google-merchant",
        "--base-url",
        BASE_URL,
        "--ok-with-failures",
        "--json",
    )
    return dg.MaterializeResult(metadata={name: report[name] for name in ("accepted", "refused", "lost")})


defs = dg.Definitions(assets=[product_images, merchant_feed])
