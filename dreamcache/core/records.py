"""The records handed from step to step. Frozen values; ids are content hashes (see `core.ids`).

    catalog row -> Subject -> Reference -> (feature cache) -> Request -> Done | Blocked | Failed

A field of `Request`, `Quality` and of an outcome is a column of the tables that hold it (`storage.schema`).
Knows nothing of files, models or Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings, GenerationSettings, ImageFormat
from dreamcache.core.config.scenes import NO_OVERRIDES, Overrides

Status = Literal["done", "blocked", "failed"]
Int32 = Annotated[int, 32]
"""An integer that a table holds in 32 bits; a plain `int` has 64."""

ENCODE_VERSION = 1
"""Raised when a release changes features for the same settings: segmenting, packshot, tap."""

GENERATE_VERSION = 1
"""Raised when a release changes pixels for the same settings: denoising, decoding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """One photo of a product, and its mask if it has one: paths or s3:// URIs."""

    image: str
    mask: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One product of the catalog. `attributes` are the catalog's further columns as text, for prompts and manifest.

    image, mask: the first photo. further: other photos of the same product, in the catalog's order.
    typed: of the attributes, the values that are no text: numbers, booleans and lists, for the manifest's `attr_`
    columns. overrides: settings of its own, from columns that the job file maps.
    """

    subject_id: str
    class_name: str
    image: str
    mask: str | None = None
    prompts: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    further: tuple[Photo, ...] = ()
    typed: Mapping[str, object] = field(default_factory=dict)
    overrides: Overrides = NO_OVERRIDES

    @property
    def photos(self) -> tuple[Photo, ...]:
        """All of them, the first one first."""
        return (Photo(image=self.image, mask=self.mask), *self.further)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A subject's photo, by content. An unreadable photo has an id too, from its URI, so that its items can be
    recorded as failed with `code` and `message`; once the file can be read, the id is another one. One that cannot be
    read for now, and was read before, has code and message and the id of what it was."""

    reference_id: str
    code: str | None = None
    message: str | None = None

    @staticmethod
    def id_of(image: bytes, mask: bytes | None) -> str:
        return Reference.id_of_contents(ids.of_bytes(image), ids.of_bytes(mask) if mask is not None else None)

    @staticmethod
    def id_of_contents(image: str, mask: str | None) -> str:
        """image, mask: sha256 of their bytes, 64 hex digits."""
        return ids.of_values("reference", image=image, mask=mask)

    @staticmethod
    def id_of_unreadable(uri: str, code: str) -> str:
        return ids.of_values("unreadable-reference", uri=uri, code=code)


def cache_key(reference_id: str, base_fingerprint: str, settings: EncodeSettings, class_name: str) -> str:
    """Names the features of one reference: photo, base model and all encoding settings decide them.

    The class name counts only where a segmenter or the encoding pass is prompted with it.
    """
    return features_template(base_fingerprint, settings, class_name).key(reference=reference_id)


