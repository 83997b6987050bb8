"""What further photos change on `mini`: the error is the base's own without a photo, and a stopped run resumes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from recipes.mini.measure import views
from recipes.mini.measure.features import ClipFeatures
from recipes.mini.measure.generate import Generator, OutOfTimeError
from recipes.mini.measure.queries import SIDE, Scales, all_classes, photo, real

QUICK = Scales(num_inference_steps=1)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return Generator(tmp_path_factory.mktemp("views"))


def test_packshots_of_a_design_differ_by_side_and_number() -> None:
    seed = all_classes(1, 4).seeds[0]
    shots = {
        shot: photo(seed, SIDE, number=shot[0], back=shot[1])[0].tobytes() for shot in views.ARMS[views.FIRST]
    }
    shots |= {
        s: photo(seed, SIDE, number=s[0], back=s[1])[0].tobytes() for arm in views.ARMS.values() for s in arm
    }
    assert len(set(shots.values())) == len(shots) == 4
    assert shots[views.FRONT] == photo(seed, SIDE)[0].tobytes(), "the first is the catalog's"


@torch.no_grad()
def test_without_a_photo_the_error_is_the_bases_own(generator: Generator) -> None:
    query, pipe = all_classes(1, 4).queries[0], generator.pipe.base
    ours = np.array(views.side_errors(generator, [query], False, None))
    picture, mask = real(query)
    latent = pipe.vae.encode(pipe.image_processor.preprocess(picture)).latent_dist.mode()
    latent = latent * pipe.vae.config.scaling_factor
    noise = torch.randn(latent.shape[1:], generator=torch.Generator().manual_seed(query.noise_seed))[None]
    scheduler, text = (
        DDPMScheduler.from_config(pipe.scheduler.config),
        pipe.encode_prompt(query.prompt, "cpu", 1, False)[0],
    )
    share = torch.from_numpy(mask.reshape(16, 4, 16, 4).mean(axis=(1, 3))).float()
    for number, level in enumerate(views.LEVELS):
        step = torch.tensor([level])
        predicted = pipe.unet(scheduler.add_noise(latent, noise, step), step, text).sample
        error = (predicted - scheduler.get_velocity(latent, noise, step)).square().mean(dim=1)[0]
        assert ours[0, number] == pytest.approx(float((error * share).sum() / share.sum()), rel=1e-3)


def test_a_right_photo_is_better_than_none_and_a_wrong_one_worse(generator: Generator) -> None:
    query, other = all_classes(13, 4).queries[0], all_classes(13, 4).queries[-1]
    assert query.class_name == other.class_name
    photos = views.Photos(generator)
    errors = [
        np.mean(views.side_errors(generator, [query], False, subject))
        for subject in (None, [photos.of(query.seed, [views.FRONT])], [photos.of(other.seed, [views.FRONT])])
    ]
    assert errors[1] < errors[0] < errors[2]


@pytest.mark.slow
def test_a_stopped_run_resumes_and_says_what_it_measured(tmp_path: Path) -> None:
    clip = ClipFeatures()
    tools = views.Tools(features=clip.images, find=lambda pictures: [None] * len(pictures))
    options = {"subjects": 2, "scenes": 1, "scales": QUICK, "tools": tools}
    with pytest.raises(OutOfTimeError):
        views.run(tmp_path, **options, until=time.monotonic() - 1)  # type: ignore[arg-type]
    report = views.run(tmp_path, **options)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "views.json").read_text()) == json.loads(json.dumps(report))
    assert report["error"]["front"][views.FIRST]["change"] == [0.0, 0.0, 0.0]
    assert set(report["retrieval"]) == set(views.GENERATED)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "pictures").rglob("*") if path.is_file()}
    assert views.run(tmp_path, **options) == report  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in written} == written, "nothing is measured twice"
    text = (tmp_path / "views.md").read_text()
    assert "| 2 photos: front, back |" in text and "retrieval@1" in text
