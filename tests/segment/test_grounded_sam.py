"""Grounding DINO and SAM: the real classes, tiny and with random weights, saved to and read from a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    SamConfig,
    SamModel,
    SwinConfig,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from dreamcache.core.errors import ModelError
from dreamcache.segment import Segment, SegmenterSet
from dreamcache.segment.grounded_sam import GroundedSam

WORDS = ["a", "mug", "red", "shoe"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("segmenters")
    _save_detector(folder / "dino")
    _save_sam(folder / "sam")
    return {"grounding-dino": str(folder / "dino"), "sam": str(folder / "sam")}


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8))


def test_a_box_becomes_a_mask_of_the_photos_size(models: dict[str, str], photo: Image.Image) -> None:
    segmenter = GroundedSam(models["grounding-dino"], models["sam"], threshold=0.0, text_threshold=0.0)
    first, again = segmenter(photo, "Mug"), segmenter(photo, "a mug.")
    for segment in (first, again):
        assert isinstance(segment, Segment)
        assert segment.mask is None or (segment.mask.shape == (40, 56) and segment.mask.dtype == np.bool_)
    box = segmenter._best_box(photo, "mug.")
    assert box is not None
    assert 0 <= box[0][0] < box[0][2] <= 56
    assert 0 <= box[0][1] < box[0][3] <= 40
    outline = segmenter._outline(photo, box[0])
    assert tuple(outline.shape) == (40, 56)
    assert outline.dtype == torch.bool


def test_same_photo_same_mask(models: dict[str, str], photo: Image.Image) -> None:
    answers = [
        GroundedSam(models["grounding-dino"], models["sam"], threshold=0.0)(photo, "mug") for _ in range(2)
    ]
    assert answers[0].score == answers[1].score
    assert np.array_equal(answers[0].mask, answers[1].mask)  # type: ignore[arg-type]


def test_nothing_found_is_an_answer(models: dict[str, str], photo: Image.Image) -> None:
    segment = GroundedSam(models["grounding-dino"], models["sam"], threshold=1.0)(photo, "mug")
    assert segment.mask is None
    assert segment.reason == "nothing_found"


def test_by_name_with_models_given(models: dict[str, str], photo: Image.Image) -> None:
    segmenters = SegmenterSet(models)
    segment = segmenters.segment(photo.convert("RGBA"), name="grounded-sam", class_name="red shoe")
    assert segment.mask is not None or segment.reason in ("nothing_found", "empty_mask")
    assert segmenters.segment(photo, name="grounded-sam", class_name=" ").reason == "no_class_name"


def test_missing_weights_say_so(photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="must be a folder or a hub id") as caught:
        GroundedSam(str(tmp_path / "missing"))(photo, "mug")
    assert "\n" not in str(caught.value)
    assert caught.value.code == "segmenter_missing"


def _save_detector(folder: Path) -> None:
    # The model knows [CLS], [SEP], "." and "?" by their ids in BERT's vocabulary.
    vocabulary = [f"[unused{index}]" for index in range(1100)]
    vocabulary[0] = "[PAD]"
    vocabulary[100:104] = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary[1012], vocabulary[1029] = ".", "?"
    vocabulary[1040 : 1040 + len(WORDS)] = WORDS
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(vocabulary)})
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            patch_size=4,
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 2, 2, 2],
            window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=1100,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
        ),
        d_model=32,
        num_queries=8,
        encoder_layers=1,
        encoder_ffn_dim=64,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=64,
        decoder_attention_heads=2,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    processor = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    processor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _save_sam(folder: Path) -> None:
    config = SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [1],
            "num_pos_feats": 16,
        },
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": 64,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
    )
    SamModel(config).save_pretrained(folder)
    processor = SamImageProcessorPil(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    processor.save_pretrained(folder)
