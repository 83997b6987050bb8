"""Qwen-Image 2.1: photos in front of the prompt, whose text states, keys and values every prompt reuses."""
