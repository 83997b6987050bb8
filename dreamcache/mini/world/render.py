"""Rendering: a design in a pose in a scene becomes a picture and the object's exact mask.

Knows parts, light and pixels. Must not know captions, splits or models. Same arguments, same bytes.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from dreamcache.mini.world.back import HALF_TURN, parts_of_back
from dreamcache.mini.world.design import Design
from dreamcache.mini.world.light import shade_factor, sheen
from dreamcache.mini.world.parts import Piece
from dreamcache.mini.world.patterns import surface_colors
from dreamcache.mini.world.scenes import render_scene, shadow_kind
from dreamcache.mini.world.shapes import parts_of

_OUTLINE = 0.022  # line width relative to the frame
_EDGE, _INSIDE = 254, 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Where and how the object stands. Lengths are shares of the frame, angles are degrees. back: seen from behind."""

    scale: float = 0.72  # the object's larger side
    x: float = 0.5
    y: float = 0.5
    rotation: float = 0.0
    flip: bool = False
    yaw: float = 0.0
    light: float = -0.5  # -1 from the left, 1 from the right
    back: bool = False

    @property
    def is_mirrored(self) -> bool:
        """Whether the object's right is on the picture's left: by mirroring, or because it is seen from behind."""
        return self.flip != self.back


def pose_from_seed(seed: int, *, centered: bool = False) -> Pose:
    """A random pose that keeps the object in the frame; `centered` gives the calmer one of a packshot."""
    rng = np.random.default_rng((seed, 0x905E))
    scale = float(rng.uniform(0.66, 0.82) if centered else rng.uniform(0.5, 0.8))
    room = (1.0 - scale) / 2 * 0.85
    return Pose(
        scale=scale,
        x=0.5 + float(rng.uniform(-room, room)) * (0.4 if centered else 1.0),
        y=0.5 + float(rng.uniform(-0.5 * room, room)) * (0.4 if centered else 1.0),
        rotation=float(rng.uniform(-12, 12)) * (0.5 if centered else 1.0),
        flip=bool(rng.random() < 0.5),
        yaw=float(rng.uniform(-22, 22)),
        light=float(rng.uniform(0.35, 0.8) * rng.choice((-1.0, 1.0))),
    )


def framed(design: Design, pose: Pose, margin: float = 0.05) -> Pose:
    """The pose moved and scaled so that the object fills the frame up to a margin: a packshot as shops cut it."""
    side = 1000
    matrix, offset = _placement(design, pose, side)
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    boxes = []
    for part in _parts(design.class_name, design.proportions, pose.back):
        pixels, reach = part.points @ matrix.T + offset, part.stroke * scale / 2 + _OUTLINE * side / 4
        boxes.append((pixels.min(axis=0) - reach, pixels.max(axis=0) + reach))
    low, high = np.min([b[0] for b in boxes], axis=0) / side, np.max([b[1] for b in boxes], axis=0) / side
    factor = (1.0 - 2.0 * margin) / float((high - low).max())
    x, y = 0.5 - factor * ((low + high) / 2 - (pose.x, pose.y))
    return replace(pose, scale=pose.scale * factor, x=float(x), y=float(y))


