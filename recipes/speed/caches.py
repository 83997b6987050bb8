"""What a smaller feature cache costs: python -m recipes.speed.caches --work DIR

    held-out designs -> features in each form -> bytes, cosine -> pictures -> PSNR against float16, own design found?
    SD 2.1's true size, random weights -> features of packshots -> bytes, cosine of the noise prediction

Pictures are kept in DIR: a stopped run resumes. `--true-size` prints the second table alone and needs no extra; the
first needs `measure`. Knows the benchmark's queries and the shapes of `dreamcache.inference.speed`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dreamcache.core.config import EncodeSettings
from dreamcache.inference.speed.shapes import FEW_CHANNELS, SD21, Size, build_pipeline, random_text
from dreamcache.model.features import SubjectFeatures, stored_maps
from dreamcache.model.inject import Memory, injecting
from dreamcache.model.preprocess import on_packshot
from dreamcache.model.unet import decoder_half, encoder_half
from dreamcache.storage.feature_file import to_parquet
from recipes.mini.measure.queries import all_classes, photo
from recipes.speed.table import markdown

EXACT = EncodeSettings(dtype="float32")
FORMS = (
    EncodeSettings(dtype="float16"),
    EncodeSettings(dtype="int8"),
    EncodeSettings(dtype="int5"),
    EncodeSettings(dtype="int8", ground_vectors=16),
    EncodeSettings(dtype="int5", ground_vectors=16),
    EncodeSettings(dtype="int5", ground_vectors=32),
)
"""The first is what the others are compared with."""

PREDICTED_AT = 500
"""The timestep of the noise prediction."""


def name_of(form: EncodeSettings) -> str:
    return form.dtype + (f", {form.ground_vectors} ground vectors" if form.ground_vectors else "")


def num_bytes(subject: SubjectFeatures) -> int:
    """Of its file in the cache."""
    return len(to_parquet(subject.to_stored()))


def plain_bytes(subject: SubjectFeatures) -> int:
    """Of its numbers in float16."""
    return sum(2 * value.numel() for value in subject.maps.values())


def cosine(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Of all numbers, one after the other."""
    a, b = (torch.cat([value.double().flatten() for value in values]) for values in (one, other))
    return float(functional.cosine_similarity(a, b, dim=0))


