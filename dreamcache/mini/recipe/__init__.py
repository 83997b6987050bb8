"""The recipe: how the embedded model is made again from nothing, in stages that each resume.

    data -> vae -> clip -> unet (with adapters) -> adapter -> export        grid, evaluate: look at it at any time

Knows the world, the product's model code and training. Must not be imported by the product at run time.
"""
