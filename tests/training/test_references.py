"""Features of references that never change: stored once, read by later steps, resumes and jobs, and the same losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dreamcache import DreamCachePipeline
from dreamcache.core.config import EncodeSettings, ImageLimits
from dreamcache.core.config.train import DataSettings, ReferenceSettings, TransformSettings
from dreamcache.core.errors import SpecError
from dreamcache.core.images import decode_image
from dreamcache.core.records import Reference, cache_key
from dreamcache.model.features import SubjectFeatures
from dreamcache.storage.feature_cache import FeatureCache, list_entries
from dreamcache.storage.open_store import store_for
from dreamcache.training.references import StoredReferences
from dreamcache.training.trainer import Trainer
from jobs.train.spec import load_train_spec, parse_train_spec
from tests.train_samples import photo, write_folder
from tests.training.trainers import MakeTrainer

STEADY = TransformSettings(flip_p=0, jitter_p=0, erase_p=0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> DataSettings:
    """Six samples, of which 1 and 4 bring photos that fill the frame."""
    return DataSettings(path=str(write_folder(tmp_path_factory.mktemp("photos"), 6, photos=True)))


def trained(
    make: MakeTrainer, photos: DataSettings, cache: str, **changes: Any
) -> tuple[Trainer, list[float]]:
    reference = ReferenceSettings(noise="fixed", timestep=100, text="{caption}", cache=cache)
    options = {"reference": reference, "transform": STEADY, "micro_batch": 2, "steps": 4, **changes}
    trainer = make(data=photos, **options)
    return trainer, [float(made.loss) for made in trainer.steps()]


def test_the_same_losses_with_and_without(make: MakeTrainer, photos: DataSettings, bucket: str) -> None:
    root = f"{bucket}/cache"
    plain, expected = trained(make, photos, "")
    first, losses = trained(make, photos, root)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert first.stored is not None and plain.stored is None
    assert first.stored.counts["encoded"] == len(list(list_entries(root))) == 2
    assert first.stored.counts["memory"] >= 2 and first.stored.counts["changing"] > 8
    # Another worker or a later run finds them; a damaged one is made again.
    entry = next(list_entries(root))
    store_for(root).write(entry.uri, b"damaged")
    again, losses = trained(make, photos, root)
    assert again.stored is not None and losses == pytest.approx(expected, rel=1e-5)
    assert (again.stored.counts["cache"], again.stored.counts["encoded"]) == (1, 1)
    assert plain.settings.course() == first.settings.course()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_job_finds_them(precision: Any, make: MakeTrainer, photos: DataSettings, tmp_path: Path) -> None:
    """Stored under the key of a job that takes photos whole, they are what that job would encode."""
    trainer, _ = trained(make, photos, str(tmp_path), precision=precision, steps=2, size=128)
    pipe = DreamCachePipeline(trainer.base, trainer.info, trainer.adapter)
    settings = EncodeSettings(
        size=128, segmenter="none", dtype=precision, timestep=100, text="a box number 1"
    ).resolved(128, trainer.adapter.places, precision)
    data = photo(1)[0]
    assert data is not None
    key = cache_key(Reference.id_of(data, None), trainer.info.fingerprint, settings, "box")
    stored = FeatureCache(str(tmp_path), trainer.info.fingerprint).get(key)
    assert stored is not None
    found = SubjectFeatures.from_stored(stored)
    expected = pipe.encode_reference(
        decode_image(data, where="photo", limits=ImageLimits()), settings=settings
    )
    assert found.settings == {**settings.as_dict(), "places": list(settings.places)}
    for place, value in expected.maps.items():
        assert found.maps[place].dtype == getattr(torch, precision)
        away = (found.maps[place].float() - value.float()).norm() / value.float().norm()
        assert away < (1e-4 if precision == "float32" else 0.05), place  # it was one of a batch


def test_a_cached_photo_is_decoded_as_a_job_does(make: MakeTrainer, tmp_path: Path) -> None:
    """At its full size: a JPEG that is decoded at an eighth has other pixels, and would have the same key."""
    folder = write_folder(tmp_path / "data", 2, photos=True)
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (512, 512, 3), np.uint8))
    noise.save(folder / "references" / "001.png", "JPEG")
    data = DataSettings(path=str(folder))
    cached = ReferenceSettings(noise="fixed", cache=str(tmp_path / "cache"))
    trainers = [make(data=data, transform=STEADY, reference=one) for one in (cached, ReferenceSettings())]
    whole, reduced = (trainer.items.samples.read([1])[1].reference for trainer in trainers)
    assert whole.size == (512, 512) and reduced.size == (64, 64)
    photo_bytes = (folder / "references" / "001.png").read_bytes()
    wanted = decode_image(photo_bytes, where="photo", limits=ImageLimits())
    assert np.array_equal(np.asarray(whole), np.asarray(wanted))
    images = [trainer.items.samples.read([0])[1].image for trainer in trainers]
    assert images[0].size == images[1].size, "what no job reads is decoded as before"


def test_memory_is_bounded(tmp_path: Path) -> None:
    settings = EncodeSettings(size=64, places=("mid",), dtype="float32")
    stored = StoredReferences(FeatureCache(str(tmp_path), "b" * 64), settings, memory_bytes=3 * 16)

    def read(*names: str) -> list[float]:
        def encode(rows: Any) -> dict[str, torch.Tensor]:
            return {"mid": torch.stack([torch.full((1, 2, 2), float(names[row] or -1)) for row in rows])}

        maps = stored.read(names, [""] * len(names), encode, torch.device("cpu"))["mid"]
        assert maps.shape == (len(names), 1, 2, 2)
        return [float(value[0, 0, 0]) for value in maps]

    assert read("1", "", "2", "1") == [1, -1, 2, 1]
    assert read("3", "4", "5") == [3, 4, 5]
    assert stored._recent.total == 3 * 16 and len(stored._recent) == 3
    assert read("5", "1") == [5, 1]
    assert dict(stored.counts) == {"memory": 1, "cache": 1, "encoded": 5, "changing": 1}


def test_what_changes_from_step_to_step_is_refused(tmp_path: Path) -> None:
    train: dict[str, Any] = {"data": {"path": "d"}, "reference": {"cache": "features", "noise": "fixed"}}
    values: dict[str, Any] = {"name": "a", "output": "o", "train": train}
    with pytest.raises(
        SpecError, match=r"set transform.flip_p: 0, got 0.5; transform.jitter_p: 0, .*erase_p"
    ):
        parse_train_spec(values)
    train["transform"] = {"flip_p": 0, "jitter_p": 0, "erase_p": 0}
    assert parse_train_spec(values).train.reference.cache == "features"
    (tmp_path / "train.yaml").write_text(
        "{name: a, output: o, train: {data: {path: d}, reference: {cache: f, noise: fixed},"
        " transform: {flip_p: 0, jitter_p: 0, erase_p: 0}}}"
    )
    assert load_train_spec(tmp_path / "train.yaml").train.reference.cache == str(tmp_path / "f")
    train["reference"]["noise"] = "drawn"
    with pytest.raises(SpecError, match=r"reference.noise: fixed, got 'drawn'; or leave reference.cache out"):
        parse_train_spec(values)
