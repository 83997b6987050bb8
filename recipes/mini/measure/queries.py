"""The queries of the benchmark: which designs, in which scenes, with which words, noise and scales.

Knows the world and numbers. Must not know models.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from dreamcache.mini.world import CLASSES, HELD_OUT_FROM, SCENES, design_from_seed, pose_from_seed, render
from dreamcache.mini.world.captions import scene_phrases

SIDE = 64
CLASS = CLASSES[0]
"""The class of the test within one class: the first, so nobody chose it."""
_REAL = 8  # renders that are compared take poses after those of a design's training pictures
_FURTHER = 12  # further packshots take poses after those of the renders


@dataclass(frozen=True, kw_only=True, slots=True)
class Scales:
    """The settings of generation: those in the job file of `dreamcache init`."""

    guidance: str = "combined"
    text_scale: float = 3.0
    image_scale: float = 3.5
    num_inference_steps: int = 20
    scheduler: str = "ddim"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One picture: a design in a scene, from noise of its own."""

    seed: int
    number: int  # of the design's scenes
    scene: str

    @property
    def class_name(self) -> str:
        return design_from_seed(self.seed).class_name

    @property
    def prompt(self) -> str:
        return prompt(self.class_name, self.scene)

    @property
    def noise_seed(self) -> int:
        return self.seed * 16 + self.number

    @property
    def name(self) -> str:
        """Names all that decides the picture: two queries of one name would share a file."""
        return f"{self.seed}-{self.number}-{self.scene.replace(' ', '_')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Designs to be distinguished from each other, `scenes` pictures of each."""

    name: str
    seeds: tuple[int, ...]
    scenes: int = 4
    queries: tuple[Query, ...] = field(init=False)

    def __post_init__(self) -> None:
        queries = [query for seed in self.seeds for query in _queries_of(seed, self.scenes)]
        object.__setattr__(self, "queries", tuple(queries))

    @property
    def owners(self) -> np.ndarray:
        """The index in `seeds` of each query's design, [queries]."""
        return np.repeat(np.arange(len(self.seeds)), self.scenes)

    @property
    def others(self) -> np.ndarray:
        """For each design, the index of the next one of its class, whose reference it receives when shuffled.

        A design that is alone in its class gets the next of all.
        """
        classes = np.array([design_from_seed(seed).class_name for seed in self.seeds])
        chosen = np.empty(len(self.seeds), int)
        for name in set(classes):
            members = np.flatnonzero(classes == name)
            chosen[members] = np.roll(members, -1) if len(members) > 1 else (members + 1) % len(classes)
        return chosen


def all_classes(count: int, scenes: int, first: int = HELD_OUT_FROM) -> Group:
    """The first held-out designs: consecutive seeds walk through the classes."""
    return Group(name="all classes", seeds=tuple(range(first, first + count)), scenes=scenes)


def one_class(count: int, scenes: int, first: int = HELD_OUT_FROM, class_name: str = CLASS) -> Group:
    """The first held-out designs of one class."""
    start = first + (CLASSES.index(class_name) - first) % len(CLASSES)
    seeds = tuple(range(start, start + count * len(CLASSES), len(CLASSES)))
    return Group(name=f"one class ({class_name})", seeds=seeds, scenes=scenes)


def prompt(class_name: str, scene: str) -> str:
    return f"a photo of a {class_name} {scene_phrases(scene)[0]}"


def photo(seed: int, size: int, *, number: int = 0, back: bool = False) -> tuple[Image.Image, np.ndarray]:
    """A packshot of a design, and its exact mask [size, size] bool.

    number: 0 is the catalog's, as `dreamcache init` writes it; 1 to 3 have poses of their own. back: from behind.
    """
    design, item = design_from_seed(seed), seed if number == 0 else seed * 16 + _FURTHER + number
    pose = replace(pose_from_seed(item, centered=True), back=back)
    picture, mask = render(design, pose=pose, scene=None, size=size)
    return Image.fromarray(picture), mask > 127


def real(query: Query, *, back: bool = False) -> tuple[Image.Image, np.ndarray]:
    """A true picture of the query, in a pose of its own, and the object's exact mask [SIDE, SIDE] bool."""
    item = query.seed * 16 + _REAL + query.number
    picture, mask = render(
        design_from_seed(query.seed),
        pose=replace(pose_from_seed(item), back=back),
        scene=query.scene,
        scene_seed=item,
        size=SIDE,
    )
    return Image.fromarray(picture), mask > 127


def _queries_of(seed: int, scenes: int) -> Sequence[Query]:
    chosen = np.random.default_rng((seed, 0x45C)).choice(len(SCENES), size=scenes, replace=False)
    return [Query(seed=seed, number=k, scene=SCENES[int(index)]) for k, index in enumerate(chosen)]
