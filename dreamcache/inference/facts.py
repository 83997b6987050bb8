"""What a plan has found out about its models, as one frozen value: identities, and settings with nothing left open.

    JobSpec -> family -> base, adapter -> encoding settings, identity of the gate -> ids of items and features

Workers compare it with what their own machine has before they generate anything. Reads small files; imports no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings, GenerationSettings
from dreamcache.core.config.job import JobSpec, ModelSpec
from dreamcache.core.config.scenes import GENERATION_NAMES, Overrides
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.evaluation.truth.identity import identity_of
from dreamcache.inference.families import Family, family_of
from dreamcache.provenance.invisible import mark_identity
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.encoders import require_pinned_models


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """The base model and the adapter of a job (or what stands in its place), as this machine has them."""

    base: BaseInfo
    adapter: AdapterInfo

    @property
    def fingerprints(self) -> tuple[str, str]:
        """Of base and adapter: two machines with the same ones generate the same images."""
        return self.base.fingerprint, self.adapter.fingerprint


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanFacts(ModelFacts):
    """reference: the encoding settings as they enter the cache key.

    gate: identity of what happens to images after they are generated, as `identity_after` has it.
    """

    reference: EncodeSettings
    gate: str | None


def family_of_job(spec: JobSpec) -> Family:
    """The family that the job's method and base model belong to. Raises SpecError or ModelError."""
    return family_of(spec.method, spec.model.base, spec.model.revision)


def describe_models(method: str, model: ModelSpec) -> ModelFacts:
    """Base and adapter as they are on this machine. Raises SpecError or ModelError."""
    base, adapter = family_of(method, model.base, model.revision).describe_models(model)
    return ModelFacts(base=base, adapter=adapter)


def plan_facts(spec: JobSpec) -> PlanFacts:
    """All facts of a job. Raises SpecError for settings that do not fit the adapter, ModelError for the models."""
    family = family_of_job(spec)
    models = describe_models(spec.method, spec.model)
    _refuse_settings(spec, family, models)
    if spec.model.compile != "off" and not family.compiles:
        raise SpecError(
            f"model.compile: must be off for model '{models.base.name}' with method '{spec.method}', which is not "
            f"compiled, got {spec.model.compile!r}; leave the key out"
        )
    _refuse_placement(spec)
    recommended = dict(models.adapter.recommended)
    _refuse_overrides(spec, family, models)
    for name, settings in _named_settings(spec):
        try:
            family.check_generation(settings.resolved(recommended), models.base)
        except SpecError as error:
            raise SpecError(f"{name}{error}") from error
    require_pinned_models("reference.segmenter_models", spec.reference.segmenter_models)
    return PlanFacts(
        base=models.base,
        adapter=models.adapter,
        reference=family.encoding(spec.reference, models.base, models.adapter, spec.dtype),
        gate=identity_after(spec),
    )


def _refuse_placement(spec: JobSpec) -> None:
    """Raises SpecError for ways to save a GPU's memory in pools without a GPU."""
    model, pools = spec.model, {"generators": spec.workers.generators, "encoders": spec.workers.encoders}
    without = [f"workers.{name}.gpus" for name, pool in pools.items() if not pool.gpus]
    if model.offload != "none" and "workers.generators.gpus" in without:
        raise SpecError(
            f"model.offload: needs generators with a GPU, from which weights are kept away, got {model.offload!r} and "
            "workers.generators.gpus: 0; leave the key out, or set workers.generators.gpus"
        )
    if model.quantize == "nf4" and without:
        raise SpecError(
            f"model.quantize: nf4 needs a GPU in every worker that loads the model, got {', '.join(without)}: 0; set "
            "it, or take int8"
        )


def identity_after(spec: JobSpec) -> str | None:
    """Of what decides a stored image after it was generated: quality gate and invisible mark; None without both.

    Raises ModelError for a model that is not here, or may change under its name.
    """
    gate = identity_of(spec.quality) if spec.quality is not None else None
    if spec.provenance.invisible is None:
        return gate
    return ids.of_values("marked", gate=gate, mark=mark_identity(spec.provenance.invisible))


