"""Families of models behind one interface, so that one job and one evaluation compare them.

    family.py   what a family says of itself without torch        open.py   its models, opened on a device (torch)
    photo.py    subjects read from their photo, without a cache   sampling.py, sd_sizes.py  parts that families share
    weight_bytes.py  bytes of weights on the device, with offloading and in fewer bits
    diffusers_folder.py, loading.py  bases of other layouts than Stable Diffusion's, described and loaded
    two_levels.py  what was computed for the last subjects, on the device and in host memory

    ../layouts.py  what is particular to a base that DreamCache adapters are put on
    reference_kv.py, reference_pipeline.py  bases that read references by their own attention
    cached.py   references through the feature cache

    sd              a Stable Diffusion base with a DreamCache adapter and the feature cache: method `dreamcache`
    sdxl            the same on an SDXL base
    flux2_klein     a base that reads references by itself: latents in the cache, keys and values once a subject
    text_only       the base model alone          ip_adapter       StableDiffusionPipeline.load_ip_adapter
    blip_diffusion  BlipDiffusionPipeline's parts; `compat` puts back what transformers 5 took from them

A new family is a new folder here with `describe.py` (its FAMILY) and `open.py`; nothing else names it.
Importing this package imports no torch.
"""

from dreamcache.inference.families.family import Family, family_of, register_families

__all__ = ["Family", "family_of"]

register_families(__name__, list(__path__))
