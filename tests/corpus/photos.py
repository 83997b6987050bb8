"""Photos as files: names, places and formats that a merchant's folder holds. Expected codes stand beside the inputs."""

from __future__ import annotations

import os
import struct
import zlib

from tests.corpus.kind import USED, Kind, file_of
from tests.corpus.photo_inputs import files, in_folder, listening, named, path_of, sparse, zipped
from tests.corpus.pictures import good, grey_tiff, photo, png, saved

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
            jpeg_2000=b"\0\0\0\x0cjP  \r\n\x87\n",
            jpeg_2000_stream=b"\xff\x4f\xff\x51\0\x29",
            jpeg_xl=b"\xff\x0a\xfa\x7f\x01",
            jpeg_xl_box=b"\0\0\0\x0cJXL \r\n\x87\n",
            photoshop=b"8BPS\0\1\0\0\0\0\0\0\0\3",
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
]
