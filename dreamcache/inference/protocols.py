"""The interfaces at which families of models, the generator, the quality gate and the session meet.

    Request --References--> what a family reads of a subject --Pipeline--> images --BatchGenerator--> outcomes

A family's own type of subject stays its own: features, an embedding, or nothing. Whoever holds a family without
knowing which one sees it as `Subject`, takes it from References and hands it to the Pipeline of the same family.
Knows no family, and nothing of Ray or jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NewType, Protocol, TypedDict, TypeVar, Unpack

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline
    from PIL import Image

    from dreamcache.core.config import EncodeSettings
    from dreamcache.core.records import Request
    from dreamcache.inference.encode import Encoded
    from dreamcache.inference.outcome import GenerationOutcome
    from dreamcache.storage.feature_cache import FeatureCache
    from dreamcache.storage.feature_check import Expected
    from dreamcache.storage.models.adapter import AdapterInfo
    from dreamcache.storage.models.base import BaseInfo

Subject = NewType("Subject", object)
"""What a pipeline reads of a subject, seen from outside of its family."""

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

Source = Literal["cache", "encoded"]
"""Where features came from that were not in memory."""

OnFeatures = Callable[[Source, float], None]
"""Reports features that were not in memory: their source, and how many seconds they took."""

OnRefused = Callable[[str, str], None]
"""Reports stored features that were not used and are encoded again: their cache key, and what is wrong with them."""


class SavingsArguments(TypedDict, total=False):
    """What steps leave out; see `core.config.savings.Savings`."""

    reuse_encoder: int
    reuse_guidance: int
    guidance_interval: Sequence[float]


class SamplingSettings(SavingsArguments, total=False):
    """How a batch is generated; see `core.config.GenerationSettings`. A family reads those that it knows."""

    guidance: str
    text_scale: float
    image_scale: float
    strength: float
    num_inference_steps: int
    scheduler: str | None
    height: int | None
    width: int | None
    output_type: str


class PromptCheck(Protocol):
    """Whether prompts fit a text encoder."""

    def check(self, prompt: str) -> None:
        """Raises PromptError for a prompt that would be cut."""


class ImageBatch(Protocol):
    """What a pipeline returns. images: [B, 3, H, W] in 0..1, on its device, for output_type "pt"."""

    @property
    def images(self) -> torch.Tensor: ...


class Pipeline(Protocol[S]):
    """A family's model on its device: what `Generator` and `PhotoConditions` call."""

    @property
    def info(self) -> BaseInfo: ...

    @property
    def adapter_info(self) -> AdapterInfo | None: ...

    @property
    def base(self) -> DiffusionPipeline: ...

    @property
    def prompts(self) -> PromptCheck: ...

    def encode_reference(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        settings: EncodeSettings | None = None,
    ) -> S:
        """What this family reads of one upright photo."""

    def __call__(
        self,
        prompt: Sequence[str],
        subject: Sequence[S],
        *,
        negative_prompt: str = "",
        generator: Sequence[torch.Generator],
        **settings: Unpack[SamplingSettings],
    ) -> ImageBatch:
        """One image per prompt, each with its own subject and generator."""


class ReferenceEncoder(Protocol):
    """Features of a photo, for the feature cache."""

    def encode(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        reference_id: str | None = None,
        where: str = "reference",
    ) -> Encoded:
        """Of one upright RGB(A) photo. Raises ImageError for a photo that cannot be used."""

    def expected(self, reference_id: str) -> Expected:
        """What features of that reference must be, wherever they were stored."""


class References(Protocol[S_co]):
    """What a family reads of the subject of a planned item."""

    on_features: OnFeatures
    on_refused: OnRefused

    def get(self, request: Request) -> S_co:
        """From memory, the feature cache or the photo. Raises ImageError or StorageError when none can be used."""

    def ensure(self, request: Request) -> None:
        """Encodes what the feature cache does not hold; what is there is not read. Raises as `get` does."""

    def has(self, request: Request) -> bool:
        """Whether it is in memory already."""

    def segment_note(self, request: Request) -> str | None:
        """Of a subject in memory: why the whole photo was used, a key of `segment.REASONS`; None where it was not."""

    def recall(self, request: Request, cache: FeatureCache) -> bool:
        """Takes it into memory from another cache, without a look at the photo; False where it is not there."""


class ImageGenerator(Protocol):
    """Requests become images: the generator, or the quality gate around it."""

    def generate(self, requests: Sequence[Request]) -> list[GenerationOutcome]:
        """One outcome per request, in order."""


class BatchGenerator(ImageGenerator, Protocol):
    """A generator alone. batch_size: requests of one batch, to which smaller ones are filled up."""

    batch_size: int
    note: str | None

    def take_note(self) -> str | None:
        """What the user should know of since the last call."""
