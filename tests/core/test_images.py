"""Photos of every kind a catalog brings: handled, or refused in one clear line. Files are made on the fly."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from dreamcache.core.config import ImageLimits
from dreamcache.core.errors import ImageError
from dreamcache.core.images import decode_image, decode_mask, formats

LIMITS = ImageLimits()
WHERE = "catalog.csv row 17: image 'img/17.png'"


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int = 64, height: int = 48, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def decode(data: bytes, limits: ImageLimits = LIMITS) -> Image.Image:
    return decode_image(data, where=WHERE, limits=limits)


def refusal(data: bytes, limits: ImageLimits = LIMITS) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, limits)
    message = str(caught.value)
    assert " at 0x" not in message
    assert message.startswith(f"{WHERE}: ")
    assert "\n" not in message
    assert "; " in message
    assert "got" in message
    return caught.value


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = decode(saved(Image.fromarray(noise()), kind, **options))
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), noise())


def test_the_name_does_not_matter_the_content_does() -> None:
    assert decode(saved(Image.fromarray(noise()), "JPEG")).size == (64, 48)


def test_zero_bytes() -> None:
    assert refusal(b"").code == "empty_file"


@pytest.mark.parametrize(
    ("data", "code", "got"),
    [
        (b"This is not a picture.\n" * 40, "not_an_image", "got text"),
        ("Größe: 3 €\n".encode() * 400, "not_an_image", "got text"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image", "got html"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "unsupported_format", "got svg"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "not_an_image", "got pdf"),
        (bytes(range(128, 256)) * 8, "not_an_image", "got unknown data"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, code: str, got: str) -> None:
    error = refusal(data)
    assert error.code == code
    assert got in str(error)
    assert "png, jpeg, webp" in str(error)
    assert "export it as PNG or JPEG" in str(error)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_truncated(kind: str, share: float) -> None:
    data = saved(Image.fromarray(noise()), kind)
    assert refusal(data[: int(len(data) * share)]).code == "truncated_image"


def test_damaged_inside() -> None:
    data = bytearray(saved(Image.fromarray(noise()), "PNG"))
    data[200] ^= 0xFF
    assert refusal(bytes(data)).code == "damaged_image"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_sizes_are_refused_before_any_pixel_is_decoded() -> None:
    assert refusal(saved(Image.new("RGB", (1, 1)), "PNG")).code == "too_small"
    assert refusal(saved(Image.new("RGB", (100, 4)), "PNG")).code == "too_small", "the shorter side counts"
    error = refusal(png_header(20_000, 20_000))
    assert error.code == "too_large"
    assert "50,000,000" in str(error)
    error = refusal(png_header(8_000, 8_000))
    assert error.code == "too_large"
    assert "8000x8000" in str(error)
    assert refusal(png_header(12_000, 12_000), ImageLimits(max_pixels=100_000_000)).code == "too_large"
    assert refusal(saved(Image.fromarray(noise()), "BMP"), ImageLimits(max_bytes=1000)).code == "too_large"


def test_the_header_is_believed_no_further_than_the_data() -> None:
    assert refusal(png_header(100, 100)).code in ("truncated_image", "damaged_image")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = Image.new("RGB", (40, 24), "white")
    upright.paste((255, 0, 0), (0, 0, 20, 12))
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(saved(stored, "JPEG", exif=exif, quality=95))
    assert picture.size == (40, 24)
    assert np.abs(np.asarray(picture).astype(int) - np.asarray(upright)).mean() < 4


def test_cmyk_jpeg() -> None:
    colours = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    red, green, blue = np.asarray(decode(saved(colours, "JPEG", quality=95))).reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (16, 1))
    picture = decode(saved(Image.fromarray(ramp), kind))
    expected = np.tile(np.arange(256), (16, 1))
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture)[:, :, 1].astype(int) - expected).max() <= 1


def test_float_and_32_bit_tiff() -> None:
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (16, 1))
    expected = np.tile(np.arange(256), (16, 1))
    for values in (ramp, ramp * 1e6, (ramp * 2e9).astype(np.int32)):
        picture = decode(saved(Image.fromarray(values), "TIFF"))
        assert np.abs(np.asarray(picture)[:, :, 0].astype(int) - expected).max() <= 1


def test_palette_with_and_without_transparency() -> None:
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.paste(0, (0, 0, 10, 20))
    plain = decode(saved(palette, "PNG"))
    assert plain.mode == "RGB"
    assert plain.getpixel((2, 2)) == (255, 0, 0)
    assert plain.getpixel((15, 2)) == (0, 255, 0)
    for kind in ("PNG", "GIF"):
        clear = decode(saved(palette, kind, transparency=0))
        assert clear.mode == "RGBA"
        assert clear.getchannel("A").getextrema() == (0, 255)


def test_animations_give_their_first_frame() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decode(data).convert("RGB").getpixel((5, 5)) == (255, 0, 0), kind


def test_grey_with_alpha_one_bit_and_opaque_alpha() -> None:
    both = Image.merge("LA", [Image.new("L", (20, 20), 100), Image.linear_gradient("L").resize((20, 20))])
    assert decode(saved(both, "PNG")).mode == "RGBA"
    assert decode(saved(Image.new("1", (20, 20), 1), "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert decode(saved(Image.fromarray(noise()).convert("RGBA"), "PNG")).mode == "RGB"


def test_colour_profiles() -> None:
    photo = Image.fromarray(noise())
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(np.asarray(decode(saved(photo, "PNG", icc_profile=own))), noise())
    assert np.array_equal(np.asarray(decode(saved(photo, "PNG", icc_profile=b"rubbish"))), noise())
    assert decode(saved(photo.convert("L"), "PNG", icc_profile=own)).mode == "RGB"
    other = bytearray(own)
    swap = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}
    for entry in range(128 + 4, 128 + 4 + 12 * int.from_bytes(own[128:132], "big"), 12):
        other[entry : entry + 4] = swap.get(own[entry : entry + 4], own[entry : entry + 4])
    foreign = bytes(other).replace("sRGB".encode("utf-16-be"), "xyzw".encode("utf-16-be"))
    red = decode(saved(Image.new("RGB", (16, 16), (255, 0, 0)), "PNG", icc_profile=foreign)).getpixel((3, 3))
    assert isinstance(red, tuple)
    assert red[2] > 200
    assert red[0] < 100


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_lose_the_photo() -> None:
    data = saved(Image.fromarray(noise()), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(data).size == (64, 48)


def mask_of(image: Image.Image, kind: str = "PNG") -> np.ndarray:
    mask = decode_mask(saved(image, kind), where=WHERE, limits=LIMITS, size=(40, 30))
    assert mask.mode == "L"
    return np.asarray(mask)


def test_masks_of_many_makes_mean_the_same() -> None:
    truth = np.zeros((30, 40), dtype=np.uint8)
    truth[5:20, 10:30] = 255
    grey = Image.fromarray(truth)
    palette = Image.fromarray(truth // 255, "L").convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    with_alpha = Image.new("RGBA", (40, 30), (200, 30, 30, 0))
    with_alpha.putalpha(grey)
    makes = {
        "grey": grey,
        "one bit": grey.convert("1"),
        "colour": grey.convert("RGB"),
        "labels": Image.fromarray(truth // 255),
        "palette": palette,
        "alpha": with_alpha,
        "opaque alpha": grey.convert("RGBA"),
        "16 bit": Image.fromarray(truth.astype(np.uint16) * 257),
        "16 bit labels": Image.fromarray(truth.astype(np.uint16) // 255),
    }
    for name, image in makes.items():
        assert np.array_equal(mask_of(image), truth), name


def test_soft_masks_stay_soft_and_jpeg_masks_are_near() -> None:
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    assert np.array_equal(mask_of(Image.fromarray(ramp)), ramp)
    assert np.abs(mask_of(Image.fromarray(ramp), "JPEG").astype(int) - ramp).max() < 12


def test_mask_of_another_size() -> None:
    with pytest.raises(ImageError, match="40x30 pixels, got 20x30") as caught:
        mask_of(Image.new("L", (20, 30)))
    assert caught.value.code == "mask_size_mismatch"


def test_heic_names_its_reader_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_reads_heic", lambda: False)
    error = refusal(b"\0\0\0\x20ftypheic\0\0\0\0mif1heic")
    assert error.code == "unsupported_format"
    assert "got heic; install the extra 'heif' (pillow-heif), or export it as PNG or JPEG" in str(error)


def test_heic_is_read_where_its_reader_is_installed() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = Image.new("RGB", (96, 64), (200, 30, 40))
    out = io.BytesIO()
    pillow_heif.from_pillow(picture).save(out, quality=95)
    decoded = decode_image(out.getvalue(), where="a photo", limits=ImageLimits())
    assert (decoded.mode, decoded.size) == ("RGB", (96, 64))
    assert np.abs(np.asarray(decoded).astype(int) - np.asarray(picture)).max() <= 8
