"""A job on Qwen-Image 2.1 from a saved folder: products of one and two photos, planned as any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dreamcache.inference.families.qwen_image.encode import QwenEncoder
from dreamcache.inference.families.qwen_image.pipeline import QwenImagePipeline
from dreamcache.inference.families.qwen_image.prefix import Prefixes
from dreamcache.inference.outcome import Generated
from dreamcache.inference.session import JobSession, local_session
from jobs.planning.planner import Plan, plan
from jobs.spec import parse_spec
from tests.families.klein import photo
from tests.families.qwen import SIDE, save_qwen
from workers.context import request_of

pytestmark = [pytest.mark.slow, pytest.mark.turns(unit="module")]

SUBJECTS, PROMPTS, SAMPLES = 6, 10, 2
PHOTOS = SUBJECTS + SUBJECTS // 2


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("qwen-job")
    base = save_qwen(folder / "qwen")
    rows = ["subject_id,image,angle"]
    for number in range(SUBJECTS):
        for view in ("front", "back")[: 1 + number % 2]:
            photo(2 * number + len(view), ((64, 64), (96, 48))[number % 2]).save(
                folder / f"{number}{view}.png"
            )
            rows.append(f"mug{number},{number}{view}.png,{view}")
    (folder / "c.csv").write_text("\n".join(rows) + "\n")
    values: dict[str, Any] = {
        "name": "qwen",
        "catalog": str(folder / "c.csv"),
        "output": str(folder / "output"),
        "columns": {"view": "angle"},
        "prompts": [f"a mug in scene {'x' * number}" for number in range(PROMPTS)],
        "samples": SAMPLES,
        "model": {"base": str(base)},
        "reference": {"size": SIDE, "dtype": "float32"},
        "generation": {"num_inference_steps": 2, "height": SIDE, "width": SIDE},
        "workers": {"batch_size": 4},
    }
    return plan(parse_spec(values))


def generate(session: JobSession, planned: Plan, most: int | None = None) -> dict[str, np.ndarray]:
    requests = [request_of(row) for row in planned.table.to_pylist()[:most]]
    outcomes = session.generator().generate(requests)
    assert all(isinstance(outcome, Generated) for outcome in outcomes), outcomes[:3]
    return {outcome.item_id: outcome.rgb for outcome in outcomes if isinstance(outcome, Generated)}


def test_each_photo_is_encoded_once_and_each_set_read_once(
    planned: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    usual = QwenEncoder._latents
    monkeypatch.setattr(
        QwenEncoder, "_latents", lambda self, *values: encoded.append("") or usual(self, *values)
    )
    with local_session(planned.spec, planned.facts) as session:
        assert isinstance(session.pipe, QwenImagePipeline)
        session.warm_up(session.generator())
        read: list[int] = []
        session.pipe.base.text_encoder.model.visual.register_forward_hook(lambda *_: read.append(1))
        encoded.clear()
        images = generate(session, planned)
        assert len(images) == SUBJECTS * PROMPTS * SAMPLES
        assert (len(encoded), len(read)) == (PHOTOS, SUBJECTS)
        session.pipe.prefixes = Prefixes(session.pipe.base, capacity_bytes=1)
        again = generate(session, planned, PROMPTS * SAMPLES)
    assert all(np.array_equal(images[item], again[item]) for item in again)


def test_its_images_are_those_of_the_models_own_pipeline(planned: Plan) -> None:
    """Of a product with two photos, through plan, feature cache and generator."""
    rows = [row for row in planned.table.to_pylist() if row["photo_set"]][:1]
    with local_session(planned.spec, planned.facts) as session:
        [outcome] = session.generator().generate([request_of(row) for row in rows])
        assert isinstance(outcome, Generated) and isinstance(session.pipe, QwenImagePipeline)
        sizes = ((96, 48), (96, 48))
        photos = [photo(2 + len(view), size) for view, size in zip(("front", "back"), sizes, strict=True)]
        theirs = session.pipe.base(
            prompt=rows[0]["prompt"], image=photos, num_inference_steps=2, height=SIDE, width=SIDE,
            output_resolution=SIDE, generator=torch.Generator().manual_seed(rows[0]["seed"]), output_type="np",
        ).images[0]  # fmt: skip
    color, alpha = theirs[..., :3], theirs[..., 3:]
    assert np.abs(outcome.rgb / 255 - (color * alpha + 1 - alpha)).max() < 1e-4 + 0.5 / 255
