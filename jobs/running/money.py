"""The money of a run: the limit that its workers reserve within, and what is spent once it has ended.

Knows prices, the ledger's seconds and spending.json; knows nothing of Ray.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core.config.job import JobSpec
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.spending import Spending, read_spending, write_spending
from jobs.running.budget import Budget
from jobs.running.status import RunStatus
from workers.reserve import HOUR, SpendLimit


def job_budget(spec: JobSpec, status: RunStatus) -> Budget:
    """What the job may still cost; the status and the metrics state it from now on."""
    reserved = read_spending(spec.output) if spec.price else None
    budget = Budget(spec.limits, status.current.details.get("spent"), spec.price, reserved)
    money = {"currency": spec.price.currency} if spec.price else {}
    status.current_details = lambda: {"spent": budget.spent(), **money}
    status.limits = {"hours": spec.limits.max_hours, "gpu_hours": spec.limits.max_gpu_hours}
    return budget


def spend_limit(spec: JobSpec, budget: Budget, ledger: Ledger) -> SpendLimit | None:
    """What the workers of the next pipeline may spend; None without limits of money."""
    if spec.price is None or not spec.limits.has_money:
        return None
    per_subject = spec.limits.max_cost_per_subject
    return SpendLimit(
        output=spec.output,
        total=spec.limits.max_cost,
        spent=budget.cost,
        per_subject=per_subject,
        spent_by_subject=spent_by_subject(spec, ledger) if per_subject is not None else {},
    )


def spent_by_subject(spec: JobSpec, ledger: Ledger) -> dict[str, float]:
    """Money of each subject's recorded images: their seconds at the price of today's generators."""
    assert spec.price is not None
    pool = spec.workers.generators
    per_second = spec.price.per_hour(gpus=pool.gpus, cpus=pool.cpus) / HOUR
    ends = ["item_id", "status", "attempts", "code", "subject_id"]
    tables = [table.select([*ends, "seconds"]) for table in ledger.scan()]
    if not tables:
        return {}
    # While parts are merged, and after a kill meanwhile, a record stands in two of them.
    once = pa.concat_tables(tables).group_by(ends).aggregate([("seconds", "max")])
    sums = once.group_by("subject_id").aggregate([("seconds_max", "sum")])
    named = sums.filter(pc.is_valid(sums["subject_id"]))
    return {row["subject_id"]: (row["seconds_max_sum"] or 0.0) * per_second for row in named.to_pylist()}


def release(spec: JobSpec, budget: Budget) -> None:
    """The run has ended: what it had reserved beyond what it spent is free again. Raises StorageError."""
    if spec.price is not None:
        write_spending(spec.output, Spending(spent=budget.cost, reserved=budget.cost))
