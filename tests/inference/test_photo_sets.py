"""Several photos in one subject: adapters read them side by side, in no order; a job mixes numbers of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreamcache import DreamCachePipeline, PhotoSet, SubjectFeatures
from dreamcache.inference.encode import Encoder
from dreamcache.inference.outcome import Generated
from dreamcache.inference.rules import InputError
from dreamcache.inference.session import JobSession, local_session
from dreamcache.storage.feature_cache import FeatureCache
from jobs.planning.planner import Plan, plan
from jobs.spec import parse_spec
from tests.end_to_end.photos import picture
from workers.context import request_of

SETTINGS: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np"}


@pytest.fixture(scope="module")
def pipe() -> DreamCachePipeline:
    pipe = DreamCachePipeline.from_pretrained("mini")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def photos(pipe: DreamCachePipeline) -> tuple[SubjectFeatures, ...]:
    return tuple(pipe.encode_reference(picture(number)) for number in range(3))


def pixels(pipe: DreamCachePipeline, *photos: SubjectFeatures) -> Any:
    generator = torch.Generator().manual_seed(3)
    return pipe("a photo of a mug", PhotoSet(photos=photos), generator=generator, **SETTINGS).images


def test_photos_are_read_side_by_side_in_no_order(
    pipe: DreamCachePipeline, photos: tuple[SubjectFeatures, ...]
) -> None:
    one, two, three = photos
    both = pixels(pipe, one, two)
    assert np.array_equal(both, pixels(pipe, two, one))
    assert np.array_equal(both, pixels(pipe, two, one, two)), "a photo that is named twice counts once"
    assert np.abs(both - pixels(pipe, one)).max() > 0.02
    assert np.abs(both - pixels(pipe, one, three)).max() > 0.02
    assert pipe.projections is not None
    joined = pipe.projections.get(PhotoSet(photos=photos))
    for place, single in pipe.projections.get(one).items():
        assert joined[place].keys.shape[2] == 3 * single.keys.shape[2]


def test_a_set_of_one_is_the_photo(pipe: DreamCachePipeline, photos: tuple[SubjectFeatures, ...]) -> None:
    generator = torch.Generator().manual_seed(3)
    alone = pipe("a photo of a mug", photos[0], generator=generator, **SETTINGS).images
    assert np.array_equal(alone, pixels(pipe, photos[0]))
    assert PhotoSet(photos=photos[:1]).cache_key == photos[0].cache_key


def test_what_one_call_cannot_stack_is_refused(
    pipe: DreamCachePipeline, photos: tuple[SubjectFeatures, ...]
) -> None:
    with pytest.raises(InputError, match="same number of photos in one call, got 1 and 2 photos"):
        pipe(["a", "b"], [photos[0], PhotoSet(photos=photos[:2])], **SETTINGS)
    with pytest.raises(ValueError, match="photos must be one or more"):
        PhotoSet(photos=())


@pytest.fixture
def mixed(tmp_path: Path) -> Plan:
    """Subjects of one, two and three photos; `d` names those of `b` in another order."""
    for number in range(3):
        picture(number).save(tmp_path / f"{number}.png")
    rows = ["a,0.png", "b,0.png|1.png", "c,2.png|1.png|0.png", "d,1.png|0.png"]
    (tmp_path / "c.csv").write_text("subject_id,photos\n" + "\n".join(rows) + "\n")
    values = {
        "name": "sets", "catalog": str(tmp_path / "c.csv"), "output": str(tmp_path / "o"),
        "columns": {"images": "photos"}, "prompts": ["a photo of a mug", "a mug in snow"],
        "generation": {"num_inference_steps": 2}, "workers": {"batch_size": 4},
    }  # fmt: skip
    return plan(parse_spec(values))


def generated(session: JobSession, planned: Plan, order: slice) -> dict[str, Any]:
    requests = [request_of(row) for row in planned.table.to_pylist()[order]]
    outcomes = session.generator().generate(requests)
    assert all(isinstance(outcome, Generated) for outcome in outcomes), outcomes
    return {outcome.item_id: outcome.rgb for outcome in outcomes if isinstance(outcome, Generated)}


@pytest.mark.slow
def test_a_job_of_mixed_numbers_encodes_each_photo_once_and_no_row_depends_on_its_neighbours(
    mixed: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    usual = Encoder._features
    monkeypatch.setattr(
        Encoder, "_features", lambda self, picture, text: encoded.append("") or usual(self, picture, text)
    )
    with local_session(mixed.spec, mixed.facts) as session:
        forth = generated(session, mixed, slice(None))
        assert len(encoded) == 3
        back = generated(session, mixed, slice(None, None, -1))
        alone = {}
        for row in (0, 2, 4):  # of one, two and three photos
            alone |= generated(session, mixed, slice(row, row + 1))
    assert len(forth) == mixed.num_items == 8
    assert all(np.array_equal(forth[item], back[item]) for item in forth)
    assert all(np.array_equal(forth[item], alone[item]) for item in alone)


def test_a_photo_in_the_cache_serves_every_set_that_holds_it(mixed: Plan, tmp_path: Path) -> None:
    rows = [request_of(row) for row in mixed.table.to_pylist()]
    cache = FeatureCache(str(tmp_path / "cache"), mixed.facts.base.fingerprint)
    with local_session(mixed.spec, mixed.facts, capacity=1) as session:
        session.references.cache = cache  # type: ignore[attr-defined]
        assert not session.references.has(rows[4])
        sources: list[str] = []
        session.references.on_features = lambda source, seconds: sources.append(source)
        assert isinstance(session.references.get(rows[4]), PhotoSet)
        assert session.references.has(rows[4]), "all photos of one subject stay, whatever the capacity is"
        session.references.get(rows[0])
        session.references.get(rows[2])
        assert sources.count("encoded") == 3
        assert session.references.recall(rows[4], cache)
        assert not session.references.recall(
            rows[4], FeatureCache(str(tmp_path / "none"), cache.base_fingerprint)
        )
