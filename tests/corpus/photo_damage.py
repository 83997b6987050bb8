"""Photos that are damaged, and good photos with damage or abundance beside their pixels."""

from __future__ import annotations

import struct
import zlib

from tests.corpus.kind import USED, Kind
from tests.corpus.photo_inputs import (
    files,
    flipped,
    packed_profile,
    parts_of,
    profile,
    shared_tags,
    text_of,
    tiff_page,
    zipped,
)
from tests.corpus.pictures import (
    chunk,
    cut,
    exif_bomb,
    good,
    jpeg_of_scans,
    jpeg_with,
    photo,
    png,
    png_with,
    saved,
    segment,
)

KINDS = [
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
                    *(segment(0xE1, b"Exif\0\0" + part) for part in parts_of(exif_bomb(), 60_000))
                ),
                jpeg_big_endian=lambda: jpeg_with(
                    *(segment(0xE1, b"Exif\0\0" + part) for part in parts_of(exif_bomb(">"), 60_000))
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
]
