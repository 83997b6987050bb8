"""Whether words still work: is a picture's scene the one of its prompt? By the embedded CLIP, on whole pictures.

That CLIP was trained on this world; it names the scenes of held-out renders without error, as the table shows. Knows
features and queries.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from dreamcache.mini.world import SCENES
from recipes.mini.measure.features import ClipFeatures
from recipes.mini.measure.queries import Query, prompt


def scene_hits(clip: ClipFeatures, queries: Sequence[Query], pictures: Sequence[Image.Image]) -> np.ndarray:
    """1 where the prompt's scene wins among all scenes, the class being known; [queries]."""
    images = clip.images(pictures).numpy()
    names = sorted({query.class_name for query in queries})
    texts = {name: clip.texts([prompt(name, scene) for scene in SCENES]).numpy() for name in names}
    best = [int((texts[q.class_name] @ image).argmax()) for q, image in zip(queries, images, strict=True)]
    return np.array([SCENES[i] == q.scene for i, q in zip(best, queries, strict=True)], float)


def text_similarity(
    clip: ClipFeatures, queries: Sequence[Query], pictures: Sequence[Image.Image]
) -> np.ndarray:
    """Cosine of picture and prompt, [queries]."""
    return (clip.images(pictures) * clip.texts([query.prompt for query in queries])).sum(dim=1).numpy()
