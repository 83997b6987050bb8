"""IP-Adapter through diffusers' own loader and U-Net: CLIP's view of the photo joins the text in cross-attention.

Each image of a batch has its own photo; noise is the item's own, as elsewhere. Of the generation settings,
text_scale is the guidance scale and image_scale the adapter's scale (0 to 1); guidance and strength have no meaning.
Knows StableDiffusionPipeline; knows nothing of jobs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import ImageProjection
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from dreamcache.artifacts import AdapterInfo, BaseInfo
from dreamcache.errors import ModelError
from dreamcache.methods.info import IMAGE_ENCODER, IpAdapterPlace, ip_adapter_place
from dreamcache.methods.noise import unit_noise
from dreamcache.methods.photo import Photo
from dreamcache.model.base import load_base
from dreamcache.model.guidance import guide
from dreamcache.model.sampler import make_scheduler, sample
from dreamcache.model.text import PromptEncoder
from dreamcache.pipeline import PipelineOutput


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
        place = ip_adapter_place(adapter)
        folder = _local(place)
        try:
            encoder = CLIPVisionModelWithProjection.from_pretrained(
                folder / IMAGE_ENCODER, use_safetensors=True, dtype=dtype
            )
            self.base.register_modules(image_encoder=encoder.eval().requires_grad_(False).to(device))
            self.base.load_ip_adapter(
                str(folder), subfolder="", weight_name=place.file, image_encoder_folder=None
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
        self, image: Image.Image, mask: Image.Image | None = None, *, class_name: str = "", **settings: Any
    ) -> Tensor:
        """[2, 1, width] or [2, 1, tokens, width]: no image, and the photo, as the adapter's kind wants them."""
        layer = self.base.unet.encoder_hid_proj.image_projection_layers[0]
        picture = Photo.of(image, class_name).image
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
        text_scale: float = 7.5,
        image_scale: float = 1.0,
        num_inference_steps: int = 50,
        scheduler: str | None = None,
        height: int | None = None,
        width: int | None = None,
        output_type: str = "pil",
        **unused: Any,
    ) -> PipelineOutput:
        """One image per prompt, each with its own subject and generator."""
        base, size = self.base, self.info.native_size
        base.set_ip_adapter_scale(float(image_scale))
        shape = (len(prompt), 4, *((side or size) // base.vae_scale_factor for side in (height, width)))
        noise = unit_noise(shape, generator).to(base.unet.device, base.unet.dtype)
        text = torch.cat([self.prompts([negative_prompt] * len(prompt)), self.prompts(list(prompt))])
        # StableDiffusionPipeline repeats what it is given for every prompt of the batch, so that each image would
        # read the photos of all; called here, the U-Net gets each row's own. First all "no image", then all photos.
        halves = torch.stack(list(subject), dim=1).flatten(0, 1)

        def model(x: Tensor, timestep: Tensor) -> Tensor:
            predictions = base.unet(
                torch.cat([x, x]), timestep, text, added_cond_kwargs={"image_embeds": [halves]}
            ).sample
            return guide("text", list(predictions.chunk(2)), 0.0, text_scale)

        config = base.scheduler.config
        latents = sample(
            model,
            make_scheduler(scheduler, config) if scheduler else copy.deepcopy(base.scheduler),
            noise,
            num_inference_steps=num_inference_steps,
            generator=list(generator),
        )
        return PipelineOutput(images=decode(base, latents, output_type))


def decode(pipe: Any, latents: Tensor, output_type: str) -> Any:
    """Latents as images; the safety checker, if there is one, is the caller's to run, as with DreamCachePipeline."""
    pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
    return pipe.image_processor.postprocess(pixels, output_type=output_type)


def _local(place: IpAdapterPlace) -> Path:
    """The folder that holds weights and image encoder, fetched first where it is on the hub."""
    if place.revision is None:
        return Path(place.source)
    from huggingface_hub import snapshot_download

    prefix = f"{place.folder}/" if place.folder else ""
    wanted = [
        f"{prefix}{place.file}",
        f"{prefix}{IMAGE_ENCODER}/*.json",
        f"{prefix}{IMAGE_ENCODER}/*.safetensors",
    ]
    try:
        folder = snapshot_download(place.source, revision=place.revision, allow_patterns=wanted)
    except Exception as error:  # the hub client raises a dozen unrelated types for 'cannot get it'
        raise ModelError(
            f"method 'ip-adapter': '{place.source}' at '{place.revision}' cannot be read from the hub "
            f"({type(error).__name__}); check the name and the network, or give a file"
        ) from error
    return Path(folder) / place.folder
