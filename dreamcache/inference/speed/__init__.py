"""How much work an image is, counted and timed: FLOPs on the meta device, host cost, and images/s on a GPU.

    shapes (models with random weights) -> count | host | device -> `dreamcache bench speed`, recipes.speed

Weights are random: what is measured depends on shapes alone. Knows the pipeline and diffusers; knows no job.
"""
