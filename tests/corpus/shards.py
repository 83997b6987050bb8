"""Shards of training data that declare what they do not hold, or hold what is no sample."""

from __future__ import annotations

import os
import struct
import tarfile

import pyarrow as pa

from tests.corpus.kind import USED, Kind
from tests.corpus.pictures import good
from tests.corpus.shard_changes import (
    header,
    in_images,
    instead,
    listed,
    lying_page,
    packed_cell,
    parquet,
    pax,
    rows,
    tar,
    tar_of,
)

MUG = ("0.png", good("PNG"))
KINDS = [
    Kind(
        name="shard/tar-that-declares",
        door="shard",
        code="bad_catalog",
        exit_code=1,
        inputs={
            "a sparse member of 6 GB": tar(
                lambda data: header("0.png", 0, b"S", struct.pack("<L", 0)) + data
            ),
            "sparse by pax": tar(
                lambda data: (
                    pax(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_realsize="6442450944") + data
                )
            ),
            "sparse by an old pax": tar(
                lambda data: pax(GNU_sparse_size="6442450944", GNU_sparse_map="0,1") + data
            ),
            "6 GB in octal": tar(lambda data: header("0.png", b"60000000000\0") + data),
            "a terabyte in binary": tar(
                lambda data: header("0.png", b"\x80" + (1 << 40).to_bytes(11, "big")) + data
            ),
            "a negative size": tar(lambda data: header("0.png", b"\xff" * 12) + data),
            "a negative size by pax": tar(lambda data: pax(size="-512") + data),
            "a size by pax": tar(lambda data: pax(size="9" * 18) + data),
            "a number of many digits": tar(lambda data: pax(size="9" * 400) + data),
            "a long name of 2 GB": tar(lambda data: header("l", 1 << 31, b"L") + data),
            "a long name of 3 MB": tar(lambda data: header("l", 3 << 20, b"L") + b"x" * (3 << 20) + data),
            "pax records of 2 GB": tar(lambda data: header("p", 1 << 31, b"x") + data),
        },
    ),
    Kind(
        name="shard/tar-damaged",
        door="shard",
        code="bad_catalog",
        exit_code=1,
        inputs={
            "gzip": tar(lambda data: b"\x1f\x8b" + data),
            "text": tar(lambda data: b"<Error>AccessDenied</Error>" * 40),
            "checksum": tar(lambda data: data[:148] + b"000000\0 " + data[156:]),
            "header": tar(lambda data: data[:10] + b"\xff" + data[11:]),
            "size that is no number": tar(lambda data: header("0.png", b"zzzzzzzzzzz\0") + data),
            "cut in a member": tar(lambda data: data[:600]),
            "pax records without length": tar(
                lambda data: header("p", 20, b"x") + b"no length here======".ljust(512, b"\0") + data
            ),
            "pax records beyond their end": tar(
                lambda data: header("p", 20, b"x") + b"99 a=b\n".ljust(512, b"\0") + data
            ),
            "empty": tar(lambda data: b""),
            "zeros": tar(lambda data: bytes(10_240)),
            "no picture": tar(lambda data: tar_of(("0.txt", b"a mug"))),
        },
    ),
    Kind(
        name="shard/tar-odd",
        door="shard",
        code=USED,
        exit_code=0,
        inputs={
            "paths that lead out": tar(
                lambda data: tar_of(("../../0.png", MUG[1]), ("../../0.txt", b"a mug"))
            ),
            "an absolute path": tar(lambda data: tar_of(("/etc/0.png", MUG[1]), ("/etc/0.txt", b"a mug"))),
            "links": tar(lambda data: header("a.png", 0, b"2") + header("b.png", 0, b"1") + data),
            "a folder, a pipe and a device": tar(
                lambda data: header("f/", 0, b"5") + header("p", 0, b"6") + header("d", 0, b"3") + data
            ),
            "long names": tar(
                lambda data: tar_of(
                    (f"{'x' * 150}.png", MUG[1]), (f"{'x' * 150}.txt", b"a mug"), format=tarfile.GNU_FORMAT
                )
            ),
            "pax names": tar(
                lambda data: tar_of(
                    (f"{'ä' * 150}.png", MUG[1]), (f"{'ä' * 150}.txt", b"a mug"), format=tarfile.PAX_FORMAT
                )
            ),
            "a prefix": tar(
                lambda data: tar_of(
                    (f"{'d' * 90}/{'x' * 60}.png", MUG[1]), (f"{'d' * 90}/{'x' * 60}.txt", b"a mug")
                )
            ),
            "no end": tar(
                lambda data: data.rstrip(b"\0").ljust(-(-len(data.rstrip(b"\0")) // 512) * 512, b"\0")
            ),
            "data behind the end": tar(lambda data: data + b"junk" * 1000),
            "capitals": tar(lambda data: tar_of(("0.PNG", MUG[1]), ("0.TXT", b"a mug"))),
        },
    ),
    Kind(
        name="shard/no-file",
        door="shard",
        code="bad_catalog",
        exit_code=1,
        s3=False,
        inputs={
            "tar: pipe": instead("webdataset", os.mkfifo),
            "tar: /dev/zero": instead("webdataset", lambda path: path.symlink_to("/dev/zero")),
            "tar: 6 GB of nothing": instead(
                "webdataset", lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 6 << 30)
            ),
            "tar: kernel file": instead("webdataset", lambda path: path.symlink_to("/proc/self/maps")),
            "parquet: pipe": instead("parquet", os.mkfifo),
            "parquet: /dev/zero": instead("parquet", lambda path: path.symlink_to("/dev/zero")),
            "parquet: 6 GB of nothing": instead(
                "parquet", lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 6 << 30)
            ),
            "table: pipe": instead("folder", os.mkfifo),
            "table: /dev/zero": instead("folder", lambda path: path.symlink_to("/dev/zero")),
            "table: 6 GB of nothing": instead(
                "folder", lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 6 << 30)
            ),
        },
    ),
    Kind(
        name="shard/parquet",
        door="shard",
        code="bad_catalog",
        exit_code=1,
        inputs={
            "empty": parquet(lambda data: b""),
            "text": parquet(lambda data: b"image,caption\n" * 100),
            "half": parquet(lambda data: data[: len(data) // 2]),
            "magic alone": parquet(lambda data: b"PAR1" + data[4:-4] + b"PAR0"),
            "footer length": parquet(lambda data: data[:-8] + b"\xff\xff\xff\x7f" + data[-4:]),
            "footer of zeros": parquet(lambda data: data[:-200] + bytes(192) + data[-8:]),
            "pages of zeros": parquet(lambda data: data[:4] + bytes(60) + data[64:]),
            "a page that states 2 GB": parquet(lying_page),
            "no image": rows({"picture": b"", "caption": "a mug"}),
            "no caption": rows({"image": b""}),
            "no rows": rows(schema=pa.schema([("image", pa.binary()), ("caption", pa.string())])),
        },
    ),
    Kind(
        name="shard/table",
        door="shard",
        code="bad_catalog",
        exit_code=1,
        inputs={
            "latin 1": listed("file_name,caption\n0.png,größer\n".encode("latin-1")),
            "utf-16": listed("file_name,caption\n0.png,a mug\n".encode("utf-16")),
            "no columns": listed("a,b\n1,2\n"),
            "no rows": listed("file_name,caption\n"),
            "a long cell": listed("file_name,caption\n0.png," + "x" * 200_000 + "\n"),
            "no name": listed("file_name,caption\n,a mug\n"),
            "broken JSON": listed('{"file_name": "0.png"\n', "metadata.jsonl"),
            "a list": listed("[1, 2]\n", "metadata.jsonl"),
            "depth": listed("[" * 100_000 + "\n", "metadata.jsonl"),
            "null": listed("null\n", "metadata.jsonl"),
        },
    ),
    Kind(
        name="shard/one-sample",
        door="shard",
        code=USED,
        exit_code=0,
        inputs={
            "tar: no picture in a picture": tar(
                lambda data: tar_of(("9.png", b"text"), ("9.txt", b"a mug"))[:2048] + data
            ),
            "tar: caption in latin 1": tar(
                lambda data: tar_of(
                    ("9.png", MUG[1]), ("9.txt", b"gr\xf6\xdfer"), ("a.png", MUG[1]), ("a.txt", b"a mug")
                )
            ),
            "tar: JSON that is none": tar(
                lambda data: tar_of(
                    ("9.png", MUG[1]), ("9.json", b"{"), ("a.png", MUG[1]), ("a.txt", b"a mug")
                )
            ),
            "tar: JSON that is a list": tar(
                lambda data: tar_of(
                    ("9.png", MUG[1]), ("9.json", b"[1]"), ("a.png", MUG[1]), ("a.txt", b"a mug")
                )
            ),
            "parquet: an empty picture": rows(
                {"image": b"", "caption": "x"}, {"image": MUG[1], "caption": "a mug"}
            ),
            "parquet: no picture": rows(
                {"image": None, "caption": "x"}, {"image": MUG[1], "caption": "a mug"}
            ),
            "parquet: a picture by path": rows(
                {"image": {"bytes": None, "path": "/etc/passwd"}, "caption": "x"},
                {"image": {"bytes": MUG[1], "path": "a"}, "caption": "a mug"},
            ),
            "parquet: 80 MB in a cell": packed_cell(80 << 20),
            "folder: a pipe": in_images(os.mkfifo),
            "folder: /dev/zero": in_images(lambda path: path.symlink_to("/dev/zero")),
            "folder: missing": in_images(lambda path: None),
            "folder: sparse": in_images(
                lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 6 << 30)
            ),
        },
        s3=False,
    ),
]
