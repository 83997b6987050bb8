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
from dreamcache.core.config.scenes import NO_OVERRIDES, Overrides
from dreamcache.core.errors import SpecError
from dreamcache.core.records import (
    Reference,
    Subject,
    features_template,
    gated_template,
    item_template,
    scene_template,
)
from dreamcache.inference.facts import PlanFacts, family_of_job, plan_facts
from dreamcache.inference.networks import check_networks
from dreamcache.storage.photo_contents import PhotoContents
from dreamcache.storage.photo_index import FOLDER, PhotoIndex
from dreamcache.storage.roots import roots_of_job
from dreamcache.storage.store import join
from jobs.planning.catalog import BadRow, LeftOut, read_catalog
from jobs.planning.outside import OutsideRoots
from jobs.planning.photo_sets import planned_photos, reads_one_photo
from jobs.planning.plan_files import PlanFiles
from jobs.planning.plan_table import PLAN_SCHEMA, PlanRows, Prompt, Variant
from jobs.planning.prompts import TemplateError, fill
from jobs.planning.references import Entry, PhotoReader, ReadPhotos
from jobs.planning.reviewed import Reviewed
from jobs.planning.row_checks import (
    OTHER_WORLD,
    check_taken,
    is_of_minis_world,
    too_many_images,
)
from jobs.planning.scenes import Matrix, Values, Wanted, wanted_of_job, wanted_of_row

ROWS_PER_TABLE = 20_000
IDS = 1 << 256


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotosRead:
    """Photos and masks whose content the index knew, and that were read. notes: why the index could not be used."""

    known: int
    read: int
    notes: tuple[str, ...]


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
    notes: tuple[str, ...]
    """What a user should know of the catalog beside these models."""
    photos: PhotosRead
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


def plan(spec: JobSpec, *, verify_photos: bool = False, keep_approved: bool = False) -> Plan:
    """Plans a job. Photos that are as the photo index beside the cache knows them are not read, unless verify_photos.
    keep_approved: a subject's prompt and sample with an approved image keeps it, whatever has changed since.

    Raises SpecError, CatalogError, ModelError or StorageError when nothing can be run at all."""
    facts = plan_facts(spec)
    check_networks(spec)
    spec = planned_spec(spec, facts)
    written = _Writing(spec, facts, Reviewed.of_output(spec.output, keep_approved=keep_approved))
    entries = read_catalog(
        spec.catalog,
        columns=spec.columns,
        class_name=spec.class_name,
        left_out=written.left_out,
        max_photos=spec.limits.max_photos,
    )
    index = PhotoIndex(join(spec.cache_uri, FOLDER))
    roots = roots_of_job(spec)
    contents = PhotoContents(spec.limits, index, verify=verify_photos, hosts=roots.hosts)
    reader = PhotoReader(contents, roots)
    for entry, photos in reader.read_ahead(entries):
        written.add(entry, photos)
    contents.save()
    if reader.note is not None:
        written.notes[reader.note] = None
    return written.end(PhotosRead(known=contents.num_known, read=contents.num_read, notes=tuple(index.notes)))


def planned_spec(spec: JobSpec, facts: PlanFacts) -> JobSpec:
    """The job with all its settings set: what it leaves out, the adapter recommends."""
    generation = spec.generation.resolved(dict(facts.adapter.recommended))
    return replace(spec, model=spec.model_to_open, generation=generation)


