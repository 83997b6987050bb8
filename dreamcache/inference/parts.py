"""What a pipeline consists of: base, adapter and reference U-Net; loaded, saved, moved and described together.

Knows folders and devices; knows nothing of prompts, images or guidance (see `pipeline`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel

from dreamcache.core.config import CompileMode, Offload, Quantize
from dreamcache.core.errors import ModelError
from dreamcache.inference.encode import Encoder
from dreamcache.inference.layouts import STABLE_DIFFUSION, BaseLayout
from dreamcache.inference.placement import base_lock, parse_placement
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import load_adapter, save_adapter
from dreamcache.model.compiled import CompiledHalves
from dreamcache.model.projections import ProjectionCache
from dreamcache.model.reference_unet import load_reference_unet, own_weights
from dreamcache.storage.models.adapter import AdapterInfo, describe_adapter
from dreamcache.storage.models.base import BaseInfo
from dreamcache.storage.models.loras import with_loras
from dreamcache.storage.models.quantized import with_quantize


class PipelineParts:
    """A frozen base and an adapter. `base` is the diffusers pipeline, usable as it is."""

    def __init__(
        self,
        base: StableDiffusionPipeline | StableDiffusionXLPipeline,
        info: BaseInfo,
        adapter: DreamCacheAdapter | None,
        adapter_info: AdapterInfo | None = None,
        reader: UNet2DConditionModel | None = None,
        layout: BaseLayout = STABLE_DIFFUSION,
    ) -> None:
        """reader: the U-Net that reads references, if not the base's (see `model.reference_unet`). layout: the base's.

        Raises ModelError for a base of another layout.
        """
        layout.check(base)
        self.layout = layout
        self.base = base
        self.info = info
        self.adapter_info = adapter_info
        self.reader = reader if reader is not None else base.unet
        self.adapter = adapter.to(base.unet.device, base.unet.dtype).eval() if adapter is not None else None
        self.halves: CompiledHalves | None = None
        self._compiled: tuple[CompileMode, dict[str, Any]] = ("off", {})
        self._forget()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        adapter: str | Path | None = None,
        revision: str | None = None,
        loras: Sequence[tuple[str, float]] = (),
        allow_other_base: bool = False,
        quantize: Quantize = "none",
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> Self:
        """Loads `mini`, a diffusers folder or a hub id with a revision, and its adapter (path or s3:// URI).

        adapter: None takes the one in the model's own folder, as `mini` and what `save_pretrained` wrote have it.
        loras: (path or s3:// URI, weight) of each; fused into the base, and part of its identity. allow_other_base:
        takes an adapter that was trained on another base. quantize: the U-Net's linear layers in "int8" or "nf4".
        Raises ModelError when the model cannot be loaded or the adapter was trained on another base.

        >>> DreamCachePipeline.from_pretrained("mini", dtype=torch.bfloat16).dtype
        torch.bfloat16
        """
        from dreamcache.inference.families.open import layout_of  # families open this pipeline

        where, _ = parse_placement((), {"device": device})
        layout = layout_of(str(name), revision)
        described = layout.describe(str(name), revision)
        info = with_loras(described, [(str(path), weight) for path, weight in loras])
        info = replace(with_quantize(info, quantize), allow_other_base=allow_other_base)
        adapter_info = describe_adapter(None if adapter is None else str(adapter), info)
        base = layout.load(info, dtype=dtype, device=str(where))
        loaded = load_adapter(adapter_info, base.unet)
        pipe = cls(base, info, loaded, adapter_info, load_reference_unet(adapter_info, base.unet), layout)
        pipe.set_progress_bar_config()
        return pipe

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes base and adapter as they are now to a local folder that `from_pretrained` loads.

        The folder is a base of its own: its files are new, so features encoded with this pipeline are refused there.
        Raises ModelError for a URI.

        >>> pipe.save_pretrained(folder)
        >>> DreamCachePipeline.from_pretrained(folder).places == pipe.places
        True
        """
        if "://" in str(folder):
            raise ModelError(
                f"save_pretrained: must be a local folder, got '{folder}'; copy it there afterwards"
            )
        if self.info.quantize != "none":
            raise ModelError(
                f"save_pretrained: the base has {self.info.quantize} weights, which are no base for others; save it "
                "from a pipeline without quantize"
            )
        self.base.save_pretrained(folder, safe_serialization=True)
        if self.adapter is None:
            return
        known = self.adapter_info
        own_reader = None if self.reader is self.base.unet else own_weights(self.reader, self.places)
        save_adapter(
            self.adapter,
            str(Path(folder) / "adapter"),
            base=self.layout.describe(str(folder), None),
            step=known.step if known else 0,
            dtype=next(self.adapter.parameters()).dtype,
            training={"reference": dict(known.trained_reference)} if known else None,
            reference_unet=own_reader,
            recommended=self.recommended,
        )

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Moves base, adapter and reference U-Net to a device, a dtype or both, and returns itself.

        Takes what diffusers' pipelines take: `to("cuda")`, `to(torch.float16)`, `to("cuda", torch.float16)`, or
        `device=` and `dtype=`. Raises InputError for anything else.

        >>> pipe.to("cpu", torch.float32).device
        device(type='cpu')
        """
        device, dtype = parse_placement(args, kwargs)
        where = {name: value for name, value in (("device", device), ("dtype", dtype)) if value is not None}
        with base_lock(self.base.unet):
            self.layout.move(self.base, device, dtype)
            modules: tuple[Any, ...] = (self.adapter, self.reader)
            for module in modules:
                if module is not None:
                    module.to(**where)
            self._forget()
        return self

    @property
    def device(self) -> torch.device:
        """Where passes run; with `enable_model_cpu_offload` the GPU."""
        device: torch.device = self.base._execution_device
        return device

    @property
    def decodes_apart(self) -> bool:
        """Whether `decode` may run beside another thread's call: not where models are moved for each pass."""
        return getattr(self.base.vae, "_hf_hook", None) is None and self.base.vae.device == self.device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.base.unet.dtype
        return dtype

    @property
    def components(self) -> dict[str, Any]:
        """The base's components and the adapter, by name; `reference_unet` where references have one of their own.

        >>> sorted(set(pipe.components) - set(pipe.base.components))
        ['adapter']
        """
        own = {"reference_unet": self.reader} if self.reader is not self.base.unet else {}
        return {**self.base.components, "adapter": self.adapter, **own}

    @property
    def scheduler(self) -> Any:
        """The base's scheduler, which a call without `scheduler` copies."""
        return self.base.scheduler

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: str | torch.device | None = None
    ) -> None:
        """Keeps the base's models in the machine's memory and each on the GPU for its own passes only.

        The adapter, small beside them, stays on the GPU. Raises ModelError on a machine without a GPU.

        >>> pipe.enable_model_cpu_offload()  # doctest: +SKIP
        """
        self._offload("model", gpu_id, device)

    def enable_sequential_cpu_offload(
        self, gpu_id: int | None = None, device: str | torch.device | None = None
    ) -> None:
        """Keeps the base's weights in the machine's memory and each layer's on the GPU for its own pass only.

        Takes the least memory and is the slowest. Raises ModelError on a machine without a GPU.

        >>> pipe.enable_sequential_cpu_offload()  # doctest: +SKIP
        """
        self._offload("sequential", gpu_id, device)

    def offload(self, mode: Offload, device: str) -> None:
        """One of the two, by the name that `model.offload` has; "none" does nothing."""
        if mode != "none":
            self._offload(mode, None, device)

    def _offload(self, mode: str, gpu_id: int | None, device: str | torch.device | None) -> None:
        name = f"enable_{mode}_cpu_offload"
        if not torch.cuda.is_available():
            raise ModelError(f"{name}: needs a GPU, and torch finds none here; leave the call out")
        with base_lock(self.base.unet):
            getattr(self.base, name)(gpu_id, device)
            if self.adapter is not None:
                self.adapter.to(self.device)
            self._forget()

    def compile(self, mode: CompileMode = "default", **options: object) -> None:
        """Compiles the U-Net's halves at their next use, once a shape; "off" takes it back. options: of torch.compile.

        >>> pipe.compile("off")
        """
        with base_lock(self.base.unet):
            if self.halves is not None:
                self.halves.remove()
            self._compiled = (mode, options)
            compiles = mode != "off"
            self.halves = CompiledHalves(self.base.unet, self.adapter, mode, **options) if compiles else None

    def set_progress_bar_config(self, **options: Any) -> None:
        """Options of tqdm for the bar over steps, as in diffusers. On in `from_pretrained`, off in jobs.

        >>> pipe.set_progress_bar_config(disable=True)
        """
        self.base.set_progress_bar_config(**options)

    @property
    def places(self) -> tuple[str, ...]:
        """Whose features a subject must have: the adapter's own places, or the middle block's alone."""
        return self.adapter.feature_places if self.adapter is not None else ()

    @property
    def recommended(self) -> Mapping[str, float]:
        """Scales that the adapter's config.json recommends: the defaults of a call that sets none.

        >>> pipe.recommended
        {'text_scale': 3.0, 'image_scale': 3.5}
        """
        return dict(self.adapter_info.recommended) if self.adapter_info is not None else {}

    @property
    def reader_name(self) -> str:
        """`EncodeSettings.reader` of features that this pipeline computes and takes."""
        if self.reader is self.base.unet:
            return ""
        return self.adapter_info.reference_unet if self.adapter_info is not None else "unsaved"

    @property
    def vae_scale(self) -> int:
        """Pixels of an image's side for one of its latent's."""
        return int(self.base.vae_scale_factor)

    @property
    def text_width(self) -> int:
        return int(self.base.unet.config.cross_attention_dim)

    @property
    def num_tokens(self) -> int:
        """Of an embedded prompt, whatever its length."""
        return int(self.base.tokenizer.model_max_length)

    def _forget(self) -> None:
        """Drops what was computed for another device or dtype."""
        self.prompts = self.layout.prompts(self.base)
        self.projections = ProjectionCache(self.adapter) if self.adapter is not None else None
        self._encoders: dict[str, Encoder] = {}
        mode, options = self._compiled
        if mode != "off":
            self.compile(mode, **options)
