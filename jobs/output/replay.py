"""Replaying an item: one image made again from its record and the job's folder alone, and compared with the stored one.

    plan row + job.yaml -> fingerprints, id checked -> photo (or cached features) -> drawn -> same format -> compared

On this machine, in this process. Knows the output folder and the verbs of `dreamcache`; torch is imported late.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import CacheError, DreamCacheError, ImageError, ModelError, StorageError
from dreamcache.core.records import Request, item_id
from dreamcache.inference.families import describe_method
from dreamcache.storage.feature_cache import FeatureCache
from dreamcache.storage.image_store import ImageStore, decode_image, encode_image, read_metadata
from dreamcache.storage.models.artifacts import AdapterInfo, BaseInfo, describe_base
from dreamcache.storage.models.encoders import gate_identity
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.photos import read_reference
from jobs.output.attention import attention_png
from jobs.output.folder import OutputFolder
from jobs.spec import parse_spec
from workers.context import request_of

if TYPE_CHECKING:
    from dreamcache.inference.pipeline import DreamCachePipeline

BOUND = 1
"""Of 255: what another batch size or number of threads may change (ARCHITECTURE, decision on batches)."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """How near the replayed image is. max_difference: of any channel, of 255; differing: share of pixels, 0 to 1.

    features: "photo" when the reference was encoded again, "cache" when the photo is gone or another one by now.
    try_number: of the try that a quality gate has kept, counted from 0.
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
    """Makes item `item` (an id or its first digits) of the job at `output` again. save: folder or s3:// URI for the
    replayed image and a side by side. attention: path or s3:// URI of a PNG that shows where each place looked.

    Raises DreamCacheError: no such item, no stored image, or a model, job file or photo that are not the record's.
    """
    folder = OutputFolder(output)
    spec = _job_of(folder)
    row = find_planned(folder, item)
    images = ImageStore(folder.uri, spec.images)
    key = images.key_of(row["item_id"])
    try:
        stored = images.read(key)
    except FileNotFoundError:
        raise StorageError(
            f"item {row['item_id'][:12]}: has no image at {folder.at(key)} to compare with; see 'dreamcache outputs'",
            code="no_image",
        ) from None
    base, adapter = _models_of(spec, folder)
    _check_id(spec, row, adapter)
    request, try_number = _kept_try(spec, request_of(row), read_metadata(stored))
    with _pipeline(spec) as pipe:
        features, source = _features(spec, request, base, adapter, pipe)
        rgb = _draw(spec, request, features, pipe)
        device = str(pipe.base.device)
        if attention is not None:
            read_reference(request, spec.limits)
            picture = attention_png(spec, request, _reference(spec, base, adapter), pipe)
    saved = []
    if attention is not None:
        store_for(attention).write(attention, picture)
        saved.append(attention)
    again = encode_image(rgb, spec.images, read_metadata(stored))
    before, now = decode_image(stored), decode_image(again)
    distance = np.abs(before.astype(np.int16) - now.astype(np.int16)) if before.shape == now.shape else None
    if distance is None:
        raise ImageError(f"item {row['item_id'][:12]}: stored as {before.shape}, replayed as {now.shape}")
    return Replay(
        item_id=row["item_id"],
        subject_id=row["subject_id"],
        prompt=row["prompt"],
        stored=folder.at(key),
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
    found: list[dict[str, Any]] = []
    for info in sorted(folder.store.list(folder.at("plan")), key=lambda info: info.uri):
        if not info.uri.endswith(".parquet"):
            continue
        table = pq.read_table(pa.BufferReader(folder.store.read(info.uri)))
        found += table.filter(pc.starts_with(table["item_id"], item)).slice(0, 2).to_pylist()
    if len(found) != 1:
        names = "more than one item" if found else "none; an item that is planned no more cannot be replayed"
        raise StorageError(
            f"item '{item}': must name one item of the plan in '{folder.uri}', names {names}", code="no_item"
        )
    return found[0]


def _job_of(folder: OutputFolder) -> JobSpec:
    """job.yaml, as the last run wrote it."""
    uri = folder.at("job.yaml")
    try:
        values = yaml.safe_load(folder.store.read(uri))
    except FileNotFoundError as error:
        raise StorageError(
            f"output '{folder.uri}': has no job.yaml; no job has run there", code="no_job"
        ) from error
    return parse_spec(values if isinstance(values, dict) else {}, where=uri)


def _models_of(spec: JobSpec, folder: OutputFolder) -> tuple[BaseInfo, AdapterInfo]:
    """Base and adapter as they are here. Raises ModelError when the manifest names others."""
    base = describe_base(spec.model.base, spec.model.revision)
    adapter = describe_method(spec.method, spec.model.adapter, base)
    told = folder.read_json("manifest.json") or {}
    for name, here in (("base", base.fingerprint), ("adapter", adapter.fingerprint)):
        then = told.get(name, {}).get("fingerprint", here)
        if then != here:
            where = spec.model.base if name == "base" else spec.model.adapter
            raise ModelError(
                f"{name} '{where}': the manifest's images were made with {then[:12]}, here it is {here[:12]}; "
                f"bring back the files of then"
            )
    return base, adapter


def _check_id(spec: JobSpec, row: dict[str, Any], adapter: AdapterInfo) -> None:
    """An item's id holds all that decides its pixels, so the same id means that nothing has changed."""
    now = item_id(
        subject_id=row["subject_id"],
        cache_key=row["cache_key"],
        prompt=row["prompt"],
        sample=row["sample"],
        seed=spec.seed,
        adapter_fingerprint=adapter.fingerprint,
        settings=spec.generation,
        image_format=spec.images,
        noise=spec.noise,
        quality=gate_identity(spec.quality) if spec.quality else None,
    )
    if now != row["item_id"]:
        raise ModelError(
            f"item {row['item_id'][:12]}: job.yaml and model of now would make {now[:12]} of its plan row; settings, "
            f"adapter or version of dreamcache have changed since"
        )


def _kept_try(spec: JobSpec, request: Request, metadata: dict[str, str]) -> tuple[Request, int]:
    """(the request with the seed of the image that was kept, the number of that try): the image's own file tells."""
    kept = metadata.get("seed")
    if spec.quality is None or kept is None:
        return request, 0
    for number in range(spec.quality.tries):
        seed = ids.seed_of_try(request.seed, number)
        if str(seed) == kept:
            return replace(request, seed=seed), number
    raise ImageError(
        f"item {request.item_id[:12]}: its image names seed {kept}, which is none of its {spec.quality.tries} tries'"
    )


@contextmanager
def _pipeline(spec: JobSpec) -> Iterator[DreamCachePipeline]:
    """The job's pipeline as a generator worker has it, on this machine; torch's threads are put back afterwards."""
    import torch
    from diffusers.utils import logging

    from dreamcache.inference.families.load import load_method

    logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(spec.workers.generators.cpus)))
    wants_gpu = spec.workers.generators.gpus > 0
    try:
        yield load_method(
            spec.method,
            spec.model.base,
            revision=spec.model.revision,
            adapter=spec.model.adapter,
            dtype=getattr(torch, spec.model.dtype),
            device="cuda" if wants_gpu and torch.cuda.is_available() else "cpu",
        )
    finally:
        torch.set_num_threads(threads)


