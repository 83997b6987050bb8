"""Every metric against cosines computed by hand with transformers alone; masked ones against changes outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, CLIPModel, CLIPProcessor, Dinov2Model, ViTModel

from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.errors import ImageError, ModelError
from dreamcache.evaluation.score import Scorer
from dreamcache.evaluation.scores import RealPhoto, Score, ScoreRequest
from dreamcache.evaluation.truth.identity import segmenter_weights
from dreamcache.storage.models.encoders import fingerprint
from dreamcache.storage.photos import read_photo
from tests.end_to_end.photos import picture

PROMPT = "a mug in the snow"
TOLERANCE = 1e-5


def save(folder: Path, number: int) -> str:
    path = folder / f"{number}.png"
    picture(number).save(path)
    return str(path)


def request(
    image: str, real: list[str], *, prompt: str | None = PROMPT, masked: bool = False
) -> ScoreRequest:
    def mask(path: str) -> str | None:
        return path.replace(".png", ".mask.png") if masked else None

    return ScoreRequest(
        score_id="one",
        subject_id="mug",
        class_name="mug",
        image=image,
        mask=mask(image),
        prompt=prompt,
        real=tuple(RealPhoto(photo_id=path, uri=path, mask=mask(path)) for path in real),
    )


def cosines(vectors: torch.Tensor) -> torch.Tensor:
    """Between the first row and each of the others."""
    return torch.nn.functional.cosine_similarity(vectors[:1], vectors[1:])


def score(scorer: Scorer, wanted: ScoreRequest) -> Score:
    (made,) = scorer.score([wanted])
    return made


def test_whole_images_as_transformers_alone_says(encoders: dict[str, str], photos: Path) -> None:
    image, *real = [save(photos, number) for number in range(4)]
    scorer = Scorer(MetricSettings(**encoders, segmenter=None))
    made = score(scorer, request(image, real))
    assert made.code is None and made.num_real == 3 and made.found is None

    pictures = [Image.open(path).convert("RGB") for path in (image, *real)]
    clip = CLIPModel.from_pretrained(encoders["clip"]).eval()
    processor = CLIPProcessor.from_pretrained(encoders["clip"])
    with torch.no_grad():
        both = clip(**processor(text=[PROMPT], images=pictures, return_tensors="pt"))
    assert made.values["clip_i"] == pytest.approx(float(cosines(both.image_embeds).mean()), abs=TOLERANCE)
    by_logits = float(both.logits_per_image[0, 0] / clip.logit_scale.detach().exp())
    assert made.values["clip_t"] == pytest.approx(by_logits, abs=TOLERANCE)

    for name, kind in (("dino", ViTModel), ("dinov2", Dinov2Model)):
        model = kind.from_pretrained(encoders[name]).eval()
        pixels = AutoImageProcessor.from_pretrained(encoders[name], backend="pil")(
            pictures, return_tensors="pt"
        )
        with torch.no_grad():
            token = model(**pixels).last_hidden_state[:, 0]
        assert made.values[name] == pytest.approx(float(cosines(token).mean()), abs=TOLERANCE)


def test_preprocessing_of_photos_that_are_no_squares(encoders: dict[str, str], photos: Path) -> None:
    """CLIP and DINOv2 see the middle square, DINO the whole photo squeezed into a square (docs/evaluation.md)."""
    wide = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 128, 3), dtype=np.uint8))
    edges, tall = wide.copy(), wide.transpose(Image.Transpose.ROTATE_90)
    edges.paste((255, 0, 0), (0, 0, 20, 64))
    same = {
        "middle": wide.crop((32, 0, 96, 64)),
        "squeezed": wide.resize((32, 32), Image.Resampling.BILINEAR),
        "edges": edges,
        "tall": tall,
    }
    for name, shown in {**same, "wide": wide}.items():
        shown.save(photos / f"{name}.png")
    scorer = Scorer(MetricSettings(**encoders, segmenter=None))
    values = {
        name: score(scorer, request(str(photos / "wide.png"), [str(photos / f"{name}.png")])).values
        for name in same
    }
    assert values["middle"]["clip_i"] == pytest.approx(1, abs=1e-4)
    assert values["middle"]["dinov2"] == pytest.approx(1, abs=1e-4) and values["middle"]["dino"] < 0.999
    assert values["squeezed"]["dino"] == pytest.approx(1, abs=1e-4)
    assert values["edges"]["clip_i"] == pytest.approx(1, abs=TOLERANCE) and values["edges"]["dino"] < 0.9999
    assert values["tall"]["clip_i"] < 0.9999


def test_the_file_that_cuts_subjects_out_decides_scores_and_its_path_does_not(
    encoders: dict[str, str], tmp_path: Path
) -> None:
    def name(folder: str, content: bytes) -> str:
        path = tmp_path / folder / "u2netp.onnx"
        path.parent.mkdir()
        path.write_bytes(content)
        settings = MetricSettings(
            clip=encoders["clip"], dino=None, segmenter="u2net", segmenter_models={"u2net": str(path)}
        )
        return fingerprint(settings, segmenter=segmenter_weights(settings))

    assert name("a", b"one") == name("b", b"one") != name("c", b"two")
    plain = MetricSettings(clip=encoders["clip"], dino=None, segmenter="grabcut")
    assert segmenter_weights(plain) == "" == segmenter_weights(MetricSettings(segmenter=None))
    assert fingerprint(plain) == fingerprint(plain, segmenter="")


def test_the_same_picture_has_similarity_one(encoders: dict[str, str], photos: Path) -> None:
    image = save(photos, 0)
    made = score(Scorer(MetricSettings(**encoders, segmenter="none")), request(image, [image]))
    for metric in ("clip_i", "dino", "dinov2", "mclip_i", "mdino", "mdinov2"):
        assert made.values[metric] == pytest.approx(1, abs=TOLERANCE), metric


def with_mask(folder: Path, number: int, background: int) -> str:
    """A drawing with noise of that seed wherever its mask is black."""
    pixels = np.array(picture(number))
    mask = np.zeros(pixels.shape[:2], dtype=bool)
    mask[8:40, 10:50] = True
    noise = np.random.default_rng(background).integers(0, 256, pixels.shape, dtype=np.uint8)
    path = folder / f"{number}-{background}.png"
    Image.fromarray(np.where(mask[..., None], pixels, noise)).save(path)
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(folder / f"{number}-{background}.mask.png")
    return str(path)


def test_masked_metrics_see_nothing_outside_the_mask(encoders: dict[str, str], photos: Path) -> None:
    scorer = Scorer(MetricSettings(**encoders, segmenter="file"))
    first, second = (
        score(
            scorer,
            request(with_mask(photos, 0, seed), [with_mask(photos, 1, seed + 10)], masked=True),
        )
        for seed in (1, 2)
    )
    for metric in ("mclip_i", "mdino", "mdinov2"):
        assert first.values[metric] == second.values[metric], metric  # not a bit of difference
    for metric in ("clip_i", "dino", "dinov2", "clip_t"):
        assert first.values[metric] != second.values[metric], metric
    changed = with_mask(photos, 0, 1)
    pixels = np.array(Image.open(changed))
    pixels[20:24, 20:24] = 255 - pixels[20:24, 20:24]
    Image.fromarray(pixels).save(changed)
    inside = score(scorer, request(changed, [with_mask(photos, 1, 11)], masked=True))
    assert inside.values["mclip_i"] != first.values["mclip_i"]


def test_what_is_not_found_has_no_masked_score_and_says_so(encoders: dict[str, str], photos: Path) -> None:
    scorer = Scorer(MetricSettings(**encoders, segmenter="alpha"))  # no photo here is transparent
    made = score(scorer, request(save(photos, 0), [save(photos, 1)]))
    assert made.code is None
    assert (made.found, made.reason, made.num_real, made.num_real_found) == (False, "opaque", 1, 0)
    assert not {"mclip_i", "mdino", "mdinov2"} & set(made.values)
    assert made.values["clip_i"] is not None


def test_errors_cost_one_score(encoders: dict[str, str], photos: Path) -> None:
    scorer = Scorer(MetricSettings(clip=encoders["clip"], dino=None, segmenter=None))
    good = save(photos, 0)
    (photos / "bad.png").write_bytes(b"no picture")
    bad, fine, lonely, long = scorer.score(
        [
            request(str(photos / "bad.png"), [good]),
            request(good, [good, str(photos / "bad.png"), str(photos / "missing.png")]),
            request(good, [str(photos / "missing.png")]),
            request(good, [good], prompt="snow " * 100),
        ]
    )
    assert bad.code == "not_an_image" and not bad.values
    assert fine.code is None and (fine.num_real, fine.num_real_unreadable) == (1, 2)
    assert lonely.code == "missing_image"
    assert long.code == "prompt_too_long"


def test_a_photo_that_an_outage_hides_is_asked_for_again(
    encoders: dict[str, str], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean over the photos that could be read would be kept, and depend on the outage."""
    scorer = Scorer(MetricSettings(clip=encoders["clip"], dino=None, segmenter=None))
    made = request(save(photos, 0), [save(photos, 1), save(photos, 2)])

    def unreachable(uri: str, *rest: object) -> bytes:
        if uri == made.real[1].uri:
            raise ImageError(f"{uri}: its host does not answer", code="host_unreachable")
        return read_photo(uri, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as outage:
        outage.setattr("dreamcache.evaluation.score.read_photo", unreachable)
        assert score(scorer, made).code == "host_unreachable"
    again = score(scorer, made)
    assert again.code is None and (again.num_real, again.num_real_unreadable) == (2, 0)


def test_without_a_prompt_there_is_no_text_score(encoders: dict[str, str], photos: Path) -> None:
    scorer = Scorer(MetricSettings(clip=encoders["clip"], dino=None, segmenter=None))
    made = score(scorer, request(save(photos, 0), [save(photos, 1)], prompt=None))
    assert set(made.values) == {"clip_i"}


def test_the_embedded_clip_needs_no_network(photos: Path) -> None:
    settings = MetricSettings(clip="mini", dino=None, segmenter="grabcut")
    made = score(Scorer(settings), request(save(photos, 0), [save(photos, 1)]))
    assert set(made.values) == {"clip_i", "clip_t", "mclip_i"}
    assert not settings.are_the_papers


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelError, match="'/nowhere'"):
        Scorer(MetricSettings(clip="/nowhere", dino=None, segmenter=None))


def test_the_defaults_are_the_papers() -> None:
    assert MetricSettings().are_the_papers
    assert MetricSettings().metrics == ("clip_i", "clip_t", "dino", "mclip_i", "mdino")
    with pytest.raises(ValueError, match="must name a model"):
        MetricSettings(clip=None, dino=None)
