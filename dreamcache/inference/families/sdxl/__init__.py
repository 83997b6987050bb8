"""DreamCache on an SDXL base: as `sd`, with two text encoders, pooled text, size ids and deeper transformers."""
