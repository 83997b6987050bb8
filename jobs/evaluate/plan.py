"""What an evaluation has to score: each method's images with the real photos they are compared with, and ids.

    job's manifest | folder of images  +  real photos (DreamBench, a folder, or the job's own)  ->  PlannedImage

Knows manifests and folders; reads photos' bytes for their hashes; never imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dreamcache.core import ids
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.errors import CatalogError, SpecError
from dreamcache.core.parallel import map_ordered
from dreamcache.core.photo_sets import parsed
from dreamcache.evaluation.dreambench import PHOTO_SUFFIXES, Benchmark, BenchSubject, read_dreambench
from dreamcache.evaluation.folder import read_folder
from dreamcache.evaluation.scores import RealPhoto, ScoreRequest, score_id
from dreamcache.evaluation.truth.identity import segmenter_weights
from dreamcache.storage.models.encoders import fingerprint
from dreamcache.storage.open_store import store_for
from dreamcache.storage.roots import Roots
from dreamcache.storage.store import relative_to
from jobs.evaluate.spec import EvalSpec, MethodSpec
from jobs.output.folder import OutputFolder
from jobs.output.reader import outputs

RealPhotos = Mapping[str, tuple[RealPhoto, ...]]
"""By subject id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedImage:
    """One image of one method. Two methods that share a file share its score.

    sample: number among the images of the same subject and prompt; images of two methods are paired by it.
    """

    method: str
    request: ScoreRequest
    sample: int | None = None


def real_photos(spec: EvalSpec, bench: Benchmark | None) -> RealPhotos | None:
    """All real photos by subject, from `real` or the benchmark; None where each job's own photo is meant."""
    if spec.real is not None:
        uris_of: dict[str, list[str]] = {}
        masks: set[str] = set()
        for info in store_for(spec.real).list(spec.real):
            parts = relative_to(info.uri, spec.real).split("/")
            if len(parts) == 2 and parts[1].endswith(".mask.png"):
                masks.add(info.uri)
            elif len(parts) == 2 and parts[1].lower().endswith(PHOTO_SUFFIXES):
                uris_of.setdefault(parts[0], []).append(info.uri)
        if not uris_of:
            raise CatalogError(
                f"real '{spec.real}': must hold <subject_id>/<photo>, holds no photo; check the path"
            )
        return _hashed({subject: sorted(uris) for subject, uris in uris_of.items()}, masks)
    if bench is not None:
        return _hashed({subject.subject_id: list(subject.photos) for subject in bench.subjects}, set())
    return None


def _hashed(photos: Mapping[str, Sequence[str]], masks: set[str]) -> RealPhotos:
    def photo(uri: str) -> RealPhoto:
        mask = uri.rpartition(".")[0] + ".mask.png"
        if mask not in masks:
            return RealPhoto(photo_id=_content(uri), uri=uri)
        return RealPhoto(
            photo_id=ids.of_values("photo", image=_content(uri), mask=_content(mask)), uri=uri, mask=mask
        )

    pairs = [(subject, uri) for subject, uris in photos.items() for uri in uris]
    read: dict[str, list[RealPhoto]] = {subject: [] for subject in photos}
    for (subject, _), one in zip(pairs, map_ordered(lambda pair: photo(pair[1]), pairs), strict=True):
        read[subject].append(one)
    return {subject: tuple(ones) for subject, ones in read.items()}


def plan_method(
    spec: EvalSpec, method: MethodSpec, real: RealPhotos | None, bench: Benchmark | None
) -> tuple[list[PlannedImage], int]:
    """(images to have a score, planned images that are not there). Raises DreamCacheError when there are none."""
    if method.images is not None:
        return _of_folder(spec, method, real, bench), 0
    output = method.job or spec.job_of(method).output
    rows, folder = outputs(output).to_pylist(), OutputFolder(output)
    # Keys and roots, not the columns `uri` and `image` alone: a manifest may name any file.
    if method.job is not None:
        rows = [row for row in rows if _is_asked(spec, bench, row["subject_id"], row["prompt"])]
    done = [row for row in rows if row["status"] == "done" and folder.image_uri(row)]
    roots = folder.photo_roots()
    if not done:
        rule = " of the benchmark's subjects and prompts" if bench is not None and method.job else ""
        raise CatalogError(f"method '{method.name}': job '{output}' has no image{rule}; see its failed.csv")
    settings = fingerprint(spec.metrics, segmenter=segmenter_weights(spec.metrics))
    planned = [_planned(method, {**row, "uri": folder.image_uri(row)}, real, settings, roots) for row in done]
    return planned, len(rows) - len(done)


def photo_hosts(spec: EvalSpec) -> tuple[CatalogHost, ...]:
    """The web hosts that the evaluated jobs may read their photos from, by each output's job.yaml."""
    outputs_of_jobs = [
        method.job or spec.job_of(method).output for method in spec.lines() if not method.images
    ]
    named = (host for output in outputs_of_jobs for host in OutputFolder(output).photo_roots().hosts)
    hosts = tuple(dict.fromkeys(named))
    sites = [host.site for host in hosts]
    for site in sites:
        if sites.count(site) > 1:
            raise SpecError(
                f"methods: their jobs state different catalog_hosts for {site}; evaluate them one by one, or let "
                "them agree"
            )
    return hosts


