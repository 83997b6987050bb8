"""Other methods behind the face of `DreamCachePipeline`, so that one job and one evaluation compare them.

    describe_method (no torch) -> item ids        load_method -> a pipeline that `generate.Generator` calls
    Request --PhotoConditions--> what a method reads of the subject: nothing, or its photo

    text_only        the base model alone           ip_adapter   StableDiffusionPipeline.load_ip_adapter
    dreamcache       DreamCachePipeline itself, with the feature cache
    blip_diffusion   BlipDiffusionPipeline's parts; `blip_compat` puts back what transformers 5 took from them

Each backend has, as DreamCachePipeline has: info, adapter_info, base, prompts.check, encode_reference, __call__.
Importing this package imports no torch.
"""

from dreamcache.core.config.job import METHODS, Method
from dreamcache.inference.families.describe import describe_method

__all__ = ["METHODS", "Method", "describe_method"]
