"""One session for workers, replay and calibration: the models of the plan, threads as before, one seam for families."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreamcache.core.errors import ImageError, ModelError
from dreamcache.inference.facts import plan_facts
from dreamcache.inference.gate import Gate
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import Generated
from dreamcache.inference.session import JobSession, local_session, pinned_threads
from dreamcache.storage.feature_cache import FeatureCache
from jobs.planning.planner import Plan, plan
from jobs.spec import parse_spec
from tests.end_to_end.photos import picture
from workers.context import request_of

GATE = {"min_text": -1.0, "metrics": {"clip": "mini", "dino": None, "segmenter": None}}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "photos").mkdir()
    for number in range(2):
        picture(number).save(tmp_path / "photos" / f"mug{number}.png")
    return {
        "name": "a",
        "catalog": str(tmp_path / "photos"),
        "output": str(tmp_path / "out"),
        "prompts": ["a photo of a mug"],
        "generation": {"num_inference_steps": 1},
        "workers": {"batch_size": 2, "generators": {"cpus": 1}},
    }


def planned(values: dict[str, Any]) -> Plan:
    return plan(parse_spec(values))


def test_it_generates_a_plans_items_and_puts_threads_back(job: dict[str, Any]) -> None:
    made = planned(job)
    requests = [request_of(row) for row in made.table.to_pylist()]
    with pinned_threads(2):
        with local_session(made.spec, made.facts) as session:
            assert torch.get_num_threads() == 1
            assert session.device_name == "cpu"
            assert not session.references.has(requests[0])
            generator = session.generator()
            session.warm_up(generator)
            outcomes = session.gate(generator).generate(requests)
            assert session.gate(generator) is generator and session.references.has(requests[0])
        assert torch.get_num_threads() == 2
    assert all(isinstance(outcome, Generated) for outcome in outcomes)


def test_threads_are_put_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), pinned_threads(before + 1):
        raise RuntimeError
    assert torch.get_num_threads() == before


def test_other_models_than_the_plans_are_refused(job: dict[str, Any]) -> None:
    spec = parse_spec({**job, "quality": GATE})
    facts = plan_facts(spec)
    for name in ("base", "adapter"):
        other = replace(facts, **{name: replace(getattr(facts, name), fingerprint="0" * 64)})
        with pytest.raises(ModelError, match="other files than the planner"):
            JobSession(spec, other, device="cpu")
    session = JobSession(spec, facts, device="cpu")
    assert isinstance(session.gate(session.generator()), Gate)
    blind = JobSession(spec, replace(facts, gate="0" * 64), device="cpu")
    with pytest.raises(ModelError, match="other encoders than the planner"):
        blind.gate(blind.generator())


def test_features_are_recalled_from_a_cache_when_the_photo_is_gone(job: dict[str, Any]) -> None:
    made = planned(job)
    request = request_of(made.table.to_pylist()[0])
    session = JobSession(made.spec, made.facts, device="cpu")
    [before] = session.generator().generate([request])
    Path(request.image).unlink()
    with local_session(made.spec, made.facts) as local:
        cache = FeatureCache(made.spec.cache_uri, made.facts.base.fingerprint)
        with pytest.raises(ImageError):
            local.references.get(request)
        assert local.references.recall(request, cache)
        assert not local.references.recall(replace(request, cache_key="0" * 64), cache)
        [after] = local.generator().generate([request])
    assert isinstance(before, Generated) and isinstance(after, Generated)
    assert np.array_equal(before.rgb, after.rgb)


def test_a_method_without_a_cache_has_nothing_to_recall(job: dict[str, Any]) -> None:
    made = planned({**job, "method": "text-only"})
    request = request_of(made.table.to_pylist()[0])
    with local_session(made.spec, made.facts) as session:
        assert isinstance(session.generator(), Generator)
        session.warm_up(session.generator())
        assert session.references.get(request) is None and session.references.has(request)
        cache = FeatureCache(made.spec.cache_uri, made.facts.base.fingerprint)
        assert not session.references.recall(request, cache)
    assert not list(Path(made.spec.output).parent.rglob("*.parquet"))
