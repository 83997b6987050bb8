"""Captions: class and scene in words, and never the design (else nothing would need the reference).

Knows the phrases of every scene. Must not know colours, patterns or logos.
"""

import numpy as np

_PHRASES: dict[str, tuple[str, ...]] = {
    "jungle": ("in the jungle", "in a green jungle", "with jungle leaves around it"),
    "snow": ("in the snow", "on snow", "in a snowy landscape"),
    "beach": ("on the beach", "on a sandy beach by the sea", "with the sea in the background"),
    "wheat field": ("with a wheat field in the background", "in a wheat field", "in a golden field of wheat"),
    "autumn leaves": (
        "with a tree and autumn leaves in the background",
        "in autumn leaves",
        "on top of autumn leaves",
    ),
    "water": ("floating on top of water", "on water", "floating in the water"),
    "grass": ("on green grass", "in the grass", "on top of green grass with flowers around it"),
    "dirt road": ("on top of a dirt road", "on a dirt road", "on a dirt path"),
    "mountain": (
        "with a mountain in the background",
        "in the mountains",
        "with snowy mountains in the background",
    ),
    "night sky": (
        "in the night sky",
        "under a starry sky at night",
        "with the moon and stars in the background",
    ),
    "sunset": ("at sunset", "with a sunset in the background", "with the setting sun in the background"),
    "cobblestone": ("on a cobblestone street", "on cobblestones", "on top of a cobblestone street"),
    "city": ("with a city in the background", "in the city", "on a street with a city in the background"),
    "blue house": ("with a blue house in the background", "in front of a blue house"),
    "brick wall": (
        "in front of a brick wall",
        "against a red brick wall",
        "with a brick wall in the background",
    ),
    "wooden floor": ("on top of a wooden floor", "on a wooden floor", "on wooden planks"),
    "wooden table": ("on a wooden table", "on top of a table", "on top of a wooden table"),
    "pink fabric": ("on top of pink fabric", "on pink fabric", "on a pink cloth"),
    "white rug": ("on top of a white rug", "on a white rug", "on a white carpet"),
    "kitchen": ("in the kitchen", "on a kitchen counter", "on a counter in a kitchen"),
    "party": ("with confetti in the background", "at a party", "with colorful confetti around it"),
    "plain blue": ("on a plain blue background", "on a blue background"),
    "plain red": ("on a plain red background", "on a red background"),
    "plain yellow": ("on a plain yellow background", "on a yellow background"),
    "plain green": ("on a plain green background", "on a green background"),
    "plain purple": ("on a plain purple background", "on a purple background"),
}

_TEMPLATES = (
    "a photo of a {name} {scene}",
    "a {name} {scene}",
    "a {name} {scene}",
    "a picture of a {name} {scene}",
    "a product photo of a {name} {scene}",
    "{name} {scene}",
)


def scene_phrases(scene: str) -> tuple[str, ...]:
    """The ways to say a scene; the first is the plainest."""
    return _PHRASES[scene]


def caption(class_name: str, scene: str | None, seed: int | None = None) -> str:
    """A caption; without a seed the plainest one. `scene` None is the packshot."""
    if seed is None:
        phrase = "on a plain white background" if scene is None else _PHRASES[scene][0]
        return f"a {class_name} {phrase}"
    rng = np.random.default_rng((seed, 0xCA97))
    phrases = ("on a plain white background", "on a white background") if scene is None else _PHRASES[scene]
    template = _TEMPLATES[int(rng.integers(len(_TEMPLATES)))]
    return template.format(name=class_name, scene=phrases[int(rng.integers(len(phrases)))])


def all_captions(class_names: tuple[str, ...]) -> list[str]:
    """Every caption there is, sorted: the tokenizer's corpus and the table of precomputed embeddings."""
    phrases = [p for group in _PHRASES.values() for p in group]
    phrases += ["on a plain white background", "on a white background"]
    captions = {t.format(name=n, scene=s) for t in _TEMPLATES for n in class_names for s in phrases}
    return sorted(captions)