def features_template(base_fingerprint: str, settings: EncodeSettings, class_name: str) -> ids.Template:
    """`cache_key` of many photos: all but `reference` is filled in."""
    by_class = settings.segmenter in ("grounded-sam", "lang-sam") or settings.text_for("") != settings.text
    prompted = class_name if by_class else None
    return ids.Template(
        "features",
        open_values=("reference",),
        version=ENCODE_VERSION,
        base=base_fingerprint,
        settings=settings.as_dict(),
        class_name=prompted,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One image to generate: a row of the plan.

    With several photos, `photo_set` lists them all (`core.photo_sets`), `cache_key` names the set, and image, mask and
    reference_id are those of the first; with one, photo_set is None.
    overrides: settings of its own, of its scene or catalog row (`config.scenes.Overrides.text`); None for the job's.
    """

    item_id: str
    subject_id: str
    class_name: str
    reference_id: str
    cache_key: str
    image: str
    mask: str | None
    prompt: str
    sample: Int32
    seed: int
    photo_set: str | None = None
    overrides: str | None = None


def item_id(
    *,
    subject_id: str,
    cache_key: str,
    prompt: str,
    sample: int,
    seed: int,
    adapter_fingerprint: str,
    settings: GenerationSettings,
    image_format: ImageFormat,
    noise: str = "item",
    quality: str | None = None,
) -> str:
    """Hash of all that decides the pixels of the stored image; `seed` is the job's.

    noise: "item" or "scene". quality: `QualitySettings.identity` of a job with a gate.
    """
    template = item_template(
        seed=seed, adapter_fingerprint=adapter_fingerprint, settings=settings, image_format=image_format,
        noise=noise,
    )  # fmt: skip
    ungated = template.key(cache_key=cache_key, prompt=prompt, sample=sample, subject=subject_id)
    return gated_template(quality).key(item=ungated) if quality else ungated


def item_template(
    *,
    seed: int,
    adapter_fingerprint: str,
    settings: GenerationSettings,
    image_format: ImageFormat,
    noise: str = "item",
) -> ids.Template:
    """`item_id` of many items of one job: `cache_key`, `prompt`, `sample` and `subject` are left open."""
    # Named only where it is not the usual, whose ids are older than the choice.
    chosen = {} if noise == "item" else {"noise": noise}
    return ids.Template(
        "item",
        open_values=("cache_key", "prompt", "sample", "subject"),
        version=GENERATE_VERSION,
        seed=seed,
        adapter=adapter_fingerprint,
        settings=settings.as_dict(),
        format=image_format.as_dict(),
        **chosen,
    )


def scene_template(seed: int) -> ids.Template:
    """What the noise of `noise: scene` depends on: `prompt`, `sample` and `subject`, left open, and the job's seed."""
    return ids.Template("scene", open_values=("prompt", "sample", "subject"), seed=seed)


def gated_template(quality: str) -> ids.Template:
    """The id of an item behind a gate, a hash of the id it has without a gate: `item` is left open.

    Its seed stays that of the id without, so that a gate begins with the image that a job without one generates.
    """
    return ids.Template("gated-item", open_values=("item",), quality=quality)


def next_template() -> ids.Template:
    """The id of the item that takes the place of a rejected one, a hash of that one's id: `item` is left open.

    Its seed derives from it as any item's does, so a rejected image is generated again from the next noise.
    """
    return ids.Template("next-item", open_values=("item",))


def settings_fingerprint(
    *,
    adapter_fingerprint: str,
    settings: GenerationSettings,
    image_format: ImageFormat,
    noise: str = "item",
    quality: str | None = None,
) -> str:
    """Hash of what decides an image besides its subject, prompt, sample and seed: one value for all items of a run.

    Arguments as of `item_id`.
    """
    return ids.of_values(
        "settings",
        version=GENERATE_VERSION,
        adapter=adapter_fingerprint,
        settings=settings.as_dict(),
        format=image_format.as_dict(),
        noise=noise,
        quality=quality,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What the quality gate saw. tries: images generated until the item was decided.

    seed, image_score, text_score: of the accepted image, or of the best that was not good enough; None where the gate
    does not ask for a score, or the segmenter found nothing. The further ones: `evaluation.truth.check.Truth`.
    """

    tries: Int32
    seed: int
    image_score: float | None = None
    text_score: float | None = None
    contrast: float | None = None
    completeness: float | None = None
    count_difference: Int32 | None = None
    colour_difference: float | None = None
    label_words: float | None = None
    label_state: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """The image is committed under `key`, relative to the job's output.

    Here and below, segment_note: why no subject was cut out, so that the whole photo was the reference: a key of
    `segment.REASONS`; None where a subject was. settings_fingerprint: `settings_fingerprint` of the run, a key of
    settings.json; gpu_seconds: the item's share of its batch's time times the worker's declared GPUs. Both are None
    where none was recorded. marks: layers of provenance in the stored file, "xmp,c2pa". perceptual_hash: of the stored
    pixels, `provenance.hashes`.
    """

    item_id: str
    status: Literal["done"] = "done"
    key: str
    attempts: Int32 = 1
    width: Int32
    height: Int32
    num_bytes: int
    pixel_sha256: str
    seconds: float = 0.0
    device: str = ""
    quality: Quality | None = None
    segment_note: str | None = None
    settings_fingerprint: str | None = None
    gpu_seconds: float | None = None
    marks: str | None = None
    perceptual_hash: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocked:
    """An image was generated and is withheld by a rule (quality gate, safety checker)."""

    item_id: str
    status: Literal["blocked"] = "blocked"
    code: str
    message: str
    attempts: Int32 = 1
    quality: Quality | None = None
    segment_note: str | None = None
    settings_fingerprint: str | None = None
    gpu_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """No image. `code` is stable and can be filtered on; `message` says where, rule, got and remedy."""

    item_id: str
    status: Literal["failed"] = "failed"
    code: str
    message: str
    attempts: Int32 = 1
    settings_fingerprint: str | None = None


Outcome = Done | Blocked | Failed
