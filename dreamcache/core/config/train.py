"""Settings of adapter training as frozen values, each checked when constructed. Parsed from YAML by `jobs.train.spec`.

    data -> transform -> conditions -> loss -> optimizer -> schedule of steps

Defaults are the paper's where it names one (docs/method.md section 4). Knows nothing of models, files or Ray.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval

from dreamcache.core.config import FeatureSource, IntegrationName
from dreamcache.core.config.fields import (
    AtLeastOne,
    BatchSize,
    NotNegative,
    Positive,
    PositiveShare,
    Seed,
    Share,
    ShareBelowOne,
    Side,
    Timestep,
    ZeroOrMore,
)
from dreamcache.core.config.rules import RuleText, Settings, require
from dreamcache.core.locations import Location, Written

Precision = Literal["float32", "bfloat16"]
Recipe = Literal["dreamcache", "published"]
CAPTION = "{caption}"
HueShift = Annotated[float, Interval(ge=0, le=0.5)]
"""Of the colour circle: 0.5 is the opposite colour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings(Settings):
    """Where samples of (image, mask, caption) are read (see `training.sources`).

    The reference is cut from the image by its mask, unless a sample brings a reference photo of its own (a packshot of
    the same subject): then it is that photo, on white or with its own mask, and the image needs no mask. Flips, jitter
    and erasing act on either; scale and position in the frame only on what is cut out.

    path: a folder of images/ and masks/, or of .parquet or .tar shards; a local path or s3:// URI.
    validation: a location of the same kind; None leaves the first `validation_samples` of `path` out of training.
    subset: only so many samples of those that are trained on, the first ones; None for all.
    shuffle_shards: so many shards are held in memory and mixed at a time; more where a batch reads more at once.
    on_no_mask: a sample without mask and reference photo ends the training ("fail"), is passed over ("skip"), or its
    whole image is the reference.
    max_bad_share: of the samples that cannot be used, as a share of all; they are passed over, each is listed in
    bad_samples.csv, and more of them end the training. max_bad_samples: the same as a number, None for no such limit.
    loaders: processes that read and transform ahead, for each worker; 0 does it between the steps, None is 4 where
    the worker has a GPU.
    """

    path: Location
    format: Literal["auto", "folder", "parquet", "webdataset"] = "auto"
    validation: Location | None = None
    validation_samples: ZeroOrMore = 32
    subset: AtLeastOne | None = None
    shuffle_shards: AtLeastOne = 4
    on_no_mask: Literal["fail", "skip", "whole_image"] = "fail"
    max_bad_share: Share = 0.05
    max_bad_samples: ZeroOrMore | None = None
    loaders: ZeroOrMore | None = None

    def bad_samples_allowed(self, total: int) -> int:
        """How many of `total` samples may be passed over."""
        share = math.ceil(self.max_bad_share * total)
        return share if self.max_bad_samples is None else min(share, self.max_bad_samples)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformSettings(Settings):
    """How a sample's own subject becomes its reference (docs/method.md section 4). p: probabilities.

    min_side: of the subject's longer side, as a share of the frame. erase_area: least and most share of the frame.
    """

    min_side: PositiveShare = 0.7
    flip_p: Share = 0.5
    jitter_p: Share = 0.1
    jitter: Share = 0.4
    jitter_hue: HueShift = 0.1
    erase_p: Share = 0.4
    erase_area: tuple[float, float] = (0.02, 0.25)

    def check(self) -> None:
        least, most = self.erase_area
        require(0 < least <= most < 1, "erase_area", "two rising shares between 0 and 1", self.erase_area)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceSettings(Settings):
    """How references are encoded in training, and how they enter the U-Net (docs/method.md sections 1 and 7).

    timestep, text: of the encoding pass; {caption} in the text is the sample's own. A job that uses the adapter sets
    the same `reference.timestep` and `reference.text` (there {class_name} may stand for the caption).
    parts, every: the middle block's and every n-th transformer of encoder and decoder; `places` names them outright.
    features: each place reads its own feature map, or all read the middle block's.
    integration: see `dreamcache.model.integration`; the paper's is spatial_concat.
    noise: of the encoding pass, sampled anew for every sample (`drawn`), or fixed: the same for all, as a job encodes.
    cache: a feature cache, local path or s3:// URI, with the features of photos that never change: those
    that samples bring without a mask, if transform and noise are without chance. "" encodes at every step.
    unet: references are read by the frozen base, or by a copy of it that is trained with the adapter and exported
    beside it; unet_learning_rate: the copy's, 0 for the adapter's.
    """

    timestep: Timestep = 1
    text: str = ""
    parts: tuple[Literal["encoder", "middle", "decoder"], ...] = ("middle", "decoder")
    every: AtLeastOne = 2
    places: tuple[str, ...] = ()
    features: FeatureSource = "own"
    integration: IntegrationName = "spatial_concat"
    noise: Literal["drawn", "fixed"] = "drawn"
    cache: Written = ""
    unet: Literal["frozen", "trained"] = "frozen"
    unet_learning_rate: NotNegative = 0.0

    def check(self) -> None:
        require(bool(self.parts or self.places), "parts", "of encoder, middle and decoder", self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSettings(Settings):
    """Which conditions a sample loses, and how its error is weighed.

    drop_*: shares of the samples that lose the text alone, the reference alone, and both. Without its reference a
    sample passes through the frozen base alone, and its gradient is zero: the base predicts e(0, 0) and e(0, cT) as it
    is, so by default no reference is dropped.
    foreground: extra weight of the error on the subject's mask, 0 for none. min_snr_gamma: 0 for none, 5 is usual
    (arXiv 2303.09556).
    """

    drop_text: NotNegative = 0.07
    drop_image: NotNegative = 0.0
    drop_both: NotNegative = 0.0
    foreground: NotNegative = 0.0
    min_snr_gamma: NotNegative = 0.0

    def check(self) -> None:
        total = self.drop_text + self.drop_image + self.drop_both
        require(total <= 1, "drop_text + drop_image + drop_both", "at most 1", total)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSettings(Settings):
    """AdamW with warm-up, a schedule, clipping and a moving average of the weights.

    learning_rate: after `warmup_steps`; the published code's. ema: decay of the average that is exported, 0 for none.
    clip_norm: of the whole gradient, 0 for none.
    """

    learning_rate: Positive = 1e-5
    weight_decay: NotNegative = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_steps: ZeroOrMore = 500
    schedule: Literal["cosine", "constant"] = "cosine"
    ema: Annotated[ShareBelowOne, RuleText("0, or a decay below 1")] = 0.9999
    clip_norm: NotNegative = 1.0

    def check(self) -> None:
        require(all(0 <= beta < 1 for beta in self.betas), "betas", "two numbers from 0, below 1", self.betas)


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalSettings(Settings):
    """Every how many steps something is written; 0 for never. levels: noise levels that are validated."""

    log: AtLeastOne = 20
    checkpoint: ZeroOrMore = 500
    validate: ZeroOrMore = 1000
    samples: ZeroOrMore = 0
    keep: AtLeastOne = 2
    levels: tuple[Timestep, ...] = (100, 300, 500, 700)
    sample_count: AtLeastOne = 4
    sample_steps: AtLeastOne = 25
    text_scale: float = 7.5
    image_scale: float = 0.4


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings(Settings):
    """One training, whatever the number of workers.

    global_batch: samples of one optimizer step over all workers. micro_batch: samples of one forward pass; gradients
    of several are accumulated. size: side in pixels, 0 for the base model's own. precision: of the frozen base and
    the passes; the adapter's own weights and their average stay in float32.
    recipe: where a training file's settings come from that it does not set itself: our defaults, or the published
    training (see `config.train_recipes`): a constant rate of 1e-5, no average, no clipping, jitter 0.2 and 0.05, a
    sample of the posterior, empty captions 0.07, references never dropped.
    posterior: of the VAE, for targets and references: its mode, or a sample, a new one for every sample and step.
    """

    data: DataSettings
    recipe: Recipe = "dreamcache"
    transform: TransformSettings = TransformSettings()
    reference: ReferenceSettings = ReferenceSettings()
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    every: IntervalSettings = IntervalSettings()
    steps: AtLeastOne = 200_000
    global_batch: BatchSize = 48
    micro_batch: BatchSize = 12
    size: Side = 0
    seed: Seed = 0
    precision: Precision = "bfloat16"
    posterior: Literal["mode", "sample"] = "mode"
    gradient_checkpointing: bool = False

    def check(self) -> None:
        if self.reference.cache:
            self._check_cache()

    def _check_cache(self) -> None:
        """Only what is the same at every step can be cached."""
        settings = {
            "transform.flip_p": (self.transform.flip_p, 0),
            "transform.jitter_p": (self.transform.jitter_p, 0),
            "transform.erase_p": (self.transform.erase_p, 0),
            "reference.noise": (self.reference.noise, "fixed"),
            "reference.unet": (self.reference.unet, "frozen"),
            "posterior": (self.posterior, "mode"),
        }
        broken = [f"{name}: {rule}, got {got!r}" for name, (got, rule) in settings.items() if got != rule]
        if broken:
            raise ValueError(
                f"reference.cache needs references that are the same at every step: set {'; '.join(broken)}; or leave "
                f"reference.cache out"
            )

    def course(self) -> dict[str, Any]:
        """What decides the trained weights, as flat JSON values: two runs may share checkpoints if these agree."""
        values = asdict(self)
        for name in ("every", "micro_batch", "gradient_checkpointing", "recipe"):
            del values[name]
        for name in ("path", "loaders", "max_bad_samples", "max_bad_share"):
            del values["data"][name]  # the data may move
        del values["reference"]["cache"]  # it changes where features come from, not what they are
        values["data"]["validation"] = self.data.validation is not None
        return dict(_flat(values))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, list(value) if isinstance(value, tuple) else value))
    return pairs
