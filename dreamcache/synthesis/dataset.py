"""The result: image, mask, caption, object, category, scores and provenance, in shards of Parquet or WebDataset.

    masks' verdicts -> split by object -> plan (shards) -> make_shard -> dataset/{train,validation}/part-*

An object is wholly in training or wholly in validation. `dreamcache train` reads a split's folder; Hugging Face
`datasets` reads both by `dataset/README.md`. Knows parts of images and masks by name.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core import ids
from dreamcache.core.config.synthesize import DatasetSettings
from dreamcache.synthesis.masks import KEPT
from dreamcache.synthesis.parts import Part, read_part

STAGE = "dataset"
SPLITS = ("train", "validation")
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TEXTS = ("caption", "object", "category")
SCORES = ("mask_area", "mask_score")
PROVENANCE = ("item_id", "caption_id", "caption_source", "seed", "recipe")
ROW_GROUP = 64

_FEATURES: dict[str, Any] = {
    "image": {"_type": "Image"},
    "mask": {"_type": "Image"},
    **{name: {"dtype": "string", "_type": "Value"} for name in TEXTS},
    **{name: {"dtype": "float64", "_type": "Value"} for name in SCORES},
    **{name: {"dtype": "int64" if name == "seed" else "string", "_type": "Value"} for name in PROVENANCE},
}
SAMPLES = pa.schema(
    [
        ("image", PICTURE),
        ("mask", PICTURE),
        *((name, pa.string()) for name in TEXTS),
        *((name, pa.float64()) for name in SCORES),
        *((name, pa.int64() if name == "seed" else pa.string()) for name in PROVENANCE),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)

CARD = """\
---
configs:
- config_name: default
  data_files:
{files}---
Made by `dreamcache synthesize`; counts and settings are in `dataset.json`.
"""


def split_objects(objects: Sequence[str], settings: DatasetSettings, seed: int) -> set[str]:
    """The objects of the validation split: its share of them, at least one if there are two, drawn by hash."""
    known = sorted(set(objects), key=lambda name: ids.of_values("split", object=name, seed=seed))
    if not settings.validation or len(known) < 2:
        return set()
    return set(known[: min(len(known) - 1, max(1, round(len(known) * settings.validation)))])


def plan(
    verdicts: Sequence[tuple[Part, Sequence[Mapping[str, Any]]]],
    settings: DatasetSettings,
    *,
    seed: int,
    recipe: str,
) -> list[Part]:
    """The shards. verdicts: each part of masks with its rows. recipe: what identifies the settings of all stages."""
    kept = [(part, row) for part, rows in verdicts for row in rows if row["verdict"] == KEPT]
    held_out = split_objects([row["object"] for _, row in kept], settings, seed)
    shards = []
    for split in SPLITS:
        chosen = [(part, row) for part, row in kept if (row["object"] in held_out) == (split == "validation")]
        for number, first in enumerate(range(0, len(chosen), settings.shard_size)):
            shards.append(
                _shard(split, number, chosen[first : first + settings.shard_size], settings, recipe)
            )
    return shards


def _shard(
    split: str,
    number: int,
    chosen: Sequence[tuple[Part, Mapping[str, Any]]],
    settings: DatasetSettings,
    recipe: str,
) -> Part:
    sources: dict[str, dict[str, Any]] = {}
    for part, row in chosen:
        images = part.work["images"]
        source = sources.setdefault(part.name, {"masks": part.name, "images": images, "items": []})
        source["items"].append(row["item_id"])
    work = {"split": split, "format": settings.format, "sources": list(sources.values()), "recipe": recipe}
    extension = "parquet" if settings.format == "parquet" else "tar"
    named = ids.of_values("synthesis-shard", work=work)[:16]
    return Part(stage=STAGE, name=f"{STAGE}/{split}/part-{number:05d}-{named}.{extension}", work=work)


def make_shard(output: str, part: Part) -> bytes:
    """The bytes of one shard; reads the parts that it joins."""
    rows: list[dict[str, Any]] = []
    for source in part.work["sources"]:
        images = {row["item_id"]: row for row in read_part(output, source["images"])[0]}
        masks = {row["item_id"]: row for row in read_part(output, source["masks"])[0]}
        rows += [_sample(images[item], masks[item], part.work["recipe"]) for item in source["items"]]
    return _parquet(rows) if part.work["format"] == "parquet" else _tar(rows)


def card(shards: Sequence[Part]) -> str:
    """The README that tells `datasets` which files are which split."""
    there = {(part.work["split"], part.name.rsplit(".", 1)[-1]) for part in shards}
    ordered = [one for split in SPLITS for one in sorted(there) if one[0] == split]
    return CARD.format(
        files="".join(
            f"  - split: {split}\n    path: {split}/*.{extension}\n" for split, extension in ordered
        )
    )


def _sample(image: Mapping[str, Any], mask: Mapping[str, Any], recipe: str) -> dict[str, Any]:
    name = image["item_id"]
    return {
        "image": {"bytes": image["image"], "path": f"{name}.{_extension(image['image'])}"},
        "mask": {"bytes": mask["mask"], "path": f"{name}.mask.png"},
        **{text: image[text] for text in TEXTS},
        "mask_area": mask["area"],
        "mask_score": mask["score"],
        "item_id": name,
        "caption_id": image["caption_id"],
        "caption_source": image["source"],
        "seed": image["seed"],
        "recipe": recipe,
    }


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(list(rows), schema=SAMPLES)
    pq.write_table(table, sink, row_group_size=ROW_GROUP, compression="zstd", use_dictionary=False)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _tar(rows: Sequence[Mapping[str, Any]]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for row in rows:
            rest = {name: value for name, value in row.items() if name not in ("image", "mask")}
            members = {
                row["image"]["path"]: row["image"]["bytes"],
                row["mask"]["path"]: row["mask"]["bytes"],
                f"{row['item_id']}.txt": row["caption"].encode(),
                f"{row['item_id']}.json": json.dumps(rest, ensure_ascii=False).encode(),
            }
            for name, content in members.items():
                member = tarfile.TarInfo(name)  # without time and owner: the same samples are the same bytes
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def _extension(data: bytes) -> str:
    return "png" if data[:4] == b"\x89PNG" else "webp" if data[:4] == b"RIFF" else "jpg"
