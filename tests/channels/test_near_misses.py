"""Every rule of every preset refuses an image that just misses it, and says by how much; what just holds passes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image, ImageCms, ImageDraw

from dreamcache.provenance import xmp
from jobs.channels.check import Breach, breaches
from jobs.channels.facts import Value, measure
from jobs.channels.preset import PRESETS, ChannelRule, Measure, Preset, load_preset
from tests.channels.pictures import WHITE, as_file, as_png, product

NAME = "mug-1.jpg"
SIDE = 200
SIZES: tuple[Measure, ...] = ("longest_side", "shortest_side", "megapixels")
"""Judged on pictures of their own: all others are small, for speed."""


def found_in(channel: str, data: bytes, name: str = NAME, *, sizes: bool = False) -> list[Breach]:
    rules = [rule for rule in load_preset(channel).rules if sizes or rule.measure not in SIZES]
    return breaches(measure(data, name), rules)


def adobe_rgb() -> bytes:
    """A profile that is named so; its numbers are sRGB's."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    name = "sRGB built-in".encode("utf-16-be")
    return profile.replace(name, "Adobe builtin".encode("utf-16-be"))


def animated() -> bytes:
    frames = [product(SIDE).convert("P"), product(SIDE, 0.86).convert("P")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], xmp=b"")
    return out.getvalue()


def webp(side: int) -> bytes:
    return as_file(product(side), "WEBP", lossless=True)


def speck(side: int) -> bytes:
    """One grey pixel in the frame's corner."""
    image = product(side)
    image.putpixel((0, 0), (254, 255, 255))
    return as_png(image)


