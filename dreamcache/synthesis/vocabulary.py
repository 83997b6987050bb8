"""Words of the template captioner: objects by category, the places they are shown in, and the sentences around them.

Knows words only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dreamcache.core.config.synthesize import CaptionSettings

GENERAL: Mapping[str, tuple[str, ...]] = {
    "kitchen": ("mug", "teapot", "frying pan", "bowl", "pepper mill", "cutting board", "kettle", "wine glass"),
    "furniture": ("chair", "armchair", "stool", "lamp", "bookshelf", "side table", "bench", "rocking chair"),
    "clothing": ("sneaker", "boot", "t-shirt", "cap", "scarf", "jacket", "sandal", "straw hat"),
    "bags": ("backpack", "handbag", "suitcase", "tote bag", "wallet", "duffel bag"),
    "toys": ("teddy bear", "toy robot", "toy car", "rubber duck", "wooden train", "kite", "doll"),
    "electronics": ("headphones", "camera", "radio", "alarm clock", "game controller", "loudspeaker"),
    "animals": ("cat", "dog", "rabbit", "parrot", "horse", "hedgehog", "fox", "owl"),
    "vehicles": ("bicycle", "scooter", "motorcycle", "canoe", "vintage car", "skateboard"),
    "garden": ("watering can", "flower pot", "wheelbarrow", "garden gnome", "birdhouse", "lantern"),
    "music": ("guitar", "violin", "drum", "trumpet", "accordion", "ukulele"),
    "food": ("cake", "pineapple", "burger", "loaf of bread", "ice cream cone", "jar of honey"),
    "sport": ("tennis racket", "football", "surfboard", "boxing glove", "snowboard", "basketball"),
}  # fmt: skip

CONTEXTS: tuple[str, ...] = (
    "on a rustic wooden table by a window", "in a sunlit meadow full of wild flowers", "on a sandy beach at sunset",
    "in a busy city street after the rain", "on a mossy rock beside a mountain stream", "in a cosy living room",
    "on a marble counter with morning light", "in front of a weathered brick wall", "on fresh snow in a pine forest",
    "at a crowded farmers' market", "under cherry trees in full blossom", "on the deck of an old sailing boat",
    "in a quiet library between tall shelves", "on a picnic blanket in the park", "in a desert with red dunes",
    "beneath a starry sky near a campfire", "on cobblestones in an old town", "in a greenhouse among tropical plants",
    "on a rooftop overlooking the city at night", "in an artist's studio with paint on the floor",
    "on autumn leaves along a forest path", "at the edge of a calm lake in the mist", "in a workshop full of tools",
    "on the steps of a stone temple", "in a snowy mountain village", "beside a swimming pool in summer",
)  # fmt: skip

SENTENCES: tuple[str, ...] = (
    "a photo of a {object} {context}",
    "a {object} {context}",
    "a close-up of a {object} {context}",
    "a detailed picture of a single {object} {context}",
    "a {object} {context}, seen from slightly above",
    "a product photo of a {object} {context}",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """categories: objects by category. Each caption is a sentence with an object and a context."""

    categories: Mapping[str, tuple[str, ...]]
    contexts: tuple[str, ...]
    sentences: tuple[str, ...] = SENTENCES


def vocabulary_of(settings: CaptionSettings) -> Vocabulary:
    """The vocabulary named in the settings; words in the settings replace its own."""
    categories, contexts, sentences = GENERAL, CONTEXTS, SENTENCES
    if settings.vocabulary == "mini":
        categories, contexts = _of_mini()
        # Its text encoder has seen plain sentences only.
        sentences = SENTENCES[:2]
    return Vocabulary(
        categories=settings.categories or categories,
        contexts=settings.contexts or contexts,
        sentences=sentences,
    )


def _of_mini() -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    from dreamcache.mini.world.captions import scene_phrases
    from dreamcache.mini.world.scenes import SCENES

    categories = {
        "kitchen": ("mug", "bottle", "teapot"),
        "home": ("lamp", "chair", "vase", "box"),
        "clothing": ("t-shirt", "cap", "sneaker"),
        "bags": ("handbag", "backpack"),
    }
    return categories, tuple(phrase for scene in SCENES for phrase in scene_phrases(scene))
