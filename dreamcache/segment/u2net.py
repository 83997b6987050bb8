"""Salient-object networks of rembg as ONNX files: U-2-Net, ISNet, BiRefNet, on onnxruntime (optional extra).

    photo -> square of the network's size, normalised -> network -> soft mask -> the photo's size -> at least half

Needs no class name: it finds what stands out. Knows onnxruntime; must not know where photos come from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.errors import ModelError
from dreamcache.core.images import on_white
from dreamcache.segment.interface import Segment
from dreamcache.segment.u2net_file import U2NetFile
from dreamcache.storage.models.onnx_file import OnnxFile, has_runtime, open_session

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MEAN_AND_STD = {"u2net": IMAGENET, "birefnet": IMAGENET, "isnet": ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))}
DEFAULT_SIZE = 320
LEAST, MOST = 0.005, 0.98
"""Shares of the frame that a subject covers."""


class U2NetSegmenter:
    """The object that stands out. Raises ModelError `segmenter_missing` without onnxruntime or for a broken file."""

    def __init__(self, file: U2NetFile) -> None:
        if not has_runtime():
            raise ModelError(
                "segmenter 'u2net': needs onnxruntime, which is not installed; install the extra dreamcache[u2net], or "
                "use another segmenter",
                code="segmenter_missing",
            )
        self.file = file
        self._session: Any = None

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        soft = self._soft_mask(on_white(image))
        full = Image.fromarray(soft).resize(image.size, Image.Resampling.BILINEAR)
        subject = np.asarray(full) >= 0.5
        share = float(subject.mean())
        if share < LEAST:
            return Segment.without_mask("too_little_left")
        if share > MOST:
            return Segment.without_mask("no_background")
        return Segment.of_mask(subject)

    def _soft_mask(self, picture: Image.Image) -> NDArray[np.float32]:
        """[s, s] in 0..1: the network's first output, stretched as rembg does."""
        session = self._open()
        source = session.get_inputs()[0]
        side = source.shape[-1] if isinstance(source.shape[-1], int) else DEFAULT_SIZE
        small = np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS), np.float32)
        mean, std = (np.array(values, np.float32) for values in MEAN_AND_STD[self.file.network])
        pixels = (small / max(float(small.max()), 1e-6) - mean) / std
        output = session.run(None, {source.name: pixels.transpose(2, 0, 1)[None].astype(np.float32)})[0]
        values = np.asarray(output, np.float32).reshape(output.shape[-2:])
        if self.file.network == "birefnet":
            values = np.float32(1) / (np.float32(1) + np.exp(-values))
        low, high = float(values.min()), float(values.max())
        stretched = (values - low) / (high - low) if high > low else np.zeros_like(values)
        return stretched.astype(np.float32)

    def _open(self) -> Any:
        if self._session is None:
            file = OnnxFile(path=self.file.path, sha256=self.file.identity)
            self._session = open_session(
                file, setting="segmenter 'u2net'", code="segmenter_missing", extra="u2net"
            )
        return self._session
