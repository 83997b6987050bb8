"""Exports for channels: accepted images with marks and names, a feed in the channel's columns, a report of the rest."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.errors import SpecError
from dreamcache.provenance import xmp
from dreamcache.storage.image_store import read_metadata, read_xmp
from jobs.channels import ChannelExport, ChannelOptions, export_channel, load_preset
from jobs.channels.options import segmenter
from jobs.channels.preset import Column, Preset
from jobs.channels.render import in_frame
from tests.channels.pictures import files_of, make_output, product
from tests.command import error_of, in_process

OPTIONS = ChannelOptions(base_url="https://cdn.example/my shop", upscale=True, quiet=True)
SHOP = "https://cdn.example/my%20shop"


def small(name: str) -> Preset:
    """A preset of the package whose sizes are a quarter, for speed."""
    preset = load_preset(name)
    rules = tuple(
        replace(rule, min=rule.min / 4) if rule.measure.endswith("_side") and rule.min else rule
        for rule in preset.rules
    )
    return replace(preset, rules=rules, frame=replace(preset.frame, side=520))


def export(
    folder: Path, name: str, pictures: Any, options: ChannelOptions = OPTIONS, **columns: Any
) -> ChannelExport:
    make_output(f"{folder}/output", pictures, **columns)
    return export_channel(f"{folder}/output", f"{folder}/target", small(name), options=options)


def lines_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(), newline=""), delimiter=delimiter))


def test_amazon_main_takes_one_image_of_a_product_on_pure_white(tmp_path: Path) -> None:
    off_white = product(300, 0.4, ground=(246, 247, 245))
    done = export(
        tmp_path,
        "amazon-main",
        [("mug", off_white), ("mug", product(300)), ("scene", Image.new("RGB", (300, 300), "navy"))],
    )
    assert (done.accepted, done.refused, done.surplus, done.feed_rows) == (1, 1, 1, 1)
    assert files_of(tmp_path / "target") == {
        "mug.MAIN.jpg",
        "amazon-main-images.txt",
        "report.csv",
        "report.json",
    }
    with Image.open(tmp_path / "target/mug.MAIN.jpg") as image:
        assert image.size == (520, 520) and image.getpixel((1, 1)) == (255, 255, 255)
    assert lines_of(tmp_path / "target/amazon-main-images.txt", "\t") == [
        {"item_sku": "mug", "update_delete": "PartialUpdate", "main_image_url": f"{SHOP}/mug.MAIN.jpg"}
    ]
    refused = [line for line in lines_of(tmp_path / "target/report.csv") if line["verdict"] == "refused"]
    assert {line["rule"]: line["measured"] for line in refused} == {
        "white-background": "0", "no-shadow": "not measurable", "fill": "not measurable",
    }  # fmt: skip
    report = json.loads((tmp_path / "target/report.json").read_text())
    assert report["images"] == {"accepted": 1, "refused": 1, "surplus": 1, "lost": 0}
    assert report["sources"]["guide"]["read"] == "2026-11-27"


def test_marks_are_kept(tmp_path: Path) -> None:
    [row] = make_output(f"{tmp_path}/output", [("mug", product())])
    export_channel(f"{tmp_path}/output", f"{tmp_path}/target", small("google-merchant"), options=OPTIONS)
    data = (tmp_path / "target/mug-1.jpg").read_bytes()
    packet = read_xmp(data)
    assert packet is not None
    statement = xmp.read(packet)
    assert statement is not None and statement.is_ai and statement.item_id == row["item_id"]
    assert read_metadata(data)["item_id"] == row["item_id"]


def test_an_image_without_mark_is_refused_where_marks_are_required(tmp_path: Path) -> None:
    make_output(f"{tmp_path}/output", [("mug", product())], marked=False)
    done = export_channel(
        f"{tmp_path}/output", f"{tmp_path}/target", small("google-merchant"), options=OPTIONS
    )
    assert (done.accepted, done.refused) == (0, 1)
    assert "ai-mark: must be trainedAlgorithmicMedia" in done.first[0]


def test_google_has_a_row_a_product_and_shopify_a_row_an_image(tmp_path: Path) -> None:
    pictures = [("a,b", product()), ("a,b", product(300)), ("c", product())]
    titles = {"title": ["A\tbox\nof\tboxes", "A\tbox\nof\tboxes", "<C> & D"]}
    done = export(tmp_path / "google", "google-merchant", pictures, **titles)
    assert (done.accepted, done.feed_rows) == (3, 2)
    first, second = lines_of(tmp_path / "google/target/google-merchant.tsv", "\t")
    assert first == {
        "id": "a,b", "title": "A box of boxes", "image_link": f"{SHOP}/a%2Cb-1.jpg",
        "additional_image_link": f"{SHOP}/a%2Cb-2.jpg",
    }  # fmt: skip
    assert second["additional_image_link"] == ""
    export(tmp_path / "shopify", "shopify", pictures, **titles)
    rows = lines_of(tmp_path / "shopify/target/shopify-products.csv")
    assert [(row["Title"], row["URL handle"], row["Image position"]) for row in rows] == [
        ("A box of boxes", "a-b", "1"), ("", "a-b", "2"), ("<C> & D", "c", "1"),
    ]  # fmt: skip
    assert rows[1]["Product image URL"] == f"{SHOP}/a%2Cb-2.jpg"


def test_a_feed_as_rss(tmp_path: Path) -> None:
    preset = small("google-merchant")
    assert preset.feed is not None
    preset = replace(preset, feed=replace(preset.feed, file="feed.xml", format="rss"))
    make_output(f"{tmp_path}/output", [("<b>&\x07", product())], title=["5 < 6 & 7"])
    export_channel(f"{tmp_path}/output", f"{tmp_path}/target", preset, options=OPTIONS)
    root = ET.fromstring((tmp_path / "target/feed.xml").read_bytes())
    [item] = root.findall("./channel/item")
    names = {element.tag: element.text for element in item}
    assert names["{http://base.google.com/ns/1.0}title"] == "5 < 6 & 7"
    assert names["{http://base.google.com/ns/1.0}id"] == "<b>&\ufffd"


def test_a_pattern_without_end_ends_the_export_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.channels.patterns.MATCH_S", 0.05)
    preset = small("etsy")
    assert preset.feed is not None
    columns = (*preset.feed.columns, Column(name="X", value=("{title}",), pattern="(a|a)*b"))
    preset = replace(preset, feed=replace(preset.feed, columns=columns))
    make_output(f"{tmp_path}/output", [("mug", product())], title=["a" * 100 + "cb"])
    with pytest.raises(
        SpecError, match=r"etsy: feed column 'X': pattern '\(a\|a\)\*b' must match a text within"
    ) as end:
        export_channel(f"{tmp_path}/output", f"{tmp_path}/target", preset, options=OPTIONS)
    assert "\n" not in str(end.value)


def test_light_parts_of_a_cut_out_stay() -> None:
    pixels, mask = np.zeros((400, 600, 3), np.uint8), np.zeros((400, 600), np.bool_)
    pixels[...] = (40, 120, 60)
    mask[100:300, 100:500] = True
    pixels[100:300, 100:300], pixels[100:300, 300:500] = 30, 240
    frame = replace(load_preset("amazon-main").frame, side=1000)
    framed = np.asarray(in_frame(Image.fromarray(pixels), frame, upscale=False, subject=mask))
    dark, light = int((framed < 60).all(-1).sum()), int((framed == 240).all(-1).sum())
    assert (dark, light) == (40_000, 40_000)
    nothing = in_frame(Image.fromarray(pixels), frame, upscale=False, subject=np.zeros_like(mask))
    assert np.asarray(nothing).min() == 255


def test_a_subject_is_cut_out_of_its_scene() -> None:
    """The mask of its segmenter, not a picture of one."""
    mask = segmenter("grabcut")(product(ground=(200, 205, 210)), "")
    assert mask is not None and mask.dtype == bool
    assert 0.4 < mask.mean() < 0.6 and mask[100, 100] and not mask[2, 2]


@pytest.mark.parametrize(
    ("channel", "columns", "rule"),
    [
        ("google-merchant", {"title": ["x" * 151]}, "feed:title"),
        ("google-merchant", {"title": ["=HYPERLINK(1)"]}, "feed:title"),
        ("google-merchant", {"price": ["12,50 €"]}, "feed:price"),
        ("google-merchant", {"availability": ["maybe"]}, "feed:availability"),
        ("shopify", {"alt_text": ["y" * 513]}, "feed:Image alt text"),
        ("etsy", {"title": ["z" * 141]}, "feed:TITLE"),
        ("etsy", {"quantity": ["0"]}, "feed:QUANTITY"),
    ],
)
def test_a_cell_that_the_channel_refuses_costs_its_product(
    tmp_path: Path, channel: str, columns: dict[str, list[str]], rule: str
) -> None:
    both = {name: [*values, "1" if name == "quantity" else None] for name, values in columns.items()}
    done = export(tmp_path, channel, [("mug", product()), ("cup", product())], **both)
    assert (done.accepted, done.refused, done.breaches[rule]) == (1, 1, 1)


def test_products_that_would_share_a_handle_or_file_are_kept_apart(tmp_path: Path) -> None:
    done = export(tmp_path, "shopify", [("Mug 1", product()), ("mug-1", product()), ("MUG 1", product())])
    assert (done.accepted, done.refused) == (1, 2)
    assert "which subject 'Mug 1' has" in done.first[0]
    assert done.breaches["name"] == 1


def test_lost_and_failed_images_are_in_the_report(tmp_path: Path) -> None:
    rows = make_output(f"{tmp_path}/output", [("mug", product()), ("cup", product())])
    Path(tmp_path, "output", rows[0]["key"]).write_bytes(b"x" * rows[0]["num_bytes"])
    done = export_channel(f"{tmp_path}/output", f"{tmp_path}/target", small("etsy"), options=OPTIONS)
    assert (done.accepted, done.lost, done.is_clean) == (1, 1, False)


def test_a_dry_run_writes_the_report_alone(tmp_path: Path) -> None:
    export(tmp_path, "etsy", [("mug", product())], replace(OPTIONS, dry_run=True))
    assert files_of(tmp_path / "target") == {"report.csv", "report.json"}


def test_nothing_is_enlarged_unless_that_is_asked_for(tmp_path: Path) -> None:
    done = export(tmp_path, "amazon-main", [("mug", product(100))], replace(OPTIONS, upscale=False))
    assert (
        done.refused == 1
        and "size: must be from 125 to 10000 px, got 100 px (25 px too little)" in done.first[0]
    )


def test_a_preset_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "channel: mine\ntitle: Mine\nrules: [{name: size, measure: longest_side, max: 100, source: us}]\n"
        "frame: {side: 90, images: {format: webp}}\n"
        "sources: {us: {title: Ours, url: 'https://us.example/', read: '2026-11-27'}}\n"
    )
    make_output(f"{tmp_path}/output", [("mug", product())])
    done = in_process("export", f"{tmp_path}/output", f"{tmp_path}/target", "--preset", str(path), "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["accepted"] == 1
    assert (tmp_path / "target/mug-1.webp").is_file()


def test_the_command_ends_with_3_unless_failures_are_ok(tmp_path: Path) -> None:
    make_output(f"{tmp_path}/output", [("mug", product(100))])
    words = ("export", f"{tmp_path}/output", f"{tmp_path}/target", "--preset", "amazon-main", "--quiet")
    refused = in_process(*words)
    assert refused.returncode == 3 and "size: must be from 500" in refused.stdout
    assert "no feed: --base-url is needed" in refused.stdout
    assert in_process(*words, "--ok-with-failures").returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--preset", "amazon"),
            "must be one of amazon-main, etsy, google-merchant, shopify, or a YAML file",
        ),
        (("--preset", "etsy", "--base-url", "http://cdn.example"), "must begin with https://"),
        (("--preset", "etsy", "--cut-out", "scissors"), "must be one of grabcut, u2net"),
        (("--preset", "none.yaml"), "no such preset file"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    make_output(f"{tmp_path}/output", [("mug", product())])
    assert message in error_of(in_process("export", f"{tmp_path}/output", f"{tmp_path}/target", *words))


def test_a_required_column_that_the_manifest_lacks_is_named(tmp_path: Path) -> None:
    preset = small("etsy")
    assert preset.feed is not None
    columns = (replace(preset.feed.columns[0], value=("{colour}",)),)
    preset = replace(preset, feed=replace(preset.feed, columns=columns))
    make_output(f"{tmp_path}/output", [("mug", product())])
    with pytest.raises(SpecError, match=r"feed column 'TITLE' needs \{colour\}"):
        export_channel(f"{tmp_path}/output", f"{tmp_path}/target", preset, options=OPTIONS)


def test_scattered_rows_of_a_subject_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="must follow each other"):
        export(tmp_path, "etsy", [("a", product()), ("b", product()), ("a", product())])
