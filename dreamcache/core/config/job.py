"""Settings of a job: what is generated, with which model, by how many workers, within which limits.

Parsed from YAML by `jobs.spec`. Knows nothing of files, models or Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from dreamcache.core.config import (
    CompileMode,
    DType,
    EncodeSettings,
    GenerationSettings,
    ImageFormat,
    ImageLimits,
    ModelDType,
    Offload,
    Quantize,
)
from dreamcache.core.config.failures import FailurePolicy
from dreamcache.core.config.fields import (
    MAX_PHOTOS,
    AtLeastOne,
    BatchSize,
    Name,
    NotNegative,
    PhotoCount,
    Positive,
    Samples,
    WorkerCount,
    ZeroOrMore,
)
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.config.methods import Method
from dreamcache.core.config.on_finish import OnFinish
from dreamcache.core.config.price import Price
from dreamcache.core.config.provenance import Provenance, ProvenanceSettings
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.config.rules import Settings, require
from dreamcache.core.config.scenes import Scene
from dreamcache.core.locations import Location, ModelRef, Written

MAX_ITEMS_PER_ROW = 10_000
"""Images of one row of the catalog."""

MAX_LORAS = 16
OWN_PLACEHOLDERS = ("class_name", "subject_id")
"""Of prompts, for every subject."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraSpec(Settings):
    """path: a safetensors file, or a folder with one; s3:// too. weight: by which its change is multiplied."""

    path: Location
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec(Settings):
    """base: `mini`, a diffusers folder, or a hub id with `revision`. adapter: folder or s3:// URI.

    loras: put on the base in this order; part of its identity. allow_other_base: takes an adapter that was trained on
    another base of the same layout.
    dtype: of arithmetic; part of the ids. auto is bfloat16 where generators declare a GPU, else float32. compile: the
    U-Net's halves by torch.compile, once a shape (docs/speed.md); pixels stay within rounding, ids as they are.
    offload: keeps weights in the machine's memory, and a model or a layer on the GPU for its passes only; ids stay.
    quantize: linear layers of the large parts in int8 (torchao) or nf4 (bitsandbytes); part of the ids.
    """

    base: ModelRef = "mini"
    revision: str | None = None
    adapter: Location | None = None
    loras: tuple[LoraSpec, ...] = ()
    allow_other_base: bool = False
    dtype: ModelDType = "auto"
    compile: CompileMode = "off"
    offload: Offload = "none"
    quantize: Quantize = "none"

    def resolved(self, *, on_gpu: bool) -> ModelSpec:
        """With a dtype in the place of `auto`."""
        return replace(self, dtype=self.dtype_on(on_gpu=on_gpu))

    def dtype_on(self, *, on_gpu: bool) -> DType:
        """What `dtype` means for workers with or without a GPU."""
        if self.dtype == "auto":
            return "bfloat16" if on_gpu else "float32"
        return self.dtype

    def check(self) -> None:
        require(len(self.loras) <= MAX_LORAS, "loras", f"at most {MAX_LORAS}", len(self.loras))
        require(
            self.quantize == "none" or not self.loras,
            "quantize",
            "none where there are loras, which are fused into weights that are then no longer plain",
            self.quantize,
        )
        require(
            self.offload == "none" or self.compile == "off",
            "offload",
            "none where compile is set, since compiled halves hold their weights on the device",
            self.offload,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSpec(Settings):
    """The resources of one group of workers; each number but the first two is one worker's share.

    count: of workers. max_count: if more than count, Ray adds workers up to it while work waits and the cluster
    has room, and removes them when idle. gpus: may be a fraction. memory_bytes: set aside on the node, and the
    most that the process may allocate. accelerator_type: as Ray names it ("H100"). label_selector: node labels
    ({"market-type": "spot"}). resources: custom ones ({"tpu-host": 1}).
    """

    count: WorkerCount = 1
    max_count: int | None = None
    cpus: NotNegative = 1
    gpus: NotNegative = 0
    memory_bytes: ZeroOrMore | None = None
    accelerator_type: str | None = None
    label_selector: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, NotNegative] = field(default_factory=dict)

    def check(self) -> None:
        least = self.count
        require(
            self.max_count is None or self.max_count >= least,
            "max_count",
            f"at least count ({least})",
            self.max_count,
        )