def shadow(side: int) -> bytes:
    """A soft shadow below the product, off the frame's border."""
    image = product(side)
    ImageDraw.Draw(image).rectangle(
        (side // 8, int(0.8 * side), side - side // 8, int(0.86 * side)), fill=(244, 244, 244)
    )
    return as_png(image)


def sized(width: int, height: int) -> bytes:
    return as_file(Image.new("RGB", (width, height), (90, 120, 60)))


def padded(most: int) -> bytes:
    """One byte more than allowed, behind the picture's end."""
    data = as_png(product(SIDE))
    return data + bytes(most + 1 - len(data))


# (channel, rule): an image that misses that rule alone, the name it would have, and by how much it misses.
NEAR: dict[tuple[str, str], tuple[Callable[[], bytes], str, str]] = {
    ("amazon-main", "size"): (lambda: as_file(product(499)), NAME, "1 px too little"),
    ("amazon-main", "zoom"): (lambda: as_file(product(999)), NAME, "1 px too little"),
    ("amazon-main", "format"): (lambda: webp(SIDE), "mug.webp", ""),
    ("amazon-main", "extension"): (lambda: as_png(product(SIDE)), NAME, ""),
    ("amazon-main", "still"): (animated, "mug.gif", "1 frames too much"),
    ("amazon-main", "colour-space"): (lambda: as_file(product(SIDE), "PNG", icc_profile=adobe_rgb()), "mug.png", ""),
    ("amazon-main", "bytes"): (lambda: padded(10_000_000), "mug.png", "1 bytes too much"),
    ("amazon-main", "white-background"): (lambda: speck(SIDE), "mug.png", "too little"),
    ("amazon-main", "no-shadow"): (lambda: shadow(SIDE), "mug.png", "too much"),
    ("amazon-main", "fill"): (lambda: as_png(product(SIDE, 0.84)), "mug.png", "0.01 too little"),
    ("amazon-main", "square"): (lambda: as_png(product(SIDE).crop((0, 1, SIDE, SIDE - 1))), "mug.png", "too much"),
    ("amazon-main", "file-name"): (lambda: as_png(product(SIDE)), "mug 1.png", ""),
    ("google-merchant", "size"): (lambda: as_file(product(499, 0.85)), NAME, "1 px too little"),
    ("google-merchant", "bytes"): (lambda: padded(16_000_000), "mug.png", "1 bytes too much"),
    ("google-merchant", "extension"): (lambda: as_file(product(SIDE, 0.85)), "mug.jpe", ""),
    ("google-merchant", "still"): (animated, "mug.gif", "1 frames too much"),
    ("google-merchant", "ai-mark"): (
        lambda: as_png(product(SIDE, 0.85), xmp.SOURCE_TYPES + "digitalCapture"), "mug.png", "",
    ),
    ("google-merchant", "fill"): (lambda: as_file(product(SIDE, 0.91)), NAME, "too much"),
    ("shopify", "bytes"): (lambda: padded(20_000_000), "mug.png", "1 bytes too much"),
    ("shopify", "large"): (lambda: sized(2047, 40), NAME, "1 px too little"),
    ("shopify", "format"): (lambda: as_file(product(SIDE), "TIFF"), "mug.tif", ""),
    ("shopify", "extension"): (lambda: as_file(product(SIDE)), "mug.png", ""),
    ("shopify", "file-name"): (lambda: as_file(product(SIDE)), "m" * 252 + ".jpg", "1 characters too much"),
    ("etsy", "size"): (lambda: sized(2000, 634), NAME, "1 px too little"),
    ("etsy", "large"): (lambda: sized(1999, 700), NAME, "1 px too little"),
    ("etsy", "bytes"): (lambda: padded(10_000_000), "mug.png", "1 bytes too much"),
    ("etsy", "format"): (lambda: webp(SIDE), "mug.webp", ""),
    ("etsy", "extension"): (lambda: as_file(product(SIDE)), "mug.jfif", ""),
    ("etsy", "still"): (animated, "mug.gif", "1 frames too much"),
    ("etsy", "colour-space"): (lambda: as_file(product(SIDE), icc_profile=adobe_rgb()), NAME, ""),
}  # fmt: skip
BY_FACTS = {
    ("google-merchant", "megapixels"),
    ("shopify", "megapixels"),
    ("google-merchant", "large"),
    ("google-merchant", "format"),
}
"""Pictures of 25 and 64 million pixels would take the time of all others: their facts alone are judged."""


@pytest.mark.parametrize("channel", PRESETS)
def test_a_sound_image_breaks_no_rule(channel: str) -> None:
    assert found_in(channel, as_png(product(SIDE, 0.86)), "mug.png") == []


@pytest.mark.parametrize(("channel", "rule"), NEAR, ids=lambda text: text)
def test_a_near_miss_is_refused_with_its_rule(channel: str, rule: str) -> None:
    build, name, by = NEAR[channel, rule]
    found = {
        breach.rule: breach
        for breach in found_in(channel, build(), name, sizes=rule in ("size", "zoom", "large"))
    }
    assert rule in found, found
    required = {one for one, breach in found.items() if breach.level == "required"}
    expected = {
        one.name for one in load_preset(channel).rules if one.name == rule and one.level == "required"
    }
    if rule not in (
        "format",
        "extension",
        "still",
    ):  # another format has another ending, and is read by other rules
        assert expected <= required
        assert rule in ("size", "zoom", "large") or required == expected
    assert found[rule].by.endswith(by)


@pytest.mark.parametrize("channel", PRESETS)
def test_bounds_are_exact_and_every_rule_has_a_near_miss(channel: str) -> None:
    preset = load_preset(channel)
    for rule in preset.rules:
        assert (channel, rule.name) in NEAR or (channel, rule.name) in BY_FACTS, rule.name
        assert not rule.one_of or breaches({rule.measure: "psd"}, [rule])
        for bound, beyond in ((rule.min, -1e-3), (rule.max, 1e-3)):
            if bound is not None:
                assert breaches({rule.measure: bound}, [rule]) == []
                [breach] = breaches({rule.measure: bound * (1 + beyond) or beyond}, [rule])
                assert breach.rule == rule.name and breach.by


def test_what_cannot_be_measured_breaks_its_rule() -> None:
    scene = as_file(Image.new("RGB", (SIDE, SIDE), (30, 90, 200)))
    found = {breach.rule: breach.measured for breach in found_in("amazon-main", scene)}
    assert found["fill"] == found["no-shadow"] == "not measurable"
    assert found["white-background"] == "0"


@pytest.mark.parametrize("measured", ["fill", "ai_mark"])
def test_a_missing_fact_is_no_pass(measured: Measure) -> None:
    rule = ChannelRule(name="a", measure=measured, min=0.1, source="s") if measured == "fill" else ChannelRule(
        name="a", measure=measured, one_of=("x",), source="s"
    )  # fmt: skip
    nothing: dict[Measure, Value] = {}
    assert breaches(nothing, [rule])


def test_every_rule_names_where_it_is_published() -> None:
    for channel in PRESETS:
        preset = load_preset(channel)
        assert {rule.source for rule in preset.rules} <= set(preset.sources)
        for source in preset.sources.values():
            assert source.read or "could not be read" in source.note


def test_a_rule_without_source_is_refused() -> None:
    preset: Preset = load_preset("etsy")
    with pytest.raises(ValueError, match="source"):
        replace(preset, sources={})


def test_white_is_what_pictures_begin_with() -> None:
    assert product().getpixel((0, 0)) == WHITE
