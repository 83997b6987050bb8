"""Grounding DINO finds the box of the class name, SAM its outline; both from transformers.

Knows the two models' interfaces; must not know where photos come from. Weights are read at the first photo,
as safetensors only. Source: paper Supp S1 step 4 (masks by detector and SAM on the object's name).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoModelForZeroShotObjectDetection,
    AutoTokenizer,
    GroundingDinoProcessor,
    SamModel,
    SamProcessor,
)

from dreamcache.core.errors import ModelError
from dreamcache.segment.interface import Segment

DETECTOR = "IDEA-Research/grounding-dino-base@12bdfa3120f3e7ec7b434d90674b3396eccf88eb"
SAM = "facebook/sam-vit-huge@87aecf0df4ce6b30cd7de76e87673c49644bdf67"


class GroundedSam:
    """The best-scored box of the class, outlined.

    detector, sam: local folder, or `hub-id@revision`.
    threshold: least score of a box; text_threshold: least score of a word of the class name within it.
    """

    def __init__(
        self,
        detector: str = DETECTOR,
        sam: str = SAM,
        device: str = "cpu",
        *,
        threshold: float = 0.3,
        text_threshold: float = 0.25,
    ) -> None:
        self._detector_source = detector
        self._sam_source = sam
        self._device = device
        self._threshold = threshold
        self._text_threshold = text_threshold
        self._loaded: tuple[Any, Any, Any, Any] | None = None

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        # The detector was trained on phrases in lower case with a closing dot.
        word = class_name.strip().lower().rstrip(".")
        if not word:
            return Segment.without_mask("no_class_name")
        picture = image.convert("RGB")
        best = self._best_box(picture, f"{word}.")
        if best is None:
            return Segment.without_mask("nothing_found")
        box, score = best
        outline = self._outline(picture, box)
        return Segment.of_mask(outline.cpu().numpy(), score)

    def _best_box(self, image: Image.Image, text: str) -> tuple[list[float], float] | None:
        """Corners x0, y0, x1, y1 in pixels within the frame, and the score; None if nothing passes."""
        processor, detector, _, _ = self._load()
        inputs = processor(images=image, text=text, return_tensors="pt").to(self._device)
        with torch.no_grad():
            outputs = detector(**inputs)
        result = processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=self._threshold,
            text_threshold=self._text_threshold,
            target_sizes=[(image.height, image.width)],
        )[0]
        if len(result["scores"]) == 0:
            return None
        best = int(result["scores"].argmax())
        edges = torch.tensor([image.width, image.height, image.width, image.height], dtype=torch.float32)
        box = result["boxes"][best].float().cpu().clamp(min=0).minimum(edges)
        if bool((box[2:] - box[:2] < 1).any()):
            return None
        return box.tolist(), float(result["scores"][best])

    def _outline(self, image: Image.Image, box: list[float]) -> Tensor:
        """[H, W] bool: of SAM's three masks the one with the highest predicted IoU."""
        _, _, processor, sam = self._load()
        inputs = processor(image, input_boxes=[[box]], return_tensors="pt")
        sizes, shapes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
        # Boxes come as float64, which some devices lack.
        inputs = {name: value.to(self._device, torch.float32) for name, value in inputs.items()}
        with torch.no_grad():
            outputs = sam(**inputs)
        masks: Tensor = processor.post_process_masks(outputs.pred_masks.cpu(), sizes, shapes)[0]
        return masks[0, int(outputs.iou_scores[0, 0].argmax())]

    def _load(self) -> tuple[Any, Any, Any, Any]:
        if self._loaded is None:
            detector, revision = _split(self._detector_source)
            processor = _read(lambda: _detector_processor(detector, revision), self._detector_source)
            network = _read(
                lambda: AutoModelForZeroShotObjectDetection.from_pretrained(
                    detector, revision=revision, use_safetensors=True, dtype=torch.float32
                ),
                self._detector_source,
            )
            sam, revision = _split(self._sam_source)
            sam_processor = _read(lambda: SamProcessor(_pil_processor(sam, revision)), self._sam_source)
            sam_network = _read(
                lambda: SamModel.from_pretrained(
                    sam, revision=revision, use_safetensors=True, dtype=torch.float32
                ),
                self._sam_source,
            )
            self._loaded = (
                processor,
                network.to(self._device).eval(),
                sam_processor,
                sam_network.to(self._device).eval(),
            )
        return self._loaded


def _detector_processor(source: str, revision: str | None) -> GroundingDinoProcessor:
    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    return GroundingDinoProcessor(_pil_processor(source, revision), tokenizer)


def _pil_processor(source: str, revision: str | None) -> Any:
    # Named, because transformers would use torchvision where it is installed: masks would differ by machine.
    return AutoImageProcessor.from_pretrained(source, revision=revision, backend="pil")


def _split(source: str) -> tuple[str, str | None]:
    """Folder or hub id, and the revision behind "@"; a "@" in a folder's name is part of the name."""
    name, at, revision = source.rpartition("@")
    return (name, revision) if at and not Path(source).exists() else (source, None)


def _read(load: Callable[[], Any], source: str) -> Any:
    try:
        return load()
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"segmenter 'grounded-sam': model '{source}' must be a folder or a hub id with safetensors, "
            f"got {reason}; fetch it first, or use segmenter grabcut or a mask column",
            code="segmenter_missing",
        ) from error
