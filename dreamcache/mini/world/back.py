"""The other side of a product: which of its parts are seen from behind, and what is printed there.

A product is turned by half a turn about the vertical: its outline is mirrored, what stands in front only is gone, the
pattern continues around a turned body, and the logo, which is on the front, is not seen. Knows the order of each
shape's parts; the renderer turns them.
"""

from collections.abc import Callable, Sequence

import numpy as np

from dreamcache.mini.world.parts import Piece, outline
from dreamcache.mini.world.shapes import parts_of

HALF_TURN = 0.75 * np.pi
"""Of surface coordinates, in half widths: a body's front spans arcsin(u) * 0.75."""


def parts_of_back(class_name: str, proportions: Sequence[float]) -> list[Piece]:
    """The parts that are seen from behind, back to front, in the object coordinates of the front."""
    parts = parts_of(class_name, proportions)
    return _SEEN[class_name](parts) if class_name in _SEEN else parts


def _handbag(parts: list[Piece]) -> list[Piece]:
    """Of a flap, its hinge alone."""
    top, height = parts[1].points[1]
    hinge = outline(
        [(-top, height), (top, height), (top, height + 0.12), (-top, height + 0.12)], paint="second"
    )
    return [*parts[:2], hinge]


def _chair(parts: list[Piece]) -> list[Piece]:
    """The backrest hides the seat."""
    front_legs, posts, panel, back_legs = parts[:2], parts[2:4], parts[4], parts[5:7]
    return [*front_legs, *parts[7:], *posts, *back_legs, panel]


def _backpack(parts: list[Piece]) -> list[Piece]:
    """No pocket, and the straps on the body."""
    straps, grip, body = parts[:2], parts[2], parts[3]
    return [grip, body, *straps]


_SEEN: dict[str, Callable[[list[Piece]], list[Piece]]] = {
    "handbag": _handbag,
    "t-shirt": lambda parts: parts[:-1],  # no view into the neck
    "cap": lambda parts: [parts[-1], *parts[:-1]],  # the brim is behind the dome
    "chair": _chair,
    "backpack": _backpack,
}
