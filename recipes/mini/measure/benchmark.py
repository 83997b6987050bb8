"""Retrieval of held-out designs, and scene accuracy: from the same pictures, drawn once.

    packshots (known mask) --features--> gallery          pictures --find object--> features --rank--> the own design?

Arms: adapters; text only; shuffled reference (the adapters' pictures, each scored as the design that was given
another's reference: the next of its class); true renders; those through the VAE; and those with their exact masks.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipes.mini.measure.drawing import Artist
from recipes.mini.measure.features import ClipFeatures, ImageNetFeatures
from recipes.mini.measure.objects import SEGMENTER, cut_out, find_objects, overlap
from recipes.mini.measure.questions import SIDE, Group, Scales, all_classes, one_class, photo, real
from recipes.mini.measure.report import markdown
from recipes.mini.measure.scenes import scene_hits, text_similarity
from recipes.mini.measure.sheets import queries_sheet
from recipes.mini.measure.statistics import interval, ranks

_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How many designs and pictures."""

    subjects: int = 100
    class_subjects: int = 50
    scenes: int = 4


def run(
    work: Path,
    sizes: Sizes,
    *,
    adapter: str | None = None,
    dtype: str = "float32",
    until: float = float("inf"),
) -> dict[str, Any]:
    """Draws what is missing, writes benchmark.json, .md and .jpg, and returns the report. Raises OutOfTimeError."""
    artist = Artist(work, adapter=adapter, dtype=dtype, until=until)
    groups = (all_classes(sizes.subjects, sizes.scenes), one_class(sizes.class_subjects, sizes.scenes))
    pictures = {}
    for group in groups:
        pictures[group.name] = {
            "adapters": artist.with_reference(group.questions),
            "text only": artist.text_only(group.questions),
        }
        print(f"benchmark: {group.name}: {len(group.questions)} pictures drawn, twice", flush=True)
    imagenet, report = ImageNetFeatures(), _head(artist, sizes)
    for group in groups:
        found, objects, best = _retrieval(artist, group, pictures[group.name], imagenet)
        report["retrieval"][group.name] = found
        if group is groups[0]:
            shown = np.linspace(0, len(best) - 1, min(_SHOWN, len(best))).astype(int)
            queries_sheet(group, pictures[group.name]["adapters"], objects, best, shown).save(
                work / "benchmark.jpg", quality=88
            )
    report["scenes"] = _scenes(groups[0], pictures[groups[0].name])
    (work / "benchmark.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    (work / "benchmark.md").write_text(markdown(report), "utf-8")
    return report


def _head(artist: Artist, sizes: Sizes) -> dict[str, Any]:
    return {
        "weights": artist.weights,
        "sizes": asdict(sizes),
        "scales": Scales().as_dict(),
        "features": "EfficientNet-Lite0 (ImageNet), mean of the last map, cosine",
        "objects": f"found by the product's segmenter '{SEGMENTER}' at {SIDE} px, cut to their box, on white",
        "intervals": "95 %, bootstrap over subjects",
        "retrieval": {},
    }


def _retrieval(
    artist: Artist, group: Group, drawn: dict[str, list[Image.Image]], imagenet: ImageNetFeatures
) -> tuple[dict[str, Any], list[Image.Image], np.ndarray]:
    """The arms of a group; the adapters' objects, and the design that each of them is nearest to."""
    gallery = imagenet([cut_out(*photo(seed, SIDE)) for seed in group.seeds])
    owners, count = group.owners, len(group.seeds)
    true = [real(question) for question in group.questions]
    renders = [picture for picture, _ in true]
    arms = {**drawn, "real": renders, "real, through the VAE": artist.through_vae(renders)}
    classes = len({question.class_name for question in group.questions})
    made: dict[str, Any] = {
        "candidates": count,
        "designs of a class": count / classes,
        "pictures": len(owners),
        "arms": {},
    }

    def rank(name: str, objects: list[Image.Image], masks: list[Any]) -> np.ndarray:
        scores = (imagenet(objects) @ gallery.T).numpy()
        made["arms"][name] = _figures(scores, owners, count)
        made["arms"][name]["no object found"] = sum(mask is None for mask in masks) / len(masks)
        return scores

    kept: list[Image.Image] = []
    best = np.zeros(0, int)
    for name, pictures in arms.items():
        masks = find_objects(pictures)
        objects = [cut_out(picture, mask) for picture, mask in zip(pictures, masks, strict=True)]
        scores = rank(name, objects, masks)
        if name == "adapters":
            kept, best = objects, scores.argmax(axis=1)
            made["arms"]["shuffled reference"] = _shuffled(group, scores)
        if name == "real":
            made["overlap of found and true masks"] = interval(
                np.array([overlap(m, t) for m, (_, t) in zip(masks, true, strict=True)]).reshape(count, -1)
            ).as_list()
    rank("real, exact mask", [cut_out(picture, mask) for picture, mask in true], [mask for _, mask in true])
    return made, kept, best


def _figures(scores: np.ndarray, owners: np.ndarray, count: int) -> dict[str, Any]:
    places = ranks(scores, owners).reshape(count, -1)
    return {
        "retrieval@1": interval(places == 1).as_list(),
        "retrieval@5": interval(places <= 5).as_list(),
        "mean rank": interval(places).as_list(),
    }


def _shuffled(group: Group, scores: np.ndarray) -> dict[str, Any]:
    """Design i was given the reference of the next of its class: that one's pictures, scored as i's."""
    count = len(group.seeds)
    given = scores.reshape(count, group.scenes, count)[group.others].reshape(scores.shape)
    return _figures(given, group.owners, count) | {"no object found": 0.0}


def _scenes(group: Group, drawn: dict[str, list[Image.Image]]) -> dict[str, Any]:
    clip, count = ClipFeatures(), len(group.seeds)
    arms = {**drawn, "real": [real(question)[0] for question in group.questions]}
    measures: dict[str, Callable[..., np.ndarray]] = {"accuracy": scene_hits, "CLIP-T": text_similarity}
    values = {
        name: {
            key: measure(clip, group.questions, pictures).reshape(count, -1)
            for key, measure in measures.items()
        }
        for name, pictures in arms.items()
    }
    made: dict[str, Any] = {
        name: {key: interval(value).as_list() for key, value in found.items()}
        for name, found in values.items()
    }
    made["adapters minus text only"] = {
        key: interval(values["adapters"][key] - values["text only"][key]).as_list() for key in measures
    }
    return made
