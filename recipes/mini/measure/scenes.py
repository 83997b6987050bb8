"""Whether words still work: is a picture's scene the one that was asked for? By the embedded CLIP, on whole pictures.

That CLIP was trained on this world; it tells scenes of held-out renders without error, which is shown beside. Knows
features and questions.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from dreamcache.mini.world import SCENES
from recipes.mini.measure.features import ClipFeatures
from recipes.mini.measure.questions import Question, prompt


def scene_hits(
    clip: ClipFeatures, questions: Sequence[Question], pictures: Sequence[Image.Image]
) -> np.ndarray:
    """1 where the scene asked for wins among all scenes, the class being known; [questions]."""
    images = clip.images(pictures).numpy()
    names = sorted({question.class_name for question in questions})
    texts = {name: clip.texts([prompt(name, scene) for scene in SCENES]).numpy() for name in names}
    best = [int((texts[q.class_name] @ image).argmax()) for q, image in zip(questions, images, strict=True)]
    return np.array([SCENES[i] == q.scene for i, q in zip(best, questions, strict=True)], float)


def text_similarity(
    clip: ClipFeatures, questions: Sequence[Question], pictures: Sequence[Image.Image]
) -> np.ndarray:
    """Cosine of picture and prompt, [questions]."""
    return (
        (clip.images(pictures) * clip.texts([question.prompt for question in questions])).sum(dim=1).numpy()
    )
