"""Scenes out of doors. Each function renders one scene from its own random generator."""

from collections.abc import Callable

import numpy as np

from dreamcache.mini.world.texture import axis, below, blobs, gradient, grain, mix, noise, ridge

Rng = np.random.Generator
Array = np.ndarray


def jungle(rng: Rng, size: int) -> Array:
    picture = grain(gradient(size, (30, 92, 40), (14, 56, 26)), noise(rng, size, (7, 7)), 0.5)
    for color in ((52, 140, 50), (18, 74, 34), (92, 170, 62)):
        angle, phase = rng.uniform(-0.9, 0.9), rng.random()
        x, y = axis(size)[None, :], axis(size)[:, None]
        wave = np.sin(
            22 * (x * np.cos(angle) + y * np.sin(angle)) + 6 * phase + 2.5 * noise(rng, size, (4, 4))
        )
        picture = mix(picture, color, np.clip(wave * 3 - 1.9, 0, 0.85))
    return picture


def snow(rng: Rng, size: int) -> Array:
    picture = gradient(size, (150, 182, 214), (206, 222, 238))
    line = ridge(rng, size, rng.uniform(0.34, 0.5), 0.04, 5)
    ground = grain(gradient(size, (226, 234, 246), (250, 252, 255)), noise(rng, size, (7, 3)), 0.045)
    picture = mix(picture, ground, below(size, line))
    return mix(picture, (255, 255, 255), blobs(rng, size, 26, 0.0, 1.0, 0.013))


def beach(rng: Rng, size: int) -> Array:
    horizon, shore = rng.uniform(0.26, 0.36), rng.uniform(0.46, 0.56)
    picture = gradient(size, (96, 178, 242), (214, 238, 252))
    sea = grain(gradient(size, (12, 92, 168), (40, 172, 196)), noise(rng, size, (24, 3)), 0.14)
    picture = mix(picture, sea, below(size, horizon))
    edge = shore + 0.025 * np.sin(axis(size) * rng.uniform(4, 8) + rng.uniform(0, 6))
    picture = mix(picture, (250, 250, 246), below(size, edge - 0.03))
    sand = grain(gradient(size, (236, 206, 150), (220, 182, 122)), noise(rng, size, (22, 22)), 0.07)
    return mix(picture, sand, below(size, edge))


def wheat(rng: Rng, size: int) -> Array:
    line = rng.uniform(0.34, 0.46)
    field = gradient(size, (236, 190, 74), (190, 134, 36))
    stalks = noise(rng, size, (5, 40))
    field = grain(field, stalks, 0.3)
    return mix(gradient(size, (120, 184, 236), (226, 236, 236)), field, below(size, line, 0.03))


def autumn(rng: Rng, size: int) -> Array:
    picture = grain(gradient(size, (196, 118, 44), (128, 66, 26)), noise(rng, size, (6, 6)), 0.25)
    for color in ((226, 92, 28), (244, 178, 40), (176, 40, 28), (236, 136, 30)):
        picture = mix(picture, color, blobs(rng, size, 13, 0.0, 1.0, 0.045))
    return picture


def water(rng: Rng, size: int) -> Array:
    x, y = axis(size)[None, :], axis(size)[:, None]
    picture = gradient(size, (74, 170, 200), (12, 84, 140))
    wobble = noise(rng, size, (5, 3))
    wave = np.sin(6.28 * (4 * y**0.7 * 4 + 0.5 * np.sin(6.28 * x * rng.uniform(0.7, 1.4))) + 2.4 * wobble)
    return mix(picture, (190, 236, 246), np.clip(wave * 1.6 - 0.9, 0, 0.55))


def grass(rng: Rng, size: int) -> Array:
    picture = grain(gradient(size, (120, 196, 70), (56, 142, 40)), noise(rng, size, (10, 22)), 0.16)
    for color in ((250, 240, 90), (250, 250, 250)):
        picture = mix(picture, color, blobs(rng, size, 5, 0.0, 1.0, 0.017))
    return picture


def dirt_road(rng: Rng, size: int) -> Array:
    x, y = axis(size)[None, :], axis(size)[:, None]
    line = rng.uniform(0.28, 0.38)
    meadow = grain(gradient(size, (96, 150, 60), (70, 122, 46)), noise(rng, size, (16, 16)), 0.16)
    picture = mix(gradient(size, (140, 196, 240), (220, 234, 244)), meadow, below(size, line))
    middle = 0.5 + rng.uniform(-0.12, 0.12) * (1 - y)
    half = 0.05 + 0.62 * np.clip(y - line, 0, 1)
    road = np.clip((half - np.abs(x - middle)) / 0.03 + 0.5, 0, 1) * below(size, line)
    earth = grain(gradient(size, (176, 128, 84), (150, 100, 60)), noise(rng, size, (14, 9)), 0.13)
    return mix(picture, earth, road)


def mountain(rng: Rng, size: int) -> Array:
    picture = gradient(size, (108, 172, 236), (220, 234, 246))
    peaks = ridge(rng, size, 0.3, 0.2, 6)
    rock = grain(gradient(size, (112, 118, 146), (84, 96, 124)), noise(rng, size, (9, 9)), 0.12)
    picture = mix(picture, rock, below(size, peaks))
    picture = mix(picture, (248, 250, 255), below(size, peaks) * (1 - below(size, peaks + 0.09, 0.05)))
    meadow = grain(gradient(size, (116, 164, 82), (84, 138, 62)), noise(rng, size, (10, 10)), 0.1)
    return mix(picture, meadow, below(size, rng.uniform(0.6, 0.68)))


def night_sky(rng: Rng, size: int) -> Array:
    picture = grain(gradient(size, (10, 12, 44), (38, 26, 82)), noise(rng, size, (4, 4)), 0.35)
    picture = mix(picture, (250, 250, 226), blobs(rng, size, 24, 0.0, 1.0, 0.012))
    x, y = axis(size)[None, :], axis(size)[:, None]
    moon = np.hypot(x - rng.choice((0.13, 0.87)), y - rng.uniform(0.1, 0.16))
    return mix(picture, (246, 240, 206), np.clip((0.08 - moon) * size / 2, 0, 1))


def sunset(rng: Rng, size: int) -> Array:
    picture = gradient(size, (104, 48, 134), (255, 168, 60))
    line = rng.uniform(0.56, 0.66)
    x, y = axis(size)[None, :], axis(size)[:, None]
    sun = np.hypot(x - rng.uniform(0.15, 0.85), y - line + 0.03)
    picture = mix(picture, (255, 240, 150), np.clip((0.13 - sun) * size / 2, 0, 1))
    sea = grain(gradient(size, (240, 120, 70), (60, 26, 84)), noise(rng, size, (22, 4)), 0.22)
    return mix(picture, sea, below(size, line))


RENDERERS: dict[str, Callable[[Rng, int], Array]] = {
    "jungle": jungle,
    "snow": snow,
    "beach": beach,
    "wheat field": wheat,
    "autumn leaves": autumn,
    "water": water,
    "grass": grass,
    "dirt road": dirt_road,
    "mountain": mountain,
    "night sky": night_sky,
    "sunset": sunset,
}
