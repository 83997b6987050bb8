"""Rows with locations in S3. Kinds that begin with "row-s3/" stand in a catalog in S3, the others on a disk too."""

from __future__ import annotations

from tests.corpus.kind import USED, Kind
from tests.corpus.row_inputs import BUCKET, FOLDER, both, images

ARN = "s3://arn:aws:s3:us-east-1:123456789012"
KEY_BYTES = 1024

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
