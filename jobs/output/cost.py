"""What a job has cost, an image and an approved image: for manifest.json, status and gallery.

    money spent + rows of the manifest -> CostSummary(spent, per image, per approved image)

Knows the manifest's columns; knows no price. `review` is a column of manifests whose images people have judged.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.storage.json_object import JsonObject

REVIEW, APPROVED = "review", "approved"


@dataclass(frozen=True, kw_only=True, slots=True)
class CostSummary:
    """spent: over all runs of the job. per_image: of each image there is; per_approved_image: None without a review."""

    spent: float
    currency: str
    per_image: float | None = None
    per_approved_image: float | None = None

    def as_dict(self) -> JsonObject:
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def line(self) -> str:
        """For people: "cost: 3.20 USD, 0.0123 USD an image"."""
        parts = [f"{money(self.spent)} {self.currency}"]
        for value, what in ((self.per_image, "an image"), (self.per_approved_image, "an approved image")):
            if value is not None:
                parts.append(f"{money(value)} {self.currency} {what}")
        return f"cost: {', '.join(parts)}"


class RowCounts:
    """Images, and approved ones, of a manifest whose tables are added one after the other."""

    def __init__(self) -> None:
        self.images = 0
        self.approved: int | None = None

    def add(self, table: pa.Table) -> None:
        """table: rows of a manifest, with the column status."""
        done = pc.equal(table["status"], "done")
        self.images += _count(done)
        if REVIEW in table.column_names and pc.count(table[REVIEW]).as_py():
            self.approved = (self.approved or 0) + _count(pc.and_(done, pc.equal(table[REVIEW], APPROVED)))


def cost_summary(spent: float, currency: str, counts: RowCounts) -> CostSummary:
    """The costs of a job that has these rows."""
    return CostSummary(
        spent=spent,
        currency=currency,
        per_image=spent / counts.images if counts.images else None,
        per_approved_image=spent / counts.approved if counts.approved else None,
    )


def of_status(details: JsonObject, done: int) -> CostSummary | None:
    """From a status' details; None for a job without a price."""
    spent, currency = (details.get("spent") or {}).get("cost"), details.get("currency")
    if not isinstance(spent, int | float) or not isinstance(currency, str):
        return None
    return CostSummary(spent=spent, currency=currency, per_image=spent / done if done else None)


def of_summary(summary: JsonObject) -> CostSummary | None:
    """From manifest.json, which may come from anyone; None where it states no costs."""
    cost = summary.get("cost")
    if not isinstance(cost, dict) or not isinstance(cost.get("currency"), str):
        return None
    values = {name: cost.get(name) for name in ("spent", "per_image", "per_approved_image")}
    if not isinstance(values["spent"], int | float):
        return None
    numbers = {name: value if isinstance(value, int | float) else None for name, value in values.items()}
    return CostSummary(currency=cost["currency"][:3], **numbers)  # type: ignore[arg-type]


def money(amount: float) -> str:
    """With two decimals, and more for small amounts: 12.30, 0.0123."""
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.3g}"


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.fill_null(mask, False)).as_py() or 0)
