"""settings.json: the settings that the manifest's column `settings_fingerprint` names, of every run of the job.

    {"<fingerprint>": {"adapter", "format", "generation", "method", "noise", "quality", "base", "first_used_at"}}

An entry is added when a run begins and never goes: images of earlier settings may still be in the manifest.
Knows a plan and the output folder.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from dreamcache.core.errors import StorageError
from dreamcache.core.records import GENERATE_VERSION, settings_fingerprint
from jobs.output.folder import OutputFolder, json_bytes
from jobs.planning.planner import Plan

NAME = "settings.json"
ROUNDS = 10


def add_settings(folder: OutputFolder, job_plan: Plan) -> None:
    """Adds the plan's settings to the folder's settings.json. A damaged file is written anew.

    Raises StorageError `manifest_contended` when other runs rewrite the file all the time.
    """
    fingerprint, entry = settings_entry(job_plan)
    for _ in range(ROUNDS):
        info = folder.files.stat(NAME)
        known = _known(folder)
        if fingerprint in known:
            return
        data = json_bytes({**known, fingerprint: entry})
        if folder.files.replace(NAME, data, info.etag if info else None):
            return
    raise StorageError(
        f"{folder.at(NAME)}: must keep still, other runs rewrote it {ROUNDS} times; wait for them, then run the same "
        "command again",
        code="manifest_contended",
    )


def settings_entry(job_plan: Plan) -> tuple[str, dict[str, Any]]:
    """(fingerprint as the ledger's records have it, what it is the hash of, and names for people)."""
    spec, facts = job_plan.spec, job_plan.facts
    fingerprint = settings_fingerprint(
        adapter_fingerprint=facts.adapter.fingerprint,
        settings=spec.generation,
        image_format=spec.images,
        noise=spec.noise,
        quality=facts.gate,
    )
    return fingerprint, {
        "version": GENERATE_VERSION,
        "method": spec.method,
        "base": {"name": facts.base.name, "fingerprint": facts.base.fingerprint},
        "adapter": {"fingerprint": facts.adapter.fingerprint, "step": facts.adapter.step},
        "generation": spec.generation.as_dict(),
        "format": spec.images.as_dict(),
        "noise": spec.noise,
        "quality": asdict(spec.quality) if spec.quality else None,
        "seed": spec.seed,
        "first_used_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _known(folder: OutputFolder) -> dict[str, Any]:
    try:
        return dict(folder.read_json(NAME) or {})
    except StorageError as error:
        if error.code != "bad_manifest":
            raise
        return {}
