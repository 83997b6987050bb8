"""Writes the gallery of a manifest. Knows its columns and the page's parts; not where the bytes go.

The same manifest and thumbnails give the same bytes: no clock, no random names, order as in the manifest.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core import ids
from dreamcache.core.errors import DreamCacheError
from jobs.gallery import data as gallery_data

ITEM_LIMIT = 100_000
PART_ITEMS = 5_000
"""Items of one script of data: the page shows the first part while the others load."""
STATUSES = ("done", "failed", "blocked", "pending")
REQUIRED = ("item_id", "subject_id", "class_name", "prompt", "status", "key")

# Scripts and styles of the page itself run by their hash. `file:` is beside 'self' because a page
# opened from disk has no origin that 'self' could match in every browser.
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; "
    "style-src '{style}'; script-src 'self' file: '{script}'; connect-src {connect}"
)
SCRIPTS = ("items", "verdicts", "filters", "rows", "cards", "viewer", "start", "sync", "run")
"""In this order: the last one begins."""


class ReferencePhotos(Protocol):
    """Thumbnails by subject."""

    def get(self, subject: str, /) -> bytes | None:
        """The thumbnail's bytes; None where there is none."""


def write_gallery(
    *,
    manifest: pa.Table,
    references: ReferencePhotos,
    write: Callable[[str, bytes], None],
    title: str,
    source: str = "",
    limit: int = ITEM_LIMIT,
    totals: Mapping[str, int] | None = None,
    job_key: str = "",
    served_to: str | None = None,
) -> str:
    """Write `gallery/` and return the page's key, `gallery/index.html`, relative to the output root.

    manifest: one row per item; images of status `done` lie at `key`, relative to the output root. Columns
        the job does not know are the catalog's attributes and are shown with their subject.
    references: thumbnail bytes by subject id (see `make_thumbnail`); a missing one shows as unreadable.
        `get` is called once for each subject of `shown_subjects`, in that order, so that they may load lazily.
    write: stores bytes under a key; the page itself is written last.
    source: the output's own address, named in the footer.
    limit: items on the page; the counts are always of the whole manifest.
    totals: items by status and number of subjects, where `manifest` is only the beginning of a larger one.
    job_key: names the job in the browser's storage, where verdicts are kept.
    served_to: a page of `gallery --serve` sends verdicts to its server; the reviewer's name, "" if it is not known.
    Raises DreamCacheError (`bad_manifest`) if a column is missing.
    """
    _check_columns(manifest)
    shown = manifest.slice(0, limit)
    names: dict[str, str] = {}
    for subject_id in shown_subjects(manifest, limit=limit):
        photo = references.get(subject_id)
        if photo is not None:
            names[subject_id] = f"{_stem(subject_id)}.{_extension(photo)}"
            write(f"gallery/{names[subject_id]}", photo)
    about = {"job": job_key, "serve": served_to is not None, "reviewer": served_to or ""}
    for key, script in gallery_data.as_scripts(shown, names, about, rows=PART_ITEMS):
        write(f"gallery/{key}", script)
    page = _page(totals or _totals(manifest), len(shown), title, source, is_served=served_to is not None)
    write("gallery/index.html", page)
    return "gallery/index.html"


def shown_subjects(manifest: pa.Table, *, limit: int = ITEM_LIMIT) -> list[str]:
    """Ids of the subjects that a gallery of this manifest shows: those worth a thumbnail."""
    return [str(value) for value in manifest["subject_id"].slice(0, limit).unique().to_pylist()]


def _check_columns(manifest: pa.Table) -> None:
    missing = [name for name in REQUIRED if name not in manifest.column_names]
    if missing:
        raise DreamCacheError(
            f"manifest: columns {', '.join(missing)} are missing, got {', '.join(manifest.column_names)}; "
            "take the manifest.parquet of a DreamCache job",
            code="bad_manifest",
        )


def _page(totals: Mapping[str, int], num_shown: int, title: str, source: str, *, is_served: bool) -> bytes:
    style, script = _part("style.css"), "".join(_part(f"{name}.js") for name in SCRIPTS)
    connect = "'self'" if is_served else "'none'"
    policy = POLICY.format(style=_hash(style), script=_hash(script), connect=connect)
    values = {"title": html.escape(title), "policy": html.escape(policy, quote=False)}
    values |= {"style": style, "script": script, "source": html.escape(source or "the job's output folder")}
    values |= _counts(totals)
    values["notice"] = ""
    num_items = sum(totals[name] for name in STATUSES)
    if num_shown < num_items:
        values["notice"] = (
            f'<p class="notice">This page holds the first {num_shown:,} of {num_items:,} items; '
            "all of them are in <code>manifest.parquet</code>, failures in <code>failed.csv</code>.</p>"
        )
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _part("page.html")).encode()


def _totals(manifest: pa.Table) -> dict[str, int]:
    """Items by status, and subjects."""
    totals = {name: int(pc.sum(pc.equal(manifest["status"], name)).as_py() or 0) for name in STATUSES}
    return {**totals, "subjects": len(manifest["subject_id"].unique())}


def _counts(totals: Mapping[str, int]) -> dict[str, str]:
    """Texts of the header, counted over the whole manifest."""
    subjects, done = totals["subjects"], totals["done"]
    texts = {name: f"{totals[name]:,}" for name in STATUSES}
    texts["no_pending"] = "" if totals["pending"] else "hidden"
    texts["all"] = f"{sum(totals[name] for name in STATUSES):,}"
    texts["subjects"] = f"{subjects:,} subject{'' if subjects == 1 else 's'}"
    texts["images"] = f"{done:,} image{'' if done == 1 else 's'}"
    return texts


def _part(name: str) -> str:
    return resources.files("jobs.gallery").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def thumbnail_keys(subject_id: str) -> list[str]:
    """Where a gallery has the subject's thumbnail: one of these, relative to the output root."""
    return [f"gallery/{_stem(subject_id)}.{ending}" for ending in ("webp", "png", "jpg")]


def _stem(subject_id: str) -> str:
    return f"references/{ids.of_values('gallery-reference', subject=subject_id)[:32]}"


def _extension(photo: bytes) -> str:
    if photo.startswith(b"\x89PNG"):
        return "png"
    return "jpg" if photo.startswith(b"\xff\xd8") else "webp"
