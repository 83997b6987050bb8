"""BLIP-Diffusion, from the parts of the pipeline in diffusers: a baseline to compare with."""
