"""A plan that `submit` has made, handed over to the driver, which uses it only where it would plan the same.

    submit: plan --write--> plan.json, part-*.parquet (sealed) in the Ray job's folder
    driver: --read--> the plan; or why it is not used, and the driver plans itself

What must be equal: dreamcache, all settings, the models' facts and every byte of the catalog. Photos are not looked
at: a plan is handed over only where none had a fault, it is used for a few minutes only, and each photo's bytes are
compared with its hash before they are encoded, as in every run. Knows plans and catalogs; knows nothing of Ray.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import dreamcache
from dreamcache.core import ids
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from dreamcache.inference.facts import PlanFacts, plan_facts
from dreamcache.inference.networks import check_networks
from dreamcache.storage.json_object import MAX_BYTES, JsonObject, parse_object
from dreamcache.storage.open_store import read_bounded
from dreamcache.storage.part_log import PartFormat
from dreamcache.storage.reviews import Reviews
from jobs.planning.catalog import LeftOut
from jobs.planning.catalog.parts import parts_of
from jobs.planning.plan_files import PlanFiles
from jobs.planning.plan_table import PLAN_SCHEMA
from jobs.planning.planner import PhotosRead, Plan, planned_spec
from jobs.spec import dump_spec

HEADER = "plan.json"
FORMAT = PartFormat(family="dreamcache-handed-plan-", number=1, schema=PLAN_SCHEMA)
MOST_BYTES = 16 << 20
"""Ray keeps what is sent in the memory of its head; a larger plan is made again."""
MOST_SECONDS = 900.0
PLAIN = ("num_subjects", "num_repeated_prompts", "fingerprint")


def catalog_digest(spec: JobSpec) -> str | None:
    """A hash of all bytes of the catalog's files; None for a folder of photos, whose names are its catalog."""
    parts = parts_of(spec.catalog)
    if not parts:
        return None
    return ids.of_values("catalog", parts=[[part.uri, ids.of_bytes(part.read())] for part in parts])


def write(folder: Path, spec: JobSpec, planned: Plan, catalog: str | None) -> bool:
    """Writes the plan for `read`; False, and nothing is left, where it is not to be handed over.

    catalog: `catalog_digest` from before the plan was made.
    """
    if catalog is None or planned.num_unrunnable or planned.outside_roots or catalog_digest(spec) != catalog:
        return False
    folder.mkdir()
    key, size, names = _key(spec, planned.facts, catalog), 0, list[str]()
    for number, table in enumerate(planned.files.tables()):
        data = FORMAT.seal(table, key=key)
        names.append(f"part-{number:05d}.parquet")
        size += len(data)
        if size > MOST_BYTES:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
            return False
        (folder / names[-1]).write_bytes(data)
    header: JsonObject = {
        "key": key,
        "catalog": catalog,
        "made_at": time.time(),
        "parts": names,
        "attributes": list(planned.attributes),
        "notes": list(planned.notes),
        "photos": asdict(planned.photos),
        **{name: getattr(planned, name) for name in PLAIN},
    }
    (folder / HEADER).write_text(json.dumps(header), "utf-8")
    return True


def read(folder: Path, spec: JobSpec, clock: Callable[[], float] = time.time) -> Plan | str:
    """The plan that `write` has written; or why it is not used, as a clause."""
    try:
        header = parse_object(read_bounded(str(folder / HEADER), MAX_BYTES))
        age = clock() - float(header["made_at"])
        if not -MOST_SECONDS <= age <= MOST_SECONDS:
            return f"it is {age:.0f} s old, {MOST_SECONDS:.0f} s are allowed"
        facts = plan_facts(spec)
        check_networks(spec)
        if header["catalog"] != catalog_digest(spec):
            return "the catalog has changed"
        if header["key"] != _key(spec, facts, header["catalog"]):
            return "settings, models or dreamcache are not those it was made with"
        return Plan(
            spec=planned_spec(spec, facts),
            files=_files(folder, header),
            facts=facts,
            attributes=tuple(header["attributes"]),
            num_unrunnable=0,
            outside_roots=(),
            left_out=LeftOut(),
            notes=tuple(header["notes"]),
            photos=PhotosRead(**{**header["photos"], "notes": tuple(header["photos"]["notes"])}),
            **{name: header[name] for name in PLAIN},
        )
    except (OSError, ValueError, TypeError, KeyError, DreamCacheError) as error:
        return f"it cannot be read ({type(error).__name__}: {str(error)[:200]})"


def _files(folder: Path, header: JsonObject) -> PlanFiles:
    files = PlanFiles(PLAN_SCHEMA, plain=("item_id", "seed"))
    for name in header["parts"]:
        if Path(name).name != name:
            raise ValueError(f"part {name!r} lies elsewhere")
        table, metadata = FORMAT.unseal(read_bounded(str(folder / name), MOST_BYTES))
        if metadata.get("key") != header["key"]:
            raise ValueError(f"part {name!r} is another plan's")
        files.append(table)
    files.close()
    return files


def _key(spec: JobSpec, facts: PlanFacts, catalog: str) -> str:
    """Of all that decides the rows, but the photos."""
    generation = planned_spec(spec, facts).generation
    return ids.of_values(
        "handed-plan",
        dreamcache=dreamcache.__version__,
        spec=dump_spec(spec),
        models=list(facts.fingerprints),
        reference=json.dumps(asdict(facts.reference), sort_keys=True, default=str),
        gate=facts.gate,
        generation=json.dumps(generation.as_dict(), sort_keys=True, default=str),
        catalog=catalog,
        retried=sorted(Reviews(spec.output).retried()),
    )