GENERATORS_PER_PUBLISHER = 2
"""A publisher commits about 7 images a second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkersSpec(Settings):
    """encoders and generators are actors that hold the model; batch_size is images per generator batch. publishers:
    so many, and one for every two generators where that is more, up to their max_count. overlap_decoding: a generator
    decodes a batch while it denoises the next; auto does so where generators declare a GPU. Not behind a quality gate,
    nor with a limit of money."""

    encoders: WorkerSpec = WorkerSpec(cpus=0.5)
    generators: WorkerSpec = WorkerSpec(cpus=1)
    publishers: WorkerSpec = WorkerSpec(count=4, cpus=0.25)
    batch_size: BatchSize = 8
    overlap_decoding: Literal["auto", "on", "off"] = "auto"

    @property
    def cpus(self) -> float:
        """Nothing begins without these: both pools' at their start, and one publisher's."""
        pools = (self.encoders, self.generators)
        return sum(pool.count * pool.cpus for pool in pools) + self.publishers.cpus

    @property
    def most_publishers(self) -> int:
        """How many publish at once at most, where the cluster has CPUs for them."""
        generators = self.generators.max_count or self.generators.count
        most = max(self.publishers.count, -(-generators // GENERATORS_PER_PUBLISHER))
        return min(most, self.publishers.max_count or most)

    @property
    def gpus(self) -> float:
        return sum(pool.count * pool.gpus for pool in (self.encoders, self.generators))


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits(ImageLimits):
    """What a photo may be, and what the job may cost, over all its runs; beyond that, a run stops with exit code 4.

    max_photos: of one subject; one with more costs its own row. max_items: items with a record. max_gpu_hours: declared
    GPUs of the workers x time they are up. max_hours: of generating images, by the clock. max_cost: money at the
    job's `price`, reserved before each batch. max_cost_per_subject: money for one subject's images; beyond it, its
    further items fail.
    """

    max_photos: PhotoCount = MAX_PHOTOS
    max_items: AtLeastOne | None = None
    max_gpu_hours: Positive | None = None
    max_hours: Positive | None = None
    max_cost: Positive | None = None
    max_cost_per_subject: Positive | None = None

    @property
    def has_money(self) -> bool:
        """Whether one of the limits is money."""
        return self.max_cost is not None or self.max_cost_per_subject is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec(Settings):
    """A job: a catalog, prompts, a model, and where images go.

    catalog: CSV, JSONL or Parquet file, or a folder of images; a path or s3://, gs:// or az:// URI. catalog_roots:
    folders and prefixes of such URIs where its photos and masks may lie, besides the catalog's own folder or bucket;
    'dreamcache plan' prints the line for photos that lie elsewhere. catalog_hosts: web hosts that https:// photos and
    masks may be read from.
    columns maps our names to the catalog's own ({subject_id: sku}).
    With {images: ..} (a list, or paths with | between them) or {view: ..} (rows share a subject), a subject has several
    photos.
    class_name: for rows that have none. prompts: templates with {class_name}, {subject_id} and any catalog column; a
    row's own prompts come first. scenes: prompts with a name, and settings of their own. matrix: attributes of prompts
    and scenes, {light: [morning light, candle light]}; a prompt that names {light} is planned with each value.
    samples: images of every subject and prompt. seed: of the whole job. cache: shared by jobs; beside the output by
    default.
    method: what generates the images (see `inference.families`). noise: every item's own, or the same for a subject,
    prompt and sample whatever the settings are ("scene"), to compare settings. quality: a gate that images must pass.
    provenance: marks of generated images in every file; `off` must be written out. price: of the workers' machines;
    plan, status and manifest then state money, and limits may. on_finish: a webhook and `_SUCCESS` at a run's end.
    """

    name: Name
    catalog: Location
    output: Written
    prompts: tuple[str, ...] = ()
    scenes: tuple[Scene, ...] = ()
    matrix: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    samples: Samples = 1
    seed: int = 0
    class_name: str = "product"
    catalog_roots: tuple[Location, ...] = ()
    catalog_hosts: tuple[CatalogHost, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    cache: Written | None = None
    method: Method = "dreamcache"
    model: ModelSpec = ModelSpec()
    reference: EncodeSettings = EncodeSettings()
    generation: GenerationSettings = GenerationSettings()
    noise: Literal["item", "scene"] = "item"
    quality: QualitySettings | None = None
    images: ImageFormat = ImageFormat()
    provenance: Provenance = ProvenanceSettings()
    price: Price | None = None
    limits: Limits = Limits()
    workers: WorkersSpec = WorkersSpec()
    failures: FailurePolicy = FailurePolicy()
    on_finish: OnFinish | None = None

    def check(self) -> None:
        items = len(self.prompts) * self.samples + sum(one.samples or self.samples for one in self.scenes)
        require(
            items <= MAX_ITEMS_PER_ROW, "prompts x samples", f"at most {MAX_ITEMS_PER_ROW:,} for a row", items
        )
        names = [scene.name for scene in self.scenes]
        require(
            len(set(names)) == len(names),
            "scenes",
            "of different names",
            [name for name in names if names.count(name) > 1][:2],
        )
        check_matrix(self.matrix)
        if self.price is None:
            money = [name for name in ("max_cost", "max_cost_per_subject") if getattr(self.limits, name)]
            require(not money, "limits", f"without {', '.join(money)} where no price is given", money)

    @property
    def dtype(self) -> DType:
        """Of arithmetic, by what the job declares: planner and workers agree on it."""
        return self.model.dtype_on(on_gpu=self.workers.generators.gpus > 0)

    @property
    def model_to_open(self) -> ModelSpec:
        """`model` with nothing left open."""
        return replace(self.model, dtype=self.dtype)

    @property
    def overlaps_decoding(self) -> bool:
        """Whether a generator has two batches in flight. A gate decides by pixels what is tried next, and money is
        reserved for one batch of a worker at a time."""
        wanted, on_gpu = self.workers.overlap_decoding, self.workers.generators.gpus > 0
        is_wanted = wanted == "on" or (wanted == "auto" and on_gpu)
        return is_wanted and self.quality is None and not self.limits.has_money

    @property
    def cache_uri(self) -> str:
        return self.cache or self.output.rstrip("/") + "-cache"


def check_matrix(matrix: Mapping[str, tuple[str, ...]]) -> None:
    """Raises ValueError for an attribute without values, with equal or empty ones, or with a name that is taken."""
    for name, values in matrix.items():
        is_name = name.isascii() and name.isidentifier() and len(name) <= 60
        require(is_name, "matrix", "of names of 1-60 letters, digits or '_', no digit first", name)
        require(name not in OWN_PLACEHOLDERS, "matrix", f"without {name}, which every subject has", name)
        texts = [" ".join(value.split()) for value in values]
        require(bool(texts) and all(texts), f"matrix.{name}", "a list of texts, none of them empty", values)
        require(len(set(texts)) == len(texts), f"matrix.{name}", "a list of different texts", values)
