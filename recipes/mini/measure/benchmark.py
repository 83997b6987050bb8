"""Retrieval of held-out designs, their attributes, and scene accuracy: from the same pictures, generated once.

    packshots (known mask) --features--> gallery        pictures --find object--> features --rank--> the own design?

Arms: adapters; text only; shuffled reference (the adapters' pictures, each scored as the design that received
another's reference: the next of its class); true renders; those through the VAE. Objects are found by each finder;
the ceilings are true renders with their exact masks, as they are and through the VAE.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipes.mini.measure.attributes import AttributeReader
from recipes.mini.measure.features import ClipFeatures, ImageNetFeatures
from recipes.mini.measure.generate import Generator
from recipes.mini.measure.objects import FINDERS, Finder, cut_out, finder, overlap
from recipes.mini.measure.queries import SIDE, Group, Scales, all_classes, one_class, photo, real
from recipes.mini.measure.report import markdown
from recipes.mini.measure.scenes import scene_hits, text_similarity
from recipes.mini.measure.sheets import queries_sheet
from recipes.mini.measure.statistics import interval, ranks

_SHOWN = 20
EXACT = "exact mask"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How many designs and pictures."""

    subjects: int = 100
    class_subjects: int = 50
    scenes: int = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """What measures: features, finders of objects, and the reader of attributes."""

    features: Callable[[list[Image.Image]], Any]
    finders: dict[str, Finder]
    reader: AttributeReader

    @classmethod
    def load(cls, folder: Path, *, toy: bool = False) -> "Tools":
        """Learned tools are kept in `folder` and trained where they are missing; toy: hardly trained at all."""
        few = {"renders": 24, "epochs": 1} if toy else {}
        finders = {name: finder(name, folder, **few) for name in FINDERS}
        reader = AttributeReader(folder / "reader.pt", **few)
        return cls(features=ImageNetFeatures(), finders=finders, reader=reader)


