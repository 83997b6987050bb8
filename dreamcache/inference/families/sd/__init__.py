"""DreamCache on a Stable Diffusion base: features of references in the cache, read by an adapter."""
