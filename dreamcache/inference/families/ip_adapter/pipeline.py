"""IP-Adapter through diffusers' own loader and U-Net: CLIP's view of the photo joins the text in cross-attention.

Each image of a batch has its own photo; noise is the item's own, as elsewhere. Of the generation settings,
text_scale is the guidance scale and image_scale the adapter's scale (0 to 1); guidance and strength have no meaning.
Knows StableDiffusionPipeline; knows nothing of jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import torch
from diffusers.models.embeddings import ImageProjection
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import ModelError
from dreamcache.core.images import on_white
from dreamcache.inference.families.ip_adapter.describe import IMAGE_ENCODER, IpAdapterFiles, ip_adapter_files
from dreamcache.inference.families.sampling import generate_batch
from dreamcache.inference.pipeline import PipelineOutput
from dreamcache.inference.protocols import SamplingSettings
from dreamcache.model.base import load_base
from dreamcache.model.text import PromptEncoder
from dreamcache.storage.models.adapter import AdapterInfo
from dreamcache.storage.models.base import BaseInfo


class IpAdapter:
    """A Stable Diffusion base with an IP-Adapter. A subject is CLIP's embedding of its photo, [2, 1, ...]."""

    def __init__(
        self,
        info: BaseInfo,
        adapter_info: AdapterInfo,
        adapter: str | None,
        *,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.info, self.adapter_info = info, adapter_info
        self.base = load_base(info, dtype=dtype, device=device)
        files = ip_adapter_files(adapter)
        folder = _local(files)
        try:
            encoder = CLIPVisionModelWithProjection.from_pretrained(
                folder / IMAGE_ENCODER, use_safetensors=True, dtype=dtype
            )
            self.base.register_modules(image_encoder=encoder.eval().requires_grad_(False).to(device))
            self.base.load_ip_adapter(
                str(folder), subfolder="", weight_name=files.file, image_encoder_folder=None
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"method 'ip-adapter': '{adapter}' does not fit model '{info.name}': "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
        self.base.unet.to(device, dtype).requires_grad_(False).eval()
        self.prompts = PromptEncoder(self.base.tokenizer, self.base.text_encoder)

    @torch.no_grad()
    def encode_reference(
        self,
        image: Image.Image,
        mask: Image.Image | None = None,
        *,
        class_name: str = "",
        settings: EncodeSettings | None = None,
    ) -> Tensor:
        """[2, 1, width] or [2, 1, tokens, width]: no image, and the photo, as the adapter's kind wants them."""
        layer = self.base.unet.encoder_hid_proj.image_projection_layers[0]
        picture = on_white(image)
        seen, none = self.base.encode_image(
            picture, self.base.device, 1, output_hidden_states=not isinstance(layer, ImageProjection)
        )
        return torch.stack([none, seen])

    @torch.no_grad()
    def __call__(
        self,
        prompt: Sequence[str],
        subject: Sequence[Tensor],
        *,
        generator: Sequence[torch.Generator],
        negative_prompt: str = "",
        **settings: Unpack[SamplingSettings],
    ) -> PipelineOutput:
        """One image per prompt, each with its own subject and generator. settings: see `sampling.generate_batch`."""
        self.base.set_ip_adapter_scale(float(settings.get("image_scale", 1.0)))
        text = torch.cat([self.prompts([negative_prompt] * len(prompt)), self.prompts(list(prompt))])
        # StableDiffusionPipeline repeats what it is given for every prompt of the batch, so that each image would
        # read the photos of all; called here, the U-Net gets each row's own. First all "no image", then all photos.
        seen = {"image_embeds": [torch.stack(list(subject), dim=1).flatten(0, 1)]}

        def predict(x: Tensor, timestep: Tensor) -> Tensor:
            prediction: Tensor = self.base.unet(x, timestep, text, added_cond_kwargs=seen).sample
            return prediction

        return generate_batch(
            self.base, predict, generator, native_size=self.info.native_size, settings=settings
        )


def _local(files: IpAdapterFiles) -> Path:
    """The folder that holds weights and image encoder, fetched first where it is on the hub."""
    if files.revision is None:
        return Path(files.source)
    from huggingface_hub import snapshot_download

    prefix = f"{files.folder}/" if files.folder else ""
    wanted = [
        f"{prefix}{files.file}",
        f"{prefix}{IMAGE_ENCODER}/*.json",
        f"{prefix}{IMAGE_ENCODER}/*.safetensors",
    ]
    try:
        folder = snapshot_download(files.source, revision=files.revision, allow_patterns=wanted)
    except Exception as error:  # the hub client raises a dozen unrelated types for 'cannot get it'
        raise ModelError(
            f"method 'ip-adapter': '{files.source}' at '{files.revision}' cannot be read from the hub "
            f"({type(error).__name__}); check the name and the network, or give a file"
        ) from error
    return Path(folder) / files.folder
