"""The procedural product world behind the embedded model: a seed is a product.

Knows how to render parametric products in described scenes, with exact masks; needs numpy and Pillow only.
Must not know torch, models, training or catalogs of users.

    seed -> design -> shapes (parts) -> render(pose, scene, scene seed, size) -> picture, mask
                                         captions(class, scene) -> prompt
"""

from dreamcache.mini.world.captions import caption, scene_phrases
from dreamcache.mini.world.design import CLASSES, HELD_OUT_FROM, Design, design_from_seed
from dreamcache.mini.world.render import Pose, pose_from_seed, render
from dreamcache.mini.world.scenes import SCENES

__all__ = [
    "CLASSES", "HELD_OUT_FROM", "SCENES", "Design", "Pose",
    "caption", "design_from_seed", "pose_from_seed", "render", "scene_phrases",
]  # fmt: skip
