"""A segmenter for the product world, as a measuring tool: a small U-Net, trained on renders of training designs.

Generated pictures have no true mask. What a segmenter costs can be read from true renders, which have one. It is no
part of the product: it knows nothing but this world. Training takes about two minutes of one core.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from dreamcache.mini.world import SCENES, design_from_seed, pose_from_seed, render
from recipes.mini.measure.queries import SIDE
from recipes.mini.measure.training import block, degraded, fit, load_or_train, pixels

RENDERS, EPOCHS, BATCH = 5_000, 3, 32
_LEAST = 0.005  # of the picture; less is no object
_ITEM = 12  # poses after those of the training pictures and of the benchmark's renders


class SegmenterNet(nn.Module):
    """[n, 3, 64, 64] to logits [n, 1, 64, 64]."""

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 64)) -> None:
        super().__init__()
        a, b, c = widths
        self.first, self.second, self.third = block(3, a), block(a, b, 2), block(b, c, 2)
        self.bottom = block(c, c, 2)
        self.up3, self.up2, self.up1 = block(c + c, c), block(c + b, b), block(b + a, a)
        self.head = nn.Conv2d(a, 1, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        first = self.first(pictures)
        second = self.second(first)
        third = self.third(second)
        x = self.bottom(third)
        for up, skip in ((self.up3, third), (self.up2, second), (self.up1, first)):
            x = up(torch.cat([functional.interpolate(x, scale_factor=2.0), skip], dim=1))
        return self.head(x)


class LearnedSegmenter:
    """Masks of pictures of the product world."""

    def __init__(self, path: Path, *, renders: int = RENDERS, epochs: int = EPOCHS) -> None:
        """path: where its weights are kept (see `load_or_train`); it is trained where they are missing."""
        net = SegmenterNet()
        self.net = load_or_train(
            path, net, lambda: _train(net, renders, epochs), renders=renders, epochs=epochs
        )

    @torch.no_grad()
    def masks(self, pictures: np.ndarray) -> list[np.ndarray | None]:
        """A mask [64, 64] bool for each picture, uint8 [n, 64, 64, 3]; None where nothing is found."""
        logits = torch.cat([self.net(part) for part in pixels(pictures).split(64)])[:, 0]
        return [mask if mask.mean() > _LEAST else None for mask in (logits > 0).numpy()]


def _train(net: SegmenterNet, renders: int, epochs: int) -> None:
    pictures, masks = _renders(renders)
    images, targets = pixels(pictures), torch.from_numpy(masks)[:, None].float() / 255

    def loss(rows: Tensor) -> Tensor:
        flip = torch.rand(len(rows)) < 0.5
        chosen, target = images[rows], targets[rows]
        chosen[flip], target[flip] = chosen[flip].flip(-1), target[flip].flip(-1)
        return functional.binary_cross_entropy_with_logits(net(degraded(chosen)), target)

    fit(net, loss, renders, batch=min(BATCH, renders), epochs=epochs)


def _renders(count: int) -> tuple[np.ndarray, np.ndarray]:
    pictures, masks = np.empty((count, SIDE, SIDE, 3), np.uint8), np.empty((count, SIDE, SIDE), np.uint8)
    for seed in range(count):  # training designs: seeds from 0 on
        item = seed * 16 + _ITEM
        scene = SCENES[int(np.random.default_rng(item).integers(len(SCENES)))]
        pictures[seed], masks[seed] = render(
            design_from_seed(seed), pose=pose_from_seed(item), scene=scene, scene_seed=item, size=SIDE
        )
    return pictures, masks
