"""Replaying an item: its image generated again from record and job folder alone, compared with the stored one.

    plan row + job.yaml -> fingerprints, id checked -> photo (or cached features) -> image -> same format -> compared

On this machine, in this process. Knows the output folder and the verbs of `dreamcache`; torch is imported late.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core import ids
from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.scenes import Overrides, overrides_of
from dreamcache.core.errors import (
    CacheError,
    DreamCacheError,
    ImageError,
    ModelError,
    SpecError,
    StorageError,
)
from dreamcache.core.photo_sets import photos_of
from dreamcache.core.records import Request, item_id
from dreamcache.inference.facts import PlanFacts, family_of_job, plan_facts
from dreamcache.provenance.invisible import InvisibleMark
from dreamcache.storage.arrow import reading
from dreamcache.storage.arrow_values import check_values
from dreamcache.storage.feature_cache import FeatureCache
from dreamcache.storage.image_store import ImageStore, decode_image, encode_image, read_metadata, read_xmp
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.roots import roots_of_job
from jobs.output.attention import attention_png
from jobs.output.folder import OutputFolder
from jobs.spec import parse_spec
from jobs.yaml_text import parse_yaml
from workers.context import request_of

if TYPE_CHECKING:
    from dreamcache.inference.session import JobSession

BOUND = 1
"""Of 255: what another batch size or number of threads may change (docs/decisions, number 0006)."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """How near the replayed image is. max_difference: of any channel, of 255; differing: share of pixels, 0 to 1.

    features: "photo" when the reference was encoded again, "cache" when the photo is gone or another one by now.
    try_number: of the try that the quality gate chose, counted from 0.
    """

    item_id: str
    subject_id: str
    prompt: str
    stored: str
    max_difference: int
    mean_difference: float
    differing: float
    features: str
    try_number: int
    device: str
    saved: list[str]

    @property
    def within_bound(self) -> bool:
        return self.max_difference <= BOUND

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "bound": BOUND, "within_bound": self.within_bound}


def replay(output: str, item: str, *, save: str | None = None, attention: str | None = None) -> Replay:
    """Generates item `item` (an id or its first digits) of the job at `output` again. save: folder or s3:// URI for the
    replayed image and a side by side. attention: path or s3:// URI of a PNG that shows what each place attends to.

    Raises DreamCacheError: no such item, no stored image, or a model, job file or photo that are not the record's.
    """
    folder = OutputFolder(output)
    spec = _job_of(folder)
    row = find_planned(folder, item)
    images = ImageStore(folder.uri, spec.images)
    stored, metadata = _stored(folder, images, row["item_id"])
    facts = _facts_of(spec, folder)
    _check_id(spec, row, facts)
    request, try_number = _chosen_try(spec, request_of(row), metadata)
    from dreamcache.inference.session import local_session

    with local_session(spec, facts) as session:
        source = _read_reference(session, request)
        rgb = _generate(session, request)
        device = str(session.device)
        if attention is not None:
            picture = _attention(session, request)
    saved = []
    if attention is not None:
        store_for(attention).write(attention, picture)
        saved.append(attention)
    again = encode_image(rgb, spec.images, metadata, read_xmp(stored))
    before, now = decode_image(stored), decode_image(again)
    distance = np.abs(before.astype(np.int16) - now.astype(np.int16)) if before.shape == now.shape else None
    if distance is None:
        raise ImageError(f"item {row['item_id'][:12]}: stored as {before.shape}, replayed as {now.shape}")
    return Replay(
        item_id=row["item_id"],
        subject_id=row["subject_id"],
        prompt=row["prompt"],
        stored=folder.at(images.key_of(row["item_id"])),
        max_difference=int(distance.max()),
        mean_difference=round(float(distance.mean()), 4),
        differing=round(float((distance.max(axis=2) > 0).mean()), 6),
        features=source,
        try_number=try_number,
        device=device,
        saved=saved
        + (_save(save, row["item_id"], spec.images.extension, again, before, now) if save else []),
    )


def find_planned(folder: OutputFolder, item: str) -> dict[str, Any]:
    """The plan's row of an item. Raises StorageError when there is none, or more than one begins so."""
    matches: list[dict[str, Any]] = []
    for key in folder.plan_parts():
        uri, data = folder.files.at(key), folder.files.read(key)
        with reading(uri, "a part of a plan", code="bad_part", remedy="'dreamcache run' writes it anew"):
            table = pq.read_table(pa.BufferReader(data))
            check_values(table)
            matches += table.filter(pc.starts_with(table["item_id"], item)).slice(0, 2).to_pylist()
    if len(matches) != 1:
        names = (
            "more than one item" if matches else "none; an item that is no longer planned cannot be replayed"
        )
        raise StorageError(
            f"item '{item}': must name one item of the plan in '{folder.uri}', names {names}", code="no_item"
        )
    return matches[0]


def _stored(folder: OutputFolder, images: ImageStore, item: str) -> tuple[bytes, dict[str, str]]:
    """The item's file with its metadata. Raises StorageError `no_image`, ImageError for a file that is no image."""
    place = folder.at(images.key_of(item))
    try:
        data = images.read(images.key_of(item))
        return data, read_metadata(data)
    except FileNotFoundError:
        rule = f"has no image at {place} to compare with; see 'dreamcache outputs'"
        raise StorageError(f"item {item[:12]}: {rule}", code="no_image") from None
    except ImageError as error:
        raise ImageError(f"item {item[:12]}: {place}: {error}; generate it again", code=error.code) from error


