"""The embedded model: a miniature Stable Diffusion with trained weights, and the product world it was trained on.

world/    renders procedural products (no torch)      catalog.py  writes sample catalogs of them
weights/  diffusers layout; `recipes/mini` trains it
"""
