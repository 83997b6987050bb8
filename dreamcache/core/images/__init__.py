"""Catalog photos and masks: from bytes of unknown quality to upright 8-bit pictures, or to one clear error.

    bytes --formats--> format --strip--> image data, orientation, profile --Pillow--> pixels --pixels--> RGB | RGBA

Knows Pillow and numpy; must not know torch, catalogs, storage or segmenters. The file's name is never looked
at: the content decides the format. Every refusal is an ImageError, so that only its subject is lost.
"""

from dreamcache.core.images.decode import decode_image, decode_small
from dreamcache.core.images.formats import ALLOWED_FORMATS, PILLOW_FORMATS
from dreamcache.core.images.masks import bounding_box, decode_mask
from dreamcache.core.images.pixels import WHITE, blue_first, normalize, on_white

__all__ = [
    "ALLOWED_FORMATS",
    "PILLOW_FORMATS",
    "WHITE",
    "blue_first",
    "bounding_box",
    "decode_image",
    "decode_mask",
    "decode_small",
    "normalize",
    "on_white",
]
