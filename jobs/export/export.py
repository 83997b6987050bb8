"""One export from beginning to end. Knows the forms and their defaults; knows nothing of how each is written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dreamcache.core.errors import SpecError, did_you_mean
from jobs.export import huggingface, webdataset
from jobs.export.csv_file import write_csv
from jobs.export.fetch import Lost
from jobs.export.folder import Copied, copy_images
from jobs.export.names import DEFAULT_LAYOUT, Layout, Names
from jobs.export.progress import ExportProgress
from jobs.export.rows import Rows
from jobs.export.target import check_target

FORMS = ("folder", "csv", "hf", "webdataset")
LAYOUTS = {"folder": DEFAULT_LAYOUT, "hf": huggingface.LAYOUT, "webdataset": webdataset.LAYOUT}
DONE = "done"
MAX_LOST_LISTED = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """How an export ended. kept: images that were there already; skipped: items without an image, by status; lost: of
    the images that the storage has no more, the first."""

    target: str
    form: str
    rows: int
    written: int
    seconds: float
    kept: int = 0
    num_bytes: int = 0
    num_lost: int = 0
    renamed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    lost: list[dict[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def export_outputs(
    output: str,
    target: str,
    *,
    form: str = "folder",
    layout: str | None = None,
    where: Mapping[str, str] | None = None,
    numbered: bool = False,
    shard_bytes: int = webdataset.SHARD_BYTES,
    quiet: bool = False,
) -> Exported:
    """Exports what is done of the job at `output` to a folder or s3:// URI; CSV takes every status.

    where: {column: value} of the manifest; layout: see `names`. Raises SpecError, or StorageError for a place that
    cannot be used; an image that is gone costs only itself.
    """
    started = time.monotonic()
    _check(output, target, form, layout, where or {})
    every = Rows(output, where or {})
    if form == "csv":
        count, spent = sum(1 for _ in write_csv(every, target)), round(time.monotonic() - started, 1)
        return Exported(target=target, form=form, rows=count, written=count, seconds=spent)
    skipped = {status: count for status, count in sorted(every.statuses().items()) if status != DONE}
    rows = every.with_status(DONE)
    shape = Layout(layout or LAYOUTS[form], rows.columns, free_dots=form != "webdataset")
    names = Names(rows, shape, numbered=numbered)
    progress = ExportProgress(names.total, quiet=quiet)
    lost: list[Lost] = []
    num_lost = 0
    with progress:
        for one in _written(form, names, rows, output, target, shard_bytes):
            if isinstance(one, Lost):
                num_lost += 1
                lost = [*lost, one] if len(lost) < MAX_LOST_LISTED else lost
            else:
                progress.add(one.row["num_bytes"], kept=one.kept)
    return Exported(
        target=target,
        form=form,
        rows=names.total,
        written=progress.ended - progress.kept,
        kept=progress.kept,
        num_bytes=progress.num_bytes,
        num_lost=num_lost,
        renamed=len(names.shared),
        skipped=skipped,
        seconds=round(time.monotonic() - started, 1),
        lost=[asdict(one) for one in lost],
    )


def _written(
    form: str, names: Names, rows: Rows, output: str, target: str, shard_bytes: int
) -> Iterator[Copied | Lost]:
    if form == "hf":
        return huggingface.write_image_folder(names, rows, output, target)
    if form == "webdataset":
        return webdataset.write_shards(names, output, target, shard_bytes=shard_bytes)
    return copy_images(names, output, target)


def _check(output: str, target: str, form: str, layout: str | None, where: Mapping[str, str]) -> None:
    if form not in FORMS:
        raise SpecError(f"--to {form}: must be one of {', '.join(FORMS)}{did_you_mean(form, FORMS)}")
    if form == "csv" and layout is not None:
        raise SpecError("--layout: a CSV file holds no images; leave it out, or choose another --to")
    if form != "csv" and where.get("status", DONE) != DONE:
        raise SpecError(
            f"--where status={where['status']}: only items that are done have images; leave it out, or use --to csv"
        )
    check_target(output, target)