def _refuse_settings(spec: JobSpec, family: Family, models: ModelFacts) -> None:
    """Raises SpecError for a setting that the family does not have, unless it is the default."""
    recommended = dict(models.adapter.recommended)
    for key, reason in family.refused.items():
        group, name = key.split(".")
        value = getattr(getattr(spec, group), name)
        usual = [getattr(type(getattr(spec, group))(), name)]
        if group == "generation":  # a job file that a run kept has them filled in
            usual.append(getattr(GenerationSettings().resolved(recommended), name))
        if value not in usual:
            raise SpecError(
                f"{key}: has no meaning for model '{models.base.name}', since {reason}; got {value!r}; "
                "leave the key out"
            )


def settings_of_scenes(spec: JobSpec) -> list[GenerationSettings]:
    """Each that the job's items have, but for what rows of the catalog set."""
    return list(dict.fromkeys(settings for _, settings in _named_settings(spec)))


def _named_settings(spec: JobSpec) -> list[tuple[str, GenerationSettings]]:
    """(what an error says before it, settings) of the job and of each scene, the same settings once."""
    named = {spec.generation: ""}
    for scene in spec.scenes:
        named.setdefault(scene.overrides.generation(spec.generation), f"scene '{scene.name}': ")
    return [(name, settings) for settings, name in named.items()]


def _refuse_overrides(spec: JobSpec, family: Family, models: ModelFacts) -> None:
    """Raises SpecError for a setting of a scene or of a mapped column that the family does not have."""
    refused = {key.removeprefix("generation."): why for key, why in family.refused.items()}
    for name in Overrides.__dataclass_fields__:
        uses = [
            f"scenes: '{scene.name}': {name}" for scene in spec.scenes if getattr(scene, name) is not None
        ]
        uses += [f"columns.{name}"] if name in spec.columns else []
        if uses and name in GENERATION_NAMES and name not in family.generation:
            raise SpecError(
                f"{uses[0]}: has no meaning for method '{spec.method}', and would only change the noise; leave it out"
            )
        if uses and name in refused:
            raise SpecError(
                f"{uses[0]}: has no meaning for model '{models.base.name}', since {refused[name]}; leave it out"
            )


def check_models(spec: JobSpec, facts: ModelFacts) -> None:
    """Raises ModelError when this machine has other models than those of the plan, which are in every item's id."""
    if describe_models(spec.method, spec.model).fingerprints != facts.fingerprints:
        raise ModelError(
            f"model '{spec.model.base}' with adapter '{spec.model.adapter}': this worker finds other files than the "
            f"planner did; give all machines the same files"
        )


def check_after(spec: JobSpec, facts: PlanFacts) -> None:
    """Raises ModelError when this machine has other models for gate or mark than those of the plan."""
    if identity_after(spec) != facts.gate:
        raise ModelError(
            "quality, provenance.invisible: this worker finds other encoders than the planner did, or another "
            "segmenter, OCR or mark; give all machines the same files"
        )


def trained_otherwise(spec: JobSpec, adapter: AdapterInfo) -> str | None:
    """How the job's `reference` differs from the adapter's training, or None."""
    trained = dict(adapter.trained_reference)
    ours = {name: getattr(spec.reference, name) for name in trained}
    if ours == trained:
        return None
    return (
        f"the adapter was trained with reference: {json.dumps(trained)}, this job has {json.dumps(ours)}; it keeps "
        f"subjects best as it was trained: set these keys, unless you mean to compare"
    )


def note_of(spec: JobSpec, facts: ModelFacts) -> str | None:
    """What a user should know of these models before anything runs, or None."""
    notes = (family_of_job(spec).note(facts.base), trained_otherwise(spec, facts.adapter))
    return "; ".join(note for note in notes if note) or None


def settings_without_meaning(spec: JobSpec) -> list[str]:
    """Keys of `generation` that the job sets and its method does not read, e.g. "generation.strength"."""
    family, defaults = family_of_job(spec), type(spec.generation)()
    unread = [name for name in spec.generation.__dataclass_fields__ if name not in family.generation]
    return [
        f"generation.{name}" for name in unread if getattr(spec.generation, name) != getattr(defaults, name)
    ]