def _features(
    spec: JobSpec, request: Request, base: BaseInfo, adapter: AdapterInfo, pipe: DreamCachePipeline
) -> tuple[Any, str]:
    """(features, where from). From the photo, if it is still the record's; else from the job's feature cache."""
    from dreamcache.inference.families.photo import PhotoConditions
    from dreamcache.inference.references import ReferenceFeatures
    from dreamcache.model.features import SubjectFeatures

    if spec.method != "dreamcache":  # nothing of the others is cached: the photo must be the record's
        read_reference(request, spec.limits)
        return PhotoConditions(pipe, spec.limits).get(request), "photo"
    reference = _reference(spec, base, adapter)
    try:
        read_reference(request, spec.limits)
        with tempfile.TemporaryDirectory(prefix="dreamcache-replay-") as place:
            cache = FeatureCache(place, base.fingerprint)
            return ReferenceFeatures(pipe.encoder(reference), cache, spec.limits).get(request), "photo"
    except (ImageError, CacheError) as error:
        try:
            kept = FeatureCache(spec.cache_uri, base.fingerprint).get(request.cache_key)
        except DreamCacheError:
            kept = None
        if kept is None:
            raise ImageError(
                f"{error}; and the feature cache has nothing of it either", code=error.code
            ) from error
        return SubjectFeatures.from_stored(kept), "cache"


def _reference(spec: JobSpec, base: BaseInfo, adapter: AdapterInfo) -> EncodeSettings:
    return spec.reference.resolved(
        base.native_size, adapter.feature_places, spec.model.dtype, adapter.reference_unet
    )


def _draw(spec: JobSpec, request: Request, features: Any, pipe: DreamCachePipeline) -> Pixels:
    from dreamcache.inference.generate import Generated, Generator

    # The job's batch size, filled up as a worker fills it: a kernel's last bits depend on the batch's shape.
    generator = Generator(pipe, spec.generation, lambda _: features, batch_size=spec.workers.batch_size)
    [outcome] = generator.generate([request])
    if isinstance(outcome, Generated):
        return outcome.rgb
    raise DreamCacheError(outcome.message, code=outcome.code)


def _save(place: str, item: str, extension: str, again: bytes, before: Pixels, now: Pixels) -> list[str]:
    """The replayed file, and a picture of stored, replayed and their difference (grey where equal, times 8)."""
    difference = np.clip(128 + 8 * (now.astype(np.int16) - before), 0, 255).astype(np.uint8)
    sheet = io.BytesIO()
    Image.fromarray(np.concatenate([before, now, difference], axis=1)).save(sheet, "PNG")
    files = {f"{item[:12]}-replayed.{extension}": again, f"{item[:12]}-side-by-side.png": sheet.getvalue()}
    for name, data in files.items():
        store_for(place).write(join(place, name), data)
    return [join(place, name) for name in files]
