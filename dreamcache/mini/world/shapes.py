"""The table of shapes: class name to the function that builds its parts."""

from collections.abc import Callable, Sequence

from dreamcache.mini.world import shapes_cut, shapes_turned
from dreamcache.mini.world.parts import Piece

_SHAPES: dict[str, Callable[[Sequence[float]], list[Piece]]] = {
    "mug": shapes_turned.mug,
    "bottle": shapes_turned.bottle,
    "box": shapes_cut.box,
    "handbag": shapes_cut.handbag,
    "t-shirt": shapes_cut.t_shirt,
    "cap": shapes_cut.cap,
    "sneaker": shapes_cut.sneaker,
    "lamp": shapes_turned.lamp,
    "chair": shapes_cut.chair,
    "vase": shapes_turned.vase,
    "backpack": shapes_cut.backpack,
    "teapot": shapes_turned.teapot,
}


def parts_of(class_name: str, proportions: Sequence[float]) -> list[Piece]:
    """The parts of a product, back to front."""
    return _SHAPES[class_name](proportions)
