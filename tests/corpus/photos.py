"""Photos: what a merchant's folder holds, by accident and by intent. Expected codes stand beside the inputs."""

from __future__ import annotations

import io
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from tests.corpus.kind import USED, Kind, Write, file_of
from tests.corpus.pictures import (
    bmp_of_runs,
    chunk,
    cut,
    exif_bomb,
    exif_of,
    frames,
    gif_blocks,
    good,
    grey_tiff,
    jpeg_of_scans,
    jpeg_with,
    photo,
    png,
    png_with,
    saved,
    segment,
    tiff,
)

Build = bytes | Callable[[], bytes]


def files(suffix: str, **builds: Build) -> dict[str, Write]:
    return {name.replace("_", " "): file_of(f"photo.{suffix}", build) for name, build in builds.items()}


def named(*names: str, data: Build = b"") -> dict[str, Write]:
    return {ascii(name): file_of(name, data) for name in names}


def path_of(path: str) -> Write:
    return lambda folder: path


def in_folder(act: Callable[[Path], object]) -> Write:
    """An input that is no plain file: `act` creates it under the path it is given."""

    def write(folder: Path) -> str:
        act(folder / "photo.png")
        return "photo.png"

    return write


def sparse(num_bytes: int, head: bytes = b"") -> Write:
    def write(folder: Path) -> str:
        with open(folder / "photo.png", "wb") as file:
            file.write(head)
            file.truncate(num_bytes)
        return "photo.png"

    return write


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's address has 108 characters at most
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("photo.png", good("PNG"))
    return buffer.getvalue()


def profile(padding: int = 0) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(padding)


def packed_profile(content: bytes) -> bytes:
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(content))


def text_of(size: int, kind: str, keyword: str = "Comment") -> bytes:
    info = PngImagePlugin.PngInfo()
    text = "<h/>" * (size // 4)
    if kind == "iTXt":
        info.add_itxt(keyword, text, zip=True)
    elif kind == "plain iTXt":
        info.add_itxt(keyword, text)
    else:
        info.add_text(keyword, text, zip=kind == "zTXt")
    return saved(photo(), "PNG", pnginfo=info)


def flipped(kind: str, share: float, count: int = 40, **options: object) -> Callable[[], bytes]:
    def build() -> bytes:
        data = bytearray(saved(photo(200, 160), kind, **options))
        start = int(len(data) * share)
        for at in range(start, min(start + count, len(data) - 16)):
            data[at] ^= 0xA5
        return bytes(data)

    return build


def deep(kind: str, values: np.ndarray) -> Callable[[], bytes]:
    return lambda: saved(Image.fromarray(values), kind)


def clear(kind: str, mode: str = "RGBA", alpha: int = 0, **options: object) -> Callable[[], bytes]:
    def build() -> bytes:
        picture = photo(mode=mode)
        picture.putalpha(alpha)
        return saved(picture, kind, **options)

    return build


def clear_palette(kind: str) -> bytes:
    picture = Image.new("P", (64, 48), 3)
    picture.putpalette([90] * 768)
    return saved(picture, kind, transparency=3)


def tiff_page(
    *tags: tuple[int, int, int | list[int]], content: bytes = bytes(64 * 48), drop: tuple[int, ...] = ()
) -> bytes:
    """A good uncompressed grey page whose tags are replaced, added or dropped."""
    base = {
        256: (3, 64),
        257: (3, 48),
        258: (3, 8),
        259: (3, 1),
        262: (3, 1),
        273: (4, 8),
        277: (3, 1),
        278: (3, 48),
        279: (4, 64 * 48),
    }
    changed: dict[int, tuple[int, int | list[int]]] = {
        **base,
        **{tag: (kind, value) for tag, kind, value in tags},
    }
    return tiff([(tag, kind, value) for tag, (kind, value) in changed.items() if tag not in drop], content)


def shared_tags(count: int, size: int) -> bytes:
    raw = [struct.pack("<HHLL", 40_000 + n % 25_000, 7, size, 8) for n in range(count)]
    return tiff(
        [
            (256, 3, 64),
            (257, 3, 48),
            (258, 3, 8),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, 8),
            (277, 3, 1),
            (278, 3, 48),
            (279, 4, 3072),
        ],
        bytes(max(size, 3072)),
        raw=raw,
    )