def render(
    design: Design, *, pose: Pose, scene: str | None, scene_seed: int = 0, size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Picture uint8 [size, size, 3] and object mask uint8 [size, size] (0..255, soft at the edge).

    `scene` None is the packshot: the object on pure white, without shadow.
    """
    color, alpha = _object(design, pose, size)
    mask = np.rint(alpha * 255).astype(np.uint8)
    if scene is None:
        back: np.ndarray = np.full((size, size, 3), 255.0, dtype=np.float32)
    else:
        back = render_scene(scene, scene_seed, size) * (1.0 - _shadow(scene, alpha, pose, size))[:, :, None]
    picture = color + back * (1.0 - alpha)[:, :, None]
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8), mask


def _object(design: Design, pose: Pose, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The object alone: colour premultiplied by alpha [size, size, 3] in 0..255, alpha [size, size] in 0..1."""
    factor = 3 if size <= 128 else 2
    side = size * factor
    canvas = np.zeros((side, side, 3), dtype=np.float32)
    alpha = np.zeros((side, side), dtype=np.float32)
    matrix, offset = _placement(design, pose, side)
    for part in _parts(design.class_name, design.proportions, pose.back):
        _paint(canvas, alpha, part, design, pose, matrix, offset)
    fine = canvas.reshape(size, factor, size, factor, 3)
    return fine.mean(axis=(1, 3)), alpha.reshape(size, factor, size, factor).mean(axis=(1, 3))


@lru_cache(maxsize=8)
def _parts(class_name: str, proportions: tuple[float, ...], back: bool) -> tuple[Piece, ...]:
    return tuple((parts_of_back if back else parts_of)(class_name, proportions))


def _placement(design: Design, pose: Pose, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The affine map from object coordinates to canvas pixels: pixel = matrix @ point + offset."""
    angle = np.radians(pose.rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    squeeze = np.diag([np.cos(np.radians(pose.yaw)) * (-1.0 if pose.is_mirrored else 1.0), 1.0])
    parts = _parts(design.class_name, design.proportions, pose.back)
    points = np.concatenate([part.points for part in parts])
    low, high = points.min(axis=0), points.max(axis=0)
    matrix = turn @ squeeze * (pose.scale * side / float((high - low).max()))
    return matrix, np.array([pose.x, pose.y]) * side - matrix @ ((low + high) / 2)


def _paint(
    canvas: np.ndarray,
    alpha: np.ndarray,
    part: Piece,
    design: Design,
    pose: Pose,
    matrix: np.ndarray,
    offset: np.ndarray,
) -> None:
    """Paint one part over the canvas, in place."""
    side = canvas.shape[0]
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    pixels = part.points @ matrix.T + offset
    margin = part.stroke * scale / 2 + 3
    x0, y0 = np.maximum(np.floor(pixels.min(axis=0) - margin), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(pixels.max(axis=0) + margin), side).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    stamp = _stamp(pixels - (x0, y0), part.stroke * scale, (x1 - x0, y1 - y0), side)
    rows, columns = np.nonzero(stamp)
    edge = stamp[rows, columns] == _EDGE
    inverse = np.linalg.inv(matrix)
    px = np.stack([columns + (x0 + 0.5 - offset[0]), rows + (y0 + 0.5 - offset[1])])
    points = (inverse @ px).astype(np.float32)
    color = _colors(part, design, pose, points[0], points[1])
    color[edge] *= 0.42
    canvas[rows + y0, columns + x0] = color
    alpha[rows + y0, columns + x0] = 1.0


def _stamp(points: np.ndarray, stroke: float, extent: tuple[int, int], side: int) -> np.ndarray:
    """Which pixels a part covers: 0 nothing, _INSIDE its body, _EDGE its outline."""
    picture = Image.new("L", extent)
    draw = ImageDraw.Draw(picture)
    path = [(float(x), float(y)) for x, y in points]
    width = max(1, round(_OUTLINE * side * 0.5))
    if stroke > 0:
        for size, value in ((stroke + width, _EDGE), (stroke - width, _INSIDE)):
            draw.line(path, fill=value, width=max(1, round(size)), joint="curve")
    else:
        draw.polygon(path, fill=_INSIDE)
        draw.line([*path, path[0]], fill=_EDGE, width=width, joint="curve")
    return np.asarray(picture)


def _colors(part: Piece, design: Design, pose: Pose, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lit colours [n, 3], 0..255, of a part's points (object coordinates, each [n])."""
    cx, cy = part.center
    half_width, half_height = part.half
    width = np.interp(y, *part.profile).astype(np.float32) if part.profile else half_width
    u = np.clip((x - cx) / width, -1.0, 1.0)
    v = np.clip((y - cy) / half_height, -1.2, 1.2)
    if part.paint == "surface":
        unit = min(half_width, half_height) if design.logo else (half_width + half_height) / 2
        depth = np.sqrt(1.0 - u * u)
        turn = np.radians(pose.yaw) * 0.8
        if part.shade == "round":
            angle = np.arcsin(u) * 0.75
            across = ((HALF_TURN - angle if pose.back else angle) + turn) * width
        else:
            across = x - cx
        printed = replace(design, logo=None) if pose.back else design
        base = surface_colors(printed, across / unit, (y - cy - part.bend * depth * width) / unit)
    else:
        base = np.broadcast_to(_plain(part.paint, design), (len(x), 3))
    light = pose.light * (-1.0 if pose.is_mirrored else 1.0)
    lit = base * shade_factor(part.shade, design.material, u, v, light)[:, None]
    if part.shade not in ("inside", "side"):
        gloss = sheen(part.shade, design.material, u, v, light)[:, None]
        lit = lit + (255.0 - lit) * gloss
    colors: np.ndarray = lit
    return colors


def _plain(paint: str, design: Design) -> np.ndarray:
    roles = dict(zip(("main", "second", "accent"), design.colors, strict=True))
    return np.array(
        roles.get(paint) or {"white": (244, 244, 240), "dark": (52, 46, 46)}[paint], dtype=np.float32
    )


def _shadow(scene: str, alpha: np.ndarray, pose: Pose, size: int) -> np.ndarray:
    """Darkness 0..1 [size, size] the object throws on the scene: at its foot, or behind it."""
    if shadow_kind(scene) == "behind":
        moved = np.roll(alpha, (round(0.03 * size), round(-0.035 * size * np.sign(pose.light))), axis=(0, 1))
        small = Image.fromarray((moved * 255).astype(np.uint8)).resize((16, 16), Image.Resampling.BOX)
        soft = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) / 255
        return 0.42 * soft
    rows = np.flatnonzero(alpha.max(axis=1) > 0.5)
    columns = np.flatnonzero(alpha.max(axis=0) > 0.5)
    if not len(rows):
        return np.zeros_like(alpha)
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size
    middle = (columns[0] + columns[-1] + 1) / 2 / size - 0.04 * np.sign(pose.light)
    reach = (columns[-1] - columns[0] + 1) / 2 / size * 1.1
    foot = (rows[-1] + 0.5) / size
    far = ((grid[None, :] - middle) / reach) ** 2 + ((grid[:, None] - foot) / 0.065) ** 2
    shadow: np.ndarray = 0.62 * np.exp(-far * far)
    return shadow
