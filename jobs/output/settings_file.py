"""settings.json: the settings that the manifest's column `settings_fingerprint` names, of every run of the job.

    {"<fingerprint>": {"adapter", "format", "generation", "method", "noise", "quality", "base", "first_used_at"}}

Scenes and rows with settings of their own have entries of their own. An entry is added when a run begins and never
goes: images of earlier settings may still be in the manifest. Knows a plan and the output folder.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from dreamcache.core.config.scenes import overrides_of
from dreamcache.core.errors import StorageError
from dreamcache.core.records import GENERATE_VERSION, settings_fingerprint
from dreamcache.storage.json_object import JsonObject
from jobs.output.folder import OutputFolder, json_bytes
from jobs.planning.planner import Plan

NAME = "settings.json"
ROUNDS = 10
MAX_ENTRIES = 1000
"""Of one run."""


def add_settings(folder: OutputFolder, job_plan: Plan) -> None:
    """Adds the plan's settings to the folder's settings.json. A damaged file is written anew.

    Raises StorageError `manifest_contended` when other runs rewrite the file all the time.
    """
    entries = settings_entries(job_plan)
    for _ in range(ROUNDS):
        info = folder.files.stat(NAME)
        known = _known(folder)
        if entries.keys() <= known.keys():
            return
        if folder.files.replace(NAME, json_bytes({**entries, **known}), info.etag if info else None):
            return
    raise StorageError(
        f"{folder.at(NAME)}: must keep still, other runs rewrote it {ROUNDS} times; wait for them, then run the same "
        "command again",
        code="manifest_contended",
    )


def settings_entries(job_plan: Plan) -> dict[str, JsonObject]:
    """{fingerprint as the ledger's records have it: what it is the hash of, and names for people}.

    At most MAX_ENTRIES: rows may each have settings of their own, which the manifest's column `overrides` states.
    """
    spec, facts = job_plan.spec, job_plan.facts
    entries: dict[str, JsonObject] = {}
    for overrides in _overrides(job_plan):
        settings = overrides_of(overrides).generation(spec.generation)
        fingerprint = settings_fingerprint(
            adapter_fingerprint=facts.adapter.fingerprint,
            settings=settings,
            image_format=spec.images,
            noise=spec.noise,
            quality=facts.gate,
        )
        entries[fingerprint] = {
            "version": GENERATE_VERSION,
            "method": spec.method,
            "base": {"name": facts.base.name, "fingerprint": facts.base.fingerprint},
            "adapter": {"fingerprint": facts.adapter.fingerprint, "step": facts.adapter.step},
            "generation": settings.as_dict(),
            "format": spec.images.as_dict(),
            "noise": spec.noise,
            "quality": asdict(spec.quality) if spec.quality else None,
            "first_used_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    return entries


def _overrides(job_plan: Plan) -> list[str | None]:
    """The plan's different overrides, the first MAX_ENTRIES of them."""
    different: dict[str | None, None] = {}
    for table in job_plan.files.tables(["overrides"]):
        different |= dict.fromkeys(table["overrides"].unique().to_pylist())
        if len(different) > MAX_ENTRIES:
            break
    return list(different)[:MAX_ENTRIES]


def _known(folder: OutputFolder) -> JsonObject:
    try:
        return dict(folder.read_json(NAME) or {})
    except StorageError as error:
        if error.code != "bad_manifest":
            raise
        return {}
