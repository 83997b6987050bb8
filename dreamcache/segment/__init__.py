"""Segmenters: which pixels of a photo are the subject.

    photo, class name, catalog mask? --SegmenterSet.segment--> Segment(mask | reason)

    none          the whole frame           alpha         the photo's own transparency
    file          the catalog's mask        grabcut       OpenCV, no weights, for packshots
    grounded-sam  Grounding DINO + SAM      lang-sam      optional package
    u2net         rembg's networks as ONNX files, on onnxruntime
    auto          file if given, else alpha if transparent, else u2net where it is installed, else grabcut

One file per model, and `simple` for those without. Importing this package imports neither torch nor OpenCV nor
transformers; creating a segmenter does, and weights are read at its first photo.
"""

from dreamcache.segment.factory import NAMES, SegmenterSet, create_segmenter
from dreamcache.segment.interface import REASONS, Segment, Segmenter

__all__ = ["NAMES", "REASONS", "Segment", "Segmenter", "SegmenterSet", "create_segmenter"]