def _planned(
    method: MethodSpec, row: dict[str, Any], real: RealPhotos | None, settings: str, roots: Roots
) -> PlannedImage:
    if real is None:
        own = _own_photos(row)
        named = [uri for photo in own for uri in (photo.uri, photo.mask) if uri]
        photos = own if all(map(roots.allows, named)) else ()
    else:
        photos = real.get(row["subject_id"], ())
    request = _request(
        settings,
        photos,
        content=row["pixel_sha256"],
        subject_id=row["subject_id"],
        class_name=row["class_name"],
        image=row["uri"],
        prompt=row["prompt"],
    )
    return PlannedImage(method=method.name, request=request, sample=row["sample"])


def _is_asked(spec: EvalSpec, bench: Benchmark | None, subject_id: str, prompt: str | None) -> bool:
    """Whether a benchmark that was narrowed to some subjects or prompts still has this image."""
    if bench is None or spec.dreambench is None:
        return True
    subject = next((one for one in bench.subjects if one.subject_id == subject_id), None)
    if subject is None:
        return not spec.dreambench.subjects
    # What states no prompt may be of any.
    return spec.dreambench.num_prompts is None or prompt is None or prompt in subject.filled()


def _own_photos(row: dict[str, Any]) -> tuple[RealPhoto, ...]:
    """The item's references, as its manifest names them."""
    if not row.get("photo_set"):
        return (RealPhoto(photo_id=row["reference_id"], uri=row["image"], mask=row["mask"]),)
    photos = parsed(row["photo_set"], f"item {str(row['item_id'])[:12]}")
    return tuple(RealPhoto(photo_id=one.reference_id, uri=one.image, mask=one.mask) for one in photos)


def _of_folder(
    spec: EvalSpec, method: MethodSpec, real: RealPhotos | None, bench: Benchmark | None
) -> list[PlannedImage]:
    if real is None:
        raise SpecError(
            f"method '{method.name}': a folder of images needs real photos to compare with; set dreambench or real"
        )
    assert method.images is not None
    subjects = {subject.subject_id: subject for subject in bench.subjects} if bench else {}
    listed = read_folder(method.images, _all_prompts(spec, subjects))
    # Subjects and prompts that the evaluation was narrowed to; a folder may hold more.
    images = [
        image
        for image in listed
        if image.subject_id in real and _is_asked(spec, bench, image.subject_id, image.prompt)
    ]
    if not images:
        raise CatalogError(
            f"method '{method.name}': no folder in '{method.images}' is named like a subject, of which there are "
            f"{', '.join(list(real)[:10])}"
        )
    settings = fingerprint(spec.metrics, segmenter=segmenter_weights(spec.metrics))
    contents = list(map_ordered(lambda image: _content(image.uri), images))
    masks = list(map_ordered(lambda image: _content(image.mask) if image.mask else None, images))
    planned = []
    for image, content, mask in zip(images, contents, masks, strict=True):
        known = subjects.get(image.subject_id)
        request = _request(
            settings,
            real[image.subject_id],
            content=content,
            mask_content=mask,
            subject_id=image.subject_id,
            class_name=image.class_name or (known.class_name if known else ""),
            image=image.uri,
            prompt=image.prompt,
            mask=image.mask,
        )
        planned.append(PlannedImage(method=method.name, request=request, sample=image.sample))
    return planned


def _all_prompts(spec: EvalSpec, subjects: Mapping[str, BenchSubject]) -> dict[str, tuple[str, ...]]:
    """All prompts of each subject: a name's index counts them, also where the evaluation wants the first few only."""
    if spec.dreambench is not None and spec.dreambench.num_prompts is not None:
        whole = read_dreambench(spec.dreambench.path, subjects=tuple(subjects), words=spec.dreambench.words)
        return {subject.subject_id: subject.filled() for subject in whole.subjects}
    return {name: subject.filled() for name, subject in subjects.items()}


def _request(
    settings: str,
    photos: tuple[RealPhoto, ...],
    *,
    content: str,
    class_name: str,
    prompt: str | None,
    mask_content: str | None = None,
    **rest: Any,
) -> ScoreRequest:
    ident = score_id(
        image=content, prompt=prompt, class_name=class_name, real=photos, settings=settings, mask=mask_content
    )
    return ScoreRequest(score_id=ident, class_name=class_name, prompt=prompt, real=photos, **rest)


def unique(planned: Iterable[PlannedImage]) -> dict[str, ScoreRequest]:
    """Requests by score id."""
    return {image.request.score_id: image.request for image in planned}


def _content(uri: str) -> str:
    try:
        return ids.of_bytes(store_for(uri).read(uri))
    except FileNotFoundError:
        return ids.of_values("missing-photo", uri=uri)
