"""DreamCache: personalized images of a subject from one photo, without training per subject.

    photo -> encode -> features (feature cache) -> generate, with a trained adapter -> images

>>> from dreamcache import DreamCachePipeline
>>> pipe = DreamCachePipeline.from_pretrained("mini")
>>> subject = pipe.encode_reference(photo)
>>> [image] = pipe("a photo of a mug in the snow", subject, num_inference_steps=2).images

Plain Python: no Ray, no jobs. Names below are loaded when first used, so that `import dreamcache` needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamcache.core.config import EncodeSettings
    from dreamcache.inference.attention import attention_maps
    from dreamcache.inference.pipeline import DreamCachePipeline
    from dreamcache.model.features import PhotoSet, SubjectFeatures

__version__ = "0.1.0"
__all__ = [
    "DreamCachePipeline",
    "EncodeSettings",
    "PhotoSet",
    "SubjectFeatures",
    "__version__",
    "attention_maps",
]

_HOMES = {
    "DreamCachePipeline": "dreamcache.inference.pipeline",
    "EncodeSettings": "dreamcache.core.config",
    "PhotoSet": "dreamcache.model.features",
    "SubjectFeatures": "dreamcache.model.features",
    "attention_maps": "dreamcache.inference.attention",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dreamcache' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
