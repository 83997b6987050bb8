"""Builds plan rows as columns: what a subject's rows share is held once, and each item costs one hash.

    subjects -> lists by subject, by prompt, by item -> one Arrow table by repetition

Knows the plan's columns and how an item's id is computed; knows nothing of catalogs, photos or models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dreamcache.core import ids
from dreamcache.core.photo_sets import PlannedPhoto, parsed, set_key, written
from dreamcache.core.records import Request, Subject
from dreamcache.storage.schema import schema_of
from jobs.planning.catalog import BadRow
from jobs.planning.reviewed import NOT_REVIEWED, Reviewed, slot_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRow(Request):
    """A request, why it cannot run (None for one that can), and the catalog's further columns as a JSON object.

    scene: the name of its scene, or the template of the prompt: its index among the job's, from "0", or among the
    row's own, from "row:0". typed: of the further columns, those whose values are no text, as a JSON object; None for
    none.
    """

    code: str | None
    message: str | None
    attributes: str
    scene: str | None = None
    typed: str | None = None


PLAN_SCHEMA = schema_of(PlanRow)
OF_SUBJECT = ("subject_id", "class_name", "reference_id", "cache_key", "image", "mask", "photo_set", "typed")
OF_PROMPT = ("prompt", "code", "message", "scene", "overrides", "attributes")
HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype=np.uint16)
ITEM_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """What prompts share that are not planned as the job's own: see `PlanRows` for its templates.

    overrides: a column of the row. values: of the job's matrix, added to the subject's attributes.
    """

    template: ids.Template
    samples: int
    noise: ids.Template | None = None
    overrides: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)


class Prompt(NamedTuple):
    """What to generate, why it cannot be generated, and `PlanRow.scene`. variant: None for the job's own settings."""

    text: str
    code: str | None = None
    message: str | None = None
    scene: str | None = None
    variant: Variant | None = None


