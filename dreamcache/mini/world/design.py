"""Designs: what makes one product differ from every other of its class.

Knows the seed, the palette and the choices a design consists of. Must not know how anything is rendered.
"""

from dataclasses import dataclass

import numpy as np

HELD_OUT_FROM = 1_000_000
"""Design seeds below are for training; this one and all above are never trained on."""

CLASSES = (
    "mug", "bottle", "box", "handbag", "t-shirt", "cap",
    "sneaker", "lamp", "chair", "vase", "backpack", "teapot",
)  # fmt: skip

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 42),
    "orange": (246, 128, 30),
    "yellow": (252, 212, 40),
    "lime": (152, 208, 48),
    "green": (24, 132, 66),
    "teal": (16, 166, 162),
    "sky blue": (104, 188, 244),
    "blue": (36, 72, 204),
    "purple": (124, 48, 172),
    "pink": (248, 122, 178),
    "brown": (122, 76, 40),
    "white": (246, 246, 242),
    "black": (36, 36, 42),
    "grey": (142, 146, 152),
}
_COLOR_WEIGHTS = np.array([1.0] * 10 + [0.7, 0.8, 0.6, 0.4])

PATTERNS = (
    "plain",
    "horizontal stripes",
    "vertical stripes",
    "band",
    "dots",
    "checker",
    "two-tone",
    "diagonal",
)
_PATTERN_WEIGHTS = np.array([0.34, 0.1, 0.1, 0.1, 0.1, 0.07, 0.12, 0.07])

LOGOS = ("circle", "star", "heart", "triangle", "diamond", "ring")
MATERIALS = ("matte", "glossy", "metal")

_MIN_COLOR_DISTANCE = 105.0
_LOGO_CHANCE = {"plain": 0.72, "two-tone": 0.45, "band": 0.25}


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """One product. Everything a picture of it shows besides pose and scene follows from these fields."""

    seed: int
    class_name: str
    proportions: tuple[float, ...]  # eight numbers in [0, 1]; each shape gives them its own meaning
    color_names: tuple[str, str, str]  # main, second, accent (logo)
    colors: tuple[tuple[float, float, float], ...]  # the same three, jittered, 0..255
    pattern: str
    pattern_count: int  # stripes, dots or squares across the surface
    logo: str | None
    logo_size: float  # radius, relative to the surface's half size
    material: str

    @property
    def held_out(self) -> bool:
        return self.seed >= HELD_OUT_FROM


def design_from_seed(seed: int) -> Design:
    """The design of a seed, always the same one. Consecutive seeds walk through the classes in turn."""
    if seed < 0:
        raise ValueError(f"design seed {seed}: must not be negative")
    rng = np.random.default_rng((seed, 0xD351))
    names = _pick_colors(rng)
    pattern = str(rng.choice(PATTERNS, p=_PATTERN_WEIGHTS / _PATTERN_WEIGHTS.sum()))
    has_logo = rng.random() < _LOGO_CHANCE.get(pattern, 0.0)
    logo = str(rng.choice(LOGOS))
    return Design(
        seed=seed,
        class_name=CLASSES[seed % len(CLASSES)],
        proportions=tuple(float(v) for v in rng.random(8)),
        color_names=names,
        colors=tuple(_jitter(COLORS[name], rng) for name in names),
        pattern=pattern,
        pattern_count=int(rng.integers(2, 5)),
        logo=logo if has_logo else None,
        logo_size=float(rng.uniform(0.42, 0.6)),
        material=str(rng.choice(MATERIALS, p=(0.45, 0.37, 0.18))),
    )


def _pick_colors(rng: np.random.Generator) -> tuple[str, str, str]:
    """Three colours, each well apart from the others."""
    names = list(COLORS)
    weights = _COLOR_WEIGHTS / _COLOR_WEIGHTS.sum()
    picked: list[str] = []
    for name in rng.choice(names, size=len(names), replace=False, p=weights):
        if all(_distance(name, other) >= _MIN_COLOR_DISTANCE for other in picked):
            picked.append(str(name))
        if len(picked) == 3:
            break
    return picked[0], picked[1], picked[2]


def _distance(a: str, b: str) -> float:
    return float(np.linalg.norm(np.subtract(COLORS[a], COLORS[b])))


def _jitter(color: tuple[int, int, int], rng: np.random.Generator) -> tuple[float, float, float]:
    moved = np.clip(np.array(color) + rng.normal(0.0, 7.0, 3), 12, 250)
    return float(moved[0]), float(moved[1]), float(moved[2])
