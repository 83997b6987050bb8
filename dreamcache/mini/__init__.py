"""The embedded model: a miniature Stable-Diffusion stack with trained weights, and the world it was trained on.

world/    draws procedural products (no torch)          catalog.py  writes sample catalogs of them
recipe/   trains everything again, stage by stage       weights/    what it made, diffusers layout
"""
