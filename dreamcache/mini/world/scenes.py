"""Scenes: where a product is shown, each rendered with variation from a scene seed.

Knows the scenes' names and the table of their renderers. Must not know products; the prompt phrases are in captions.
"""

import numpy as np

from dreamcache.mini.world import scenes_nature, scenes_town

_PLAIN = {
    "plain blue": (56, 112, 226),
    "plain red": (214, 52, 52),
    "plain yellow": (250, 214, 72),
    "plain green": (66, 172, 86),
    "plain purple": (142, 84, 188),
}

_BEHIND = frozenset({"pink fabric", "brick wall", "night sky", "autumn leaves", "jungle", *_PLAIN})

SCENES: tuple[str, ...] = (*scenes_nature.RENDERERS, *scenes_town.RENDERERS, *_PLAIN)


def render_scene(scene: str, seed: int, size: int) -> np.ndarray:
    """A scene without object, float32 [size, size, 3] in 0..255."""
    rng = np.random.default_rng((seed, 0x5CE7E, SCENES.index(scene)))
    if scene in _PLAIN:
        return _plain(rng, size, _PLAIN[scene])
    renderer = scenes_nature.RENDERERS.get(scene) or scenes_town.RENDERERS[scene]
    tint = 1.0 + rng.normal(0.0, 0.03, 3).astype(np.float32)
    scene_pixels: np.ndarray = np.clip(renderer(rng, size) * tint, 0, 255)
    return scene_pixels


def shadow_kind(scene: str) -> str:
    """ "foot" where the object stands on something, "behind" where it hangs before something."""
    return "behind" if scene in _BEHIND else "foot"


def _plain(rng: np.random.Generator, size: int, color: tuple[int, int, int]) -> np.ndarray:
    base = np.clip(np.array(color) + rng.normal(0, 9, 3), 0, 255).astype(np.float32)
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    falloff = 1.06 - 0.5 * (grid[None, :] ** 2 + grid[:, None] ** 2)
    return np.clip(base * falloff[:, :, None], 0, 255)
