"""Jobs: plan, run, observe, read. Never imports torch.

job.yaml -> spec -> planner (catalog -> plan) -> runner (plan - ledger) -> engine (Ray) -> output folder -> reader

spec = jobs.load_spec("job.yaml");  plan = jobs.plan(spec);  report = jobs.run(spec)
table = jobs.outputs("s3://bucket/job")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.own_packages import use_own_packages

if TYPE_CHECKING:
    from dreamcache.core.config.job import JobSpec
    from jobs.cluster.submitter import submit
    from jobs.output.reader import outputs
    from jobs.planning.planner import Plan, plan
    from jobs.running.report import Report
    from jobs.running.runner import run
    from jobs.spec import load_spec, parse_spec

__all__ = ["JobSpec", "Plan", "Report", "load_spec", "outputs", "parse_spec", "plan", "run", "submit"]

use_own_packages()  # a user's folder may hold a module `workers` or `dreamcache` of its own

_HOMES = {
    "JobSpec": "dreamcache.core.config.job",
    "load_spec": "jobs.spec",
    "parse_spec": "jobs.spec",
    "Plan": "jobs.planning.planner",
    "plan": "jobs.planning.planner",
    "Report": "jobs.running.report",
    "run": "jobs.running.runner",
    "outputs": "jobs.output.reader",
    "submit": "jobs.cluster.submitter",
}


def __getattr__(name: str) -> Any:
    # Loaded when first used: `dreamcache --help` must not wait for Arrow and pydantic.
    if name not in _HOMES:
        raise AttributeError(f"module 'jobs' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