class PlanRows:
    """Rows of a plan, added subject by subject and taken as one table."""

    def __init__(
        self,
        template: ids.Template,
        samples: int,
        *,
        scene: ids.Template | None = None,
        gated: ids.Template | None = None,
        reviewed: Reviewed = NOT_REVIEWED,
    ) -> None:
        """template: `records.item_template` of the job; scene, gated: `records.scene_template` and `gated_template`,
        where the job uses them. reviewed: items that others take the place of."""
        self._reviewed = reviewed
        self._gated = gated
        self._usual = Variant(template=template, samples=samples, noise=scene)
        self._clear()

    def _clear(self) -> None:
        self._subjects: dict[str, list[str | None]] = {name: [] for name in OF_SUBJECT}
        self._prompts: dict[str, list[str | None]] = {name: [] for name in OF_PROMPT}
        self._prompts_of_subject: list[int] = []
        self._rows_of_prompt: list[int] = []
        self._digests: list[bytes] = []
        self._seeding: list[bytes] = []  # the digests whose first bits are the seeds

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, subject: Subject, photos: Sequence[PlannedPhoto], prompts: list[Prompt]) -> None:
        """All samples of each prompt. The prompts must differ in text or template: the ids are hashes of them.

        photos: the subject's, as the set stands in ids (`photo_sets.in_order`).
        """
        cache_key, first = set_key([photo.cache_key for photo in photos]), photos[0]
        self._add_subject(
            subject_id=subject.subject_id,
            class_name=subject.class_name,
            reference_id=first.reference_id,
            cache_key=cache_key,
            image=first.image,
            mask=first.mask,
            photo_set=written(photos),
            typed=json.dumps(dict(subject.typed), ensure_ascii=False) if subject.typed else None,
        )
        self._prompts_of_subject.append(len(prompts))
        key_json, subject_json = ids.canonical_json(cache_key), ids.canonical_json(subject.subject_id)
        attributes = json.dumps(dict(subject.attributes), ensure_ascii=False)
        for prompt in prompts:
            variant = prompt.variant or self._usual
            values = {**subject.attributes, **variant.values}
            merged = json.dumps(values, ensure_ascii=False) if variant.values else attributes
            self._add_prompt(prompt, merged, rows=variant.samples)
            start, before_prompt, before_sample, before_subject, rest = variant.template.between
            text = prompt.text
            head = start + key_json + before_prompt + ids.canonical_json(text) + before_sample
            end = before_subject + subject_json + rest
            for sample in range(variant.samples):
                own = seeding = sha256(f"{head}{sample}{end}".encode()).digest()
                if variant.noise is not None:
                    key = variant.noise.key(prompt=text, sample=sample, subject=subject.subject_id)
                    seeding = _digest(key)
                if self._gated is not None:
                    own = _digest(self._gated.key(item=own.hex()))
                if self._reviewed:
                    slot = slot_of(subject.subject_id, text, sample, variant.overrides)
                    own, seeding = self._reviewed.in_place_of(own, seeding, slot)
                self._digests.append(own)
                self._seeding.append(seeding)

    def add_bad(self, bad: BadRow) -> None:
        """One row that says what is wrong with a row of the catalog."""
        ident = ids.of_values(
            "bad-row", row=bad.row, subject=bad.subject_id, code=bad.code, message=bad.message
        )
        empty: dict[str, str | None] = dict.fromkeys(OF_SUBJECT, "")
        self._add_subject(
            **{**empty, "subject_id": bad.subject_id, "mask": None, "photo_set": None, "typed": None}
        )
        self._prompts_of_subject.append(1)
        self._add_prompt(Prompt("", bad.code, bad.message), "{}", rows=1)
        self._digests.append(_digest(ident))
        self._seeding.append(bytes(ITEM_BYTES))

    def _add_subject(self, **values: str | None) -> None:
        for name, value in values.items():
            self._subjects[name].append(value)

    def _add_prompt(self, prompt: Prompt, attributes: str, *, rows: int) -> None:
        overrides = prompt.variant.overrides if prompt.variant is not None else None
        for name, value in zip(OF_PROMPT, (*prompt[:4], overrides, attributes), strict=True):
            self._prompts[name].append(value)
        self._rows_of_prompt.append(rows)

    def take(self) -> tuple[pa.Table, int]:
        """(the rows added since the last call, in PLAN_SCHEMA, and the sum of their ids as numbers)."""
        digests = _joined(self._digests)
        rows = np.array(self._rows_of_prompt, dtype=np.int64)
        prompt_of_row = np.repeat(np.arange(len(rows)), rows)
        subject_of_row = np.repeat(np.arange(len(self._prompts_of_subject)), self._prompts_of_subject)[
            prompt_of_row
        ]
        columns = {
            name: pa.array(values, pa.string()).take(pa.array(subject_of_row))
            for name, values in self._subjects.items()
        }
        columns |= {
            name: pa.array(values, pa.string()).take(pa.array(prompt_of_row))
            for name, values in self._prompts.items()
        }
        first_row = np.cumsum(rows) - rows
        columns["sample"] = pa.array(
            (np.arange(len(prompt_of_row)) - first_row[prompt_of_row]).astype(np.int32)
        )
        columns["item_id"] = _hex(digests)
        columns["seed"] = pa.array(_seeds(_joined(self._seeding)))
        self._clear()
        return pa.table([columns[name] for name in PLAN_SCHEMA.names], schema=PLAN_SCHEMA), _sum(digests)


def photo_keys(ready: pa.Table) -> set[str]:
    """Cache keys of all photos of planned rows."""
    if "photo_set" not in ready.schema.names:
        return set(pc.unique(ready["cache_key"]).to_pylist())
    single = ready.filter(pc.is_null(ready["photo_set"]))
    sets = pc.unique(ready["photo_set"]).to_pylist()
    several = {photo.cache_key for text in sets if text for photo in parsed(text, "plan")}
    return several | set(pc.unique(single["cache_key"]).to_pylist())


def _digest(ident: str) -> bytes:
    return bytes.fromhex(ident)


def _joined(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    """[n, 32]"""
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, ITEM_BYTES)


def _hex(digests: NDArray[np.uint8]) -> pa.Array:
    """Hex of digests [n, 32], as `hexdigest` writes it."""
    offsets = np.arange(len(digests) + 1, dtype=np.int32) * (2 * ITEM_BYTES)
    text = HEX[digests].tobytes()
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(offsets.tobytes()), pa.py_buffer(text))


def _seeds(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """`ids.seed_of` of each item."""
    first = np.ascontiguousarray(digests[:, :8]).view(">u8").reshape(-1)
    return (first & np.uint64((1 << ids.SEED_BITS) - 1)).astype(np.int64)


def _sum(digests: NDArray[np.uint8]) -> int:
    """The digests added up as numbers of 256 bits, by columns of 32 bits that cannot overflow 64."""
    words = np.ascontiguousarray(digests).view(">u4").sum(axis=0, dtype=np.uint64)
    return sum(int(word) << (32 * index) for index, word in enumerate(reversed(words)))
