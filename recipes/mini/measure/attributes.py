"""What of a design is kept: colour, pattern, logo, material and proportions, read from the cut-out object.

A small network reads them; it is trained on cut-outs of training designs. The truth is known for every design, so
an accuracy says which attribute is lost, where retrieval says only that something is.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor, nn

from dreamcache.mini.world import CLASSES, Design, design_from_seed, pose_from_seed, render
from dreamcache.mini.world.design import COLORS, LOGOS, MATERIALS, PATTERNS
from recipes.mini.measure.objects import cut_out
from recipes.mini.measure.queries import SIDE
from recipes.mini.measure.training import block, degraded, fit, load_or_train, pixels

RENDERS, EPOCHS, BATCH = 12_000, 8, 48
ATTRIBUTES = ("colour", "pattern", "logo", "material", "proportions")
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "colour": tuple(COLORS),
    "pattern": PATTERNS,
    "logo": (None, *LOGOS),
    "material": MATERIALS,
}
_PROPORTIONS, _PAIRS, _ITEM = 8, 16, 13
_TRUSTED = 500  # training designs by which the readable proportions of a class are found


class ReaderNet(nn.Module):
    """[n, 3, 64, 64] and a class [n] to one output for each choice, and eight proportions."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.sizes = [len(values) for values in _CHOICES.values()] + [_PROPORTIONS]
        self.body = nn.Sequential(
            block(3, width, 2), block(width, 2 * width, 2), block(2 * width, 4 * width, 2)
        )
        self.hidden = nn.Linear(4 * width * 16 + len(CLASSES), 256)
        self.head = nn.Linear(256, sum(self.sizes))
        self.register_buffer("trust", torch.zeros(len(CLASSES), _PROPORTIONS))

    def forward(self, pictures: Tensor, classes: Tensor) -> tuple[Tensor, ...]:
        x = functional.adaptive_avg_pool2d(self.body(pictures), 4).flatten(1)
        x = torch.cat([x, functional.one_hot(classes, len(CLASSES)).float()], dim=1)
        return self.head(functional.silu(self.hidden(x))).split(self.sizes, dim=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Truth:
    choices: Tensor  # [n, 4]
    proportions: Tensor  # [n, 8]
    classes: Tensor  # [n]

    @classmethod
    def of(cls, designs: list[Design]) -> "_Truth":
        values = [(d.color_names[0], d.pattern, d.logo, d.material) for d in designs]
        return cls(
            choices=torch.tensor(
                [[c.index(v) for c, v in zip(_CHOICES.values(), row, strict=True)] for row in values]
            ),
            proportions=torch.tensor([d.proportions for d in designs]),
            classes=torch.tensor([CLASSES.index(d.class_name) for d in designs]),
        )


class AttributeReader:
    """Attributes of cut-out objects."""

    def __init__(self, path: Path, *, renders: int = RENDERS, epochs: int = EPOCHS) -> None:
        """path: where its weights are kept (see `load_or_train`); it is trained where they are missing."""
        net = ReaderNet()
        self.net = load_or_train(
            path, net, lambda: _train(net, renders, epochs), renders=renders, epochs=epochs
        )

    @torch.no_grad()
    def hits(self, objects: list[Image.Image], seeds: list[int]) -> dict[str, np.ndarray]:
        """For each attribute 1 where it is the design's, [n]. objects: cut-outs as by `cut_out`.

        proportions: the share of other designs of the class from which the own is nearer, by what a class shows.
        """
        truth = _Truth.of([design_from_seed(seed) for seed in seeds])
        batch = pixels(np.stack([np.asarray(picture) for picture in objects]))
        parts = zip(batch.split(64), truth.classes.split(64), strict=True)
        outputs = [torch.cat(out) for out in zip(*(self.net(x, c) for x, c in parts), strict=True)]
        hits = {
            name: (out.argmax(dim=1) == truth.choices[:, i]).float().numpy()
            for i, (name, out) in enumerate(zip(_CHOICES, outputs[:-1], strict=True))
        }
        return hits | {"proportions": self._nearer(outputs[-1], truth, seeds)}

    def _nearer(self, read: Tensor, truth: _Truth, seeds: list[int]) -> np.ndarray:
        trust = self.net.trust[truth.classes]
        own = ((read - truth.proportions).square() * trust).sum(dim=1)
        shares = torch.zeros(len(seeds))
        for number in range(1, _PAIRS + 1):  # consecutive seeds walk through the classes
            others = [design_from_seed(seed + number * len(CLASSES)) for seed in seeds]
            proportions = torch.tensor([other.proportions for other in others])
            shares += (((read - proportions).square() * trust).sum(dim=1) > own).float()
        return (shares / _PAIRS).numpy()


def _train(net: ReaderNet, renders: int, epochs: int) -> None:
    designs = [design_from_seed(seed) for seed in range(renders)]  # training designs: seeds from 0 on
    images, truth = pixels(np.stack([_cut_render(design) for design in designs])), _Truth.of(designs)

    def loss(rows: Tensor) -> Tensor:
        outputs = net(degraded(images[rows]), truth.classes[rows])
        pairs = zip(outputs[:-1], truth.choices[rows].T, strict=True)
        chosen = sum(functional.cross_entropy(output, target) for output, target in pairs)
        return chosen + 4 * functional.mse_loss(outputs[-1], truth.proportions[rows])

    fit(net, loss, renders, batch=min(BATCH, renders), epochs=epochs)
    _find_trust(net, renders)


@torch.no_grad()
def _find_trust(net: ReaderNet, first: int) -> None:
    """How much of each proportion a class shows: explained variance on training designs not trained on here."""
    net.eval()
    count = min(_TRUSTED, 4 * first)
    designs = [design_from_seed(seed) for seed in range(first, first + count)]
    truth = _Truth.of(designs)
    read = net(pixels(np.stack([_cut_render(design) for design in designs])), truth.classes)[-1]
    for number in range(len(CLASSES)):
        rows = truth.classes == number
        if rows.sum() > 1:
            error = (read[rows] - truth.proportions[rows]).square().mean(dim=0)
            net.trust[number] = (1 - error / truth.proportions[rows].var(dim=0)).clamp(min=0)


def _cut_render(design: Design) -> np.ndarray:
    pose = pose_from_seed(design.seed * 16 + _ITEM)
    picture, mask = render(design, pose=pose, scene=None, size=SIDE)
    return np.asarray(cut_out(Image.fromarray(picture), mask > 127))
