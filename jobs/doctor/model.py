"""The check of base model and adapter on this machine. Knows the planner's view of them: files and fingerprints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dreamcache.core.config.job import JobSpec
from dreamcache.core.locations import Kind, settings_of
from dreamcache.inference.facts import note_of, plan_facts, settings_without_meaning
from dreamcache.inference.networks import check_networks, networks_of
from dreamcache.storage.models.onnx_file import has_runtime
from jobs.doctor.check import Trial, Verdict, fail, ok, skip, warn

BASE = "model.base"


def trials(spec: JobSpec) -> Iterator[Trial]:
    """The files are there, and the adapter was trained on this base; folders of all other models are there."""
    yield Trial(name="model: base and adapter match", attempt=lambda: _match(spec), limit_s=300)
    yield Trial(name="model: ONNX networks load", attempt=lambda: _networks(spec), limit_s=120)
    if any(setting.key != BASE for setting in settings_of(spec) if setting.kind is Kind.MODEL):
        yield Trial(name="model: folders of segmenters and encoders", attempt=lambda: _folders(spec))


def _networks(spec: JobSpec) -> Verdict:
    networks = list(networks_of(spec))
    if not networks:
        return skip("no setting names one")
    if not has_runtime():
        extras = ",".join(sorted({network.extra for network in networks}))
        return warn(
            f"onnxruntime is not installed here: {len(networks)} networks were not tried",
            f"pip install 'dreamcache[{extras}]' here, unless this machine only plans",
        )
    check_networks(spec)
    return ok(f"{len(networks)} networks load")


def _folders(spec: JobSpec) -> Verdict:
    folders = [
        setting
        for setting in settings_of(spec)
        if setting.kind is Kind.MODEL and setting.key != BASE and setting.is_local
    ]
    missing = [
        f"{setting.key} '{setting.value}'"
        for setting in folders
        if not Path(setting.value).expanduser().is_dir()
    ]
    if missing:
        return fail(
            f"{', '.join(missing)}: no such folder", "copy the models there, or name a hub id with a revision"
        )
    return ok(f"{len(folders)} folders are there" if folders else "all are named by hub id or embedded")


def _match(spec: JobSpec) -> Verdict:
    facts = plan_facts(spec)
    if note := note_of(spec, facts):
        return warn(note, "set the job's reference as in the adapter's model card")
    if unread := settings_without_meaning(spec):
        return warn(f"method '{spec.method}' does not read {', '.join(unread)}", "leave them out")
    return ok(
        f"base '{facts.base.name}' {facts.base.fingerprint[:12]}, adapter {facts.adapter.fingerprint[:12]} of step "
        f"{facts.adapter.step}, trained on it"
    )
