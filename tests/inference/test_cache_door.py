"""The door for cached features: each object of the corpus is refused, its reference encoded again, and counted."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from dreamcache import DreamCachePipeline, EncodeSettings
from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import CacheError, StorageError
from dreamcache.core.records import Reference, Request, cache_key
from dreamcache.inference.references import ReferenceFeatures
from dreamcache.storage.feature_cache import FeatureCache, mark_cache, verify_entries
from dreamcache.storage.feature_seal import SECRET_VARIABLE, UNSEALED
from tests.corpus.cache_changes import objects_of
from tests.corpus.kind import Kind, case_id, cases
from tests.corpus.measure import SECONDS
from tests.corpus.pictures import photo

SECRET = "a secret of this team alone"


class Shared:
    """A cache that holds the features of two photos, encoded once for the module."""

    def __init__(self, pipe: DreamCachePipeline, folder: Path) -> None:
        self.pipe, self.folder = pipe, folder
        self.encoder = pipe.encoder(EncodeSettings(segmenter="none", dtype="float16"))
        self.requests = [self._request(name, width) for name, width in (("a", 64), ("b", 80))]
        references, _ = self.references(folder / "cache")
        self.features = [references.get(request) for request in self.requests]
        first, second = (Path(references.cache.uri_of(request.cache_key)) for request in self.requests)
        os.utime(first, ns=(1, 1))
        os.utime(second, ns=(2, 2))

    def _request(self, name: str, width: int) -> Request:
        file = self.folder / f"{name}.png"
        photo(width, 48).save(file)
        reference_id = Reference.id_of(file.read_bytes(), None)
        return Request(
            item_id="i", subject_id=name, class_name="mug", reference_id=reference_id, image=str(file), mask=None,
            cache_key=cache_key(reference_id, self.pipe.info.fingerprint, self.encoder.settings, "mug"),
            prompt="a mug", sample=0, seed=0,
        )  # fmt: skip

    def references(self, cache: Path) -> tuple[ReferenceFeatures, dict[str, str]]:
        """A new worker's over a cache, and what it refuses."""
        store = FeatureCache(str(cache), self.pipe.info.fingerprint)
        references, refused = ReferenceFeatures(self.encoder, store, ImageLimits()), dict[str, str]()
        references.on_refused = refused.__setitem__
        return references, refused

    def copy(self, to: Path) -> Path:
        shutil.copytree(self.folder / "cache", to / "cache", copy_function=shutil.copy2)
        return to / "cache"


@pytest.fixture(scope="module")
def shared(epsilon_pipe: DreamCachePipeline, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    return Shared(epsilon_pipe, tmp_path_factory.mktemp("shared"))


@pytest.mark.parametrize(("kind", "name"), cases("cache"), ids=case_id)
def test_each_object_is_encoded_again_and_counted(
    kind: Kind, name: str, shared: Shared, tmp_path: Path
) -> None:
    cache = shared.copy(tmp_path)
    kind.inputs[name](cache)
    request, wanted = shared.requests[0], shared.features[0]
    references, refused = shared.references(cache)
    began = time.monotonic()
    with pytest.raises(CacheError) as caught:
        references.cache.get(request.cache_key, shared.encoder.expected(request.reference_id))
    assert caught.value.code == kind.code
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
    features = references.get(request)
    assert time.monotonic() - began < SECONDS
    assert list(refused) == [request.cache_key]
    assert list(features.maps) == list(wanted.maps)
    assert all(torch.equal(features.maps[place], wanted.maps[place]) for place in wanted.maps)


def test_the_second_subject_is_not_disturbed(shared: Shared, tmp_path: Path) -> None:
    cache = shared.copy(tmp_path)
    first, second = objects_of(cache)
    first.write_bytes(second.read_bytes())
    references, refused = shared.references(cache)
    for request, wanted in zip(shared.requests, shared.features, strict=True):
        features = references.get(request)
        assert all(torch.equal(features.maps[place], wanted.maps[place]) for place in wanted.maps)
    assert list(refused) == [shared.requests[0].cache_key]
    again, refused = shared.references(cache)
    assert again.get(shared.requests[0]) and not refused, "it was stored again"


def test_with_a_secret_only_what_it_sealed_is_used(
    shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, request = shared.copy(tmp_path), shared.requests[0]
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    assert [error.code for _, error in verify_entries(str(cache)) if error] == [UNSEALED] * 2
    references, refused = shared.references(cache)
    references.get(request)
    assert SECRET_VARIABLE in refused[request.cache_key]
    assert SECRET not in refused[request.cache_key]
    assert [error.code for _, error in verify_entries(str(cache)) if error] == [UNSEALED]
    references, refused = shared.references(cache)
    references.get(request)
    assert not refused, "sealed by the first worker"

    monkeypatch.setenv(SECRET_VARIABLE, "the secret of another team")
    assert [error.code for _, error in verify_entries(str(cache)) if error] == [UNSEALED] * 2
    monkeypatch.delenv(SECRET_VARIABLE)
    assert not [error for _, error in verify_entries(str(cache)) if error], "sound for those without a secret"


def test_a_secret_that_is_easily_guessed_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "secret")
    with pytest.raises(StorageError, match="at least 16 characters, got 6") as caught:
        mark_cache(str(tmp_path))
    assert caught.value.code == "bad_secret"
