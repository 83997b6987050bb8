"""The end of a training: the averaged adapter as safetensors and config, and a model card about the training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dreamcache.core.config.train import CAPTION, ReferenceSettings, TrainSettings
from dreamcache.core.locations import is_uri
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import save_adapter
from dreamcache.storage.models.base import BaseInfo
from dreamcache.training.checkpoints import TrainFolder
from dreamcache.training.curves import Curves

CARD = """\
---
library_name: diffusers
base_model: {base}
base_model_relation: adapter
tags: [dreamcache, stable-diffusion, personalization]
---

# {name}

A DreamCache adapter (CVPR 2025, arXiv 2411.17786) for `{base}`{revision}, fingerprint `{fingerprint}`.
{parameters:.2f} M parameters at {count} places: {places}. Integration: {integration}. Trained by dreamcache; the base
model is unchanged.

## Use

```python
from dreamcache import DreamCachePipeline
pipe = DreamCachePipeline.from_pretrained("{base}"{revision_argument}, adapter="path/of/this/folder")
```

In a job file: `model.adapter: <this folder>`, and as in training `reference: {reference}`.

## Training

{steps} steps of {batch} samples from `{data}` ({samples} samples), {precision}, AdamW, learning rate {rate}. Dropped
conditions: text {drop_text}, reference {drop_image}, both {drop_both}. Weights are {average}.

## Validation

Squared error of the base model's prediction on the subject, {validated} samples held out of training. The wrong
reference is another sample's; noise and caption are the same in all three columns.

| noise level | right reference | wrong reference | none |
|---|---|---|---|
{table}

The licence of these weights follows from the base model's and the data's; state it here before you publish them.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRecord:
    """What an export states about its training. samples: in the data; validated: samples behind each point."""

    name: str
    base: BaseInfo
    settings: TrainSettings
    curves: Curves
    step: int
    samples: int
    validated: int


def export_adapter(
    folder: TrainFolder,
    adapter: DreamCacheAdapter,
    record: TrainingRecord,
    reference_unet: Mapping[str, Tensor] | None = None,
) -> str:
    """Writes <output>/adapter and returns its location."""
    location, settings = folder.at("adapter"), record.settings
    training = {
        "name": record.name,
        "settings": settings.course(),
        "reference": job_settings(settings.reference),
        "validation": record.curves.last_validation(),
    }
    folder.store.write(folder.at("adapter", "README.md"), card(adapter, record).encode())
    save_adapter(
        adapter,
        location,
        base=record.base,
        step=record.step,
        training=training,
        reference_unet=reference_unet,
    )
    return location


def card(adapter: DreamCacheAdapter, record: TrainingRecord) -> str:
    """The model card, Markdown with the hub's front matter."""
    base, settings = record.base, record.settings
    points = record.curves.last_validation()
    rows = [f"| {p['level']} | {p['right']:.4f} | {p['wrong']:.4f} | {p['none']:.4f} |" for p in points]
    values: dict[str, Any] = {
        "name": record.name,
        "base": _public(base.name),
        "revision": f" at revision `{base.revision}`" if base.revision else "",
        "revision_argument": f', revision="{base.revision}"' if base.revision else "",
        "fingerprint": base.fingerprint[:16],
        "parameters": sum(p.numel() for p in adapter.parameters()) / 1e6,
        "count": len(adapter.places),
        "places": ", ".join(f"`{place}`" for place in adapter.places),
        "integration": settings.reference.integration
        + (", all places read the middle block's features" if adapter.features == "middle" else "")
        + (", references are read by a U-Net of its own" if settings.reference.unet == "trained" else ""),
        "reference": json.dumps(job_settings(settings.reference)),
        "steps": record.step,
        "batch": settings.global_batch,
        "data": _public(settings.data.path),
        "samples": record.samples,
        "precision": settings.precision,
        "rate": settings.optimizer.learning_rate,
        "drop_text": settings.loss.drop_text,
        "drop_image": settings.loss.drop_image,
        "drop_both": settings.loss.drop_both,
        "average": f"a moving average, decay {settings.optimizer.ema}"
        if settings.optimizer.ema
        else "the last step's",
        "validated": record.validated,
        "table": "\n".join(rows) or "| not validated | | | |",
    }
    return CARD.format(**values)


def job_settings(reference: ReferenceSettings) -> dict[str, Any]:
    """The `reference` settings with which a job encodes as this training did; a job has class names, not captions."""
    return {"timestep": reference.timestep, "text": reference.text.replace(CAPTION, "a {class_name}")}


def _public(name: str) -> str:
    """A hub id as it is; of a folder or URI the last part only: a card must not show the paths of a machine."""
    return name if name.count("/") <= 1 and not is_uri(name) else name.rstrip("/").rpartition("/")[2]
