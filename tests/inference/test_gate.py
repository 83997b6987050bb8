"""The quality gate: what is kept, what is rejected, with which seed, and that batches keep their shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreamcache import DreamCachePipeline
from dreamcache.core import ids
from dreamcache.core.config import GenerationSettings
from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.errors import ModelError
from dreamcache.core.images import normalize
from dreamcache.core.records import Blocked, Failed, Request
from dreamcache.evaluation.score import Scorer
from dreamcache.evaluation.scores import RealPhoto, ScoreRequest
from dreamcache.inference.gate import Gate
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import Generated
from dreamcache.storage.models.encoders import gate_identity
from tests.end_to_end.photos import picture
from tests.evaluation.encoders import save_clip
from tests.tiny import save_base, save_random_adapter

SETTINGS = GenerationSettings(num_inference_steps=1, text_scale=3.0, image_scale=2.0)
TRIES = 4
BATCH = 3


class Shapes:
    """The real pipeline; `sizes` of its batches are written down, and marked prompts give no finite image."""

    def __init__(self, pipe: DreamCachePipeline) -> None:
        self.pipe, self.sizes = pipe, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)

    def __call__(self, *, prompt: list[str], **settings: Any) -> Any:
        self.sizes.append(len(prompt))
        made = self.pipe(prompt=prompt, **settings)
        for number, text in enumerate(prompt):
            if text == "nan":
                made.images[number] = np.nan
        return made


class Studio:
    """A tiny model, its CLIP, one photo, and every score of every try, generated and measured without a gate."""

    def __init__(self, folder: Path) -> None:
        base = save_base(folder / "base")
        adapter = save_random_adapter(folder / "adapter", base)
        self.clip = str(save_clip(folder / "clip"))
        self.photo = folder / "photo.png"
        picture(0).save(self.photo)
        self.pipe = Shapes(DreamCachePipeline.from_pretrained(str(base), adapter=str(adapter)))
        self.subject = self.pipe.encode_reference(normalize(picture(0)))
        self.requests = [self.request(number) for number in range(5)]
        self.scores = self._measure(self.requests)

    def request(self, number: int, prompt: str = "a mug", image: str | None = None) -> Request:
        return Request(
            item_id=f"{number:064x}", subject_id="s", class_name="mug", reference_id=image or "r", cache_key="k",
            image=image or str(self.photo), mask=None, prompt=prompt, sample=0, seed=1000 + number,
        )  # fmt: skip

    def generator(self) -> Generator:
        return Generator(self.pipe, SETTINGS, lambda _: self.subject, batch_size=BATCH)  # type: ignore[arg-type]

    def settings(self, **changes: Any) -> QualitySettings:
        metrics = MetricSettings(clip=self.clip, dino=None, segmenter="none")
        values = {"image_metric": "clip_i", "metrics": metrics, "tries": TRIES, **changes}
        return QualitySettings(**values)

    def gate(self, **changes: Any) -> Gate:
        settings = self.settings(**changes)
        return Gate(self.generator(), Scorer(settings.used_metrics), settings)

    def _measure(self, requests: Sequence[Request]) -> np.ndarray:
        """[items, tries], CLIP-I."""
        scorer = Scorer(MetricSettings(clip=self.clip, dino=None, segmenter=None))
        real = (RealPhoto(photo_id="r", uri=str(self.photo)),)
        table = []
        for number in range(TRIES):
            seeded = [replace(r, seed=ids.seed_of_try(r.seed, number)) for r in requests]
            for request, outcome in zip(requests, self.generator().generate(seeded), strict=True):
                assert isinstance(outcome, Generated)
                asked = ScoreRequest(
                    score_id="x",
                    subject_id="s",
                    class_name="mug",
                    image="x",
                    prompt=request.prompt,
                    real=real,
                )
                table.append(scorer.score_one(asked, normalize_rgb(outcome)).values["clip_i"])
        return np.array(table, dtype=float).reshape(TRIES, len(requests)).T


def normalize_rgb(outcome: Generated) -> Any:
    from PIL import Image

    return Image.fromarray(outcome.rgb)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("gate"))


def test_the_first_try_that_passes_is_kept_and_the_rest_is_rejected(studio: Studio) -> None:
    threshold = float(np.median(studio.scores[:, 0]))
    threshold = max(threshold, float(np.sort(studio.scores.max(axis=1))[0]) + 1e-9)  # one item never passes
    outcomes = studio.gate(min_image=threshold).generate(studio.requests)
    kinds = set()
    for request, scores, outcome in zip(studio.requests, studio.scores, outcomes, strict=True):
        passing = np.flatnonzero(scores >= threshold)
        assert not isinstance(outcome, Failed) and outcome.quality is not None
        assert outcome.item_id == request.item_id
        if len(passing):
            number = int(passing[0])
            assert isinstance(outcome, Generated)
            assert outcome.quality.tries == number + 1
            seed = ids.seed_of_try(request.seed, number)
            [alone] = studio.generator().generate([replace(request, seed=seed)])
            assert isinstance(alone, Generated) and np.array_equal(alone.rgb, outcome.rgb)
        else:
            number = int(np.argmax(scores))
            assert isinstance(outcome, Blocked) and outcome.code == "low_quality"
            assert outcome.quality.tries == TRIES
            assert f"best of {TRIES} tries has clip_i {scores[number]:.3f}" in outcome.message
        assert outcome.quality.seed == ids.seed_of_try(request.seed, number)
        assert outcome.quality.image_score == pytest.approx(scores[number], abs=1e-6)
        kinds.add((outcome.quality.tries > 1, type(outcome)))
    assert (True, Blocked) in kinds and any(kind is Generated for _, kind in kinds)


def test_the_best_of_all_tries(studio: Studio) -> None:
    outcomes = studio.gate(min_image=-1.0, keep="best").generate(studio.requests)
    for scores, outcome in zip(studio.scores, outcomes, strict=True):
        assert isinstance(outcome, Generated) and outcome.quality is not None
        assert outcome.quality.tries == TRIES
        assert outcome.quality.image_score == pytest.approx(scores.max(), abs=1e-6)


def test_batches_keep_their_shape_and_free_places_are_used(studio: Studio) -> None:
    studio.pipe.sizes.clear()
    studio.gate(min_image=1.0).generate(studio.requests[:2])  # none passes: 8 tries
    assert studio.pipe.sizes == [BATCH] * 3


def test_neighbours_decide_nothing(studio: Studio) -> None:
    threshold = float(np.median(studio.scores))
    together = studio.gate(min_image=threshold).generate(studio.requests)
    for request, outcome in zip(studio.requests, together, strict=True):
        [alone] = studio.gate(min_image=threshold).generate([request])
        assert type(alone) is type(outcome)
        if isinstance(alone, Generated) and isinstance(outcome, Generated):
            assert alone.quality == outcome.quality and np.array_equal(alone.rgb, outcome.rgb)


def test_text_alone_and_both(studio: Studio) -> None:
    [outcome] = studio.gate(min_text=-1.0).generate(studio.requests[:1])
    assert isinstance(outcome, Generated) and outcome.quality is not None
    assert outcome.quality.image_score is None and outcome.quality.text_score is not None
    [outcome] = studio.gate(min_image=-1.0, min_text=1.0, tries=2).generate(studio.requests[:1])
    assert isinstance(outcome, Blocked) and outcome.quality is not None
    assert outcome.quality.image_score is not None and outcome.quality.text_score is not None
    assert "clip_i at least -1 and clip_t at least 1" in outcome.message


def test_what_no_seed_can_fix_ends_at_once(studio: Studio, tmp_path: Path) -> None:
    gone = studio.request(7, image=str(tmp_path / "gone.png"))
    lost = studio.request(8, prompt="nan")
    unread, without, good = studio.gate(min_image=-1.0).generate([gone, lost, studio.requests[0]])
    assert isinstance(unread, Failed) and unread.code == "missing_image"
    assert isinstance(without, Failed) and without.code == "nan_image"
    assert isinstance(good, Generated)
    masked = studio.settings(
        image_metric="mclip_i",
        min_image=0.5,
        metrics=MetricSettings(clip=studio.clip, dino=None, segmenter="alpha"),
    )
    gate = Gate(studio.generator(), Scorer(masked.used_metrics), masked)
    [outcome] = gate.generate(studio.requests[:1])
    assert isinstance(outcome, Failed) and outcome.code == "no_reference_segment"


def test_settings_and_their_identity(studio: Studio) -> None:
    one = studio.settings(min_image=0.5)
    assert one.used_metrics.encoders == {"clip": studio.clip} and one.used_metrics.segmenter is None
    masked = studio.settings(min_image=0.5, image_metric="mclip_i")
    assert masked.used_metrics.segmenter == "none"
    changes: list[dict[str, Any]] = [
        {},
        {"min_image": 0.6},
        {"min_text": 0.1},
        {"tries": 2},
        {"keep": "best"},
        {"image_metric": "mclip_i"},
    ]
    names = {gate_identity(studio.settings(**{"min_image": 0.5, **change})) for change in changes}
    assert len(names) == len(changes)
    assert gate_identity(studio.settings(min_image=0.5, text_metric="clip_t")) == gate_identity(one)
    for wrong in (
        {},
        {"min_image": 2.0},
        {"min_image": 0.5, "tries": 0},
        {"min_image": 0.5, "image_metric": "dino"},
    ):
        with pytest.raises(ValueError, match="must"):
            studio.settings(**wrong)
    with pytest.raises(ModelError, match="needs a pinned revision"):
        gate_identity(replace(one, metrics=MetricSettings(clip="owner/name", dino=None)))
