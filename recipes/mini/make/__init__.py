"""The recipe: trains the embedded model from nothing, in stages that each resume.

    data -> vae -> refine -> clip -> latents -> unet (with adapters) -> export -> adapter (dreamcache train) -> measure
                                                                       grid, evaluate: look at it at any time

Knows the world, the product's model code and training.
"""
