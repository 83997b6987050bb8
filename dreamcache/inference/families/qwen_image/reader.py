"""The processor of Qwen-Image 2.1 for photos and text: the real class, opened without torchvision.

`Qwen3VLProcessor` demands a video processor, which needs torchvision. No video is ever read here, so this subclass
takes none, and photos are prepared by the real image processor in its Pillow form.
"""

from __future__ import annotations

from pathlib import Path

from transformers import Qwen2TokenizerFast, Qwen3VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from dreamcache.core.errors import ModelError
from dreamcache.storage.models.files import read_json, regular_file


class QwenReader(Qwen3VLProcessor):  # type: ignore[misc]
    """Reads photos and text. `video_processor` is None."""

    def check_argument_for_proper_class(self, argument_name: str, argument: object) -> object:
        """All but the missing video processor is checked as usual."""
        if argument_name == "video_processor" and argument is None:
            return None
        return super().check_argument_for_proper_class(argument_name, argument)


def open_reader(folder: str) -> QwenReader:
    """From the folder `processor` of a model. Raises ModelError for a tokenizer without a chat template."""
    place = Path(folder) / "processor"
    words = Qwen2TokenizerFast.from_pretrained(place)
    photos = Qwen2VLImageProcessorPil.from_pretrained(place)
    template = words.chat_template
    if template is None and (path := regular_file(place, "chat_template.json")) is not None:
        template = read_json(path).get("chat_template")
    if not isinstance(template, str):
        raise ModelError(f"{place}: must hold a chat template, there is none; copy the folder again")
    return QwenReader(image_processor=photos, tokenizer=words, video_processor=None, chat_template=template)
