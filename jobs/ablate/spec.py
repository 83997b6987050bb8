"""The ablation file: one training, what each variant changes in it, seeds, and how the results are measured.

    AblateSpec --trainings--> TrainSpec of each variant and seed
               --evaluation-> EvalSpec with a method for each of them, and one for the untrained model

Knows the names of settings; knows nothing of what they do. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from dreamcache.core.config import DEFAULT_SCALES
from dreamcache.core.config.evaluate import METRICS
from dreamcache.core.config.fields import AtLeastOne, Seed, ShortName
from dreamcache.core.config.rules import Settings, require
from dreamcache.core.config.train import CAPTION, TrainSettings
from dreamcache.core.errors import SpecError
from dreamcache.core.locations import KeysOf, Written
from dreamcache.evaluation.ablation import Arm
from dreamcache.storage.open_store import join
from jobs.evaluate.spec import EvalSpec, JobKeys, MethodName, merged, parse_eval_spec, slug_of
from jobs.spec_file import SpecFile
from jobs.train.spec import TrainSpec, parse_train_spec

FIXED_KEYS = ("name", "output")
"""Of the training and of the evaluation: set by the ablation."""
UNTRAINED = "untrained"

TrainingKeys = Annotated[Mapping[str, Any], KeysOf(TrainSpec)]
"""Keys of a training file."""

TrainKeys = Annotated[Mapping[str, Any], KeysOf(TrainSettings)]
"""Keys of the group `train` of a training file."""

EvaluationKeys = Annotated[Mapping[str, Any], KeysOf(EvalSpec)]
"""Keys of an evaluation file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantSpec(Settings):
    """One line of the table. train: what it changes in the shared training's group `train`.

    run: keys of a job file for its images alone. published: by metric, the paper's numbers of this variant, {clip_i:
    0.810}; they stand in a table of their own.
    """

    name: MethodName
    train: TrainKeys = field(default_factory=dict)
    run: JobKeys = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)

    def check(self) -> None:
        unknown = sorted(set(self.published) - set(METRICS))
        require(not unknown, f"variant '{self.name}': published", f"of {', '.join(METRICS)}", unknown)

    @property
    def slug(self) -> str:
        return slug_of(self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class AblateSpec(Settings):
    """Variants of one training, each with every seed, measured alike; the first variant is the baseline.

    training: keys of a training file that all share. seeds: of the trainings. evaluation: keys of an evaluation file
    without methods; a job's `run` has `noise: scene` unless it is set, so that pictures differ by the adapter alone.
    parallel: trainings at a time; the cluster needs room for so many. published_from: what `published` was measured
    with, in words.
    """

    name: ShortName
    output: Written
    training: TrainingKeys
    variants: tuple[VariantSpec, ...]
    evaluation: EvaluationKeys = field(default_factory=dict)
    seeds: tuple[Seed, ...] = (0, 1, 2)
    parallel: AtLeastOne = 1
    published_from: str = "the paper, SD 1.5, DreamBench"

    def check(self) -> None:
        require(len(self.variants) > 0, "variants", "at least one", self.variants)
        require(
            len(self.seeds) > 0 and len(set(self.seeds)) == len(self.seeds),
            "seeds",
            "different whole numbers, at least one",
            self.seeds,
        )
        slugs = [variant.slug for variant in self.variants]
        require(
            len({*slugs, UNTRAINED}) == len(slugs) + 1,
            "variants",
            f"of different names, none of them '{UNTRAINED}'",
            ", ".join(slugs),
        )

    def arms(self) -> tuple[Arm, ...]:
        """Every variant with every seed, variant by variant."""
        return tuple(Arm(variant=variant.name, seed=seed) for variant in self.variants for seed in self.seeds)

    def variant(self, name: str) -> VariantSpec:
        return next(variant for variant in self.variants if variant.name == name)

    def training_of(self, arm: Arm) -> TrainSpec:
        """The training of one arm. Raises SpecError naming variant and key."""
        where = f"variants '{arm.variant}': training"
        values = _without_fixed(self.training, where)
        own = self.variant(arm.variant)
        train = merged(dict(values.get("train") or {}), own.train)
        if "seed" in train:
            raise SpecError(f"{where}: 'train.seed' is set by the ablation, from its seeds; leave it out")
        label = f"{own.slug}-seed{arm.seed}"
        values |= {
            "train": {**train, "seed": arm.seed},
            "name": f"{self.name}-{label}"[:100],
            "output": join(self.output, "trainings", label),
        }
        return parse_train_spec(values, where=where)

    def evaluation_of(self) -> EvalSpec:
        """The evaluation of all arms. Raises SpecError naming the key."""
        values = _without_fixed(self.evaluation, "evaluation", "methods", "sweep")
        # The same scales for all: an adapter that is continued may recommend others than those trained from it.
        shared = {"noise": "scene", "generation": dict(DEFAULT_SCALES)}
        run = merged(shared, values.get("run") or {})
        methods = [{"name": arm.name, "run": self._run_of(arm)} for arm in self.arms()]
        methods.append({"name": UNTRAINED, "run": self._untrained_run()})
        return parse_eval_spec(
            {
                **values,
                "run": run,
                "methods": methods,
                "name": f"{self.name}-evaluation"[:60],
                "output": join(self.output, "evaluation"),
            },
            where="evaluation",
        )

    def _run_of(self, arm: Arm) -> dict[str, Any]:
        """Keys of the job that generates an arm's images: its adapter, and its references as it was trained."""
        spec, own = self.training_of(arm), self.variant(arm.variant)
        model = {"base": spec.model.base, "revision": spec.model.revision}
        keys = {"model": {**model, "adapter": join(spec.output, "adapter")}, "reference": _reference_of(spec)}
        return merged(keys, own.run)

    def _untrained_run(self) -> dict[str, Any]:
        """What every training starts from: the adapter that it continues, or the base, as a new adapter leaves it."""
        spec = self.training_of(self.arms()[0])
        keys = {"base": spec.model.base, "revision": spec.model.revision}
        if spec.model.adapter is not None:
            return {"model": {**keys, "adapter": spec.model.adapter}, "reference": _reference_of(spec)}
        return {"model": keys, "method": "text-only"}


def _reference_of(spec: TrainSpec) -> dict[str, object]:
    """Keys of a job that encodes references as this training did."""
    reference = spec.train.reference
    return {"timestep": reference.timestep, "text": reference.text.replace(CAPTION, "{class_name}")}


def _without_fixed(values: Mapping[str, Any], where: str, *more: str) -> dict[str, Any]:
    taken = next((key for key in (*FIXED_KEYS, *more) if key in values), None)
    if taken is not None:
        raise SpecError(f"{where}: '{taken}' is set by the ablation; leave it out")
    return dict(values)


def _check_parts(spec: AblateSpec) -> None:
    """Raises SpecError for a training, evaluation or job that would be refused after hours of training."""
    for arm in spec.arms():
        spec.training_of(arm)
    evaluation = spec.evaluation_of()
    for method in evaluation.methods:
        evaluation.job_of(method)


_FILE = SpecFile(AblateSpec, "ablation", remedy="see docs/training.md", check=_check_parts)
load_ablate_spec, parse_ablate_spec, dump_ablate_spec = _FILE.load, _FILE.parse, _FILE.dump
