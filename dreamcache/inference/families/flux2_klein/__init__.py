"""FLUX.2 klein: references become latents in the cache, and keys and values that every prompt reuses."""
