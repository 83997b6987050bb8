"""The plan: catalog x prompts x samples, one row per image, each with an id that hashes all that decides its pixels.

    catalog -> subjects -> photos' hashes -> rows, sorted by catalog order -> parts; rows that cannot run carry a code

Planning reads photos' bytes and models' small files; it loads no weights and never imports torch. Rows are
written to files as they come: of the catalog only its file and its subjects' names stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core import ids
from dreamcache.core.config.job import MAX_ITEMS_PER_ROW, JobSpec
from dreamcache.core.errors import SpecError
from dreamcache.core.records import (
    Reference,
    Subject,
    features_template,
    gated_template,
    item_template,
    scene_template,
)
from dreamcache.inference.facts import PlanFacts, plan_facts
from dreamcache.storage.roots import roots_of
from jobs.planning.catalog import BadRow, LeftOut, read_catalog
from jobs.planning.catalog.rows import bad_row
from jobs.planning.outside import OutsideRoots
from jobs.planning.plan_files import PlanFiles
from jobs.planning.plan_table import PLAN_SCHEMA, PlanRows, Prompt
from jobs.planning.prompts import TemplateError, fill
from jobs.planning.references import Entry, PhotoReader, PlannedPhoto

ROWS_PER_TABLE = 20_000
IDS = 1 << 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """`files` hold the rows, in PLAN_SCHEMA; `code` is null for rows that can run. facts: of the models, as
    they were when it was planned. spec: all its settings set. attributes: names of the catalog's further columns.
    outside_roots: (root, number of photos) that the catalog names and `catalog_roots` does not, most photos first."""

    spec: JobSpec
    files: PlanFiles
    facts: PlanFacts
    attributes: tuple[str, ...]
    num_subjects: int
    num_repeated_prompts: int
    num_unrunnable: int
    outside_roots: tuple[tuple[str, int], ...]
    left_out: LeftOut
    fingerprint: str
    """Made of the set of item ids: the same work has the same name, in whatever order it is planned."""

    @property
    def num_items(self) -> int:
        return self.files.num_rows

    @property
    def table(self) -> pa.Table:
        """All rows in memory. For a look at a plan; what works on catalogs goes by `files.tables()`."""
        return pa.concat_tables(self.files.tables())

    def unrunnable(self) -> Iterator[pa.Table]:
        """Rows that cannot run, with code and message."""
        for table in self.files.tables() if self.num_unrunnable else ():
            yield table.filter(pc.is_valid(table["code"]))

    def first_unrunnable(self, limit: int) -> list[dict[str, Any]]:
        """The first so many rows that cannot run."""
        rows = (row for table in self.unrunnable() for row in table.to_pylist())
        return list(islice(rows, limit))


def plan(spec: JobSpec) -> Plan:
    """Plans a job. Raises SpecError, CatalogError, ModelError or StorageError when nothing can be run at all."""
    facts = plan_facts(spec)
    generation = spec.generation.resolved(dict(facts.adapter.recommended))
    spec = replace(spec, model=spec.model_to_open, generation=generation)
    written = _Writing(spec, facts)
    entries = read_catalog(
        spec.catalog, columns=spec.columns, class_name=spec.class_name, left_out=written.left_out
    )
    reader = PhotoReader(spec.limits, roots_of(spec.catalog, spec.catalog_roots))
    for entry, photo in reader.read_ahead(entries):
        written.add(entry, photo)
    return written.end()


class _Writing:
    """A plan on its way: rows not yet in its files, and what is counted of all of them."""

    def __init__(self, spec: JobSpec, facts: PlanFacts) -> None:
        self.spec, self.facts = spec, facts
        self.files = PlanFiles(PLAN_SCHEMA, plain=("item_id", "seed"))
        template = item_template(
            seed=spec.seed,
            adapter_fingerprint=facts.adapter.fingerprint,
            settings=spec.generation,
            image_format=spec.images,
            noise=spec.noise,
        )
        self.rows = PlanRows(
            template,
            spec.samples,
            scene=scene_template(spec.seed) if spec.noise == "scene" else None,
            gated=gated_template(facts.gate) if facts.gate else None,
        )
        self.features = lru_cache(maxsize=256)(
            lambda class_name: features_template(facts.base.fingerprint, facts.reference, class_name)
        )
        self.left_out = LeftOut()
        self.attributes: dict[str, None] = {}
        self.outside = OutsideRoots()
        self.num_subjects = self.repeated = self.num_unrunnable = self.sum_of_ids = 0
        self.any_prompt = self.any_without = False

    def add(self, entry: Entry, photo: PlannedPhoto) -> None:
        self.num_subjects += 1
        if isinstance(entry, BadRow):
            self.rows.add_bad(entry)
        else:
            self._add_subject(entry, photo.reference)
        if photo.outside is not None:
            self.outside.add(photo.outside)
        if len(self.rows) >= ROWS_PER_TABLE:
            self._write()

    def _add_subject(self, subject: Subject, photo: Reference) -> None:
        self.attributes.update(dict.fromkeys(subject.attributes))
        scenes = [f"row:{number}" for number in range(len(subject.prompts))]
        scenes += [str(number) for number in range(len(self.spec.prompts))]
        wanted = subject.prompts + self.spec.prompts
        if len(wanted) * self.spec.samples > MAX_ITEMS_PER_ROW:
            self.rows.add_bad(_too_many(subject, len(wanted), self.spec.samples))
            return
        if wanted:
            # An item's id holds its subject's, and a catalog names each once: repeats are within the subject.
            prompts: dict[str, Prompt] = {}
            for template, scene in zip(wanted, scenes, strict=True):
                text, code, message = _filled(template, subject, photo)
                prompts.setdefault(text, (text, code, message, scene))
            ordered = list(prompts.values())
            self.repeated += (len(wanted) - len(ordered)) * self.spec.samples
            self.any_prompt = True
        else:
            why = f"subject '{subject.subject_id}': needs at least one prompt, in the job file or in column 'prompts'"
            ordered = [("", "no_prompts", why, None)]
            self.any_without = True
        key = self.features(subject.class_name).key(reference=photo.reference_id)
        self.rows.add(subject, photo.reference_id, key, ordered)

    def _write(self) -> None:
        table, sum_of_ids = self.rows.take()
        self.sum_of_ids = (self.sum_of_ids + sum_of_ids) % IDS
        self.num_unrunnable += table.num_rows - table["code"].null_count
        self.files.append(table)

    def end(self) -> Plan:
        self._write()
        self.files.close()
        if not self.files.num_rows:
            raise SpecError(f"catalog '{self.spec.catalog}': has no rows; there is nothing to do")
        if self.any_without and not self.any_prompt:
            raise SpecError(
                "prompts: must have at least one prompt, in the job file or in the catalog's column 'prompts'; got none"
            )
        return Plan(
            spec=self.spec,
            files=self.files,
            facts=self.facts,
            attributes=tuple(self.attributes),
            num_subjects=self.num_subjects,
            num_repeated_prompts=self.repeated,
            num_unrunnable=self.num_unrunnable,
            outside_roots=self.outside.most(),
            left_out=self.left_out,
            # A sum does not ask for an order, so ten million ids need no sorting to name their set.
            fingerprint=ids.of_values("plan", items=self.files.num_rows, sum=f"{self.sum_of_ids:064x}"),
        )


def _too_many(subject: Subject, prompts: int, samples: int) -> BadRow:
    where = f"subject '{subject.subject_id}'"
    rule = (
        f"a row may give at most {MAX_ITEMS_PER_ROW:,} images, {prompts} prompts x {samples} samples are more"
    )
    return bad_row(0, subject.subject_id, "bad_row", f"{where}: {rule}; use fewer")


def _filled(template: str, subject: Subject, photo: Reference) -> tuple[str, str | None, str | None]:
    """(prompt, code, message); a prompt that cannot be filled is shown as it was written."""
    try:
        prompt = fill(template, subject)
    except TemplateError as error:
        return template, error.code, str(error)
    return prompt, photo.code, photo.message
