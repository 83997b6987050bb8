"""Rows: what a cell may name instead of a photo beside its catalog. The code of each kind stands beside its inputs.

An input returns a row's cells. These stand in a catalog on a disk; kinds with s3=True on S3 too (see `rows_s3`).
"""

from __future__ import annotations

import os

from tests.corpus.kind import USED, Kind
from tests.corpus.row_inputs import GOOD, both, chain, circle, created, images, inside, links

NAME_BYTES = 255

KINDS = [
    Kind(
        name="row/name-too-long",
        door="row",
        code="bad_image_uri",
        s3=False,
        inputs={
            **both(
                "n" * (NAME_BYTES + 1), "\u676f" * 86, "a/" * 2100 + "x.png", "sub/" + "n" * 300 + "/x.png"
            ),
            **images(
                "file:///" + "n" * 300,
                "file:///" + "a/" * 2100,
                "/" + "n" * 100_000,
                "file:///%C3%A9" + "x" * 254,
            ),
        },
    ),
    Kind(
        name="row/nul",
        door="row",
        code="missing_image",
        s3=False,
        inputs=both(
            "a\0.png",
            "\0a.png",
            "good.png\0",
            "good.png\0.jpg",
            "a/\0/b.png",
            "/etc/passwd\0.png",
            "file:///a%00b.png",
            "s3://shop/a\0.png",
        ),
    ),
    Kind(
        name="row/web-address",
        door="row",
        code="bad_image_uri",
        s3=False,
        inputs=images(
            "http://shop.example/x.png",
            "https://me@shop.example/x.png",
            "https://2852039166/x.png",
            "ftp://shop.example/x.png",
            "gcs://shop/x.png",
            "abfs://shop/x.png",
            "hdfs://node/x.png",
            "S3://shop/x.png",
            "FILE:///etc/passwd",
            "s3a://shop/x.png",
            "http://169.254.169.254/latest/meta-data/",
            "jar:file:///x.jar!/x.png://",
            "://x.png",
        ),
    ),
    Kind(
        name="row/web-host",
        door="row",
        code="host_not_allowed",
        s3=False,
        inputs=images(
            "https://shop.example/x.png?size=1",
            "HTTPS://shop.example/x.png",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::ffff:169.254.169.254]/x.png",
            "https://[fd00:ec2::254]/x.png",
            "https://127.0.0.1:8265/api/jobs/",
            "https://metadata.google.internal/x.png",
            "https://shop.example/my photo.png",
        ),
    ),
    Kind(
        name="row/file-of-another-host",
        door="row",
        code="bad_image_uri",
        s3=False,
        inputs=images(
            "file://server/share/x.png",
            "file://10.0.0.1/x.png",
            "file://server:80/x.png",
            "file://me@server/x.png",
            "file://../x.png",
            "file://C:/x.png",
            "file://~/x.png",
            "file://etc/passwd",
            "file://localhost.evil/x.png",
        ),
    ),
    Kind(
        name="row/outside-absolute",
        door="row",
        code="outside_roots",
        s3=False,
        inputs=both(
            "/etc/shadow",
            "/etc/passwd",
            "/proc/self/environ",
            "/dev/zero",
            "/root/.aws/credentials",
            "file:///etc/passwd",
            "file://localhost/etc/passwd",
            "//etc/passwd",
            "/etc/../etc/passwd",
            "file:///%65tc/passwd",
            "/",
        ),
    ),
    Kind(
        name="row/outside-dots",
        door="row",
        code="outside_roots",
        s3=False,
        inputs={
            **both(
                "../x.png",
                "..",
                "./../x.png",
                "sub/../../x.png",
                "../../../../../../../etc/passwd",
                "sub/../..",
            ),
            **inside(
                "{folder}/../x.png",
                "file://{folder}/../x.png",
                "../{name}-2/x.png",
                "file://{folder}/%2e%2e/x.png",
            ),
        },
    ),
    Kind(
        name="row/outside-by-link",
        door="row",
        code="outside_roots",
        s3=False,
        inputs={
            **links(
                file="/etc/passwd",
                secret="/proc/self/environ",
                device="/dev/zero",
                nothing="/nonexistent/x.png",
                relative="../../../../../../etc/passwd",
                parent="..",
            ),
            **{
                "below a link": links(**{"etc+passwd": "/etc"})["etc+passwd"],
                "below a link to the root": links(**{"root+etc/passwd": "/"})["root+etc/passwd"],
                "a chain of links": chain(5, "/etc/passwd"),
            },
        },
    ),
    Kind(
        name="row/outside-bucket",
        door="row",
        code="outside_roots",
        s3=False,
        inputs=both(
            "s3://other-team/x.png",
            "s3://other-team/a/b/c.png",
            "s3://other_team/x.png",
            "s3://Other/x.png",
            "s3://tests2/x.png",
            "s3://tests.evil/x.png",
            "s3://127.0.0.1/x.png",
            "s3://a/x y+z%20#?.png",
        ),
    ),
    Kind(
        name="row/link-in-a-circle",
        door="row",
        code="bad_uri",
        s3=False,
        inputs={
            "one": circle("ring-1"),
            "two": circle("ring-2a", "ring-2b"),
            "three": circle("ring-3a", "ring-3b", "ring-3c"),
            "below it": circle("ring-4", row=lambda name: {"image": f"{name}/x.png"}),
            "deep below it": circle("ring-5", row=lambda name: {"image": f"{name}/a/b/x.png"}),
            "as a mask": circle("ring-6", row=lambda name: {"mask": name}),
            "a mask below it": circle("ring-7", row=lambda name: {"mask": f"{name}/x.png"}),
            "41 links": chain(41, GOOD),
            "100 links": chain(100, GOOD),
            "2000 links": chain(2000, GOOD),
        },
    ),
    Kind(
        name="row/missing",
        door="row",
        code="missing_image",
        inputs=both(
            "none.png",
            "sub/none.png",
            "good.png2",
            "GOOD.PNG",
            "*.png",
            "good.png;x.png",
            "C:\\photos\\x.png",
            "\u202egnp.doog",
            "data:image/png;base64,iVBORw0KGgo=",
            "=HYPERLINK(1)",
            "none #1?.png",
            "none%2F.png",
        ),
    ),
    Kind(
        name="row/a-folder",
        door="row",
        code="missing_image",
        s3=False,
        inputs={
            **images(".", "./", "./.", "sub/..", "sub"),
            **inside("{folder}", "file://{folder}", "../{name}", "{folder}/."),
        },
    ),
    Kind(
        name="row/good-however-odd",
        door="row",
        code=USED,
        exit_code=0,
        s3=False,
        inputs={
            **images("./good.png", "sub/../good.png", "././good.png", " good.png ", ".//good.png"),
            **inside("{folder}/good.png", "file://{folder}/good.png", "file://localhost{folder}/good.png"),
            **inside("../{name}/good.png", "file://{folder}/g%6Fod.png"),
            "a link beside it": chain(3, GOOD),
            "file URI with #": created(
                lambda folder: os.link(folder / GOOD, folder / "a#1?.png"), "a#1?.png"
            ),
        },
    ),
]
