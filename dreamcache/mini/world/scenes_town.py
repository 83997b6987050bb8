"""Scenes in town and in the house. Each function renders one scene from its own random generator."""

from collections.abc import Callable

import numpy as np

from dreamcache.mini.world.texture import axis, below, blobs, flat, gradient, grain, mix, noise, ridge, tiles

Rng = np.random.Generator
Array = np.ndarray


def cobblestone(rng: Rng, size: int) -> Array:
    weight, number = tiles(size, rng.uniform(6, 7.5), rng.uniform(7, 9), 0.08, phase=float(rng.random()))
    stones = flat(size, (134, 130, 128)) * (0.78 + 0.44 * number)[:, :, None]
    return grain(mix(flat(size, (58, 55, 54)), stones, weight), noise(rng, size, (20, 20)), 0.1)


def city(rng: Rng, size: int) -> Array:
    picture = gradient(size, (150, 190, 226), (236, 226, 214))
    x, y = axis(size)[None, :], axis(size)[:, None]
    for color, height in (((130, 146, 172), 0.22), ((78, 88, 112), 0.36)):
        line = ridge(rng, size, height, 0.13, int(rng.integers(7, 10)), sharp=False)
        windows = ((x * 22) % 1 > 0.5) & ((y * 20) % 1 > 0.5)
        facade = mix(flat(size, color), (252, 226, 140), windows * 0.75)
        picture = mix(picture, facade, below(size, line))
    street = grain(gradient(size, (92, 92, 98), (116, 116, 120)), noise(rng, size, (12, 12)), 0.06)
    return mix(picture, street, below(size, rng.uniform(0.68, 0.74)))


def blue_house(rng: Rng, size: int) -> Array:
    x, y = axis(size)[None, :], axis(size)[:, None]
    boards = grain(flat(size, (70, 132, 206)), np.where((y * 17) % 1 < 0.25, -1.0, 0.2) + 0 * x, 0.2)
    picture = boards
    for cx in (rng.uniform(0.1, 0.22), rng.uniform(0.78, 0.9)):
        for grow, color in ((0.045, (246, 246, 242)), (0.0, (52, 62, 84))):
            pane = (np.abs(x - cx) < 0.1 + grow) & (np.abs(y - 0.26) < 0.14 + grow)
            picture = mix(picture, color, pane.astype(np.float32))
    lawn = grain(gradient(size, (110, 178, 74), (80, 148, 54)), noise(rng, size, (14, 20)), 0.16)
    return mix(picture, lawn, below(size, rng.uniform(0.7, 0.78)))


def brick_wall(rng: Rng, size: int) -> Array:
    weight, number = tiles(size, rng.uniform(3.8, 4.6), rng.uniform(8.5, 10), 0.1, phase=float(rng.random()))
    bricks = flat(size, (178, 72, 54)) * (0.8 + 0.36 * number)[:, :, None]
    return grain(mix(flat(size, (206, 196, 184)), bricks, weight), noise(rng, size, (16, 16)), 0.08)


def wooden_floor(rng: Rng, size: int) -> Array:
    x, y = axis(size)[None, :], axis(size)[:, None]
    boards = rng.uniform(4.5, 6)
    number = np.sin(np.floor(x * boards + rng.random()) * 78.233) * 43758.5453
    number = number - np.floor(number)
    seam = ((x * boards + 0.0) % 1 < 0.07) + 0 * y
    planks = flat(size, (186, 128, 74)) * (0.82 + 0.32 * number + 0 * y)[:, :, None]
    planks = grain(planks, noise(rng, size, (4, 44)), 0.13)
    return mix(planks, (92, 56, 28), seam.astype(np.float32) * 0.8)


def wooden_table(rng: Rng, size: int) -> Array:
    wall = gradient(size, (238, 226, 204), (222, 206, 180))
    table = grain(gradient(size, (150, 92, 46), (118, 66, 30)), noise(rng, size, (30, 3)), 0.2)
    line = rng.uniform(0.56, 0.66)
    picture = mix(wall, table, below(size, line))
    return mix(picture, (80, 44, 20), below(size, line - 0.012) * (1 - below(size, line + 0.012)))


def pink_fabric(rng: Rng, size: int) -> Array:
    x, y = axis(size)[None, :], axis(size)[:, None]
    angle = rng.uniform(0.3, 1.2) * rng.choice((-1, 1))
    folds = np.sin(11 * (x * np.cos(angle) + y * np.sin(angle)) + 3.2 * noise(rng, size, (3, 3)))
    return grain(flat(size, (246, 150, 190)), folds, 0.13)


def white_rug(rng: Rng, size: int) -> Array:
    floor = grain(flat(size, (150, 98, 58)), noise(rng, size, (26, 3)), 0.14)
    x, y = axis(size)[None, :], axis(size)[:, None]
    oval = ((x - 0.5) / rng.uniform(0.5, 0.58)) ** 2 + ((y - rng.uniform(0.62, 0.68)) / 0.33) ** 2
    rug = grain(flat(size, (244, 241, 234)), noise(rng, size, (26, 26)), 0.07)
    return mix(floor, rug, np.clip((1.0 - oval) * 9, 0, 1))


def kitchen(rng: Rng, size: int) -> Array:
    weight, _ = tiles(size, 6, 6, 0.05, shift=0.0, phase=float(rng.random()))
    wall = mix(flat(size, (176, 206, 206)), (236, 246, 244), weight)
    counter = grain(gradient(size, (96, 100, 108), (70, 74, 82)), noise(rng, size, (26, 26)), 0.2)
    return mix(wall, counter, below(size, rng.uniform(0.6, 0.7)))


def party(rng: Rng, size: int) -> Array:
    picture = gradient(size, (250, 236, 246), (255, 250, 236))
    for color in ((240, 70, 110), (60, 150, 240), (250, 190, 40), (80, 200, 120)):
        picture = mix(picture, color, blobs(rng, size, 9, 0.0, 1.0, 0.02))
    return picture


RENDERERS: dict[str, Callable[[Rng, int], Array]] = {
    "cobblestone": cobblestone,
    "city": city,
    "blue house": blue_house,
    "brick wall": brick_wall,
    "wooden floor": wooden_floor,
    "wooden table": wooden_table,
    "pink fabric": pink_fabric,
    "white rug": white_rug,
    "kitchen": kitchen,
    "party": party,
}