RAMP = np.tile(np.linspace(0, 1, 256), (64, 1))

KINDS = [
    Kind(
        name="photo/empty-file",
        door="photo",
        code="empty_file",
        inputs=named(
            "a.png",
            "a.jpg",
            "a.WEBP",
            "a.tif",
            "a",
            "a b.png",
            "ä.png",
            "a.tar.gz",
            "a#b?c.png",
            "%2e%2e.png",
        ),
    ),
    Kind(
        name="photo/missing",
        door="photo",
        code="missing_image",
        inputs={
            "absent": path_of("absent.png"),
            "a folder that is not there": path_of("absent/a.png"),
            "below a file": lambda folder: file_of("a.png", good("PNG"))(folder) + "/b.png",  # type: ignore[operator]
            "another case": lambda folder: (file_of("a.png", good("PNG"))(folder), "A.PNG")[1],
            "a space at the end": lambda folder: (file_of("a.png", good("PNG"))(folder), "a.png ")[1],
            "NUL": path_of("a\0.png"),
            "half a surrogate pair": path_of("a\ud800.png"),
            "a link to nowhere": in_folder(lambda path: path.symlink_to("nowhere")),
            "a folder": in_folder(lambda path: path.mkdir()),
            "a link to its folder": in_folder(lambda path: path.symlink_to(".")),
        },
        s3=False,
    ),
    Kind(
        name="photo/no-file",
        door="photo",
        code="not_a_file",
        inputs={
            **{
                device: path_of(device)
                for device in ("/dev/zero", "/dev/full", "/dev/null", "/dev/random", "/dev/tty")
            },
            "a kernel file": path_of("/proc/self/maps"),
            "pipe": in_folder(os.mkfifo),
            "socket": in_folder(listening),
            "a link to a pipe": in_folder(
                lambda path: (os.mkfifo(path.with_name("pipe")), path.symlink_to("pipe"))
            ),
            "a link to a device": in_folder(lambda path: path.symlink_to("/dev/zero")),
        },
        s3=False,
    ),
    Kind(
        name="photo/too-many-bytes",
        door="photo",
        code="too_large",
        inputs={
            "6 GB of nothing": sparse(6 << 30),
            "a byte too many": sparse((64 << 20) + 1),
            "a PNG and 1 TB": sparse(1 << 40, good("PNG")),
            "a JPEG and 100 GB": sparse(100 << 30, good("JPEG")),
            "a TIFF and 5 GB": sparse(5 << 30, good("TIFF")),
            "a link to a sparse file": in_folder(
                lambda path: (
                    os.truncate(os.open(path.with_name("big"), os.O_CREAT | os.O_WRONLY), 1 << 33),
                    path.symlink_to("big"),
                )
            ),
            "a hard link to a sparse file": in_folder(
                lambda path: (
                    os.truncate(os.open(path.with_name("big"), os.O_CREAT | os.O_WRONLY), 1 << 33),
                    os.link(path.with_name("big"), path),
                )
            ),
            "text without end": sparse(3 << 30, b"hello\n" * 100),
        },
        s3=False,
    ),
    Kind(
        name="photo/too-many-pixels",
        door="photo",
        code="too_large",
        inputs=files(
            "png",
            png_8_000=lambda: png(8_000, 8_000, rows=False),
            png_20_000=lambda: png(20_000, 20_000, rows=False),
            png_of_2_billion=lambda: png(2**31 - 1, 2**31 - 1, rows=False),
            one_row=lambda: png(2**31 - 1, 9, rows=False),
            grey_16_bit=lambda: png(9_000, 9_000, depth=16, colour=0, rows=False),
            jpeg=lambda: (lambda d, at: d[: at + 5] + struct.pack(">HH", 9_000, 9_000) + d[at + 9 :])(
                good("JPEG"), good("JPEG").find(b"\xff\xc0")
            ),
            gif=lambda: (lambda d: d[:6] + struct.pack("<HH", 60_000, 60_000) + d[10:])(good("GIF")),
            gif_frame=lambda: (lambda d, at: d[: at + 5] + struct.pack("<HH", 9_000, 9_000) + d[at + 9 :])(
                good("GIF"), good("GIF").find(b",\0\0\0\0")
            ),
            bmp=lambda: (lambda d: d[:18] + struct.pack("<LL", 9_000, 9_000) + d[26:])(good("BMP")),
            tiff=lambda: grey_tiff(9_000, 9_000, packed=zlib.compress(bytes(100))),
            webp=lambda: (
                b"RIFF"
                + struct.pack("<L", 22)
                + b"WEBPVP8X"
                + struct.pack("<L", 10)
                + bytes(4)
                + b"\xff\x3f\0" * 2
            ),
        ),
    ),
    Kind(
        name="photo/too-small",
        door="photo",
        code="too_small",
        inputs=files(
            "png",
            **{
                f"{kind}_{width}x{height}".lower(): (lambda k, w, h: lambda: saved(photo(w, h), k))(
                    kind, width, height
                )
                for kind, width, height in (
                    ("PNG", 1, 1),
                    ("JPEG", 7, 7),
                    ("PNG", 1, 4000),
                    ("WEBP", 4000, 1),
                    ("GIF", 3, 3),
                    ("BMP", 7, 100),
                    ("TIFF", 100, 2),
                    ("AVIF", 7, 64),
                    ("PNG", 8, 7),
                )
            },
        ),
    ),
    Kind(
        name="photo/no-picture",
        door="photo",
        code="not_an_image",
        inputs=files(
            "png",
            text=b"This is not a picture.\n" * 40,
            other_language="Größe: 3 €\n".encode() * 400,
            html=b"<!DOCTYPE html><html><body>404</body></html>",
            json=b'{"error": "AccessDenied"}',
            xml=b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>",
            pdf=b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
            archive=zipped,
            video=b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100),
            random=bytes(range(128, 256)) * 8,
            zeros=bytes(4096),
            git_lfs=b"version https://git-lfs.github.com/spec/v1\noid sha256:"
            + b"a" * 64
            + b"\nsize 12345\n",
            postscript=b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
            icon=b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0" + bytes(100),
            program=b"\x7fELF\2\1\1" + bytes(200),
            BM_words=b"BM is short for benchmark, and this is a text about it.",
        ),
    ),
    Kind(
        name="photo/unsupported-format",
        door="photo",
        code="unsupported_format",
        inputs=files(
            "jpg",
            svg=b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
            svg_with_prolog=b"<?xml version='1.0'?>\n<svg width='9' height='9'/>",
            heic=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            heif=b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
            jpeg_2000=b"\0\0\0\x0cjP  \r\n\x87\n",
            jpeg_2000_stream=b"\xff\x4f\xff\x51\0\x29",
            jpeg_xl=b"\xff\x0a\xfa\x7f\x01",
            jpeg_xl_box=b"\0\0\0\x0cJXL \r\n\x87\n",
            photoshop=b"8BPS\0\1\0\0\0\0\0\0\0\3",
        ),
    ),
    Kind(
        name="photo/truncated",
        door="photo",
        code="truncated_image",
        inputs=files(
            "png",
            png=cut("PNG", 0.5),
            png_signature=b"\x89PNG\r\n\x1a\n",
            png_header=good("PNG")[:33],
            png_end=good("PNG")[:-40],
            jpeg=cut("JPEG", 0.6),
            jpeg_header=cut("JPEG", 0.05),
            jpeg_progressive=cut("JPEG", 0.7, progressive=True),
            webp=cut("WEBP", 0.5),
            gif=cut("GIF", 0.5),
            bmp=cut("BMP", 0.5),
            tiff=cut("TIFF", 0.5),
        ),
    ),
    Kind(
        name="photo/damaged",
        door="photo",
        code="damaged_image",
        inputs=files(
            "png",
            png_pixels=flipped("PNG", 0.4),
            png_start=flipped("PNG", 0.3),
            png_depth=lambda: png_with()[:24] + b"\x05" + png_with()[25:],
            png_header_checksum=lambda: png_with()[:29] + bytes(4) + png_with()[33:],
            png_without_pixels=lambda: png(64, 48)[:33] + chunk(b"IEND", b""),
            png_size_0=lambda: png(0, 0, rows=False),
            png_zip=lambda: good("PNG")[:33] + chunk(b"IDAT", b"PK\3\4 no zlib") + chunk(b"IEND", b""),
            tiff_of_no_size=lambda: tiff_page(drop=(256,)),
            tiff_mode=lambda: tiff_page((258, 3, 7)),
            tiff_compression=lambda: tiff_page((259, 3, 4711)),
            tiff_loop=b"II*\0" + struct.pack("<L", 4) + bytes(20),
            bmp_depth=lambda: good("BMP")[:28] + b"\x07\0" + good("BMP")[30:],
        ),
    ),
    Kind(
        name="photo/jpeg-scans",
        door="photo",
        code="too_complex",
        inputs=files(
            "jpg",
            scans_4_000=lambda: jpeg_of_scans(4000, 4000, 4000),
            scans_1_000=lambda: jpeg_of_scans(1000, 1000, 1000),
            scans_101=lambda: jpeg_of_scans(64, 48, 101),
            grey=lambda: jpeg_of_scans(4000, 4000, 2000, "L"),
            few_on_many_pixels=lambda: jpeg_of_scans(7000, 7000, 40),
            one_row=lambda: jpeg_of_scans(60_000, 16, 500),
            one_column=lambda: jpeg_of_scans(16, 60_000, 500),
            after_metadata=lambda: (lambda d: d[:2] + segment(0xE1, b"Exif\0\0" + exif_of(6)) + d[2:])(
                jpeg_of_scans(2000, 2000, 600)
            ),
            in_a_tiff=lambda: tiff_page(
                (256, 3, 2000),
                (257, 3, 2000),
                (259, 3, 7),
                (278, 3, 2000),
                (279, 4, len(jpeg_of_scans(2000, 2000, 90, "L"))),
                content=jpeg_of_scans(2000, 2000, 90, "L"),
            ),
        ),
    ),
    Kind(
        name="photo/tiff-structure",
        door="photo",
        code="too_complex",
        inputs=files(
            "tif",
            tags=lambda: shared_tags(60_000, 1 << 20),
            tags_5_000=lambda: shared_tags(5_000, 100),
            strips=lambda: tiff_page((273, 4, [8] * 70_000), (279, 4, [1] * 70_000), (278, 3, 1)),
            one_tile_of_2_gigabytes=lambda: tiff_page(
                (322, 4, 40_000), (323, 4, 50_000), (324, 4, 8), (325, 4, 3072)
            ),
            one_strip_of_deep_pixels=lambda: tiff_page(
                (256, 4, 8192), (257, 4, 6000), (258, 3, [64] * 4), (277, 3, 4), (278, 4, 6000), (262, 3, 2)
            ),
            strips_that_share=lambda: tiff_page((273, 4, [8] * 48), (279, 4, [3072] * 48), (278, 3, 1)),
            tiles_that_share=lambda: tiff_page(
                (322, 3, 16), (323, 3, 16), (324, 4, [8] * 12), (325, 4, [3072] * 12), drop=(273, 278, 279)
            ),
            a_tag_of_megabytes=lambda: tiff_page((320, 3, [0] * 600_000)),
        ),
    ),
    Kind(
        name="photo/blocks-without-end",
        door="photo",
        code="too_complex",
        inputs=files(
            "png",
            png_chunks=lambda: png_with(chunk(b"teXt", b"") * 120_000),
            png_pixels_in_nothing=lambda: good("PNG")[:33] + chunk(b"IDAT", b"") * 120_000 + good("PNG")[33:],
            png_chunks_at_the_end=lambda: (
                good("PNG")[:-12] + chunk(b"teXt", b"") * 120_000 + good("PNG")[-12:]
            ),
            gif_comment=lambda: gif_blocks(300_000),
            gif_junk=lambda: (lambda d: d[:13] + b"\1" * 300_000 + d[13:])(
                gif_blocks(0)[:10] + b"\0" + gif_blocks(0)[11:]
            ),
            jpeg_tables=lambda: jpeg_with(segment(0xFE, b"") * 30_000),
            jpeg_applications=lambda: jpeg_with(segment(0xE5, b"x") * 30_000),
            bmp_runs=lambda: bmp_of_runs(5000, 5000, b"\1\1" * (3 << 20)),
        ),
    ),
    Kind(
        name="photo/side-chunk-damaged",
        door="photo",
        code=USED,
        exit_code=0,
        inputs=files(
            "png",
            text=lambda: png_with(chunk(b"tEXt", b"Comment\0x", bytes(4))),
            packed_text=lambda: png_with(chunk(b"zTXt", b"Comment\0\0not zlib")),
            packed_by_what=lambda: png_with(chunk(b"zTXt", b"Comment\0\x07abc")),
            international_text=lambda: png_with(chunk(b"iTXt", b"Comment\0\1\0\0\0not zlib")),
            no_keyword=lambda: png_with(chunk(b"tEXt", b"")),
            gamma=lambda: png_with(chunk(b"gAMA", b"\0")),
            chromaticity=lambda: png_with(chunk(b"cHRM", b"\0\1")),
            density=lambda: png_with(chunk(b"pHYs", b"\0")),
            intent=lambda: png_with(chunk(b"sRGB", b"")),
            profile=lambda: png_with(chunk(b"iCCP", b"icc\0\0not zlib")),
            profile_packed_by_what=lambda: png_with(chunk(b"iCCP", b"icc\0\x09abc")),
            profile_checksum=lambda: png_with(chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile()), b"abcd")),
            exif=lambda: png_with(chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff")),
            transparency=lambda: png_with(chunk(b"tRNS", b"\0", bytes(4))),
            animation=lambda: png_with(chunk(b"acTL", b"\0")),
            frame=lambda: png_with(chunk(b"acTL", struct.pack(">LL", 2, 0)), chunk(b"fcTL", bytes(26))),
            unknown=lambda: png_with(chunk(b"xyZz", b"abc", bytes(4))),
            behind_the_pixels=lambda: (
                good("PNG")[:-12] + chunk(b"tEXt", b"C\0x", bytes(4)) + good("PNG")[-12:]
            ),
        ),
    ),
    Kind(
        name="photo/much-metadata",
        door="photo",
        code=USED,
        exit_code=0,
        inputs=files(
            "png",
            packed_text=lambda: text_of(1_600_000, "iTXt", "XML:com.adobe.xmp"),
            text=lambda: text_of(3_000_000, "tEXt"),
            old_packed_text=lambda: text_of(24_000_000, "zTXt"),
            plain_international=lambda: text_of(2_000_000, "plain iTXt"),
            many_texts=lambda: png_with(*(chunk(b"tEXt", b"K%d\0" % n + b"x" * 1000) for n in range(5000))),
            packed_bombs=lambda: png_with(*[chunk(b"zTXt", b"C\0\0" + zlib.compress(bytes(30 << 20)))] * 20),
            profile_of_1_megabyte=lambda: saved(photo(), "PNG", icc_profile=profile(1_200_000)),
            profile_of_3_megabytes=lambda: saved(photo(), "JPEG", icc_profile=profile(3_000_000)),
            profile_bomb=lambda: png_with(packed_profile(profile(40 << 20))),
            jpeg_comments=lambda: jpeg_with(segment(0xFE, b"x" * 60_000) * 100),
            jpeg_xmp=lambda: jpeg_with(
                segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 60_000) * 100
            ),
            photoshop_layers=lambda: jpeg_with(segment(0xED, b"Photoshop 3.0\0" + bytes(60_000)) * 100),
            tiff_layers=lambda: shared_tags(4, 5_000_000),
        ),
    ),
    Kind(
        name="photo/exif-that-repeats",
        door="photo",
        code=USED,
        exit_code=0,
        inputs={
            **files(
                "jpg",
                jpeg=lambda: jpeg_with(
                    *(segment(0xE1, b"Exif\0\0" + part) for part in _parts(exif_bomb(), 60_000))
                ),
                jpeg_big_endian=lambda: jpeg_with(
                    *(segment(0xE1, b"Exif\0\0" + part) for part in _parts(exif_bomb(">"), 60_000))
                ),
                jpeg_entry_loop=lambda: jpeg_with(
                    segment(0xE1, b"Exif\0\0" + exif_bomb(entries=5_000, payload=100)[:60_000])
                ),
                png=lambda: png_with(chunk(b"eXIf", exif_bomb())),
                png_raw_profile=lambda: png_with(
                    chunk(
                        b"zTXt",
                        b"Raw profile type exif\0\0"
                        + zlib.compress(b"\nexif\n99\n" + exif_bomb()[:400_000].hex().encode()),
                    )
                ),
                webp=lambda: saved(photo(), "WEBP", exif=exif_bomb()),
                offset_beyond=lambda: jpeg_with(segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff")),
                no_directory=lambda: jpeg_with(segment(0xE1, b"Exif\0\0II*\0")),
                count_without_entries=lambda: jpeg_with(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff")),
            ),
        },
    ),
    Kind(
        name="photo/deep-pixels",
        door="photo",
        code=USED,
        exit_code=0,
        inputs=files(
            "tif",
            png_16_bit=deep("PNG", (RAMP * 65535).astype(np.uint16)),
            tiff_16_bit=deep("TIFF", (RAMP * 65535).astype(np.uint16)),
            tiff_float=deep("TIFF", RAMP.astype(np.float32)),
            tiff_float_large=deep("TIFF", (RAMP * 1e30).astype(np.float32)),
            tiff_int=deep("TIFF", (RAMP * 2e9).astype(np.int32)),
            tiff_negative=deep("TIFF", (RAMP * -2e9).astype(np.int32)),
            tiff_nan=deep("TIFF", np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32)),
            tiff_infinite=deep("TIFF", np.where(RAMP > 0.5, np.inf, RAMP).astype(np.float32)),
            tiff_all_nan=deep("TIFF", np.full((64, 64), np.nan, np.float32)),
            tiff_one_value=deep("TIFF", np.full((64, 64), 7e9, np.float32)),
            png_rgb_16_bit=lambda: png(64, 48, depth=16, colour=2),
            png_rgba_16_bit=lambda: png_with(image=photo(mode="RGBA")),
        ),
    ),
    Kind(
        name="photo/odd-modes",
        door="photo",
        code=USED,
        exit_code=0,
        inputs=files(
            "png",
            cmyk=lambda: saved(photo(mode="CMYK"), "JPEG"),
            cmyk_tiff=lambda: saved(photo(mode="CMYK"), "TIFF"),
            grey=lambda: saved(photo(mode="L"), "PNG"),
            grey_alpha=lambda: saved(photo(mode="LA"), "PNG"),
            one_bit=lambda: saved(photo(mode="1"), "PNG"),
            palette=lambda: saved(photo(mode="P"), "PNG"),
            palette_bmp=lambda: saved(photo(mode="P"), "BMP"),
            lab=lambda: saved(photo(mode="LAB"), "TIFF"),
            ycbcr=lambda: saved(photo(mode="YCbCr"), "JPEG"),
            lzw=lambda: saved(photo(), "TIFF", compression="tiff_lzw"),
            jpeg_in_tiff=lambda: saved(photo(), "TIFF", compression="jpeg"),
            group4=lambda: saved(photo(mode="1"), "TIFF", compression="group4"),
            interlaced=lambda: png(64, 48, interlaced=True),
            avif=lambda: saved(photo(), "AVIF"),
            avif_alpha=lambda: saved(photo(mode="RGBA"), "AVIF"),
            bmp_runs=lambda: bmp_of_runs(64, 48, (b"\x40\x55\0\0") * 47 + b"\x40\x55\0\1"),
        ),
    ),
    Kind(
        name="photo/many-frames",
        door="photo",
        code=USED,
        exit_code=0,
        inputs=files(
            "gif",
            gif=lambda: frames("GIF", 300),
            webp=lambda: frames("WEBP", 100),
            png=lambda: frames("PNG", 100),
            tiff=lambda: frames("TIFF", 200),
            avif=lambda: frames("AVIF", 5),
            mpo=lambda: saved(photo(), "MPO", save_all=True, append_images=[photo()] * 5),
            tiff_in_a_circle=lambda: tiff(
                [
                    (256, 3, 64),
                    (257, 3, 48),
                    (258, 3, 8),
                    (259, 3, 1),
                    (262, 3, 1),
                    (273, 4, 8),
                    (277, 3, 1),
                    (278, 3, 48),
                    (279, 4, 3072),
                ],
                bytes(3072),
                next_page=8 + 3072,
            ),
            gif_that_never_ends=lambda: (lambda d: d[:-1] + d[d.find(b"!\xf9") : -1] * 20_000 + b";")(
                saved(Image.new("P", (16, 16)), "GIF", transparency=1)
            ),
        ),
    ),
    Kind(
        name="photo/nothing-to-see",
        door="photo",
        code="transparent_image",
        inputs=files(
            "png",
            png=clear("PNG"),
            grey=clear("PNG", "L"),
            nearly=clear("PNG", alpha=5),
            webp=clear("WEBP", lossless=True),
            tiff=clear("TIFF"),
            palette=lambda: clear_palette("PNG"),
            gif=lambda: clear_palette("GIF"),
            deep=lambda: png(64, 48, depth=16, colour=6),
            avif=clear("AVIF"),
            colour_key=lambda: png_with(
                chunk(b"tRNS", bytes((0, 20, 0, 20, 0, 20))), image=Image.new("RGB", (64, 48), (20,) * 3)
            ),
        ),
    ),
    Kind(
        name="photo/wrong-suffix",
        door="photo",
        code=USED,
        exit_code=0,
        inputs={
            f"{kind} as {name}": file_of(name, good(kind))
            for kind, name in (
                ("JPEG", "a.png"),
                ("PNG", "a.jpg"),
                ("WEBP", "a.jpeg"),
                ("GIF", "a.tiff"),
                ("TIFF", "a.bmp"),
                ("BMP", "a"),
                ("PNG", "a.heic"),
                ("JPEG", "a.jfif"),
                ("JPEG", "a.jpe"),
                ("AVIF", "a.jpg"),
                ("PNG", "a.csv"),
                ("JPEG", "a.exe"),
            )
        },
    ),
    Kind(
        name="photo/odd-name",
        door="photo",
        code=USED,
        exit_code=0,
        inputs=named(
            "a b.png",
            "a#b.png",
            "a?b.png",
            "a%20b.png",
            "ä ö 商品.png",
            "-rf.png",
            "a'b\"c.png",
            "a\nb.png",
            "a;b,c.png",
            "~a.png",
            "a:b.png",
            "$(touch x).png",
            data=good("PNG"),
        ),
    ),
    Kind(
        name="photo/data-behind-the-end",
        door="photo",
        code=USED,
        exit_code=0,
        inputs=files(
            "png",
            png=lambda: good("PNG") + b"x" * 1000,
            png_and_png=lambda: good("PNG") * 2,
            png_and_archive=lambda: good("PNG") + zipped(),
            jpeg=lambda: good("JPEG") + b"x" * 1000,
            jpeg_and_jpeg=lambda: good("JPEG") * 2,
            jpeg_and_scans=lambda: good("JPEG") + jpeg_of_scans(64, 48, 300),
            gif=lambda: good("GIF") + b"x" * 1000,
            bmp=lambda: good("BMP") + b"x" * 1000,
            tiff=lambda: good("TIFF") + b"x" * 1001,
            webp=lambda: good("WEBP") + b"x" * 1000,
        ),
    ),
    Kind(
        name="photo/odd-profile",
        door="photo",
        code=USED,
        exit_code=0,
        inputs=files(
            "png",
            rubbish=lambda: saved(photo(), "PNG", icc_profile=b"rubbish"),
            half=lambda: saved(photo(), "PNG", icc_profile=profile()[:300]),
            other_channels=lambda: saved(photo(mode="L"), "PNG", icc_profile=profile()),
            for_cmyk=lambda: saved(photo(mode="CMYK"), "JPEG", icc_profile=profile()),
            webp=lambda: saved(photo(), "WEBP", icc_profile=b"rubbish"),
            tiff=lambda: saved(photo(), "TIFF", icc_profile=b"rubbish"),
            jpeg_parts_missing=lambda: jpeg_with(segment(0xE2, b"ICC_PROFILE\0\1\3" + profile())),
            jpeg_part_of_nothing=lambda: jpeg_with(segment(0xE2, b"ICC_PROFILE\0")),
            jpeg_parts_twice=lambda: jpeg_with(segment(0xE2, b"ICC_PROFILE\0\1\1" + profile()) * 2),
            flipped=lambda: saved(photo(), "PNG", icc_profile=bytes(byte ^ 0x55 for byte in profile()[128:])),
        ),
    ),
]


def _parts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
