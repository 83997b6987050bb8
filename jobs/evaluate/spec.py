"""The evaluation file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Knows the names of settings (metrics: `core.config.evaluate`); knows nothing of what they do. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.fields import AtLeastOne, BatchSize, NotNegative, Samples, ShortName, ZeroOrMore
from dreamcache.core.config.job import JobSpec, WorkerSpec
from dreamcache.core.config.rules import RuleText, Settings
from dreamcache.core.errors import SpecError
from dreamcache.core.locations import KeysOf, Location, Written
from dreamcache.evaluation.bootstrap import BootstrapSettings
from dreamcache.evaluation.dreambench import Words
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.open_store import join
from jobs.spec import parse_spec
from jobs.spec_file import SpecFile

FIXED_KEYS = ("name", "output")
"""Of a `run`: set by the evaluation."""

JobKeys = Annotated[Mapping[str, Any], KeysOf(JobSpec)]
"""Keys of a job file."""

MethodName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ()._+=,-]{0,59}$"),
    RuleText("1-60 letters, digits, spaces or ()._+=,-"),
]


def slug_of(name: str) -> str:
    """A method's name as a folder's name."""
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")


@dataclass(frozen=True, kw_only=True, slots=True)
class DreamBenchSpec(Settings):
    """path: the published folder or s3:// URI. subjects: only these. num_prompts: only the first so many of the 25.

    samples: images of every subject and prompt (paper: 4). reference: which of a subject's photos is the reference.
    words: subjects are called as the folder's list has it ("stuffed animal"), or as the authors' script does ("bear
    plushie"); CLIP-T depends on them.
    """

    path: Location
    subjects: tuple[str, ...] = ()
    num_prompts: AtLeastOne | None = None
    samples: Samples = 4
    reference: ZeroOrMore = 0
    words: Words = "dreambench"


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodSpec(Settings):
    """One line of the table: images of a finished `job` (its output), a folder of `images`, or a job to `run`.

    run: keys of a job file; they come over the evaluation's own `run`.
    """

    name: MethodName
    run: JobKeys | None = None
    job: Location | None = None
    images: Location | None = None

    def check(self) -> None:
        if sum(source is not None for source in (self.run, self.job, self.images)) > 1:
            raise ValueError(f"method '{self.name}' must have one of run, job and images")

    @property
    def slug(self) -> str:
        return slug_of(self.name)

    @property
    def runs(self) -> bool:
        """Whether this evaluation generates its images."""
        return self.job is None and self.images is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One point of the grid."""

    guidance: Literal["combined", "joint"]
    scale: float

    @property
    def name(self) -> str:
        size = abs(self.scale)
        short = f"{size:g}" if float(f"{size:g}") == size else repr(size)
        # A folder's name is made of this one and has no sign.
        return f"{self.guidance} {'minus ' if self.scale < 0 else ''}{short}"

    @property
    def run(self) -> JsonObject:
        """Keys of the job file. The noise is the scene's, so that a row of pictures differs by the scale alone."""
        name = "image_scale" if self.guidance == "combined" else "text_scale"
        return {"noise": "scene", "generation": {"guidance": self.guidance, name: self.scale}}


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSpec(Settings):
    """A grid of guidance (Supp fig. S5): one job per scale, all with one feature cache and the same noise.

    combined: image scales, at the run's own text_scale. joint: values of joint guidance's one scale.
    The chosen setting has the highest `image_metric` among those whose `text_metric` is at most `within` below the
    grid's best. sheet: subjects shown in a contact sheet.
    """

    combined: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    joint: tuple[float, ...] = (2.0, 3.5, 5.0, 7.5, 10.0)
    image_metric: Literal["clip_i", "dino", "dinov2", "mclip_i", "mdino", "mdinov2"] = "clip_i"
    text_metric: Literal["clip_t"] = "clip_t"
    within: NotNegative = 0.01
    sheet: AtLeastOne = 6

    def check(self) -> None:
        if len(self.combined) + len(self.joint) < 2:
            raise ValueError("combined and joint must have at least two scales together")
        if len(set(self.settings())) < len(self.combined) + len(self.joint):
            raise ValueError("combined and joint must have each scale once")

    def settings(self) -> tuple[Setting, ...]:
        """The grid, in the order of the report."""
        combined = (Setting(guidance="combined", scale=scale) for scale in self.combined)
        return (*combined, *(Setting(guidance="joint", scale=scale) for scale in self.joint))


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalWorkersSpec(Settings):
    """scorers: actors that hold the encoders. batch_size: images scored between two commits."""

    scorers: WorkerSpec = WorkerSpec(cpus=1)
    batch_size: BatchSize = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalSpec(Settings):
    """An evaluation: methods, what they are measured with, and where the report goes.

    run: keys of a job file that all jobs below share. dreambench: catalog and prompts of those jobs, and their real
    photos; without it a run has its own catalog. real: a folder `<real>/<subject_id>/*.jpg`; without either, an
    image is compared with the photo of its own job.
    """

    name: ShortName
    output: Written
    methods: tuple[MethodSpec, ...] = ()
    dreambench: DreamBenchSpec | None = None
    real: Location | None = None
    run: JobKeys = field(default_factory=dict)
    metrics: MetricSettings = MetricSettings()
    bootstrap: BootstrapSettings = BootstrapSettings()
    sweep: SweepSpec | None = None
    workers: EvalWorkersSpec = EvalWorkersSpec()

    def check(self) -> None:
        if bool(self.methods) == (self.sweep is not None):
            raise ValueError("an evaluation must have either methods or a sweep")
        if self.sweep is not None:
            required = (self.sweep.image_metric, self.sweep.text_metric)
            missing = [metric for metric in required if metric not in self.metrics.metrics]
            if missing:
                raise ValueError(
                    f"metrics must have the encoder and segmenter of sweep's {', '.join(missing)}"
                )
        slugs = [method.slug for method in self.methods]
        if len(set(slugs)) < len(slugs):
            raise ValueError(f"methods must have different names, got {', '.join(slugs)}")

    def lines(self) -> tuple[MethodSpec, ...]:
        """The methods, or one for each setting of the sweep."""
        if self.sweep is None:
            return self.methods
        return tuple(MethodSpec(name=setting.name, run=setting.run) for setting in self.sweep.settings())

    def job_of(self, method: MethodSpec) -> JobSpec:
        """The job whose images are this method's. Raises SpecError naming every broken rule."""
        where = f"methods '{method.name}': run"
        values = merged(self.run, method.run or {})
        taken = [key for key in FIXED_KEYS if key in values]
        if self.dreambench is not None:
            taken += [key for key in ("catalog", "prompts", "samples", "columns") if key in values]
            values |= {
                "catalog": join(self.output, "catalog", "catalog.jsonl"),
                "samples": self.dreambench.samples,
            }
        if taken:
            raise SpecError(f"{where}: '{taken[0]}' is set by the evaluation; leave it out")
        values = {"cache": join(self.output, "cache"), **values}
        output = join(self.output, "jobs", method.slug)
        return parse_spec(
            {**values, "name": f"{self.name}-{method.slug}"[:100], "output": output}, where=where
        )


def merged(first: Mapping[str, object], second: Mapping[str, object]) -> JsonObject:
    """`second` over `first`; groups of settings are merged key by key."""
    values = dict(first)
    for key, value in second.items():
        known = values.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            values[key] = merged(known, value)
        else:
            values[key] = value
    return values


def _check_runs(spec: EvalSpec) -> None:
    for method in spec.lines():
        if method.runs:
            spec.job_of(method)


_FILE = SpecFile(EvalSpec, "evaluation", remedy="see docs/evaluation.md", check=_check_runs)
load_eval_spec, parse_eval_spec, dump_eval_spec = _FILE.load, _FILE.parse, _FILE.dump