def on_mini(work: Path, *, subjects: int, tools: Path, until: float) -> list[dict[str, Any]]:
    """A row a form, on the embedded model, one picture a design."""
    from recipes.mini.measure.features import ClipFeatures, ImageNetFeatures
    from recipes.mini.measure.generate import Generator
    from recipes.mini.measure.objects import FINDERS, cut_out, finder
    from recipes.mini.measure.queries import SIDE
    from recipes.speed.savings import Arm, score

    group = all_classes(subjects, 1)
    features, clip = ImageNetFeatures(), ClipFeatures()
    packshots = [cut_out(*photo(seed, SIDE)) for seed in group.seeds]
    scales = Arm(scheduler="dpmpp_2m", num_inference_steps=20)
    kit = (finder(FINDERS[0], tools), features, clip, features(packshots), clip.images(packshots))
    exact = Generator(work, scales=scales, encode=EXACT, until=until)
    rows: list[dict[str, Any]] = []
    first: Any = None
    for form in FORMS:
        generator = Generator(work, scales=scales, encode=form, until=until)
        pictures = generator.with_reference(group.queries)
        first = first or (pictures, None)
        scores = score(group, pictures, first[0], kit)
        first = (first[0], first[1] or scores)
        held = [generator.subject(seed) for seed in group.seeds]
        pairs = zip(group.seeds, held, strict=True)
        cosines = [
            cosine(list(exact.subject(seed).maps.values()), list(one.maps.values())) for seed, one in pairs
        ]
        rows.append(
            {
                "name": name_of(form),
                **_sizes(held),
                "cosine": round(min(cosines), 6),
                **_quality(scores, first[1]),
            }
        )
        (work / "mini.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
        print(f"caches: {rows[-1]['name']}: {rows[-1]['PSNR']} dB", flush=True)
    return rows


def _sizes(held: Sequence[SubjectFeatures]) -> dict[str, Any]:
    return {
        "bytes": round(float(np.mean([num_bytes(one) for one in held]))),
        "share": round(float(np.mean([num_bytes(one) / plain_bytes(one) for one in held])), 3),
    }


def _quality(scores: Any, first: Any) -> dict[str, Any]:
    """Of pictures, against those of the first form."""
    from recipes.mini.measure.statistics import interval

    return {
        "PSNR": interval(scores.psnr),
        "PSNR, least": round(float(scores.psnr.min()), 1),
        "retrieval@1": interval(scores.hits),
        "retrieval@1 difference": interval(scores.hits.astype(float) - first.hits),
        "MCLIP-I difference": interval(scores.similarity - first.similarity),
    }


@torch.inference_mode()
def at_true_size(size: Size, *, subjects: int) -> list[dict[str, Any]]:
    """A row a form: random weights at `size`, packshots of the embedded world with their masks."""
    pipe = build_pipeline(size, dtype=torch.float32, device="cpu")
    text = random_text(size, 1, dtype=torch.float32, device="cpu")
    pipe.prompts = lambda prompts: text.expand(len(prompts), -1, -1)  # type: ignore[assignment]
    noise = torch.randn(1, 4, size.latent_side, size.latent_side, generator=torch.Generator().manual_seed(7))
    state = encoder_half(pipe.base.unet, noise, torch.tensor([PREDICTED_AT]), text)

    def predicted(subject: SubjectFeatures | None) -> Tensor:
        memory = None
        if subject is not None:
            assert pipe.projections is not None and pipe.adapter is not None
            memory = Memory(keys_values=pipe.projections.get(subject))
        assert pipe.adapter is not None
        with injecting(pipe.base.unet, pipe.adapter, memory):
            return decoder_half(pipe.base.unet, state, text)

    measured: dict[str, list[tuple[int, float, float]]] = {}
    shares, effects, numbers = [], [], 0
    for seed in all_classes(subjects, 1).seeds:
        picture, mask = photo(seed, size.side)
        where = on_packshot(mask, size=size.side, margin=EXACT.margin)
        shares.append(float(where.mean()))
        exact = pipe.encode_reference(picture, mask, settings=EXACT)
        wanted, numbers = predicted(exact), plain_bytes(exact)
        effects.append(cosine([wanted], [predicted(None)]))
        for form in FORMS:
            subject = _stored(exact, form, where)
            row = num_bytes(subject), _of_features(exact, subject), cosine([wanted], [predicted(subject)])
            measured.setdefault(name_of(form), []).append(row)
            print(f"caches: design {seed}, {name_of(form)}: {row}", flush=True)
    print(
        f"caches: subjects cover {np.mean(shares):.2f} of the packshot; without a reference: {max(effects):.4f}"
    )
    return [_of_form(name, values, numbers) for name, values in measured.items()]


def _of_form(name: str, values: Sequence[tuple[int, float, float]], numbers: int) -> dict[str, Any]:
    size = float(np.mean([row[0] for row in values]))
    return {
        "name": name,
        "bytes": round(size),
        "share": round(size / numbers, 3),
        "cosine": round(min(row[1] for row in values), 6),
        "cosine of the noise prediction": round(min(row[2] for row in values), 8),
    }


def _stored(exact: SubjectFeatures, form: EncodeSettings, where: NDArray[np.bool_]) -> SubjectFeatures:
    """The same features in another form."""
    maps = stored_maps(exact.maps, form, where)
    return replace(exact, cache_key=f"{exact.cache_key}, {name_of(form)}", maps=maps)


def _of_features(one: SubjectFeatures, other: SubjectFeatures) -> float:
    return cosine(list(one.maps.values()), list(other.maps.values()))


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(prog="python -m recipes.speed.caches", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="pictures and results; the folder resumes")
    parser.add_argument("--subjects", type=int, default=60)
    parser.add_argument("--true-size", action="store_true", help="the table at SD 2.1's size alone")
    parser.add_argument("--true-subjects", type=int, default=3)
    parser.add_argument("--few-channels", action="store_true", help="a trial: SD 2.1's modules, few channels")
    parser.add_argument("--tools", type=Path, help="folder of the learned segmenter; trained where missing")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop generating after so many")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    size = FEW_CHANNELS if options.few_channels else SD21
    report: dict[str, Any] = {}
    if not options.true_size:
        report["mini"] = on_mini(
            options.work,
            subjects=options.subjects,
            tools=options.tools or options.work / "tools",
            until=time.monotonic() + options.minutes * 60,
        )
    if options.true_subjects:
        report[size.name] = at_true_size(size, subjects=options.true_subjects)
    (options.work / "caches.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    text = "\n".join(f"{name}\n\n{markdown(rows)}" for name, rows in report.items())
    (options.work / "caches.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