class _Writing:
    """A plan on its way: rows not yet in its files, and what is counted of all of them."""

    def __init__(self, spec: JobSpec, facts: PlanFacts, reviewed: Reviewed) -> None:
        self.spec, self.facts = spec, facts
        self.matrix = Matrix(spec.matrix)
        self.of_job = wanted_of_job(spec, self.matrix)
        self.variants = lru_cache(maxsize=4096)(self._variant)
        self.files = PlanFiles(PLAN_SCHEMA, plain=("item_id", "seed"))
        usual = self._variant(NO_OVERRIDES, spec.samples, ())
        self.rows = PlanRows(
            usual.template,
            usual.samples,
            scene=usual.noise,
            gated=gated_template(facts.gate) if facts.gate else None,
            reviewed=reviewed,
        )
        self.features = lru_cache(maxsize=256)(
            lambda class_name: features_template(facts.base.fingerprint, facts.reference, class_name)
        )
        self.family = family_of_job(spec)
        self.left_out = LeftOut()
        self.attributes: dict[str, None] = {}
        self.outside = OutsideRoots()
        self.notes: dict[str, None] = {}
        self.num_subjects = self.repeated = self.num_unrunnable = self.sum_of_ids = 0
        self.any_prompt = self.any_without = False

    def add(self, entry: Entry, photos: ReadPhotos) -> None:
        self.num_subjects += 1
        if isinstance(entry, BadRow):
            self.rows.add_bad(entry)
        else:
            self._add_subject(entry, photos)
        if photos.outside is not None:
            self.outside.add(photos.outside)
        if len(self.rows) >= ROWS_PER_TABLE:
            self._write()

    def _add_subject(self, subject: Subject, photos: ReadPhotos) -> None:
        self.attributes.update(dict.fromkeys(subject.attributes))
        check_taken(subject, self.matrix)
        if self.spec.model.base == "mini" and not self.notes and not is_of_minis_world(subject):
            self.notes[OTHER_WORLD] = None
        images = sum(self.matrix.count(prompt) for prompt in subject.prompts) * self.spec.samples
        images += sum(one.samples for one in self.of_job)
        if images > MAX_ITEMS_PER_ROW:
            self.rows.add_bad(too_many_images(subject, images))
            return
        if subject.further and self.family.photos == "one":
            self.rows.add_bad(reads_one_photo(subject, self.spec.method))
            return
        if images:
            ordered = self._prompts(subject, photos.problem)
            self.any_prompt = True
        else:
            why = f"subject '{subject.subject_id}': needs at least one prompt, in the job file or in column 'prompts'"
            ordered = [Prompt("", "no_prompts", why)]
            self.any_without = True
        planned = planned_photos(subject, photos, self.features(subject.class_name), self.family)
        self.rows.add(subject, planned, ordered)

    def _prompts(self, subject: Subject, problem: Reference | None) -> list[Prompt]:
        """Each that differs in text or settings once: an item's id holds its subject's, so repeats are within it."""
        prompts: dict[tuple[str, str | None], tuple[Prompt, int]] = {}
        total = 0
        for one in (*wanted_of_row(subject.prompts, self.spec.samples, self.matrix), *self.of_job):
            text, code, message = _filled(one.template, subject, problem)
            variant = self._variant_of(one, subject.overrides)
            prompt, samples = Prompt(text, code, message, one.scene, variant), one.samples
            total += samples
            key = text, variant.overrides if variant is not None else None
            # Of two with other numbers of samples, the larger one holds the other's.
            if key not in prompts or prompts[key][1] < samples:
                prompts[key] = prompt, samples
        self.repeated += total - sum(samples for _, samples in prompts.values())
        return [prompt for prompt, _ in prompts.values()]

    def _variant_of(self, wanted: Wanted, of_row: Overrides) -> Variant | None:
        """None for a prompt that is planned with the job's own settings."""
        overrides = of_row.over(wanted.overrides)
        if overrides is NO_OVERRIDES and not wanted.values and wanted.samples == self.spec.samples:
            return None
        return self.variants(overrides, wanted.samples, wanted.values)

    def _variant(self, overrides: Overrides, samples: int, values: Values) -> Variant:
        spec = self.spec
        overrides = overrides.differing(spec.generation, spec.seed)
        seed = overrides.seed_over(spec.seed)
        template = item_template(
            seed=seed,
            adapter_fingerprint=self.facts.adapter.fingerprint,
            settings=overrides.generation(spec.generation),
            image_format=spec.images,
            noise=spec.noise,
        )
        return Variant(
            template=template,
            samples=samples,
            noise=scene_template(seed) if spec.noise == "scene" else None,
            overrides=overrides.text(),
            values=dict(values),
        )

    def _write(self) -> None:
        table, sum_of_ids = self.rows.take()
        self.sum_of_ids = (self.sum_of_ids + sum_of_ids) % IDS
        self.num_unrunnable += table.num_rows - table["code"].null_count
        self.files.append(table)

    def end(self, photos: PhotosRead) -> Plan:
        self._write()
        self.files.close()
        if not self.files.num_rows:
            raise SpecError(f"catalog '{self.spec.catalog}': has no rows; there is nothing to do")
        if self.any_without and not self.any_prompt:
            raise SpecError(
                "prompts: must have at least one prompt, in the job file or in the catalog's column 'prompts'; got none"
            )
        if self.matrix.unused:
            name = min(self.matrix.unused)
            raise SpecError(
                f"matrix.{name}: must be named by a prompt or scene, none has {{{name}}}; use it, or remove it"
            )
        return Plan(
            spec=self.spec,
            files=self.files,
            facts=self.facts,
            attributes=tuple(dict.fromkeys([*self.attributes, *self.spec.matrix])),
            num_subjects=self.num_subjects,
            num_repeated_prompts=self.repeated,
            num_unrunnable=self.num_unrunnable,
            outside_roots=self.outside.most(),
            left_out=self.left_out,
            notes=tuple(self.notes),
            photos=photos,
            # A sum does not ask for an order, so ten million ids need no sorting to name their set.
            fingerprint=ids.of_values("plan", items=self.files.num_rows, sum=f"{self.sum_of_ids:064x}"),
        )


def _filled(template: str, subject: Subject, problem: Reference | None) -> tuple[str, str | None, str | None]:
    """(prompt, code, message); a prompt that cannot be filled is shown as it was written."""
    try:
        prompt = fill(template, subject)
    except TemplateError as error:
        return template, error.code, str(error)
    return prompt, problem.code if problem else None, problem.message if problem else None
