"""The plan: catalog x prompts x samples, one row per image, each with an id made of all that decides its pixels.

    catalog -> subjects -> photos' hashes -> rows, sorted by catalog order; rows that cannot run carry a code

Planning reads photos' bytes and models' small files; it loads no weights and never imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dreamcache import keys
from dreamcache.artifacts import AdapterInfo, BaseInfo, describe_base
from dreamcache.config import EncodeSettings, ImageLimits
from dreamcache.errors import ImageError, SpecError
from dreamcache.methods import describe_method
from dreamcache.photos import read_photo
from dreamcache.records import Reference, Subject, cache_key, item_id
from jobs.catalog import BadRow, read_catalog
from jobs.prompts import TemplateError, fill
from jobs.spec import JobSpec
from workers.tables import ERROR, REQUEST

PLAN_SCHEMA = pa.schema([*REQUEST, *ERROR, ("attributes", pa.string())])
READERS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """table has PLAN_SCHEMA; `code` is null for rows that can run. reference: settings with all filled in."""

    spec: JobSpec
    table: pa.Table
    base: BaseInfo
    adapter: AdapterInfo
    reference: EncodeSettings
    num_subjects: int
    num_repeated_prompts: int

    @property
    def num_items(self) -> int:
        return int(self.table.num_rows)

    @property
    def fingerprint(self) -> str:
        """sha256 of the sorted item ids: the same work has the same name."""
        return keys.of_values("plan", items=sorted(self.table["item_id"].to_pylist()))


def plan(spec: JobSpec) -> Plan:
    """Plans a job. Raises SpecError, CatalogError, ModelError or StorageError when nothing can be run at all."""
    base = describe_base(spec.model.base, spec.model.revision)
    adapter = describe_method(spec.method, spec.model.adapter, base)
    reference = spec.reference.resolved(base.native_size, adapter.places, spec.model.dtype)
    lacking = [place for place in adapter.places if place not in reference.places]
    if lacking:
        raise SpecError(f"reference.places: must hold every place of the adapter, lacks {', '.join(lacking)}")
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    num_subjects = repeated = 0
    entries = read_catalog(spec.catalog, columns=spec.columns, class_name=spec.class_name)
    for subject, photo in _with_references(entries, spec.limits):
        num_subjects += 1
        if isinstance(subject, BadRow):
            rows.append(_bad_row(subject))
            continue
        for row in _expand(spec, subject, photo, base, adapter, reference):
            if row["item_id"] in seen:
                repeated += 1
                continue
            seen.add(row["item_id"])
            rows.append(row)
    if not rows:
        raise SpecError(f"catalog '{spec.catalog}': has no rows; there is nothing to do")
    if not any(row["prompt"] for row in rows) and any(row["code"] == "no_prompts" for row in rows):
        raise SpecError(
            "prompts: must have at least one prompt, in the job file or in the catalog's column 'prompts'; got none"
        )
    return Plan(
        spec=spec,
        table=pa.Table.from_pylist(rows, schema=PLAN_SCHEMA),
        base=base,
        adapter=adapter,
        reference=reference,
        num_subjects=num_subjects,
        num_repeated_prompts=repeated,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """A subject's reference id, or why its photo cannot be read."""

    reference_id: str
    code: str | None = None
    message: str | None = None


def _with_references(
    entries: Iterator[Subject | BadRow], limits: ImageLimits
) -> Iterator[tuple[Subject | BadRow, Photo]]:
    """Reads photos ahead with a few threads, in catalog order, holding a bounded number of bytes."""
    nothing = Photo(reference_id="")
    with ThreadPoolExecutor(READERS) as pool:
        waiting: list[tuple[Subject | BadRow, Any]] = []
        for entry in entries:
            waiting.append(
                (entry, pool.submit(_photo, entry, limits) if isinstance(entry, Subject) else None)
            )
            if len(waiting) >= 4 * READERS:
                first, future = waiting.pop(0)
                yield first, future.result() if future else nothing
        for first, future in waiting:
            yield first, future.result() if future else nothing


def _photo(subject: Subject, limits: ImageLimits) -> Photo:
    where = f"subject '{subject.subject_id}'"
    try:
        image = read_photo(subject.image, f"{where}: image '{subject.image}'", limits)
        mask = read_photo(subject.mask, f"{where}: mask '{subject.mask}'", limits) if subject.mask else None
    except ImageError as error:
        reference_id = Reference.id_of_unreadable(subject.image, error.code)
        return Photo(reference_id=reference_id, code=error.code, message=str(error))
    return Photo(reference_id=Reference.id_of(image, mask))


def _expand(
    spec: JobSpec,
    subject: Subject,
    photo: Photo,
    base: BaseInfo,
    adapter: AdapterInfo,
    reference: EncodeSettings,
) -> Iterator[dict[str, Any]]:
    key = cache_key(photo.reference_id, base.fingerprint, reference, subject.class_name)
    prompts = subject.prompts + spec.prompts
    if not prompts:
        why = f"subject '{subject.subject_id}': needs at least one prompt, in the job file or in column 'prompts'"
        prompts, photo = ("",), Photo(reference_id=photo.reference_id, code="no_prompts", message=why)
    for template in prompts:
        prompt, code, message = _prompt(template, subject, photo)
        for sample in range(spec.samples):
            ident = item_id(
                subject_id=subject.subject_id,
                cache_key=key,
                prompt=prompt,
                sample=sample,
                seed=spec.seed,
                adapter_fingerprint=adapter.fingerprint,
                settings=spec.generation,
                image_format=spec.images,
            )
            yield {
                "item_id": ident,
                "subject_id": subject.subject_id,
                "class_name": subject.class_name,
                "reference_id": photo.reference_id,
                "cache_key": key,
                "image": subject.image,
                "mask": subject.mask,
                "prompt": prompt,
                "sample": sample,
                "seed": keys.seed_of(ident),
                "code": code,
                "message": message,
                "attributes": json.dumps(dict(subject.attributes), ensure_ascii=False),
            }


def _prompt(template: str, subject: Subject, photo: Photo) -> tuple[str, str | None, str | None]:
    """(prompt, code, message); a prompt that cannot be filled is shown as it was written."""
    if photo.code == "no_prompts":
        return template, photo.code, photo.message
    try:
        prompt = fill(template, subject)
    except TemplateError as error:
        return template, error.code, str(error)
    return prompt, photo.code, photo.message


def _bad_row(bad: BadRow) -> dict[str, Any]:
    ident = keys.of_values("bad-row", row=bad.row, subject=bad.subject_id, code=bad.code, message=bad.message)
    row = dict.fromkeys(PLAN_SCHEMA.names, "")
    return {
        **row,
        "item_id": ident,
        "subject_id": bad.subject_id,
        "mask": None,
        "sample": 0,
        "seed": 0,
        "code": bad.code,
        "message": bad.message,
        "attributes": "{}",
    }