def run(
    work: Path,
    sizes: Sizes,
    *,
    weights: str = "mini",
    dtype: str = "float32",
    scales: Scales = Scales(),
    tools: Tools | None = None,
    until: float = float("inf"),
) -> dict[str, Any]:
    """Generate what is missing, write benchmark.json, .md and .jpg, and return the report. Raises OutOfTimeError.

    weights: "mini" or an exported folder.
    """
    generator = Generator(work, weights=weights, dtype=dtype, scales=scales, until=until)
    groups = (all_classes(sizes.subjects, sizes.scenes), one_class(sizes.class_subjects, sizes.scenes))
    pictures = {}
    for group in groups:
        pictures[group.name] = {
            "adapters": generator.with_reference(group.queries),
            "text only": generator.text_only(group.queries),
        }
        print(f"benchmark: {group.name}: {len(group.queries)} pictures generated, twice", flush=True)
    tools, report = tools or Tools.load(work / "tools"), _head(generator, sizes)
    for group in groups:
        measured, objects, best = _retrieval(generator, group, pictures[group.name], tools)
        report["retrieval"][group.name] = measured
        if group is groups[0]:
            shown = np.linspace(0, len(best) - 1, min(_SHOWN, len(best))).astype(int)
            queries_sheet(group, pictures[group.name]["adapters"], objects, best, shown).save(
                work / "benchmark.jpg", quality=88
            )
    report["scenes"] = _scenes(groups[0], pictures[groups[0].name], weights)
    (work / "benchmark.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    (work / "benchmark.md").write_text(markdown(report), "utf-8")
    return report


def _head(generator: Generator, sizes: Sizes) -> dict[str, Any]:
    return {
        "weights": generator.weights,
        "sizes": asdict(sizes),
        "scales": generator.scales.as_dict(),
        "features": "EfficientNet-Lite0 (ImageNet), mean of the last map, cosine",
        "objects": f"found at {SIDE} px, cut to their box, on white",
        "intervals": "95 %, bootstrap over subjects",
        "retrieval": {},
    }


def _retrieval(
    generator: Generator, group: Group, generated: dict[str, list[Image.Image]], tools: Tools
) -> tuple[dict[str, Any], list[Image.Image], np.ndarray]:
    """The arms of a group; the adapters' objects, and the design that each of them is nearest to."""
    gallery = tools.features([cut_out(*photo(seed, SIDE)) for seed in group.seeds])
    count, true = len(group.seeds), [real(query) for query in group.queries]
    renders, masks = [picture for picture, _ in true], [mask for _, mask in true]
    decoded = generator.through_vae(renders)
    arms = {**generated, "real, through the VAE": decoded, "real": renders}
    measured: dict[str, Any] = {
        "candidates": count,
        "designs of a class": count / len({query.class_name for query in group.queries}),
        "pictures": len(group.queries),
        "finders": {name: {} for name in (*tools.finders, EXACT)},
        "attributes": {},
        "overlap of found and true masks": {},
    }

    def score(name: str, arm: str, pictures: list[Image.Image], masks: list[Any]) -> tuple[Any, Any]:
        objects = [cut_out(picture, mask) for picture, mask in zip(pictures, masks, strict=True)]
        scores = np.asarray(tools.features(objects) @ gallery.T)
        figures = _figures(scores, group.owners, count)
        measured["finders"][name][arm] = figures | {
            "no object found": sum(m is None for m in masks) / len(masks)
        }
        if name in (FINDERS[0], EXACT):
            key = arm if name != EXACT else f"{arm}, exact mask"
            hits = tools.reader.hits(objects, [query.seed for query in group.queries])
            measured["attributes"][key] = {k: interval(v.reshape(count, -1)) for k, v in hits.items()}
        return objects, scores

    shown: tuple[list[Image.Image], np.ndarray] = ([], np.zeros(0, int))
    for name, find in tools.finders.items():
        for arm, pictures in arms.items():
            guesses = find(pictures)
            objects, scores = score(name, arm, pictures, guesses)
            if arm == "adapters":
                measured["finders"][name]["shuffled reference"] = _shuffled(group, scores)
                shown = (objects, scores.argmax(axis=1)) if name == FINDERS[0] else shown
            if arm == "real":
                overlaps = [overlap(m, t) for m, t in zip(guesses, masks, strict=True)]
                measured["overlap of found and true masks"][name] = interval(
                    np.reshape(overlaps, (count, -1))
                )
    score(EXACT, "real, through the VAE", decoded, masks)
    score(EXACT, "real", renders, masks)
    return measured, *shown


def _figures(scores: np.ndarray, owners: np.ndarray, count: int) -> dict[str, Any]:
    own_ranks = ranks(scores, owners).reshape(count, -1)
    return {
        "retrieval@1": interval(own_ranks == 1),
        "retrieval@5": interval(own_ranks <= 5),
        "mean rank": interval(own_ranks),
    }


def _shuffled(group: Group, scores: np.ndarray) -> dict[str, Any]:
    """Design i receives the reference of the next of its class: that one's pictures, scored as i's."""
    count = len(group.seeds)
    received = scores.reshape(count, group.scenes, count)[group.others].reshape(scores.shape)
    return _figures(received, group.owners, count) | {"no object found": 0.0}


def _scenes(group: Group, generated: dict[str, list[Image.Image]], weights: str) -> dict[str, Any]:
    clip, count = ClipFeatures(weights), len(group.seeds)
    arms = {**generated, "real": [real(query)[0] for query in group.queries]}
    measures: dict[str, Callable[..., np.ndarray]] = {"accuracy": scene_hits, "CLIP-T": text_similarity}
    values = {
        name: {
            key: measure(clip, group.queries, pictures).reshape(count, -1)
            for key, measure in measures.items()
        }
        for name, pictures in arms.items()
    }
    rows: dict[str, Any] = {
        name: {key: interval(value) for key, value in row.items()} for name, row in values.items()
    }
    gaps = {key: interval(values["adapters"][key] - values["text only"][key]) for key in measures}
    return rows | {"adapters minus text only": gaps}
