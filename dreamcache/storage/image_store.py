"""Images as files: encoding with their parameters inside, the hash of their pixels, and their key in a job.

Encoding is deterministic for one version of Pillow. Files that are read may be anyone's: whatever Pillow raises on one
is an ImageError. Knows numpy arrays and bytes, nothing of models.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from dreamcache.core.config import ImageFormat
from dreamcache.core.errors import ImageError
from dreamcache.storage.item_keys import image_key_of
from dreamcache.storage.open_store import open_store
from dreamcache.storage.store import ObjectInfo

Pixels = NDArray[np.uint8]

METADATA_KEY = "dreamcache"
PNG_XMP = "XML:com.adobe.xmp"
EXIF_IFD = 0x8769
USER_COMMENT = 0x9286
ASCII = b"ASCII\0\0\0"
EXIF_BYTES = 60_000  # an EXIF block ends at 64 KiB
FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 100_000_000
"""Of a stored image, 300 MB of RGB; checked in the header, before any pixel is decoded."""


def encode_image(
    rgb: Pixels, image_format: ImageFormat, metadata: Mapping[str, str], xmp: bytes | None = None
) -> bytes:
    """The file of an image, uint8 [height, width, 3], with `metadata` as JSON inside.

    PNG: text chunk `dreamcache`. JPEG and WebP: EXIF UserComment. Read it with `read_metadata`. xmp: a packet, where
    the format has its place for one; read it with `read_xmp`.
    ImageError when the pixels are not such an array, or the metadata do not fit the format.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ImageError(f"image must be uint8 [height, width, 3], got {rgb.dtype} {list(rgb.shape)}")
    image = Image.fromarray(np.ascontiguousarray(rgb))
    text = json.dumps(dict(metadata), sort_keys=True, ensure_ascii=True)
    out = io.BytesIO()
    if image_format.format == "png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text(METADATA_KEY, text)
        if xmp is not None:
            chunks.add_itxt(PNG_XMP, xmp.decode())
        image.save(out, "PNG", pnginfo=chunks)
        return out.getvalue()
    if len(text) > EXIF_BYTES:
        raise ImageError(
            f"metadata of a {image_format.format} must be under {EXIF_BYTES} bytes, got {len(text)}; "
            "use png, or a shorter prompt"
        )
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = ASCII + text.encode("ascii")
    tags = {"exif": exif.tobytes(), **({} if xmp is None else {"xmp": xmp})}
    if image_format.format == "jpeg":
        # Full colour resolution: halved, it smears coloured print on packages.
        image.save(out, "JPEG", quality=image_format.quality, subsampling="4:4:4", **tags)
    else:
        image.save(out, "WEBP", quality=image_format.quality, method=4, **tags)
    return out.getvalue()


def decode_image(data: bytes) -> Pixels:
    """Pixels of an image file, uint8 [height, width, 3]. ImageError when it is none, or has more than MOST_PIXELS."""
    with _opened(data) as image:
        return np.asarray(image.convert("RGB"))


def read_metadata(data: bytes) -> dict[str, str]:
    """What `encode_image` put in; empty for files of others. ImageError when it is no image."""
    with _opened(data) as image:
        text = image.info.get(METADATA_KEY)
        if text is None:
            comment = image.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT)
            text = comment.removeprefix(ASCII) if isinstance(comment, bytes) else b""
    try:
        values = json.loads(text if isinstance(text, str) else text.decode("ascii", errors="replace"))
    except (ValueError, RecursionError):  # RecursionError: brackets in brackets, thousands of them
        return {}
    return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}


def read_xmp(data: bytes) -> bytes | None:
    """The XMP packet of a file of ours, None when it has none. ImageError when it is no image."""
    with _opened(data) as image:
        packet = image.info.get(PNG_XMP) or image.info.get("xmp")
    if isinstance(packet, str):
        return packet.encode(errors="replace")
    return packet if isinstance(packet, bytes) else None


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """The file's header; whatever is raised while it is read further is an ImageError too, but for lack of memory."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ImageError(
                    f"image file: must have at most {MOST_PIXELS:,} pixels, has {image.width}x{image.height}",
                    code="too_large",
                )
            yield image
    except (MemoryError, ImageError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"image file: must have at most {MOST_PIXELS:,} pixels, has more", code="too_large"
        ) from error
    except Exception as error:  # Pillow's readers raise nearly anything on hostile files.
        # Pillow's text for an unreadable header holds a memory address, which would differ on every run.
        why = "unreadable header" if isinstance(error, UnidentifiedImageError) else str(error)[:200]
        raise ImageError(
            f"image file: must decode as {', '.join(FORMATS)}, got {why or type(error).__name__}",
            code="damaged_image",
        ) from error


def pixel_sha256(rgb: Pixels) -> str:
    """sha256 of height, width and pixels; survives another encoder of the same pixels."""
    height, width = rgb.shape[:2]
    digest = hashlib.sha256(f"rgb8 {height}x{width}\n".encode())
    digest.update(np.ascontiguousarray(rgb).tobytes())
    return digest.hexdigest()


def stored_pixel_sha256(data: bytes) -> str:
    """`pixel_sha256` of what a reader of this file sees; jpeg and webp change the pixels."""
    return pixel_sha256(decode_image(data))


def image_key(item_id: str, image_format: ImageFormat) -> str:
    """Where an item's image lies, relative to the job's output: a pure function of the item."""
    return image_key_of(item_id, image_format.extension)


class ImageStore:
    """The images of one job. Stateless and picklable. StorageError when the location cannot be used."""

    def __init__(self, output_uri: str, image_format: ImageFormat) -> None:
        self.image_format = image_format
        self._store = open_store(output_uri)

    def key_of(self, item_id: str) -> str:
        return image_key(item_id, self.image_format)

    def commit(self, item_id: str, data: bytes) -> bool:
        """Store the item's image once. False when one is committed already: read that one, and keep it."""
        return self._store.create(self.key_of(item_id), data)

    def read(self, key: str) -> bytes:
        """The file under a key relative to the output; FileNotFoundError when there is none."""
        return self._store.read(key)

    def stat(self, key: str) -> ObjectInfo | None:
        return self._store.stat(key)
