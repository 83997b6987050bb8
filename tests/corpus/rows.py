"""Rows: what a cell may name instead of a photo beside its catalog. The code of each kind stands beside its inputs.

An input returns a row's cells. Local kinds stand in a catalog on a disk, kinds that begin with "row-s3/" in one on S3
(`BUCKET` and `FOLDER` are then where it lies); kinds of both have s3=True.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.corpus.kind import USED, Kind, Write

BUCKET, FOLDER = "tests", "rows/cat"
GOOD = "good.png"
"""A photo beside the catalog."""

Names = dict[str, str]


def images(*names: str) -> dict[str, Write]:
    """Rows whose photo has this location."""
    return {
        f"{n}: {ascii(name)[1:61]}": lambda folder, name=name: {"image": name} for n, name in enumerate(names)
    }


def both(*names: str) -> dict[str, Write]:
    """Each as a photo, and as the mask of a good photo."""
    masks = {
        f"mask {n}: {ascii(name)[1:51]}": lambda folder, name=name: {"mask": name}
        for n, name in enumerate(names)
    }
    return {**images(*names), **masks}


def inside(*names: str) -> dict[str, Write]:
    """Names that are filled in with the catalog's folder: {folder}."""

    def row(name: str) -> Write:
        return lambda folder: {"image": name.format(folder=folder, name=folder.name)}

    return {name[:60]: row(name) for name in names}


def links(**targets: str) -> dict[str, Write]:
    """Rows whose photo is a symbolic link, or lies below one: name -> what the link says."""

    def row(name: str, target: str) -> Write:
        def write(folder: Path) -> dict[str, str]:
            link, _, rest = f"link-{name}".partition("+")
            os.symlink(target.format(folder=folder), folder / link)
            return {"image": f"{link}/{rest}" if rest else link}

        return write

    return {name.replace("_", " "): row(name, target) for name, target in targets.items()}


def chain(length: int, end: str) -> Write:
    """A link to a link to a link .. to `end`."""

    def write(folder: Path) -> dict[str, str]:
        for number in range(length):
            target = end if number == 0 else f"chain-{length}-{number - 1}"
            os.symlink(target, folder / f"chain-{length}-{number}")
        return {"image": f"chain-{length}-{length - 1}"}

    return write


def circle(*names: str, row: Callable[[str], dict[str, str]] = lambda name: {"image": name}) -> Write:
    """Links of which each leads to the next, and the last to the first."""

    def write(folder: Path) -> dict[str, str]:
        for name, target in zip(names, (*names[1:], names[0]), strict=True):
            os.symlink(target, folder / name)
        return row(names[0])

    return write


def created(act: Callable[[Path], object], name: str) -> Write:
    def write(folder: Path) -> dict[str, str]:
        act(folder)
        return {"image": name}

    return write


ARN = "s3://arn:aws:s3:us-east-1:123456789012"
KEY_BYTES, NAME_BYTES = 1024, 255

# fmt: off
KINDS = [
    Kind(
        name="row/s3-no-key",
        door="row",
        code="bad_image_uri",
        inputs=both("s3://shop", "s3://shop/", "s3://", "s3:///", "s3://shop/folder/", "s3://shop//"),
    ),
    Kind(
        name="row/s3-bad-bucket",
        door="row",
        code="bad_image_uri",
        inputs=images(
            "s3:///x.png",
            "s3://shop photos/x.png",
            "s3://shop?x/y.png",
            "s3://shop#1/x.png",
            "s3://shop%20a/x.png",
            "s3://sh\u00f6p/x.png",
            "s3://shop:9000/x.png",
            "s3://user:password@shop/x.png",
            "s3://{bucket}/x.png",
            "s3://[shop]/x.png",
            "s3://*/x.png",
            "s3://shop\\x/y.png",
            "s3://" + "b" * 256 + "/x.png",
            "s3://sh\top/x",
        ),
    ),
    Kind(
        name="row/s3-arn",
        door="row",
        code="bad_image_uri",
        inputs=images(
            f"{ARN}:accesspoint/photos/x.png",
            f"{ARN}:accesspoint:photos/x.png",
            "s3://arn:aws:s3:::shop/x.png",
            "s3://arn:aws-cn:s3:cn-north-1:1:accesspoint/p/x.png",
            "s3://arn:aws:s3::1:accesspoint/p.mrap/x.png",
            "s3://arn:aws:s3-object-lambda:us-east-1:1:accesspoint/p/x.png",
            "s3://arn:::::/x.png",
            "s3://arn:aws:s3-outposts:us-east-1:1:outpost/op-1/accesspoint/p/x.png",
            "s3://arn:aws:iam::1:role/x",
        ),
    ),
    Kind(
        name="row/s3-dots-in-key",
        door="row",
        code="bad_image_uri",
        inputs=both(
            "s3://shop/../x.png",
            "s3://shop/a/../b.png",
            "s3://shop/./x.png",
            "s3://shop/a/./b.png",
            "s3://shop/..",
            "s3://shop/a/..",
            "s3://shop/.",
            "s3://shop/a/../../../other/x.png",
        ),
    ),
    Kind(
        name="row/s3-key-too-long",
        door="row",
        code="bad_image_uri",
        inputs=images(
            "s3://shop/" + "k" * (KEY_BYTES + 1),
            "s3://shop/" + "a/" * 600 + "x.png",
            "s3://shop/" + "\u00e9" * 513,
            "s3://shop/" + "\u676f" * 342,
            "s3://shop/" + "\U0001f600" * 257,
            "s3://shop/" + "k" * 100_000,
            "s3://shop/" + "%20" * 342,
            "s3://shop/" + "x" * 1021 + ".png",
        ),
    ),
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
            "https://shop.example/x.png?size=1",
            "ftp://shop.example/x.png",
            "gs://shop/x.png",
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
    Kind(
        name="row-s3/leaves-the-bucket",
        door="row",
        code="bad_image_uri",
        inputs=both(
            "../../../x.png",
            "../../../../x.png",
            "a/../../../../x.png",
            "../../../other/x.png",
            "./../../../x.png",
            "../../.././x.png",
        ),
    ),
    Kind(
        name="row-s3/of-this-machine",
        door="row",
        code="bad_image_uri",
        inputs=both("/etc/passwd", "~/x.png", "file:///etc/passwd", "file://host/x.png", "~", "//etc/passwd"),
    ),
    Kind(
        name="row-s3/other-bucket",
        door="row",
        code="outside_roots",
        inputs=both(
            "s3://other-team/x.png",
            "s3://tests2/x.png",
            "s3://test/x.png",
            "s3://TESTS/x.png",
            "s3://tests./x.png",
            "s3://other/tests/x.png",
        ),
    ),
    Kind(
        name="row-s3/missing",
        door="row",
        code="missing_image",
        inputs=images(
            "none.png",
            "none 1.png",
            "none+1.png",
            "none%20.png",
            "none#1.png",
            "none?x=1.png",
            "\u676f.png",
            "a/b/none.png",
            f"s3://{BUCKET}/none.png",
            "none&x.png",
            "none'\".png",
            "none\\x.png",
        ),
    ),
    Kind(
        name="row-s3/good-however-odd",
        door="row",
        code=USED,
        exit_code=0,
        inputs=images(
            "./good.png",
            "sub/../good.png",
            "../cat/good.png",
            "../../rows/cat/good.png",
            "././good.png",
            f"s3://{BUCKET}/{FOLDER}/good.png",
            "a/b/../../good.png",
            "../cat/./good.png",
        ),
    ),
]
# fmt: on
