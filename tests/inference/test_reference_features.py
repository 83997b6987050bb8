"""Features of a planned item: from the cache where they are sound, else encoded and stored; never of another plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from dreamcache import DreamCachePipeline, EncodeSettings
from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError, ModelError
from dreamcache.core.records import Reference, Request, cache_key
from dreamcache.inference.references import ReferenceFeatures
from dreamcache.storage.feature_cache import FeatureCache
from tests.end_to_end.photos import picture

SETTINGS = EncodeSettings(segmenter="none")


class Setting:
    """One photo, its request, and a worker's references over one cache."""

    def __init__(self, pipe: DreamCachePipeline, folder: Path) -> None:
        self.encoder = pipe.encoder(SETTINGS)
        self.cache = FeatureCache(str(folder / "cache"), pipe.info.fingerprint)
        photo = folder / "photo.png"
        picture().save(photo)
        reference_id = Reference.id_of(photo.read_bytes(), None)
        self.request = Request(
            item_id="i", subject_id="s", class_name="mug", reference_id=reference_id, image=str(photo), mask=None,
            cache_key=cache_key(reference_id, pipe.info.fingerprint, self.encoder.settings, "mug"),
            prompt="a mug", sample=0, seed=0,
        )  # fmt: skip

    def references(self) -> tuple[ReferenceFeatures, list[str]]:
        """A new worker's, with nothing in memory, and where it got features from."""
        references, sources = ReferenceFeatures(self.encoder, self.cache, ImageLimits()), list[str]()
        references.on_features = lambda source, seconds: sources.append(source)
        return references, sources


@pytest.fixture
def setting(epsilon_pipe: DreamCachePipeline, tmp_path: Path) -> Setting:
    return Setting(epsilon_pipe, tmp_path)


def test_encoded_once_and_read_from_the_cache_by_the_next_worker(setting: Setting) -> None:
    first, sources = setting.references()
    encoded = first.get(setting.request)
    assert first.get(setting.request) is encoded and first.has(setting.request)
    assert sources == ["encoded"]
    Path(setting.request.image).unlink()  # the cache suffices
    second, sources = setting.references()
    stored = second.get(setting.request)
    assert sources == ["cache"]
    assert all(torch.equal(stored.maps[place], encoded.maps[place]) for place in encoded.maps)


def test_damaged_features_are_encoded_again(setting: Setting) -> None:
    setting.references()[0].get(setting.request)
    file = Path(setting.cache.uri_of(setting.request.cache_key))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    references, sources = setting.references()
    references.get(setting.request)
    assert sources == ["encoded"] and setting.cache.verify(setting.request.cache_key)


def test_features_of_other_settings_than_planned_are_refused_and_not_stored(setting: Setting) -> None:
    planned = replace(setting.request, cache_key="ab" * 32)
    with pytest.raises(ModelError, match="differ from the planner's"):
        setting.references()[0].get(planned)
    assert not list(setting.cache.entries())


def test_the_posterior_is_sampled_or_its_mode(epsilon_pipe: DreamCachePipeline) -> None:
    mode, sampled, again = (
        epsilon_pipe.encode_reference(picture(), settings=replace(SETTINGS, posterior=kind))  # type: ignore[arg-type]
        for kind in ("mode", "sample", "sample")
    )
    place = epsilon_pipe.places[0]
    assert not torch.equal(mode.maps[place], sampled.maps[place])
    assert torch.equal(sampled.maps[place], again.maps[place])


def test_a_photo_without_a_subject_fails_where_the_settings_say_so(epsilon_pipe: DreamCachePipeline) -> None:
    blank = Image.new("RGB", (64, 64), "white")
    settings = EncodeSettings(segmenter="grabcut", on_no_mask="fail")
    with pytest.raises(ImageError, match="no subject found") as caught:
        epsilon_pipe.encode_reference(blank, settings=settings)
    assert caught.value.code == "no_mask"
    assert epsilon_pipe.encode_reference(blank, settings=replace(settings, on_no_mask="whole_image"))


def test_an_encoder_asks_whether_an_object_is_there_and_does_not_read_it(setting: Setting) -> None:
    """And it asks once: storage requests are what a catalog of a million subjects costs."""
    first, sources = setting.references()
    first.ensure(setting.request)
    assert sources == ["encoded"] and setting.cache.verify(setting.request.cache_key)
    file = Path(setting.cache.uri_of(setting.request.cache_key))
    sealed = file.read_bytes()
    file.write_bytes(b"damaged")
    second, sources = setting.references()
    second.ensure(setting.request)
    assert sources == ["cache"] and not second.has(setting.request)
    file.unlink()
    second.ensure(setting.request)
    assert sources == ["cache"] and not file.exists()
    file.write_bytes(b"")
    third, sources = setting.references()
    third.ensure(setting.request)
    assert sources == ["encoded"] and file.read_bytes() == sealed


def test_who_generates_checks_what_the_encoder_passed_over(setting: Setting) -> None:
    setting.references()[0].ensure(setting.request)
    Path(setting.cache.uri_of(setting.request.cache_key)).write_bytes(b"damaged")
    encoder, _ = setting.references()
    encoder.ensure(setting.request)
    generator, sources = setting.references()
    features = generator.get(setting.request)
    assert sources == ["encoded"] and features.cache_key == setting.request.cache_key


def test_the_note_of_a_whole_photo_is_known_to_whoever_reads_it_first(
    epsilon_pipe: DreamCachePipeline, tmp_path: Path
) -> None:
    setting = Setting(epsilon_pipe, tmp_path)
    setting.encoder = epsilon_pipe.encoder(EncodeSettings(segmenter="alpha"))
    key = cache_key(setting.request.reference_id, epsilon_pipe.info.fingerprint, setting.encoder.settings, "")
    request = replace(setting.request, cache_key=key)
    setting.references()[0].ensure(request)
    encoder, _ = setting.references()
    encoder.ensure(request)
    assert encoder.segment_note(request) is None, "it read nothing"
    generator, _ = setting.references()
    generator.capacity = 0
    generator.get(request)
    assert generator.segment_note(request) is not None
