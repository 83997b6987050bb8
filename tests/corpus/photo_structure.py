"""Photos of few bytes and much work, and pixels in odd forms."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.corpus.kind import USED, Kind
from tests.corpus.photo_inputs import RAMP, clear, clear_palette, deep, files, shared_tags, tiff_page
from tests.corpus.pictures import (
    bmp_of_runs,
    chunk,
    exif_of,
    frames,
    gif_blocks,
    good,
    jpeg_of_scans,
    jpeg_with,
    photo,
    png,
    png_with,
    saved,
    segment,
    tiff,
)

KINDS = [
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
            few_on_many_pixels=lambda: jpeg_of_scans(5000, 5000, 40),
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
]