def _job_of(folder: OutputFolder) -> JobSpec:
    """job.yaml, as the last run wrote it."""
    uri = folder.at("job.yaml")
    try:
        values = parse_yaml(folder.files.read("job.yaml"), uri)
    except FileNotFoundError as error:
        raise StorageError(
            f"output '{folder.uri}': has no job.yaml; no job has run there", code="no_job"
        ) from error
    return parse_spec(values if isinstance(values, dict) else {}, where=uri)


def _facts_of(spec: JobSpec, folder: OutputFolder) -> PlanFacts:
    """The models as they are here. Raises ModelError when the manifest names others."""
    facts = plan_facts(spec)
    manifest = folder.read_summary() or {}
    for name, info in (("base", facts.base), ("adapter", facts.adapter)):
        then, here = manifest.get(name, {}).get("fingerprint", info.fingerprint), info.fingerprint
        if then != here:
            where = spec.model.base if name == "base" else spec.model.adapter
            raise ModelError(
                f"{name} '{where}': the manifest's images were generated with {then[:12]}, here it is {here[:12]}; "
                f"bring back the files of then"
            )
    return facts


def _check_id(spec: JobSpec, row: dict[str, Any], facts: PlanFacts) -> None:
    """An item's id holds all that decides its pixels, so the same id means that nothing has changed."""
    overrides = _overrides(row)
    now = item_id(
        subject_id=row["subject_id"],
        cache_key=row["cache_key"],
        prompt=row["prompt"],
        sample=row["sample"],
        seed=overrides.seed_over(spec.seed),
        adapter_fingerprint=facts.adapter.fingerprint,
        settings=overrides.generation(spec.generation),
        image_format=spec.images,
        noise=spec.noise,
        quality=facts.gate,
    )
    if now != row["item_id"]:
        raise ModelError(
            f"item {row['item_id'][:12]}: job.yaml and model of now give its plan row the id {now[:12]}; settings, "
            f"adapter or version of dreamcache have changed since"
        )


def _overrides(row: Mapping[str, Any]) -> Overrides:
    """Of a plan's row. Raises StorageError for what no plan wrote."""
    try:
        return overrides_of(row.get("overrides"))
    except ValueError as error:
        raise StorageError(
            f"item {row['item_id'][:12]}: its plan row is damaged: {error}; 'dreamcache run' writes the plan anew",
            code="bad_part",
        ) from error


def _chosen_try(spec: JobSpec, request: Request, metadata: dict[str, str]) -> tuple[Request, int]:
    """(the request with the seed of the stored image, the number of that try), from the image's own metadata."""
    stored_seed = metadata.get("seed")
    if spec.quality is None or stored_seed is None:
        return request, 0
    for number in range(spec.quality.tries):
        seed = ids.seed_of_try(request.seed, number)
        if str(seed) == stored_seed:
            return replace(request, seed=seed), number
    raise ImageError(
        f"item {request.item_id[:12]}: its image names seed {stored_seed}, which none of its {spec.quality.tries} "
        f"tries has"
    )


def _check_roots(spec: JobSpec, request: Request) -> None:
    """Raises ImageError for a photo or mask that job.yaml does not let this job read, whatever the plan's row names."""
    roots = roots_of_job(spec)
    named = [
        (kind, uri) for one in photos_of(request) for kind, uri in (("image", one.image), ("mask", one.mask))
    ]
    for kind, uri in named:
        if uri:
            roots.check(uri, f"subject '{request.subject_id}': {kind} '{uri}'")


def _attention(session: JobSession, request: Request) -> bytes:
    """`attention_png` of a photo that the job may read. Raises ImageError, SpecError for an item of several photos."""
    if request.photo_set is not None:
        raise SpecError(
            "--attention: shows where one photo was read, and this item has several; replay it without the option"
        )
    _check_roots(session.spec, request)
    return attention_png(session, request)


def _read_reference(session: JobSession, request: Request) -> str:
    """Where the subject was read from: its photo, if it is still the record's; else the job's feature cache."""
    spec = session.spec
    try:
        _check_roots(spec, request)
        session.references.get(request)
    except (ImageError, CacheError) as error:
        if not family_of_job(spec).caches_features:
            raise
        cache = FeatureCache(spec.cache_uri, session.facts.base.fingerprint)
        with suppress(DreamCacheError):
            if session.references.recall(request, cache):
                return "cache"
        raise ImageError(
            f"{error}; and the feature cache does not hold it either", code=error.code
        ) from error
    return "photo"


def _generate(session: JobSession, request: Request) -> Pixels:
    from dreamcache.inference.outcome import Generated

    # The job's batch size, filled up as a worker fills it: a kernel's last bits depend on the batch's shape.
    [outcome] = session.generator().generate([request])
    if isinstance(outcome, Generated):
        mark = session.spec.provenance.invisible
        return InvisibleMark(mark).apply(outcome.rgb) if mark is not None else outcome.rgb
    raise DreamCacheError(outcome.message, code=outcome.code)


def _save(folder: str, item: str, extension: str, again: bytes, before: Pixels, now: Pixels) -> list[str]:
    """The replayed file, and a picture of stored, replayed and their difference (grey where equal, times 8)."""
    difference = np.clip(128 + 8 * (now.astype(np.int16) - before), 0, 255).astype(np.uint8)
    sheet = io.BytesIO()
    Image.fromarray(np.concatenate([before, now, difference], axis=1)).save(sheet, "PNG")
    files = {f"{item[:12]}-replayed.{extension}": again, f"{item[:12]}-side-by-side.png": sheet.getvalue()}
    for name, data in files.items():
        store_for(folder).write(join(folder, name), data)
    return [join(folder, name) for name in files]
