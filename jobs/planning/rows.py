"""Builds plan rows as columns: what a subject's rows share is kept once, and one hash is made for each item.

    subjects -> lists by subject, by prompt, by item -> one Arrow table by repetition

Knows the plan's columns and how an item's id is made; knows nothing of catalogs, photos or models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dreamcache import keys
from dreamcache.records import Subject
from jobs.planning.catalog import BadRow
from workers.tables import ERROR, REQUEST

PLAN_SCHEMA = pa.schema([*REQUEST, *ERROR, ("attributes", pa.string())])
OF_SUBJECT = ("subject_id", "class_name", "reference_id", "cache_key", "image", "mask", "attributes")
OF_PROMPT = ("prompt", "code", "message")
HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype=np.uint16)
ITEM_BYTES = 32

Prompt = tuple[str, str | None, str | None]
"""(text, code, message): what is to be drawn, and why it cannot be."""


class PlanRows:
    """Rows of a plan, added subject by subject and taken as one table."""

    def __init__(self, template: keys.Template, samples: int, gated: keys.Template | None = None) -> None:
        """template: `records.item_template` of the job; gated: `records.gated_template`, where it has a gate."""
        self._between = template.between
        self._gated = gated
        self._samples = samples
        self._clear()

    def _clear(self) -> None:
        self._subjects: dict[str, list[str | None]] = {name: [] for name in OF_SUBJECT}
        self._prompts: dict[str, list[str | None]] = {name: [] for name in OF_PROMPT}
        self._prompts_of_subject: list[int] = []
        self._rows_of_prompt: list[int] = []
        self._seeded: list[bool] = []
        self._digests: list[bytes] = []

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, subject: Subject, reference_id: str, cache_key: str, prompts: list[Prompt]) -> None:
        """All samples of each prompt. The prompts' texts must differ, since they make the ids."""
        self._add_subject(
            subject_id=subject.subject_id,
            class_name=subject.class_name,
            reference_id=reference_id,
            cache_key=cache_key,
            image=subject.image,
            mask=subject.mask,
            attributes=json.dumps(dict(subject.attributes), ensure_ascii=False),
        )
        self._prompts_of_subject.append(len(prompts))
        start, before_prompt, before_sample, before_subject, end = self._between
        start += keys.canonical_json(cache_key) + before_prompt
        end = before_subject + keys.canonical_json(subject.subject_id) + end
        for text, code, message in prompts:
            self._add_prompt(text, code, message, rows=self._samples, seeded=True)
            head = start + keys.canonical_json(text) + before_sample
            for sample in range(self._samples):
                self._digests.append(sha256(f"{head}{sample}{end}".encode()).digest())

    def add_bad(self, bad: BadRow) -> None:
        """One row that says what is wrong with a row of the catalog."""
        ident = keys.of_values(
            "bad-row", row=bad.row, subject=bad.subject_id, code=bad.code, message=bad.message
        )
        empty: dict[str, str | None] = dict.fromkeys(OF_SUBJECT, "")
        self._add_subject(**{**empty, "subject_id": bad.subject_id, "mask": None, "attributes": "{}"})
        self._prompts_of_subject.append(1)
        self._add_prompt("", bad.code, bad.message, rows=1, seeded=False)
        self._digests.append(bytes.fromhex(ident))

    def _add_subject(self, **values: str | None) -> None:
        for name, value in values.items():
            self._subjects[name].append(value)

    def _add_prompt(
        self, text: str, code: str | None, message: str | None, *, rows: int, seeded: bool
    ) -> None:
        for name, value in zip(OF_PROMPT, (text, code, message), strict=True):
            self._prompts[name].append(value)
        self._rows_of_prompt.append(rows)
        self._seeded.append(seeded)

    def _seeded_rows(self) -> list[bool]:
        return [
            seeded
            for seeded, rows in zip(self._seeded, self._rows_of_prompt, strict=True)
            for _ in range(rows)
        ]

    def take(self) -> tuple[pa.Table, int]:
        """(the rows added since the last call, in PLAN_SCHEMA, and the sum of their ids as numbers)."""
        digests = seeding = _joined(self._digests)
        if self._gated is not None:
            before, after = (text.encode() for text in self._gated.between)
            digests = _joined(
                sha256(b'%b"%b"%b' % (before, digest.hex().encode(), after)).digest() if seeded else digest
                for digest, seeded in zip(self._digests, self._seeded_rows(), strict=True)
            )
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
        columns["seed"] = pa.array(np.where(np.array(self._seeded, bool)[prompt_of_row], _seeds(seeding), 0))
        self._clear()
        return pa.table([columns[name] for name in PLAN_SCHEMA.names], schema=PLAN_SCHEMA), _sum(digests)


def _joined(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    """[n, 32]"""
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, ITEM_BYTES)


def _hex(digests: NDArray[np.uint8]) -> pa.Array:
    """Hex of digests [n, 32], as `hexdigest` writes it."""
    offsets = np.arange(len(digests) + 1, dtype=np.int32) * (2 * ITEM_BYTES)
    text = HEX[digests].tobytes()
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(offsets.tobytes()), pa.py_buffer(text))


def _seeds(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """`keys.seed_of` of each item."""
    first = np.ascontiguousarray(digests[:, :8]).view(">u8").reshape(-1)
    return (first & np.uint64((1 << keys.SEED_BITS) - 1)).astype(np.int64)


def _sum(digests: NDArray[np.uint8]) -> int:
    """The digests added up as numbers of 256 bits, by columns of 32 bits that cannot overflow 64."""
    words = np.ascontiguousarray(digests).view(">u4").sum(axis=0, dtype=np.uint64)
    return sum(int(word) << (32 * place) for place, word in enumerate(reversed(words)))
